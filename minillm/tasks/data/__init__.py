"""Generators of the examples that ship with the tasks; all of it is written for this project."""
