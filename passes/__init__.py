"""Passes: from valid IR to valid IR, pure; a pass with options is a frozen dataclass."""
