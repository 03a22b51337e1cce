"""Clients of the other daemons: the other CRMs, every LRM, the local messaging."""
