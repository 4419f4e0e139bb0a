"""All checks of one optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch

from nnopt.bench.conformance.outcome import Outcome
from nnopt.bench.conformance.problems import PROBLEMS
from nnopt.bench.conformance.properties import PROPERTIES, check
from nnopt.bench.conformance.reaching import rate_of, reach
from nnopt.bench.conformance.shapes import LOSS, Shapes
from nnopt.bench.conformance.trial import Trial, keys_of, spec_of
from nnopt.errors import UsageError

# Rates known to be good, by problem.
Rates = Mapping[str, float]


def run(kind: str, progress: Callable[[str], None] = lambda check: None, rates: Rates | None = None) -> list[Outcome]:
    """How the optimizer `kind` fares in every check, on one thread of the CPU; `kind` may be a plug-in's path.

    It is built with the keys that it requires and its defaults; on problems its rate is chosen from a grid, `rates`
    first where given. `progress` hears the name of each check before it.

    Raises:
        UsageError: there is no such optimizer, it requires keys without a default besides `lr`, or a package that is
            not installed.
    """
    outcomes: list[Outcome] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    known = {} if rates is None else dict(rates)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what one would hear of them in a run belongs there
            _is_installed(kind)
            for name, problem in PROBLEMS.items():
                progress(name)
                outcomes.append(reach(problem, kind, known.get(name)))
            progress("bf16")
            outcomes.append(reach(PROBLEMS["digits"], kind, rate_of(outcomes[-1]), "bf16"))
            for name in PROPERTIES:
                progress(name)
                outcomes.append(check(name, kind))
    finally:
        torch.set_num_threads(threads)
    return outcomes


def _is_installed(kind: str) -> None:
    """Raises UsageError where it needs a package that is not here, or keys that nothing is known of."""
    spec = spec_of(keys_of(kind))
    try:
        Trial.begin(spec, Shapes(), LOSS)
    except UsageError as error:
        if "pip install" in str(error):
            raise
