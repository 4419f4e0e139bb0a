"""Losses: what a model's outputs are compared with, and how far off they are.

A loss is the plain mean over the samples of a batch. So the loss of a batch is the mean of its parts' losses,
weighted by their sizes: gradient accumulation and evaluation in chunks change nothing.
"""

from nnopt.losses.classes import CrossEntropy, TwoClassCrossEntropy
from nnopt.losses.components import ComponentLoss, SigmoidCrossEntropy
from nnopt.losses.loss import Loss
from nnopt.losses.penalty import penalised_names
from nnopt.losses.questions import QuestionsLoss

__all__ = [
    "ComponentLoss",
    "CrossEntropy",
    "Loss",
    "QuestionsLoss",
    "SigmoidCrossEntropy",
    "TwoClassCrossEntropy",
    "penalised_names",
]
