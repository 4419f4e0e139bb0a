"""Several processes that train one run: in step, or each in its own time."""
