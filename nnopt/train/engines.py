"""Which engine carries out the updates of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnopt.spec.parallel import Hogwild, ParallelSpec, ParameterServer
from nnopt.train.engine import Engine
from nnopt.train.session import Session
from nnopt.train.updating import InTurn


def build_engine(session: Session, saved: dict[str, Any] | None = None) -> Engine:
    """The engine of a run that is ready to train; `saved` is its own state in the checkpoint that the run resumes.

    Raises:
        NnoptError: what it needs besides this process cannot be had.
    """
    parallel = session.setup.settings.parallel
    make = None if parallel is None else ENGINES.get(type(parallel))
    return InTurn() if parallel is None or make is None else make(session, parallel, saved or {})


def _hogwild(session: Session, parallel: ParallelSpec, saved: dict[str, Any]) -> Engine:
    from nnopt.train.parallel.hogwild import Hogwild as HogwildEngine

    assert isinstance(parallel, Hogwild)
    return HogwildEngine(session, parallel.processes, saved)


def _parameter_server(session: Session, parallel: ParallelSpec, saved: dict[str, Any]) -> Engine:
    from nnopt.train.parallel.parameter_server import ParameterServer as ServerEngine

    assert isinstance(parallel, ParameterServer)
    return ServerEngine(session, parallel, saved)


ENGINES: dict[type[ParallelSpec], Callable[[Session, ParallelSpec, dict[str, Any]], Engine]] = {
    Hogwild: _hogwild,
    ParameterServer: _parameter_server,
}
