"""Random changes of training samples, a fresh draw for each; on the device, from a generator that is given."""
