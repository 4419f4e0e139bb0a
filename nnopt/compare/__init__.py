"""Runs side by side: which variant is better, by how much, at what cost. Reads run folders only."""
