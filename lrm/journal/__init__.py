"""The record of what was done on this node: the truth about it."""
