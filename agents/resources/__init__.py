"""The resource agents this project ships, one a module."""
