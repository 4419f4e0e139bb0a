"""What a search found: on a terminal, in Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnopt.compare.search.expected import ExpectedBest
from nnopt.compare.search.summary import Estimate, SearchSummary, VariantSearch
from nnopt.compare.search.trial import Trial
from nnopt.compare.sentences import decimals_for
from nnopt.compare.spread import Spread
from nnopt.compare.tables.columns import TextColumn, render_columns
from nnopt.compare.tables.search_rows import (
    STATUSES,
    expected_rows,
    importance_rows,
    sensitivity_rows,
    trial_rows,
    variant_rows,
)
from nnopt.compare.text import ABSENT, show_quantity, show_spread, show_value
from nnopt.spec.search.limits import size_in_words

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_TRIALS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def render_search(summary: SearchSummary, console: Console) -> None:
    """Prints what was searched, warnings, the winners, how the rate and the number of trials mattered, and notes.

    Columns that do not fit beside each other go into further tables, each with the variants' names.
    """
    from rich.text import Text

    console.print(Text(headline(summary)), style="bold", soft_wrap=True)
    for warning in summary.warnings:
        console.print(Text(f"warning: {warning}"), style="yellow", soft_wrap=True)
    console.print()
    for title, columns in tables(summary):
        if title:
            console.print(Text(f"{title}:"), soft_wrap=True)
        render_columns(columns, console)
    for sentence in sentences(summary):
        console.print(Text(f"- {sentence}"), soft_wrap=True)


def search_markdown(summary: SearchSummary) -> str:
    """The same as Markdown."""
    lines = [f"# {headline(summary)}", "", *(f"- **{warning}**" for warning in summary.warnings)]
    for title, columns in tables(summary):
        lines += ["", *([f"{title}:", ""] if title else [])]
        rows = zip(*(column.texts for column in columns), strict=True)
        table = [[column.title for column in columns], ["---"] * len(columns), *rows]
        lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in sentences(summary))]) + "\n"


def search_json(summary: SearchSummary) -> dict[str, Any]:
    """The same for JSON: the rows of all tables, by their names."""
    return {
        "experiment": summary.experiment,
        "metric": summary.metric,
        "higher_is_better": summary.higher_is_better,
        "search": summary.search,
        "variants": variant_rows(summary),
        "trials": trial_rows(summary),
        "sensitivity": sensitivity_rows(summary),
        "importance": importance_rows(summary),
        "expected_best": expected_rows(summary),
        "warnings": list(summary.warnings),
        "notes": list(summary.notes),
    }


def headline(summary: SearchSummary) -> str:
    """`Search of digits: 20 trials of each of 4 variants (tpe), by val_accuracy, more is better`."""
    planned = sorted({variant.planned for variant in summary.variants})
    trials = f"{planned[0]}" if len(planned) == 1 else f"{planned[0]} to {planned[-1]}"
    trials += " trial" if planned == [1] else " trials"
    count = len(summary.variants)
    whose = f"each of {count} variants" if count > 1 else summary.variants[0].variant
    sampler = (summary.search.get("sampler") or {}).get("kind")
    which = f" ({sampler})" if sampler else ""
    better = "more" if summary.higher_is_better else "less"
    judged = f"by {summary.metric}, {better} is better"
    against = f", against {summary.against}" if summary.against else ""
    return f"Search of {summary.experiment}: {trials} of {whose}{which}, {judged}{against}"


def tables(summary: SearchSummary) -> list[tuple[str, list[TextColumn]]]:
    """Title and columns of each table that has something to show: winners, and what n trials are expected to find.

    With two objectives the front takes the place of winners.
    """
    found = [("", winner_columns(summary))]
    if any(one.front for one in summary.variants):
        title = f"The front of {summary.metric} against {summary.against}: what nothing tried beats in both"
        found.append((title, front_columns(summary)))
    expected = expected_columns(summary)
    if len(expected) > 1:
        found.append(
            (f"Expected best {summary.metric} of n trials, drawn at random from those that were made", expected)
        )
    return found


def winner_columns(summary: SearchSummary) -> list[TextColumn]:
    """One row a variant: its trials, its best, what that came to on fresh seeds, and its setting."""
    variants = summary.variants
    keys = list(dict.fromkeys(key for one in variants for key in one.space))
    names = list(dict.fromkeys(found.name for one in variants if one.is_confirmed for found in one.estimates))
    begun = [
        TextColumn("variant", tuple(one.variant for one in variants)),
        TextColumn("trials", tuple(_trials(one) for one in variants)),
        TextColumn("diverged (95 %)", tuple(_diverged(one) for one in variants)),
    ]
    bests = [
        TextColumn("best trial", tuple(ABSENT if one.best is None else str(one.best.number) for one in variants)),
        TextColumn(f"its {summary.metric}", tuple(_best(one) for one in variants)),
        *(TextColumn(f"{name} on fresh seeds", tuple(_estimated(one, name) for one in variants)) for name in names),
        *(TextColumn(key, tuple(_setting(one.best, key) for one in variants)) for key in keys),
    ]
    seconds = TextColumn("train seconds", tuple(show_quantity(one.seconds) for one in variants))
    return _filled([*begun, *([] if summary.against else bests), seconds])


def front_columns(summary: SearchSummary) -> list[TextColumn]:
    """One row a member of a front, from the cheapest on; those that were trained again have a name of their own."""
    rows = [(one, member) for one in summary.variants for member in one.front]
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    names = list(dict.fromkeys(found.name for _, member in rows if member.confirmed for found in member.estimates))
    cells = [{found.name: show_estimate(found) for found in member.estimates} for _, member in rows]
    again = [shown if member.confirmed else {} for (_, member), shown in zip(rows, cells, strict=True)]
    return _filled(
        [
            TextColumn("variant", tuple(member.name or one.variant for one, member in rows)),
            TextColumn("trial", tuple(str(member.trial.number) for _, member in rows)),
            TextColumn(str(summary.against), tuple(size_in_words(member.trial.cost or 0.0) for _, member in rows)),
            TextColumn(summary.metric, tuple(show_quality(member.trial.value) for _, member in rows)),
            *(
                TextColumn(f"{name} on fresh seeds", tuple(shown.get(name, ABSENT) for shown in again))
                for name in names
            ),
            *(TextColumn(key, tuple(_setting(member.trial, key) for _, member in rows)) for key in keys),
        ]
    )


def show_quality(value: float | None) -> str:
    """A single value of the objective."""
    return show_spread(None if value is None else Spread.of([value]))


def _filled(columns: Sequence[TextColumn]) -> list[TextColumn]:
    """Those with something in them."""
    return [column for column in columns if any(text != ABSENT for text in column.texts)]


def expected_columns(summary: SearchSummary) -> list[TextColumn]:
    """One row a variant: the expected best of some numbers of trials."""
    most = max((one.expected_best.trials[-1] for one in summary.variants if one.expected_best), default=0)
    shown = [n for n in SHOWN_TRIALS if n < most] + ([most] if most else [])
    found = [TextColumn("n", tuple(one.variant for one in summary.variants))]
    return [
        *found,
        *(TextColumn(str(n), tuple(_expected(one.expected_best, n) for one in summary.variants)) for n in shown),
    ]


def sentences(summary: SearchSummary) -> list[str]:
    """What the tables do not hold: the range of good rates, the keys that mattered, and the notes."""
    said = [f"{one.variant}: {one.sensitivity.sentence()}." for one in summary.variants if one.sensitivity]
    for one in summary.variants:
        parts: dict[str, list[str]] = {}
        for key in one.importance.keys:
            parts.setdefault(key.where, []).append(f"{key.key} {100 * key.share:.0f} %")
        for where, shares in parts.items():
            said.append(f"{one.variant}: of the variance{f' where {where}' if where else ''}, {', '.join(shares)}.")
        said += [f"{one.variant}: {note}." for note in one.importance.notes if len(one.space) > 1]
    return [*said, *summary.notes]


def _trials(one: VariantSearch) -> str:
    """`20`, or `18 of 20 (5 pruned, 1 failed)`."""
    others = [f"{count} {status}" for status in STATUSES[1:] if (count := one.counts.get(status, 0))]
    made = len(one.trials)  # more than planned where failed ones were tried again
    total = f"{made} of {one.planned}" if made < one.planned else str(made)
    return f"{total} ({', '.join(others)})" if others else total


def _diverged(one: VariantSearch) -> str:
    if not one.diverged.of:
        return ABSENT
    share, interval = one.diverged.count / one.diverged.of, one.diverged.interval
    return f"{100 * share:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def _best(one: VariantSearch) -> str:
    """The best trial's value, with the interval over its own seeds where it has several and no fresh ones."""
    if one.best is None:
        return ABSENT
    if one.is_confirmed or not one.estimates:
        return show_spread(Spread.of([one.best.value]))
    return show_estimate(one.estimates[0])


def _estimated(one: VariantSearch, name: str) -> str:
    found = next((found for found in one.estimates if found.name == name), None)
    return show_estimate(found) if one.is_confirmed and found else ABSENT


def show_estimate(found: Estimate) -> str:
    """`0.9741 (0.9702 to 0.9780, n = 5)`; the digits are those of the interval."""
    seeds = f"n = {found.n}" + (f", {found.lost} diverged" if found.lost else "")
    if found.interval is None:
        return f"{show_spread(Spread.of([found.mean]))} ({seeds})"
    low, high = found.interval.low, found.interval.high
    decimals = max(decimals_for(high - low), 2 if abs(found.mean) < 10 else 0)
    return f"{found.mean:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f}, {seeds})"


def _setting(trial: Trial | None, key: str) -> str:
    return show_value(trial.setting, key) if trial else ABSENT


def _expected(found: ExpectedBest | None, n: int) -> str:
    if found is None or n > found.trials[-1]:
        return ABSENT
    place = min(range(len(found.trials)), key=lambda index: abs(found.trials[index] - n))
    return show_spread(Spread.of([found.expected[place]]))
