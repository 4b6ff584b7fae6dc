"""Primitives: ops whose body is a type rule. One file for each family."""
