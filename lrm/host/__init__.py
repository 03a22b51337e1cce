"""The warm agent host: a process with our own agents imported, which forks one child an action.

It has no threads and no gRPC, so that forking is safe. lrm-exec starts it and owns what it forks: time
limits, output and results are the same as for an executed agent. `handle` is lrm-exec's side, `zygote` the
host's own.
"""
