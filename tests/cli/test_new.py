"""`nnopt new optimizer`: what it writes works as it stands, and what it cannot write it says in a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import PATIENCE, SMALL, Ended

from nnopt.cli.new import class_name
from nnopt.examples import template

Look = Callable[..., Ended]
FILES = ["__init__.py", "compare.yaml", "rules.py", "test_rules.py"]


def tool(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python module as a program, in a folder."""
    words = (sys.executable, "-m", *words)
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_it_writes_a_package_under_its_name(cli: Look, tmp_path: Path) -> None:
    ended = cli("new", "optimizer", "slow_walk")
    assert "kind: slow_walk.rules:SlowWalk" in ended.stdout
    assert "nnopt parts optimizer slow_walk.rules:SlowWalk --check" in ended.stdout
    package = tmp_path / "slow_walk"
    assert sorted(path.name for path in package.iterdir()) == FILES == sorted(template("new_optimizer"))
    for path in package.iterdir():
        assert "my_rule" not in path.read_text()
        assert "MyRule" not in path.read_text()
    assert "class SlowWalk(OptimizerSpec)" in (package / "rules.py").read_text()


def test_what_it_writes_is_tidy(cli: Look, tmp_path: Path) -> None:
    cli("new", "optimizer", "walk")
    for words in (("check", "--select", "E,F,W,I,UP,B"), ("format", "--check")):
        done = tool(tmp_path, "ruff", *words[:1], "--isolated", "--line-length", "120", *words[1:], "walk")
        assert done.returncode == 0, done.stdout


def test_its_tests_pass_and_notice_another_rule(cli: Look, tmp_path: Path) -> None:
    cli("new", "optimizer", "slow_walk")
    done = tool(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "slow_walk")
    assert done.returncode == 0, done.stdout
    rules = tmp_path / "slow_walk" / "rules.py"
    text = rules.read_text()
    rules.write_text(text.replace("average.sign()", "average.sign() * 0.5"))
    assert rules.read_text() != text
    done = tool(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "slow_walk", "-k", "formula")
    assert done.returncode == 1, done.stdout


def test_its_comparison_trains(program: Look, runs: Path) -> None:
    program("new", "optimizer", "slow_walk")
    spec = runs.parent / "slow_walk" / "compare.yaml"
    assert list(yaml.safe_load(spec.read_text())["variants"]) == ["sgd", "adam", "slow_walk"]
    program("train", "slow_walk/compare.yaml", "seeds=1", "--quiet")
    found = {path.parts[-3]: json.loads(path.read_text()) for path in runs.glob("slow_walk/*/*/summary.json")}
    assert {name: one["status"] for name, one in found.items()} == dict.fromkeys(("sgd", "adam", "slow_walk"), "done")
    assert found["slow_walk"]["spec"]["optimizer"]["kind"] == "slow_walk.rules:SlowWalk"
    wrapped = {**SMALL, "optimizer": {"kind": "sam", "base": {"kind": "slow_walk.rules:SlowWalk", "lr": 0.005}}}
    (runs.parent / "wrapped.yaml").write_text(yaml.safe_dump(wrapped))
    program("train", "wrapped.yaml", "budget={steps: 3}", "--quiet")
    assert all(one["metrics"]["val_accuracy"]["last"] > 0.93 for one in found.values())


def test_it_is_checked_as_nnopts_own_are(program: Look) -> None:
    program("new", "optimizer", "walk", "--output", ".")
    outcomes = json.loads(program("parts", "optimizer", "walk.rules:Walk", "--check", "--json").stdout)
    assert outcomes
    assert [outcome for outcome in outcomes if outcome["status"] != "passed"] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my-rule", "take lower-case letters, digits and single underscores, a letter first, such as my_rule"),
        ("MyRule", "such as my_rule"),
        ("3x", "such as my_3x"),
        ("a b/c", "such as a_b_c"),
        ("../up", "such as up"),
        ("_", "such as my_rule"),
        ("class", "'class' is a word of Python itself: take another name, such as my_class"),
        ("adam", "optimizer adam is nnopt's own already: take another name, such as my_adam"),
        ("torch", "Python has a module called 'torch' already"),
        ("json", "Python has a module called 'json' already"),
        ("rule", "the class would be called Rule, as one that it needs: take my_rule"),
        ("optimizer", "the class would be called Optimizer, as one that it needs"),
    ],
)
def test_a_name_that_cannot_be_is_one_line(name: str, words: str, cli: Look, tmp_path: Path) -> None:
    (line,) = cli("new", "optimizer", name, code=2).errors
    assert words in line
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(cli: Look, tmp_path: Path) -> None:
    cli("new", "optimizer", "walk")
    rules = tmp_path / "walk" / "rules.py"
    rules.write_text("mine")
    (line,) = cli("new", "optimizer", "walk", code=2).errors
    assert "walk is there already; take another name, or another folder with --output" in line
    assert rules.read_text() == "mine"


def test_a_folder_that_cannot_take_it_is_one_line(cli: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = cli("new", "optimizer", "walk", "--output", "nowhere", code=2).errors
    assert "--output nowhere is no folder that is there" in line
    (line,) = cli("new", "optimiser", "walk", code=2).errors
    assert "writes no 'optimiser'; did you mean 'optimizer'?; it writes optimizer" in line
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    (line,) = cli("new", "optimizer", "walk", code=2).errors
    assert "no permission; give another with --output" in line

    def refused(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "mkdir", refused)
    (line,) = cli("new", "optimizer", "walk", code=2).errors
    assert "cannot make the folder walk: Read-only file system; give another with --output" in line


@pytest.mark.parametrize(("name", "wanted"), [("my_rule", "MyRule"), ("a", "A"), ("adam_2b", "Adam2b")])
def test_the_name_of_the_class(name: str, wanted: str) -> None:
    assert class_name(name) == wanted
