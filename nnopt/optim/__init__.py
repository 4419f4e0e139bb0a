"""Optimizers: rules on lists of tensors, each beside its slow twin, and what puts them to work."""
