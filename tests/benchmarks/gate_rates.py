"""Measure how often a gate is held, broken and undecided over drawn changes, for docs/statistics.md and the README.

    python tests/benchmarks/gate_rates.py

It replaces what stands between the marks of its table on both pages.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "compare"))

from drawn_gates import GATE, gate_rates  # noqa: E402

PAGES = (ROOT / "docs" / "statistics.md", ROOT / "README.md")
BEGIN, END = "<!-- gate rates: written by tests/benchmarks/gate_rates.py -->", "<!-- end of gate rates -->"
SIZES = (3, 5, 10)
CHANGES = {"equal": 0.0, "half a point worse": -0.005, "a point worse, the limit": -0.01, "two points worse": -0.02}


def main() -> None:
    """Write the table."""
    lines = [f"| true change, `{GATE}` | {' | '.join(f'n = {n}: held / broken / undecided' for n in SIZES)} |"]
    lines.append("|---|" + "---|" * len(SIZES))
    for name, change in CHANGES.items():
        cells = []
        for n in SIZES:
            rates = gate_rates(change, n)
            cells.append(" / ".join(f"{100 * rates[state]:.1f}" for state in ("held", "broken", "undecided")))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    print(table, file=sys.stderr)


if __name__ == "__main__":
    main()
