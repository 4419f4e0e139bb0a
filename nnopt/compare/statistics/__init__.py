"""The mathematics of verdicts: floats in, frozen results out; it knows nothing of runs."""
