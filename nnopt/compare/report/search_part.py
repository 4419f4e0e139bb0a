"""The search behind the settings: winners, what it warns of, sensitivity, importance, the price of tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.charts import controls, figure, select
from nnopt.compare.report.look import legend
from nnopt.compare.report.markup import Markup, element, join, section, sentences
from nnopt.compare.report.search_data import search_data
from nnopt.compare.report.search_tables import (
    best_table,
    front_table,
    importance_tables,
    rates_table,
    settings_table,
    trials_table,
    winners_table,
)
from nnopt.compare.search.summary import SearchSummary, VariantSearch
from nnopt.compare.text import grouped, listed
from nnopt.spec.search.limits import limits_in_words

HEIGHTS = {"near": "near the best", "all": "all values"}
COSTS = {"trials": "trials", "seconds": "training seconds"}
FOUND = {"expected": "expected best of n draws", "so_far": "best so far, as they came"}
SCALES = {"log": "factors", "linear": "even"}
POINTS = {"points": "every trial", "lines": "the lines alone"}
STRONG = {"0.1": "the best tenth", "0.25": "the best quarter", "0.5": "the better half", "lost": "without a value"}
MOST_SEEDS = 8

Heading = Callable[[str], Markup]


def search_part(comparison: Comparison) -> tuple[Markup, list[dict[str, Any]]]:
    """The section, and what its script reads, a member a search; nothing where no trial is among the runs."""
    summaries = comparison.searches
    if not summaries:
        return Markup(), []
    places = {(row.experiment, row.variant): place for place, row in enumerate(comparison.rows) if row.trial is None}
    parts: list[Markup] = []
    values = []
    for number, summary in enumerate(summaries):
        drawn = summary.variants[:MOST_LINES]
        lines = [places.get((summary.experiment, one.variant), len(places) + place) for place, one in enumerate(drawn)]
        parts += _search(summary, number, lines, f"{summary.experiment}: " if len(summaries) > 1 else "")
        values.append(search_data(summary, drawn, lines))
    return section("search", "Search", *parts), values


def _search(summary: SearchSummary, number: int, lines: list[int], of: str) -> list[Markup]:
    """Everything on one search; `lines` are the numbers of its variants' lines, `of` begins its headings."""

    def heading(text: str) -> Markup:
        whole = f"{of}{text}"
        return element("h3", whole[0].upper() + whole[1:])

    drawn = dict(zip(lines, summary.variants, strict=False))
    warned = [element("li", element("p", _sentence(text))) for text in summary.warnings]
    more = len(summary.variants) - len(drawn)
    return [
        heading("what was searched") if of else Markup(),
        element("p", what_was_searched(summary)),
        element("ul", *warned, class_="findings") if warned else Markup(),
        sentences(summary.notes, class_="notes"),
        *_winners(summary, number, drawn, heading),
        trials_table(summary),
        *_found(summary, number, drawn, heading),
        *_rates(summary, number, drawn, heading),
        *_matters(summary, number, heading),
        *_trials(summary, number, drawn, heading),
        sentences([f"The first {len(drawn)} variants are drawn, {more} more are not."]) if more else Markup(),
    ]


def _winners(summary: SearchSummary, number: int, drawn: Mapping[int, VariantSearch], heading: Heading) -> list[Markup]:
    """What came of it: the best of each variant, or where there are two objectives the front."""
    if summary.against is None:
        return [heading("winners"), winners_table(summary), settings_table(summary)]
    known = {line: one for line, one in drawn.items() if one.front}
    if not known:
        return []
    name = f"search-front-{number}"
    choice = controls(
        select(f"{name}-scale", "Horizontal axis", SCALES),
        select(f"{name}-height", "Vertical axis", HEIGHTS),
        label="Front",
    )
    ends = [
        f"{one.variant} {one.front[-1].trial.value:.4g} at {one.front[-1].trial.cost:,.4g}" for one in known.values()
    ]
    text = f"The front of {summary.metric} against {summary.against}; its best: {listed(ends, MOST_SEEDS)}."
    hint = (
        "Every small marker is a trial, the line joins those that nothing tried beats in both. A diamond is the mean "
        "of a member on fresh seeds with its 95 % interval: what it came to in the search is too good on average."
    )
    boxes = legend(name, [one.variant for one in known.values()], list(known))
    return [
        heading("the front"),
        element("p", hint, class_="hint"),
        figure(name, text, choice, boxes, front_table(summary)),
    ]


def what_was_searched(summary: SearchSummary) -> str:
    """How many trials there were, how they were proposed, by what they were judged, and who won what on fresh seeds."""
    counts = sorted({len(one.trials) for one in summary.variants})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    each = f"of each of {len(summary.variants)} variants" if len(summary.variants) > 1 else "of one variant"
    sampler = str((summary.search.get("sampler") or {}).get("kind") or "unknown").replace("_", "-")
    prune = (summary.search.get("prune") or {}).get("kind")
    seeds = sorted({seed for one in summary.variants for trial in one.trials for seed in trial.values})
    said = [
        f"{number} trials {each}, proposed by the {sampler} sampler"
        + (f" and cut short by {prune.replace('_', ' ')}" if prune else "")
        + f", judged by {summary.metric} ({'more' if summary.higher_is_better else 'less'} is better)"
        + (f" against {summary.against}" if summary.against else "")
        + (f", trained only with {limits_in_words(summary.limits)}" if summary.limits else "")
        + (f" over {_seeds(seeds)}" if seeds else "")
    ]
    fresh = sorted({record.seed for one in summary.variants for record in one.confirmed})
    if fresh:
        who = "Members of the front" if summary.against else "Winners"
        said.append(f"{who} were trained again on {_seeds(fresh)}: only those runs are in the results above")
    return ". ".join(said) + "."


def _seeds(seeds: list[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {listed([str(seed) for seed in seeds], MOST_SEEDS)}"


def _sentence(text: str) -> Markup:
    """With a capital, a full stop, and what stands between backticks as code."""
    whole = text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return join([element("code", part) if place % 2 else part for place, part in enumerate(whole.split("`"))])


def _found(summary: SearchSummary, number: int, drawn: Mapping[int, VariantSearch], heading: Heading) -> list[Markup]:
    """The best of n trials against n."""
    known = {line: one for line, one in drawn.items() if one.expected_best}
    if not known:
        return []
    name = f"search-best-{number}"
    choice = controls(
        select(f"{name}-axis", "Price in", COSTS),
        select(f"{name}-line", "Line", FOUND, "so_far" if summary.learns else "expected"),
        select(f"{name}-height", "Vertical axis", HEIGHTS),
        label="The price of tuning",
    )
    ends = [
        f"{one.variant} {one.expected_best.expected[-1]:.4g} after {one.expected_best.trials[-1]}"
        for one in known.values()
        if one.expected_best
    ]
    text = f"Best {summary.metric} of n trials: {listed(ends, MOST_SEEDS)}."
    better = "higher" if summary.higher_is_better else "lower"
    hint = (
        "Expected best: the mean of the best of n trials over all ways to draw n of them, and within which values nine "
        "of ten draws lie; trials without a value count as the worst of the others. Best so far: the best of the first "
        f"n trials in their order. A line that is {better} further left needs less tuning."
    )
    boxes = legend(name, [one.variant for one in known.values()], list(known))
    made = figure(name, text, choice, boxes, best_table(summary))
    return [heading("the price of tuning"), element("p", hint, class_="hint"), made]


def _rates(summary: SearchSummary, number: int, drawn: Mapping[int, VariantSearch], heading: Heading) -> list[Markup]:
    """The objective against the learning rate."""
    known = {line: one for line, one in drawn.items() if one.sensitivity}
    if not known:
        return []
    name = f"search-rate-{number}"
    choice = controls(
        select(f"{name}-points", "Drawn", POINTS),
        select(f"{name}-height", "Vertical axis", HEIGHTS),
        label="Sensitivity to the learning rate",
    )
    said = [f"{one.variant}: {one.sensitivity.sentence()}" for one in known.values() if one.sensitivity]
    text = f"{summary.metric} against the learning rate. {'; '.join(said)}."
    hint = "Every small marker is a trial, a cross one that diverged. "
    if any(one.sensitivity and one.sensitivity.is_envelope for one in known.values()):
        hint += "As other keys were searched too, the line joins the best trial of each quarter of a decade. "
    hint += "Its broad part lies within 1 % of the best: the broader, the less it matters which rate you take."
    boxes = legend(name, [one.variant for one in known.values()], list(known))
    made = figure(name, text, choice, boxes, rates_table(summary))
    return [heading("sensitivity to the learning rate"), element("p", hint, class_="hint"), made]


def _matters(summary: SearchSummary, number: int, heading: Heading) -> list[Markup]:
    """The importance of the keys; of one variant at a time where it depends on other keys."""
    made = importance_tables(summary)
    said = [
        f"{text}."
        for text in grouped([(one.variant, note) for one in summary.variants for note in one.importance.notes])
    ]
    if not made and not said:
        return []
    parts = list(made.values())
    if len(made) > 1:
        name = f"search-importance-{number}"
        blocks = [element("div", part, class_="matrix", id=f"{name}-{at}") for at, part in enumerate(parts)]
        options = {f"{name}-{at}": variant for at, variant in enumerate(made)}
        parts = [controls(select(name, "Variant", options), label="Importance"), *blocks]
    return [heading("which key matters"), *parts, sentences(said)]


def _trials(summary: SearchSummary, number: int, drawn: Mapping[int, VariantSearch], heading: Heading) -> list[Markup]:
    """Every trial as a line over its keys."""
    known = {str(place): one.variant for place, one in enumerate(drawn.values()) if one.trials}
    if not known:
        return []
    name = f"search-keys-{number}"
    choice = controls(
        select(f"{name}-variant", "Variant", known),
        select(f"{name}-strong", "Set off", STRONG),
        label="All trials",
    )
    text = f"Every trial of {next(iter(known.values()))}: a line over the keys that it sets, to its {summary.metric}."
    hint = "Each line is a trial, the thickest one the best. Every trial is also in trials.csv beside the runs."
    return [heading("all trials"), element("p", hint, class_="hint"), figure(name, text, choice, buttons=True)]
