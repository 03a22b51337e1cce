"""The witness: a vote with a memory, on a third machine (cluster-protocol.md, 7.4)."""
