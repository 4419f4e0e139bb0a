"""`--on ray`: a cluster of several nodes on this machine, some of which go away in the middle."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import Process, Starter, assert_same_bits, fit, summary_of, wait_for, write_digits

from nnopt.store.lock import HOLDER

SMALL: dict[str, Any] = {"seeds": 2, "model": {"dropout": 0.2}}
LONG: dict[str, Any] = {**SMALL, "seeds": 1, "budget": {"epochs": 400}}
ENDLESS: dict[str, Any] = {"seeds": 1, "budget": {"steps": 10**7}, "evaluation": {"every": {"steps": 50}}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield started
        started.shutdown()


@pytest.fixture
def node(cluster: Any) -> Iterator[Any]:
    """A node with room for one run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added = cluster.add_node(num_cpus=1)
        yield added
        if added in cluster.worker_nodes:
            cluster.remove_node(added)


def start(starter: Starter, folder: Path, cluster: Any, changes: dict[str, Any], *args: str) -> Process:
    """Begins `nnopt train` on the cluster."""
    write_digits(folder, changes)
    return starter.start(folder, "train", "spec.yaml", "--on", f"ray:{cluster.address}", *args)


def seed(folder: Path, number: int = 0) -> Path:
    return folder / "runs/small/sgd" / f"seed-{number}"


def has_checkpoint(folder: Path) -> bool:
    return (folder / "checkpoints/last.pt").exists() and (folder / HOLDER).exists()


def worker_of(folder: Path) -> psutil.Process:
    return psutil.Process(int(json.loads((folder / HOLDER).read_text())["pid"]))


@pytest.mark.slow
def test_runs_on_a_cluster_have_the_bits_of_those_here(
    starter: Starter, tmp_path: Path, cluster: Any, node: Any
) -> None:
    process = start(starter, tmp_path, cluster, SMALL, "--quiet")
    assert process.wait() == 0, process.stderr
    assert process.stderr == "", "nothing of Ray's own is seen"
    (tmp_path / "here").mkdir()
    for record in fit(tmp_path / "here", SMALL):
        assert_same_bits(record.folder, seed(tmp_path, record.seed))
    assert not list((tmp_path / "runs").glob(".crew-*"))


@pytest.mark.slow
def test_a_run_goes_on_when_its_node_goes_away(starter: Starter, tmp_path: Path, cluster: Any, node: Any) -> None:
    process = start(starter, tmp_path, cluster, LONG, "--jobs", "1")
    wait_for(lambda: has_checkpoint(seed(tmp_path)), pause=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster.remove_node(node, allow_graceful=False)
        other = cluster.add_node(num_cpus=1)
    assert process.wait() == 0, process.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster.remove_node(other)
    assert "was lost: going on from the checkpoint (1 of 3)" in process.stderr
    assert "resumed at step" in (seed(tmp_path) / "run.log").read_text()
    (tmp_path / "here").mkdir()
    (whole,) = fit(tmp_path / "here", LONG)
    assert_same_bits(whole.folder, seed(tmp_path))


@pytest.mark.slow
def test_a_killed_actor_ends_its_run_where_none_is_taken_up(
    starter: Starter, tmp_path: Path, cluster: Any, node: Any
) -> None:
    process = start(starter, tmp_path, cluster, LONG, "--quiet", "--max-restarts", "0")
    wait_for(lambda: has_checkpoint(seed(tmp_path)), pause=0.05)
    os.kill(worker_of(seed(tmp_path)).pid, signal.SIGKILL)
    assert process.wait() == 1
    assert "failed (its worker on" in process.stderr
    assert "was lost; run the same command again to resume it)" in process.stderr
    assert summary_of(seed(tmp_path))["status"] == "running"
    assert not (seed(tmp_path) / HOLDER).exists(), "nobody is believed to be at it"


@pytest.mark.slow
def test_a_signal_checkpoints_first(starter: Starter, tmp_path: Path, cluster: Any, node: Any) -> None:
    process = start(starter, tmp_path, cluster, ENDLESS, "--quiet")
    wait_for(lambda: has_checkpoint(seed(tmp_path)), pause=0.05)
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr == "error: interrupted: run the same command again to go on from the checkpoint\n"
    assert summary_of(seed(tmp_path))["status"] == "interrupted"


@pytest.mark.slow
def test_a_run_that_fits_nowhere_is_one_line(starter: Starter, tmp_path: Path, cluster: Any, node: Any) -> None:
    process = start(starter, tmp_path, cluster, {"cluster": {"cpus": 9, "gpus": 2}}, "--quiet")
    assert process.wait() == 2
    assert process.stderr == ("error: no machine of the Ray cluster has room for a run, which takes 9 CPUs, 2 GPUs\n")


def test_ray_on_this_machine_lasts_as_long_as_its_runs(starter: Starter, tmp_path: Path) -> None:
    write_digits(tmp_path, SMALL)
    process = starter.start(tmp_path, "train", "spec.yaml", "--on", "ray", "--jobs", "2", "--quiet")
    assert process.wait() == 0, process.stderr
    assert process.stderr == ""
    left = [found.info["cmdline"] for found in psutil.process_iter(["cmdline", "ppid"]) if found.ppid() == process.pid]
    assert not left
    (tmp_path / "here").mkdir()
    for record in fit(tmp_path / "here", SMALL):
        assert_same_bits(record.folder, seed(tmp_path, record.seed))
