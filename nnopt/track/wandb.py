"""Weights & Biases: offline in `wandb/` of the run's folder, online where the user is logged in.

WANDB_MODE, WANDB_BASE_URL, WANDB_ENTITY and the like are respected. What was written offline goes up with
`wandb sync RUN_FOLDER/wandb/offline-run-*`.
"""

from __future__ import annotations

import netrc
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from nnopt.errors import UsageError
from nnopt.track.tracker import Outcome, Point, Tracker

if TYPE_CHECKING:
    from wandb import Run, Settings

PUBLIC_SERVER = "https://api.wandb.ai"
BEGIN_SECONDS, FINISH_SECONDS = 15.0, 10.0  # the longest that training waits for the server


class WandbTracker(Tracker):
    """Writes a run of Weights & Biases: project = experiment, group = variant."""

    modules = ("wandb",)
    loggers = ("wandb", "urllib3")
    environment: ClassVar[Mapping[str, str]] = {
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }

    run: Run | None = None

    def begin(self, run_id: str | None) -> str:
        """As the base class says."""
        import wandb

        subject = self.subject
        logged_in = is_logged_in()
        wanted = os.environ.get("WANDB_MODE")
        if wanted == "online" and not logged_in:
            raise UsageError("WANDB_MODE is online and nobody is logged in: run `wandb login`")
        run_id = run_id or secrets.token_hex(4)
        self.run = wandb.init(
            project=subject.experiment,
            group=subject.variant,
            name=subject.name,
            id=run_id,
            resume="allow",
            reinit="create_new",
            dir=str(subject.folder),
            config=dict(subject.hyperparameters()),
            tags=[tag[:64] for tag in subject.tags if tag] or None,  # 64 is what it takes
            notes=subject.notes or None,
            mode=None if wanted or logged_in else "offline",
            allow_val_change=True,  # a longer budget
            settings=_settings(),
        )
        return run_id

    def send(self, points: Sequence[Point]) -> None:
        """As the base class says; its own process has it in the file within a tenth of a second."""
        assert self.run is not None
        for point in points:
            self.run.log(dict(point.values), step=point.step, commit=True)

    def end(self, outcome: Outcome) -> None:
        """As the base class says."""
        assert self.run is not None
        self.run.summary.update({"status": outcome.status, "reason": outcome.reason, **outcome.numbers})
        self._finish(0 if outcome.status == "done" else 1)

    def close(self) -> None:
        """As the base class says."""
        if self.run is not None:
            self._finish(1)

    def _finish(self, exit_code: int) -> None:
        run, self.run = self.run, None
        if run is not None:
            run.finish(exit_code=exit_code)


def is_logged_in() -> bool:
    """Whether a key for the server is at hand: in the environment, or in the file that `wandb login` writes."""
    if any(os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or PUBLIC_SERVER).netloc
    given = os.environ.get("NETRC")
    files = [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in files:
        try:
            if (netrc.netrc(file).authenticators(host) or ("", "", ""))[2]:
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _settings() -> Settings:
    """Silent, without what would take time from training or read the machine: console, git, code, system metrics."""
    import wandb

    wanted: dict[str, Any] = {
        "silent": True,
        "quiet": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "disable_job_creation": True,
        "symlink": False,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_save_requirements": False,
        "x_transaction_log_flush_interval": 0.1,  # seconds; a kill loses no more than that
        "init_timeout": BEGIN_SECONDS,
        "finish_timeout": FINISH_SECONDS,
    }
    return wandb.Settings(**wanted)
