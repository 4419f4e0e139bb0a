"""`nnopt check CONFIG`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnopt.cli.common import RunsDir, check_writable, errors_in_a_line, output
from nnopt.errors import UsageError

if TYPE_CHECKING:
    from nnopt.plan import Plan, RunSpec
    from nnopt.spec.experiment import ExperimentSpec
    from nnopt.train.setup import Setup
    from nnopt.train.state import TrainState


@errors_in_a_line
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file of the experiment.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="As for train.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the learning rates: .png, .svg, .pdf.")
    ] = None,
    batch: Annotated[
        bool,
        typer.Option(
            "--batch", help="Show the first training samples as each variant sees them, images in NAME-batch.png here."
        ),
    ] = False,
    deep: Annotated[bool, typer.Option("--build/--no-build", help="Also load the data and build every model.")] = True,
    runs_dir: RunsDir = None,
) -> None:
    """Check a spec, and print it resolved, its plan and its learning rates. Trains nothing."""
    from nnopt.cli.plan_table import print_plan
    from nnopt.plan import Plan
    from nnopt.spec.identity import resolved, to_yaml
    from nnopt.spec.loading import load
    from nnopt.spec.search.words import search_in_words
    from nnopt.spec.structure.words import structure_in_words
    from nnopt.store.folder import runs_folder

    if batch and not deep:
        raise UsageError("--batch shows samples, and --no-build reads none: leave one of the two out")
    check_writable(plot)
    if plot:
        from nnopt.compare.pictures.figure import check_picture_file

        check_picture_file(plot)
    experiment = load(config, tuple(overrides or ()))
    plan = Plan.of(experiment)
    console = output()
    console.print(to_yaml(resolved(experiment)), markup=False, soft_wrap=True)
    print_plan(plan, runs_folder(runs_dir), fresh=False, as_json=False)
    for line in (*structure_in_words(experiment), *search_in_words(experiment)):
        console.print(line, markup=False, soft_wrap=True)
    if deep:
        for line in _built_lines(plan, runs_folder(runs_dir), batch):
            console.print(line, markup=False, soft_wrap=True)
    for line in _rate_lines(experiment, plot):
        console.print(line, markup=False, soft_wrap=True)


def _built_lines(plan: Plan, folder: Path, batch: bool) -> Iterator[str]:
    """Builds what each variant trains and says what it is; with `batch`, what its first samples look like."""
    from nnopt.track.tracking import check_installed
    from nnopt.train.first_batch import Batches
    from nnopt.train.setup import DataCache, build
    from nnopt.train.teachers import check_teachers, check_teachers_are_there
    from nnopt.train.transfer import check_source, check_sources_are_there

    check_installed(plan.experiment.track)
    batches = Batches(plan.experiment.name) if batch else None
    cache = DataCache()
    planned = {run.label: run for run in plan.runs}
    for run in {run.variant: run for run in plan.runs}.values():
        setup, state = build(run, cache)
        check_teachers(run, setup, state, planned, folder, cache)
        check_source(run, state.model, planned, folder, cache)
        yield from _network_lines(run, setup, state)
        if batches:
            batches.add(run.variant, setup)
    check_teachers_are_there(plan.runs, planned, folder)
    check_sources_are_there(plan.runs, planned, folder)
    if batches:
        yield from batches.show()


def _rate_lines(experiment: ExperimentSpec, plot: Path | None) -> Iterator[str]:
    """The learning rates of each variant as a sparkline; drawn into `plot` where that is given."""
    from nnopt.compare.pictures.rates import learning_rates, plot_rates, sparkline

    curves = {name: learning_rates(settings) for name, settings in experiment.variants.items()}
    width = max(map(len, curves))
    yield "learning rate over the budget:"
    for name, rates in curves.items():
        yield f"  {name:<{width}} {sparkline(rates)} {min(rates):.3g} to {max(rates):.3g}"
    if plot:
        plot_rates(curves, plot)
        yield f"written: {plot}"


def _network_lines(run: RunSpec, setup: Setup, state: TrainState) -> Iterator[str]:
    """What a variant trains, and on what; a line more for each group of parameters, and for what the data tells."""
    from nnopt.spec.parameter_groups import group_in_words
    from nnopt.train.freezing import count_frozen
    from nnopt.train.grouping import named_groups

    count = count_frozen(state.model)
    frozen = f" and {count:,} frozen ones" if count else ""
    yield (
        f"{run.variant}: {setup.parameters.count:,} parameters{frozen}, {len(setup.data.train):,} training samples "
        f"({setup.data.describe_inputs()}), {setup.device}, {setup.threads} threads"
    )
    for note in setup.data.notes:
        yield f"  {note}"
    for named in named_groups(run.settings.optimizer, state.model):
        yield f"  group {group_in_words(named.record())}"
