"""One export: written beside its place, loaded again, set against torch, and only then put there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnopt.errors import UsageError
from nnopt.export.agreement import Agreement, compare
from nnopt.export.fpga import FpgaTarget
from nnopt.export.programs import INPUT, OUTPUT, ExecutorchTarget, OnnxTarget, TorchTarget
from nnopt.export.subject import Subject, load_subject
from nnopt.export.target import Target
from nnopt.spec.nearest import nearest
from nnopt.store.data_file import read_data_record
from nnopt.store.files import refusals, write_json
from nnopt.version import __version__

TARGETS: dict[str, type[Target]] = {one.name: one for one in (OnnxTarget, TorchTarget, ExecutorchTarget, FpgaTarget)}
FOLDER = "exports"  # within a run's folder
RECORD = "export.json"
SCHEMA = 1


@dataclass(frozen=True)
class Exported:
    """Where an export lies, and what its export.json holds."""

    place: Path
    record: dict[str, Any]


def build_target(name: str, options: Mapping[str, Any]) -> Target:
    """The target called `name`; of `options` None means the usual.

    Raises:
        UsageError: there is none of that name, it is not installed, or it has no such option.
    """
    if name not in TARGETS:
        raise UsageError(f"--to {name}: choose one of {', '.join(TARGETS)}{nearest(name, TARGETS)}")
    kind = TARGETS[name]
    given = {option: value for option, value in options.items() if value is not None}
    fields: Mapping[str, Any] = getattr(kind, "__dataclass_fields__", {})
    for option in given:
        if option not in fields:
            raise UsageError(f"{FLAGS[option]} is no option of --to {name}")
    target = kind(**given)
    target.check_installed()
    return target


FLAGS = {
    **{name: f"--{name}" for name in ("precision", "reuse", "backend", "io", "part", "clock", "tolerance")},
    "least": "--least-agreement",
}


def export(folder: Path, target: Target, weights: str, raw: bool, out: Path | None, samples: int | None) -> Exported:
    """Exports the "best" or "last" weights of the run in `folder`.

    Args:
        folder: of a run that is done.
        target: where to.
        weights: "best" or "last".
        raw: the normalisation of the data becomes part of the export.
        out: the folder to make; None for one of the target's name below the run's `exports`.
        samples: how many test samples it is compared on; None for all.

    Raises:
        UsageError: the run, the target or the place is not to be had, or they do not fit together.
        CheckpointError: the weights are missing or damaged.
        ExportError: the library gave up, or the export does not answer as torch does: nothing is left then.
        DiskError: the disk refused.
    """
    place = _place(folder, target, out)
    subject = load_subject(folder, weights, raw)
    target.check(subject)
    with refusals(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        made = place.with_name(f".{place.name}.{os.getpid()}.tmp").absolute()
        made.mkdir()
    try:
        target.write(subject, made)
        agreement = compare(subject, target.open(subject, made), samples)
        target.judge(subject, agreement)
        record = _record(subject, target, agreement, folder)
        with refusals(place):
            target.finish(made, place.absolute())
            record["sha256"] = {target.file: _hash(made / target.file)} if target.file else {}
            write_json(made / RECORD, record)
            _sync(made)
            if place.exists():
                raise UsageError(f"{place} was made by another program meanwhile: give another --out")
            os.rename(made, place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if out is None:
            with contextlib.suppress(OSError):  # it holds exports
                place.parent.rmdir()
    return Exported(place, record)


def _place(folder: Path, target: Target, out: Path | None) -> Path:
    """Where the export will lie.

    Raises:
        UsageError: something is there already, or nothing can be made there.
    """
    if out is None:
        usual = folder / FOLDER / target.name
        number = 2
        place = usual
        while place.exists():
            place = usual.with_name(f"{usual.name}-{number}")
            number += 1
        return place
    suffix = Path(target.file).suffix
    if suffix and out.suffix == suffix:
        raise UsageError(
            f"--out {out}: an export is a folder, which will hold {target.file} and {RECORD}: leave {suffix} out"
        )
    if out.exists() or out.is_symlink():
        raise UsageError(f"--out {out} exists, and nothing is overwritten: give another, or move it away")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out} lies in {out.parent}, which is no folder: make it first")
    return out


def _record(subject: Subject, target: Target, agreement: Agreement, folder: Path) -> dict[str, Any]:
    """What one who has the export alone has to know of it."""
    data = subject.data
    example = subject.example(1)
    encoding = read_data_record(folder)["encoding"] or {}
    outputs = subject.answer(example)
    scaling: dict[str, Any] | None = None
    if "shift" in encoding:
        scaling = {"formula": "(x - shift) / scale", "axis": "features" if len(data.input_shape) == 1 else "channels"}
        scaling |= {"shift": encoding["shift"], "scale": encoding["scale"], "in_the_export": subject.raw}
    return {
        "schema": SCHEMA,
        "nnopt": __version__,
        "target": target.name,
        "file": target.file or None,
        "run": subject.record.name,
        "spec_hash": subject.record.spec_hash,
        "weights": subject.weights,
        "step": subject.step,
        "data": {"name": data.name, "sha256": data.content_hash, "task": data.task},
        "input": {
            "name": INPUT,
            "shape": [target.batch, *data.input_shape],
            "dtype": str(example.dtype).removeprefix("torch."),
            "normalisation": scaling,
            "layout": encoding.get("layout"),
        },
        "output": {
            "name": OUTPUT,
            "shape": [target.batch, *outputs.shape[1:]],
            "dtype": "float32",
            "meaning": subject.setup.settings.loss.answers,
            "classes": list(data.classes),
            "questions": [{"name": one.name, "classes": list(one.classes)} for one in data.questions],
            "target_formula": "output * target_scale + target_mean",
            "target_mean": data.target_mean.tolist(),
            "target_scale": data.target_scale.tolist(),
        },
        "asked": target.asked(),
        "comparison": agreement.record(),
        "details": target.details(),
        "versions": target.versions(),
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(folder: Path) -> None:
    """Returns when all files below are safe from a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
