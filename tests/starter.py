"""Real `nnopt` processes without seconds of imports: imports once, then forks a process for each command line.

A program of its own (see running.Starter): nothing has computed in it yet, so that forking is safe. A line of JSON on
stdin asks for a process or for how one ended; a line of JSON on stdout answers.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
import warnings
from typing import Any


def import_all() -> None:
    """Imports all that `nnopt train` and `nnopt sweep` need, down to the picture."""
    import importlib

    for name in (
        "cli.main",
        "cli.progress",
        "compare.tables.terminal",
        "compare.tables.table",
        "scale.processes",
        "search.sweep",
        "search.propose.tpe",
        "compare.search.files",
        "compare.tables.search",
        "train.report",
    ):
        importlib.import_module(f"nnopt.{name}")
    importlib.import_module("matplotlib.backends.backend_agg")
    for name in ("alembic.command", "alembic.runtime.environment", "optuna.storages._rdb.storage", "sqlalchemy.orm"):
        importlib.import_module(name)
    importlib.import_module("sqlalchemy.dialects.sqlite.pysqlite")
    importlib.import_module("scipy.stats.qmc")
    importlib.import_module("sklearn.datasets")
    importlib.import_module("torch._dynamo")  # torch.optim imports it at the first optimizer


def start(request: dict[str, Any]) -> int:
    """Forks a process that runs a command line; its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forks beside threads
        child = os.fork()
    if child:
        return child
    code: Any = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if request["file_limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"], resource.RLIM_INFINITY))
        os.chdir(request["cwd"])
        os.environ["NNOPT_RUNS_DIR"] = request["runs"]
        sys.argv = ["nnopt", *request["args"]]
        from nnopt.cli.main import run

        run()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def ended(process: int) -> int | None:
    """The exit code of a process (minus the signal that ended it), or None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def serve() -> None:
    """Answers until stdin closes."""
    import_all()
    for line in sys.stdin:
        request = json.loads(line)
        answer = ended(request["poll"]) if "poll" in request else start(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
