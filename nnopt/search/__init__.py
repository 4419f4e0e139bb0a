"""Searching for settings: proposals, trials, winners, and the tests that suggest a learning rate or a batch size."""
