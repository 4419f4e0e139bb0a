from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from nnopt.data.raw import Raw
from nnopt.data.sources import breast_cancer, diabetes, digits, wine
from nnopt.data.sources.embedded import embedded_file
from nnopt.errors import DataError

SOURCES = {
    "digits": (digits.read, {}),
    "breast_cancer": (breast_cancer.read, {}),
    "diabetes": (diabetes.read, {"scaled": False}),
    "wine": (wine.read, {}),
}


@pytest.mark.parametrize("name", list(SOURCES))
def test_the_content_is_what_scikit_learn_loads(name):
    datasets = pytest.importorskip("sklearn.datasets")
    read, keys = SOURCES[name]
    raw: Raw = read()
    peer = getattr(datasets, f"load_{name}")(**keys)
    assert np.array_equal(raw.inputs.reshape(len(raw.inputs), -1), peer.data)
    assert np.array_equal(raw.targets.reshape(peer.target.shape), peer.target)
    assert raw.classes == tuple(map(str, getattr(peer, "target_names", ())))


def test_digits_are_images_the_right_way_up():
    datasets = pytest.importorskip("sklearn.datasets")
    assert np.array_equal(digits.read().inputs[:, 0], datasets.load_digits().images)


def test_hashes_of_the_content_stay():
    # Other numbers mean that scikit-learn ships other data: runs before and after do not compare.
    hashes = {name: read().content_hash[:16] for name, (read, _) in SOURCES.items()}
    assert hashes == {
        "digits": "6ebb3d2fee246a4e",
        "breast_cancer": "fed3eb72d0575ef6",
        "diabetes": "5c5ce05530cc8c8d",
        "wine": "10e8a802908b34f8",
    }


def test_scikit_learn_torch_and_pandas_are_not_imported_to_read():
    code = (
        "import sys; from nnopt.data.sources import breast_cancer, diabetes, digits, wine\n"
        "for source in (breast_cancer, diabetes, digits, wine): source.read()\n"
        "print(sorted({'sklearn', 'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_without_scikit_learn_the_message_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"digits\.csv\.gz comes with scikit-learn, which is not installed: pip"):
        digits.read()


def test_a_scikit_learn_that_lacks_or_spoiled_the_file_is_named(monkeypatch, tmp_path):
    found = importlib.machinery.ModuleSpec("sklearn", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(DataError, match=r"cannot read .*wine_data\.csv .*install scikit-learn again"):
        wine.read()
    folder = tmp_path / "datasets" / "data"
    folder.mkdir(parents=True)
    (folder / "digits.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot read"):
        embedded_file("digits.csv.gz")
