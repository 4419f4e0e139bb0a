"""What clusters need beside their agencies: room, addresses, tokens, takeovers; nothing here starts Ray or SLURM."""

from __future__ import annotations

import http.server
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended
from running import Told, assert_same_bits, fit, plan_of, summary_of

from nnopt.errors import RunsFolderError, UsageError
from nnopt.scale.errand import Errand, Token
from nnopt.scale.needs import Needs
from nnopt.scale.processes import train_runs
from nnopt.scale.ray import connection
from nnopt.spec.cluster import ClusterSpec
from nnopt.store.find import read_run
from nnopt.store.lock import HOLDER, LOCK, WORKER, RunLock, forget_holder
from nnopt.train.experiment import Options

# ----------------------------------------------------------------------------------------------- restarts


@dataclass
class KillTwice(Told):
    """Kills the worker at its first row of two sittings, once a checkpoint is there."""

    folder: Path = Path()
    killed: list[int] = field(default_factory=list)

    def row(self, label: str, row: dict[str, Any]) -> None:
        pid = json.loads((self.folder / HOLDER).read_text())["pid"]
        if len(self.killed) < 2 and pid not in self.killed and (self.folder / "checkpoints/last.pt").exists():
            self.killed.append(pid)
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("lives", "status"), [(2, "done"), pytest.param(1, "failed", marks=pytest.mark.slow)])
def test_a_lost_run_is_taken_up_as_often_as_allowed(tmp_path: Path, lives: int, status: str) -> None:
    changes = {"budget": {"epochs": 40}, "model": {"dropout": 0.2}}
    told = KillTwice(folder=tmp_path / "runs/small/sgd/seed-0")
    plan = plan_of(tmp_path, changes)
    (record,) = train_runs(plan, Options(tmp_path / "runs", fresh=True, max_restarts=lives), told)
    assert record.status == status
    assert len(told.killed) == 2
    notes = [words[2] for words in told.words if words[0] == "note"]
    assert notes[0] == f"its process died (exit code -9): going on from the checkpoint (1 of {lives})"
    assert all(words[2] > 0 for words in [words for words in told.words if words[0] == "started"][1:])
    if status == "failed":
        (reason,) = [words[3] for words in told.words if words[0] == "ended"]
        assert reason == "its process died (exit code -9) 2 times; run the same command again to resume it"
        return
    (tmp_path / "whole").mkdir()
    (whole,) = fit(tmp_path / "whole", changes)
    assert_same_bits(whole.folder, record.folder)


# --------------------------------------------------------------------------------------------------- room


def needs(tmp_path: Path, cluster: dict[str, Any], changes: dict[str, Any], threads: int = 1) -> Needs:
    plan = plan_of(tmp_path, changes)
    return Needs.of(ClusterSpec.model_validate(cluster), plan.experiment.variants.values(), threads)


def test_a_run_takes_its_threads_unless_the_file_says_more(tmp_path: Path) -> None:
    assert needs(tmp_path, {}, {}, threads=2).cpus == 2
    assert needs(tmp_path, {}, {"strategy": {"threads": 3}}).cpus == 3
    asked = needs(tmp_path, {"cpus": 4, "memory": 2.0}, {}, threads=2)
    assert (asked.cpus, asked.threads, asked.in_words()) == (4, 4, "4 CPUs, 2 GB")


def test_gpus_go_to_runs_that_may_use_them(tmp_path: Path) -> None:
    assert needs(tmp_path, {}, {"device": "auto"}).on(has_gpus=True).gpus == 1
    assert needs(tmp_path, {}, {"device": "auto"}).on(has_gpus=False).gpus == 0
    assert needs(tmp_path, {}, {"device": "cpu"}).on(has_gpus=True).gpus == 0
    assert needs(tmp_path, {"gpus": 0.25}, {"device": "cuda"}).on(has_gpus=True).gpus == 0.25
    with pytest.raises(UsageError, match=r"device: cuda:1 names one GPU of this machine, .*: write cuda"):
        needs(tmp_path, {}, {"device": "cuda:1"})


def test_room_is_counted_machine_by_machine(tmp_path: Path) -> None:
    two = needs(tmp_path, {"cpus": 2}, {"device": "cpu"})
    assert [two.fit_into({"CPU": count}) for count in (0.0, 1.0, 3.0, 4.0)] == [0, 0, 1, 2]
    assert two.fit_into({"memory": 1e9}) == 0
    quarter = needs(tmp_path, {"gpus": 0.25}, {})
    assert quarter.fit_into({"CPU": 16.0, "GPU": 1.0}) == 4


# ----------------------------------------------------------------------------------------------- the folder


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts back what an errand changes in a process: environment, working directory, module path."""
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.setattr("nnopt.scale.errand.SECONDS_TO_APPEAR", 0.5)
    for name in (WORKER, "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(".")


@pytest.mark.usefixtures("own_process")
def test_a_worker_sees_whether_it_has_the_same_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNOPT_DATA_DIR", "over/there")
    token = Token(tmp_path / "runs")
    errand = Errand.of(token)
    monkeypatch.delenv("NNOPT_DATA_DIR")
    errand.settle()
    assert os.environ["NNOPT_DATA_DIR"] == "over/there"
    token.remove()
    host = platform.node()
    with pytest.raises(RunsFolderError, match=f"the runs folder .* of {host} is not the same folder on {host}"):
        errand.settle()
    gone = replace(errand, surroundings=replace(errand.surroundings, folder=str(tmp_path / "gone")))
    with pytest.raises(RunsFolderError, match=f"the working directory .*gone of {host} is not on {host}"):
        gone.settle()
    other = replace(errand, version="0.0.1")
    with pytest.raises(UsageError, match=r"has nnopt .*, and .* has 0\.0\.1: install the same"):
        other.settle()


def test_a_holder_that_is_lost_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path, {})
    (record,) = fit(tmp_path)
    summary = {**summary_of(record.folder), "status": "running"}
    (record.folder / "summary.json").write_text(json.dumps(summary))
    monkeypatch.setenv(WORKER, "w1")
    with RunLock(record.folder):
        holder = json.loads((record.folder / HOLDER).read_text())
    (record.folder / HOLDER).write_text(json.dumps({**holder, "host": "another"}))
    assert read_run(record.folder).status == "running", "one on another machine is believed"
    with RunLock(tmp_path):  # stands for a lock that a file system keeps for a machine that is gone
        os.replace(tmp_path / LOCK, record.folder / LOCK)
        (record.folder / HOLDER).write_text(json.dumps({**holder, "host": "another"}))
        forget_holder(record.folder, "w2")
        assert (record.folder / HOLDER).exists(), "that of another worker is left alone"
        forget_holder(record.folder, "w1")
        assert read_run(record.folder).status == "interrupted"
        (again,) = train_runs(plan, Options(tmp_path / "runs"), Told())
        assert again.status == "done"


# ----------------------------------------------------------------------------------------------- bad input


@pytest.fixture
def web_server() -> Iterator[int]:
    """The port of something that is no Ray."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


Cli = Callable[..., Ended]


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("ray:127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9 (Connection refused): start it there with"),
        ("ray:nowhere", "nowhere is no address of a Ray cluster: write host:port, such as 10.0.0.5:6379, or auto"),
        ("ray:auto", "no Ray runs on this machine: `ray start --head` begins a cluster, ray:host:port names another"),
        ("slurm", "--on slurm: there is no sbatch here; start nnopt where jobs are submitted from"),
        ("slurm:there", "--on slurm:there: there are slurm, and slurm:local for processes of this machine"),
        ("rey", "--on rey: nothing is called rey; did you mean 'ray'?"),
    ],
)
def test_what_is_not_there_is_one_line(
    cli: Cli, write_spec: Callable[..., Path], where: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = cli("train", write_spec(), "--on", where, code=2)
    (line,) = ended.errors
    assert text in line
    assert not (tmp_path / "runs" / "small").exists()


def test_a_server_that_is_no_ray_is_told_at_once(cli: Cli, write_spec: Callable[..., Path], web_server: int) -> None:
    ended = cli("train", write_spec(), "--on", f"ray:127.0.0.1:{web_server}", code=2)
    assert ended.errors[0].startswith(f"error: what answers at 127.0.0.1:{web_server} is no Ray cluster: start it")


@pytest.mark.parametrize(("kind", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_names_the_line_that_adds_it(
    cli: Cli, write_spec: Callable[..., Path], kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnopt.scale.on.importlib.util.find_spec", lambda name: None)
    ended = cli("train", write_spec(), "--on", kind, code=2)
    assert ended.errors == [f"error: --on {kind}: {module} is not installed here: pip install 'nnopt[{kind}]'"]


def test_options_of_the_cluster_are_checked(cli: Cli, write_spec: Callable[..., Path]) -> None:
    for key, text in (
        ("cluster.huors=2", "unknown key 'huors'; did you mean 'hours'?"),
        ("cluster.extra={--constraint: a100}", "is no long option of sbatch: write constraint for --constraint"),
        ("cluster={gpus: -1}", "should be at least 0, not -1"),
    ):
        assert text in cli("check", write_spec(), key, code=2).stderr


@pytest.mark.parametrize("module", ["nnopt.scale.ray.worker", "nnopt.scale.slurm.job"])
def test_a_worker_elsewhere_knows_its_surroundings_before_it_loads_torch(module: str) -> None:
    """Torch reads some environment variables as it is loaded."""
    code = f"import sys, {module}; print([name for name in ('torch', 'numpy', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_process_has_one_ray_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.RayConnection, "_connect", lambda self: None)
    monkeypatch.setattr(connection, "_begun", None)
    first = connection.begin("", 2)
    assert connection.begin("", 2) is first  # what the command line began, the agency finds
    other = connection.begin("10.0.0.5:6379", 2)
    assert first.is_over
    assert not other.is_over
    other.end()
    last = connection.begin("10.0.0.5:6379", 2)
    assert last is not other
    last.end()
    last.join()
