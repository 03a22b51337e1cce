"""Order of operations on this node: pure."""
