"""`--extend`: the part beyond an edge is searched, all get as many more trials, another winner takes over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended
from running import summary_of
from sweeps import studies, write_search

import nnopt
from nnopt.errors import Interrupted
from nnopt.search import sweep as sweeping
from nnopt.search.opening import asked_for, gone_on_from
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.store.search_file import Round, SearchFile

pytestmark = pytest.mark.usefixtures("undrawn")

Cli = Callable[..., Ended]

# The best rate of plain gradient descent lies far above this range, that of momentum within its own.
NARROW: dict[str, Any] = {
    "search": {"space": {"optimizer.lr": {"log": [1e-4, 1e-2]}}},
    "variants": {"momentum": {"search": {"space": {"optimizer.lr": {"log": [1e-3, 30]}}}}},
}


def test_the_part_beyond_the_edge_is_searched_and_all_get_as_many_trials(tmp_path: Path, cli: Cli) -> None:
    spec = write_search(tmp_path, NARROW)
    first = cli("sweep", spec, "--quiet").stdout
    assert "lies at the upper end of 0.0001 to 0.01" in " ".join(first.split())
    assert "`--extend` searches 0.01 to 0.1 too" in " ".join(first.split())
    before = studies(tmp_path / "runs")
    old = SearchFile.read(tmp_path / "runs/small").variants
    cli("sweep", spec, "--extend", "--quiet")
    after = studies(tmp_path / "runs")
    # Six trials over two decades: three more in the next one.
    assert {name: len(trials) for name, trials in after.items()} == {"sgd": 9, "momentum": 9}
    assert all(after[name][:6] == before[name] for name in before)
    assert all(0.01 <= trial[2]["optimizer.lr"] <= 0.1 for trial in after["sgd"][6:])
    assert all(0.001 <= trial[2]["optimizer.lr"] <= 30 for trial in after["momentum"][6:])
    settings = [trial[2]["optimizer.lr"] for trial in after["momentum"]]
    assert len(set(settings)) == 9

    winner = SearchFile.read(tmp_path / "runs/small").variants["sgd"].winner
    assert winner.spec_hash != old["sgd"].winner.spec_hash
    for folder in (tmp_path / "runs/small/sgd").glob("seed-*"):
        assert summary_of(folder)["spec_hash"] == winner.spec_hash
        assert summary_of(folder)["spec"]["tuned"] == {"trials": 9, "ranges": {"optimizer.lr": [0.0001, 0.1]}}
    assert len(list((tmp_path / "runs/.aside/small/sgd").iterdir())) == 2
    # A winner that stayed is told what was searched since.
    assert SearchFile.read(tmp_path / "runs/small").variants["momentum"].winner == old["momentum"].winner
    for folder in (tmp_path / "runs/small/momentum").glob("seed-*"):
        assert summary_of(folder)["spec"]["tuned"]["trials"] == 9
        assert "trials: 9" in (folder / "spec.yaml").read_text()
    # The plain command again knows of the extension; a second one goes another decade on.
    rows = json.loads(cli("compare", "small", "--json").stdout)["rows"]
    assert {row["label"]: row["done"] for row in rows} == {"sgd": 2, "momentum": 2}
    cli("sweep", spec, "--quiet")
    assert studies(tmp_path / "runs") == after
    cli("sweep", spec, "--extend", "--quiet")
    assert [len(trials) for trials in studies(tmp_path / "runs").values()] == [12, 12]


def test_a_grid_goes_on_at_its_own_spacing_where_it_found_an_edge(tmp_path: Path) -> None:
    grid = {
        "search": {
            "sampler": {"kind": "grid"},
            "space": {"optimizer.lr": {"log": [1e-4, 1e-2], "points": 3}},
            "trials": None,
            "confirm": None,
        },
        "variants": {"momentum": {"search": {"space": {"optimizer.lr": {"log": [1e-3, 30], "points": 3}}}}},
    }
    spec = write_search(tmp_path, grid)
    nnopt.sweep(spec, runs_dir=tmp_path / "runs")
    swept = nnopt.sweep(spec, runs_dir=tmp_path / "runs", extend=True)
    found = studies(tmp_path / "runs")
    assert [trial[2]["optimizer.lr"] for trial in found["sgd"]] == [1e-4, 1e-3, 1e-2, 1e-2, 1e-1]
    assert len(found["momentum"]) == 3  # its best is in the middle: its grid is complete
    assert [one.variant for one in swept.summary.variants if one.edges] == ["sgd"]
    # So is that of a variant which comes later.
    more = write_search(tmp_path, merge(grid, {"variants": {"adam": {"optimizer": {"kind": "adam"}}}}))
    nnopt.sweep(more, runs_dir=tmp_path / "runs")
    assert [trial[2]["optimizer.lr"] for trial in studies(tmp_path / "runs")["adam"]] == [1e-4, 1e-3, 1e-2]


def test_an_extension_that_was_cut_short_is_finished_before_a_further_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_search(tmp_path, merge(NARROW, {"budget": {"epochs": 1}, "search": {"trials": 4}}))
    runs = tmp_path / "runs"

    def stop(*_: object) -> None:
        raise Interrupted(143)

    for step in ("_choose", "_confirm"):  # before anything came of the added trials, and while winners are trained
        with monkeypatch.context() as patch:
            patch.setattr(sweeping._Sweep, step, stop)
            with pytest.raises(Interrupted):
                nnopt.sweep(spec, runs_dir=runs, extend=True)
        assert {len(trials) for trials in studies(runs).values()} == {6}
    nnopt.sweep(spec, runs_dir=runs, extend=True)
    assert {len(trials) for trials in studies(runs).values()} == {6}
    nnopt.sweep(spec, runs_dir=runs, extend=True)
    assert {len(trials) for trials in studies(runs).values()} == {8}


def test_a_variant_that_missed_an_extension_catches_up(tmp_path: Path) -> None:
    asked = asked_for(load(write_search(tmp_path, NARROW)))
    first = asked.variants["sgd"].rounds[0]
    before = asked.with_variant("sgd", rounds=(first, Round(6, 3, first.space), Round(9, 5, first.space)))
    found = gone_on_from(before, asked).variants
    assert [(one.first, one.trials) for one in found["momentum"].rounds] == [(0, 6), (6, 3), (9, 5)]
    assert all(one.space == asked.variants["momentum"].space for one in found["momentum"].rounds)
    assert found["sgd"] == before.variants["sgd"]


def test_nothing_to_extend_is_said(tmp_path: Path, cli: Cli) -> None:
    space = {"search": {"space": {"optimizer.lr": {"log": [1e-3, 30]}}, "confirm": None}}
    spec = write_search(tmp_path, space)
    done = cli("sweep", spec, "--extend")
    assert "there is nothing to extend" in done.stderr
    assert [len(trials) for trials in studies(tmp_path / "runs").values()] == [6, 6]
