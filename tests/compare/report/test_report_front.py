"""The report of a search with two objectives: the front as a table, and as a chart in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import assert_silent, caption, chart, choose, emulate, hover, kinds, needs_chromium, open_page
from compare_runs import make_run
from search_runs import make_search, rewrite, settings
from selenium.webdriver import Chrome
from test_report import parse

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.report.page import to_html, write_html
from nnopt.compare.search.summary import Member
from nnopt.store.find import read_named_runs
from nnopt.store.search_file import SearchFile, Winner

TRIALS = 8
NAME = "search-front-0"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Eight trials that cost the more the later they came; the first that is done was trained again."""
    top = tmp_path_factory.mktemp("front")
    for record in make_search(top, rates={"sgd": 1e-4}, trials=TRIALS, confirmed=()):
        rewrite(record, parameters=100 * 2 ** (record.trial or 0))
    file = SearchFile.read(top / "digits")
    assert file is not None
    file = replace(file, search={**file.search, "objective": {"against": "parameters"}}, confirm_seeds=(1, 2, 3))
    file.with_variant("sgd", front=(Winner(0, "again"),)).write(top / "digits")
    for seed in (1, 2, 3):
        spec = {"data": {"kind": "digits"}, "model": {"kind": "mlp"}, "tuned": {"trials": TRIALS}}
        tests = {"last": {"accuracy": 0.8}, "best": {"accuracy": 0.8}}
        make_run(top, "sgd.0", seed, [0.5, 0.8 + seed / 100], spec=spec, spec_hash="again", test=tests)
    return compare(read_named_runs(["digits"], top).records)


def front_of(comparison: Comparison) -> tuple[Member, ...]:
    (summary,) = comparison.searches
    return summary.variants[0].front


def test_the_front_is_a_table_with_the_settings(comparison: Comparison) -> None:
    members = front_of(comparison)
    assert members[0].name == "sgd.0"
    assert len(members) > 1
    section = parse(to_html(comparison)).one("section", id="search")
    rows = [[cell.text for cell in row.children] for row in section.all("tbody")[0].children]
    assert [row[0] for row in rows] == ["sgd.0", *["sgd"] * (len(members) - 1)]
    assert [row[2] for row in rows] == [f"{member.trial.cost:,.0f}" for member in members]
    assert "0.8200 (0.7952 to 0.8448), n = 3" in rows[0]
    assert f"{settings(TRIALS)[0]['optimizer.lr']:g}" in rows[0]
    assert "judged by val_accuracy (more is better) against parameters" in section.text


@pytest.fixture
def page(browser: Chrome, comparison: Comparison, tmp_path: Path) -> Iterator[Chrome]:
    """The report, newly opened; afterwards the console and the network must have been silent."""
    write_html(comparison, tmp_path / "front.html")
    emulate(browser)
    open_page(browser, (tmp_path / "front.html").as_uri())
    yield browser
    assert_silent(browser)


@needs_chromium
def test_the_front_is_drawn_with_what_was_trained_again(page: Chrome, comparison: Comparison) -> None:
    drawn = chart(page, NAME)
    members = front_of(comparison)
    assert kinds(drawn) == ["trials", "front", "again"]
    trials, front, again = drawn["traces"]
    assert front["x"] == [member.trial.cost for member in members]
    assert front["y"] == pytest.approx([member.trial.value for member in members], rel=1e-4)
    assert len(trials["x"]) > len(front["x"])
    assert (again["x"], again["y"]) == ([100], pytest.approx([0.82]))
    assert drawn["x"]["type"] == "log"
    assert drawn["x"]["title"] == "parameters"
    assert "The front of val_accuracy against parameters" in caption(page, NAME)
    assert "sgd, trial 0" in hover(page, NAME, 1, 0, "sgd, trial")
    choose(page, f"{NAME}-scale", "linear")
    assert chart(page, NAME)["x"]["type"] == "linear"
    choose(page, f"{NAME}-height", "all")
    assert chart(page, NAME)["y"]["range"][0] <= min(trials["y"])
