"""What a search found: on a terminal, in Markdown, and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnopt.compare.search.expected import ExpectedBest
from nnopt.compare.search.summary import Estimate, SearchSummary, VariantSearch
from nnopt.compare.search.trial import Trial
from nnopt.compare.sentences import decimals_for
from nnopt.compare.spread import Spread
from nnopt.compare.tables.tasks import TextColumn, render_columns
from nnopt.compare.text import ABSENT, show_quantity, show_spread, show_value

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_TRIALS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
STATUSES = ("done", "pruned", "diverged", "failed", "running")
Row = dict[str, Any]


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
    return f"Search of {summary.experiment}: {trials} of {whose}{which}, by {summary.metric}, {better} is better"


def tables(summary: SearchSummary) -> list[tuple[str, list[TextColumn]]]:
    """Title and columns of each table that has something to show: winners, and what n trials are expected to find."""
    found = [("", winner_columns(summary))]
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
    columns = [
        TextColumn("variant", tuple(one.variant for one in variants)),
        TextColumn("trials", tuple(_trials(one) for one in variants)),
        TextColumn("diverged (95 %)", tuple(_diverged(one) for one in variants)),
        TextColumn("best trial", tuple(ABSENT if one.best is None else str(one.best.number) for one in variants)),
        TextColumn(f"its {summary.metric}", tuple(_best(one) for one in variants)),
        *(TextColumn(f"{name} on fresh seeds", tuple(_estimated(one, name) for one in variants)) for name in names),
        *(TextColumn(key, tuple(_setting(one.best, key) for one in variants)) for key in keys),
        TextColumn("train seconds", tuple(show_quantity(one.seconds) for one in variants)),
    ]
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


def variant_rows(summary: SearchSummary) -> list[Row]:
    """search.csv: a row a variant. The keys are those of its best trial; `edges` are those with the best at an end."""
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    names = list(dict.fromkeys(found.name for one in summary.variants for found in one.estimates))
    return [_variant_row(summary, one, names, keys) for one in summary.variants]


def _variant_row(summary: SearchSummary, one: VariantSearch, names: Sequence[str], keys: Sequence[str]) -> Row:
    estimates = {found.name: found for found in one.estimates}
    rates = one.sensitivity
    row: Row = {
        "variant": one.variant,
        "planned": one.planned,
        "trials": len(one.trials),
        **{status: one.counts.get(status, 0) for status in STATUSES},
        "diverged_share": one.diverged.count / one.diverged.of if one.diverged.of else None,
        "diverged_low": one.diverged.interval.low,
        "diverged_high": one.diverged.interval.high,
        "train_seconds": one.seconds,
        "metric": summary.metric,
        "higher_is_better": int(summary.higher_is_better),
        "best_trial": one.best.number if one.best else None,
        "best_value": one.best.value if one.best else None,
        "on_fresh_seeds": int(one.is_confirmed),
        "fresh_seeds_diverged": max((found.lost for found in one.estimates), default=0),
    }
    for name in names:
        row |= _estimate_cells(name, estimates.get(name))
    row |= {
        "lr_low": rates.low if rates else None,
        "lr_high": rates.high if rates else None,
        "lr_decades": rates.decades if rates else None,
        "lr_low_is_open": int(rates.low_is_open) if rates else None,
        "lr_high_is_open": int(rates.high_is_open) if rates else None,
        "edges": " ".join(edge.key for edge in one.edges),
    }
    return row | _settings(one.best, keys)


def trial_rows(summary: SearchSummary) -> list[Row]:
    """trials.csv: a row a trial. An empty cell is a key that the trial does not have; lists are JSON."""
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    return [
        {
            "variant": one.variant,
            "trial": trial.number,
            "again": trial.again,
            "status": trial.status,
            summary.metric: trial.value,
            "train_seconds": trial.train_seconds,
            **_settings(trial, keys),
        }
        for one in summary.variants
        for trial in one.trials
    ]


def sensitivity_rows(summary: SearchSummary) -> list[Row]:
    """sensitivity.csv: a row a trial that is done or diverged; the line goes through those `on_curve`."""
    lines = {
        one.variant: {point.trial for point in one.sensitivity.curve} for one in summary.variants if one.sensitivity
    }
    return [
        {
            "variant": one.variant,
            "key": one.sensitivity.key,
            "rate": point.rate,
            summary.metric: point.value,
            "trial": point.trial,
            "on_curve": int(point.trial in lines[one.variant]),
        }
        for one in summary.variants
        if one.sensitivity
        for point in one.sensitivity.points
    ]


def importance_rows(summary: SearchSummary) -> list[Row]:
    """importance.csv: a row a key, with the lowest and highest share over the forests."""
    return [
        {
            "variant": one.variant,
            "where": key.where,
            "key": key.key,
            "share": key.share,
            "low": key.low,
            "high": key.high,
        }
        for one in summary.variants
        for key in one.importance.keys
    ]


def expected_rows(summary: SearchSummary) -> list[Row]:
    """expected_best.csv: a row for each number of trials, with the ends between which nine of ten draws lie."""
    return [
        {
            "variant": one.variant,
            "trials": n,
            "expected": found.expected[place],
            "low": found.low[place],
            "high": found.high[place],
            "seconds": found.seconds[place],
            "best_so_far": found.so_far[place],
        }
        for one in summary.variants
        if (found := one.expected_best) is not None
        for place, n in enumerate(found.trials)
    ]


# The rows of each table without a row, so that its file has a header all the same.
HEADERS = {
    "trials": ("variant", "trial", "again", "status", "train_seconds"),
    "sensitivity": ("variant", "key", "rate", "trial", "on_curve"),
    "importance": ("variant", "where", "key", "share", "low", "high"),
    "expected_best": ("variant", "trials", "expected", "low", "high", "seconds", "best_so_far"),
}


def to_csv(rows: Sequence[Row], header: Sequence[str] = ()) -> str:
    """Rows of the same columns; `header` where there is none."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else list(header), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _settings(trial: Trial | None, keys: Sequence[str]) -> Row:
    setting: Mapping[str, Any] = trial.setting if trial else {}
    return {key: _cell(setting.get(key)) for key in keys}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _estimate_cells(name: str, found: Estimate | None) -> Row:
    interval = found.interval if found else None
    return {
        f"{name}_mean": found.mean if found else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
        f"{name}_n": found.n if found else 0,
    }


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
