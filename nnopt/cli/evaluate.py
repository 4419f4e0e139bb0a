"""`nnopt eval RUN`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from nnopt.cli.common import AsJson, RunsDir, errors_in_a_line, output, print_json


class Weights(StrEnum):
    """Which weights of a run."""

    best = "best"
    last = "last"


class Part(StrEnum):
    """Which part of its data."""

    validation = "validation"
    test = "test"


@errors_in_a_line
def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a unique tail of it.")],
    weights: Annotated[Weights, typer.Option("--weights", help="Which weights.")] = Weights.best,
    on: Annotated[Part, typer.Option("--on", help="Which part of the data.")] = Part.test,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Evaluate a run's weights on validation or test data."""
    from nnopt.store.find import find_run
    from nnopt.store.folder import runs_folder
    from nnopt.train.again import evaluate_again

    folder = find_run(run, runs_folder(runs_dir))
    step, result = evaluate_again(folder, weights.value, on.value)
    if as_json:
        values = {
            "run": str(folder),
            "weights": weights.value,
            "step": step,
            "part": on.value,
            **result.values,
        }
        print_json(values | ({"confusion": result.confusion} if result.confusion else {}))
        return
    from rich.table import Table

    console = output()
    console.print(f"{folder}: {weights.value} weights (step {step}) on {on.value} data", soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in result.values.items():
        table.add_row(name, f"{value:.6g}")
    console.print(table)
    if result.confusion:
        matrix = Table(title="confusion: rows are true classes", title_justify="left", box=None, pad_edge=False)
        matrix.add_column("")
        for index in range(len(result.confusion)):
            matrix.add_column(str(index), justify="right")
        for index, counts in enumerate(result.confusion):
            matrix.add_row(str(index), *map(str, counts))
        console.print(matrix)
