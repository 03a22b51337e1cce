"""Why: the facts behind a decision of the scheduler, and the smallest change that alters it. Pure."""
