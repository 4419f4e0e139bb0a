"""Runs of other tools (TensorBoard, MLflow, CSV files) made into run folders that can be compared."""
