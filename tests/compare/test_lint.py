"""Every rule of fairness finds what it is there for, says what to do, and keeps silent on the fair twin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from compare_runs import in_memory
from hypothesis import given
from hypothesis import strategies as st

from nnopt.compare.groups import Group, group_runs
from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.lint import RULES, lint
from nnopt.compare.lint.machines import time_across_machines
from nnopt.compare.ranges import end_of_range
from nnopt.compare.target import Target
from nnopt.spec.limits import Limits, limits
from nnopt.spec.merge import merge
from nnopt.store.record import RunRecord

MACHINE = {
    "host": "a",
    "processor": "Acme 9",
    "device_name": "Acme 9",
    "cores": 8,
    "nnopt": "0.1.0",
    "python": "3.11.2",
    "torch": "2.13.0",
}
# The summary of a run that tells all.
TOLD: dict[str, Any] = {
    "spec": {
        "data": {"kind": "digits", "validation": 0.15, "test": 0.2, "split_seed": 0},
        "model": {"kind": "mlp", "hidden": [16]},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        "strategy": {"batch_size": 32, "precision": "fp32", "lr_decay": {"kind": "constant", "warmup": 0.0}},
        "budget": {"epochs": 10},
    },
    "epochs": 10.0,
    "threads": 1,
    "device": "cpu",
    "data": {"name": "digits", "sha256": "0123456789abcdef"},
    "machine": MACHINE,
    "hash_without_budget": "1234",
}
TARGET = Target("val_accuracy", 0.9)


def runs(variant: str, changes: dict[str, Any] | None = None, seeds: Sequence[int] = (0, 1, 2)) -> list[RunRecord]:
    """Runs that tell all, with changes merged over their summary; a key that is None is left out."""
    told = merge(TOLD, changes or {})
    summary = {key: value for key, value in told.items() if value is not None}
    return [in_memory(variant, seed, [0.5, 0.9], **summary) for seed in seeds]


def groups(*runs_of_variants: list[RunRecord]) -> list[Group]:
    return group_runs([record for records in runs_of_variants for record in records])[0]


def found(*runs_of_variants: list[RunRecord], metric: str = "val_accuracy", target: Target | None = None,
          losses: Sequence[tuple[str, str]] = ()) -> list[Finding]:  # fmt: skip
    return lint(groups(*runs_of_variants), metric, target, losses)


def only(findings: list[Finding]) -> Finding:
    (one,) = findings
    assert one.text.endswith(".")
    assert one.advice.endswith(".")
    assert "\n" not in one.text + one.advice
    return one


def spec(**keys: Any) -> dict[str, Any]:
    return {"spec": keys}


def decay(kind: str, **keys: Any) -> dict[str, Any]:
    return spec(strategy={"lr_decay": {"kind": kind, "warmup": 0.0, **keys}})


def tuned(trials: int, **ranges: Any) -> dict[str, Any]:
    return spec(tuned={"trials": trials, "ranges": {f"optimizer.{key}": value for key, value in ranges.items()}})


# What is unlike in the second of two variants, the rule that finds it, and what its text says.
UNLIKE: list[tuple[dict[str, Any], str, str]] = [
    (spec(budget={"epochs": 20}) | {"epochs": 20.0}, "budget", "10 epochs (a), 20 epochs (b)"),
    (spec(budget={"steps": 100}) | {"steps": 100}, "budget", "10 epochs (a), 100 steps (b)"),
    (spec(data={"kind": "wine"}) | {"data": {"name": "wine", "sha256": "9"}}, "data", "digits (a), wine (b)"),
    ({"data": {"sha256": "fedcba9876"}}, "data", "01234567 (a), fedcba98 (b)"),
    (spec(data={"validation": 0.3}), "split", "data.validation 0.15 (a), 0.3 (b)"),
    (spec(data={"split_seed": 7}), "split", "data.split_seed 0 (a), 7 (b)"),
    (spec(strategy={"precision": "bf16"}), "precision", "fp32 (a), bf16 (b)"),
    ({"threads": 4}, "threads", "1 (a), 4 (b)"),
    ({"device": "cuda:0"}, "hardware", "cpu (a), cuda (b)"),
    ({"machine": {"processor": "Other", "device_name": "Other"}}, "hardware", "Acme 9 (a), Other (b)"),
    ({"machine": {"device_name": "GPU X"}}, "hardware", "Acme 9 (a), GPU X beside Acme 9 (b)"),
    ({"machine": {"torch": "2.12.0"}}, "versions", "torch 2.13.0 (a), 2.12.0 (b)"),
    ({"machine": {"nnopt": "0.2.0", "python": "3.12.1"}}, "versions", "python 3.11.2 (a), 3.12.1 (b)"),
    ({"select": "val_loss"}, "select", "val_accuracy (a), val_loss (b)"),
    (tuned(6), "untuned", "a does not say how the settings were found, as b does"),
    ({"machine": None}, "unknown", "b does not tell machine"),
    ({"spec": None}, "unknown", "b does not tell budget, data, precision, threads, machine, tuning, which"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "rule", "words"), UNLIKE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_unlike_is_found_once_and_named(changes: dict[str, Any], rule: str, words: str) -> None:
    if changes.get("spec", "") is None:  # a run from elsewhere
        finding = only(found(runs("a"), [record_from_elsewhere(seed) for seed in range(3)]))
    else:
        finding = only(found(runs("a"), runs("b", changes)))
    assert finding.rule == rule
    assert words in finding.text


@pytest.mark.parametrize("changes", [changes for changes, rule, _ in UNLIKE if rule != "unknown"])
def test_what_is_alike_is_not_found(changes: dict[str, Any]) -> None:
    assert found(runs("a", changes), runs("b", changes), runs("c", changes)) == []


def record_from_elsewhere(seed: int, **summary: Any) -> RunRecord:
    return in_memory("b", seed, [0.5, 0.9], spec={}, imported={"from": "csv"}, device=None, **summary)


def test_runs_from_elsewhere_alone_give_no_alarm() -> None:
    assert found([record_from_elsewhere(seed) for seed in range(3)]) == []
    strangers = [in_memory("c", seed, [0.5], spec={}) for seed in range(3)]
    assert found([record_from_elsewhere(seed) for seed in range(3)], strangers) == []


@given(
    kind=st.sampled_from(["constant", "cosine", "wsd", "plateau"]),
    seeds=st.lists(st.integers(0, 99), min_size=3, max_size=6, unique=True),
    lr=st.floats(0.02, 2.0),
    trials=st.none() | st.integers(1, 50),
    diverged=st.booleans(),
    metric=st.sampled_from(["val_accuracy", "val_loss", "train_seconds"]),
)
def test_runs_of_one_spec_on_one_machine_are_fair(
    kind: str, seeds: list[int], lr: float, trials: int | None, diverged: bool, metric: str
) -> None:
    changes = merge(decay(kind), spec(optimizer={"lr": lr}))
    if trials:
        changes = merge(changes, tuned(trials, lr=[0.001, 100]))
    records = runs("a", changes, seeds)
    if diverged:
        records[0] = in_memory("a", seeds[0], [0.5], status="diverged", **records[0].summary)
    assert found(records, metric=metric, target=TARGET) == []
    assert time_across_machines(groups(records), metric) is None


def test_many_variants_are_not_all_named() -> None:
    many = [runs(f"v{n}", {"threads": 1 + n % 2}) for n in range(10)]
    assert "1 (v0, v2, v4 and 2 more), 2 (v1, v3, v5 and 2 more)" in only(found(*many)).text
    each = [runs(f"v{n}", {"threads": 1 + n}) for n in range(10)]
    assert "1 (v0), 2 (v1), 3 (v2) and 7 more" in only(found(*each)).text


class TestSeeds:
    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ((1, 1), "Every variant has one seed: an anecdote"),
            ((1, 3), "a has one seed: an anecdote"),
            ((2, 2), "Every variant has two seeds: an anecdote"),
            ((2, 5), "a has two seeds: an anecdote"),
            ((1, 2), "a has one seed; b has two seeds: an anecdote"),
        ],
    )
    def test_below_three_are_an_anecdote(self, counts: tuple[int, int], words: str) -> None:
        finding = only(found(*(runs(name, seeds=range(count)) for name, count in zip("ab", counts, strict=True))))
        assert (finding.rule, words in finding.text) == ("one-seed", True), finding.text

    def test_are_counted_over_runs_that_count(self) -> None:
        records = runs("a")
        records[2] = in_memory("a", 2, [0.5], status="interrupted", **records[2].summary)
        assert only(found(records, runs("b"))).text.startswith("a has two seeds")
        records[2] = in_memory("a", 2, [0.5], status="diverged", **records[2].summary)
        assert found(records, runs("b")) == []

    def test_of_their_own_are_found_and_a_part_of_the_others_is_not(self) -> None:
        finding = only(found(runs("a"), runs("b", seeds=(3, 4, 5)), runs("c", seeds=(0, 7, 9))))
        assert finding.rule == "seeds"
        assert "0 to 2 (a), 3 to 5 (b), 0 7 9 (c)" in finding.text
        assert found(runs("a"), runs("b", seeds=range(5)), runs("c", seeds=range(9))) == []


class TestLoss:
    def test_of_another_kind_is_another_quantity(self) -> None:
        pair = runs("a"), runs("b", spec(loss={"kind": "mse"}))
        finding = only(found(*pair, metric="val_loss"))
        assert (finding.rule, "cross_entropy (a), mse (b)" in finding.text) == ("loss", True)
        assert found(*pair, metric="val_accuracy") == []


class TestDecay:
    def test_that_goes_on_is_no_place_to_stop(self) -> None:
        stopped = merge(decay("cosine"), {"epochs": 6.0})
        finding = only(found(runs("a", decay("cosine")), runs("b", stopped)))
        assert finding.rule == "mid-decay"
        assert "Runs of b (3) ended before their budget" in finding.text
        for kind in ("constant", "plateau"):
            assert found(runs("a", decay(kind)), runs("b", merge(decay(kind), {"epochs": 6.0}))) == []

    def test_over_unequal_budgets_shows_no_common_step(self) -> None:
        longer = merge(decay("linear"), spec(budget={"epochs": 20}) | {"epochs": 20.0})
        budget, mid = found(runs("a", decay("linear")), runs("b", longer))
        assert (budget.rule, mid.rule) == ("budget", "mid-decay")
        assert "a, b fall over budgets of unequal length: 10 epochs (a), 20 epochs (b)" in mid.text
        one = found(runs("a"), runs("b", longer))[1]
        assert "the rate of b falls over a budget that others do not have".casefold() in one.text.casefold()

    def test_makes_times_to_target_those_of_one_budget(self) -> None:
        finding = only(found(runs("a"), runs("b", decay("cosine")), target=TARGET))
        assert finding.rule == "target-decay"
        assert "Times to val_accuracy 0.9 hold for this budget alone: the rate of b follows it (cosine)" in finding.text
        assert "(warm-up)" in only(found(runs("a"), runs("b", decay("constant", warmup=0.1)), target=TARGET)).text
        assert found(runs("a"), runs("b", decay("plateau")), target=TARGET) == []
        assert found(runs("a"), runs("b", decay("cosine"))) == []
        assert found(runs("b", decay("cosine")), target=TARGET) == [], "one variant is compared with none"

    def test_of_a_plug_in_is_known_by_what_the_summary_tells(self) -> None:
        mine = decay("mine.parts:Mine")
        assert found(runs("a"), runs("b", mine), target=TARGET) == []
        records = runs("b", mine)
        for record in records:
            record.summary["hash_without_budget"] = None
        assert only(found(runs("a"), records, target=TARGET)).rule == "target-decay"


class TestTuning:
    def test_with_fewer_trials_is_found(self) -> None:
        finding = only(found(runs("a", tuned(6)), runs("b", tuned(20)), runs("c", tuned(6))))
        assert finding.rule == "trials"
        assert "6 (a, c), 20 (b)" in finding.text

    def test_counts_the_trials_that_are_compared(self) -> None:
        def trials(variant: str, count: int) -> list[RunRecord]:
            return [
                RunRecord(record.folder / str(trial), "digits", variant, trial, record.seed, "done", record.summary)
                for trial in range(count)
                for record in runs(variant)
            ]

        finding = only(found(trials("a", 2), trials("b", 3)))
        assert finding.rule == "trials"
        assert "2 (a/trial-0, a/trial-1), 3 (b/trial-0, b/trial-1, b/trial-2)" in finding.text
        assert found(trials("a", 2), trials("b", 2)) == []

    @pytest.mark.parametrize(
        ("lr", "searched", "end", "wider"),
        [
            (1.0, [0.01, 1.0], "upper", "0.01 to 10"),
            (0.98, [0.01, 1.0], "upper", "0.01 to 10"),
            (0.01, [0.01, 1.0], "lower", "0.001 to 1"),
            (0.010_3, [0.01, 1.0], "lower", "0.001 to 1"),
            (5.0, [0.01, 1.0], "upper", "0.01 to 10"),
            (0.4, [0.1, 0.4], "upper", "0.1 to 0.7"),
            (0.1, [0.1, 0.4], "lower", "0.05 to 0.4"),
        ],
    )
    def test_at_an_end_of_its_range_asks_for_a_wider_one(
        self, lr: float, searched: list[float], end: str, wider: str
    ) -> None:
        at_edge = merge(tuned(6, lr=searched), spec(optimizer={"lr": lr}))
        finding = only(found(runs("a", at_edge), runs("b", tuned(6, lr=[0.01, 1.0]))))
        assert finding.rule == "range-edge"
        assert f"optimizer.lr {lr:g} of a at the {end} end of {searched[0]:g} to {searched[1]:g}" in finding.text
        assert f"a: optimizer.lr {wider}" in finding.advice

    @pytest.mark.parametrize(
        ("key", "value", "searched", "wider"),
        [
            ("weight_decay", 0.0, [0.0, 0.1], None),  # no decay is less than none
            ("weight_decay", 0.1, [0.0, 0.1], "0 to 0.2"),
            ("momentum", 0.9, [0.0, 0.9], "0 to 0.95"),  # 1 itself is no momentum
        ],
    )
    def test_at_an_end_of_what_the_key_takes_is_no_edge(
        self, key: str, value: float, searched: list[float], wider: str | None
    ) -> None:
        findings = found(runs("a", merge(tuned(6, **{key: searched}), spec(optimizer={key: value}))))
        if wider is None:
            assert findings == []
        else:
            assert f"a: optimizer.{key} {wider}" in only(findings).advice

    def test_of_keys_that_are_not_there_or_no_numbers_is_passed_over(self) -> None:
        assert found(runs("a", tuned(3, gone=[0, 1], nesterov=[0, 1], kind=[0, 1]))) == []

    @given(low=st.floats(1e-6, 1e3), factor=st.floats(1.01, 1e6), share=st.floats(0, 1))
    def test_ends_are_a_hundredth_of_the_range(self, low: float, factor: float, share: float) -> None:
        high = low * factor
        value = low * factor**share if factor > 10 else low + share * (high - low)
        end = end_of_range(value, low, high)
        if 0.0101 < share < 0.9899:
            assert end is None
        elif not 0.0099 < share < 0.9901:
            assert end == ("lower" if share < 0.5 else "upper")

    def test_limits_are_those_of_the_kind(self) -> None:
        settings = TOLD["spec"]
        assert limits(settings, "optimizer.lr") == Limits(low=0.0, low_is_open=True)
        assert limits(settings, "optimizer.momentum") == Limits(0.0, 1.0, high_is_open=True)
        assert limits(settings, "strategy.lr_decay.warmup") == Limits(0.0, 1.0, high_is_open=True)
        for key in ("optimizer.beta1", "optimizer", "nothing.at.all", "model.hidden.0"):
            assert limits(settings, key) == Limits()
        assert limits({"optimizer": {"kind": "mine.parts:Mine"}}, "optimizer.lr") == Limits()


def optimizer(kind: str, **keys: Any) -> dict[str, Any]:
    whole = {"momentum": None, "nesterov": None, "weight_decay": None, **keys} if kind != "sgd" else keys
    told = merge(TOLD["spec"]["optimizer"], {"kind": kind, **whole})
    return {"spec": {"optimizer": {key: value for key, value in told.items() if value is not None}}}


class TestContained:
    def lost(self, loser: dict[str, Any], winner: dict[str, Any]) -> list[Finding]:
        return found(runs("a", loser), runs("b", winner), losses=[("a", "b")])

    def test_that_loses_was_not_searched_well(self) -> None:
        finding = only(self.lost(optimizer("rmsprop", lr=0.01, beta=0.9), optimizer("momentum", lr=0.1, beta=0.8)))
        assert finding.rule == "contained"
        assert "a lost to b, whose steps it can take itself (eps → ∞, momentum = 0.8)" in finding.text
        assert "a: optimizer.eps" in finding.advice

    def test_that_wins_is_as_it_should_be(self) -> None:
        assert self.lost(optimizer("momentum", lr=0.1, beta=0.8), optimizer("rmsprop", lr=0.01, beta=0.9)) == []

    def test_either_in_the_other_is_a_matter_of_settings(self) -> None:
        assert self.lost(optimizer("sgd"), optimizer("momentum", lr=0.1, beta=0.8)) == []
        assert self.lost(optimizer("adam", lr=0.1), optimizer("adamw", lr=0.2)) == []
        assert self.lost(optimizer("sgd"), optimizer("sgd", lr=0.2)) == []

    def test_with_other_settings_beside_the_optimizer_says_nothing(self) -> None:
        smaller = merge(optimizer("sgd"), spec(strategy={"batch_size": 8}))
        assert self.lost(optimizer("adam", lr=0.1), smaller) == []
        assert only(self.lost(optimizer("adam", lr=0.1), optimizer("sgd"))).rule == "contained"

    def test_names_what_was_not_searched(self) -> None:
        searched = merge(optimizer("adam", lr=0.1), tuned(9, lr=[0.001, 1e20], eps=[1e-8, 1e20]))
        other = merge(optimizer("sgd"), tuned(9, lr=[0.001, 1.0]))
        finding = only(found(runs("a", searched), runs("b", other), losses=[("a", "b"), ("a", "gone")]))
        assert "search wider (a: optimizer.beta1)" in finding.advice

    def test_of_a_plug_in_is_not_known(self) -> None:
        assert self.lost(optimizer("mine.parts:Mine"), optimizer("sgd")) == []


class TestTasks:
    def pair(self, experiment: str, **changes: Any) -> list[RunRecord]:
        return [
            in_memory(variant, seed, [0.5, 0.9], experiment=experiment, **merge(TOLD, changes))
            for variant in ("sgd", "adam")
            for seed in range(3)
        ]

    def test_are_held_against_themselves_alone(self) -> None:
        wine = self.pair("wine", spec={"data": {"kind": "wine"}, "budget": {"epochs": 40}}, epochs=40.0)
        assert found(self.pair("digits"), wine) == []

    def test_are_told_apart_within(self) -> None:
        records = self.pair("wine", spec={"data": {"kind": "wine"}})
        for record in records[3:]:
            record.summary["threads"] = 4
        finding = only(found(self.pair("digits"), records))
        assert "1 (wine/sgd), 4 (wine/adam)" in finding.text


class TestTimeAcrossMachines:
    OTHER: dict[str, Any] = {"machine": {"processor": "Other", "device_name": "Other"}}  # noqa: RUF012

    @pytest.mark.parametrize("metric", ["train_seconds", "seconds_to_target", "samples_per_second", "energy_joules"])
    def test_is_refused_for_times_rates_and_energy(self, metric: str) -> None:
        finding = time_across_machines(groups(runs("a"), runs("b", self.OTHER)), metric)
        assert finding is not None
        assert finding.rule == "time-across-machines"
        assert "Acme 9, 8 cores (a), Other, 8 cores (b)" in finding.text
        assert "--force" in finding.advice
        assert time_across_machines(groups(runs("a"), runs("b")), metric) is None

    @pytest.mark.parametrize("metric", ["val_accuracy", "memory_peak_bytes", "parameters", "gradient_evaluations"])
    def test_is_no_matter_for_other_metrics(self, metric: str) -> None:
        assert time_across_machines(groups(runs("a"), runs("b", self.OTHER)), metric) is None

    def test_sees_cores_devices_and_what_measured_energy(self) -> None:
        def refused(changes: dict[str, Any], metric: str) -> bool:
            return time_across_machines(groups(runs("a"), runs("b", changes)), metric) is not None

        assert refused({"machine": {"cores": 2}}, "train_seconds")
        assert refused({"device": "cuda"}, "train_seconds")
        assert not refused({"machine": {"host": "elsewhere"}}, "train_seconds"), "a machine of the same make"
        measured = runs("a", {"energy_source": "rapl package-0"}), runs("b", {"energy_source": "nvml"})
        assert time_across_machines(groups(*measured), "energy_joules") is not None
        assert time_across_machines(groups(*measured), "train_seconds") is None

    def test_asks_older_runs_for_their_environment(self, tmp_path: Path) -> None:
        old = []
        for record in runs("b", {"machine": None}):
            folder = tmp_path / f"seed-{record.seed}"
            folder.mkdir()
            told = {**MACHINE, "processor": "Other", "device_name": "Other", "packages": {"torch": "2.13.0"}}
            (folder / "environment.json").write_text(json.dumps(told))
            old.append(RunRecord(folder, "digits", "b", None, record.seed, "done", record.summary))
        finding = time_across_machines(groups(runs("a"), old), "train_seconds")
        assert finding is not None
        assert "Other, 8 cores (b)" in finding.text
        (tmp_path / "seed-0" / "environment.json").write_text("half of")
        assert time_across_machines(groups(runs("a"), old), "train_seconds") is None, "only one run is asked"


def test_a_hundred_groups_give_one_finding_a_rule() -> None:
    many = groups(*(runs(f"v{n}", {"threads": 1 + n % 2}, range(10)) for n in range(100)))
    assert only(lint(many, "val_accuracy", TARGET, [])).rule == "threads"


def test_every_rule_says_what_it_is_for() -> None:
    assert len(RULES) == len(set(RULES))
    assert all(rule.__doc__ for rule in RULES)
