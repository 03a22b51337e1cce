"""Fence agents of our own, for labs and virtual machines: standard library only, executables in sbin/."""
