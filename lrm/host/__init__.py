"""The warm agent host: our own agents, imported already."""
