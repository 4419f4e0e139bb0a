"""Cross-validated runs share training rows: what is compared of them, and what a reader is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from command_line import Ended
from compare_runs import in_memory

from nnopt.compare.comparison import compare
from nnopt.compare.folds import fold_notes, overlap
from nnopt.compare.gates import check_gates, parse_gate
from nnopt.compare.groups import group_runs
from nnopt.compare.lint.lint import lint
from nnopt.compare.statistics.difference import Difference, difference, ratio
from nnopt.compare.statistics.power import seeds_needed
from nnopt.store.record import RunRecord

A, B = (0.91, 0.95, 0.89, 0.93, 0.94), (0.90, 0.92, 0.88, 0.93, 0.90)


def seeds(values: tuple[float, ...]) -> dict[int, float]:
    return dict(enumerate(values))


def by_hand(d: np.ndarray, extra: float) -> tuple[float, float, float]:
    """Interval and p of Nadeau and Bengio's corrected resampled t, from scipy's law of t."""
    from scipy import stats

    law = stats.t(len(d) - 1, d.mean(), d.std(ddof=1) * math.sqrt(1 / len(d) + extra))
    return (*law.interval(0.95), 2 * min(law.cdf(0), law.sf(0)))


def test_the_corrected_t_of_pairs_is_that_of_the_formula() -> None:
    found = difference(seeds(A), seeds(B), overlap=0.25)
    low, high, p = by_hand(np.array(A) - np.array(B), 0.25)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high, found.p) == pytest.approx((low, high, p))
    assert (found.method, found.permutation_p, found.smallest_p) == ("corrected paired t", None, None)
    plain = difference(seeds(A), seeds(B))
    assert (found.estimate, found.effect_size) == (plain.estimate, plain.effect_size)
    in_logs = ratio(seeds(A), seeds(B), overlap=0.25)
    low, high, p = by_hand(np.log(A) - np.log(B), 0.25)
    assert in_logs.interval is not None
    assert (math.log(in_logs.interval.low), math.log(in_logs.interval.high)) == pytest.approx((low, high))


def test_the_corrected_t_of_two_groups_widens_both_variances() -> None:
    a, b = seeds(A), {seed + 10: value for seed, value in enumerate(B)}
    plain, found = difference(a, b), difference(a, b, overlap=0.25)
    assert found.method == "corrected Welch t"
    assert plain.interval is not None
    assert found.interval is not None
    width = (found.interval.high - found.interval.low) / (plain.interval.high - plain.interval.low)
    assert width == pytest.approx(1.5)  # √((1/5 + 1/4) / (1/5)), the degrees of freedom being the same


def test_more_partitions_of_the_same_rows_end_up_saying_nothing_new() -> None:
    a, b = seeds(A), seeds(B)
    plain, found = difference(a, b), difference(a, b, overlap=0.25)
    assert seeds_needed(plain, a, b) == 9
    assert seeds_needed(found, a, b, overlap=0.25) is None
    clear = seeds((1.0, 0.995, 0.99, 1.0, 0.98))
    assert seeds_needed(difference(clear, b, overlap=0.25), clear, b, overlap=0.25) == 3


def cross_validations(experiments: int, folds: int, blocks: int) -> Iterator[tuple[list[float], list[float]]]:
    """Two learners that are equally good in truth, one a feature, on the same folds of 100 rows."""
    generator = np.random.default_rng(0)
    for _ in range(experiments):
        x = generator.normal(size=(100, 2))
        y = x.sum(1) + generator.normal(size=100)
        errors: tuple[list[float], list[float]] = ([], [])
        for _ in range(blocks):
            order = generator.permutation(100)
            for place in range(folds):
                held = np.zeros(100, bool)
                held[order[place::folds]] = True
                slopes = (x[~held].T @ y[~held]) / (x[~held] ** 2).sum(0)
                for learner in (0, 1):
                    errors[learner].append(float(((y[held] - slopes[learner] * x[held, learner]) ** 2).mean()))
        yield errors


def rates(found: list[Difference]) -> float:
    return sum(one.p is not None and one.p < 0.05 for one in found) / len(found)


def test_real_cross_validations_raise_few_alarms_and_uncorrected_ones_many() -> None:
    pairs = [(dict(enumerate(a)), dict(enumerate(b))) for a, b in cross_validations(400, 5, 2)]
    assert rates([difference(a, b, 0.0, 1 / 4) for a, b in pairs]) <= 0.05
    assert rates([difference(a, b, 0.0) for a, b in pairs]) > 0.12


@pytest.mark.parametrize("n", [5, 10])
def test_with_the_correlation_that_the_paper_assumes_the_level_is_exact(n: int) -> None:
    """Differences of folds correlate by n_validation / (n_train + n_validation), here 1/5."""
    generator = np.random.default_rng([n, 1])
    common, own = generator.normal(size=(1500, 1)), generator.normal(size=(1500, n))
    values = math.sqrt(1 / 5) * common + math.sqrt(4 / 5) * own
    zeros = dict.fromkeys(range(n), 0.0)
    found = [difference(dict(enumerate(row)), zeros, 0.0, 1 / 4) for row in values.tolist()]
    assert abs(rates(found) - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 1500)


# ------------------------------------------------------------------------------------------------------ runs


def runs(variant: str, values: tuple[float, ...], **data: Any) -> list[RunRecord]:
    spec = {"data": {"kind": "wine", **data}, "optimizer": {"kind": variant, "lr": 0.1}}
    rows = {"rows": {"train": 80, "validation": 40}} if data.get("folds") == 3 else {}
    return [
        in_memory(variant, seed, [0.5, value], spec=spec, data={"name": "wine", "sha256": "0" * 16, **rows})
        for seed, value in enumerate(values)
    ]


def test_the_overlap_is_that_of_the_rows_or_else_of_the_folds() -> None:
    groups = group_runs([*runs("sgd", A, folds=3), *runs("adam", B, folds=5), *runs("muon", B)])[0]
    sgd, adam, muon = groups
    assert (overlap(sgd, sgd), overlap(adam, adam), overlap(muon, muon)) == (0.5, 0.25, 0.0)
    assert overlap(muon, sgd) == 0.5


def test_a_comparison_of_folds_is_corrected_and_says_so() -> None:
    folded = compare([*runs("sgd", A, folds=5), *runs("adam", B, folds=5)], "val_accuracy")
    plain = compare([*runs("sgd", A), *runs("adam", B)], "val_accuracy")
    (found,), (usual,) = folded.verdicts, plain.verdicts
    assert (found.difference.method, usual.difference.method) == ("corrected paired t", "paired t")
    assert found.p is not None
    assert usual.p is not None
    assert found.p > usual.p
    assert "more partitions of the same rows would not settle so small a difference" in found.sentence
    assert any("cross-validated on 5 folds" in note and "Nadeau and Bengio 2003" in note for note in folded.notes)
    assert not any("cross-validated" in note for note in plain.notes)


def test_what_runs_cost_is_not_corrected() -> None:
    told = [*runs("sgd", A, folds=5), *runs("adam", B, folds=5)]
    for record in told:
        record.summary["parameters"] = 10 + record.seed
    found = compare(told, "parameters").verdicts[0].difference
    assert found.method == "paired t"


def test_gates_take_the_corrected_interval() -> None:
    folded, plain = (
        compare([*runs("sgd", A, **data), *runs("adam", B, **data)], "val_accuracy", baseline="adam")
        for data in ({"folds": 5}, {})
    )
    states = [check_gates(one, [parse_gate("val_accuracy >= -1pp")])[0].state for one in (folded, plain)]
    assert states == ["undecided", "held"]


def test_folds_without_a_run_are_named() -> None:
    groups, _ = group_runs(runs("sgd", A[:3], folds=5))
    notes = list(fold_notes(groups))
    assert notes[1:] == ["sgd: no run is validated on folds 3, 4 (of 0 to 4): train 5 seeds."]
    assert len(list(fold_notes(group_runs(runs("sgd", A, folds=5))[0]))) == 1


@pytest.mark.parametrize(
    ("data", "rule", "said"),
    [
        ({"folds": 5}, "split", "data.folds none (a), 5 (b)"),
        ({"classes": ["5", "6"]}, "data", "different classes of the data: all (a), [5, 6] (b)"),
        ({"target": "hue"}, "data", "different questions about the data: data.target none (a), hue (b)"),
        ({"function": {"kind": "beale"}}, "data", "data.function none (a), {kind: beale} (b)"),
        ({"fraction": 200}, "training-rows", "data.fraction none (a), 200 (b)"),
        ({"label_noise": 0.1}, "training-rows", "data.label_noise none (a), 0.1 (b)"),
        ({"imbalance": {"3": 0.1}}, "training-rows", "data.imbalance none (a), {3: 0.1} (b)"),
        ({"sampling": {"kind": "balanced", "power": 0.0}}, "training-rows", "{kind: balanced, power: 0} (b)"),
        ({"augment": [{"kind": "noise", "sd": 0.1}]}, "training-rows", "[{kind: noise, sd: 0.1}] (b)"),
    ],
)
def test_other_rows_are_told(data: dict[str, Any], rule: str, said: str) -> None:
    groups, _ = group_runs([*runs("a", A), *runs("b", B, **data)])
    found = {finding.rule: finding.text for finding in lint(groups, "val_accuracy", None, [])}
    assert said in found[rule]
    assert {"split", "data", "training-rows"} & found.keys() == {rule}
    same, _ = group_runs([*runs("a", A, **data), *runs("b", B, **data)])
    assert not {"split", "data", "training-rows"} & {finding.rule for finding in lint(same, "val_accuracy", None, [])}


def test_a_loss_of_each_token_depends_on_the_tokens() -> None:
    groups, _ = group_runs([*runs("a", A, tokens="byte"), *runs("b", B, tokens="bpe", vocabulary=300)])
    (found,) = (one for one in lint(groups, "val_perplexity", None, []) if one.rule == "tokens")
    assert "val_perplexity counts a token each: data.tokens byte (a), bpe (b); data.vocabulary" in found.text
    assert "tokens" not in {one.rule for one in lint(groups, "val_bits_per_character", None, [])}


@pytest.mark.parametrize(("kind", "classes", "wanted"), [("mse", [], True), ("mse", ["x"], False), ("bce", [], False)])
def test_the_loss_of_numbers_is_in_units_of_the_training_rows(kind: str, classes: list[str], wanted: bool) -> None:
    records = [*runs("a", A), *runs("b", B, fraction=0.5)]
    for record in records:
        record.summary["spec"]["loss"] = {"kind": kind}
        record.summary["data"] = {**(record.summary.get("data") or {}), "classes": classes}
    groups, _ = group_runs(records)
    found = [one.text for one in lint(groups, "val_loss", None, []) if one.rule == "loss"]
    assert [("data.fraction none (a), 0.5 (b)" in text) for text in found] == [True] * wanted
    assert "loss" not in {one.rule for one in lint(groups, "val_mae", None, [])}


def test_other_class_weights_make_another_loss() -> None:
    records = [*runs("a", A), *runs("b", B)]
    for record, weights in zip(records, [None] * 5 + ["balanced"] * 5, strict=True):
        record.summary["spec"]["loss"] = {"kind": "cross_entropy", **({"class_weights": weights} if weights else {})}
    groups, _ = group_runs(records)
    found = {finding.rule: finding.text for finding in lint(groups, "val_loss", None, [])}
    assert "class_weights none (a), class_weights balanced (b)" in found["loss"]
    assert "loss" not in {finding.rule for finding in lint(groups, "val_accuracy", None, [])}


def test_train_compares_folds_with_the_correction(
    write_spec: Callable[..., Any], cli: Callable[..., Ended], undrawn: None
) -> None:
    spec = write_spec(
        {
            "data": {"kind": "wine", "folds": 3},
            "strategy": {"batch_size": 16},
            "seeds": 3,
            "variants": {"one": {}, "other": {"optimizer": {"lr": 0.2}}},
        }
    )
    shown = " ".join(cli("train", spec, "--quiet").stdout.split())
    assert "cross-validated on 3 folds" in shown
    assert "n = 3 pairs" in shown
