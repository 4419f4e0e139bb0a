"""Proposals: which setting a trial has. Pure functions of the space, the sampler, the index and known trials."""
