"""Limits on what a network of a search may take: a trial beyond one is not trained, and counts as the worst."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from command_line import SMALL, Ended
from hypothesis import given
from hypothesis import strategies as st
from sweeps import studies, swept_undrawn, trial_folders

import nnopt
from nnopt.compare.search.trial import Trial
from nnopt.errors import SpecError
from nnopt.plan import Plan
from nnopt.search.ledger import Ledger, open_storage
from nnopt.search.propose.losses import losses
from nnopt.search.propose.proposals import known_before, propose
from nnopt.search.sizes import Scales, beyond
from nnopt.spec.loading import load
from nnopt.spec.search.domains import IntRange
from nnopt.spec.search.search import SearchSpec
from nnopt.store.search_file import SearchFile
from nnopt.train.setup import DataCache

pytestmark = pytest.mark.usefixtures("undrawn")

Cli = Callable[..., Ended]
WIDTH = "model.hidden.0"
AT_MOST = 2000
# Seven short trials, of which the widest have too many parameters.
LIMITED: dict[str, Any] = {
    **SMALL,
    "device": "cpu",
    "budget": {"epochs": 1},
    "search": {
        "space": {WIDTH: {"int": [2, 128], "log": True}},
        "trials": 7,
        "limits": {"parameters": AT_MOST},
        "confirm": None,
    },
    "variants": {"sgd": {}},
}


def write_limited(folder: Path, **search: Any) -> Path:
    """The spec file, with other keys of its search."""
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump({**LIMITED, "search": {**LIMITED["search"], **search}}))
    return path


def parameters(width: int) -> int:
    """Of 64 pixels, so many hidden units and 10 classes."""
    return (64 + 1) * width + (width + 1) * 10


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept_undrawn(write_limited(tmp_path_factory.mktemp("limited")))


def test_a_trial_beyond_a_limit_has_no_runs_but_a_row(swept: Path) -> None:
    table = pandas.read_csv(swept / "runs/small/trials.csv")
    assert list(table["trial"]) == list(range(7))
    assert list(table["parameters"]) == [parameters(width) for width in table[WIDTH]]
    over = table[table["status"] == "over"]
    done = table[table["status"] == "done"]
    assert 0 < len(over) < 7
    assert len(over) + len(done) == 7
    assert over["parameters"].min() > AT_MOST >= done["parameters"].max()
    assert over["val_accuracy"].isna().all()
    folders = {folder.parent.name for folder in trial_folders(swept / "runs")}
    assert folders == {f"trial-{number}" for number in done["trial"]}


def test_the_tables_count_them_and_the_expected_best_leaves_them_out(swept: Path, cli: Cli) -> None:
    shown = " ".join(cli("sweep", swept / "search.yaml", "--runs-dir", swept / "runs", "--quiet").stdout.split())
    (row,) = pandas.read_csv(swept / "runs/small/search.csv").to_dict("records")
    assert f"7 ({row['over']} over)" in shown
    assert f"{row['over']} of 7 trials not trained: allowed were parameters at most 2,000." in shown
    assert len(pandas.read_csv(swept / "runs/small/expected_best.csv")) == 7 - row["over"]


def test_a_search_killed_before_its_sizes_were_written_tells_of_them_all_the_same(swept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs/small"
    shutil.copytree(swept / "runs/small", folder)
    told = json.loads((folder / "search.json").read_text())
    assert told["variants"]["sgd"].pop("sized")
    (folder / "search.json").write_text(json.dumps(told))
    nnopt.sweep(swept / "search.yaml", runs_dir=tmp_path / "runs")
    tables = [top / "runs/small/trials.csv" for top in (tmp_path, swept)]
    assert tables[0].read_text() == tables[1].read_text()


def test_more_trials_go_on_from_those_beyond_a_limit(swept: Path, tmp_path: Path) -> None:
    nnopt.sweep(write_limited(tmp_path, trials=4), runs_dir=tmp_path / "runs")
    assert "over" in set(pandas.read_csv(tmp_path / "runs/small/trials.csv")["status"])
    nnopt.sweep(write_limited(tmp_path), runs_dir=tmp_path / "runs")
    assert studies(tmp_path / "runs") == studies(swept / "runs")
    tables = [pandas.read_csv(top / "runs/small/trials.csv").drop(columns="train_seconds") for top in (tmp_path, swept)]
    pandas.testing.assert_frame_equal(*tables)


def test_what_is_compared_and_listed_later_knows_them(swept: Path, cli: Cli) -> None:
    page = swept / "report.html"
    cli("compare", "small", "--runs-dir", swept / "runs", "--html", page)
    assert "trained only with parameters at most 2,000" in page.read_text()
    cli("list", "--runs-dir", swept / "runs")


def test_a_search_from_before_there_were_limits_goes_on(tmp_path: Path, cli: Cli) -> None:
    spec = write_limited(tmp_path, limits={}, trials=1)
    nnopt.sweep(spec, runs_dir=tmp_path / "runs")
    path = tmp_path / "runs/small/search.json"
    old = json.loads(path.read_text())
    assert not old["search"].pop("limits")
    path.write_text(json.dumps(old))
    cli("sweep", spec, "search.trials=2", "--quiet")
    assert len(studies(tmp_path / "runs")["sgd"]) == 2
    done = cli("sweep", spec, "search.trials=2", "search.limits.parameters=900", code=2)
    assert "search.limits.parameters: not there, now 900" in done.stderr


def test_limits_that_nothing_meets_are_a_failure_that_says_so(tmp_path: Path, cli: Cli) -> None:
    done = cli("sweep", write_limited(tmp_path, limits={"multiply_adds": 100}, trials=3), "--quiet", code=1)
    (line,) = [line for line in done.stdout.split("warning: ")[1:] if "within" in line]
    words = " ".join(line.split())
    assert words.startswith("none of the 3 settings tried for sgd is within the limits (multiply_adds at most 100; the")
    assert "multiply_adds " in words.partition("least tried")[2]
    assert not trial_folders(tmp_path / "runs")


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_limited(tmp_path, limits={"latency_seconds": 60.0}, trials=1)
    nnopt.sweep(spec, runs_dir=tmp_path / "runs")
    (first,) = SearchFile.read(tmp_path / "runs/small").variants["sgd"].sized
    assert 0 < first.sizes["latency_seconds"] < 60
    assert not first.is_over
    with open_storage(tmp_path / "runs/small") as storage:  # as a kill after the measurement leaves it
        ledger = Ledger(storage, "small/sgd", True, {})
        ledger.add({WIDTH: 5}, {WIDTH: IntRange(int=(2, 128), log=True)})
        ledger.note_sizes(1, {"latency_seconds": 90.0})

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(Scales, "weigh", never)
    nnopt.sweep(load(spec, ["search.trials=2"]), runs_dir=tmp_path / "runs")
    table = pandas.read_csv(tmp_path / "runs/small/trials.csv")
    assert list(table["status"]) == ["done", "over"]
    assert list(table["latency_seconds"]) == [first.sizes["latency_seconds"], 90.0]


def test_a_dry_run_tells_of_the_limits(tmp_path: Path, cli: Cli) -> None:
    done = cli("sweep", write_limited(tmp_path, trials=1), "--dry-run")
    assert "a trial is trained only with parameters at most 2,000" in done.stdout


def test_a_network_is_weighed_as_it_is_built(tmp_path: Path) -> None:
    run = Plan.of(load(write_limited(tmp_path), ["model.hidden=[16]"])).runs[0]
    found = Scales(DataCache()).weigh(run, ("multiply_adds", "parameters", "latency_seconds"))
    assert list(found) == ["multiply_adds", "parameters", "latency_seconds"]
    assert found["parameters"] == parameters(16)
    assert found["multiply_adds"] == 64 * 16 + 16 * 10
    assert found["latency_seconds"] > 0


@given(
    sizes=st.dictionaries(st.sampled_from("abc"), st.integers(1, 10**9), min_size=3),
    limits=st.dictionaries(st.sampled_from("abc"), st.integers(1, 10**9), min_size=1),
)
def test_the_excess_is_that_of_what_is_most_beyond(sizes: dict[str, float], limits: dict[str, float]) -> None:
    found = beyond(sizes, limits)
    assert (found > 0) == any(sizes[name] > limits[name] for name in limits)
    if found > 0:
        assert max(sizes[name] / limits[name] for name in limits) == pytest.approx(1 + found)


# ----------------------------------------------------------------------------------------------- what samplers see


def test_trials_beyond_a_limit_are_behind_all_others_the_farthest_last() -> None:
    statuses = [("over", 2.0), ("failed", 0.0), ("over", 0.1), ("diverged", 0.0), ("pruned", 0.0)]
    known = [Trial(place, {}, status, excess=excess) for place, (status, excess) in enumerate(statuses)]  # type: ignore[arg-type]
    known.append(Trial(5, {}, "done", value=-7.0))
    for higher in (True, False):
        found = losses(known, higher)
        assert sorted(range(6), key=lambda place: found[place]) == [5, 4, 3, 1, 2, 0]


@pytest.mark.parametrize(("kind", "trials"), [("tpe", 40), ("cma_es", 80)])
def test_samplers_that_learn_keep_within_a_limit_that_better_values_lie_beyond(kind: str, trials: int) -> None:
    """The more of x, the better, but only up to a quarter of its range."""
    keys = {"x": {"range": [0, 1]}, "y": {"range": [0, 1]}}
    search = SearchSpec.model_validate({"space": keys, "sampler": {"kind": kind}})
    known: list[Trial] = []
    for index in range(trials):
        before = known[: known_before(search, search.space, index)]
        setting = propose(search.space, search.sampler, index, before, True)
        excess = max(0.0, setting["x"] / 0.25 - 1)
        value = None if excess else setting["x"]
        known.append(Trial(index, setting, "over" if excess else "done", value, excess=excess))
    later = known[trials // 2 :]
    assert sum(trial.status == "done" for trial in later) > 0.6 * len(later)  # at random a quarter
    assert max(trial.value for trial in later if trial.value is not None) > 0.2


# ------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"parameter": 5}, "search.limits.parameter: unknown key 'parameter'; did you mean 'parameters'?"),
        ({"parameters": 0}, "search.limits.parameters: should be greater than 0, not 0"),
        ({"multiply_adds": -1}, "search.limits.multiply_adds: should be greater than 0, not -1"),
        ({"latency_seconds": 0}, "search.limits.latency_seconds: should be greater than 0, not 0"),
        ({"parameters": 1.5}, "search.limits.parameters: should be a whole number"),
    ],
)
def test_limits_that_are_none(tmp_path: Path, limits: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as raised:
        load(write_limited(tmp_path, limits=limits))
    assert told in str(raised.value)
