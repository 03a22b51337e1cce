"""Long runs with faults at random moments, as commands: too slow for a test, the same code as a short one."""
