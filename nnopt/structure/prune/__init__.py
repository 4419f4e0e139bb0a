"""Which weights matter least, and the masks that keep them 0."""
