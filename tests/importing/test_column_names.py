"""Other tools' names as ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnopt.errors import UsageError
from nnopt.importing.columns import OWN, clean, map_columns, our_name, parse_renames
from nnopt.importing.naming import folder_name, identify, number_runs
from nnopt.importing.source import SourceRun
from nnopt.spec.experiment import check_name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("val/accuracy", "val_accuracy"),
        ("accuracy/val", "val_accuracy"),
        ("eval_loss", "val_loss"),
        ("validation_acc", "val_accuracy"),
        ("Loss/train", "train_loss"),
        ("dev f1_macro", "val_f1_macro"),
        ("test/top5_accuracy", "test_top5_accuracy"),
        ("validation/epoch_accuracy", "val_accuracy"),  # Keras
        ("train_loss_epoch", "train_loss"),  # Lightning
        ("train_loss_step", "train_loss_step"),
        ("train/learning_rate", "lr"),  # transformers
        ("train/epoch", "epoch"),
        ("train/global_step", "step"),  # its export from W&B
        ("eval/samples_per_second", "val_samples_per_second"),
        ("_step", "step"),
        ("_runtime", "train_seconds"),
        ("Wall time", "wall_seconds"),
        ("Step", "step"),
        ("loss", "loss"),
        ("train", "train"),
        ("evaluation_time (s), total", "val_time_s_total"),
        ("höhe/über", "höhe_über"),
        ("a,b\"c'\n d", "a_b_c_d"),
        ("///", "column"),
        *((name, name) for name in OWN),
        ("val_loss", "val_loss"),
        ("val_precision_class_3", "val_precision_class_3"),
    ],
)
def test_a_name_becomes_ours(theirs: str, ours: str) -> None:
    assert our_name(theirs) == ours


@given(st.text(max_size=40))
def test_every_name_can_stand_in_a_header_and_stays_what_it_is(name: str) -> None:
    ours = our_name(name)
    assert ours == clean(ours) != ""
    assert [ours] == ours.splitlines()
    assert "," not in ours


def test_two_names_that_become_one_are_refused() -> None:
    with pytest.raises(
        UsageError, match="'val_acc' and 'eval/accuracy' would both be val_accuracy: --rename 'eval/acc"
    ):
        map_columns(["val_acc", "eval/accuracy"], {})
    assert map_columns(["val_acc", "eval/accuracy"], {"val_acc": "other"})["val_acc"] == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "should be THEIRS=OURS"),
        ("=a", "should be THEIRS=OURS"),
        ("a=", "should be THEIRS=OURS"),
        ("a=b c", "'b_c' would do"),
    ],
)
def test_a_rename_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_renames([text])


def test_a_rename_may_hold_an_equals_sign_and_comes_once() -> None:
    assert parse_renames(["a=b=c"]) == {"a=b": "c"}
    with pytest.raises(UsageError, match="'a' twice"):
        parse_renames(["a=b", "a=c"])


@pytest.mark.parametrize(
    ("name", "settings", "variant", "seed"),
    [
        ("sgd/seed-3", {}, "sgd", 3),
        ("seed=3", {}, "fallback", 3),
        ("adam_seed_12", {}, "adam", 12),
        ("seed3/adam", {}, "adam", 3),
        ("lr0.1/seed-2/run", {}, "lr0.1-run", 2),
        ("adam", {"seed": "4"}, "adam", 4),
        ("adam", {"trainer.random_seed": 4.0}, "adam", 4),
        ("adam/seed-1", {"seed": 7}, "adam", 7),
        ("x/y", {"variant": "big"}, "big", None),
        ("reseed-3", {}, "reseed-3", None),
        ("seed-99999999999999999999", {}, "seed-99999999999999999999", None),
        ("../../etc/passwd", {}, "etc-passwd", None),
        ("", {}, "fallback", None),
        ("comparison.csv", {}, "comparison.csv_", None),
    ],
)
def test_variant_and_seed(name: str, settings: dict[str, int | float | str], variant: str, seed: int | None) -> None:
    (found,) = identify([SourceRun(name, name, hyperparameters=dict(settings))], "fallback", None)
    assert (found.variant, found.seed) == (variant, seed)
    assert not {"seed", "variant", "trainer.random_seed"} & found.settings.keys()


def test_two_names_that_a_disk_could_take_for_one_are_told_apart() -> None:
    runs = [SourceRun(name, name) for name in ("a b", "a/b", "A b", "a b")]
    assert [found.variant for found in identify(runs, "", None)] == ["a-b", "a-b-2", "A-b-3", "a-b"]


def test_a_variant_may_be_named_by_hyperparameters() -> None:
    run = SourceRun("r", "r", hyperparameters={"opt": "adam", "lr": 0.1})
    assert identify([run], "", "{opt}-{lr}-{run}")[0].variant == "adam-0.1-r"
    with pytest.raises(UsageError, match="run r has no hyperparameter 'op'; did you mean 'opt'"):
        identify([run], "", "{op}")


@given(st.text(max_size=200))
def test_every_text_becomes_a_folder_name(text: str) -> None:
    assert check_name(folder_name(text), "name") not in (".", "..")


@given(st.lists(st.none() | st.integers(0, 20), max_size=30), st.lists(st.integers(0, 20)))
def test_runs_without_a_seed_get_free_ones(seeds: list[int | None], taken: list[int]) -> None:
    numbers = number_runs(seeds, taken)
    assert [number for number, seed in zip(numbers, seeds, strict=True) if seed is not None] == [
        seed for seed in seeds if seed is not None
    ]
    given_out = [number for number, seed in zip(numbers, seeds, strict=True) if seed is None]
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & {*taken, *(seed for seed in seeds if seed is not None)}
