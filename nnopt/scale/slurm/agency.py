"""Workers on SLURM: a job of its queue for each job of the crew, watched by the files of its runs."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from nnopt.errors import NnoptError, UsageError
from nnopt.scale.agency import FREE, LOST, Agency, Words, Worker
from nnopt.scale.errand import Errand, Token
from nnopt.scale.needs import Needs
from nnopt.scale.slurm.job import SlurmJob
from nnopt.scale.slurm.watching import Watch
from nnopt.scale.supply import Job
from nnopt.spec.cluster import ClusterSpec
from nnopt.store.files import make_folder
from nnopt.store.lock import forget_holder
from nnopt.store.place import place
from nnopt.train.experiment import Options
from nnopt.train.signals import no_interrupts

FOLDER = ".slurm"  # below the runs folder: what submitit writes
STOP = "stop"  # a file there, while the front end waits for jobs to end
SECONDS_BETWEEN_LOOKS = {"slurm": 2.0, "local": 0.2}
SECONDS_BETWEEN_QUESTIONS = 30  # to SLURM's accounts about jobs without a result
SECONDS_TO_STOP = 60.0
SECONDS_TO_CHECKPOINT = 120  # before a job's time is up
REQUEUES = 1000  # a run goes on in the next job as often as it takes


class SlurmWorker(Worker):
    """A job of the queue."""

    def __init__(self, agency: SlurmAgency) -> None:
        super().__init__()
        self.agency = agency
        self.errand = Errand.of(agency.token)
        self.handle: Any = None
        self.watch = Watch(())
        self.why = ""

    def send(self, job: Job) -> None:
        """As the base class says."""
        agency = self.agency
        call = SlurmJob(self.errand, pickle.dumps(job), agency.packed, str(agency.stop))
        self.watch = Watch(job.runs, agency.options.runs_dir)
        self.handle = agency.submit(call, job.runs[0].label)

    def ask_to_stop(self, code: int) -> None:
        """As the base class says."""
        if self.handle is not None:
            self.agency.cancel(self.handle)

    def bury(self) -> str:
        """As the base class says."""
        if self.job is not None:
            for run in self.job.runs:
                with contextlib.suppress(NnoptError, OSError):
                    forget_holder(place(run, self.agency.options.runs_dir).folder, self.errand.worker)
        return self.why


class SlurmAgency(Agency):
    """Submits jobs through submitit; `kind` is slurm, or local for processes of this machine instead."""

    workers_stay = False

    def __init__(self, kind: str, options: Options, cluster: ClusterSpec) -> None:
        if kind not in ("", "local"):
            raise UsageError(f"--on slurm:{kind}: there are slurm, and slurm:local for processes of this machine")
        self.kind = kind or "slurm"
        self.options = replace(options, fresh=False)
        self.cluster = cluster
        self.looked = 0.0

    def open(self) -> None:
        """As the base class says."""
        if hasattr(self, "token"):
            return
        if self.kind == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise UsageError("--on slurm: there is no sbatch here; start nnopt where jobs are submitted from")
        self.token = Token(self.options.runs_dir)
        self.folder = (self.options.runs_dir / FOLDER).absolute()
        make_folder(self.folder)
        self.stop = self.folder / f"{STOP}-{self.token.path.name}"

    def fit(self, needs: Needs) -> None:
        """As the base class says."""
        import submitit

        self.open()
        self.packed = pickle.dumps(replace(self.options, most_threads=needs.threads))
        self.executor = submitit.AutoExecutor(self.folder, cluster=self.kind, **self._counts())
        cluster = self.cluster
        gpus = cluster.gpus or 0
        if gpus != int(gpus):
            raise UsageError(f"cluster.gpus: {gpus:g} is a part of a GPU, and SLURM gives whole ones: write {gpus:.0f}")
        asked: dict[str, Any] = {
            "timeout_min": max(1, round(cluster.hours * 60)),
            "cpus_per_task": needs.cpus,
            "gpus_per_node": int(gpus) or None,
            "mem_gb": cluster.memory,
        }
        if self.kind == "slurm":
            extra = {**({"account": cluster.account} if cluster.account else {}), **cluster.extra}
            asked |= {
                "slurm_partition": cluster.partition,
                "slurm_setup": list(cluster.setup) or None,
                "slurm_signal_delay_s": SECONDS_TO_CHECKPOINT,
                "slurm_additional_parameters": extra or None,
                "slurm_wckey": "nnopt",
            }
            submitit.SlurmJob.watcher._delay_s = SECONDS_BETWEEN_QUESTIONS
        self.executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})

    def _counts(self) -> dict[str, int]:
        return {f"{self.kind}_max_num_timeout": REQUEUES}

    def submit(self, call: SlurmJob, label: str) -> Any:
        """Queues a job.

        Raises:
            UsageError: SLURM refuses it.
        """
        try:
            with warnings.catch_warnings(), no_interrupts(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                self.executor.update_parameters(**({"name": f"nnopt {label}"} if self.kind == "slurm" else {}))
                return self.executor.submit(call)
        except Exception as error:
            reason = [line.strip() for line in str(error).splitlines() if "error" in line.lower()]
            said = reason[-1] if reason else (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UsageError(f"SLURM takes no job: {said}; its options are in the file, below cluster") from None

    def room(self, wanted: int | None) -> int:
        """As the base class says."""
        return wanted or 10**6

    def hire(self) -> Worker:
        """As the base class says."""
        return SlurmWorker(self)

    def cancel(self, handle: Any) -> None:
        """Asks a job to end at a checkpoint, or takes it out of the queue."""
        self.stop.touch()
        with contextlib.suppress(OSError):
            if self.kind == "local":
                os.kill(int(handle.job_id), signal.SIGTERM)  # submitit's own way leaves a second
            else:
                handle.cancel(check=False)

    def listen(self, workers: Sequence[Worker], seconds: float) -> Iterator[tuple[Worker, Words]]:
        """As the base class says."""
        time.sleep(seconds)
        now = time.monotonic()
        if now - self.looked < SECONDS_BETWEEN_LOOKS[self.kind]:
            return
        self.looked = now
        for worker in cast(Sequence[SlurmWorker], workers):
            is_over = worker.handle.done()
            yield from ((worker, words) for words in worker.watch.look())
            if is_over:
                yield worker, self._end_of(worker)

    def _end_of(self, worker: SlurmWorker) -> Words:
        handle = worker.handle
        try:
            if not handle.paths.result_pickle.exists():
                raise EOFError
            status, error, notes = handle.result()
        except Exception:
            state = str(handle.state)
            logs = f"; see {handle.paths.stderr}" if handle.paths.stderr.exists() else ""
            worker.why = f"its job {handle.job_id} ended without a result ({state}{logs})"
            return (LOST,)
        for label, text in notes:
            worker.watch.say(label, text)
        for path in self.folder.glob(f"{handle.job_id}_*"):
            with contextlib.suppress(OSError):
                path.unlink()
        return FREE, status, error

    def dismiss(self, workers: Sequence[Worker]) -> None:
        """As the base class says."""
        busy = [worker for worker in cast(Sequence[SlurmWorker], workers) if worker.handle and worker.job is not None]
        for worker in busy:
            self.cancel(worker.handle)
        end = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < end and not all(worker.handle.done() for worker in busy):
            time.sleep(SECONDS_BETWEEN_LOOKS[self.kind])

    def close(self) -> None:
        """As the base class says."""
        if hasattr(self, "token"):
            self.token.remove()
            self.stop.unlink(missing_ok=True)
            for script in Path(self.folder).glob("submission_file_*.sh"):
                script.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # where no log of a lost job is kept
