"""Order of operations on this node: pure. `events` is what happens and what is to be done, `gate` who may
activate, `core` the queue itself."""
