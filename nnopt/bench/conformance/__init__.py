"""What every optimizer is to be able to do, as checks that take any of them: `run("adam")`, `run("my_pkg.rules:Mine")`.

An optimizer says in its class what it cannot do, `cannot = {"rosenbrock": "reason"}`: the check is then made all the
same, and fails where the optimizer can.
"""

from nnopt.bench.conformance.outcome import Outcome
from nnopt.bench.conformance.problems import PROBLEMS, Problem
from nnopt.bench.conformance.properties import PROPERTIES
from nnopt.bench.conformance.report import run

__all__ = ["PROBLEMS", "PROPERTIES", "Outcome", "Problem", "run"]
