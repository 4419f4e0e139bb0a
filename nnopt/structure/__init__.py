"""What changes a network: pruning, low rank, quantisation, distillation; and what a network costs."""
