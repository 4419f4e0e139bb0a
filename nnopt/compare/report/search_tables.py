"""A search in tables: winners, what became of the trials, importance, and the numbers behind the charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnopt.compare.report.markup import Markup, element, join, table
from nnopt.compare.search.importance import KeyImportance
from nnopt.compare.search.summary import Estimate, SearchSummary, VariantSearch
from nnopt.compare.text import ABSENT, show_quantity, show_value
from nnopt.spec.search.limits import size_in_words

SHOWN_TRIALS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
BAR_WIDTH, BAR_HEIGHT = 160, 18


def winners_table(summary: SearchSummary) -> Markup:
    """The best setting of each variant, what it came to on fresh seeds, and what it came to in the search."""
    names = list(dict.fromkeys(one.name for variant in summary.variants for one in variant.estimates))
    fresh = any(variant.is_confirmed for variant in summary.variants)
    titles = ["variant", *(f"{name}, {'fresh seeds' if fresh else 'seeds of the trial'}" for name in names)]
    titles += [f"{summary.metric} in the search", "trial"]
    rows = []
    for variant in summary.variants:
        estimates = {one.name: one for one in variant.estimates if variant.is_confirmed or not fresh}
        best = variant.best
        rows.append(
            [
                variant.variant,
                *(_estimate(estimates.get(name)) for name in names),
                _number(best.value if best else None),
                ABSENT if best is None else str(best.number),
            ]
        )
    caption = "The best setting of each variant; in brackets 95 % intervals over seeds"
    if fresh:
        caption += ". What winners came to in the search is too good on average, as they were chosen by it"
    return table(caption, titles, rows)


def front_table(summary: SearchSummary) -> Markup:
    """The members of each front: what they cost, what they came to in the search and on fresh seeds, and their keys."""
    rows = [(one, member) for one in summary.variants for member in one.front]
    names = list(dict.fromkeys(found.name for _, member in rows if member.confirmed for found in member.estimates))
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    titles = ["variant", "trial", str(summary.against), f"{summary.metric} in the search"]
    titles += [*(f"{name}, fresh seeds" for name in names), *keys]
    cells = []
    for one, member in rows:
        again = {found.name: found for found in member.estimates} if member.confirmed else {}
        cells.append(
            [
                member.name or one.variant,
                str(member.trial.number),
                size_in_words(member.trial.cost or 0.0),
                _number(member.trial.value),
                *(_estimate(again.get(name)) for name in names),
                *(show_value(member.trial.setting, key) for key in keys),
            ]
        )
    caption = (
        f"The front of {summary.metric} against {summary.against}: what nothing tried beats in both; those with a name "
        "of their own were trained again, and in brackets are 95 % intervals over their seeds"
    )
    return table(caption, titles, cells) if rows else Markup()


def settings_table(summary: SearchSummary) -> Markup:
    """What the best trial of each variant sets, a row a key."""
    known = {one.variant: one.best.setting for one in summary.variants if one.best}
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    rows = [[key, *(show_value(setting, key) for setting in known.values())] for key in keys]
    return table("The settings of the winners", ["key", *known], rows) if known else Markup()


def trials_table(summary: SearchSummary) -> Markup:
    """What became of the trials."""
    others = [
        name
        for name in ("over", "pruned", "failed", "running")
        if any(one.counts.get(name) for one in summary.variants)
    ]
    titles = ["variant", "trials", "done", *others, "diverged", "training seconds"]
    rows = []
    for one in summary.variants:
        share = one.diverged
        lost = f"{share.count} of {share.of}"
        if share.of:
            lost += f" ({100 * share.interval.low:.0f} to {100 * share.interval.high:.0f} %)"
        begun = str(len(one.trials)) if len(one.trials) == one.planned else f"{len(one.trials)} of {one.planned}"
        counts = [str(one.counts.get(name, 0)) for name in ("done", *others)]
        rows.append([one.variant, begun, *counts, lost, show_quantity(one.seconds)])
    return table("What became of the trials; in brackets the 95 % interval of the share that diverges", titles, rows)


def best_table(summary: SearchSummary) -> Markup:
    """Expected best of n trials."""
    known = [one for one in summary.variants if one.expected_best]
    most = max((one.expected_best.trials[-1] for one in known if one.expected_best), default=0)
    shown = [*(n for n in SHOWN_TRIALS if n < most), most]
    rows = [[one.variant, *(_expected(one, n) for n in shown)] for one in known]
    titles = ["variant", *(f"{n} trial{'s' if n > 1 else ''}" for n in shown)]
    return table(f"Expected best {summary.metric}; in brackets where nine of ten draws lie", titles, rows)


def _expected(variant: VariantSearch, n: int) -> str:
    found = variant.expected_best
    if found is None or n not in found.trials:
        return ABSENT
    place = found.trials.index(n)
    return f"{found.expected[place]:.4g} ({found.low[place]:.4g} to {found.high[place]:.4g})"


def rates_table(summary: SearchSummary) -> Markup:
    """The best rate of each variant and the range of good ones."""
    rows = []
    for one in summary.variants:
        found = one.sensitivity
        if found is None:
            continue
        low, high = ("≤ " if found.low_is_open else ""), ("≥ " if found.high_is_open else "")
        rows.append(
            [
                one.variant,
                f"{found.best.rate:.4g}",
                _number(found.best.value),
                f"{low}{found.low:.3g}",
                f"{high}{found.high:.3g}",
                f"{'≥ ' if found.is_open else ''}{found.decades:.2f}",
            ]
        )
    titles = ["variant", "best rate", summary.metric, "within 1 % from", "to", "decades"]
    return table("Where the learning rate does as well as the best, but for 1 %", titles, rows)


def importance_tables(summary: SearchSummary) -> dict[str, Markup]:
    """The share of the variance between trials that each key alone explains.

    A table under the name "" where no key depends on another, a column a variant; else a table a variant, a column
    each set of trials that importance is told of.
    """
    found = {one.variant: one.importance.keys for one in summary.variants if one.importance.keys}
    if not any(key.where for keys in found.values() for key in keys):
        return {"": _importance("", found)} if found else {}
    parts: dict[str, dict[str, list[KeyImportance]]] = {variant: {} for variant in found}
    for variant, keys in found.items():
        for key in keys:
            parts[variant].setdefault(f"where {key.where}" if key.where else "all trials", []).append(key)
    return {variant: _importance(f"{variant}: ", columns) for variant, columns in parts.items()}


def _importance(of: str, columns: Mapping[str, Sequence[KeyImportance]]) -> Markup:
    """A row a key, the one that matters most in some column first; a bar a cell."""
    most: dict[str, float] = {}
    for keys in columns.values():
        for one in keys:
            most[one.key] = max(most.get(one.key, 0.0), one.share)
    rows = []
    for key in sorted(most, key=lambda name: -most[name]):
        cells = [next((one for one in keys if one.key == key), None) for keys in columns.values()]
        rows.append([key, *(_share(one) if one else ABSENT for one in cells)])
    caption = (
        f"{of}how much of the differences between trials a key alone explains (functional analysis of variance); in "
        "brackets the lowest and highest of several random forests"
    )
    return table(caption[0].upper() + caption[1:] if not of else caption, ["key", *columns], rows)


def _share(one: KeyImportance) -> Markup:
    return join([f"{100 * one.share:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})", _bar(one)])


def _bar(one: KeyImportance) -> Markup:
    """The share as a bar, with a stroke from the lowest to the highest of the forests."""

    def at(share: float) -> str:
        return f"{share * (BAR_WIDTH - 2) + 1:.1f}"

    middle = BAR_HEIGHT / 2
    ground = element("path", d=f"M1 {middle}H{BAR_WIDTH - 1}", class_="zero")
    bar = element("path", d=f"M1 {middle}H{at(one.share)}", class_="share")
    stroke = element("path", d=f"M{at(one.low)} {middle}H{at(one.high)}M{at(one.low)} 5V13M{at(one.high)} 5V13")
    return element(
        "svg",
        ground,
        bar,
        stroke,
        class_="bar",
        viewBox=f"0 0 {BAR_WIDTH} {BAR_HEIGHT}",
        width=BAR_WIDTH,
        height=BAR_HEIGHT,
        aria_hidden="true",
    )


def _estimate(one: Estimate | None) -> str:
    if one is None:
        return ABSENT
    interval = f" ({_number(one.interval.low)} to {_number(one.interval.high)})" if one.interval else ""
    lost = f"; {one.lost} diverged" if one.lost else ""
    return f"{_number(one.mean)}{interval}{lost}, n = {one.n}"


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4f}" if 1e-3 <= abs(value) < 10 or not value else f"{value:.4g}"
