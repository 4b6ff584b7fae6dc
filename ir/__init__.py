"""The intermediate representation: immutable, typed, functional."""
