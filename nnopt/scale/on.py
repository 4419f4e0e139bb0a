"""Where runs are to train: what `--on` names."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnopt.errors import UsageError
from nnopt.scale.agency import Agency
from nnopt.scale.forks import begin_importing
from nnopt.scale.ray import connection as ray_connection
from nnopt.spec.nearest import nearest

if TYPE_CHECKING:
    from nnopt.spec.cluster import ClusterSpec
    from nnopt.train.experiment import Options

MODULES = {"ray": "ray", "slurm": "submitit"}
USUAL_RESTARTS = 3  # of a run whose worker was lost on a cluster, where machines come and go


def begin(where: str | None, jobs: int | None) -> None:
    """Starts what takes long to start, while the front end imports and checks; `agency_on` waits for it.

    Raises:
        UsageError: as `agency_on`.
    """
    if where is None:
        begin_importing()
    elif _kind_of(where) == "ray":
        ray_connection.begin(where.partition(":")[2], jobs)


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
