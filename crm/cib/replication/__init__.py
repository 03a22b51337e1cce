"""Who has the newest CIB and when a write is committed."""
