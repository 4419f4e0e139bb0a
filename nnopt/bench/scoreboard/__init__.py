"""Optimizers tuned alike on several workloads: how soon each gets to targets that were fixed beforehand."""
