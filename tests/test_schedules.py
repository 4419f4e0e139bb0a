"""Schedules against torch.optim.lr_scheduler step by step, and the properties that every kind keeps."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.optim import lr_scheduler

from nnopt import schedules
from nnopt.spec.lr_decay import LR_DECAYS, LrDecaySpec

ADAPTER: TypeAdapter[LrDecaySpec] = TypeAdapter(Annotated[LrDecaySpec, LR_DECAYS])
STEPS = 60


def make(**keys: Any) -> LrDecaySpec:
    return ADAPTER.validate_python(keys)


def rates(spec: LrDecaySpec, steps: int = STEPS) -> list[float]:
    """The multiplier of each update of a budget of `steps`."""
    return [spec.multiplier(step / steps, (step + 1) / steps) for step in range(steps)]


def torch_rates(build: Callable[[torch.optim.Optimizer], Any], steps: int, lr: float = 1.0) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = build(optimizer)
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


TORCH: dict[str, tuple[dict[str, Any], Callable[[torch.optim.Optimizer], Any]]] = {
    "constant": ({"kind": "constant"}, lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    "step": ({"kind": "step", "every": 0.3, "factor": 0.5}, lambda o: lr_scheduler.StepLR(o, 18, 0.5)),
    "step, uneven": (
        {"kind": "step", "every": 7 / STEPS, "factor": 0.5},
        lambda o: lr_scheduler.StepLR(o, 7, 0.5),
    ),
    "multistep": (
        {"kind": "multistep", "at": [0.1, 0.3, 0.9], "factor": 0.2},
        lambda o: lr_scheduler.MultiStepLR(o, [6, 18, 54], 0.2),
    ),
    "exponential": (
        {"kind": "exponential", "final": 0.05},
        lambda o: lr_scheduler.ExponentialLR(o, 0.05 ** (1 / STEPS)),
    ),
    "polynomial": (
        {"kind": "polynomial", "power": 2.5},
        lambda o: lr_scheduler.PolynomialLR(o, STEPS, power=2.5),
    ),
    "linear": (
        {"kind": "linear", "final": 0.2},
        lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=STEPS),
    ),
    "cosine": (
        {"kind": "cosine", "final": 0.1},
        lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1),
    ),
    "cosine_restarts": (
        {"kind": "cosine_restarts", "cycles": 4, "final": 0.1},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, STEPS // 4, eta_min=0.1),
    ),
    "cosine_restarts, growing": (
        {"kind": "cosine_restarts", "cycles": 4, "growth": 2.0},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, STEPS // 15, T_mult=2),
    ),
    "cyclic": (
        {"kind": "cyclic", "cycles": 3, "low": 0.25},
        lambda o: lr_scheduler.CyclicLR(o, 0.25, 1.0, step_size_up=STEPS // 6, cycle_momentum=False),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_equal_to_torch_at_every_step(name: str) -> None:
    keys, build = TORCH[name]
    assert rates(make(**keys)) == pytest.approx(torch_rates(build, STEPS), rel=1e-6, abs=1e-9)


def test_one_cycle_is_torchs() -> None:
    """torch's time ends with the last of its steps, so its share is step/(total − 1)."""
    total = STEPS + 1
    expected = torch_rates(lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=total, pct_start=0.3), STEPS)
    peak = (0.3 * total - 1) / (total - 1)
    found = [schedules.one_cycle(step / (total - 1), peak, 1 / 25, 1 / 25e4) for step in range(STEPS)]
    assert found == pytest.approx(expected, rel=1e-6)


def test_inverse_sqrt_with_warmup_is_that_of_the_transformer() -> None:
    """Vaswani et al. 2017, equation 3: step^-0.5 and step·warmup^-1.5, the smaller; scaled to a peak of 1."""
    warmup, total = 25, 100
    spec = make(kind="inverse_sqrt", warmup=warmup / total, timescale=warmup / (total - warmup))
    found = [spec.multiplier(step / total, step / total) for step in range(1, total)]
    paper = [min(step**-0.5, step * warmup**-1.5) / warmup**-0.5 for step in range(1, total)]
    assert found == pytest.approx(paper, rel=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
def test_wsd_is_stable_and_then_falls(shape: str) -> None:
    found = rates(make(kind="wsd", decay_share=0.25, final=0.1, shape=shape), 100)
    assert found[:76] == [1.0] * 76
    assert all(after < before for before, after in itertools.pairwise(found[75:]))
    end = schedules.warmup_stable_decay(1.0, 0.25, 0.1, shape)  # type: ignore[arg-type]
    assert end == pytest.approx(0.1)


def test_wsd_halfway_down() -> None:
    half = [schedules.warmup_stable_decay(0.9, 0.2, 0.0, shape) for shape in ("linear", "cosine", "sqrt")]
    assert half == pytest.approx([0.5, 0.5, 1 - math.sqrt(0.5)])


@pytest.mark.parametrize("higher", [False, True])
@given(
    values=st.lists(st.floats(-10, 10).map(lambda x: round(x, 1)), min_size=1, max_size=40),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.55]),
    minimum=st.sampled_from([0.0, 0.2]),
)
def test_plateau_is_torchs(higher: bool, values: list[float], patience: int, min_delta: float, minimum: float) -> None:
    """torch's patience is the number of bad evaluations that it lets pass, ours the one that counts."""
    ours = schedules.Plateau(patience, 0.5, min_delta, minimum, higher_is_better=higher)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max" if higher else "min",
        factor=0.5,
        patience=patience - 1,
        threshold=min_delta,
        threshold_mode="abs",
        min_lr=minimum,
        eps=0,
    )
    for value in values:
        ours.update(value)
        theirs.step(value)
        assert ours.multiplier == optimizer.param_groups[0]["lr"]


def test_plateau_counts_what_is_not_a_number_as_no_improvement() -> None:
    plateau = schedules.Plateau(2, 0.1, 0.0, 0.0, higher_is_better=False)
    for value in (1.0, math.nan, math.nan):
        plateau.update(value)
    assert plateau.multiplier == 0.1
    plateau.update(0.5)
    plateau.update(0.7)
    assert plateau.multiplier == 0.1


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=20), at=st.integers(1, 19))
def test_plateau_resumes(values: list[float], at: int) -> None:
    def fresh() -> schedules.Plateau:
        return schedules.Plateau(2, 0.5, 0.01, 0.0, higher_is_better=True)

    unbroken, first = fresh(), fresh()
    for value in values[:at]:
        first.update(value)
    resumed = fresh()
    resumed.load_state_dict(first.state_dict())
    for value in values[at:]:
        resumed.update(value)
    for value in values:
        unbroken.update(value)
    assert resumed.state_dict() == unbroken.state_dict()


def test_plateau_before_its_first_evaluation_is_stored_as_numbers() -> None:
    """`best` is infinite then, which torch.load(weights_only=True) reads and strict JSON would not."""
    state = schedules.Plateau(2, 0.5, 0.0, 0.0, higher_is_better=True).state_dict()
    assert state == {"best": -math.inf, "waited": 0, "multiplier": 1.0}


def test_the_plateau_of_a_spec_knows_its_metrics_direction() -> None:
    for metric, improves in (("val_loss", [3.0, 2.0, 1.0]), ("val_accuracy", [0.1, 0.2, 0.3])):
        plateau = make(kind="plateau", metric=metric, patience=1, factor=0.5).plateau()
        assert plateau is not None
        for value in improves:
            plateau.update(value)
        assert plateau.multiplier == 1.0
        plateau.update(improves[0])
        assert plateau.multiplier == 0.5


# One row a member: keys besides kind, and the multiplier at the very start and at the very end.
ROWS: dict[str, tuple[dict[str, Any], float, float]] = {
    "constant": ({}, 1, 1),
    "step": ({"every": 0.4, "factor": 0.1}, 1, 0.01),
    "multistep": ({"at": [0.2, 0.5, 0.9], "factor": 0.5}, 1, 0.125),
    "exponential": ({"final": 0.02}, 1, 0.02),
    "polynomial": ({"power": 3, "final": 0.1}, 1, 0.1),
    "linear": ({"final": 0.25}, 1, 0.25),
    "cosine": ({"final": 0.05}, 1, 0.05),
    "cosine_restarts": ({"cycles": 3, "growth": 1.5, "final": 0.1}, 1, 0.1),
    "inverse_sqrt": ({"timescale": 1 / 3}, 1, 0.5),
    "one_cycle": ({"start": 0.2, "final": 0.01}, 0.2, 0.01),
    "cyclic": ({"cycles": 2, "low": 0.3}, 0.3, 0.3),
    "wsd": ({"final": 0.1}, 1, 0.1),
    "plateau": ({}, 1, 1),
}
EACH = pytest.mark.parametrize("kind", ROWS)


def test_every_member_of_the_union_has_a_row() -> None:
    assert set(ROWS) == set(LR_DECAYS.named())


@EACH
def test_where_it_starts_and_ends(kind: str) -> None:
    keys, start, end = ROWS[kind]
    spec = make(kind=kind, **keys)
    assert spec.multiplier(0.0, 0.01) == pytest.approx(start)
    assert spec.multiplier(1.0, 1.0) == pytest.approx(end)


@EACH
@given(steps=st.integers(1, 200), at=st.floats(0, 1.2), warmup=st.sampled_from([0.0, 0.01, 0.3, 0.99]))
def test_the_spec_names_the_highest_rate(kind: str, steps: int, at: float, warmup: float) -> None:
    """Between 0 and 1 everywhere, also past the end of a budget in seconds; defaults and row alike."""
    for keys in ({}, ROWS[kind][0]):
        spec = make(kind=kind, warmup=warmup, **keys)
        assert 0 <= spec.multiplier(at, at + 1 / steps) <= 1 + 1e-12


@EACH
def test_the_warmup_rises_in_equal_steps_and_then_the_decay_has_the_rest(kind: str) -> None:
    keys, start, end = ROWS[kind]
    spec, plain = make(kind=kind, warmup=0.2, **keys), make(kind=kind, **keys)
    found = rates(spec, 50)
    assert found[:10] == pytest.approx([start * step / 10 for step in range(1, 11)])
    assert found[10:] == pytest.approx(rates(plain, 40))
    assert spec.multiplier(1.0, 1.0) == pytest.approx(end)


def test_the_first_update_of_a_warmup_is_not_lost() -> None:
    assert make(kind="constant", warmup=0.5).multiplier(0.0, 0.001) == pytest.approx(0.002)


@EACH
def test_what_does_not_depend_on_the_budgets_length(kind: str) -> None:
    """A run may go on under a larger budget if its first updates would have been the same."""
    for warmup in (0.0, 0.1):
        spec = make(kind=kind, warmup=warmup, **ROWS[kind][0])
        same = rates(spec, 50) == rates(spec, 100)[:50]
        assert same == spec.horizon_free


@EACH
def test_every_part_describes_itself(kind: str) -> None:
    spec = LR_DECAYS.named()[kind]
    assert spec.__doc__
    assert spec.formula  # type: ignore[attr-defined]
    undescribed = {name for name, field in spec.model_fields.items() if not field.description}
    assert undescribed == {"kind"}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "warm-up all along": ({"kind": "linear", "warmup": 1.0}, "less than 1"),
    "falling points": ({"kind": "multistep", "at": [0.5, 0.2]}, "rising list"),
    "a point outside": ({"kind": "multistep", "at": [0.5, 1.5]}, "rising list"),
    "no points": ({"kind": "multistep", "at": []}, "rising list"),
    "vanishing first cycle": ({"kind": "cosine_restarts", "cycles": 900, "growth": 3.0}, "fewer cycles"),
    "a shape that is none": ({"kind": "wsd", "shape": "round"}, "'linear', 'cosine' or 'sqrt'"),
    "a peak at the start": ({"kind": "one_cycle", "peak": 0.0}, "greater than 0"),
    "a key of another kind": ({"kind": "cosine", "power": 2}, "unknown key 'power'"),
    "no kind": ({"warmup": 0.1}, "the key 'kind' is missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_keys_are_refused(name: str) -> None:
    keys, message = WRONG[name]
    with pytest.raises(ValidationError, match=message):
        make(**keys)


def test_the_front_end_stays_without_torch() -> None:
    code = "import json, sys, nnopt.spec.lr_decay, nnopt.spec.optimizers.union; print(json.dumps(list(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "pandas", "numpy"} & set(json.loads(out))
