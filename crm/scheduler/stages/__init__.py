"""One file a rule, in the order pipeline.py lists them."""
