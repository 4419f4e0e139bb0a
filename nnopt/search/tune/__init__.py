"""Short tests before a search: a learning rate to begin with, a batch that fits and keeps the device busy."""
