"""The report in a real browser: every control by mouse and by keyboard, on a phone, on paper, in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import (
    PHONE,
    assert_silent,
    background,
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
from compare_runs import make_run
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.report.page import write_html
from nnopt.store.record import RunRecord

pytestmark = needs_chromium
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def runs_of(top: Path, experiment: str, lift: float = 0.0) -> list[RunRecord]:
    """Three variants of three seeds: one with a diverged run, two that differ in their rate alone."""
    made = []
    for place, (variant, kind, lr) in enumerate(
        (("sgd", "sgd", 0.1), ("sgd-high", "sgd", 1.0), ("adam", "adam", 0.01))
    ):
        for seed in range(3):
            lost = variant == "sgd-high" and seed == 2
            values = [0.2 + lift + place / 10 + step / 20 + seed / 40 + (step % 2) / 50 for step in range(10)]
            made.append(
                make_run(
                    top,
                    variant,
                    seed,
                    values[:4] if lost else values,
                    experiment=experiment,
                    status="diverged" if lost else "done",
                    diverged={"step": 45} if lost else None,
                    spec={"data": {"kind": experiment}, "optimizer": {"kind": kind, "lr": lr}},
                    target={"metric": "val_accuracy", "value": 0.6, "reached": False},
                    test={"last": {"accuracy": 0.9}, "best": {"accuracy": 0.9}, "confusion": [[9 + place, 1], [2, 8]]},
                    data={"name": experiment, "classes": ["cat", EVIL]},
                    notes=EVIL,
                    seconds={"train": 1.0 + place},
                    seconds_per_step=0.01 * (place + 1),
                )
            )
    return made


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a report of one task, and of one of two."""
    top = tmp_path_factory.mktemp("reports")
    one = compare(runs_of(top / "runs", "digits"))
    two = compare([*runs_of(top / "two", "digits"), *runs_of(top / "two", "wine", 0.05)])
    addresses = {}
    comparisons: dict[str, Comparison] = {"one": one, "two": two}
    for name, comparison in comparisons.items():
        write_html(comparison, top / f"{name}.html")
        addresses[name] = (top / f"{name}.html").as_uri()
    return addresses


@pytest.fixture
def page(browser: Chrome, pages: dict[str, str]) -> Iterator[Chrome]:
    """The report of one task, newly opened; afterwards the console and the network must have been silent."""
    emulate(browser)
    open_page(browser, pages["one"])
    yield browser
    assert_silent(browser)


def test_curves_are_drawn_with_bands_target_and_a_cross(page: Chrome) -> None:
    drawn = chart(page, "first")
    # Two variants of three runs, one of two runs that are done and one that diverged.
    assert sorted(kinds(drawn)) == ["band"] * 3 + ["cross"] + ["mean"] * 3 + ["other"]
    assert drawn["x"]["title"] == "steps"
    assert drawn["y"]["title"] == "val_accuracy"
    assert drawn["dotted"] == [[0.6, "dot"]]
    cross = next(trace for trace in drawn["traces"] if trace["meta"] == "cross")
    assert cross["symbol"] == "x-thin"
    assert cross["x"] == [40]
    second = chart(page, "second")
    assert (second["y"]["title"], second["y"]["type"]) == ("train_loss", "log")
    assert second["dotted"] == []
    low, high = drawn["y"]["range"]
    values = [value for trace in drawn["traces"] if trace["meta"] == "mean" for value in trace["y"]]
    assert low < min(values) < max(values) < high


@pytest.mark.parametrize(
    ("axis", "title", "last"),
    [("step", "steps", 100), ("train_seconds", "training seconds", 3), ("samples", "samples", 3200)],
)
def test_the_axis_can_be_chosen(page: Chrome, axis: str, title: str, last: float) -> None:
    choose(page, "curves-against", axis)
    for name in ("first", "second"):
        drawn = chart(page, name)
        assert drawn["x"]["title"] == title
        assert max(trace["x"][-1] for trace in drawn["traces"] if trace["meta"] == "mean") == pytest.approx(last)
        assert title in caption(page, name)


def test_both_scales_can_be_chosen(page: Chrome) -> None:
    choose(page, "curves-x-scale", "log")
    assert chart(page, "first")["x"]["type"] == chart(page, "second")["x"]["type"] == "log"
    choose(page, "first-scale", "log")
    assert chart(page, "first")["y"]["type"] == "log"
    assert "logarithmic" in caption(page, "first")
    choose(page, "second-scale", "linear")
    assert chart(page, "second")["y"]["type"] == "linear"


def test_seeds_as_lines_and_as_bands(page: Chrome) -> None:
    choose(page, "curves-seeds", "lines")
    drawn = chart(page, "first")
    assert sorted(kinds(drawn)) == ["cross", "other", "runs", "runs", "runs"]
    longest = max(drawn["traces"], key=lambda trace: len(trace["y"]))
    assert longest["y"].count(None) == 3  # a gap after each of the three runs
    assert "a line a run" in caption(page, "first")
    choose(page, "curves-seeds", "bands")
    assert "band" in kinds(chart(page, "first"))


@pytest.mark.parametrize("seeds", ["bands", "lines"])
def test_smoothing_leaves_the_points_in_sight(page: Chrome, seeds: str) -> None:
    choose(page, "curves-seeds", seeds)
    line = "mean" if seeds == "bands" else "runs"
    before = next(trace for trace in chart(page, "first")["traces"] if trace["meta"] == line)
    choose(page, "curves-smoothing", "3")
    traces = chart(page, "first")["traces"]
    raw = [trace for trace in traces if trace["meta"] == "raw"]
    place = next(place for place, trace in enumerate(traces) if trace["meta"] == line)
    assert traces[place - 1]["y"] == before["y"]  # beneath the line, as measured
    assert all(trace["mode"] == "markers" for trace in raw)
    smooth = traces[place]["y"]
    values = before["y"]
    assert smooth[1] == pytest.approx(sum(values[:3]) / 3)
    assert (smooth[0], smooth[9]) == (values[0], values[9])
    assert "smoothed over 3 points" in caption(page, "first")
    choose(page, "curves-smoothing", "1")
    assert "raw" not in kinds(chart(page, "first"))


def test_another_column_comes_with_its_scale(page: Chrome) -> None:
    choose(page, "first-column", "train_loss")
    drawn = chart(page, "first")
    assert (drawn["y"]["title"], drawn["y"]["type"]) == ("train_loss", "log")
    assert Select(by_id(page, "first-scale")).first_selected_option.get_attribute("value") == "log"
    assert drawn["dotted"] == []
    choose(page, "first-column", "val_accuracy")
    assert chart(page, "first")["y"]["type"] == "linear"


def test_variants_can_be_left_out(page: Chrome) -> None:
    box = page.find_element(By.CSS_SELECTOR, "#curves .legend input")
    into_view(page, box).click()
    for name in ("first", "second"):
        assert kinds(chart(page, name)).count("mean") == 2
    assert "adam" not in caption(page, "first")  # it leads the ranking and the legend
    box.click()
    assert kinds(chart(page, "first")).count("mean") == 3


def test_the_mouse_over_a_point_tells_run_and_values(page: Chrome) -> None:
    choose(page, "curves-seeds", "lines")
    drawn = chart(page, "first")
    place = kinds(drawn).index("runs")
    value = drawn["traces"][place]["y"][3]
    shown = hover(page, "first", place, 3, "adam seed 0")
    assert "steps 40" in shown
    assert f"val_accuracy {value:.4g}" in shown
    choose(page, "curves-seeds", "bands")
    place = kinds(chart(page, "first")).index("mean")
    assert "adam" in hover(page, "first", place, 3, "(mean of 3 runs)")
    place = kinds(chart(page, "first")).index("cross")
    assert "diverged at step 45" in hover(page, "first", place, 0, "sgd-high seed 2")


def test_zoom_can_be_undone(page: Chrome) -> None:
    before = chart(page, "first")["x"]["range"]
    box = into_view(page, by_id(page, "plot-first"))
    ActionChains(page).move_to_element_with_offset(box, -80, -40).click_and_hold().move_by_offset(
        120, 80
    ).release().perform()
    wait(page, f"return document.getElementById('plot-first')._fullLayout.xaxis.range[0] > {before[0]}")
    into_view(page, page.find_element(By.CSS_SELECTOR, "button[data-reset=first]")).click()
    assert chart(page, "first")["x"]["range"] == pytest.approx(before)


def test_a_picture_can_be_saved(page: Chrome, tmp_path: Path) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    into_view(page, page.find_element(By.CSS_SELECTOR, "button[data-save=first]")).click()
    WebDriverWait(page, 20).until(lambda driver: list(tmp_path.glob("*.svg")))
    assert (tmp_path / "nnopt-first.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_data_behind_a_chart_are_a_table(page: Chrome) -> None:
    summary = page.find_element(By.XPATH, "//*[@id='table-first']/../summary")
    into_view(page, summary).click()
    wait(page, "return document.querySelectorAll('#table-first tbody tr').length === 10")
    heads = [cell.text for cell in page.find_elements(By.CSS_SELECTOR, "#table-first thead th")]
    assert heads == ["steps", "adam", "sgd", "sgd-high", "sgd-high seed 2"]
    choose(page, "curves-seeds", "lines")
    assert len(page.find_elements(By.CSS_SELECTOR, "#table-first thead th")) == 10
    first = page.find_element(By.CSS_SELECTOR, "#table-first tbody tr").text.split()
    assert first[:2] == ["10", "0.4"]


def test_the_time_to_target_on_every_axis(page: Chrome) -> None:
    steps = chart(page, "target")
    assert steps["x"]["title"] == "steps"
    assert steps["y"]["title"] == "share of runs that got there"
    choose(page, "target-axis", "seconds")
    assert chart(page, "target")["x"]["title"] == "seconds"
    assert "in seconds: adam 100 %, sgd 100 %, sgd-high 67 %" in caption(page, "target")
    into_view(page, page.find_element(By.CSS_SELECTOR, "#target .legend input")).click()
    assert "adam" not in caption(page, "target")


def test_rates_and_costs_are_drawn(page: Chrome) -> None:
    rates = chart(page, "rates")
    assert rates["x"]["type"] == "log"
    assert rates["traces"][0]["x"] == [0.1, 1]
    choose(page, "cost-axis", "parameters")
    assert chart(page, "cost")["x"]["title"] == "parameters"
    assert "against parameters" in caption(page, "cost")
    choose(page, "cost-scale", "log")
    assert chart(page, "cost")["x"]["type"] == "log"


def test_the_confusion_of_one_variant_at_a_time(page: Chrome) -> None:
    def shown() -> list[str]:
        tables = page.find_elements(By.CSS_SELECTOR, ".matrix table caption")
        return [table.text.split(":")[0] for table in tables if table.is_displayed()]

    assert shown() == ["adam"]
    choose(page, "confusion-variant", "matrix-2")
    assert shown() == ["sgd-high"]


def names_in_order(page: Chrome) -> list[str]:
    return [cell.text.split(" ")[0] for cell in page.find_elements(By.CSS_SELECTOR, "#results tbody th")]


def test_the_table_is_sorted_by_a_click(page: Chrome) -> None:
    assert names_in_order(page) == ["adam", "sgd", "sgd-high"]
    head = page.find_element(By.XPATH, "//*[@id='results']//th[contains(., 'train')]")
    button = into_view(page, head.find_element(By.TAG_NAME, "button"))
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names_in_order(page) == ["sgd", "sgd-high", "adam"]
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names_in_order(page) == ["adam", "sgd-high", "sgd"]
    variant = page.find_element(By.XPATH, "//*[@id='results']//th[contains(., 'variant')]/button")
    into_view(page, variant).click()
    assert names_in_order(page) == ["adam", "sgd", "sgd-high"]
    assert head.get_attribute("aria-sort") == "none"


def test_the_keyboard_reaches_and_works_every_kind_of_control(page: Chrome) -> None:
    skip = tab_to(page, lambda one: one.get_attribute("class") == "skip")
    assert skip.rect["x"] >= 0
    press(page, Keys.ENTER)
    assert page.current_url.endswith("#verdict")
    tab_to(page, lambda one: one.text.startswith("variant") and one.tag_name == "button")
    press(page, Keys.ENTER)
    press(page, Keys.SPACE)
    assert names_in_order(page) == ["sgd-high", "sgd", "adam"]
    tab_to(page, lambda one: one.get_attribute("id") == "curves-against")
    press(page, Keys.ARROW_DOWN)
    assert chart(page, "first")["x"]["title"] == "training seconds"
    tab_to(page, lambda one: one.get_attribute("type") == "checkbox")
    press(page, Keys.SPACE)
    assert kinds(chart(page, "first")).count("mean") == 2
    tab_to(page, lambda one: one.tag_name == "summary")
    press(page, Keys.ENTER)
    wait(page, "return document.querySelectorAll('#table-first tbody tr').length > 0")
    tab_to(page, lambda one: one.get_attribute("id") == "confusion-variant")
    press(page, Keys.ARROW_DOWN)
    assert page.find_element(By.ID, "matrix-1").is_displayed()
    tab_to(page, lambda one: one.get_attribute("class") == "scroll")


def test_the_dark_scheme_is_followed_while_the_page_is_open(page: Chrome) -> None:
    light = chart(page, "first")
    assert background(page) == "rgb(255, 255, 255)"
    emulate(page, dark=True)
    wait(page, f"return document.getElementById('plot-first')._fullLayout.font.color !== '{light['ink']}'")
    assert background(page) == "rgb(20, 23, 26)"
    dark = chart(page, "first")
    assert dark["ink"] == "#e9ecef"
    assert dark["traces"][1]["color"] != light["traces"][1]["color"]
    emulate(page)
    wait(page, f"return document.getElementById('plot-first')._fullLayout.font.color === '{light['ink']}'")


def test_on_paper_it_is_light_whole_and_not_cut(page: Chrome) -> None:
    emulate(page, dark=True)
    wait(page, "return document.getElementById('plot-first')._fullLayout.font.color === '#e9ecef'")
    emulate(page, dark=True, media="print")
    wait(page, "return document.documentElement.classList.contains('paper')")
    assert background(page) == "rgb(255, 255, 255)"
    drawn = chart(page, "first")
    assert drawn["ink"] == "#1a1d21"
    assert drawn["width"] <= 660
    assert not by_id(page, "curves-against").is_displayed()
    assert all(box.is_displayed() for box in page.find_elements(By.CSS_SELECTOR, ".matrix"))
    assert run(page, "return document.querySelectorAll('details:not([open]):not(.filled-by-script)').length") == 0
    emulate(page)
    wait(page, "return !document.documentElement.classList.contains('paper')")
    assert page.find_element(By.ID, "table-target").is_displayed() is False
    assert chart(page, "first")["width"] < 600  # side by side again


def test_a_print_from_the_dark_is_light(page: Chrome) -> None:
    emulate(page, dark=True)
    script = """
        window.seen = [];
        addEventListener("beforeprint", () => seen.push(document.getElementById("plot-first")._fullLayout.font.color));
    """
    run(page, script)
    pdf = page.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    assert pdf["data"].startswith("JVBERi0")  # %PDF-
    assert run(page, "return seen") == ["#1a1d21"]
    assert run(page, "return document.documentElement.classList.contains('paper')") is False


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Chrome, pages: dict[str, str], name: str, width: int) -> None:
    emulate(browser, (width, 740))
    open_page(browser, pages[name])
    for box in browser.find_elements(By.TAG_NAME, "summary"):
        into_view(browser, box).click()
    assert run(browser, "return document.documentElement.scrollWidth <= innerWidth")
    wide = run(
        browser,
        "return [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg, .plot')"
        " && e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML)",
    )
    assert wide == []
    for drawn in browser.find_elements(By.CSS_SELECTOR, ".plot .main-svg"):
        assert drawn.rect["x"] + drawn.rect["width"] <= width
    assert_silent(browser)


def test_charts_follow_the_width_of_the_window(page: Chrome) -> None:
    emulate(page, PHONE)
    width = "return document.getElementById('plot-first')._fullLayout.width"
    wait(page, f"{width} < 360")
    narrow = run(page, width)
    emulate(page)
    wait(page, f"{width} > 400")
    assert narrow < 360 < run(page, width)


def test_several_tasks_have_profiles(browser: Chrome, pages: dict[str, str]) -> None:
    emulate(browser)
    open_page(browser, pages["two"])
    drawn = chart(browser, "profiles")
    assert (drawn["x"]["type"], drawn["y"]["title"]) == ("log", "share of tasks")
    assert len(drawn["traces"]) == 3
    into_view(browser, browser.find_element(By.CSS_SELECTOR, "#tasks .legend input")).click()
    assert len(chart(browser, "profiles")["traces"]) == 2
    assert_silent(browser)


def test_names_of_others_stay_text(page: Chrome) -> None:
    assert EVIL in by_id(page, "notes").text
    assert EVIL in by_id(page, "matrix-0").text
    assert page.find_elements(By.CSS_SELECTOR, "img") == []
    assert run(page, "return plain('<b>&')") == "&lt;b&gt;&amp;"


def test_motion_is_spared_where_it_is_not_wanted(page: Chrome) -> None:
    script = "return getComputedStyle(document.documentElement).scrollBehavior"
    assert run(page, script) == "smooth"
    emulate(page, still=True)
    assert run(page, script) == "auto"


def test_without_scripts_the_tables_are_there(browser: Chrome, pages: dict[str, str]) -> None:
    emulate(browser)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["one"])
        text = browser.find_element(By.TAG_NAME, "main").text
        assert "The chart needs JavaScript" in text
        assert re.search(r"Best: adam", text)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#results tbody tr")) == 3
        assert not browser.find_element(By.ID, "curves-against").is_displayed()
        assert all(box.is_displayed() for box in browser.find_elements(By.CSS_SELECTOR, ".matrix"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
