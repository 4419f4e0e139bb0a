"""`data:` of a spec: one file a kind of source, and what all have in common."""
