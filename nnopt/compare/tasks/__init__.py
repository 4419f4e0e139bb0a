"""Several experiments with the same variants, taken together."""
