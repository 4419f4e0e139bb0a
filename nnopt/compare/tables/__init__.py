"""A comparison as tables: on a terminal, and in files."""
