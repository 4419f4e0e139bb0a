"""`nnopt tune lr`: the range test against a slow twin and known limits, its reading, and the command."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
import yaml
from command_line import Ended
from hypothesis import given
from hypothesis import strategies as st

from nnopt import load
from nnopt.errors import Interrupted, UsageError
from nnopt.plan import Plan, RunSpec
from nnopt.randomness import derive
from nnopt.search.tune.range_test import Range, range_test
from nnopt.search.tune.reading import Ema, placed_rates, read_curve
from nnopt.search.tune.suggestion import OverSeeds
from nnopt.train.setup import DataCache, build
from nnopt.train.signals import StopRequest

DIGITS = Path(__file__).parents[2] / "configs" / "digits_optimizers.yaml"
CACHE = DataCache()

Cli = Callable[..., Ended]
WriteSpec = Callable[..., Path]


def one_run(path: Path, *overrides: str) -> RunSpec:
    """The first run of a spec."""
    return Plan.of(load(path, overrides)).runs[0]


# ------------------------------------------------------------------------------------------- smoothing and reading


@given(st.floats(0.1, 20), st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_the_average_is_the_weighted_mean_of_what_it_saw(memory: float, values: list[float]) -> None:
    average = Ema(memory)
    found = [average.add(value) for value in values][-1]
    beta = memory / (1 + memory)
    weights = [beta ** (len(values) - 1 - at) for at in range(len(values))]
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    assert found == pytest.approx(mean, abs=1e-9)


@given(st.integers(20, 300), st.floats(1e-6, 1e-2), st.floats(10, 1e6))
def test_a_loss_linear_in_the_logarithm_stays_on_its_line(steps: int, low: float, factor: float) -> None:
    rates = Range(low, low * factor, steps)
    tested = [rates.rate(index) for index in range(steps)]
    assert tested[0] == pytest.approx(low)
    assert tested[-1] == pytest.approx(low * factor)
    average = Ema(0.25 * rates.per_decade)
    smoothed = [average.add(3.0 - math.log10(rate)) for rate in tested]
    for rate, loss in zip(placed_rates(tested, rates.per_decade), smoothed, strict=True):
        assert loss == pytest.approx(3.0 - math.log10(rate), abs=1e-9)


def drawn_curve(rates: Range, centre: float, noise: float, seed: int) -> tuple[list[float], list[float], list[float]]:
    """A loss that falls from 2.3 to 0.3 fastest at `centre` and rises from 100 times that on; rates, losses, smoothed.

    A logistic curve in the logarithm: its slope is steepest at its middle.
    """
    draw = random.Random(seed)
    average = Ema(0.25 * rates.per_decade)
    tested, losses, smoothed = [], [], []
    for index in range(rates.steps):
        rate = rates.rate(index)
        fall = 2.0 / (1 + math.exp(-4 * math.log10(rate / centre)))
        rise = max(0.0, math.log10(rate / (100 * centre))) * 40
        tested.append(rate)
        losses.append(2.3 - fall + rise + draw.gauss(0, noise))
        smoothed.append(average.add(losses[-1]))
        if smoothed[-1] > 9:
            break
    return tested, losses, smoothed


@pytest.mark.parametrize("centre", [1e-3, 0.02, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_middle_of_a_known_fall_is_found(centre: float, noise: float) -> None:
    rates = Range()
    found = [read_curve(*drawn_curve(rates, centre, noise, seed), rates.per_decade, blows_up=None) for seed in range(5)]
    middle = OverSeeds.of([reading.steepest for reading in found])
    assert middle is not None
    assert 1 / 1.3 < middle.median / centre < 1.3
    assert middle.count == 5
    for reading in found:
        assert reading.edge is None
        assert reading.too_high is not None
        assert 1 / 1.5 < reading.too_high / (112 * centre) < 1.5  # where the drawn loss is back at 2.3


def test_chance_alone_is_no_fall() -> None:
    rates = Range()
    draw = random.Random(0)
    for _ in range(200):
        losses = [2.3 + draw.gauss(0, 0.2) for _ in range(rates.steps)]
        average = Ema(0.25 * rates.per_decade)
        smoothed = [average.add(loss) for loss in losses]
        tested = [rates.rate(index) for index in range(rates.steps)]
        assert read_curve(tested, losses, smoothed, rates.per_decade, None).steepest is None


@pytest.mark.parametrize(("centre", "edge"), [(3e-7, "lower"), (400.0, "upper"), (1e-2, None)])
def test_a_fall_beyond_what_was_tested_is_told(centre: float, edge: str | None) -> None:
    rates = Range()
    assert read_curve(*drawn_curve(rates, centre, 0.0, 0), rates.per_decade, None).edge == edge


def test_over_seeds_is_the_median_of_the_logarithms() -> None:
    assert OverSeeds.of([0.1, 10.0, None]) == OverSeeds(pytest.approx(1.0), 0.1, 10.0, 2)  # type: ignore[arg-type]
    assert OverSeeds.of([0.1, None, None]) is None
    assert OverSeeds.of([]) is None


# --------------------------------------------------------------------------------------------------- the test itself


def test_a_range_test_is_a_plain_loop_with_growing_rates(write_spec: WriteSpec) -> None:
    """Against a loop over torch's own layers: the same batches and initial weights, θ ← θ − η∇L by hand."""
    run = one_run(write_spec(), "optimizer.lr=123", "strategy.lr_decay.kind=cosine")
    rates = Range(1e-3, 10.0, 38)  # two epochs of whole batches
    found = range_test(run, CACHE, rates, StopRequest())

    setup, state = build(run, CACHE)
    data = setup.data.train
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive(run.seed, "order", 0)))
    second = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive(run.seed, "order", 1)))
    batches = [*torch.split(order[: len(data) // 64 * 64], 64), *torch.split(second, 64)]  # ragged ends are passed over
    weights = [value.detach().clone() for value in state.model.parameters()]
    losses = []
    for index in range(len(found.losses)):
        leaves = [weight.clone().requires_grad_() for weight in weights]
        hidden = torch.relu(data.inputs[batches[index]].flatten(1) @ leaves[0].T + leaves[1])
        loss = torch.nn.functional.cross_entropy(hidden @ leaves[2].T + leaves[3], data.targets[batches[index]])
        gradients = torch.autograd.grad(loss, leaves)
        rate = 1e-3 * 10 ** (4 * index / 37)
        weights = [weight - rate * gradient for weight, gradient in zip(weights, gradients, strict=True)]
        losses.append(loss.item())
    assert len(losses) > 30
    assert found.losses == pytest.approx(losses, rel=1e-4)


def test_the_same_seed_gives_the_same_bits(write_spec: WriteSpec) -> None:
    run = one_run(write_spec())
    first = range_test(run, CACHE, Range(), StopRequest())
    assert range_test(run, CACHE, Range(), StopRequest()) == first
    assert range_test(replace(run, seed=7), CACHE, Range(), StopRequest()).losses != first.losses


def test_gradient_descent_is_too_high_from_two_over_the_largest_curvature(write_spec: WriteSpec) -> None:
    """On a quadratic the limit is known: the loss grows from 2/λ on, λ the largest eigenvalue of its Hessian.

    The test passes it while its rate grows, and the loss needs some updates more to come back.
    """
    changes = {"data": {"kind": "diabetes"}, "model": {"kind": "mlp", "hidden": []}, "loss": {"kind": "mse"}}
    run = one_run(write_spec({**changes, "optimizer": {"kind": "gd", "lr": 0.1}, "strategy": {"batch_size": "full"}}))
    found = range_test(run, CACHE, Range(1e-5, 100.0, 400), StopRequest())
    setup, _ = build(run, CACHE)
    inputs = setup.data.train.inputs.double()
    inputs = torch.cat([inputs.flatten(1), torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    hessian = 2 * inputs.T @ inputs / len(inputs)
    limit = 2 / float(torch.linalg.eigvalsh(hessian)[-1])
    assert found.reading.steepest is not None
    assert found.reading.too_high is not None
    assert found.reading.steepest < limit < found.reading.too_high < 3 * limit


def test_a_signal_ends_it_at_once(write_spec: WriteSpec) -> None:
    stop, ticks = StopRequest(), []

    def tick() -> None:
        ticks.append(1)
        stop.code = 130 if len(ticks) == 3 else None

    with pytest.raises(Interrupted):
        range_test(one_run(write_spec()), CACHE, Range(), stop, tick)
    assert len(ticks) == 3


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [(1.0, 1.0, 50), (0.0, 1.0, 50), (1.0, math.inf, 50), (1.0, math.nan, 50), (1e-300, 1e300, 50), (1, 2, 19)],
)
def test_ranges_that_make_no_sense_are_refused(low: float, high: float, steps: int) -> None:
    with pytest.raises(UsageError, match="--"):
        Range(low, high, steps)


# ------------------------------------------------------------------------------------------------------- the command


def test_the_rates_of_a_search_lie_in_the_ranges_it_gives(cli: Cli, runs: Path) -> None:
    """configs/digits_optimizers.yaml has rates from a grid search over whole budgets."""
    done = json.loads(cli("tune", "lr", DIGITS, "--json").stdout)
    assert [one["variant"] for one in done["variants"]] == ["sgd", "momentum", "adagrad", "rmsprop", "adam"]
    for one in done["variants"]:
        low, high = one["search"]
        assert low < one["lr"] < high
        assert 1 / 4 < one["begin_with"]["median"] / one["lr"] < 4
        assert one["begin_with"]["lowest"] <= one["begin_with"]["median"] <= one["begin_with"]["highest"]
        assert [seed["seed"] for seed in one["seeds"]] == [0, 1, 2]
    folder = runs / "digits-optimizers"
    assert sorted(path.name for path in folder.iterdir()) == ["tune-lr.csv", "tune-lr.png"]
    table = pandas.read_csv(folder / "tune-lr.csv")
    for one in done["variants"]:
        for seed in one["seeds"]:
            rows = table[(table.variant == one["variant"]) & (table.seed == seed["seed"])]
            assert len(rows) == seed["updates"]
            assert rows.lr.iloc[0] == done["low"]


def test_what_it_prints_can_be_searched(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    spec = write_spec({"variants": {"plain": {}, "adam": {"optimizer": {"kind": "adam", "lr": 0.01}}}})
    printed = cli("tune", "lr", spec, COLUMNS="60").stdout
    assert "with one seed it is not known" in printed
    lines = printed.split("add to the spec's variants:\n")[1].split("written:")[0]
    keys = yaml.safe_load(spec.read_text())
    for name, changes in yaml.safe_load(lines).items():
        keys["variants"][name] |= changes
    experiment = load(write_spec(yaml.safe_dump(keys), "searched.yaml"))
    for settings in experiment.variants.values():
        assert settings.search is not None
        assert list(settings.search.space) == ["optimizer.lr"]
    table = printed.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 60


def test_optimizers_that_search_their_own_steps_are_left_out(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    lbfgs: dict[str, Any] = {"optimizer": {"kind": "lbfgs", "lr": 1.0}}
    whole = {"strategy": {"batch_size": "full"}}
    assert "searches along a line" in cli("tune", "lr", write_spec(lbfgs), code=2).stderr
    assert not runs.exists()
    printed = cli("tune", "lr", write_spec({"variants": {"sgd": whole, "line": lbfgs}}), "--steps", 100).stdout
    assert "line: left out, as optimizer lbfgs searches along a line" in printed
    assert "sgd: each of the 100 updates was a pass over all 1,222 samples" in printed
    assert "and a `search` of its own to line: all variants are searched or none" in printed


def test_where_nothing_falls_there_is_no_suggestion(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    done = cli("tune", "lr", write_spec({"seeds": 2}), "--low", 1e-9, "--high", 1e-7).stdout
    assert "no suggestion: in 2 of 2 seeds the loss did not fall clearly from 1e-09 to 1e-07" in done
    assert "to search these ranges" not in done


def test_a_rate_that_spoils_the_loss_is_named(cli: Cli, write_spec: WriteSpec, runs: Path) -> None:
    done = cli("tune", "lr", write_spec(), "optimizer.lr=50").stdout
    assert (
        "small: the spec's 50 lies where the loss was no better than at first" in done or "sgd: the spec's 50" in done
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--low", "3", "--high", "2"], "--low 3 and --high 2"),
        (["--steps", "5"], "--steps 5: a test takes at least 20 updates"),
        (["strategy.batch_size=5000"], "5000 is more than the 1222 training samples"),
        (["optimizer.lrr=1"], "did you mean 'lr'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    cli: Cli, write_spec: WriteSpec, runs: Path, arguments: list[str], words: str
) -> None:
    ended = cli("tune", "lr", write_spec(), *arguments, code=2)
    assert words in ended.stderr
    assert len(ended.errors) == 1
    assert not runs.exists()
