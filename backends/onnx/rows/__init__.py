"""Rows of the standard dialect, one file for each family of ops."""
