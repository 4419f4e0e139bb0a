"""Data sets of Hugging Face's `datasets`: saved to a folder, files that it reads, or by name from the Hub.

Q. Lhoest and others: Datasets: A Community Library for Natural Language Processing, 2021, arXiv:2109.02846.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnopt.data.download import data_folder
from nnopt.data.layout import Layout
from nnopt.data.paths import find
from nnopt.data.raw import Array, Raw, digest, joined_digest
from nnopt.data.reading import ArrayReader, Reader
from nnopt.data.sources.arrays import ArrayLayout, Channels, arranged, content_digest, is_turned
from nnopt.data.sources.image_files import EncodedImages, Making, common_shape, examine_all, notes_on_copies
from nnopt.data.sources.image_layout import ImageLayout
from nnopt.data.sources.table_columns import Column, column_of, joined
from nnopt.data.sources.table_files import Format
from nnopt.data.sources.table_targets import Targets, targets_of
from nnopt.data.sources.tables import INDEX, Roles, raw_of
from nnopt.data.sources.targets import OwnTask
from nnopt.data.task import Task
from nnopt.errors import DataError, UsageError
from nnopt.quiet import quiet

FOLDER = "huggingface"  # below the data folder: what is downloaded or converted
_BUILDERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".arrow": "arrow"}
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Place:
    """Where a data set is.

    Attributes:
        path: a file or folder; None for one of the Hub.
        name: what the Hub calls it.
        configuration: which of several that the Hub has under this name.
        root: the data folder.
    """

    path: str | None
    name: str | None
    configuration: str | None
    root: str | None


@dataclass(frozen=True)
class Wanted:
    """What is read of it.

    Attributes:
        splits: the names of the splits for training, validation and test; None for those of these names where there
            are such, "none" for a part that is to be drawn.
        inputs: columns; () for all others.
        targets: columns.
        task: what they are targets of.
    """

    splits: tuple[str, str | None, str | None]
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    task: OwnTask


@dataclass(frozen=True, eq=False)
class ImageColumn(EncodedImages):
    """The images in a column of a data set.

    Attributes:
        names: their rows in words.
        rows: the data set, which gives encoded bytes or a path.
        column: the column's name.
        called: the column in words.
    """

    rows: Any
    column: str
    called: str

    @property
    def where(self) -> str:
        """The column."""
        return self.called

    def content(self, row: int) -> bytes:
        """The bytes of an image."""
        return _content(self.rows, self.column, row)


def read_hugging_face(place: Place, wanted: Wanted, making: Making, channels: Channels) -> Raw:
    """A data set whose inputs are one column of images, one of arrays, or columns of numbers and words.

    Raises:
        UsageError: `datasets` is not installed.
        DataError: it cannot be had, or does not hold what is asked for.
    """
    library = _library()
    where = place.path or place.name or ""
    parts = _parts(_splits(library, place), wanted.splits, where)
    features = parts["train"].features
    inputs = _inputs(features, wanted, where)
    sides = _joined(library, parts)
    alone = features[inputs[0]] if len(inputs) == 1 else None
    if isinstance(alone, library.Image):
        raw = _images(library, sides, inputs[0], making, wanted, where)
    elif alone is not None and _is_array(library, alone):
        raw = _arrays(sides, inputs[0], channels, wanted, where)
    else:
        raw = _table(library, sides, inputs, wanted, where)
    if "validation" not in parts:
        return raw
    count = len(parts["train"])
    return replace(raw, validation_rows=np.arange(count, count + len(parts["validation"])))


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UsageError("data.kind huggingface needs datasets: pip install 'nnopt[huggingface]'") from error
    return datasets


def _splits(library: Any, place: Place) -> Mapping[str, Any]:
    """The splits by name."""
    kept = str(data_folder(place.root) / FOLDER)
    shown = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        with quiet(("datasets", "huggingface_hub", "fsspec"), {}):
            if place.path is None:
                return dict(library.load_dataset(place.name, place.configuration, cache_dir=kept))
            return _local(library, find(place.path, place.root), kept)
    except DataError:
        raise
    except Exception as error:  # the library raises what its parts raise: of files, of networks, of Arrow
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if place.path is None:
            advice = "without a network save it elsewhere by save_to_disk, and name the folder by data.path"
            raise DataError(f"data.name: cannot get {place.name} from the Hub ({reason}): {advice}") from error
        raise DataError(f"data.path: datasets cannot read {place.path}: {reason}") from error
    finally:
        if not shown:
            library.enable_progress_bars()


def _local(library: Any, path: Path, kept: str) -> Mapping[str, Any]:
    """The splits in a file or folder; a file, or a data set that was saved without splits, is one called train."""
    if path.is_file():
        if path.suffix.lower() not in _BUILDERS:
            known = ", ".join(_BUILDERS)
            raise DataError(f"data.path: {path} is no file that is read here; its name should end in {known}")
        if path.suffix.lower() == ".arrow":
            return {"train": library.Dataset.from_file(str(path))}
        builder = _BUILDERS[path.suffix.lower()]
        return dict(library.load_dataset(builder, data_files={"train": str(path)}, cache_dir=kept))
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        saved = library.load_from_disk(str(path))
        return dict(saved) if isinstance(saved, library.DatasetDict) else {"train": saved}
    return dict(library.load_dataset(str(path), cache_dir=kept))


def _parts(splits: Mapping[str, Any], names: tuple[str, str | None, str | None], where: str) -> dict[str, Any]:
    """The splits for training, and those for validation and test where there are some."""
    found = {}
    for part, name in zip(_PARTS, names, strict=True):
        if name == "none" or (name is None and part not in splits):
            continue
        name = name or part
        if name not in splits:
            raise DataError(f"data.{part}_split: {where} has no split '{name}'{_meant(name, splits)}")
        if len(splits[name]) == 0:
            raise DataError(f"{where}: the split '{name}' has no rows")
        found[part] = splits[name]
    first = found["train"]
    for part, rows in found.items():
        lacking = set(first.column_names) - set(rows.column_names)
        if lacking:
            raise DataError(f"{where}: the {part} split lacks the column '{min(lacking)}' of the training split")
    return found


def _inputs(features: Mapping[str, Any], wanted: Wanted, where: str) -> list[str]:
    for key, columns in (("target", wanted.targets), ("inputs", wanted.inputs)):
        for name in columns:
            if name not in features:
                raise DataError(f"data.{key}: {where} has no column '{name}'{_meant(name, features)}")
    others = (name for name in features if name not in wanted.targets and not INDEX.fullmatch(name))
    found = list(wanted.inputs) or list(others)
    if not found:
        raise DataError(f"{where} has no column beside the target: there is nothing to learn from")
    return found


def _joined(library: Any, parts: Mapping[str, Any]) -> list[Any]:
    """The rows of training and validation, and those of test where there are some."""
    first = [parts[part] for part in ("train", "validation") if part in parts]
    rest = first[0] if len(first) == 1 else library.concatenate_datasets(first)
    return [rest, parts["test"]] if "test" in parts else [rest]


def _images(library: Any, sides: Sequence[Any], column: str, making: Making, wanted: Wanted, where: str) -> Raw:
    """Inputs [n, channels, height, width] uint8, decoded when they are wanted."""
    encoded = [rows.select_columns([column]).cast_column(column, library.Image(decode=False)) for rows in sides]
    called = f"column '{column}' of {where}"
    names = [tuple(f"row {row}" for row in range(1, len(rows) + 1)) for rows in sides]
    headers = [
        examine_all(lambda row, rows=rows: _content(rows, column, row), called, name)  # type: ignore[misc]
        for rows, name in zip(encoded, names, strict=True)
    ]
    together = [header for side in headers for header in side]
    made = common_shape(called, [name for side in names for name in side], together, making)
    inputs = [ImageColumn(name, made, rows, column, called) for rows, name in zip(encoded, names, strict=True)]
    targets = _targets(sides, wanted, where)
    return _raw(
        inputs,
        targets,
        len(sides[0]),
        wanted.task,
        joined_digest([*(header.digest for header in together), digest(targets.values)]),
        ImageLayout(made),
        largest=255.0,
        notes=notes_on_copies(together),
    )


def _arrays(sides: Sequence[Any], column: str, channels: Channels, wanted: Wanted, where: str) -> Raw:
    """Inputs [n, features] or [n, channels, height, width] in memory."""
    called = f"column '{column}' of {where}"
    values = [np.asarray(rows.with_format("numpy")[column][:]) for rows in sides]
    for side in values:
        if side.dtype == object or side.shape[1:] != values[0].shape[1:]:
            raise DataError(f"{called}: its lists are not all of one length")
    digests = [content_digest(ArrayReader(side), called) for side in values]
    turned = is_turned(values[0].shape[1:], channels, called)
    targets = _targets(sides, wanted, where)
    return _raw(
        [arranged(side, turned) for side in values],
        targets,
        len(sides[0]),
        wanted.task,
        joined_digest([*digests, digest(targets.values)]),
        ArrayLayout("inputs", values[0].shape[1:], turned),
        largest=255.0 if values[0].dtype == np.uint8 and values[0].ndim > 2 else None,
    )


def _raw(
    inputs: Sequence[Array | Reader],
    targets: Targets,
    n: int,
    task: Task,
    content_hash: str,
    layout: Layout,
    largest: float | None,
    notes: tuple[str, ...] = (),
) -> Raw:
    """The content, of which the first `n` rows are not of the test part."""
    beside = len(inputs) > 1
    return Raw(
        inputs=inputs[0],
        targets=targets.values[:n],
        classes=targets.classes,
        content_hash=content_hash,
        largest=largest,
        test_inputs=inputs[1] if beside else None,
        test_targets=targets.values[n:] if beside else None,
        stated_task=task,
        layout=layout,
        notes=notes,
    )


def _table(library: Any, sides: Sequence[Any], inputs: Sequence[str], wanted: Wanted, where: str) -> Raw:
    """Inputs [n, features] float64: numbers, and words as categories, as those of a table in a file."""
    simple = (library.Value, library.ClassLabel)
    for name in inputs:
        feature = sides[0].features[name]
        if not isinstance(feature, simple):
            kind = type(feature).__name__
            raise DataError(
                f"data.inputs: column '{name}' of {where} is of type {kind}, no numbers or words: name it alone, or "
                "name the others"
            )
    columns = {name: _column(sides, name, where, False) for name in inputs}
    columns |= {name: _column(sides, name, where, wanted.task == "classification") for name in wanted.targets}
    values = [column.values for column in columns.values()]
    words = " ".join(word for column in columns.values() for word in column.words or ())
    content_hash = joined_digest([*map(digest, values), digest(words.encode())])
    return raw_of(columns, len(sides[0]), inputs, Roles(wanted.task, wanted.targets), Format(), content_hash)


def _targets(sides: Sequence[Any], wanted: Wanted, where: str) -> Targets:
    """The targets of all rows; those of the test part come last."""
    as_words = wanted.task == "classification"
    return targets_of([_column(sides, name, where, as_words) for name in wanted.targets], wanted.task, ())


def _column(sides: Sequence[Any], name: str, where: str, as_words: bool) -> Column:
    """A column of all rows; numbers of classes become their names, -1 (no class is known) a gap."""
    found = []
    for rows in sides:
        series = rows.select_columns([name]).with_format("pandas")[:][name]
        classes = getattr(rows.features[name], "names", None)
        if classes is not None:
            series = series.map(dict(enumerate(classes)))
        found.append(column_of(series, name, where, ".", as_words))
    if as_words and len(found) == 2 and found[1].gaps.all():
        raise DataError(f"{where}: the test split has no targets: write data.test_split: none to draw test rows")
    return found[0] if len(found) == 1 else joined(*found)


def _content(rows: Any, column: str, row: int) -> bytes:
    """The bytes of an image as they are kept."""
    found = rows[row][column]
    if found is None:
        raise ValueError("no image")
    return bytes(found["bytes"]) if found["bytes"] is not None else Path(found["path"]).read_bytes()


def _is_array(library: Any, feature: Any) -> bool:
    return not isinstance(feature, (library.Value, library.ClassLabel, library.Image, dict))


def _meant(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.55)
    return f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(names)}"
