"""lrm-exec: starts agents, reaps them, survives ha-lrm. Single-threaded, without gRPC."""
