"""Networks as plain modules of torch, their sizes given as arguments."""
