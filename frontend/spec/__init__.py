"""The `.arch` language: a small functional text with Python's grammar, parsed and never executed."""
