"""What is shown of a sweep while it runs: its trials are counted, and many short runs share few bars."""

from __future__ import annotations

import sys

import pytest

from nnopt.cli.progress import Bars, Lines, Watcher, watcher
from nnopt.train.listener import Moment


def sweep(watch: Watcher) -> None:
    """Two variants of two trials each, two runs a trial but one that is pruned; then a winner's run."""
    watch.more(4)
    for number in (0, 1):
        for variant in ("a", "longer"):
            trial = f"small/{variant}/trial-{number}"
            for seed in (0, 1):
                watch.started(f"{trial}/seed-{seed}", 0)
                watch.moment(f"{trial}/seed-{seed}", Moment(10, 0.5, 1.25, 0.1, 20_000.0))
                status = "pruned" if number else "done"
                watch.ended(f"{trial}/seed-{seed}", status, "")
                if status == "pruned":
                    break
            watch.trial(trial, "val_accuracy 0.5; best 0.97 (trial 0)")
    watch.more(2)
    watch.skipped("small/a/seed-1", "done")
    watch.started("small/a/seed-2", 0)
    watch.ended("small/a/seed-2", "done", "")


def test_a_line_a_trial(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(Lines(0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" in ")[0] for line in lines] == [
        "[1/4] small/a/trial-0: val_accuracy 0.5; best 0.97 (trial 0)",
        "[2/4] small/longer/trial-0: val_accuracy 0.5; best 0.97 (trial 0)",
        "[3/4] small/a/trial-1: val_accuracy 0.5; best 0.97 (trial 0)",
        "[4/4] small/longer/trial-1: val_accuracy 0.5; best 0.97 (trial 0)",
        "[5/6] small/a/seed-1: done before, skipped",
        "[6/6] small/a/seed-2: done",
    ]


def test_a_bar_for_each_run_in_hand_and_none_that_comes_and_goes(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Bars(0, "trials")
    with watch:
        sweep(watch)
        tasks = watch.bars.tasks
        whole, *runs = tasks
        assert whole.description == "[bold]sweep, 6 of 6"
        assert (whole.completed, whole.total) == (6, 6)
        assert whole.fields["numbers"] == "longer: val_accuracy 0.5; best 0.97 (trial 0)"
        assert [task.description for task in runs] == ["a/seed-2".ljust(len("longer/trial-1/seed-0"))]
        for label in ("small/a/seed-3", "small/longer/seed-3"):
            watch.started(label, 0)
        assert len(watch.bars.tasks) == 3, "two at a time have two bars"
        watch.moment("small/a/seed-3", Moment(10, 0.5, 1.25, 0.1, 20_000.0))
        assert [task.completed for task in watch.bars.tasks[1:]] == [0.5, 0]


@pytest.mark.parametrize("make", [lambda: Watcher(), lambda: Lines(1), lambda: Bars(1, "trials")])
def test_only_what_went_wrong_with_a_trial_is_told_of(make: object, capsys: pytest.CaptureFixture[str]) -> None:
    watch = make()  # type: ignore[operator]
    for status in ("done", "pruned", "diverged", "failed"):
        watch.started(f"small/a/trial-{status}/seed-0", 0)
        watch.ended(f"small/a/trial-{status}/seed-0", status, "a reason")
    assert capsys.readouterr().err.splitlines() == ["small/a/trial-failed/seed-0: failed (a reason)"]


def test_which_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(watcher(3, quiet=True)) is Watcher
    assert isinstance(watcher(3, quiet=False), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(found := watcher(3, quiet=False), Bars)
    assert found.bars.tasks[0].description == "[bold]3 runs"
