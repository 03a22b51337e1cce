"""The warm agent host: our own agents, imported already and run in a forked child an action.

It lives in lrm-exec, which has no threads and no gRPC, so that forking is safe: no other process has to be
asked, and time limits, output and results are the same as for an executed agent.
"""
