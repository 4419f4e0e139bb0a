from __future__ import annotations

import base64
import hashlib
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_runs import make_run

from nnopt.compare.comparison import Comparison, compare
from nnopt.compare.cost import CostPoint
from nnopt.compare.gates import GateResult
from nnopt.compare.pictures.figure import COLOURS, MOST_LINES, style
from nnopt.compare.report.curve_data import curve_data
from nnopt.compare.report.lists import Lists
from nnopt.compare.report.look import MARKERS, colour_rules, look
from nnopt.compare.report.markup import Markup, element, json_block, sort_key
from nnopt.compare.report.page import PLOTLY, to_html, write_html
from nnopt.compare.spread import Spread
from nnopt.errors import DiskError, UsageError
from nnopt.store.record import RunRecord

VOID = {"meta", "input", "br"}
LIMIT = 6_000_000


@dataclass
class Node:
    tag: str
    attributes: dict[str, str | None]
    children: list[Node] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def all(self, tag: str, **wanted: str) -> list[Node]:
        found = [node for child in self.children for node in child.all(tag, **wanted)]
        matches = self.tag == tag and all(self.attributes.get(key) == value for key, value in wanted.items())
        return [self, *found] if matches else found

    def one(self, tag: str, **wanted: str) -> Node:
        (found,) = self.all(tag, **wanted)
        return found


class Tree(HTMLParser):
    """The page as a tree; a tag that is closed out of turn fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.top = Node("", {})
        self.open = [self.top]
        self.comments: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [self.top], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "no attribute twice"
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def parse(text: str) -> Node:
    tree = Tree(text)
    assert not tree.comments
    return tree.top


def data_of(page: Node) -> dict[str, Any]:
    value = json.loads(page.one("script", id="data").text)
    assert isinstance(value, dict)
    return value


def report(comparison: Comparison, gates: Sequence[GateResult] = ()) -> Node:
    return parse(to_html(comparison, gates))


def confusion(hits: int = 9) -> dict[str, Any]:
    return {
        "test": {"last": {"accuracy": 0.9}, "best": {"accuracy": 0.9}, "confusion": [[hits, 1], [2, 8]]},
        "data": {"name": "digits", "sha256": "ab" * 32, "classes": ["cat", "dog"]},
    }


def usual(top: Path) -> Comparison:
    """Three variants of three seeds, one of which diverges once, with all that a section can show."""
    target = {"metric": "val_accuracy", "value": 0.5, "reached": False}
    records = []
    for place, (variant, lr) in enumerate((("sgd", 0.1), ("sgd-high", 1.0), ("adam", 0.01))):
        spec = {"optimizer": {"kind": variant.split("-")[0], "lr": lr}}
        for seed in range(3):
            lost = variant == "sgd-high" and seed == 2
            values = [0.1 + seed / 50, 0.4 + place / 10, 0.6 + place / 10 + seed / 100]
            records.append(
                make_run(
                    top,
                    variant,
                    seed,
                    values[:2] if lost else values,
                    status="diverged" if lost else "done",
                    diverged={"step": 25} if lost else None,
                    spec=spec,
                    target=target,
                    **confusion(9 + seed),
                )
            )
    return compare(records)


def test_the_parts_stand_in_their_order(tmp_path: Path) -> None:
    page = report(usual(tmp_path))
    assert [heading.text for heading in page.one("main").all("h2")] == [
        "Verdict",
        "Is the comparison fair?",
        "What was left out",
        "Results",
        "The statistics behind the verdict",
        "Curves",
        "Time to target",
        "Learning rate",
        "Cost",
        "Confusion on test data",
        "What the variants change",
        "Environment",
        "How the numbers are made",
    ]
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("title").text == "nnopt: digits"
    assert page.one("h1").text == "digits"
    assert page.one("meta", name="viewport").attributes["content"] == "width=device-width, initial-scale=1"
    levels = [int(node.tag[1]) for node in page.all("h1") + page.all("h2") + page.all("h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1


def test_every_reference_within_the_page_leads_somewhere(tmp_path: Path) -> None:
    page = report(usual(tmp_path))
    every = [node for tag in set(re.findall(r"<(\w+)", to_html(usual(tmp_path / "again")))) for node in page.all(tag)]
    names = [node.attributes["id"] for node in every if "id" in node.attributes]
    assert len(names) == len(set(names))
    for node in every:
        if node.tag == "a":
            assert str(node.attributes["href"]).removeprefix("#") in names
        if "aria-labelledby" in node.attributes:
            assert node.attributes["aria-labelledby"] in names
    for control in page.all("select"):
        assert any(control in label.all("select") and label.text for label in page.all("label"))
    for plot in page.all("div", role="img"):
        assert plot.attributes["aria-label"]
    assert len(page.all("div", role="img")) == len(page.all("figure")) == len(page.all("noscript"))


def test_the_verdict_comes_first_and_says_what_the_command_says(tmp_path: Path) -> None:
    comparison = usual(tmp_path)
    main = report(comparison).one("main")
    first = main.children[0]
    assert first.attributes["id"] == "verdict"
    assert comparison.best is not None
    assert f"Best: {comparison.best.label}" in first.text
    for verdict in comparison.verdicts:
        assert verdict.sentence.removeprefix(f"{verdict.answer}: ") in first.text
    for finding in comparison.findings:
        assert finding.text in main.one("section", id="fairness").text
        assert finding.advice in main.one("section", id="fairness").text
    for sentence in comparison.left_out:
        assert sentence in main.one("section", id="left-out").text
    results = main.one("section", id="results")
    assert len(results.one("tbody").children) == 3
    assert "0.8100 ± 0.0100" in results.text  # adam: the mean of 0.80, 0.81, 0.82


def test_gates_are_told_by_word_and_sign(tmp_path: Path) -> None:
    states = ("held", "broken", "undecided")
    gates = [GateResult("val_loss <= +1%", "a", "b", state, f"{state}: a against b, {state} it is") for state in states]
    verdict = report(usual(tmp_path), gates).one("section", id="verdict")
    assert verdict.one("h3").text == "Gates: 1 of 3 held"
    badges = [node.text for state in states for node in verdict.all("span", **{"class": f"badge {state}"})]
    assert badges == ["✓ held", "✗ broken", "? undecided"]
    assert "a against b, broken it is" in verdict.text
    assert "Gates" not in report(usual(tmp_path / "again")).text


EVIL = "<script>alert(1)</script>"


def test_no_text_of_others_becomes_markup(tmp_path: Path) -> None:
    records = []
    for place, variant in enumerate(("plain", EVIL.replace("/", "\\"))):
        for seed in range(2):
            record = make_run(
                tmp_path,
                f"v{place}",
                seed,
                [0.5, 0.6],
                notes=f'</script>{EVIL}<!-- it\'s "quoted" & more',
                tags=[EVIL],
                spec={"optimizer": {"kind": EVIL, "lr": 0.1 * (place + 1), "note": f"{EVIL}{place}"}},
                reason=EVIL,
                **(confusion() | {"data": {"name": EVIL, "classes": [EVIL, "<!--"]}}),
                columns={f"val_{EVIL}": [1, 2]},
            )
            records.append(replace(record, experiment=f"{EVIL}</title>", variant=variant))
    gate = GateResult(EVIL, EVIL, EVIL, "held", EVIL)
    text = to_html(compare(records), [gate])
    page = parse(text)
    assert len(page.all("script")) == 3
    assert [node.attributes.get("type") for node in page.all("script")] == [None, "application/json", None]
    assert "<" not in page.one("script", id="data").text
    assert "alert(1)" not in page.all("script")[0].text + page.all("script")[2].text
    assert EVIL in page.one("section", id="notes").text
    assert EVIL in page.one("h1").text
    assert EVIL in page.one("section", id="confusion").text
    assert "<!--" not in text
    assert any("alert(1)" in group["label"] for group in data_of(page)["curves"]["groups"])


def test_nothing_is_fetched_and_only_these_scripts_may_run(tmp_path: Path) -> None:
    text = to_html(usual(tmp_path))
    page = parse(text)
    policy = str(page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in hashes]
    for tag in ("link", "img", "iframe", "object", "embed", "base", "form", "source", "video", "audio"):
        assert page.all(tag) == []
    for _, attribute in re.findall(r"\s(src|href|action|data|poster|srcset)=\"([^\"]*)\"", _without_scripts(text)):
        assert attribute.startswith("#")
    style_sheet = page.one("style").text
    assert "url(" not in style_sheet
    assert "@import" not in style_sheet
    assert "http" not in _without_scripts(text).replace("http-equiv", "")
    own = page.all("script")[2].text
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|innerHTML|eval\(|import\(", own)


def _without_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_twenty_long_runs_stay_below_six_megabytes(tmp_path: Path) -> None:
    count = 2000
    random = np.random.default_rng(0)

    def run(variant: int, seed: int) -> RunRecord:
        values = random.random((11, count)) / 2
        values[0, 777] = 0.999
        more = {f"val_extra_{n}": row.tolist() for n, row in enumerate(values[1:])}
        return make_run(tmp_path, f"v{variant}", seed, values[0].tolist(), columns=more)

    records = [run(variant, seed) for variant in range(10) for seed in range(2)]
    comparison = compare(records)
    write_html(comparison, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size <= LIMIT
    page = parse((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "not every evaluation is drawn" in page.one("section", id="curves").text
    data = data_of(page)
    run = data["curves"]["groups"][0]["runs"][0]
    x, y = (data["lists"][run[axis][name]] for axis, name in (("x", "step"), ("y", "val_accuracy")))
    assert len(x) == len(y) < 1000
    assert (x[0], x[-1]) == (10, 20_000)
    assert y[x.index(7780)] == 0.999  # a spike is not thinned away
    assert x == sorted(x)


def test_short_runs_are_drawn_whole(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path, "sgd", 0, [0.1, 0.5, 0.4])])
    page = report(comparison)
    assert "not every evaluation" not in page.text
    data = data_of(page)
    (group,) = data["curves"]["groups"]
    (run,) = group["runs"]
    assert data["lists"][run["y"]["val_accuracy"]] == [0.1, 0.5, 0.4]
    assert data["lists"][run["x"]["samples"]] == [320, 640, 960]
    assert group["means"]["val_accuracy"] == []
    assert list(data["curves"]["axes"].values())[:3] == ["steps", "training seconds", "samples"]


def test_bands_are_means_and_deviations_over_seeds_with_a_value(tmp_path: Path) -> None:
    columns = [[1.0, 2.0, 4.0], [2.0, 2.5, 9.0], [6.0, 3.0]]
    records = [
        make_run(tmp_path, "sgd", seed, values, metric="val_loss", seconds_per_step=0.01 * (seed + 1))
        for seed, values in enumerate(columns)
    ]
    lists = Lists()
    value = curve_data(compare(records), lists).value
    whole, rest = value["groups"][0]["means"]["val_loss"]  # a piece ends where the third run does
    found = {name: lists.all[whole[name]] for name in ("mean", "sd", "n")}
    assert found["mean"] == pytest.approx([3.0, 2.5])
    assert found["sd"] == pytest.approx([statistics.stdev([1, 2, 6]), 0.5], rel=1e-5)
    assert found["n"] == [3, 3]
    assert lists.all[whole["x"]["step"]] == [10, 20]
    assert lists.all[whole["x"]["samples"]] == [320, 640]
    assert lists.all[whole["x"]["train_seconds"]] == pytest.approx([0.2, 0.4])
    assert (lists.all[rest["mean"]], lists.all[rest["n"]]) == ([6.5], [2])
    assert lists.all[rest["x"]["train_seconds"]] == pytest.approx([0.45])


def test_seeds_evaluated_at_different_steps_have_no_band(tmp_path: Path) -> None:
    records = [make_run(tmp_path, "sgd", seed, [0.1, 0.2, 0.3], every=7 + seed) for seed in range(3)]
    assert curve_data(compare(records), Lists()).value["groups"][0]["means"]["val_accuracy"] == []


def test_values_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, "sgd", 0, ["nan", None, 0.5], columns={"val_x": ["inf", "-inf", 1]}),
        make_run(tmp_path, "adam", 0, [0.5, 0.6, 0.7]),
    ]
    data = data_of(report(compare(records)))
    (run,) = next(group for group in data["curves"]["groups"] if group["label"] == "sgd")["runs"]
    assert data["lists"][run["y"]["val_accuracy"]] == [None, None, 0.5]
    assert data["lists"][run["y"]["val_x"]] == [None, None, 1]


def test_one_run_is_a_report(tmp_path: Path) -> None:
    page = report(compare([make_run(tmp_path, "sgd", 0, [0.1, 0.5])]))
    assert "There is nothing to compare it with." in page.one("section", id="verdict").text
    assert page.all("section", id="statistics") == []
    assert "No two variants differ in their learning rate alone." in page.one("section", id="rates").text
    assert "--target VALUE" in page.one("section", id="target").text
    assert "The specs do not differ in any key." in page.one("section", id="differences").text
    assert page.all("section", id="confusion") == []
    assert set(data_of(page)) >= {"lists", "curves"}


def test_a_run_without_a_row_is_a_report(tmp_path: Path) -> None:
    records = [make_run(tmp_path, variant, 0, [], status="diverged") for variant in ("sgd", "adam")]
    page = report(compare(records))
    assert "No run has a row in metrics.csv." in page.one("section", id="curves").text
    assert "curves" not in data_of(page)


def test_only_diverged_runs_are_a_report(tmp_path: Path) -> None:
    target = {"metric": "val_accuracy", "value": 0.9, "reached": False}
    records = [
        make_run(tmp_path, variant, seed, [0.5, 0.1], status="diverged", target=target, diverged={"step": 25})
        for variant in ("sgd", "adam")
        for seed in range(3)
    ]
    page = report(compare(records))
    assert "Best: none" in page.one("section", id="verdict").text
    assert "3 of 3 diverged" in page.one("section", id="results").text
    runs = data_of(page)["curves"]["groups"][0]["runs"]
    assert [(run["status"], run["lost_at"]) for run in runs] == [("diverged", 25)] * 3
    assert "No variant has both" in page.one("section", id="cost").text


def test_more_variants_than_lines_are_in_the_tables_and_said(tmp_path: Path) -> None:
    records = [
        make_run(tmp_path, f"v{n:02}", seed, [0.1, n / 30], spec={"optimizer": {"kind": "sgd", "lr": 0.1 + n}})
        for n in range(25)
        for seed in range(3)
    ]
    page = report(compare(records, target=0.4))
    data = data_of(page)
    assert len(data["curves"]["groups"]) == len(data["target"]["groups"]) == MOST_LINES
    assert "The first 21 variants of the ranking are drawn, 4 more are not." in page.one("section", id="curves").text
    assert len(page.one("section", id="results").one("tbody").children) == 25
    assert len(data["rates"]["groups"][0]["points"]) == 25
    looks = {(group["colour"], group["dash"], group["marker"]) for group in data["curves"]["groups"]}
    assert len(looks) == MOST_LINES
    rows = page.one("section", id="differences").one("tbody").children
    assert len(rows) == 25  # a row a value, not a column a variant


def test_the_steps_to_the_target_are_those_of_kaplan_and_meier(tmp_path: Path) -> None:
    curves = {0: [0.1, 0.6, 0.7], 1: [0.1, 0.2, 0.6], 2: [0.1, 0.2], 3: [0.6, 0.7, 0.8]}
    records = [make_run(tmp_path, "sgd", seed, values) for seed, values in curves.items()]
    records.append(make_run(tmp_path, "sgd", 4, [0.1], status="diverged"))
    page = report(compare(records, target=0.5))
    (line,) = data_of(page)["target"]["groups"]
    steps = line["axes"]["steps"]
    # At risk 5, 4, 2 (seed 2 was watched to step 20, the diverged one for ever); 4/5, 3/4, 1/2 stay.
    assert steps["x"] == [0, 10, 20, 30, 30]
    assert steps["y"] == pytest.approx([0, 0.2, 0.4, 0.7, 0.7])
    assert (steps["censored_x"], steps["censored_y"]) == ([20], [0.4])
    assert set(line["axes"]) == {"steps", "samples", "gradient_evaluations", "seconds"}
    assert "3 of 5" in page.one("section", id="target").text


def test_rates_of_variants_that_differ_in_nothing_else_are_a_line(tmp_path: Path) -> None:
    def run(variant: str, value: float, lr: float, **more: Any) -> RunRecord:
        spec = {"name": variant, "optimizer": {"kind": "sgd", "lr": lr, **more}, "variants": {variant: {}}}
        return make_run(tmp_path, variant, 0, [value], spec=spec)

    records = [
        run("low", 0.5, 0.01),
        run("high", 0.7, 1.0),
        run("middle", 0.9, 0.1),
        run("other", 0.6, 0.1, beta=0.9),
        make_run(tmp_path, "imported", 0, [0.4], spec={}),
    ]
    page = report(compare(records))
    (line,) = data_of(page)["rates"]["groups"]
    assert line["label"] == "sgd"
    assert [(point["rate"], point["label"], point["mean"]) for point in line["points"]] == [
        (0.01, "low", 0.5),
        (0.1, "middle", 0.9),
        (1, "high", 0.7),
    ]
    caption = page.one("figcaption", id="caption-rates").text
    assert "sgd is best at 0.1 (0.9000; 3 rates)" in caption


def test_a_rate_at_which_all_diverged_and_a_best_at_the_edge_are_said(tmp_path: Path) -> None:
    def run(variant: str, value: float, lr: float, status: str = "done") -> RunRecord:
        return make_run(tmp_path, variant, 0, [value], status=status, spec={"optimizer": {"kind": "sgd", "lr": lr}})

    page = report(compare([run("a", 0.9, 0.1), run("b", 0.5, 0.01), run("c", 0.1, 9.0, "diverged")]))
    (line,) = data_of(page)["rates"]["groups"]
    assert [point["lost"] for point in line["points"]] == [False, False, True]
    assert "at the edge" not in page.one("figcaption", id="caption-rates").text
    page = report(compare([run("d", 0.9, 0.1), run("e", 0.5, 0.01)]))
    assert "at the edge of those tried" in page.one("figcaption", id="caption-rates").text


def test_the_pareto_set_is_marked_by_more_than_colour(tmp_path: Path) -> None:
    costs = (
        CostPoint(
            "adam", Spread(0.9, 0.01, 3), {"train_seconds": 2.0, "memory_peak_bytes": 5e8}, frozenset({"train_seconds"})
        ),
        CostPoint("sgd", Spread(0.8, None, 1), {"train_seconds": 3.0}, frozenset()),
    )
    comparison = replace(usual(tmp_path), costs=costs)
    page = report(comparison)
    cells = [[cell.text for cell in row.children] for row in page.one("div", id="table-cost").one("tbody").children]
    assert cells == [["adam", "0.9000 ± 0.0100", "2 ★", "500 MB"], ["sgd", "0.8000", "3", "-"]]
    assert data_of(page)["cost"]["groups"][0]["front"] == ["train_seconds"]
    assert "by training seconds: adam" in page.one("figcaption", id="caption-cost").text


def test_confusions_are_summed_over_the_seeds(tmp_path: Path) -> None:
    section = report(usual(tmp_path)).one("section", id="confusion")
    tables = section.all("table")
    assert len(tables) == 3
    assert [option.text for option in section.all("option")] == [row.label for row in usual(tmp_path / "b").rows]
    adam = next(table for table in tables if table.one("caption").text.startswith("adam"))
    assert [[cell.text for cell in row.children] for row in adam.one("tbody").children] == [
        ["cat", "30", "3"],
        ["dog", "6", "24"],
    ]
    assert "54 of 63 right over 3 seeds" in adam.one("caption").text


def test_of_many_classes_the_commonest_confusions_are_listed(tmp_path: Path) -> None:
    size = 30
    matrix = [[50 if true == said else 0 for said in range(size)] for true in range(size)]
    matrix[3][5], matrix[7][1] = 9, 4
    record = make_run(tmp_path, "sgd", 0, [0.5], test={"last": {}, "best": {}, "confusion": matrix})
    section = report(compare([record])).one("section", id="confusion")
    rows = [[cell.text for cell in row.children] for row in section.one("tbody").children]
    assert rows == [["3", "5", "9", "15.3 %"], ["7", "1", "4", "7.4 %"]]


def test_a_column_stands_for_each_environment(tmp_path: Path) -> None:
    records = [make_run(tmp_path, variant, seed, [0.5]) for variant in ("sgd", "adam") for seed in range(2)]
    for record in records:
        threads = 2 if record.variant == "adam" else 1
        written = {"nnopt": "0.1.0", "threads": threads, "packages": {"torch": "2.13"}, "git": {"commit": "a" * 40}}
        (record.folder / "environment.json").write_text(json.dumps(written))
    table = report(compare(records)).one("section", id="environment").one("table")
    assert len(table.one("thead").all("th")) == 3
    rows = {row.children[0].text: [cell.text for cell in row.children[1:]] for row in table.one("tbody").children}
    assert rows["threads"] == ["1", "2"]
    assert rows["runs"] == ["2 of 4", "2 of 4"]
    assert rows["torch"] == ["2.13", "2.13"]
    assert rows["git commit"] == ["a" * 12] * 2
    (records[0].folder / "environment.json").write_text("{")  # damaged: what the summary knows stays
    assert len(report(compare(records)).one("section", id="environment").one("thead").all("th")) == 4


def test_the_page_says_when_and_by_what_it_was_written(tmp_path: Path) -> None:
    footer = report(usual(tmp_path)).one("footer").text
    assert re.search(r"Written \d{4}-\d\d-\d\d \d\d:\d\d UTC by nnopt \d", footer)
    assert "docs/statistics.md" in report(usual(tmp_path / "b")).one("section", id="methods").text


def test_plotly_is_read_and_not_imported(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "sgd", seed, [0.5])
    code = (
        "import sys; from pathlib import Path\n"
        "from nnopt.compare.comparison import compare\n"
        "from nnopt.compare.report.page import write_html\n"
        "from nnopt.store.record import RunRecord\n"
        f"top = Path({str(tmp_path)!r})\n"
        "write_html(compare([RunRecord.read(top / f'digits/sgd/seed-{n}') for n in range(2)]), top / 'report.html')\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"plotly", "torch", "pandas", "matplotlib"} & set(done.stdout.split()) == set()
    assert "nnopt" in done.stdout.split()


def test_without_plotly_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compare([make_run(tmp_path, "sgd", 0, [0.5])])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install plotly"):
        to_html(comparison)


def test_the_library_has_a_file_where_it_is_looked_for() -> None:
    import plotly

    assert (Path(plotly.__file__).parent / PLOTLY).stat().st_size > 1_000_000


def test_a_folder_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        write_html(compare([make_run(tmp_path, "sgd", 0, [0.5])]), tmp_path / "nothing" / "report.html")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_measured_as_the_standard_does() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # a known example: just too little


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_is_readable_in_both_schemes(tmp_path: Path, scheme: int) -> None:
    sheet = parse(to_html(usual(tmp_path))).one("style").text
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r"\{([^{}]*--paper: [^{}]*)\}", sheet)
    ]
    assert len(blocks) == 2
    colours = blocks[scheme]
    for ground in ("paper", "shade", "best"):
        for text in ("ink", "soft-ink", "link", "good", "bad", "unsure"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["focus"], colours["paper"]) >= 3


def test_lines_differ_by_more_than_colour_and_are_seen_on_both_grounds() -> None:
    assert len(MARKERS) == len(COLOURS)
    looks = [look(index) for index in range(MOST_LINES)]
    assert len({(one["dash"], one["marker"]) for one in looks}) == MOST_LINES
    assert [COLOURS[int(one["colour"])] for one in looks] == [style(index)[0] for index in range(MOST_LINES)]
    light, dark = (dict(re.findall(r"--line-(\d):(#\w{6})", rules)) for rules in colour_rules().split("@media"))
    assert len(light) == len(dark) == len(COLOURS)
    assert all(contrast(colour, "#14171a") >= 3 for colour in dark.values())
    assert list(light.values()) == list(COLOURS)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0.9812 ± 0.0010", 0.9812),
        ("-1.2 points", -1.2),
        ("12,345", 12345),
        ("1.0e-05", 1e-5),
        ("3 of 5", 3),
        ("273 MB", 273e6),
        ("1.5 GB", 1.5e9),
        ("12 B", 12),
        ("-", None),
        ("diverged", None),
    ],
)
def test_cells_are_sorted_by_the_number_they_begin_with(text: str, key: float | None) -> None:
    found = sort_key(text)
    assert found is None if key is None else float(str(found)) == pytest.approx(key)


def test_markup_escapes_what_was_not_made_here() -> None:
    assert element("p", "a < b & c", Markup("<b>d</b>")) == "<p>a &lt; b &amp; c<b>d</b></p>"
    assert element("a", "x", href='"><script>', class_="one two", data_line=3, open=True, id=None, hidden=False) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="one two" data-line="3" open>x</a>'
    )
    assert element("br") == "<br>"
    assert not isinstance(element("p") + "<i>", Markup)  # a sum with plain text is plain text
    assert "</script" not in json_block("x", {"a": "</script><!--"}).removesuffix("</script>")
