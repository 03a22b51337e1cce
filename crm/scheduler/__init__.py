"""schedule(cib, now) -> Transition: a pure function made of named stages; read pipeline.py first."""
