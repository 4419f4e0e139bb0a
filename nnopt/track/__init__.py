"""Runs shown in other tools while they train: TensorBoard, MLflow, Weights & Biases."""
