"""Attacks, each with what must come of it (what is refused, masked, bounded)."""
