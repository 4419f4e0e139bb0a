"""A search whose trials train in jobs and actors comes to the same trials as one in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps import studies, write_search

import nnopt


@pytest.mark.slow
@pytest.mark.parametrize("where", ["slurm:local", "ray"])
def test_a_search_elsewhere_finds_the_same_trials(tmp_path: Path, where: str) -> None:
    changes = {"search": {"trials": 2, "confirm": {"seeds": 1}}}
    for name, on in (("here", None), ("there", where)):
        (tmp_path / name).mkdir()
        nnopt.sweep(write_search(tmp_path / name, changes), runs_dir=tmp_path / name / "runs", on=on, jobs=2)
    assert studies(tmp_path / "here/runs") == studies(tmp_path / "there/runs")
