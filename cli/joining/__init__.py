"""How a node joins: a token, what is said over its connection, both ends (docs/adr/0030-joining.md)."""
