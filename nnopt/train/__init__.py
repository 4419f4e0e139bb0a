"""Training: set-up, step, loop, clock, evaluation, checkpoints."""
