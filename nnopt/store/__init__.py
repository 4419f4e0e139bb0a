"""Run folders: where they lie, how they are written, read, found and locked."""
