"""How often intervals of a ratio of times to target hold the truth, and how often an alarm is false.

    python tests/benchmarks/time_to_target.py [--experiments 5000] [--n 3 5 10] [--output FILE]

Prints a Markdown table as it goes along (an hour on one core), or writes it to a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "compare"))

from drawn_times import Setting, rates

FASTER = 0.6
GRIDS = ((0.01, 0.01), (0.1, 0.1), (0.3, 0.3), (0.01, 0.3))
HEADER = """\
| n | runs that never got there | evaluations of a, of b | covered, truth 1 | false alarms | covered, truth 0.6 \
| found, truth 0.6 | no interval, truth 0.6 |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def main() -> None:
    """One line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=5000, help="drawn in each of two truths")
    parser.add_argument("--n", type=int, nargs="+", default=[3, 5, 10], help="runs a group")
    parser.add_argument("--output", type=Path, help="file that the table is written to")
    options = parser.parse_args()
    lines = [HEADER]
    print(HEADER, flush=True)
    for setting in settings(options.n):
        lines.append(line(setting, options.experiments))
        print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def settings(sizes: Sequence[int]) -> Iterator[Setting]:
    """n, what is missed, and how coarse the evaluations are."""
    for n in sizes:
        for grids in GRIDS:
            yield Setting(n, grids)
        for grids in GRIDS:
            yield Setting(n, grids, shared_seeds=False)
        for grids in GRIDS:
            yield Setting(n, grids, missed=0.3, shared_seeds=False)
        yield Setting(n, (0.1, 0.1), missed=0.3, diverge=True, shared_seeds=False)
        yield Setting(n, (0.01, 0.01), missed=0.3, scattered=True, shared_seeds=False)


def line(setting: Setting, experiments: int) -> str:
    """A row of the table; shares in per cent."""
    equal, faster = rates(setting, 1.0, experiments), rates(setting, FASTER, experiments)
    none = "none (paired)" if setting.shared_seeds else "none"
    why = (
        "diverged" if setting.diverge else "each ending by itself" if setting.scattered else "at the end of the budget"
    )
    a, b = (f"{100 * grid:.0f} %" for grid in setting.grids)
    shares = (equal.covered, equal.alarms, faster.covered, faster.alarms, faster.unbounded)
    cells = [
        str(setting.n),
        f"{100 * setting.missed:.0f} % {why}" if setting.missed else none,
        a if a == b else f"{a}, {b}",
    ]
    return f"| {' | '.join([*cells, *(f'{100 * share:.1f} %' for share in shares)])} |"


if __name__ == "__main__":
    main()
