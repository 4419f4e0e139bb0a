"""What `nnopt sweep --dry-run` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nnopt.cli.common import output, print_json

if TYPE_CHECKING:
    from nnopt.search.dry_run import SweepPlan

MOST_SHOWN = 10  # trials a variant; --json has all


def print_sweep_plan(plan: SweepPlan, as_json: bool) -> None:
    """Prints the trials that are known beforehand, how many there are, and about how long they take."""
    if as_json:
        print_json(_plain(plan))
        return
    from rich.table import Table

    console = output()
    keys = list(dict.fromkeys(key for one in plan.variants for setting in one.settings.values() for key in setting))
    if keys:
        table = Table("variant", "trial", *keys, box=None, pad_edge=False)
        for one in plan.variants:
            for number, setting in list(one.settings.items())[:MOST_SHOWN]:
                table.add_row(one.variant, str(number), *(_cell(setting, key) for key in keys))
            hidden = len(one.settings) - MOST_SHOWN
            if hidden > 0:
                table.add_row(one.variant, f"and {hidden} more", *("" for _ in keys))
        console.print(table)
    for one in plan.variants:
        console.print(
            f"{one.variant}: {one.left} trials left, {one.done} done, about {_duration(one.trial_seconds)} each"
            + ("" if one.left <= len(one.settings) else "; what they set depends on the results of earlier ones"),
            soft_wrap=True,
        )
    trials = sum(one.left for one in plan.variants)
    runs = trials * plan.seeds_per_trial
    confirm = sum(one.confirm_runs for one in plan.variants)
    console.print(
        f"{trials} trials ({runs} runs) and {confirm} runs to confirm the winners: about {_duration(plan.seconds)} "
        f"with --jobs {plan.jobs}, judged by a short measured run of each variant",
        soft_wrap=True,
    )

    if plan.limits:
        from nnopt.spec.search.limits import limits_in_words

        console.print(f"a trial is trained only with {limits_in_words(plan.limits)}", soft_wrap=True)


def _cell(setting: Any, key: str) -> str:
    value = setting.get(key, "")
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _plain(plan: SweepPlan) -> dict[str, Any]:
    variants = [
        {**one.__dict__, "settings": {str(number): dict(setting) for number, setting in one.settings.items()}}
        for one in plan.variants
    ]
    return {**plan.__dict__, "variants": variants, "limits": dict(plan.limits)}


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
