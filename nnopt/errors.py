"""What can go wrong, and the exit code that each kind of mistake gives.

NnoptError                 1   anything this program reports in one line
├── UsageError             2   the spec or the command line is wrong, or names what is not there
│   ├── SpecError          2   a YAML file, a key or a value
│   ├── DataError          2   a data set that is missing, damaged or does not suit the model
│   ├── DeviceError        2   a device or precision that this machine does not have
│   ├── RunsFolderError    2   a run, or the folder that holds runs: absent, unreadable, not writable
│   └── HeldError          2   another program is writing this run
├── ExportError            1   a network that another runtime does not take, or answers with otherwise
├── GateError              3   a gate of `compare` is not met
├── TrainingError          1   a run that cannot go on
│   ├── DivergedError      1   a loss that is not finite
│   ├── PrunedError        1   a trial that its search has seen enough of
│   ├── CheckpointError    1   no checkpoint that can be trusted
│   ├── LostError          1   a process of the run that is no more
│   └── DiskError          1   a write that the disk refused
└── Interrupted     130, 143   Ctrl-C or SIGTERM, after the checkpoint was written
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "DataError",
    "DeviceError",
    "DiskError",
    "DivergedError",
    "ExportError",
    "GateError",
    "HeldError",
    "Interrupted",
    "LostError",
    "NnoptError",
    "PrunedError",
    "RunsFolderError",
    "SpecError",
    "TrainingError",
    "UsageError",
]


class NnoptError(Exception):
    """A mistake that a user can act on: the text is one line that says what to do."""

    exit_code = 1


class UsageError(NnoptError):
    """The spec or the command line is wrong, or names what is not there."""

    exit_code = 2


class SpecError(UsageError):
    """A YAML file, a key or a value is wrong. `problems` holds one line a mistake."""

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        shown = self.problems[:5]
        rest = len(self.problems) - len(shown)
        super().__init__("\n".join(shown + ([f"and {rest} more"] if rest else [])))


class DataError(UsageError):
    """A data set is missing, damaged, or does not suit what is asked of it."""


class DeviceError(UsageError):
    """A device or a precision that this machine does not have."""


class RunsFolderError(UsageError):
    """A run, or the folder that holds runs, is absent, unreadable or not writable."""


class HeldError(UsageError):
    """Another program is writing to this run's folder."""


class ExportError(NnoptError):
    """A network that another runtime refuses, or in which its answers are others: nothing was exported."""


class GateError(NnoptError):
    """A gate of `compare` is not met."""

    exit_code = 3


class TrainingError(NnoptError):
    """A run that cannot go on."""


class DivergedError(TrainingError):
    """The loss is not finite: `step` is the first such update, `last_loss` the loss before it."""

    def __init__(self, step: int, last_loss: float | None) -> None:
        self.step = step
        self.last_loss = last_loss
        before = "it never was" if last_loss is None else f"the last good loss was {last_loss:.6g}"
        super().__init__(f"the loss is not finite at step {step}; {before}")


class PrunedError(TrainingError):
    """The search that a run belongs to ends it before its budget is used up."""


class CheckpointError(TrainingError):
    """No checkpoint of this run can be trusted."""


class LostError(TrainingError):
    """One of the processes that train a run together is no more; the run can be resumed."""


class DiskError(TrainingError):
    """The disk refused a write."""


class Interrupted(NnoptError):  # noqa: N818 - an event, not a mistake
    """Ctrl-C (130) or SIGTERM (143) ended the program; what was done is checkpointed."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__("interrupted: run the same command again to go on from the checkpoint")
