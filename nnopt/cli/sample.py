"""`nnopt sample RUN`."""

from __future__ import annotations

from typing import Annotated

import typer

from nnopt.cli.common import RunsDir, errors_in_a_line
from nnopt.cli.evaluate import Weights


@errors_in_a_line
def sample(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run on text: its folder, or a unique tail of it.")],
    prompt: Annotated[str, typer.Option("--prompt", metavar="TEXT", help="What the text begins with.")] = "",
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="How many tokens to add.")] = 300,
    temperature: Annotated[
        float,
        typer.Option("--temperature", min=0.0, help="Below 1: likely tokens more often; 0: always the likeliest."),
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option("--top-k", metavar="K", min=1, help="Draw from the K likeliest tokens alone.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    weights: Annotated[Weights, typer.Option("--weights", help="Which weights.")] = Weights.best,
    runs_dir: RunsDir = None,
) -> None:
    """Write text as a run on text learnt it."""
    from nnopt.store.find import find_run
    from nnopt.store.folder import runs_folder
    from nnopt.train.generation import sample_text

    folder = find_run(run, runs_folder(runs_dir))
    print(sample_text(folder, prompt, tokens, temperature, top_k, seed, weights.value))
