"""Models to text and JSON: pure."""
