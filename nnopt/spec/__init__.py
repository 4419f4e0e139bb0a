"""The spec: one file a union, loading, merging, messages, identity."""
