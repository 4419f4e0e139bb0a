"""What a job of SLURM carries out: one job of the crew, to its end or to a checkpoint."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from nnopt.errors import NnoptError
from nnopt.scale.errand import Errand

# What came of it: status, (exit code, text) of what ends all jobs or None, notes by label.
Outcome = tuple[str, tuple[int, str] | None, list[tuple[str, str]]]


@dataclass(frozen=True)
class SlurmJob:
    """Called by submitit in the job. `stop`: a file that says that the front end wants an end."""

    errand: Errand
    job: bytes
    options: bytes
    stop: str

    def __call__(self) -> Outcome:
        """Trains; ends without an outcome where SLURM cut it short, so that it is taken up again."""
        try:
            self.errand.settle()
        except NnoptError as error:
            return "", (error.exit_code, str(error)), []
        return self._train()

    def checkpoint(self) -> Any:
        """What SLURM is to carry out when the job is queued again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self) -> Outcome:
        from nnopt.errors import Interrupted
        from nnopt.scale.worker import carry_out_job
        from nnopt.train.listener import Listener
        from nnopt.train.runner import Workshop
        from nnopt.train.setup import DataCache
        from nnopt.train.signals import stop_requests

        notes: list[tuple[str, str]] = []

        class Notes(Listener):
            """Keeps what no file says."""

            def note(self, label: str, text: str) -> None:
                """As the base class says."""
                notes.append((label, text))

        options, job = pickle.loads(self.options), pickle.loads(self.job)
        if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
            job = replace(job, is_taken_up=True)
        number = _preemption_signal()
        usual = signal.getsignal(number)
        time_is_up: list[int] = []
        with stop_requests() as stop:

            def preempted(_number: int, _frame: FrameType | None) -> None:
                time_is_up.append(_number)
                stop.code = stop.code or 143

            signal.signal(number, preempted)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            if Path(self.stop).exists():
                stop.code = 143
            shop = Workshop(options.runs_dir, DataCache(), Notes(), stop, options.most_threads, options.profile)
            try:
                return carry_out_job(job, shop, fresh=False), None, notes
            except Interrupted as error:
                if Path(self.stop).exists():
                    return "", (error.exit_code, str(error)), notes
            except NnoptError as error:
                return "", (error.exit_code, str(error)), notes
        if time_is_up and callable(usual):
            usual(number, None)  # submitit's own: queues the job again, and ends the process
        raise SystemExit(128 + signal.SIGTERM)


def _preemption_signal() -> signal.Signals:
    """The one by which submitit has SLURM announce that a job's time is up."""
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
