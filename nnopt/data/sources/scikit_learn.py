"""Data sets that scikit-learn loads: some lie in the package, others are downloaded once into the data folder.

F. Pedregosa and others: Scikit-learn: Machine Learning in Python, JMLR 12, 2011.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnopt.data.download import data_folder, elsewhere, writing_to
from nnopt.data.raw import Array, Raw, digest, joined_digest
from nnopt.data.sources.table_columns import Column, words_of
from nnopt.data.sources.table_files import Format
from nnopt.data.sources.tables import Roles, raw_of
from nnopt.data.task import Task
from nnopt.errors import DataError
from nnopt.quiet import quiet

FOLDER = "scikit_learn"
# Where scikit-learn keeps what it downloaded, below its data folder.
KEPT = {
    "california_housing": "cal_housing_py3.pkz",
    "covtype": "covertype/samples_py3",
    "olivetti_faces": "olivetti_py3.pkz",
}
# Features as they were measured: those of diabetes are scaled by all rows otherwise, test rows among them.
KEYS: dict[str, dict[str, Any]] = {"diabetes": {"scaled": False}}


def missing(name: str, root: str | None) -> str | None:
    """Why a data set cannot be read without a download, or None where it can."""
    if name not in KEPT:
        return None
    path = data_folder(root) / FOLDER / KEPT[name]
    return None if path.is_file() else f"{name} of scikit-learn is not at hand: {path} is missing"


def read(name: str, task: Task, root: str | None) -> Raw:
    """Features [n, f], all numbers, and targets; downloaded if need be.

    Args:
        name: of the loader, without `load_` and `fetch_`.
        task: what its targets ask for.
        root: the data folder; None for NNOPT_DATA_DIR, else the user's cache folder.

    Raises:
        DataError: it is not at hand and cannot be downloaded.
    """
    from sklearn import datasets

    if name in KEPT:
        found = _fetched(getattr(datasets, f"fetch_{name}"), name, data_folder(root) / FOLDER)
    else:
        found = getattr(datasets, f"load_{name}")(**KEYS.get(name, {}))
    features, targets = np.asarray(found.data, dtype=np.float64), np.asarray(found.target)
    inputs = _names(found, "feature_names", "x", features.shape[1])
    columns = {column: Column(column, features[:, place], None, name) for place, column in enumerate(inputs)}
    if task == "classification":
        wanted = ["class"]
        columns["class"] = words_of(_class_names(found, targets), "class", name)
    else:
        values = targets.reshape(len(features), -1).astype(np.float64)
        wanted = _names(found, "target_names", "y", values.shape[1])
        columns |= {column: Column(column, values[:, place], None, name) for place, column in enumerate(wanted)}
    content_hash = joined_digest([digest(features), digest(targets)])
    return raw_of(columns, len(features), inputs, Roles(task, tuple(wanted)), Format(), content_hash)


def _names(found: Any, key: str, letter: str, count: int) -> list[str]:
    """The names of columns, or `letter` with their numbers where the data has none."""
    names: Sequence[str] | None = getattr(found, key, None)
    if names is None:
        return [f"{letter}{number}" for number in range(1, count + 1)]
    return [str(name) for name in names]


def _class_names(found: Any, targets: Array) -> Array:
    """[n], the name of every row's class, its number where it has none."""
    names = getattr(found, "target_names", None)
    if names is None or len(names) != targets.max() + 1:
        return targets.astype(str)
    return np.asarray(names, dtype=str)[targets]


def _fetched(fetch: Any, name: str, folder: Path) -> Any:
    with writing_to(folder):
        try:
            with quiet([], {}):  # it warns of every mirror that does not answer
                return fetch(data_home=str(folder), n_retries=1)
        except (OSError, ValueError, EOFError, http.client.HTTPException) as error:
            raise DataError(
                f"cannot download {name} ({' '.join(str(error).split())[:120]}): put what scikit-learn keeps of it, "
                f"{KEPT[name]}, into {folder}, {elsewhere(f'the folder that holds it in {FOLDER}/')}"
            ) from error
