"""The job of the benchmark in the tools one would use without nnopt: one process a run, started by `run.py`.

    python tests/benchmarks/peers.py PEER --rows ROWS.npz --output RESULT.json

The job: a 784-128-10 perceptron with ReLU, cross-entropy, batches of 128 (the last smaller one is kept), reshuffled
every epoch, 32-bit floats, on the CPU. Only training is timed: after each epoch the clock stops for an evaluation.
Loggers, checkpoints and progress bars of the tools are off, which favours them.
"""
# mypy: disable-error-code="no-untyped-call, import-untyped"

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

FEATURES, HIDDEN, CLASSES, BATCH = 784, 128, 10, 128
RATES = {"sgd": 0.1, "adam": 1e-3}

Array = NDArray[Any]
Predict = Callable[[Array], Array]  # inputs [n, 784] -> class numbers [n]


@dataclass
class Job:
    """What a peer is to train, and the clock it reports to.

    `rows` holds inputs [n, 784] float32 and targets [n] int64 of the parts train, validation and test.
    """

    rows: dict[str, Array]
    optimizer: str
    epochs: int
    threads: int
    seed: int
    seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)  # on the validation rows, one an epoch
    test_accuracy: float = float("nan")
    _start: float = 0.0

    @property
    def lr(self) -> float:
        """The learning rate."""
        return RATES[self.optimizer]

    def train_rows(self) -> tuple[Array, Array]:
        """Inputs and targets to train on."""
        return self.rows["train_inputs"], self.rows["train_targets"]

    def start_epoch(self) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def end_epoch(self, predict: Predict) -> None:
        """Stops the clock, then evaluates."""
        self.seconds.append(time.perf_counter() - self._start)
        self.accuracies.append(self._accuracy(predict, "validation"))
        if len(self.seconds) == self.epochs:
            self.test_accuracy = self._accuracy(predict, "test")

    def _accuracy(self, predict: Predict, part: str) -> float:
        classes = np.asarray(predict(self.rows[f"{part}_inputs"]))
        return float((classes == self.rows[f"{part}_targets"]).mean())


def torch_model(job: Job) -> torch.nn.Sequential:
    """The network with torch's own initial weights."""
    import torch

    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES))


def torch_optimizer(job: Job) -> type[torch.optim.Optimizer]:
    """The class of the job's optimizer."""
    import torch

    return {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[job.optimizer]


def torch_predict(model: torch.nn.Module) -> Predict:
    """Classes by a torch model."""
    import torch

    def predict(inputs: Array) -> Array:
        with torch.no_grad():
            classes: Array = model(torch.from_numpy(inputs)).argmax(1).numpy()
        return classes

    return predict


def bare(job: Job, **options: Any) -> None:
    """A loop written by hand: rows in memory, a gather a batch, autograd, torch.optim."""
    import torch

    model = torch_model(job)
    inputs, targets = map(torch.from_numpy, job.train_rows())
    make: Any = torch_optimizer(job)
    optimizer = make(model.parameters(), lr=job.lr, **options)
    for _ in range(job.epochs):
        job.start_epoch()
        for rows in torch.randperm(len(targets)).split(BATCH):
            optimizer.zero_grad()
            outputs = model(inputs.index_select(0, rows))
            torch.nn.functional.cross_entropy(outputs, targets[rows]).backward()
            optimizer.step()
        job.end_epoch(torch_predict(model))


def fused(job: Job) -> None:
    """The bare loop with torch.optim's fused kernels."""
    bare(job, fused=True)


def loader(job: Job) -> None:
    """The tutorial's loop over a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model = torch_model(job)
    batches = DataLoader(TensorDataset(*map(torch.from_numpy, job.train_rows())), batch_size=BATCH, shuffle=True)
    make: Any = torch_optimizer(job)
    optimizer = make(model.parameters(), lr=job.lr)
    for _ in range(job.epochs):
        job.start_epoch()
        for inputs, targets in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        job.end_epoch(torch_predict(model))


def lightning(job: Job) -> None:
    """Lightning's Trainer."""
    import torch
    from lightning import LightningModule, Trainer
    from torch.utils.data import DataLoader, TensorDataset

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    make: Any = torch_optimizer(job)

    class Perceptron(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch_model(job)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return make(self.parameters(), lr=job.lr)  # type: ignore[no-any-return]

        def on_train_epoch_start(self) -> None:
            job.start_epoch()

        def on_train_epoch_end(self) -> None:
            job.end_epoch(torch_predict(self.model))

    data = TensorDataset(*map(torch.from_numpy, job.train_rows()))
    trainer = Trainer(
        max_epochs=job.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Perceptron(), DataLoader(data, batch_size=BATCH, shuffle=True))


def skorch(job: Job) -> None:
    """skorch's NeuralNetClassifier."""
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback

    class Clock(Callback):  # type: ignore[misc]
        def on_epoch_begin(self, net: Any, **_: Any) -> None:
            job.start_epoch()

        def on_epoch_end(self, net: Any, **_: Any) -> None:
            job.end_epoch(net.predict)

    classifier = NeuralNetClassifier(
        torch_model(job),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch_optimizer(job),
        lr=job.lr,
        max_epochs=job.epochs,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        callbacks=[Clock()],
    )
    classifier.fit(*job.train_rows())


def sklearn(job: Job) -> None:
    """scikit-learn's MLPClassifier, an epoch a `partial_fit`."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    model = MLPClassifier(
        (HIDDEN,),
        solver=job.optimizer,
        learning_rate_init=job.lr,
        batch_size=BATCH,
        momentum=0,
        alpha=0,
        random_state=np.random.RandomState(job.seed),  # a number would repeat one order every epoch
    )
    with threadpool_limits(job.threads):
        for _ in range(job.epochs):
            job.start_epoch()
            model.partial_fit(*job.train_rows(), classes=range(CLASSES))
            job.end_epoch(model.predict)


def jax(job: Job) -> None:
    """JAX and optax, an epoch a compiled scan."""
    if hasattr(os, "sched_setaffinity"):  # XLA takes as many threads as the process may use cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    import jax
    import jax.numpy as jnp
    import optax

    data = tuple(map(jnp.asarray, job.train_rows()))
    samples = len(data[1])
    whole = samples // BATCH * BATCH
    keys = jax.random.split(jax.random.PRNGKey(job.seed), 5)

    def uniform(key: Any, shape: tuple[int, ...], inputs: int) -> Any:
        return jax.random.uniform(key, shape, minval=-(inputs**-0.5), maxval=inputs**-0.5)  # as torch's layers

    params = {
        "w1": uniform(keys[0], (FEATURES, HIDDEN), FEATURES),
        "b1": uniform(keys[1], (HIDDEN,), FEATURES),
        "w2": uniform(keys[2], (HIDDEN, CLASSES), HIDDEN),
        "b2": uniform(keys[3], (CLASSES,), HIDDEN),
    }
    optimizer = {"sgd": optax.sgd, "adam": optax.adam}[job.optimizer](job.lr)
    state = optimizer.init(params)

    def forward(params: Any, inputs: Any) -> Any:
        return jax.nn.relu(inputs @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]

    def loss(params: Any, inputs: Any, targets: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(forward(params, inputs), targets).mean()

    @jax.jit
    def train_epoch(params: Any, state: Any, data: Any, key: Any) -> Any:
        inputs, targets = data

        def step(carry: Any, rows: Any) -> Any:
            params, state = carry
            gradients = jax.grad(loss)(params, inputs[rows], targets[rows])
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), None

        order = jax.random.permutation(key, samples)
        carry, _ = jax.lax.scan(step, (params, state), order[:whole].reshape(-1, BATCH))
        return step(carry, order[whole:])[0] if whole < samples else carry

    predict = jax.jit(lambda params, inputs: forward(params, inputs).argmax(1))
    key = keys[4]
    for _ in range(job.epochs):
        key, used = jax.random.split(key)
        job.start_epoch()
        params, state = jax.block_until_ready(train_epoch(params, state, data, used))
        job.end_epoch(partial(predict, params))


@dataclass(frozen=True)
class Peer:
    """A tool to compare with: `train` does the job, `needs` are the packages to install (the first is imported).

    `goal` is the largest ratio of nnopt's training time to the peer's that the project allows itself.
    """

    train: Callable[[Job], None]
    title: str
    needs: tuple[str, ...] = ()
    goal: float | None = None


PEERS = {
    "bare": Peer(bare, "bare torch loop", goal=1.05),
    "fused": Peer(fused, "bare loop, fused optimizer"),
    "loader": Peer(loader, "torch loop, DataLoader"),
    "lightning": Peer(lightning, "Lightning", ("lightning",), goal=0.6),
    "skorch": Peer(skorch, "skorch", ("skorch",), goal=0.6),
    "sklearn": Peer(sklearn, "scikit-learn MLPClassifier"),
    "jax": Peer(jax, "JAX and optax", ("jax", "optax")),
}


def main(arguments: Iterable[str] | None = None) -> None:
    """Trains with one peer and writes seconds and accuracies as JSON."""
    parser = argparse.ArgumentParser(description="Train the benchmark's job with one peer.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--rows", type=Path, required=True, help="npz file with the rows of each part")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--optimizer", choices=RATES, default="sgd")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    warnings.filterwarnings("ignore")
    with np.load(options.rows) as file:
        rows = dict(file)
    job = Job(rows, options.optimizer, options.epochs, options.threads, options.seed)
    PEERS[options.peer].train(job)
    result = {"seconds": job.seconds, "accuracies": job.accuracies, "test_accuracy": job.test_accuracy}
    options.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
