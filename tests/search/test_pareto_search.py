"""A search with two objectives: it finds a front, confirms members of it, and tells of them as variants."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas
import pytest
import yaml
from command_line import SMALL, Ended
from hypothesis import given
from hypothesis import strategies as st
from running import summary_of
from sweeps import swept_undrawn

import nnopt
from nnopt.compare.search.front import front_of, spread_out
from nnopt.compare.search.trial import Trial
from nnopt.errors import SpecError
from nnopt.search.propose.proposals import known_before, propose
from nnopt.spec.loading import load
from nnopt.spec.search.search import SearchSpec
from nnopt.store.search_file import SearchFile

pytestmark = pytest.mark.usefixtures("undrawn")

Cli = Callable[..., Ended]
WIDTH = "model.hidden.0"
PARETO: dict[str, Any] = {
    **SMALL,
    "device": "cpu",
    "optimizer": {"kind": "adam", "lr": 0.01},
    "search": {
        "space": {WIDTH: {"int": [2, 128], "log": True}},
        "sampler": {"kind": "tpe", "startup_trials": 3},
        "trials": 8,
        "objective": {"metric": "val_accuracy", "against": "parameters"},
        "confirm": {"seeds": 2, "at_most": 3},
    },
    "variants": {"adam": {}},
}


def write_pareto(folder: Path, **search: Any) -> Path:
    """The spec file, with other keys of its search."""
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump({**PARETO, "search": {**PARETO["search"], **search}}))
    return path


def values_of(runs: Path) -> list[tuple[Any, ...]]:
    """What Optuna's own store says of each trial."""
    study = optuna.load_study(study_name="small/adam", storage=f"sqlite:///{runs / 'small/study.db'}")
    return [(trial.number, trial.state.name, trial.params, trial.values) for trial in study.trials]


def confirmed_in(runs: Path) -> set[str]:
    """The variants that have runs of fresh seeds."""
    return {folder.parent.name for folder in (runs / "small").glob("*/seed-*")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder above the runs of one sweep of eight trials."""
    return swept_undrawn(write_pareto(tmp_path_factory.mktemp("front")))


def test_the_front_is_what_no_trial_beats_in_both(swept: Path) -> None:
    trials = pandas.read_csv(swept / "runs/small/trials.csv")
    rows = pandas.read_csv(swept / "runs/small/search.csv")
    front = [
        one.trial
        for one in trials.itertuples()
        if not any(
            other.val_accuracy >= one.val_accuracy
            and other.parameters <= one.parameters
            and (other.val_accuracy > one.val_accuracy or other.parameters < one.parameters)
            for other in trials.itertuples()
        )
    ]
    assert len(front) > 1
    assert set(rows["best_trial"]) <= set(front)
    seen = trials.set_index("trial").loc[front]
    assert len(rows) == len(seen[["parameters", "val_accuracy"]].drop_duplicates())
    assert list(rows["cost"]) == sorted(rows["cost"])
    assert [trial[3] for trial in values_of(swept / "runs")] == [
        [value, cost] for value, cost in zip(trials["val_accuracy"], trials["parameters"], strict=True)
    ]


def test_members_are_trained_again_under_names_of_their_own(swept: Path) -> None:
    rows = pandas.read_csv(swept / "runs/small/search.csv").dropna(subset="confirmed_as")
    assert len(rows) == min(3, len(pandas.read_csv(swept / "runs/small/search.csv")))
    assert confirmed_in(swept / "runs") == set(rows["confirmed_as"])
    for row in rows.to_dict("records"):
        runs = [summary_of(swept / f"runs/small/{row['confirmed_as']}/seed-{seed}") for seed in (1, 2)]
        assert row["confirmed_as"] == f"adam.{row['best_trial']}"
        assert {run["parameters"] for run in runs} == {row["cost"]}
        assert {run["spec"]["model"]["hidden"][0] for run in runs} == {row[WIDTH]}
        assert {run["spec"]["tuned"]["trials"] for run in runs} == {8}
        assert row["test_accuracy_mean"] == pytest.approx(
            sum(run["test"]["last"]["accuracy"] for run in runs) / 2, rel=1e-6
        )


def test_they_are_what_is_compared_on_test_data(swept: Path, cli: Cli) -> None:
    found = json.loads(cli("compare", "small", "--runs-dir", swept / "runs", "--json").stdout)
    assert found["metric"] == "test_accuracy"
    assert {row["variant"]: row["done"] for row in found["rows"]} == dict.fromkeys(confirmed_in(swept / "runs"), 2)
    (note,) = [note for note in found["notes"] if "led to these settings" in note]
    assert "trials only" not in note


def test_the_tables_and_the_report_tell_of_the_front(swept: Path, cli: Cli) -> None:
    page = swept / "report.html"
    cli("compare", "small", "--runs-dir", swept / "runs", "--html", page)
    assert "The front of val_accuracy against parameters" in page.read_text()
    before = {path: path.stat().st_mtime_ns for path in (swept / "runs/small").glob("*/*/**/metrics.csv")}
    done = cli("sweep", swept / "search.yaml", "--runs-dir", swept / "runs", "--quiet")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    shown = done.stdout.partition("The front of val_accuracy against parameters")[2]
    for name in confirmed_in(swept / "runs"):
        assert name in shown


def test_a_search_that_goes_on_ends_as_one_that_was_whole(swept: Path, tmp_path: Path) -> None:
    nnopt.sweep(write_pareto(tmp_path, trials=4), runs_dir=tmp_path / "runs")
    first = confirmed_in(tmp_path / "runs")
    nnopt.sweep(write_pareto(tmp_path), runs_dir=tmp_path / "runs")
    assert values_of(tmp_path / "runs") == values_of(swept / "runs")
    ours, theirs = (SearchFile.read(top / "runs/small").variants["adam"] for top in (tmp_path, swept))
    assert ours.front == theirs.front
    assert confirmed_in(tmp_path / "runs") == confirmed_in(swept / "runs")
    left = first - confirmed_in(swept / "runs")
    assert left  # else nothing had to make way
    aside = (tmp_path / "runs/.aside").rglob("summary.json")
    assert {json.loads(path.read_text())["variant"] for path in aside} == left


def test_without_fresh_seeds_the_trials_on_the_front_are_compared(tmp_path: Path, cli: Cli) -> None:
    swept = nnopt.sweep(write_pareto(tmp_path, confirm=None, trials=3), runs_dir=tmp_path / "runs")
    (variant,) = swept.summary.variants
    rows = json.loads(cli("compare", "small", "--json").stdout)["rows"]
    assert {row["trial"] for row in rows} == {member.trial.number for member in variant.front}
    assert all(member.name is None for member in variant.front)


def test_latency_can_be_what_is_weighed_against(tmp_path: Path) -> None:
    against = {"metric": "val_accuracy", "against": "latency_seconds"}
    spec = write_pareto(tmp_path, confirm=None, trials=2, objective=against)
    swept = nnopt.sweep(spec, runs_dir=tmp_path / "runs")
    (variant,) = swept.summary.variants
    assert all(trial.cost is not None and 0 < trial.cost < 1 for trial in variant.trials)
    assert len(variant.front) > 0


def test_a_searched_key_that_its_part_asks_for_may_be_left_out(tmp_path: Path) -> None:
    path = write_pareto(tmp_path, space={"structure.prune.amount": {"range": [0.1, 0.9]}})
    keys = yaml.safe_load(path.read_text()) | {"structure": {"prune": {"kind": "magnitude"}}}
    path.write_text(yaml.safe_dump(keys))
    assert load(path).variants["adam"].structure.prune.amount == 0.5


# ---------------------------------------------------------------------------------------------- fronts and members


def made(pairs: list[tuple[float | None, int | None]]) -> list[Trial]:
    return [Trial(number, {}, "done", value, cost=cost) for number, (value, cost) in enumerate(pairs)]


PAIRS = st.lists(st.tuples(st.none() | st.integers(0, 9).map(float), st.none() | st.integers(1, 9)), max_size=15)


@given(pairs=PAIRS, higher=st.booleans())
def test_a_front_is_what_a_slow_search_finds(pairs: list[tuple[float | None, int | None]], higher: bool) -> None:
    whole = [(value if higher else -value, -cost) for value, cost in pairs if value is not None and cost is not None]
    best = {one for one in whole if not any(o != one and o[0] >= one[0] and o[1] >= one[1] for o in whole)}
    front = front_of(made(pairs), higher)
    found = [((trial.value or 0.0) * (1 if higher else -1), -(trial.cost or 0)) for trial in front]
    assert len(found) == len(best)
    assert set(found) == best
    assert found == sorted(found)
    for trial in front:  # of equal ones the first
        assert (trial.value, trial.cost) not in [(one.value, one.cost) for one in made(pairs)[: trial.number]]


@given(costs=st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True), most=st.integers(1, 12))
def test_members_are_spread_from_the_cheapest_to_the_best(costs: list[int], most: int) -> None:
    front = made([(float(place), cost) for place, cost in enumerate(sorted(costs))])
    chosen = spread_out(front, most)
    assert len(chosen) == min(most, len(front))
    assert list(chosen) == [trial for trial in front if trial in chosen]
    assert chosen[-1] is front[-1]
    if most > 1:
        assert chosen[0] is front[0]


def test_the_middle_member_is_in_the_middle_of_the_factors() -> None:
    front = made([(float(place), 10**place) for place in range(5)])
    assert [trial.cost for trial in spread_out(front, 3)] == [1, 100, 10_000]


def test_tpe_looks_near_the_front_of_two_objectives() -> None:
    """Of x and y only x = 0.5 is on the front of -(x - 0.5)² - y against 1 + y, whatever y is."""
    search = SearchSpec.model_validate(
        {
            "space": {"x": {"range": [0, 1]}, "y": {"range": [0, 1]}},
            "sampler": {"kind": "tpe"},
            "objective": {"against": "parameters"},
        }
    )
    known: list[Trial] = []
    for index in range(50):
        before = known[: known_before(search, search.space, index)]
        setting = propose(search.space, search.sampler, index, before, True, has_costs=True)
        x, y = setting["x"], setting["y"]
        known.append(Trial(index, setting, "done", y - 4 * (x - 0.5) ** 2, cost=math.exp(5 * y)))
    away = [abs(trial.setting["x"] - 0.5) for trial in known[25:]]
    assert sum(away) / 25 < 0.15  # at random a quarter
    assert max(trial.setting["y"] for trial in known[25:]) > 0.8
    assert min(trial.setting["y"] for trial in known[25:]) < 0.2


# ------------------------------------------------------------------------------------------------------- refused

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"objective": {"metric": "parameters", "against": "parameters"}}, "against: parameters is the objective itself"),
    ({"objective": {"against": "size"}}, "search.objective.against: should be one of 'parameters'"),
    ({"sampler": {"kind": "cma_es"}}, "search.sampler: cma_es learns from one objective"),
    ({"prune": {"kind": "median"}}, "search.prune: a trial is cut short by one objective"),
    ({"confirm": {"at_most": 0}}, "search.confirm.at_most: should be at least 1, not 0"),
]


@pytest.mark.parametrize(("change", "told"), REFUSED)
def test_what_two_objectives_do_not_go_with(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as raised:
        load(write_pareto(tmp_path, **change))
    assert told in str(raised.value)


def test_a_variant_that_would_share_the_name_of_a_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(yaml.safe_dump({**PARETO, "variants": {"adam": {}, "adam.3": {}}}))
    with pytest.raises(SpecError, match=r"trial 3 of adam would be called so"):
        load(path)
