"""Distillation: what trained networks answer, and the distance of a network's answers from that."""
