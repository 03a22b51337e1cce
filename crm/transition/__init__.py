"""The transition graph and the engine that walks it."""
