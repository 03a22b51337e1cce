"""The simulator: the real cores of n nodes in one thread, virtual time, and faults drawn from a seed."""
