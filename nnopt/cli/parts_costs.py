"""What `nnopt parts optimizer` says of time and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nnopt.cli.common import output, print_json
from nnopt.errors import NnoptError

if TYPE_CHECKING:
    from nnopt.bench.costs import Cost, Unmeasured

ONE_TAKES, ALL_TAKE = 0.5, 45.0  # seconds of timing


def line_to_begin_with(name: str) -> str:
    """A line of a spec with what the optimizer requires; empty where that is not known."""
    from nnopt.spec.optimizers.base import AnyOptimizerSpec
    from nnopt.spec.optimizers.examples import example
    from nnopt.spec.parts import find_part

    part = find_part("optimizer", name)
    assert issubclass(part, AnyOptimizerSpec)
    try:
        keys = example(part, name)
    except NnoptError:
        return ""
    return f"optimizer: {_in_braces(keys)}"


def _in_braces(keys: dict[str, Any]) -> str:
    shown = {key: _in_braces(value) if isinstance(value, dict) else value for key, value in keys.items()}
    return "{" + ", ".join(f"{key}: {value}" for key, value in shown.items()) + "}"


def cost_of(name: str) -> Cost | Unmeasured:
    """What one optimizer costs here."""
    from nnopt.bench.costs import measure

    (cost,) = measure([name], ONE_TAKES)
    return cost


def cost_lines(cost: Cost | Unmeasured) -> Iterable[tuple[str, str]]:
    """What a reader wants to know of it, with what it is called."""
    from nnopt.bench.costs import BATCH, Unmeasured

    if isinstance(cost, Unmeasured):
        return [("not measured", cost.reason)]
    step = (
        f"{_ms(cost.seconds)} ms ({_ms(cost.low)} to {_ms(cost.high)}, n = {cost.blocks}), {cost.ratio:.2f} times that "
        f"of sgd; {_ms(cost.own_seconds)} ms of it its own, the rest {_count(cost.passes)} for gradients (perceptron "
        f"{cost.model} of {cost.parameters} weights, batch {BATCH}, one thread)"
    )
    memory = f"{cost.state_bytes:.3g} bytes a parameter, besides the weights and their gradient"
    return [("a step here", step), ("memory", memory)]


def compare_optimizers(as_json: bool) -> None:
    """Prints what all built-in optimizers cost, the quickest step first."""
    from dataclasses import asdict

    from nnopt.bench.costs import Cost, measure
    from nnopt.spec.optimizers.union import OPTIMIZERS

    kinds = list(OPTIMIZERS.named())
    found = measure(kinds, ALL_TAKE, _say)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    costs = sorted((cost for cost in found if isinstance(cost, Cost)), key=lambda cost: (cost.model, cost.seconds))
    costs.sort(key=lambda cost: -cost.parameters)
    others = [cost for cost in found if not isinstance(cost, Cost)]
    if as_json:
        print_json({"measured": [asdict(cost) for cost in costs], "not_measured": [asdict(other) for other in others]})
    else:
        _print_costs(costs, others)


def _say(kind: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{'building ' + kind:<40}", end="", file=sys.stderr, flush=True)


def _print_costs(costs: list[Cost], others: list[Unmeasured]) -> None:
    import os

    from rich.table import Table
    from rich.text import Text

    from nnopt.bench.costs import BATCH, BLOCK
    from nnopt.train.environment import processor

    console = output()
    for model in dict.fromkeys(cost.model for cost in costs):
        of_model = [cost for cost in costs if cost.model == model]
        count = of_model[0].parameters
        table = Table(box=None, pad_edge=False)
        table.add_column("optimizer", no_wrap=True)
        for heading in ("ms a step", "quartiles", "n", "by sgd's", "own ms", "passes", "bytes"):
            table.add_column(heading, justify="right", no_wrap=heading == "quartiles")
        for cost in of_model:
            table.add_row(
                f"{cost.kind} of {cost.base}" if cost.base else cost.kind,
                _ms(cost.seconds),
                f"{_ms(cost.low)} to {_ms(cost.high)}",
                str(cost.blocks),
                f"{cost.ratio:.2f}",
                _ms(cost.own_seconds),
                f"{cost.passes:.3g}",
                f"{cost.state_bytes:.2f}",
            )
        console.print(Text(f"Perceptron {model}, {count} weights, batch {BATCH}", style="bold"))
        console.print(table)
        console.print()
    for other in others:
        console.print(Text(f"not measured: {other.kind}: {other.reason}"), soft_wrap=True)
    console.print(
        Text(
            f"Medians and quartiles of n means over up to {BLOCK} steps, each beside one of sgd, one thread on "
            f"{processor()} ({os.cpu_count()} cores), made-up rows. own: what is spent "
            "besides forward and backward passes for a gradient; passes: with products of second derivatives, two "
            "each; bytes: what it remembers between steps, a parameter."
        )
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}" if seconds < 0.01 else f"{seconds * 1e3:.1f}"


def _count(passes: float) -> str:
    return "one forward and backward pass" if passes == 1 else f"{passes:.3g} forward and backward passes"
