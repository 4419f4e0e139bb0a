"""Made-up data: the answer is the one that is told; functions are lowest where they say, and runs go there."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ended
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from nnopt.data import landscapes
from nnopt.data.sources import synthetic
from nnopt.losses.objective import Objective
from nnopt.spec.merge import merge

SCIPY_TWINS = {"rosenbrock": (landscapes.rosenbrock(5), optimize.rosen)}
ALL = [
    landscapes.quadratic(4, 100.0, turned=False),
    landscapes.quadratic(3, 1e4, turned=True),
    landscapes.rosenbrock(2),
    landscapes.rosenbrock(6),
    landscapes.beale(),
    landscapes.himmelblau(),
    landscapes.rastrigin(3),
]


@pytest.mark.parametrize("landscape", ALL, ids=lambda one: f"{one.name}-{one.dimensions}")
def test_a_function_is_lowest_and_level_at_its_minima_alone(landscape: landscapes.Landscape) -> None:
    places = landscape.minima.double().requires_grad_()
    heights = landscape.value(places)
    heights.sum().backward()
    assert heights.abs().max() < 1e-9
    assert places.grad is not None
    assert places.grad.abs().max() < 1e-3  # himmelblau's are known to seven digits, where it is steep
    around = landscape.minima[0] + 0.3 * torch.randn(
        200, landscape.dimensions, generator=torch.Generator().manual_seed(0)
    )
    assert (landscape.value(around) > 0).all()
    assert landscape.distance(landscape.minima + 1e-3).max() < 1e-2


@settings(max_examples=20)
@given(st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_rosenbrock_is_scipys(place: list[float]) -> None:
    landscape, twin = SCIPY_TWINS["rosenbrock"]
    assert float(landscape.value(torch.tensor(place, dtype=torch.float64))) == pytest.approx(twin(np.array(place)))


@pytest.mark.parametrize("turned", [False, True])
def test_a_bowl_has_the_condition_number_that_was_asked_for(turned: bool) -> None:
    landscape = landscapes.quadratic(4, 1000.0, turned)
    hessian = torch.autograd.functional.hessian(landscape.value, torch.ones(4, dtype=torch.float64))
    curvatures = torch.linalg.eigvalsh(hessian)
    assert torch.allclose(curvatures, torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64))
    assert bool((hessian - torch.diag(hessian.diagonal())).abs().max() > 1) == turned


def test_the_gradient_of_all_noisy_rows_is_that_of_the_function() -> None:
    landscape = landscapes.beale()
    data = synthetic.descent("function", landscape, 101, 5.0, seed=3)
    inputs, slopes = data.train.gather(None)
    assert len(inputs) == 102  # in pairs
    assert float(slopes.std()) == pytest.approx(5.0, rel=0.2)
    place = torch.tensor([[1.0, 1.5]], requires_grad=True)
    gradients = []
    for targets in (slopes, torch.zeros(1, 2), slopes[:1]):
        (gradient,) = torch.autograd.grad(Objective(landscape.value)(place.expand(len(targets), -1), targets), place)
        gradients.append(gradient)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)
    assert (gradients[2] - gradients[1]).norm() > 0.1


def test_the_true_answer_of_linear_regression_is_found_by_least_squares() -> None:
    raw = synthetic.linear(4000, 3, condition=100.0, noise=0.01, seed=1)
    told = [float(number) for number in re.findall(r"([-+]?\d+\.\d+(?:e-\d+)?)(?= \+| -|·)", raw.notes[0])]
    with_one = np.column_stack([np.ones(len(raw.inputs)), raw.inputs])
    found = np.linalg.lstsq(with_one, raw.targets[:, 0], rcond=None)[0]
    assert np.allclose(found, told[:4], atol=0.01)
    assert np.linalg.cond(np.cov(raw.inputs.T)) == pytest.approx(100, rel=0.2)


def test_logistic_regression_says_how_often_its_own_answer_is_right() -> None:
    from sklearn.linear_model import LogisticRegression

    raw = synthetic.logistic(4000, 3, condition=1.0, scale=4.0, seed=1)
    share = float(re.search(r"([\d.]+)%", raw.notes[0])[1]) / 100  # type: ignore[index]
    fitted = LogisticRegression(C=np.inf).fit(raw.inputs, raw.targets)
    assert fitted.score(raw.inputs, raw.targets) == pytest.approx(share, abs=0.02)


SPIRALS: dict[str, Any] = {
    "data": {"kind": "synthetic", "problem": {"kind": "spirals", "rows": 300, "turns": 1.0}},
    "model": {"hidden": [32]},
    "optimizer": {"kind": "adam", "lr": 0.03},
    "budget": {"epochs": 60},
    "evaluation": {"every": {"epochs": 60}},
}
DOWN: dict[str, Any] = {
    "data": {"kind": "function", "function": {"kind": "rosenbrock"}},
    "model": {"kind": "point", "start": [-1.2, 1.0]},
    "loss": {"kind": "objective"},
    "optimizer": {"kind": "lbfgs", "lr": 1.0},
    "strategy": {"batch_size": "full"},
    "budget": {"steps": 40},
    "evaluation": {"every": {"steps": 40}},
    "logging": {"every": 1},
}


@pytest.mark.usefixtures("undrawn")
def test_spirals_are_told_apart_by_a_hidden_layer(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cli("train", write_spec(SPIRALS))
    summary = json.loads(next(runs.rglob("summary.json")).read_text())
    assert summary["metrics"]["val_accuracy"]["best"] > 0.9


def test_the_way_down_a_valley_is_written_and_drawn(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    cli("train", write_spec(DOWN))
    with next(runs.rglob("trajectory.csv")).open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert (rows[0]["x1"], rows[0]["x2"], rows[0]["value"]) == pytest.approx((-1.2, 1.0, 24.2))
    assert (rows[-1]["x1"], rows[-1]["x2"]) == pytest.approx((1.0, 1.0), abs=1e-3)
    assert (runs / "small" / "trajectories.png").stat().st_size > 10_000
    cli("compare", "small", "--plot-path", tmp_path / "way.svg")
    assert "rosenbrock" in (tmp_path / "way.svg").read_text()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"start": [1.0, 2.0, 3.0]}}, "model.start has 3 coordinates, and the data asks for 2"),
        ({"loss": {"kind": "mse"}}, "use objective"),
        ({"data": {"function": {"kind": "beale", "dimensions": 3}}}, "unknown key 'dimensions'"),
        ({"strategy": {"batch_size": 8}}, "batch_size: 8 is more than the 1 training samples"),
        ({"data": {"kind": "digits"}}, "model point answers every sample alike: take data function"),
    ],
)
def test_what_does_not_go_together_is_said(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    ended = cli("train", write_spec(merge(DOWN, changes)), code=2)
    assert said in ended.stderr
    assert len(ended.errors) == 1


@pytest.mark.usefixtures("undrawn")
def test_ways_are_drawn_of_functions_of_two_numbers_only(
    cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    cli("train", write_spec())
    assert "--plot-path draws the ways of runs" in cli("compare", "small", "--plot-path", "way.png", code=2).stderr
