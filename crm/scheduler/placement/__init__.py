"""Assigning resources to nodes: one module a variant, and what they share."""
