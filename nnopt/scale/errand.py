"""What a worker on another machine has to know before it can work as the front end would."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from nnopt.errors import RunsFolderError, UsageError
from nnopt.store.files import make_folder, write_whole
from nnopt.store.lock import WORKER
from nnopt.surroundings import QUIET_THREADS, Surroundings
from nnopt.version import __version__

SECONDS_TO_APPEAR = 10.0  # of a new file, on disks of the network


class Token:
    """A file in the runs folder by which workers see that theirs is the same folder."""

    def __init__(self, runs_dir: Path) -> None:
        make_folder(runs_dir)
        self.path = runs_dir / f".crew-{uuid.uuid4().hex}"
        write_whole(self.path, platform.node(), sync=False)

    def remove(self) -> None:
        """Removes it; workers that begin later would miss it."""
        with contextlib.suppress(OSError):
            self.path.unlink()


@dataclass(frozen=True)
class Errand:
    """What the front end knows, as plain values: they are read before anything of the spec is imported."""

    worker: str  # a name of its own
    version: str
    host: str
    token: str
    path: tuple[str, ...]  # where modules lie
    surroundings: Surroundings

    @classmethod
    def of(cls, token: Token) -> Errand:
        """For one more worker."""
        return cls(
            worker=uuid.uuid4().hex,
            version=__version__,
            host=platform.node(),
            token=str(token.path),
            path=tuple(sys.path),
            surroundings=Surroundings.here(),
        )

    def settle(self) -> None:
        """Takes over working directory, environment and module path, after a look at the runs folder.

        Raises:
            UsageError: this machine has another nnopt, or other folders.
        """
        here = platform.node()
        if self.version != __version__:
            raise UsageError(
                f"{here} has nnopt {__version__}, and {self.host} has {self.version}: install the same on all machines"
            )
        try:
            self.surroundings.take()
        except OSError:
            raise RunsFolderError(
                f"the working directory {self.surroundings.folder} of {self.host} is not on {here}: start nnopt "
                "in a folder that all machines share"
            ) from None
        self._check_token(here)
        os.environ.update(QUIET_THREADS)
        os.environ[WORKER] = self.worker
        sys.path.extend(entry for entry in self.path if entry not in sys.path)

    def _check_token(self, here: str) -> None:
        token = Path(self.token)
        end = time.monotonic() + SECONDS_TO_APPEAR
        while not token.exists():
            if time.monotonic() > end:
                raise RunsFolderError(
                    f"the runs folder {token.parent} of {self.host} is not the same folder on {here}: let --runs-dir "
                    "name one that all machines share"
                )
            with contextlib.suppress(OSError):
                os.listdir(token.parent)  # a look into the folder refreshes what NFS knows of it
            time.sleep(0.2)
