"""What a run's network costs, as it was built and as it came out: part of summary.json, and network.json whole."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nnopt.store.network_file import write_network
from nnopt.structure.accounts.latency import time_answers
from nnopt.structure.accounts.layers import account_of_layers
from nnopt.structure.accounts.sizes import bytes_on_disk
from nnopt.structure.network import count_nonzero, count_parameters, load_weights
from nnopt.train.setup import Setup
from nnopt.train.state import TrainState, generator_states, set_generator_states

TIMES = (
    *("latency_seconds", "latency_p95_seconds", "batch_latency_seconds", "batch_latency_p95_seconds"),
    *("inference_samples_per_second", "inference_batch"),
)
# Of network.json alone: sums that no variant is ranked by, and the layers.
DETAILS = ("multiply_adds_nonzero", "layers")


@dataclass
class Accounts:
    """The accounts of one run's network: `before` where its structure changes, `after` once it has come out."""

    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @classmethod
    def begin(cls, setup: Setup, state: TrainState, recorded: dict[str, Any] | None) -> Accounts:
        """Takes the accounts of the network as it is built, where it will be another in the end.

        `recorded` is the summary of a run that is gone on with: its times are kept.
        """
        if not setup.settings.structure.changes_network:
            return cls()
        known = (recorded or {}).get("before") or {}
        before = take_accounts(setup, state, is_timed=known.get("latency_seconds") is None)
        return cls(before=before | {name: known[name] for name in TIMES if known.get(name) is not None})

    def end(self, setup: Setup, state: TrainState, folder: Path) -> None:
        """Takes the accounts of the network that came out, and writes network.json."""
        with state.clock.account("evaluation"):
            self.after = take_accounts(setup, state)
        content = {
            "device": str(setup.device),
            "threads": setup.threads,
            "precision": setup.settings.strategy.precision,
            "after": self.after,
            "before": self.before,
        }
        write_network(folder, content)

    def summary(self) -> dict[str, Any]:
        """The keys of summary.json."""
        before = None if self.before is None else _without_details(self.before)
        return (_without_details(self.after) if self.after else {}) | ({} if before is None else {"before": before})


def _without_details(account: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in account.items() if name not in DETAILS}


def take_accounts(setup: Setup, state: TrainState, is_timed: bool = True) -> dict[str, Any]:
    """Parameters, bytes, multiply-adds and times of the network as it is now, with averaged weights where there are.

    Times are None without `is_timed` and where the spec wants none. They are of plain PyTorch without torch.compile, in
    the precision and with the threads of training, over one sample and over a batch as in training (its first size
    where it grows), at most `evaluation.batch_size`. Default generators are left as they were.
    """
    generators = generator_states(setup.device)
    network = _whole_network(setup, state)
    average = state.average.in_place() if state.average and state.delivered is None else contextlib.nullcontext()
    # The processes of a team would time each other's noise.
    wants_times = setup.settings.logging.latency and setup.together.team.is_alone
    with average:
        layers = account_of_layers(network, setup.data.train.first(1))
        found = {
            "parameters": count_parameters(network),
            "nonzero_parameters": count_nonzero(network),
            "network_bytes": bytes_on_disk(network),
            "multiply_adds": sum(layer.multiply_adds for layer in layers),
            "multiply_adds_nonzero": sum(layer.multiply_adds_nonzero for layer in layers),
            **(_times(setup, network) if is_timed and wants_times else dict.fromkeys(TIMES)),
            "layers": [asdict(layer) for layer in layers],
        }
    set_generator_states(generators, setup.device)
    return found


def _whole_network(setup: Setup, state: TrainState) -> nn.Module:
    """The network as it is now; of one of which no process has the whole, a copy that is built for this."""
    if not setup.together.is_sharded:
        return state.delivered or state.model
    outputs = setup.settings.loss.model_outputs(setup.data.task, setup.data.outputs)
    copy = setup.settings.model.build(setup.data.input_shape, outputs).to(setup.device)
    load_weights(copy, setup.together.model_state(state.model))
    return copy


def _times(setup: Setup, network: nn.Module) -> dict[str, float | int]:
    size = min(setup.horizon.batch_size(0.0), setup.settings.evaluation.batch_size)
    inputs = setup.data.train.first(size)
    single, batch = (time_answers(network, some, setup.autocast) for some in (inputs[:1], inputs))
    return {
        "latency_seconds": single.median,
        "latency_p95_seconds": single.p95,
        "batch_latency_seconds": batch.median,
        "batch_latency_p95_seconds": batch.p95,
        "inference_samples_per_second": batch.samples_per_second,
        "inference_batch": batch.batch,
    }
