"""Other tools' names of metrics as columns of metrics.csv: `eval/loss`, `accuracy/val`, `validation_acc`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nnopt.errors import UsageError
from nnopt.spec.nearest import nearest

STEP, TIME, WALL = "step", "train_seconds", "wall_seconds"  # the last: seconds since the epoch

# Columns of our own, which keep their names.
OWN = (
    *(STEP, "epoch", "samples", TIME, "lr", "train_loss", "generalisation_gap", "grad_norm"),
    *("gradient_evaluations", "samples_per_second", "memory_peak_bytes"),
)
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Whole names, as lower case with `_` between the words.
NAMES = {
    **dict.fromkeys(("global_step", "trainer_global_step", "steps", "iteration", "iterations", "iter"), STEP),
    **dict.fromkeys(("learning_rate",), "lr"),
    **dict.fromkeys(("elapsed", "elapsed_seconds", "elapsed_time", "time_elapsed", "training_time"), TIME),
    **dict.fromkeys(("seconds", "time", "runtime", "relative_time", "relative_time_process"), TIME),
    **dict.fromkeys(("wall_time", "timestamp"), WALL),
    "gradient_norm": "grad_norm",
    "examples": "samples",
}
METRICS = {"acc": "accuracy"}
# A CSV header that is split at commas and line breaks can have these and no others.
_NOT_IN_A_HEADER = re.compile(r"[^\w.+-]+")


def map_columns(theirs: Iterable[str], renames: Mapping[str, str]) -> dict[str, str]:
    """Their name -> ours, in their order; `renames` (theirs -> ours) come first.

    A part of the data at the beginning or the end of a name becomes its prefix (`train_`, `val_`, `test_`), `acc` is
    accuracy, and `epoch` around the name of a metric falls away. A name that means nothing here is kept as far as a
    header can have it.

    Raises:
        UsageError: two names become one, or a new name cannot be that of a column.
    """
    mapped: dict[str, str] = {}
    first: dict[str, str] = {}
    for name in theirs:
        ours = renames.get(name) or our_name(name)
        if ours in first:
            raise UsageError(
                f"the columns '{first[ours]}' and '{name}' would both be {ours}: "
                f"--rename '{name}=NAME' tells them apart"
            )
        first[ours] = name
        mapped[name] = ours
    return mapped


def parse_renames(texts: Iterable[str]) -> dict[str, str]:
    """`theirs=ours` of the command line.

    Raises:
        UsageError: no `=`, a name given twice, or a new name that no column can have.
    """
    renames: dict[str, str] = {}
    for text in texts:
        theirs, equals, ours = text.rpartition("=")
        if not equals or not theirs or not ours:
            raise UsageError(f"--rename {text}: should be THEIRS=OURS, such as --rename eval_acc=val_accuracy")
        if theirs in renames:
            raise UsageError(f"--rename names '{theirs}' twice")
        if clean(ours) != ours:
            raise UsageError(f"--rename {text}: a column is made of letters, digits, . _ + -: '{clean(ours)}' would do")
        renames[theirs] = ours
    return renames


def check_renames(renames: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuses renames of what no run has.

    Raises:
        UsageError: names it, and what there is.
    """
    names = list(dict.fromkeys(known))
    for theirs in renames:
        if theirs not in names:
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise UsageError(f"--rename: there is no column '{theirs}'{nearest(theirs, names)}; there are {shown}")


def our_name(name: str) -> str:
    """What a name becomes where nobody renames it."""
    if name in OWN:
        return name
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name.strip().lower()) if word]
    whole = "_".join(words)
    if whole in NAMES:
        return NAMES[whole]
    if whole in OWN:
        return whole
    for part, rest in ((words[:1], words[1:]), (words[-1:], words[:-1])):
        if rest and part[0] in PARTS:
            return _of_part(PARTS[part[0]], rest)
    return clean(name)


def clean(name: str) -> str:
    """The name with `_` for all that a header cannot have."""
    return _NOT_IN_A_HEADER.sub("_", name).strip("_") or "column"


def _of_part(part: str, words: list[str]) -> str:
    if len(words) > 1 and words[0] == "epoch":
        words = words[1:]
    if len(words) > 1 and words[-1] == "epoch":
        words = words[:-1]
    metric = "_".join(METRICS.get(word, word) for word in words)
    known = NAMES.get(metric, metric)
    # train/learning_rate, train/epoch: of the run, not of the data it is measured on.
    return known if part == "train" and known in OWN else f"{part}_{metric}"
