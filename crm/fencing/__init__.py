"""Making certain that a lost node runs nothing: which devices can (devices.py), in what order (core.py)."""
