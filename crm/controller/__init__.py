"""Joining, integrating members, when to schedule."""
