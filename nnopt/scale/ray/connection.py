"""The Ray that this process is connected to: a cluster somewhere, or one started here that ends with the program.

Starting Ray takes seconds, which pass while other things are done: a thread connects, and ends what it started. A
process has one Ray at a time. Light enough to begin before torch is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from typing import Any

from nnopt.errors import UsageError
from nnopt.quiet import quiet
from nnopt.scale.ray.reach import authentication, reach
from nnopt.surroundings import cores

# Nothing of Ray's goes to the terminal; its log is below /tmp/ray.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
SECONDS_TO_CONNECT = 60.0
SECONDS_TO_START = 300.0  # on a machine that is busy
OBJECT_STORE = 80 * 2**20  # bytes: nothing but jobs and words goes through it

_begun: RayConnection | None = None


class RayConnection:
    """Connects as soon as it is made; `wait` says when it is there.

    Attributes:
        asked: what it was made for, the address as the user gave it and the workers that are wanted at a time.
        address: host:port, or `local` for a Ray of this machine; known after `wait`.
    """

    def __init__(self, address: str, wanted: int | None) -> None:
        self.asked = address, wanted
        self.address = address
        self.ray: Any = None
        self.is_ours = False  # whether Ray is to end with the connection
        self._error: BaseException | None = None
        self._is_there, self._is_over = threading.Event(), threading.Event()
        self._set_here: dict[str, str] = {}  # environment
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it was asked to end."""
        return self._is_over.is_set()

    def wait(self) -> None:
        """Returns when there is a connection.

        Raises:
            UsageError: there is none, and why.
        """
        if not self._is_there.wait(SECONDS_TO_START if self.address in ("", "local") else SECONDS_TO_CONNECT):
            is_local = self.address == "local"
            what = "Ray does not start on this machine" if is_local else f"Ray at {self.address} does not answer"
            raise UsageError(f"{what}; its logs lie in /tmp/ray/session_latest/logs")
        error = self._error
        if isinstance(error, UsageError):
            raise error
        if error is not None:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            what = f"cannot connect to Ray at {self.address}" if self.address != "local" else "cannot start Ray here"
            raise UsageError(f"{what}: {' '.join(reason.split())}") from None

    def end(self) -> None:
        """Lets go of Ray, which takes a second or two: `join` waits for that."""
        self._is_over.set()

    def join(self) -> None:
        """Waits until Ray is gone; not for a cluster that never answered, of which nothing is here."""
        if self._is_there.is_set() or self.address in ("", "local"):
            self._thread.join(SECONDS_TO_CONNECT)

    def _live(self) -> None:
        try:
            self._connect()
        except BaseException as error:
            self._error = error
        finally:
            self._is_there.set()
        # The processes of a Ray that was started here end with the thread that started them.
        self._is_over.wait()
        if self.is_ours:
            with contextlib.suppress(Exception), quiet(("ray",), {}):
                self.ray.shutdown()
        for name in self._set_here:
            os.environ.pop(name, None)

    def _connect(self) -> None:
        self.address = reach(self.address)
        # Ray reads them again and again: they stay until it is over.
        own = {**ENVIRONMENT, **authentication(self.address)}
        self._set_here = {name: value for name, value in own.items() if name not in os.environ}
        os.environ.update(self._set_here)
        import ray

        # Once more than in `begin`: the last that was registered goes first, before Ray lets go of itself beside us.
        atexit.register(_leave, self)
        self.ray = ray
        if ray.is_initialized():
            return
        with quiet(("ray",), {}):
            keys: dict[str, Any] = {}
            if self.address == "local":
                slots = max(self.asked[1] or 0, cores())
                keys = {"num_cpus": slots, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
            ray.init(address=self.address, configure_logging=False, log_to_driver=False, **keys)
            self.is_ours = True


def begin(address: str, wanted: int | None) -> RayConnection:
    """The connection of this process to `address`, begun now unless it was begun before."""
    global _begun
    if _begun is not None:
        if not _begun.is_over and _begun.asked == (address, wanted):
            return _begun
        _leave(_begun)  # a process has one Ray at a time
    _begun = RayConnection(address, wanted)
    atexit.register(_leave, _begun)
    return _begun


def _leave(connection: RayConnection) -> None:
    connection.end()
    connection.join()
