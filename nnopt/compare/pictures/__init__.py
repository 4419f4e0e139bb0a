"""Curves, costs and profiles as pictures."""
