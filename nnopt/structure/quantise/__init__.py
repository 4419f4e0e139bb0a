"""Linear and convolution layers in int8: with rounding in sight while they train, and for good."""
