"""What optimizers cost, can do and are worth beside each other, measured."""
