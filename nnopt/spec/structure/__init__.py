"""`structure:` of a spec: what makes a network smaller while it trains."""
