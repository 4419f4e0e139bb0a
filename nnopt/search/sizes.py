"""What the network of a trial takes, found before it would be trained and held against the limits of the search."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from nnopt.plan import RunSpec
from nnopt.structure.accounts.latency import time_answers
from nnopt.structure.accounts.layers import count_multiply_adds
from nnopt.structure.network import count_parameters
from nnopt.train.devices import autocast, choose_threads, find_device
from nnopt.train.horizon import Horizon
from nnopt.train.initial_model import build_model
from nnopt.train.setup import DataCache


@dataclass
class Scales:
    """Builds the models of trials to weigh them. `most_threads`: as many as `threads: auto` takes in a run."""

    cache: DataCache
    most_threads: int | None = None

    def weigh(self, run: RunSpec, names: Collection[str]) -> dict[str, float]:
        """The quantities `names` of LimitsSpec, of the model as it is built: before anything changes its structure.

        The median latency is of one sample in evaluation mode, on the device and with the threads that the run takes.

        Raises:
            UsageError: data, model and loss do not fit together.
        """
        settings = run.settings
        device = find_device(settings.device)
        data = self.cache.get(settings, device, run.seed)
        torch.set_num_threads(1)
        model = build_model(settings, data, run.seed).eval()
        work = count_multiply_adds(model, data.train.first(1).cpu())
        found: dict[str, float] = {"parameters": count_parameters(model), "multiply_adds": work}
        if "latency_seconds" in names:
            batch = Horizon(settings.budget, settings.strategy, len(data.train)).batch_size(0.0)
            torch.set_num_threads(choose_threads(settings.strategy.threads, work * batch, self.most_threads))
            found["latency_seconds"] = time_answers(
                model.to(device), data.train.first(1), autocast(settings.strategy.precision, device)
            ).median
        return {name: found[name] for name in names}


def beyond(sizes: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """By how much the quantity that is most beyond its limit exceeds it: 0.5 is half as much again, 0 is within."""
    return max(0.0, *(sizes[name] / most - 1 for name, most in limits.items()))
