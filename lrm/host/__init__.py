"""The warm agent host: our own agents, imported already, run by forked workers.

It lives in lrm-exec, which has no threads and no gRPC, so that forking is safe: no other process has to be
asked, and time limits, output and results are the same as for an executed agent. A worker whose action has
left nothing behind is given another: that costs a fifth of a fork, most of which is the copying of pages.
"""
