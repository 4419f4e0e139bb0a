"""The runs of a plan and what would become of them."""

from __future__ import annotations

from pathlib import Path

from nnopt.cli.common import output, print_json
from nnopt.plan import Plan, RunSpec
from nnopt.store.find import read_run
from nnopt.store.place import place


def print_plan(plan: Plan, runs_dir: Path, fresh: bool, as_json: bool) -> None:
    """Prints each run with its folder and whether it would be trained, resumed or skipped."""
    rows = [_row(run, runs_dir, fresh) for run in plan.runs]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("variant", "seed", "would be", "folder", box=None, pad_edge=False)
    for row in rows:
        table.add_row(str(row["variant"]), str(row["seed"]), str(row["action"]), str(row["folder"]))
    console = output()
    console.print(table)
    todo = sum(row["action"] != "skipped" for row in rows)
    console.print(f"{todo} of {len(rows)} runs would train, {_budget(plan)} each")


def _row(run: RunSpec, runs_dir: Path, fresh: bool) -> dict[str, str | int]:
    found = place(run, runs_dir)
    status = read_run(found.folder).status if found.found else None
    if status is None:
        action = "trained"
    elif fresh:
        action = "set aside and trained anew"
    elif found.relation == "shorter":
        action = "prolonged from a smaller budget"
    elif status in ("done", "diverged", "pruned"):
        action = "skipped"
    elif status == "running":
        action = "refused: another program is writing it"
    else:
        action = f"resumed ({status})"
    return {"variant": run.variant, "seed": run.seed, "action": action, "folder": str(found.folder)}


def _budget(plan: Plan) -> str:
    budgets = {
        f"{value:g} {unit if value != 1 else unit.removesuffix('s')}"
        for settings in plan.experiment.variants.values()
        for unit in type(settings.budget).model_fields
        if (value := getattr(settings.budget, unit)) is not None
    }
    return " or ".join(sorted(budgets))
