"""Composites: ops whose body, in other ops, is their meaning. One file for each family."""
