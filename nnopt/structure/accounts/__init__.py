"""What a network costs: its layers, parameters, multiply-adds, bytes, and how long its answers take."""
