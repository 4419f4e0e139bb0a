"""Trained networks out to other runtimes and chips, each loaded again and set against torch."""
