"""The replicated CIB of one node: who is DC, the log, its copy on disk, and the way in for writers.

Read `interface.py` first (what the rest of ha-crm sees), then `core.py` (election and log of one node put
together, pure), then `shell.py` (drives the core with disk, gRPC and clock).
"""
