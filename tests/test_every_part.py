"""Every member of every union trains through the command line: a part without a row in this table fails."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from command_line import Ended
from own_files import write_folders, write_hugging_face, write_npy, write_npz

from nnopt.spec.base import KindSpec
from nnopt.spec.data.base import DataSpec
from nnopt.spec.lr_decay import LrDecaySpec
from nnopt.spec.merge import merge
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.parts import UNIONS

pytestmark = pytest.mark.usefixtures("undrawn")

STEPS = 30
TRIALS = 4
TINY: dict[str, Any] = {
    "model": {"hidden": [16]},
    "strategy": {"batch_size": 64},
    "budget": {"steps": STEPS},
    "evaluation": {"every": {"steps": 10}, "at_start": True},
    "logging": {"every": 1},
    "device": "cpu",
}


def optimizer(kind: str, lr: float, **keys: Any) -> dict[str, Any]:
    """The change that takes an optimizer with a rate that suits it."""
    return {"optimizer": {"kind": kind, "lr": lr, **keys}}


def decay(kind: str, **keys: Any) -> dict[str, Any]:
    """The change that takes a schedule, with a warm-up."""
    return {"strategy": {"lr_decay": {"kind": kind, "warmup": 0.1, **keys}}, "optimizer": {"lr": 0.5}}


def searched(**keys: Any) -> dict[str, Any]:
    """The change that takes a search of two keys."""
    space = {"optimizer.lr": {"log": [0.001, 1], "points": 2}, "optimizer.momentum": {"range": [0, 0.9], "points": 2}}
    return {"search": {"space": space, "trials": TRIALS, "confirm": None, **keys}}


def pruned(**keys: Any) -> dict[str, Any]:
    """The change that prunes, with a rate at which 30 steps suffice."""
    return {"structure": {"prune": keys}, "optimizer": {"lr": 0.5}}


def at_times(**schedule: Any) -> dict[str, Any]:
    """The change that prunes by a schedule."""
    return pruned(kind="magnitude", amount=0.5, schedule=schedule)


def quantised(**keys: Any) -> dict[str, Any]:
    """The change that quantises."""
    return {"structure": {"quantise": keys}, "optimizer": {"lr": 0.5}}


def made_up(problem: str) -> dict[str, Any]:
    """The change that makes rows up."""
    return {"data": {"kind": "synthetic", "problem": {"kind": problem, "rows": 200}}, "strategy": {"batch_size": 32}}


def downhill(function: str, lr: float = 0.01, **keys: Any) -> dict[str, Any]:
    """The change that makes a function small."""
    return {
        "data": {"kind": "function", "function": {"kind": function, **keys}},
        "model": {"kind": "point", "start": [0.5, 1.5]},
        "loss": {"kind": "objective"},
        "strategy": {"batch_size": 1},
        "optimizer": {"lr": lr},
    }


def augmented(kind: str, **keys: Any) -> dict[str, Any]:
    """The change that changes samples, with a rate at which 30 steps suffice."""
    return {"data": {"augment": [{"kind": kind, **keys}]}, "optimizer": {"lr": 0.5}}


def on_text(model: str, **keys: Any) -> dict[str, Any]:
    """The change that takes text, and a model of it."""
    readme = Path(__file__).parent.parent / "README.md"
    return {
        "data": {"kind": "text", "path": str(readme), "context": 16},
        "model": {"kind": model, "width": 16, **keys},
        "optimizer": {"kind": "adam", "lr": 0.01},
    }


TEXT_MASKED = merge(on_text("lstm"), {"data": {"augment": [{"kind": "token_masking"}]}})
WINE = Path(__file__).parent.parent / "configs" / "data" / "wine.csv"


def table(kind: str = "csv", path: str = str(WINE), **keys: Any) -> dict[str, Any]:
    """The change that takes a table of wines."""
    data = {"kind": kind, "path": path, "target": "grape", **keys}
    return {"data": data, "strategy": {"batch_size": 16}}


# What rows of `data` find in the working directory.
OWN_FILES: dict[str, Callable[[], object]] = {
    "parquet": lambda: pandas.read_csv(WINE).to_parquet("wine.parquet"),
    "images": lambda: write_folders(Path("images")),
    "npz": lambda: write_npz(Path("digits.npz")),
    "npy": lambda: write_npy(Path()),
    "huggingface": lambda: write_hugging_face(Path("saved")),
}
ENLARGED = {"data": {"kind": "enlarged:EnlargedDigits"}, "optimizer": {"kind": "adam", "lr": 0.003}}
REAL_VALUED = {"data": {"kind": "diabetes"}, "optimizer": {"lr": 0.05}}
IMAGES = {"strategy": {"batch_size": 500}, "model": {"hidden": [8]}, "optimizer": {"kind": "adam", "lr": 0.01}}

# For each union and each of its names, what is changed in the small spec.
TABLE: dict[str, dict[str, dict[str, Any]]] = {
    "optimizer": {
        "gd": optimizer("gd", 0.5) | {"strategy": {"batch_size": "full"}},
        "sgd": optimizer("sgd", 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        "momentum": optimizer("momentum", 0.5),
        "norm_adaptive": optimizer("norm_adaptive", 0.5),
        "adagrad": optimizer("adagrad", 0.05, epsilon="outside"),
        "rmsprop": optimizer("rmsprop", 0.003, centered=True, momentum=0.5),
        "adam": optimizer("adam", 0.01, amsgrad=True),
        "adamw": optimizer("adamw", 0.01),
        "nadam": optimizer("nadam", 0.01),
        "radam": optimizer("radam", 0.03),
        "adadelta": optimizer("adadelta", 10.0),
        "adamax": optimizer("adamax", 0.02),
        "adafactor": optimizer("adafactor", 0.1),
        "lbfgs": optimizer("lbfgs", 0.5, max_iter=4, line_search_fn="strong_wolfe"),
        "muon": optimizer("muon", 0.02),
        "lion": optimizer("lion", 0.003, weight_decay=0.01),
        "adan": optimizer("adan", 0.02),
        "lamb": optimizer("lamb", 0.03, weight_decay=0.01),
        "lars": optimizer("lars", 1.0, nesterov=True),
        "ademamix": optimizer("ademamix", 0.005, rise=20),
        "mars": optimizer("mars", 0.02),
        "soap": optimizer("soap", 0.02, update_every=5),
        "shampoo": optimizer("shampoo", 0.1, update_every=5),
        "schedule_free_sgd": optimizer("schedule_free_sgd", 0.5),
        "schedule_free_adamw": optimizer("schedule_free_adamw", 0.02, weight_decay=1e-3),
        "prodigy": {"optimizer": {"kind": "prodigy"}},
        "dadapt_sgd": {"optimizer": {"kind": "dadapt_sgd", "d0": 0.1, "growth_rate": 1.1}},
        "dadapt_adam": {"optimizer": {"kind": "dadapt_adam"}},
        "kfac": optimizer("kfac", 0.03, update_every=2, damping=0.1),
        "adahessian": optimizer("adahessian", 0.1, probes=2),
        "sophia": optimizer("sophia", 0.01, update_every=3),
        "newton": {"optimizer": {"kind": "newton"}, "model": {"hidden": [2]}},
        "newton_cg": {"optimizer": {"kind": "newton_cg", "max_iterations": 10}},
        "gauss_newton": {"optimizer": {"kind": "gauss_newton", "max_iterations": 10}},
        "sam": {"optimizer": {"kind": "sam", "rho": 0.1, "base": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}}},
        "lookahead": {"optimizer": {"kind": "lookahead", "every": 3, "base": {"kind": "adam", "lr": 0.01}}},
    },
    "model": {
        "linear": {},
        "mlp": {"model": {"hidden": [16, 8], "activation": "silu", "norm": "batch", "dropout": 0.1}},
        "cnn": {"model": {"kind": "cnn", "blocks": [{"channels": 4, "norm": "batch", "pool": "max"}], "hidden": [16]}},
        "lenet": ENLARGED,
        "nin": {"model": {"blocks": {"channels": 8, "depth": 1}, "norm": "batch"}, "optimizer": {"lr": 2.0}},
        "resnet": {"model": {"kind": "resnet", "depth": 8, "width": 4}},
        "torchvision": merge(ENLARGED, {
            "model": {"name": "squeezenet1_1"}, "optimizer": {"lr": 0.001}, "strategy": {"batch_size": 32},
        }),
        "timm": {"model": {"name": "test_resnet"}, "optimizer": {"kind": "adam", "lr": 0.003}},
        "point": downhill("quadratic", condition=3),
        "transformer": on_text("transformer", layers=1, heads=2, positions="rotary", norm="rms", dropout=0.1),
        "lstm": on_text("lstm"),
    },
    "sampling": {
        "balanced": {"data": {"imbalance": {"8": 0.2}, "sampling": {"kind": "balanced", "power": 0.5}}},
    },
    "loss": {
        "mse": {"loss": {"l1": 1e-5}},
        "mae": REAL_VALUED,
        "objective": downhill("quadratic", condition=3),
        "multitask": table(task="multitask", target=["grape", "alcohol"], categorical=["grape"]),
        "huber": REAL_VALUED,
        "cross_entropy": {"loss": {"label_smoothing": 0.1, "class_weights": [1, 2, 1, 1, 1, 1, 1, 1, 1, 1]}},
        "bce": {"data": {"kind": "breast_cancer"}, "loss": {"kind": "bce", "l2": 1e-3}},
    },
    "lr_decay": {
        "constant": decay("constant"),
        "step": decay("step", every=0.4),
        "multistep": decay("multistep", at=[0.3, 0.6]),
        "exponential": decay("exponential"),
        "polynomial": decay("polynomial"),
        "linear": decay("linear"),
        "cosine": decay("cosine"),
        "cosine_restarts": decay("cosine_restarts", growth=2.0),
        "inverse_sqrt": decay("inverse_sqrt"),
        "one_cycle": decay("one_cycle"),
        "cyclic": decay("cyclic"),
        "wsd": decay("wsd", shape="sqrt"),
        "plateau": decay("plateau", patience=1, min_delta=10.0, factor=0.5),
    },
    "average": {
        "ema": {"strategy": {"average": {"kind": "ema", "decay": 0.8}}},
        "swa": {"strategy": {"average": {"kind": "swa", "start": 0.3, "every": {"steps": 2}}}},
    },
    "parallel": {
        # With two processes: tests/train/parallel.
        "ddp": {"parallel": {"processes": 1}},
        "fsdp": {"parallel": {"processes": 1}},
        "local_sgd": {"parallel": {"processes": 1, "period": 4}},
        "hogwild": {"parallel": {"processes": 1}},
        "parameter_server": {"parallel": {"workers": 2, "staleness": 1}},
    },
    "prune": {
        "magnitude": pruned(kind="magnitude", amount=0.5),
        "random": pruned(kind="random", granularity="2:4"),
        "gradient": pruned(kind="gradient", amount=0.5, samples=300, scope="layer"),
        "movement": pruned(kind="movement", amount=0.5, rewind={"to": 0.1}),
    },
    "prune_schedule": {
        "one_shot": at_times(kind="one_shot", at=0.3),
        "iterative": at_times(kind="iterative", times=3),
        "cubic": at_times(kind="cubic", times=5),
    },
    "quantise": {
        "int8_weight_only": quantised(kind="int8_weight_only"),
        "int8_dynamic": quantised(kind="int8_dynamic"),
        "int8_aware": quantised(kind="int8_aware", start=0.2),
    },
    "data": {
        "digits": {},
        "breast_cancer": {},
        "diabetes": {"loss": {"kind": "mse"}},
        "wine": {"strategy": {"batch_size": 16}},
        "text": on_text("lstm"),
        "csv": table(),
        "parquet": table("parquet", "wine.parquet"),
        "sklearn": {"data": {"name": "iris"}, "strategy": {"batch_size": 16}},
        "synthetic": made_up("spirals"),
        "function": merge(downhill("quadratic"), {"data": {"noise": 0.1, "rows": 8}}),
        "mnist": IMAGES,
        "fashion_mnist": IMAGES,
        "cifar10": merge(IMAGES, {"data": {"kind": "cifar10", "normalise": "standard"}}),
        "images": {"data": {"path": "images", "size": 8, "channels": 1}},
        "npz": {"data": {"path": "digits.npz"}},
        "npy": {"data": {"path": "images.npy", "targets": "labels.npy", "in_memory": False, "workers": 1}},
        "huggingface": {"data": {"path": "saved"}},
    },
    "augment": {
        "horizontal_flip": augmented("horizontal_flip", share=0.2),
        "vertical_flip": augmented("vertical_flip", share=0.2),
        "rotation": augmented("rotation", degrees=20, fill="edge"),
        "scaling": augmented("scaling"),
        "translation": augmented("translation", share=0.8),
        "shear": augmented("shear", fill="mirror"),
        "crop": augmented("crop", padding=1),
        "colour_jitter": augmented("colour_jitter", brightness=0.3, contrast=0.3),
        "noise": augmented("noise", std=0.2),
        "blur": augmented("blur"),
        "cutout": augmented("cutout", size=3),
        "mixup": augmented("mixup", alpha=0.4),
        "cutmix": augmented("cutmix"),
        "randaugment": augmented("randaugment", strength=5),
        "token_masking": TEXT_MASKED,
    },
    "problem": {
        "linear": made_up("linear") | {"loss": {"kind": "mse"}},
        "logistic": made_up("logistic"),
        "spirals": made_up("spirals"),
    },
    "function": {
        "quadratic": downhill("quadratic", turned=True),
        "rosenbrock": downhill("rosenbrock", lr=1e-3),
        "beale": downhill("beale"),
        "himmelblau": downhill("himmelblau"),
        "rastrigin": downhill("rastrigin", lr=1e-3),
    },
    "split": {
        "random": table(split={"kind": "random"}),
        "time": table(split={"kind": "time", "column": "ash"}),
        "group": table(split={"kind": "group", "column": "ash"}),
    },
    "sampler": {
        "grid": searched(),
        "random": searched(sampler={"seed": 3}),
        "quasi_random": searched(sampler={"sequence": "halton"}),
        "tpe": searched(sampler={"startup_trials": 2}, at_once=1),
        "cma_es": searched(sampler={"population": 4}),
    },
    "pruner": {
        "successive_halving": searched(prune={"reduction": 2}, at_once=1),
        "median": searched(prune={"startup_trials": 1, "warmup": 0}, at_once=1),
    },
}  # fmt: skip
# Union -> where it stands in a spec, where that is not the union's own name.
PLACES: dict[str, tuple[str | int, ...]] = {
    "lr_decay": ("strategy", "lr_decay"),
    "average": ("strategy", "average"),
    "prune": ("structure", "prune"),
    "prune_schedule": ("structure", "prune", "schedule"),
    "quantise": ("structure", "quantise"),
    "problem": ("data", "problem"),
    "function": ("data", "function"),
    "augment": ("data", "augment", 0),
    "split": ("data", "split"),
    "sampling": ("data", "sampling"),
}
SLOW = {("parallel", "parameter_server")}  # it starts Ray
SEARCHES = {"sampler": "sampler", "pruner": "prune"}  # union -> key of `search`
ROWS = [(union, name) for union, rows in TABLE.items() if union not in SEARCHES for name in rows]
SEARCH_ROWS = [(union, name) for union in SEARCHES for name in TABLE[union]]


def test_the_table_has_a_row_for_every_part_and_no_other() -> None:
    table = {union: set(rows) for union, rows in TABLE.items()}
    assert table == {union: set(kinds.named()) for union, kinds in UNIONS.items()}


def own_keys(union: str, name: str) -> dict[str, Any]:
    """The change that takes the part itself, where the row does not say it."""
    if union in SEARCHES:
        return {"search": {SEARCHES[union]: {"kind": name}}}
    place = PLACES.get(union, (union,))
    if place[0] in ("structure", "data") and union != "data":
        return {}
    keys: dict[str, Any] = {"kind": name}
    for key in reversed(place):
        keys = {str(key): keys}
    return keys


def spec_of(union: str, name: str) -> dict[str, Any]:
    """The whole change for one row."""
    return merge(merge(TINY, own_keys(union, name)), TABLE[union][name])


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(path.read_text().splitlines()))


def skip_without_data(part: type[KindSpec], keys: dict[str, Any]) -> None:
    """Passes over a data set that is not at hand, and says so."""
    assert issubclass(part, DataSpec)
    if reason := part.model_validate(keys).available():
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("union", "name"), [pytest.param(*row, marks=[pytest.mark.slow] if row in SLOW else []) for row in ROWS]
)
def test_a_part_trains_and_lowers_the_loss(
    union: str, name: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    part = UNIONS[union].find(name)
    if union == "data":
        OWN_FILES.get(name, lambda: None)()
        skip_without_data(part, spec_of(union, name)["data"])
    cli("train", write_spec(spec_of(union, name)), "--quiet")
    (folder,) = (path.parent for path in runs.glob("small/*/seed-0/summary.json"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done"
    assert summary["steps"] == STEPS
    spec = summary["spec"]
    used = used_part(spec, union)
    assert used["kind"] == name
    rows = rows_of(folder / "metrics.csv")
    losses = [float(row["val_loss"]) for row in rows]
    assert [row["step"] for row in rows] == ["0", "10", "20", "30"]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.97 * losses[0], losses
    if union == "lr_decay":
        assert_rates_follow(part, used, folder, spec["optimizer"]["lr"])
    if union == "optimizer":
        evaluations = summary["gradient_evaluations"]
        assert issubclass(part, AnyOptimizerSpec)
        assert evaluations > STEPS if part.evaluations_vary else evaluations == STEPS


def used_part(spec: dict[str, Any], union: str) -> dict[str, Any]:
    """The keys of the part in a resolved spec."""
    found: Any = spec
    for key in PLACES.get(union, (union,)):
        found = found[key]
    return dict(found)


def assert_rates_follow(part: type[KindSpec], keys: dict[str, Any], folder: Path, lr: float) -> None:
    """steps.csv holds the rates that the schedule gives."""
    schedule = part.model_validate(keys)
    assert isinstance(schedule, LrDecaySpec)
    rates = [float(row["lr"]) for row in rows_of(folder / "steps.csv")]
    wanted = [lr * schedule.multiplier(step / STEPS, (step + 1) / STEPS) for step in range(STEPS)]
    if schedule.plateau() is not None:  # no evaluation improves the one at the start by 10, so that each halves it
        wanted = [rate * 0.5 ** (step // 10) for step, rate in enumerate(wanted)]
    assert rates == pytest.approx(wanted)


@pytest.mark.parametrize(("union", "name"), SEARCH_ROWS)
def test_a_search_tries_its_trials(
    union: str, name: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cli("sweep", write_spec(spec_of(union, name)), "--quiet")
    trials = {}
    for path in sorted(runs.glob("small/sgd/trial-*/seed-0/summary.json")):
        summary = json.loads(path.read_text())
        trials[summary["trial"]] = summary
    assert sorted(trials) == list(range(TRIALS))
    assert len({json.dumps(summary["setting"]) for summary in trials.values()}) == TRIALS
    for summary in trials.values():
        momentum = summary["setting"]["optimizer.momentum"]
        assert summary["spec"]["optimizer"]["momentum"] == momentum
        assert 0 <= momentum <= 0.9
        assert "search" not in summary["spec"]
    found = {summary["status"] for summary in trials.values()}
    assert found == ({"done", "pruned"} if union == "pruner" else {"done"})
