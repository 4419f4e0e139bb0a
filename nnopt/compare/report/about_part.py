"""How the numbers were made, and what the runs' authors wrote about them."""

from __future__ import annotations

from nnopt.compare.comparison import Comparison
from nnopt.compare.report.markup import Markup, section, sentences

# A paragraph a line of thought; blank lines part them.
METHODS = """
A variant is held against its baseline over seeds. Where all seeds of the smaller group are among those of the other,
and at least three are shared, the runs are paired by seed and the interval is that of a paired t test; otherwise it is
Welch's. Runs of a metric that moves in steps, as an accuracy over few samples does, are taken to differ by no less than
rounding to those steps allows.

A run that diverged counts as worse than any other. With such a run the ranks decide: the difference is the median over
all pairs (Hodges and Lehmann), its interval what the exact Mann-Whitney test allows.

The permutation p counts in how many arrangements of the runs the difference is as large as the one seen: all
arrangements where they are few, else 9,999 drawn ones. Beside it stands the least p that so few runs can give.

With more than one variant against a baseline, p is corrected by Holm's method, and a verdict asks for a corrected p
below 0.05. Intervals are not corrected. With fewer than three seeds there is neither interval nor p.

g is Hedges' effect size: the difference by the standard deviation of the runs, corrected for small samples.

A run that did not get to the target is censored at its last evaluation, one that diverged at infinity: medians are
those of Kaplan and Meier, ratios of times come with the log-rank test where runs did not get there. No interval is
narrower than the distance of two evaluations.

Formulas, sources and checks of each are in docs/statistics.md of nnopt.
"""


def methods_part() -> Markup:
    """How intervals and p-values are made, in sentences."""
    return section("methods", "How the numbers are made", sentences(METHODS.strip().split("\n\n")))


def notes_part(comparison: Comparison) -> Markup:
    """The notes and tags of the specs, each once."""
    summaries = [record.summary for group in comparison.groups for record in group.records]
    notes = dict.fromkeys(str(summary["notes"]) for summary in summaries if summary.get("notes"))
    tags = dict.fromkeys(str(tag) for summary in summaries for tag in summary.get("tags") or ())
    said = [*notes, *([f"Tags: {', '.join(tags)}"] if tags else [])]
    return section("notes", "Notes on the runs", sentences(said, class_="authors")) if said else Markup()
