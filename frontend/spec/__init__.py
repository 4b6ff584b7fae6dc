"""The `.arch` language: a small functional text in Python's grammar, never executed."""
