"""A user's mistake is one line and exit code 2, and leaves nothing behind: through the real command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import SMALL, Ended

DEEP = "[" * 5_000
SWOLLEN = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
# Each list is 48 deep and holds the one before.
DEEP_BY_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} {'[' * 48}*a{i - 1}{']' * 48}\n" for i in range(1, 25))
A_VARIANT = {"variants": {"../x": {}}}
CNN = {"kind": "cnn", "blocks": [{"channels": 4, "pool": "max"}] * 4}

# What is mistaken: the file (a text, or keys merged over a good one), overrides, and what the one line says.
MISTAKES: dict[str, tuple[str | bytes | dict[str, Any], list[str], str]] = {
    # the file
    "empty file": ("", [], "spec.yaml: the file is empty; `nnopt init` writes one"),
    "only a comment": ("# nothing\n", [], "spec.yaml: the file is empty"),
    "no YAML": ("name: [1, 2\nb: 3\n", [], "spec.yaml:2: not YAML: expected ',' or ']', but got ':'"),
    "indented by a tab": ("data:\n\tkind: digits\n", [], "spec.yaml:2: not YAML: .* (indent with spaces)"),
    "bytes": (b"\xff\xfe\x00", [], "spec.yaml: not UTF-8 text (byte 0)"),
    "a list": ("- a\n- b\n", [], "spec.yaml:1: a spec is a mapping of keys such as `name: ...`, but this is a list"),
    "one word": ("hello\n", [], "but this is the single value 'hello'"),
    "two documents": ("name: a\n---\nname: b\n", [], "spec.yaml:2: a second document begins here"),
    "nested deep": (f"name: {DEEP}", [], "spec.yaml:1: nested more than 50 deep"),
    "nested deep by aliases": (DEEP_BY_ALIASES, [], "spec.yaml:3: nested more than 50 deep"),
    "swollen by aliases": (SWOLLEN, [], "more than 20,000 values once aliases are written out"),
    "an alias of itself": ("name: &a [*a]\n", [], "spec.yaml:1: the alias *a contains itself"),
    "a Python object": ("name: !!python/object/apply:os.mkdir [made]\n", [], "spec.yaml:1: the tag !!python/object"),
    "a Python name": ("name: !!python/name:os.system\n", [], "the tag !!python/name:os.system builds nothing here"),
    # keys
    "doubled key": ("name: a\nseeds: 1\nname: b\n", [], "spec.yaml:3: the key 'name' is written twice (first on"),
    "misspelt key": ({"optimiser": {"kind": "sgd"}}, [], "unknown key 'optimiser'; did you mean 'optimizer'?"),
    "misspelt key below": ({"strategy": {"batchsize": 3}}, [], "strategy.batchsize: .* did you mean 'batch_size'?"),
    "misspelt required key": ({"optimizer": {"kind": "adam", "l_r": 3}}, [], "unknown key 'l_r'; did you mean 'lr'?"),
    "key of another kind": ({"optimizer": {"beta": 0.9}}, [], "optimizer.beta: unknown key 'beta'; the keys of sgd"),
    "misspelt kind": ({"optimizer": {"kind": "sdg", "lr": 1}}, [], "no optimizer is called 'sdg'; did you mean 'sgd'?"),
    "no kind": ({"optimizer": None}, ["optimizer.lr=1"], "optimizer: the key 'kind' is missing; known: gd, sgd,"),
    "no model": ({"model": None}, [], "spec.yaml:1: model: this key is missing"),
    "no budget": ({"budget": None}, [], "spec.yaml:1: budget: this key is missing"),
    "two budgets": ({"budget": {"epochs": 1, "steps": 2}}, [], "exactly one of epochs, steps, seconds, not both"),
    # values
    "text for a number": ({"optimizer": {"lr": "fast"}}, [], "optimizer.lr: should be a number, not the text 'fast'"),
    "truth for a number": ({"optimizer": {"lr": True}}, [], "should be a number, not the truth value true"),
    "number for a list": ({"model": {"hidden": 3}}, [], "model.hidden: should be a list such as [1, 2], not 3"),
    "number for a mapping": ({"strategy": 3}, [], "strategy: should be a mapping of keys, not 3"),
    "half a sample": ({"strategy": {"batch_size": 1.5}}, [], "strategy.batch_size: should be a whole number from 1"),
    "negative rate": ({"optimizer": {"lr": -0.1}}, [], "optimizer.lr: should be greater than 0, not -0.1"),
    "beta of 1": ({}, ["optimizer={kind: momentum, lr: 0.1, beta: 1}"], "optimizer.beta: should be less than 1, not 1"),
    "beta2 above 1": ({}, ["optimizer={kind: adam, lr: 0.1, beta2: 1.5}"], "beta2: should be less than 1, not 1.5"),
    "zero epochs": ({"budget": {"epochs": 0}}, [], "budget.epochs: should be greater than 0, not 0"),
    "half an epoch": ({"budget": {"epochs": 0.5}}, [], "budget.epochs: should be a whole number, not 0.5"),
    "not a number": ({}, ["optimizer.lr=.nan"], ".nan is no value"),
    "infinity": ({}, ["optimizer.lr=.inf"], ".inf is no value"),
    "not a number in the file": ("optimizer: {lr: .NaN}\n", [], "spec.yaml:1: .NaN is no value; leave the key out"),
    "larger than numbers": ({}, ["optimizer.lr=1e999"], "1e999 is too large for a number"),
    "more digits than a number has": ({}, ["budget.epochs=" + "9" * 400], "a number of more than 250 digits"),
    "more threads than can be": ({}, ["strategy.threads=100000"], "a whole number from 1 to 1024, or auto, not 100000"),
    "more layers than can be": ({}, ["model={kind: resnet, depth: 60002}"], "model.depth: should be at most 1202"),
    "more than fp32 holds": ({"loss": {"l2": 1e300}}, [], "loss.l2: should be less than 1e+38, not 1e+300"),
    # the batch
    "batch larger than the data": ({"strategy": {"batch_size": 5000}}, [], "5000 is more than the 1222 training"),
    "batch that grows beyond the data": (
        {"strategy": {"batch_size": {"start": 512, "factor": 4, "at": [0.5]}}},
        [],
        "2048 is more than the 1222 training samples",
    ),
    "empty parts": ({"strategy": {"accumulate": 65}}, [], "strategy.accumulate: 65 parts of 64 samples are empty"),
    "batch norm of one": (
        {"model": {"norm": "batch"}, "strategy": {"batch_size": 37}},
        [],
        "37 of 1222 samples leaves a batch with one sample alone, which batch norm cannot train on",
    ),
    "gd on batches": ({}, ["optimizer={kind: gd, lr: 1}"], "strategy.batch_size: optimizer gd follows the gradient of"),
    # metrics and targets
    "no such metric": ({"evaluation": {"metrics": ["acuracy"]}}, [], "evaluation.metrics.0: .* mean 'accuracy'?"),
    "metric of another task": ({"evaluation": {"metrics": ["r2"]}}, [], "metric 'r2' is for regression, and this data"),
    "more classes than there are": ({"evaluation": {"metrics": ["top10_accuracy"]}}, [], "the data has 10 classes"),
    "no such column": ({"evaluation": {"select": "val_acuracy"}}, [], "evaluation.select: .* mean 'accuracy'?"),
    "column of test data": ({"evaluation": {"select": "test_accuracy"}}, [], "at no evaluation: take val_accuracy"),
    "column of training data": (
        {"evaluation": {"target": {"metric": "train_accuracy", "value": 0.5}}},
        [],
        "evaluation.target.metric: 'train_accuracy' is measured at no evaluation: take val_accuracy, or one of",
    ),
    "target in percent": (
        {"evaluation": {"target": {"metric": "val_accuracy", "value": 97}}},
        [],
        "evaluation.target.value: .* so 97 cannot be reached; for 97 % write 0.97",
    ),
    "target below every loss": (
        {"evaluation": {"target": {"metric": "val_loss", "value": -1}}},
        [],
        "val_loss is at least 0, so -1 cannot be reached",
    ),
    # what does not fit together
    "cnn on features": ({"data": {"kind": "wine"}, "model": {"kind": "cnn"}}, [], "data gives 13 features"),
    "lenet on small images": ({"model": {"kind": "lenet"}}, [], "at least 28x28 pixels; data gives 1x8x8 images"),
    "too many poolings": ({"model": CNN}, [], "model cnn: block 4 pools an image that is 1 pixel wide or high"),
    "cross-entropy on real values": ({"data": {"kind": "diabetes"}}, [], "this data has real-valued targets: use mse"),
    "weights of other classes": ({"loss": {"class_weights": [1, 2]}}, [], "has 2 class_weights; the data has 10"),
    "no row left": ({"data": {"test": 1797}}, [], "data.test: 1797 of 1797 rows leaves none to train on"),
    # seeds and names
    "equal seeds": ({"seeds": [1, 2, 1]}, [], "seeds: the seed 1 is given twice; each seed is one run"),
    "negative seed": ({"seeds": [-1]}, [], "seeds: a seed should be a whole number from 0, not -1"),
    "no seed": ({"seeds": []}, [], "seeds: should be a count or a list of whole numbers, not an empty list"),
    "zero seeds": ({"seeds": 0}, [], "seeds: should be a count from 1 to 10000, not 0"),
    "no name": ({"name": None}, [], "spec.yaml:1: name: this key is missing"),
    "empty name": ({"name": ""}, [], "a name is made of at most 100 letters, digits, . _ -"),
    "name with a slash": ({"name": "a/b"}, [], "a name is made of .* not the text 'a/b'"),
    "name that climbs": ({"name": "../x"}, [], "a name is made of .* not the text '../x'"),
    "name of 101 letters": ({"name": "a" * 101}, [], "a name is made of at most 100 letters"),
    "name of a file": ({"name": "comparison.csv"}, [], "as nnopt writes a file of that name"),
    "number for a name": ({"name": 3}, [], "name: should be text (in quotes"),
    "variant that climbs": (A_VARIANT, [], "variants: a variant's name is made of .* not the text '../x'"),
    "variants that share a folder": ({"variants": {"a": {}, "A": {}}}, [], "would share a folder on some disks"),
    "no variant": ({"variants": {}}, [], "variants: names none; leave the key out"),
    # devices
    "fp16 on a CPU": ({"device": "cpu", "strategy": {"precision": "fp16"}}, [], "fp16 needs an accelerator"),
    "no such device": ({"device": "cuda:77"}, [], "device cuda:77 is not there; this machine has .*cpu"),
    "a device's wrong name": ({"device": "GPU"}, [], "device: should be auto, or a device such as cpu, cuda, cuda:1"),
    # overrides
    "override without a value": ({}, ["optimizer.lr"], "'optimizer.lr' should be KEY=VALUE, such as optimizer.lr=0.01"),
    "override that is no YAML": ({}, ["optimizer.lr=["], "command line (optimizer.lr=[): not YAML"),
    "override of no key": ({}, ["optimzer.lr=1"], "(optimzer.lr=1): unknown key 'optimzer'; did you mean 'optimizer'?"),
    "override of no variant": ({}, ["variants.adam.optimizer.lr=1"], "no variant is called 'adam'; there are sgd"),
    # parts of others
    "no such package": ({}, ["optimizer={kind: 'no.such:Part'}"], "cannot import no.such:Part (ModuleNotFoundError"),
    "no such part": ({}, ["optimizer={kind: 'json:Part'}"], "cannot import json:Part (AttributeError"),
    "no part at all": ({}, ["optimizer={kind: 'json:JSONDecoder'}"], "json:JSONDecoder is no optimizer: it should be"),
}  # fmt: skip


def pattern(words: str) -> str:
    """`.*` stands for anything, all else for itself."""
    return ".*".join(re.escape(part) for part in words.split(".*"))


def assert_one_line(ended: Ended, words: str, runs: Path) -> None:
    """One error in words, no traceback, nothing on stdout, and no runs folder."""
    assert ended.stdout == ""
    assert len(ended.errors) == 1, ended.stderr
    assert ended.errors[0].startswith("error: ")
    assert re.search(pattern(words), ended.errors[0]), ended.errors[0]
    assert "fault in nnopt" not in ended.stderr
    assert not runs.exists()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    mistake: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    file, overrides, words = MISTAKES[mistake]
    ended = cli("train", write_spec(file), *overrides, code=2)
    assert_one_line(ended, words, runs)
    assert not Path("made").exists()  # what the YAML with a Python object would have done


@pytest.mark.parametrize("mistake", ["empty file", "negative rate", "batch larger than the data", "no such device"])
def test_check_refuses_what_train_refuses(
    mistake: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    file, overrides, words = MISTAKES[mistake]
    ended = cli("check", write_spec(file), *overrides, code=2)
    assert re.search(pattern(words), ended.errors[-1])
    assert len(ended.errors) == 1
    assert not runs.exists()


def test_a_real_process_ends_the_same_way(
    program: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    ended = program("train", write_spec({"optimizer": {"lr": -1}}), code=2)
    assert_one_line(ended, "optimizer.lr: should be greater than 0, not -1", runs)
    ended = program("train", write_spec({"model": {"kind": "lenet"}}), code=2)
    assert_one_line(ended, "data gives 1x8x8 images", runs)


def test_a_file_that_is_not_there(cli: Callable[..., Ended], runs: Path) -> None:
    assert_one_line(cli("train", "nowhere.yaml", code=2), "nowhere.yaml: there is no such file", runs)


def test_a_folder_is_no_file(cli: Callable[..., Ended], runs: Path, tmp_path: Path) -> None:
    assert_one_line(cli("train", tmp_path, code=2), "cannot be read: Is a directory", runs)


def test_a_file_of_a_megabyte_is_no_spec(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    assert_one_line(cli("train", write_spec("# long\n" * 200_000), code=2), "larger than 1,000,000 bytes", runs)


def test_several_mistakes_are_told_at_once(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    changes = {"optimizer": {"lr": -1, "momentum": 2}, "budget": {"epochs": 0}, "seeds": [-1]}
    ended = cli("train", write_spec(changes), code=2)
    assert len(ended.errors) == 4
    assert not runs.exists()


def test_five_mistakes_are_shown_and_the_others_counted(
    cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    changes = {
        "optimizer": {"lr": -1, "momentum": 2, "nesterov": 3},
        "model": {"hidden": [0], "dropout": 1},
        "budget": {"epochs": 0},
        "seeds": [-1],
    }
    ended = cli("train", write_spec(changes), code=2)
    assert len(ended.errors) == 6
    assert ended.errors[-1] == "and 2 more"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_a_device_that_is_not_there_names_those_that_are(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    ended = cli("train", write_spec({"device": "cuda"}), code=2)
    assert_one_line(ended, "device cuda is not there; this machine has cpu", runs)


def test_a_damaged_data_file_is_named(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(b"damaged")
    spec = write_spec({"data": {"kind": "mnist", "root": str(tmp_path / "data")}})
    assert_one_line(cli("train", spec, code=2), "train-images-idx3-ubyte.gz", runs)


@pytest.mark.parametrize("below", [".", "runs"])
def test_a_runs_folder_that_cannot_be(
    below: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], tmp_path: Path, runs: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = cli("train", write_spec(), "--runs-dir", Path("file") / below, code=2)
    assert_one_line(ended, "file", runs)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_folder_without_permission(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    runs.mkdir(mode=0o500)
    ended = cli("train", write_spec(), code=2)
    assert len(ended.errors) == 1
    assert "cannot be written: check its permissions" in ended.stderr
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "eval", "compare", "list"])
def test_a_run_outside_the_runs_folder_is_not_reached(command: str, cli: Callable[..., Ended], runs: Path) -> None:
    runs.mkdir()
    ended = cli(command, "../secret", code=2)
    assert ended.errors == [
        f"error: ../secret: a RUN lies below the runs folder ({runs}); for another one give --runs-dir"
    ]


@pytest.mark.parametrize("command", ["show", "eval", "compare", "list"])
def test_a_run_that_is_not_there(command: str, cli: Callable[..., Ended], runs: Path) -> None:
    assert f"there is no runs folder {runs}" in cli(command, "adam", code=2).stderr
    runs.mkdir()
    ended = cli(command, "adam", code=2)
    assert ended.errors == [f"error: no run below {runs} is called 'adam'; `nnopt list` shows what there is"]


def test_a_folder_made_from_another_spec_is_left_alone(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cli("train", write_spec(), "--quiet")
    usual = runs / "small" / "sgd" / "seed-0"
    before = {path: path.read_bytes() for path in usual.rglob("*") if path.is_file()}
    cli("train", write_spec(), "optimizer.lr=0.2", "--quiet")
    assert {path: path.read_bytes() for path in usual.rglob("*") if path.is_file()} == before
    (other,) = (folder for folder in usual.parent.iterdir() if folder != usual)
    assert re.fullmatch("seed-0-[0-9a-f]{8}", other.name)


def test_the_good_spec_of_these_tests_is_good(cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    assert SMALL["optimizer"]["lr"] == 0.1
    cli("check", write_spec(), "--no-build")
