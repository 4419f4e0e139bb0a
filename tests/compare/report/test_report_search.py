"""The report's section on a search: its numbers against the summary, and its charts in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import (
    assert_silent,
    by_id,
    caption,
    chart,
    choose,
    emulate,
    hover,
    into_view,
    kinds,
    needs_chromium,
    open_page,
    press,
    run,
    tab_to,
    wait,
)
from search_runs import make_search, settings
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_report import Node, data_of, parse

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.report.page import to_html, write_html
from nnopt.compare.report.search_data import good_part
from nnopt.compare.search.importance import Importance, KeyImportance
from nnopt.compare.search.sensitivity import RatePoint, Sensitivity
from nnopt.compare.search.summary import SearchSummary
from nnopt.store.find import read_named_runs

TRIALS = 12


def searched(top: Path, *names: str) -> Comparison:
    return compare(read_named_runs(names or ["digits"], top).records)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two variants of twelve trials, the winners on three fresh seeds; adam's best rate is the lowest one."""
    top = tmp_path_factory.mktemp("searched")
    make_search(top, rates={"sgd": 0.1, "adam": 1e-5}, trials=TRIALS)
    return searched(top)


@pytest.fixture(scope="module")
def html(comparison: Comparison) -> str:
    return to_html(comparison)


@pytest.fixture
def section(html: str) -> Node:
    return parse(html).one("section", id="search")


def summary_of(comparison: Comparison) -> SearchSummary:
    (summary,) = comparison.searches
    return summary


class TestOnThePage:
    def test_it_says_what_was_searched(self, section: Node) -> None:
        assert "12 trials of each of 2 variants, proposed by the quasi-random sampler" in section.text
        assert "judged by val_accuracy (more is better) over seed 0." in section.text
        assert "trained again on seeds 1, 2, 3: only those runs are in the results above." in section.text

    def test_the_winners_are_those_of_fresh_seeds(self, section: Node, comparison: Comparison) -> None:
        rows = {row.children[0].text: [cell.text for cell in row.children] for row in section.all("tbody")[0].children}
        assert list(rows) == ["sgd", "adam"]
        for one in summary_of(comparison).variants:
            validation, test = one.estimates
            assert validation.interval
            assert one.best
            cells = rows[one.variant]
            ends = f"({validation.interval.low:.4f} to {validation.interval.high:.4f}), n = 3"
            assert cells[1] == f"{validation.mean:.4f} {ends}"
            assert cells[2].startswith(f"{test.mean:.4f} (")
            assert (cells[3], cells[4]) == (f"{one.best.value:.4f}", str(one.best.number))
        (heads,) = section.all("thead")[1].children
        assert [cell.text for cell in heads.children] == ["key", "sgd", "adam"]
        best = [one.best.setting for one in summary_of(comparison).variants if one.best]
        for row, key in zip(section.all("tbody")[1].children, settings(1)[0], strict=True):
            values = [one[key] for one in best]
            assert [cell.text for cell in row.children] == [
                key,
                *(value if isinstance(value, str) else f"{value:g}" for value in values),
            ]

    def test_diverged_trials_are_counted_with_their_interval(self, section: Node) -> None:
        lost = sum(setting["optimizer.lr"] > 0.3 for setting in settings(TRIALS))
        assert 0 < lost < TRIALS
        row = section.all("tbody")[2].children[0]
        assert row.children[1].text == "12"
        assert row.children[3].text.startswith(f"{lost} of 12 (")

    def test_warnings_stand_above(self, html: str, comparison: Comparison) -> None:
        edged = replace(summary_of(comparison).variants[1], warnings=("the best x of y lies low; `--extend` goes on",))
        summary = replace(summary_of(comparison), variants=(summary_of(comparison).variants[0], edged))
        other = replace(comparison)
        other.__dict__["searches"] = (summary,)
        found = parse(to_html(other)).one("section", id="search").one("ul", **{"class": "findings"})
        assert found.text == "The best x of y lies low; --extend goes on."
        assert found.one("code").text == "--extend"

    def test_every_share_of_the_variance_has_a_bar(self, section: Node, comparison: Comparison) -> None:
        keys = [(one.variant, key) for one in summary_of(comparison).variants for key in one.importance.keys]
        assert len(keys) == 6
        assert len(section.all("svg", **{"class": "bar"})) == len(keys)
        for _, key in keys:
            assert f"{100 * key.share:.0f} % ({100 * key.low:.0f} to {100 * key.high:.0f})" in section.text

    def test_the_script_has_every_trial(self, html: str, comparison: Comparison) -> None:
        (value,) = data_of(parse(html))["search"]
        assert (value["metric"], value["higher"]) == ("val_accuracy", True)
        for group, one in zip(value["groups"], summary_of(comparison).variants, strict=True):
            assert group["label"] == one.variant
            assert group["trials"]["number"] == list(range(TRIALS))
            for shown, trial in zip(group["trials"]["value"], one.trials, strict=True):
                assert shown == (trial.value and pytest.approx(trial.value, rel=1e-5))
            assert [key["name"] for key in group["keys"]] == list(one.space)
            assert group["keys"][0]["marks"] == [[0, "0.0001"], [1, "1"]]
            assert group["keys"][2]["marks"] == [[0, "relu"], [1, "tanh"]]
            for key, places in zip(one.space, group["trials"]["places"], strict=True):
                for trial, place in zip(one.trials, places, strict=True):
                    domain: Any = one.space[key]
                    if key == "model.activation":
                        assert place == ["relu", "tanh"].index(trial.setting[key])
                    else:
                        assert place == pytest.approx(domain.place_of(trial.setting[key]), abs=1e-5)

    def test_lines_look_as_in_the_other_charts(self, html: str) -> None:
        data = data_of(parse(html))
        looks = {one["label"]: (one["colour"], one["dash"], one["marker"]) for one in data["curves"]["groups"]}
        for one in data["search"][0]["groups"]:
            assert (one["colour"], one["dash"], one["marker"]) == looks[one["label"]]

    def test_the_rates_of_the_rows_are_looked_for_in_the_search(self, html: str) -> None:
        assert "Trials tried the rates: see Search." in parse(html).one("section", id="rates").text

    def test_without_trials_there_is_no_section(self, comparison: Comparison) -> None:
        page = parse(to_html(compare([record for group in comparison.groups for record in group.records])))
        assert page.all("section", id="search") == []
        assert "search" not in data_of(page)

    def test_two_searches_have_headings_of_their_own(self, tmp_path: Path) -> None:
        for name in ("digits", "wine"):
            make_search(tmp_path, name, trials=3, confirmed=(1,))
        page = parse(to_html(searched(tmp_path, "digits", "wine")))
        section = page.one("section", id="search")
        heads = [head.text for head in section.all("h3")]
        assert heads[0] == "Digits: what was searched"
        assert "Wine: winners" in heads
        assert len(data_of(page)["search"]) == 2
        names = [
            node.attributes["id"] for tag in ("div", "select") for node in section.all(tag) if "id" in node.attributes
        ]
        assert len(names) == len(set(names)) > 12

    def test_trials_alone_are_a_report(self, tmp_path: Path) -> None:
        make_search(tmp_path, trials=2, confirmed=())
        section = parse(to_html(searched(tmp_path))).one("section", id="search")
        assert "val_accuracy, seeds of the trial" in section.text
        assert "chosen by the very runs" in section.text
        assert "too few" in section.text

    def test_where_every_trial_diverged_it_is_said(self, tmp_path: Path) -> None:
        for record in make_search(tmp_path, trials=3, confirmed=()):
            text = (record.folder / "summary.json").read_text()
            (record.folder / "summary.json").write_text(text.replace('"status": "done"', '"status": "diverged"'))
        section = parse(to_html(searched(tmp_path))).one("section", id="search")
        assert "3 of 3" in section.text
        assert "No trial of sgd came to a value" in section.text

    def test_names_of_others_stay_text(self, tmp_path: Path) -> None:
        evil = "<b>evil"
        make_search(tmp_path, rates={evil: 0.1, "adam": 0.01}, trials=3)
        page = parse(to_html(searched(tmp_path)))
        assert page.one("section", id="search").all("b") == []
        assert evil in page.one("section", id="search").text


class TestTheGoodPart:
    def sensitivity(self, low: float, high: float) -> Sensitivity:
        values = {0.001: 0.90, 0.01: 0.95, 0.1: 0.94, 1.0: 0.80}
        points = tuple(RatePoint(rate, value, n) for n, (rate, value) in enumerate(values.items()))
        return Sensitivity("optimizer.lr", False, points, points, points[1], 0.9405, low, high, False, False)

    def test_lies_on_the_line(self) -> None:
        x, y = good_part(self.sensitivity(10**-2.5, 10**-0.5))
        assert x == pytest.approx([10**-2.5, 0.01, 0.1, 10**-0.5])
        assert y == pytest.approx([0.925, 0.95, 0.94, 0.87])

    def test_may_be_a_single_point(self) -> None:
        assert good_part(self.sensitivity(0.01, 0.01)) == ([0.01], [0.95])

    def test_ends_where_the_line_does(self) -> None:
        x, y = good_part(self.sensitivity(0.001, 1.0))
        assert (x[0], x[-1], y[0], y[-1]) == (0.001, 1.0, 0.90, 0.80)


@pytest.fixture(scope="module")
def steered(comparison: Comparison) -> Comparison:
    """The same as if TPE had chosen the settings, and momentum were searched beside relu alone."""
    variants = []
    for one in summary_of(comparison).variants:
        trials = [
            replace(trial, setting={key: value for key, value in trial.setting.items() if key != "optimizer.momentum"})
            if trial.setting["model.activation"] == "tanh"
            else trial
            for trial in one.trials
        ]
        made = replace(one, trials=tuple(trials))
        keys = [KeyImportance("optimizer.lr", 0.75, 0.7, 0.8), KeyImportance("model.activation", 0.1, 0.05, 0.15)]
        keys += [KeyImportance("optimizer.momentum", 0.3, 0.2, 0.4, where="model.activation is relu")]
        made.__dict__["importance"] = Importance(tuple(keys), ("optimizer.momentum is not in every trial",))
        variants.append(made)
    made_of = replace(comparison)
    search = {"sampler": {"kind": "tpe"}, "prune": {"kind": "median"}}
    made_of.__dict__["searches"] = (replace(summary_of(comparison), variants=tuple(variants), search=search),)
    return made_of


def test_importance_under_conditions_is_a_table_a_variant(steered: Comparison) -> None:
    section = parse(to_html(steered)).one("section", id="search")
    assert "proposed by the tpe sampler and cut short by median" in section.text
    first, second = (section.one("div", id=f"search-importance-0-{place}") for place in (0, 1))
    assert first.one("caption").text.startswith("sgd: how much")
    assert second.one("caption").text.startswith("adam: how much")
    assert [cell.text for cell in first.one("thead").all("th")] == [
        "key",
        "all trials",
        "where model.activation is relu",
    ]
    rows = [[cell.text for cell in row.children] for row in first.one("tbody").children]
    assert rows == [
        ["optimizer.lr", "75 % (70 to 80)", "-"],
        ["optimizer.momentum", "-", "30 % (20 to 40)"],
        ["model.activation", "10 % (5 to 15)", "-"],
    ]
    assert "sgd, adam: optimizer.momentum is not in every trial." in section.text


@pytest.fixture(scope="module")
def address(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "search.html"
    write_html(comparison, path)
    return path.as_uri()


@pytest.fixture
def page(browser: Chrome, address: str) -> Iterator[Chrome]:
    """The report, newly opened; afterwards the console and the network must have been silent."""
    emulate(browser)
    open_page(browser, address)
    yield browser
    assert_silent(browser)


@needs_chromium
class TestInTheBrowser:
    def test_the_best_of_n_trials_is_drawn_with_its_band(self, page: Chrome, comparison: Comparison) -> None:
        name = "search-best-0"
        drawn = chart(page, name)
        assert kinds(drawn) == ["band", "expected"] * 2
        best = summary_of(comparison).variants[0].expected_best
        assert best
        assert drawn["traces"][1]["x"] == list(range(1, TRIALS + 1))
        assert drawn["traces"][1]["y"] == pytest.approx(list(best.expected), rel=1e-5)
        choose(page, f"{name}-axis", "seconds")
        assert chart(page, name)["x"]["title"] == "training seconds of all trials"
        assert chart(page, name)["traces"][1]["x"] == pytest.approx(list(best.seconds), rel=1e-5)
        choose(page, f"{name}-line", "so_far")
        assert kinds(chart(page, name)) == ["so_far", "so_far"]
        assert "so far after n trials" in caption(page, name)
        near = chart(page, name)["y"]["range"]
        choose(page, f"{name}-height", "all")
        everything = chart(page, name)["y"]["range"]
        assert everything[0] < near[0]
        into_view(page, page.find_element(By.CSS_SELECTOR, f"input[data-chart={name}]")).click()
        assert len(chart(page, name)["traces"]) == 1
        assert "sgd" not in caption(page, name)

    def test_rates_are_points_a_line_and_its_good_part(self, page: Chrome, comparison: Comparison) -> None:
        name = "search-rate-0"
        drawn = chart(page, name)
        assert kinds(drawn) == ["good", "trials", "curve", "lost"] * 2
        found = summary_of(comparison).variants[0].sensitivity
        assert found
        good, trials, curve, lost = drawn["traces"][:4]
        assert (good["x"][0], good["x"][-1]) == pytest.approx((found.low, found.high), rel=1e-5)
        assert len(trials["x"]) + len(lost["x"]) == TRIALS
        assert all(rate > 0.3 for rate in lost["x"])
        assert curve["x"] == pytest.approx([point.rate for point in found.curve if point.value is not None], rel=1e-5)
        assert lost["symbol"] == "x-thin"
        assert drawn["x"]["type"] == "log"
        assert found.sentence() in caption(page, name)
        choose(page, f"{name}-points", "lines")
        assert kinds(chart(page, name)) == ["good", "curve", "lost"] * 2

    def test_the_mouse_over_a_trial_tells_its_setting(self, page: Chrome) -> None:
        choose(page, "search-rate-0-height", "all")
        drawn = chart(page, "search-rate-0")
        value = drawn["traces"][2]["y"][0]
        shown = hover(page, "search-rate-0", 2, 0, "sgd, trial")
        assert "optimizer.momentum" in shown
        assert f"val_accuracy {value:.5g}" in shown

    def test_every_trial_is_a_line_over_its_keys(self, page: Chrome) -> None:
        name = "search-keys-0"

        def counts() -> list[int]:
            return [trace["y"].count(None) for trace in chart(page, name)["traces"]]  # a gap after each line

        assert kinds(chart(page, name)) == ["rest", "strong", "best"]
        assert counts() == [TRIALS - 1, 0, 1]  # the best tenth of those with a value is the best one
        choose(page, f"{name}-strong", "0.5")
        assert sum(counts()) == TRIALS
        assert counts()[1] > 2
        choose(page, f"{name}-strong", "lost")
        lost = sum(setting["optimizer.lr"] > 0.3 for setting in settings(TRIALS))
        assert counts() == [TRIALS - 1 - lost, lost, 1]
        assert "12 trials of sgd" in caption(page, name)
        choose(page, f"{name}-variant", "1")
        assert "12 trials of adam" in caption(page, name)

    def test_on_a_phone_the_keys_lie_one_below_the_other(self, page: Chrome) -> None:
        upright = chart(page, "search-keys-0")["traces"][0]
        assert upright["x"][:4] == [0, 1, 2, 3]
        emulate(page, (360, 740))
        wait(page, "return document.getElementById('plot-search-keys-0')._fullLayout.width < 360")
        lying = chart(page, "search-keys-0")["traces"][0]
        assert lying["y"][:4] == [0, -1, -2, -3]
        assert lying["x"][:3] == upright["y"][:3]

    def test_the_trials_are_a_table(self, page: Chrome) -> None:
        summary = page.find_element(By.XPATH, "//*[@id='table-search-keys-0']/../summary")
        into_view(page, summary).click()
        wait(page, f"return document.querySelectorAll('#table-search-keys-0 tbody tr').length === {TRIALS}")
        heads = [cell.text for cell in page.find_elements(By.CSS_SELECTOR, "#table-search-keys-0 thead th")]
        assert heads == ["trial", "status", "val_accuracy", *settings(1)[0]]
        cells = page.find_element(By.CSS_SELECTOR, "#table-search-keys-0 tbody tr").text.split()
        assert cells[:2] == ["0", "done"]
        assert f"{settings(1)[0]['optimizer.lr']:g}" in cells

    def test_the_keyboard_reaches_every_choice(self, page: Chrome) -> None:
        tab_to(page, lambda one: one.get_attribute("id") == "search-best-0-axis")
        press(page, Keys.ARROW_DOWN)
        assert chart(page, "search-best-0")["x"]["title"].startswith("training seconds")
        tab_to(page, lambda one: one.get_attribute("id") == "search-keys-0-variant")
        press(page, Keys.ARROW_DOWN)
        assert "12 trials of adam" in caption(page, "search-keys-0")

    def test_it_is_seen_in_the_dark_and_on_paper(self, page: Chrome) -> None:
        light = chart(page, "search-keys-0")["traces"][2]["color"]
        emulate(page, dark=True)
        wait(page, "return document.getElementById('plot-search-keys-0')._fullLayout.font.color === '#e9ecef'")
        emulate(page, dark=True, media="print")
        wait(page, "return document.documentElement.classList.contains('paper')")
        assert chart(page, "search-keys-0")["traces"][2]["color"] == light
        assert chart(page, "search-keys-0")["width"] <= 660
        assert not by_id(page, "search-keys-0-variant").is_displayed()
        emulate(page)
        wait(page, "return !document.documentElement.classList.contains('paper')")

    def test_keys_that_a_trial_does_not_set_stand_apart(
        self, browser: Chrome, steered: Comparison, tmp_path: Path
    ) -> None:
        write_html(steered, tmp_path / "steered.html")
        emulate(browser)
        open_page(browser, (tmp_path / "steered.html").as_uri())
        traces = chart(browser, "search-keys-0")["traces"]
        momenta = [trace["y"][place] for trace in traces for place in range(1, len(trace["y"]), 5)]
        without = sum(setting["model.activation"] == "tanh" for setting in settings(TRIALS))
        assert momenta.count(-0.1) == without
        assert all(0 <= place <= 1 for place in momenta if place != -0.1)
        assert set(kinds(chart(browser, "search-best-0"))) == {"so_far"}  # where the sampler learns
        blocks = [by_id(browser, f"search-importance-0-{place}") for place in (0, 1)]
        assert [block.is_displayed() for block in blocks] == [True, False]
        choose(browser, "search-importance-0", "search-importance-0-1")
        assert [block.is_displayed() for block in blocks] == [False, True]
        assert_silent(browser)

    def test_nothing_is_wider_than_the_window(self, page: Chrome) -> None:
        for box in page.find_elements(By.CSS_SELECTOR, "#search summary"):
            into_view(page, box).click()
        inside = (
            "return [...document.querySelectorAll('#search *')].filter((e) => !e.closest('.scroll, svg, .plot')"
            " && e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML)"
        )
        for width in (768, 360):
            emulate(page, (width, 740))
            wait(page, f"return document.getElementById('plot-search-best-0')._fullLayout.width < {width}")
            assert run(page, "return document.documentElement.scrollWidth <= innerWidth")
            assert run(page, inside) == []
