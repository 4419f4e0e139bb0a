"""Trials, winners and what came of them on fresh seeds, read off runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_searches import LR, RATES, confirming, search_file, searched, space, trial_run
from scipy import stats

from nnopt.compare.search.summary import SearchSummary, VariantSearch, best_trial, summarise_search
from nnopt.compare.search.trial import Trial
from nnopt.compare.search.trials import trials_of
from nnopt.store.record import RunRecord
from nnopt.store.search_file import Round

VALUES = (0.6, 0.9, 0.8, 0.7)


def four(variant: str = "adam") -> list[RunRecord]:
    return [trial_run(variant, n, {LR: 10.0 ** (n - 3)}, value) for n, value in enumerate(VALUES)]


def only(summary: SearchSummary) -> VariantSearch:
    (variant,) = summary.variants
    return variant


def test_a_trial_is_what_its_runs_came_to() -> None:
    file = search_file(trial_seeds=(0, 1), adam=searched(6))
    setting = {LR: 0.1}
    records = [
        trial_run("adam", 0, setting, 0.8, seed=0),
        trial_run("adam", 0, setting, 0.9, seed=1),
        trial_run("adam", 1, setting, 0.8, seed=0),  # the other seed is still to come
        trial_run("adam", 2, setting, 0.8, seed=0),
        trial_run("adam", 2, setting, 0.1, seed=1, status="diverged"),
        trial_run("adam", 3, setting, 0.2, seed=0, status="pruned"),
        trial_run("adam", 4, setting, 0.2, seed=0, status="interrupted"),
        trial_run("adam", 5, setting, 0.2, seed=0, status="failed"),
    ]
    found = trials_of(records, file)["adam"]
    assert [(trial.number, trial.status, trial.value) for trial in found] == [
        (0, "done", pytest.approx(0.85)),
        (1, "running", None),
        (2, "diverged", None),
        (3, "pruned", None),
        (4, "running", None),
        (5, "failed", None),
    ]
    assert found[0].values == {0: 0.8, 1: 0.9}
    assert found[0].setting == setting
    assert found[0].train_seconds == pytest.approx(0.4)


def test_other_variants_seeds_and_confirming_runs_are_no_trials() -> None:
    file = search_file(adam=searched(1))
    records = [
        trial_run("adam", 0, {LR: 0.1}, 0.8),
        trial_run("adam", 0, {LR: 0.1}, 0.9, seed=7),
        trial_run("gone", 0, {LR: 0.1}, 0.9),
        *confirming("adam", [0.7]),
    ]
    assert [trial.value for trial in trials_of(records, file)["adam"]] == [0.8]
    assert trials_of([], file) == {"adam": ()}


def test_of_two_runs_of_one_trial_and_seed_the_later_counts() -> None:
    file = search_file(adam=searched(1))
    old = trial_run("adam", 0, {LR: 0.1}, 0.8, started="2026-01-01T00:00:00")
    new = trial_run("adam", 0, {LR: 0.2}, 0.7, started="2026-02-01T00:00:00")
    for records in ([old, new], [new, old]):
        (trial,) = trials_of(records, file)["adam"]
        assert (trial.value, trial.setting) == (0.7, {LR: 0.2})


def test_a_setting_that_failed_and_came_again_counts_once() -> None:
    failed = trial_run("adam", 1, {LR: 0.2}, 0.1, status="failed")
    records = [*four()[:1], failed, trial_run("adam", 4, {LR: 0.2}, 0.9)]
    found = only(summarise_search(search_file(adam=searched(3)), records))
    assert [trial.again for trial in found.trials] == [None, None, 1]
    assert found.expected_best is not None
    assert found.expected_best.trials[-1] == 2
    assert found.expected_best.without == 0
    assert found.counts == {"done": 2, "failed": 1}


@given(st.lists(st.one_of(st.none(), st.sampled_from([0.1, 0.5, 0.9])), max_size=8), st.booleans())
def test_the_winner_is_the_first_of_the_best(values: list[float | None], higher_is_better: bool) -> None:
    trials = [Trial(n, {}, "pruned" if value is None else "done", value) for n, value in enumerate(values)]
    found = best_trial(trials, higher_is_better)
    known = [value for value in values if value is not None]
    if not known:
        assert found is None
    else:
        assert found is not None
        assert found.number == values.index(max(known) if higher_is_better else min(known))


def test_a_winner_is_reported_on_fresh_seeds_with_students_interval() -> None:
    fresh = [0.85, 0.88, 0.86]
    records = [*four(), *confirming("adam", fresh), *confirming("adam", [0.1, 0.2], spec_hash="older")]
    summary = summarise_search(search_file(adam=searched(4, winner=1)), records)
    found = only(summary)
    assert found.best is not None
    assert (found.best.number, found.best.value) == (1, 0.9)
    assert found.is_confirmed
    assert summary.is_confirmed
    assert [record.seed for record in found.confirmed] == [10, 11, 12]
    for estimate, name, values in zip(
        found.estimates, ("val_accuracy", "test_accuracy"), (fresh, [value - 0.01 for value in fresh]), strict=True
    ):
        low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
        assert (estimate.name, estimate.n, estimate.lost) == (name, 3, 0)
        assert estimate.mean == pytest.approx(sum(values) / 3)
        assert estimate.interval is not None
        assert (estimate.interval.low, estimate.interval.high) == (pytest.approx(low), pytest.approx(high))
    assert summary.notes == ()


def test_the_best_value_is_tested_with_the_best_weights() -> None:
    file = search_file(metric="best_val_accuracy", adam=searched(4, winner=1))
    found = only(summarise_search(file, [*four(), *confirming("adam", [0.8, 0.9])]))
    assert [(estimate.name, round(estimate.mean, 6)) for estimate in found.estimates] == [
        ("best_val_accuracy", 0.85),
        ("test_best_accuracy", 0.845),
    ]


def test_a_quantity_of_the_whole_run_has_no_test_metric() -> None:
    file = search_file(metric="train_seconds", higher_is_better=False, adam=searched(4, winner=0))
    found = only(summarise_search(file, [*four(), *confirming("adam", [0.8, 0.9])]))
    assert [estimate.name for estimate in found.estimates] == ["train_seconds"]
    assert found.best is not None
    assert found.best.number == 0


def test_an_objective_that_no_run_has_is_not_laid_to_the_settings() -> None:
    summary = summarise_search(search_file(metric="energy_joules", adam=searched(4)), four())
    assert only(summary).best is None
    assert summary.warnings == ("no trial of adam has a value of energy_joules: judge by another objective.metric",)


def test_runs_of_an_older_winner_confirm_nothing() -> None:
    summary = summarise_search(search_file(adam=searched(4, winner=0)), [*four(), *confirming("adam", [0.5, 0.6])])
    found = only(summary)
    assert not found.is_confirmed
    (estimate,) = found.estimates
    assert (estimate.mean, estimate.interval, estimate.n) == (0.9, None, 1)
    assert "The best of adam was chosen by the very runs" in summary.notes[0]


def test_several_seeds_a_trial_give_an_interval_that_is_called_too_good() -> None:
    records = [trial_run("adam", 0, {LR: 0.1}, 0.8 + 0.02 * seed, seed=seed) for seed in range(3)]
    summary = summarise_search(search_file(trial_seeds=(0, 1, 2), adam=searched(1)), records)
    (estimate,) = only(summary).estimates
    assert estimate.n == 3
    assert estimate.interval is not None
    assert estimate.interval.low < 0.82 < estimate.interval.high
    assert summary.notes


def test_seeds_of_trials_and_seeds_to_come_are_no_fresh_ones() -> None:
    records = [*four(), *confirming("adam", [0.8, 0.9])]
    records.append(trial_run("adam", None, {}, 0.95, seed=0, spec_hash="winner"))
    summary = summarise_search(search_file(adam=searched(4, winner=1)), records)
    assert [record.seed for record in only(summary).confirmed] == [10, 11]
    assert "the best setting of adam was trained on 2 of 3 fresh seeds" in summary.warnings


def test_a_winner_that_diverges_on_fresh_seeds_is_told() -> None:
    records = [*four(), *confirming("adam", [0.8, 0.82]), *confirming("adam", [0, 0, 0.3], status="diverged")[2:]]
    summary = summarise_search(search_file(adam=searched(4, winner=1)), records)
    assert {(one.n, one.lost) for one in only(summary).estimates} == {(2, 1)}
    assert "the best setting of adam diverged on 1 of 3 fresh seeds" in summary.warnings


def test_diverged_trials_are_counted_with_the_exact_interval() -> None:
    records = [*four(), trial_run("adam", 4, {LR: 1.0}, 0.1, status="diverged")]
    records.append(trial_run("adam", 5, {LR: 0.5}, 0.1, status="failed"))
    found = only(summarise_search(search_file(adam=searched(6)), records))
    assert (found.diverged.count, found.diverged.of) == (1, 5)
    exact = stats.binomtest(1, 5).proportion_ci(method="exact")
    assert found.diverged.interval.low == pytest.approx(exact.low)
    assert found.diverged.interval.high == pytest.approx(exact.high)


def test_an_edge_is_one_of_all_that_was_searched() -> None:
    records = [trial_run("adam", n, {LR: rate}, rate) for n, rate in enumerate([0.1, 0.5, 1.0])]
    (edge,) = only(summarise_search(search_file(adam=searched(3)), records)).edges
    assert edge.added == (1.0, pytest.approx(10.0))
    one = searched(3)
    wider = replace(one, rounds=(*one.rounds, Round(3, 3, {LR: RATES.with_ends(1.0, 10.0)})))
    records.append(trial_run("adam", 3, {LR: 5.0}, 0.2))
    summary = summarise_search(search_file(adam=wider), records)
    assert only(summary).edges == ()
    assert any(note.startswith("The search was extended") for note in summary.notes)


def test_trials_that_wait_and_searches_without_a_value_are_warned_of() -> None:
    summary = summarise_search(search_file(adam=searched(9)), four())
    assert "4 of 9 trials of adam have ended: its best may not be the last word" in summary.warnings
    lost = [trial_run("adam", 0, {LR: 1.0}, 0.1, status="diverged")]
    summary = summarise_search(search_file(adam=searched(1)), lost)
    assert summary.warnings == ("no trial of adam came to a value: search elsewhere, as with lower learning rates",)
    assert (only(summary).best, only(summary).expected_best, only(summary).estimates) == (None, None, ())
    assert only(summarise_search(search_file(adam=searched(5)), [])).warnings == ()


def test_variants_stand_in_the_order_of_their_file() -> None:
    file = search_file(b=searched(4, order=1), a=searched(4, order=2), c=searched(4, order=0))
    assert [one.variant for one in summarise_search(file, [*four("a"), *four("b"), *four("c")]).variants] == [
        "c",
        "b",
        "a",
    ]


def test_a_sampler_that_learns_is_told_of() -> None:
    for sampler, learns in (({"kind": "tpe"}, True), ({"kind": "cma_es"}, True), ({"kind": "random"}, False)):
        summary = summarise_search(search_file(search={"sampler": sampler}, adam=searched(4)), four())
        assert summary.learns is learns
        assert any("learned" in note for note in summary.notes) is learns


def test_a_run_that_is_cut_short_is_left_out_and_named() -> None:
    records = four()
    records[1].summary["steps"] = 1000
    summary = summarise_search(search_file(adam=searched(4)), records)
    assert summary.notes[0].startswith("digits/adam/trial-1/seed-0 is left out")
    found = only(summary)
    assert found.best is not None
    assert found.best.number == 2


def test_the_rate_is_looked_at_where_it_is_a_range() -> None:
    found = only(summarise_search(search_file(adam=searched(4)), four()))
    assert found.sensitivity is not None
    assert not found.sensitivity.is_envelope
    more = space(optimizer__lr={"log": [1e-4, 1]}, strategy__batch_size={"choice": [16, 32]})
    with_more = only(summarise_search(search_file(adam=searched(4, more)), four()))
    assert with_more.sensitivity is not None
    assert with_more.sensitivity.is_envelope
    choices = space(optimizer__lr={"choice": [0.001, 0.01, 0.1, 1.0]})
    assert only(summarise_search(search_file(adam=searched(4, choices)), four())).sensitivity is None
    assert math.isclose(found.seconds, 0.8)
