"""The whole page: the parts in their order, the style, the scripts, and a policy that lets no others run."""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.gates import GateResult
from nnopt.compare.report.about_part import methods_part, notes_part
from nnopt.compare.report.across_part import across_part
from nnopt.compare.report.cost_part import cost_part
from nnopt.compare.report.curves_part import curves_part
from nnopt.compare.report.lists import Lists
from nnopt.compare.report.look import colour_rules
from nnopt.compare.report.machines_part import machines_part
from nnopt.compare.report.markup import Markup, element, json_block
from nnopt.compare.report.rates_part import rates_part
from nnopt.compare.report.search_part import search_part
from nnopt.compare.report.survival_part import survival_part
from nnopt.compare.report.tables_part import confusion_part, differences_part, results_part
from nnopt.compare.report.verdict_part import details_part, findings_part, left_out_part, verdict_part
from nnopt.compare.text import listed
from nnopt.errors import UsageError
from nnopt.store.files import write_whole
from nnopt.version import __version__

SCRIPTS = ("charts.js", "curves.js", "figures.js", "search.js", "page.js")
PLOTLY = Path("package_data") / "plotly.min.js"


def write_html(comparison: Comparison, path: Path, gates: Sequence[GateResult] = ()) -> None:
    """Writes the report: one file that needs no other and no network.

    Raises:
        DiskError: it cannot be written.
        UsageError: plotly, whose script draws the charts, is not installed.
    """
    write_whole(path, to_html(comparison, gates).encode("utf-8", errors="replace"))


def to_html(comparison: Comparison, gates: Sequence[GateResult] = ()) -> str:
    """The report as text.

    Raises:
        UsageError: as `write_html`.
    """
    title = _title(comparison)
    body, data = _parts(comparison, gates)
    library, script = _library(), "\n".join(_file(name) for name in SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_allowed(library)} {_allowed(script)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"nnopt {__version__}"),
        element("title", title),
        Markup(f"<style>{colour_rules()}{_file('page.css')}</style>"),
    )
    scripts = [Markup(f"<script>{library}</script>"), json_block("data", data), Markup(f"<script>{script}</script>")]
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *body, *scripts), lang='en')}\n"


def _title(comparison: Comparison) -> str:
    return f"nnopt: {listed(list(dict.fromkeys(row.experiment for row in comparison.rows)))}"


def _parts(comparison: Comparison, gates: Sequence[GateResult]) -> tuple[list[Markup], dict[str, Any]]:
    """Everything between head and scripts, and what the scripts read."""
    lists = Lists()
    curves, curve_values = curves_part(comparison, lists)
    target, target_values = survival_part(comparison)
    rates, rate_values = rates_part(comparison)
    search, search_values = search_part(comparison)
    cost, cost_values = cost_part(comparison)
    tasks, task_values = across_part(comparison)
    sections = {
        "verdict": ("Verdict", verdict_part(comparison, gates)),
        "fairness": ("Fairness", findings_part(comparison)),
        "left-out": ("Left out", left_out_part(comparison)),
        "results": ("Results", results_part(comparison)),
        "statistics": ("Statistics", details_part(comparison)),
        "curves": ("Curves", curves),
        "target": ("Time to target", target),
        "rates": ("Learning rate", rates),
        "search": ("Search", search),
        "cost": ("Cost", cost),
        "tasks": ("Across tasks", tasks),
        "confusion": ("Confusion", confusion_part(comparison)),
        "differences": ("Changed keys", differences_part(comparison)),
        "notes": ("Notes", notes_part(comparison)),
        "environment": ("Environment", machines_part(comparison)),
        "methods": ("Methods", methods_part()),
    }
    shown = {name: (short, part) for name, (short, part) in sections.items() if part}
    body = [
        element("a", "Skip to the verdict", href="#verdict", class_="skip"),
        _header(comparison),
        _contents({name: short for name, (short, _) in shown.items()}),
        element("main", *(part for _, part in shown.values())),
        _footer(),
    ]
    charts = {
        "curves": curve_values,
        "target": target_values,
        "rates": rate_values,
        "search": search_values,
        "cost": cost_values,
        "profiles": task_values,
    }
    return body, {"lists": lists.all, **{name: value for name, value in charts.items() if value}}


def _header(comparison: Comparison) -> Markup:
    runs = sum(len(group.records) for group in comparison.groups)
    sign = "more is better" if comparison.higher_is_better else "less is better"
    experiments = listed(list(dict.fromkeys(row.experiment for row in comparison.rows)))
    variants = _count(len(comparison.rows), "variant")
    if comparison.across:
        variants = f"{_count(len(comparison.across.variants), 'variant')} on {len(comparison.across.tasks)} tasks"
    facts = f"{variants}, {_count(runs, 'run')}, compared by {comparison.metric} ({sign})"
    against = [f"held against {comparison.baseline}"] if comparison.baseline else []
    return element("header", element("h1", experiments), element("p", "; ".join([facts, *against])))


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _contents(names: Mapping[str, str]) -> Markup:
    links = [element("li", element("a", short, href=f"#{name}")) for name, short in names.items()]
    return element("nav", element("ul", *links), aria_label="On this page")


def _footer() -> Markup:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    written = f"Written {now} by nnopt {__version__}. Charts by Plotly.js (MIT licence), which is part of this file."
    return element("footer", element("p", written), element("p", "This page needs no network and sends nothing."))


def _file(name: str) -> str:
    return (resources.files("nnopt.compare.report") / name).read_text(encoding="utf-8")


def _library() -> str:
    """Plotly's script, read from its folder: importing the package costs a second."""
    found = importlib.util.find_spec("plotly")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / PLOTLY
        if path.is_file():
            return path.read_text(encoding="utf-8").replace("\r\n", "\n").replace("</script", "<\\/script")
    raise UsageError("the report needs plotly, which is not installed: pip install plotly")


def _allowed(script: str) -> str:
    """The source expression that lets this very script run, by its SHA-256."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
