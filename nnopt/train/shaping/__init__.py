"""Changes of the network while it trains: what is due when, and what each does."""
