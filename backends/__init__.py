"""Backends: from a Program to something that runs. They never import one another."""
