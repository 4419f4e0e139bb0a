"""Where runs are to train: what `--on` names."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnopt.errors import UsageError
from nnopt.scale.agency import Agency
from nnopt.scale.forks import begin_importing
from nnopt.scale.ray import connection as ray_connection
from nnopt.spec.nearest import nearest
from nnopt.surroundings import is_started_by_torchrun

if TYPE_CHECKING:
    from nnopt.plan import RunSpec
    from nnopt.spec.cluster import ClusterSpec
    from nnopt.spec.parallel import ParallelSpec
    from nnopt.train.experiment import Options

MODULES = {"ray": "ray", "slurm": "submitit"}
USUAL_RESTARTS = 3  # of a run whose worker was lost on a cluster, where machines come and go


def begin(where: str | None, jobs: int | None, max_restarts: int | None, runs: Sequence[RunSpec] = ()) -> None:
    """Starts what takes long to start and will be wanted, while the front end imports and checks.

    Raises:
        UsageError: as `agency_on`.
    """
    if where is not None:
        if _kind_of(where) == "ray":
            ray_connection.begin(where.partition(":")[2], jobs)
    elif (jobs or 1) > 1 or max_restarts or any(_starts_processes(run.settings.parallel) for run in runs):
        begin_importing()


def _starts_processes(parallel: ParallelSpec | None) -> bool:
    return parallel is not None and parallel.in_step and parallel.asked != 1 and not is_started_by_torchrun()


@contextlib.contextmanager
def agency_on(where: str | None, options: Options, jobs: int | None, cluster: ClusterSpec) -> Iterator[Agency | None]:
    """The agency that `--on` names, while the block lasts; None for this machine's own processes.

    Raises:
        UsageError: there is none of that name, it is not installed, or nothing answers there.
    """
    if where is None:
        yield None
        return
    agency = _agency(where, options, jobs, cluster)
    try:
        yield agency
    finally:
        agency.close()


def _agency(where: str, options: Options, jobs: int | None, cluster: ClusterSpec) -> Agency:
    detail = where.partition(":")[2]
    if _kind_of(where) == "ray":
        from nnopt.scale.ray.agency import RayAgency

        return RayAgency(detail, options, jobs)
    from nnopt.scale.slurm.agency import SlurmAgency

    slurm = SlurmAgency(detail, options, cluster)
    slurm.open()
    return slurm


def _kind_of(where: str) -> str:
    """`ray` or `slurm`, which is installed."""
    kind = where.partition(":")[0]
    if kind not in MODULES:
        known = "ray, ray:auto, ray:host:port, slurm"
        raise UsageError(f"--on {where}: nothing is called {kind}{nearest(kind, MODULES)}; there are {known}")
    if importlib.util.find_spec(MODULES[kind]) is None:
        raise UsageError(f"--on {kind}: {MODULES[kind]} is not installed here: pip install 'nnopt[{kind}]'")
    return kind


def restarts(where: str | None, asked: int | None) -> int:
    """How often a run whose worker was lost is taken up: as asked, else as is usual there."""
    if asked is not None:
        return asked
    return 0 if where is None else USUAL_RESTARTS
