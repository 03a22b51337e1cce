"""Deliberately broken cores: each must be caught by the checkers, or a fault or a checker is missing."""
