"""Runs whose samples change: the same bits after a stop, teachers that see what is seen, and evaluations by copies."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import Ended
from PIL import Image
from running import (
    CACHE,
    StopAfter,
    assert_equal,
    assert_same_bits,
    fit,
    fit_one,
    open_session,
    plan_of,
    prepare,
    weights_of,
)
from torch import Tensor

from nnopt.compare.pictures.batch import Shown, in_lines, plot_batches
from nnopt.data.batches import Position
from nnopt.data.dataset import Part
from nnopt.errors import Interrupted
from nnopt.randomness import derive
from nnopt.train import first_batch
from nnopt.train.first_batch import target_in_words
from nnopt.train.judging import evaluate_part
from nnopt.train.loop import train
from nnopt.train.setup import build
from nnopt.train.teachers import teach

TURNED: list[dict[str, Any]] = [{"kind": "rotation"}, {"kind": "scaling"}, {"kind": "crop", "padding": 1}]
MIXED: list[dict[str, Any]] = [*TURNED, {"kind": "mixup", "alpha": 1.0}, {"kind": "cutmix"}, {"kind": "randaugment"}]


def augmented(*changes: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"data": {"augment": list(changes)}, **keys}


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    changes = augmented(
        *MIXED,
        strategy={"batch_size": 64, "accumulate": 3},
        evaluation={"every": {"steps": 7}, "test_time": 2},
        budget={"steps": 24},
    )
    whole = fit_one(tmp_path, changes)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    with pytest.raises(Interrupted):
        fit(stopped, changes, StopAfter(1))
    assert_same_bits(whole.folder, fit_one(stopped, changes).folder)


def test_every_epoch_and_seed_sees_other_changes_and_a_resume_the_same(tmp_path: Path) -> None:
    _, setup, _ = prepare(tmp_path, augmented(*MIXED))
    _, again, _ = prepare(tmp_path, augmented(*MIXED))
    rows = torch.arange(10)
    inputs = [setup.feed.of(rows, Position(epoch, offset)).inputs for epoch in range(2) for offset in (0, 64)]
    for index, one in enumerate(inputs):
        assert not any(torch.equal(one, other) for other in inputs[:index])
    assert torch.equal(inputs[3], again.feed.of(rows, Position(1, 64)).inputs)
    again.feed.seed = 1
    assert not torch.equal(inputs[3], again.feed.of(rows, Position(1, 64)).inputs)
    assert not setup.feed.unchanging


def test_evaluations_see_the_samples_as_they_are(tmp_path: Path) -> None:
    _, setup, state = prepare(tmp_path, augmented(*MIXED))
    _, plain, same = prepare(tmp_path)
    assert_equal(dict(state.model.state_dict()), dict(same.model.state_dict()))
    for part in ("validation", "test"):
        assert evaluate_part(setup, state, part).values == evaluate_part(plain, same, part).values


def test_a_search_along_a_line_sees_one_draw_an_update(tmp_path: Path) -> None:
    session = open_session(
        tmp_path, augmented(*TURNED, optimizer={"kind": "lbfgs", "lr": 0.5, "max_iter": 4}, budget={"steps": 3})
    )
    feed, draws = session.setup.feed, 0
    change = feed.augment
    assert change is not None

    def counted(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        nonlocal draws
        draws += 1
        return change(inputs, targets, generator)

    feed.augment = counted
    train(session)
    assert draws == 3
    assert session.state.progress.gradient_evaluations > 3


def test_judged_is_the_mean_over_copies_that_every_evaluation_draws_alike(tmp_path: Path) -> None:
    keys = {"test_time": 3, "batch_size": 100, "metrics": ["accuracy", "top2_accuracy"]}
    _, setup, state = prepare(tmp_path, augmented(*MIXED, evaluation=keys))
    found = evaluate_part(setup, state, "validation").values
    assert found == evaluate_part(setup, state, "validation").values
    part = setup.data.validation
    assert isinstance(part, Part)
    assert setup.test_time is not None
    state.model.eval()
    probabilities = []
    with torch.no_grad():
        for chunk, (inputs, targets) in enumerate(part.chunks(100)):
            copies = [inputs]
            for copy in range(3):
                generator = torch.Generator().manual_seed(derive(0, "test-time", chunk, copy))
                copies.append(setup.test_time.change(inputs, targets, generator)[0])
            assert all(not torch.equal(inputs, one) for one in copies[1:])
            probabilities.append(torch.stack([F.softmax(state.model(one), 1) for one in copies]).mean(0))
    mean = torch.cat(probabilities)
    assert found["loss"] == pytest.approx(float(F.nll_loss(mean.log(), part.targets)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((mean.argmax(1) == part.targets).float().mean()))


@pytest.mark.parametrize("changes", [[], [{"kind": "mixup"}]])
def test_copies_without_a_change_that_draws_them_are_refused(
    changes: list[dict[str, Any]], cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    ended = cli("check", write_spec(augmented(*changes, evaluation={"test_time": 2})), code=2)
    (line,) = ended.errors
    assert "evaluation.test_time" in line
    assert "data.augment" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "rotatoin"}, "rotation"),
        ({"kind": "scaling", "smallest": 1.2}, "smallest (1.2) should not be above largest (1.1)"),
        ({"kind": "colour_jitter"}, "should change something"),
        ({"kind": "colour_jitter", "saturation": 0.5}, "3 channels; this data gives 1x8x8 images"),
        ({"kind": "cutout"}, "size"),
        ({"kind": "token_masking"}, "token_masking changes texts; this data gives 1x8x8 images"),
    ],
)
def test_a_wrong_change_is_one_line(
    change: dict[str, Any], words: str, cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    (line,) = cli("train", write_spec(augmented(change)), code=2).errors
    assert words in line
    assert "augment" in line


# ------------------------------------------------------------------------------------------------- teachers


def test_teachers_answer_what_the_student_sees(tmp_path: Path) -> None:
    learns = {
        "teachers": [{"run": "big/seed-{seed}"}, {"run": "other/seed-{seed}"}],
        "weight": 0.7,
        "temperature": 3.0,
    }
    variants = {
        "student": {**augmented(*MIXED), "structure": {"distill": learns}, "strategy": {"accumulate": 2}},
        "big": {"model": {"hidden": [32]}},
        "other": {"model": {"hidden": [24]}, **augmented(*TURNED)},
    }
    changes = {"variants": variants, "budget": {"epochs": 1}}
    records = {record.name.split("/")[1]: record for record in fit(tmp_path, changes)}
    assert [record.status for record in records.values()] == ["done"] * 3

    (run,) = [run for run in plan_of(tmp_path, changes).runs if run.variant == "student"]
    setup, state = build(run, CACHE)
    teach(run, setup, state, tmp_path / "runs", CACHE)
    batch = setup.feed.take(Position(1, 0), 64)
    setup.backward.begin(batch, norm_wanted=False)
    setup.backward()

    def answers(name: str, width: int) -> Tensor:
        weights = weights_of(records[name].folder, "best.pt")
        linear = [weights[key] for key in weights]
        assert linear[0].shape[0] == width
        hidden = F.relu(batch.inputs.flatten(1) @ linear[0].T + linear[1])
        return F.softmax((hidden @ linear[2].T + linear[3]) / 3, 1)

    taught = (answers("big", 32) + answers("other", 24)) / 2
    outputs = state.model(batch.inputs)
    distance = 9 * F.kl_div(F.log_softmax(outputs / 3, 1), taught, reduction="batchmean")
    objective = 0.3 * -(batch.targets * F.log_softmax(outputs, 1)).sum(1).mean() + 0.7 * distance
    wanted = torch.autograd.grad(objective, list(state.model.parameters()))
    found = dict(setup.parameters.named(setup.parameters.gradients))
    for (name, _), gradient in zip(state.model.named_parameters(), wanted, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


# --------------------------------------------------------------------------------------------- check --batch


@pytest.mark.usefixtures("undrawn")
def test_check_shows_a_batch_of_every_variant_those_alike_once(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Shown] = []
    monkeypatch.setattr(first_batch, "plot_batches", lambda batches, path: (seen.extend(batches), plot(batches, path)))
    plot = plot_batches
    variants = {"plain": {}, "other_rate": {"optimizer": {"lr": 1.0}}, "mixed": augmented(*MIXED)}
    ended = cli("check", write_spec({"variants": variants}), "--batch")
    assert "written: small-batch.png" in ended.stdout
    assert (runs.parent / "small-batch.png").exists()
    assert not runs.exists()
    assert [shown.name for shown in seen] == ["plain, other_rate", "mixed"]
    plain, mixed = seen
    np.testing.assert_array_equal(plain.before, plain.after)
    np.testing.assert_array_equal(plain.before, mixed.before)
    assert not (mixed.before == mixed.after).all((1, 2)).any()
    assert mixed.before.shape == (8, 8, 8)
    assert (mixed.after.min(), mixed.after.max()) >= (0, 0)
    assert plain.said_before == plain.said_after == mixed.said_before
    assert all(re.fullmatch(r"\d( [01].\d\d)?(, \d 0.\d\d)*", words) for words in mixed.said_after)
    assert any("," in words for words in mixed.said_after)


def test_a_picture_of_batches_has_two_lines_for_each(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 4, 3))
    shown = Shown("dark", images, images + 1, ["a", "b"], ["a 0.50, b 0.50", "a, b, c, d"])
    plot_batches([shown, shown], tmp_path / "batch.png")
    with Image.open(tmp_path / "batch.png") as picture:
        levels = np.asarray(picture.convert("L"))
    assert levels.shape[0] == 720
    is_dark = (levels < 3).sum(1) > 100
    assert (is_dark[1:] & ~is_dark[:-1]).sum() == 2
    assert in_lines("a, b, c, d") == "a\nb\n…"
    assert in_lines("a very long name of a class 0.50") == "a very long name …"


@pytest.mark.usefixtures("undrawn")
def test_rows_of_a_table_are_printed_as_they_are_and_as_seen(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = write_spec(augmented({"kind": "noise"}) | {"data": {"kind": "wine", "augment": [{"kind": "noise"}]}})
    lines = cli("check", spec, "--batch").stdout.splitlines()
    start = lines.index("first samples of sgd:")
    for row in range(8):
        head, before, after = lines[start + 1 + 3 * row : start + 4 + 3 * row]
        assert re.fullmatch(r"  row \d+", head)
        assert before.startswith("    as it is ")
        assert after.startswith("    as seen  ")
        numbers = [
            [float(word) for word in line.split("...")[0].split()[3 if line is before else 2 :]]
            for line in (before, after)
        ]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.6)
        assert numbers[0] != numbers[1]
        assert before.endswith(("class_0", "class_1", "class_2"))
    assert not list(tmp_path.glob("*.png"))
    (line,) = cli("check", spec, "--batch", "--no-build", code=2).errors
    assert "--no-build" in line


def test_targets_are_told_in_words(tmp_path: Path) -> None:
    _, setup, _ = prepare(tmp_path)
    assert target_in_words(torch.tensor(3), setup.data) == "3"
    shares = torch.zeros(10)
    shares[[2, 7]] = torch.tensor([0.25, 0.75])
    assert target_in_words(shares, setup.data) == "7 0.75, 2 0.25"
    _, setup, _ = prepare(tmp_path, {"data": {"kind": "diabetes"}, "loss": {"kind": "mse"}})
    _, targets = setup.data.train.gather(torch.arange(1))
    assert 25 <= float(target_in_words(targets[0], setup.data)) <= 346  # as Efron et al. have them
