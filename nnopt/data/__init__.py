"""Data sets: read from their sources, split, normalised, held as tensors."""
