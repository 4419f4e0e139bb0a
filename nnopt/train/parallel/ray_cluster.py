"""A Ray cluster: the one that RAY_ADDRESS names, the one that this process belongs to, or one of this machine alone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from nnopt.errors import UsageError

ADDRESS = "RAY_ADDRESS"
PATIENCE = 5.0  # seconds that an address has to answer in
MEBIBYTE = 2**20


def connect(object_bytes: int = 0) -> None:
    """Joins the cluster unless this process is in one; one of this machine lives as long as this process.

    Args:
        object_bytes: what is to lie in the shared memory of a machine at once.

    Raises:
        UsageError: nobody answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # before ray.init, which has things to say on the way
    address = os.environ.get(ADDRESS)
    options: dict[str, Any] = {"address": address}
    if not address or address == "local":
        options = {"address": "local", "include_dashboard": False}
        options["object_store_memory"] = max(128 * MEBIBYTE, object_bytes)
    else:
        _check_answers(address)
    try:
        with _handlers_kept():
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UsageError(_why_not(address, error)) from error
    _keep_stdout_clean()


def _check_answers(address: str) -> None:
    """Raises UsageError where no program listens at host:port: ray.init would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise UsageError(_why_not(address, error)) from error


def _why_not(address: str | None, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if not address or address == "local":
        return f"no Ray cluster can be started on this machine: {reason}"
    return (
        f"no Ray cluster answers at {address} ({ADDRESS}): {reason}; bring one up with `ray start --head`, "
        f"or unset {ADDRESS} to stay on this machine"
    )


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """ray.init takes SIGTERM for itself, and a run has to checkpoint first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_stdout_clean() -> None:
    """Ray prints deaths of workers to stdout, which is for results: whoever loses one hears of it from the call."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_args, **_named: None


def wait_for_any(references: list[Any]) -> list[Any]:
    """Waits for one of `references`, at least: those that are there, in their order."""
    import ray

    ready: list[Any] = []
    while not ready:
        ready, _ = ray.wait(references, num_returns=1, timeout=0.5)  # signals are heard between two calls
    return ready
