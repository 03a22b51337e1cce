"""lrm-exec: starts agents, reaps them, collects their output; survives ha-lrm. Single-threaded, without gRPC.

`protocol` is what it says with ha-lrm, `ladder` how a late agent is ended (pure), `server` the loop.
"""
