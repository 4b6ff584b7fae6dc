"""Architectures as data: one `<model_type>.arch` a file, found by name."""
