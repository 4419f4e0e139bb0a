"""`nnopt predict RUN FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnopt.cli.common import RunsDir, check_writable, errors_in_a_line, output
from nnopt.cli.evaluate import Weights


@errors_in_a_line
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a unique tail of it.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="New samples: a file or folder of the kind that the run learnt from.")
    ],
    weights: Annotated[Weights, typer.Option("--weights", help="Which weights.")] = Weights.best,
    to: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.csv", help="Write the answers there, not to the terminal.")
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Answer new samples with a trained network, as CSV. The run's folder is all that it takes: no training data."""
    import pandas as pd

    from nnopt.store.files import write_whole
    from nnopt.store.find import find_run
    from nnopt.store.folder import runs_folder
    from nnopt.train.prediction import predict as answer

    check_writable(to)
    folder = find_run(run, runs_folder(runs_dir))
    found = answer(folder, file, weights.value)
    text = pd.DataFrame(found.columns).to_csv(index=False, float_format="%.9g", lineterminator="\n")
    if to is None:
        typer.echo(text, nl=False)
    else:
        write_whole(to, text)
        count = len(next(iter(found.columns.values())))
        told = f"{count:,} answers of {folder} ({weights.value} weights, step {found.step}): {to}"
        output().print(told, markup=False, soft_wrap=True)
