"""From relations to flags: what each action's being required or impossible means for all others.

The result depends on the order of the steps; do not shorten them.
"""
