"""A search whose trials train in jobs and actors comes to the same trials as one in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps import studies, write_search

import nnopt
from nnopt.errors import DeviceError
from nnopt.search.opening import asked_for
from nnopt.search.probes import check_space
from nnopt.search.sweep import subjects_of
from nnopt.spec.loading import load
from nnopt.train.setup import DataCache


def test_a_device_that_other_machines_have_is_not_wanted_here(tmp_path: Path) -> None:
    experiment = load(write_search(tmp_path, {"device": "cuda:77"}))
    file = asked_for(experiment)
    subject = next(iter(subjects_of(experiment, file, tmp_path / "runs")))
    space = file.variants[subject.variant].space
    assert check_space(subject, space, DataCache(), elsewhere=True) >= 1
    with pytest.raises(DeviceError, match="cuda:77 is not there"):
        check_space(subject, space, DataCache())


@pytest.mark.slow
@pytest.mark.parametrize("where", ["slurm:local", "ray"])
def test_a_search_elsewhere_finds_the_same_trials(tmp_path: Path, where: str) -> None:
    changes = {"search": {"trials": 2, "confirm": {"seeds": 1}}}
    for name, on in (("here", None), ("there", where)):
        (tmp_path / name).mkdir()
        nnopt.sweep(write_search(tmp_path / name, changes), runs_dir=tmp_path / name / "runs", on=on, jobs=2)
    assert studies(tmp_path / "here/runs") == studies(tmp_path / "there/runs")
