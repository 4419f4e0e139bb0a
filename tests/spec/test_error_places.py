"""An error names file, line and key path, says what is allowed, and which variant it concerns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nnopt.errors import SpecError
from nnopt.spec.loading import load

SPEC = """\
name: places
data: {kind: digits}
model:
  kind: mlp
  hidden:
    - 16
    - 8
loss: {kind: cross_entropy}
optimizer:
  kind: sgd
  lr: 0.1
budget: {epochs: 1}
evaluation:
  metrics: [accuracy]
seeds: 1
variants:
  plain: {}
  fast:
    optimizer:
      lr: 0.5
  adam:
    optimizer: {kind: adam, lr: 0.01}
"""

Refusal = Callable[..., list[str]]


@pytest.fixture
def refusal(write_spec: Callable[..., Path]) -> Refusal:
    """The lines of the error that a change of SPEC's text (old, new) and overrides give, without the folder."""

    def refuse(old: str, new: str, *overrides: str) -> list[str]:
        assert old in SPEC
        path = write_spec(SPEC.replace(old, new, 1))
        with pytest.raises(SpecError) as caught:
            load(path, overrides)
        return [line.replace(f"{path.parent}/", "") for line in str(caught.value).splitlines()]

    return refuse


def test_the_spec_of_these_tests_is_good(write_spec: Callable[..., Path]) -> None:
    assert list(load(write_spec(SPEC)).variants) == ["plain", "fast", "adam"]


def test_a_shared_key_is_told_once_for_all_variants(refusal: Refusal) -> None:
    assert refusal("- 8", "- 0") == ["spec.yaml:7: model.hidden.1: should be greater than 0, not 0"]


def test_a_shared_key_that_some_variants_replace_names_the_others(refusal: Refusal) -> None:
    assert refusal("lr: 0.1", "lr: -1") == [
        "spec.yaml:11: optimizer.lr: should be greater than 0, not -1 (variant plain)"
    ]


def test_a_variants_key_is_told_with_its_own_path(refusal: Refusal) -> None:
    assert refusal("lr: 0.5", "lr: -1") == [
        "spec.yaml:20: variants.fast.optimizer.lr: should be greater than 0, not -1"
    ]


def test_a_key_missing_below_a_changed_kind_is_the_variants(refusal: Refusal) -> None:
    assert refusal("kind: adam, lr: 0.01", "kind: adam") == [
        "spec.yaml:22: variants.adam.optimizer.lr: this key is missing"
    ]


def test_a_check_across_keys_stands_at_the_variants_mapping(refusal: Refusal) -> None:
    assert refusal("lr: 0.5", "nesterov: true") == [
        "spec.yaml:19: variants.fast.optimizer: nesterov needs a momentum above 0, such as momentum: 0.9"
    ]


def test_an_unknown_key_of_a_variant_gives_the_nearest(refusal: Refusal) -> None:
    (line,) = refusal("lr: 0.5", "momentun: 0.5")
    assert line.startswith(
        "spec.yaml:20: variants.fast.optimizer.momentun: unknown key 'momentun'; did you mean 'momentum'?; "
        "the keys of sgd are kind, lr, groups, momentum, nesterov, weight_decay"
    )


def test_an_override_that_a_variants_kind_lacks_names_the_variant(refusal: Refusal) -> None:
    (line,) = refusal("seeds: 1", "seeds: 2", "optimizer.momentum=0.9")
    assert line == (
        "command line (optimizer.momentum=0.9): optimizer.momentum: unknown key 'momentum'; "
        "the keys of adam are kind, lr, groups, beta1, beta2, eps, amsgrad, weight_decay (variant adam)"
    )


def test_an_override_of_one_variant_names_the_command_line(refusal: Refusal) -> None:
    (line,) = refusal("seeds: 1", "seeds: 2", "variants.adam.optimizer.beta1=1")
    assert line == (
        "command line (variants.adam.optimizer.beta1=1): optimizer.beta1: should be less than 1, not 1 (variant adam)"
    )


def test_an_override_of_another_variant_is_not_blamed(refusal: Refusal) -> None:
    (line,) = refusal("lr: 0.5", "lr: -1", "variants.adam.optimizer.lr=1")
    assert line.startswith("spec.yaml:20: variants.fast.optimizer.lr: ")


def test_a_key_that_an_override_replaced_is_not_looked_for_in_the_file(refusal: Refusal) -> None:
    (line,) = refusal("seeds: 1", "seeds: 2", "optimizer.kind=rmsprop")
    assert line == "command line (optimizer.kind=rmsprop): optimizer.lr: this key is missing"


def test_a_key_of_the_whole_experiment(refusal: Refusal) -> None:
    assert refusal("seeds: 1", "seeds: -1") == ["spec.yaml:15: seeds: should be a count from 1 to 10000, not -1"]
    assert refusal("seeds: 1", "seeds: 1", "seeds=0") == [
        "command line (seeds=0): seeds: should be a count from 1 to 10000, not 0"
    ]


def test_a_metric_in_a_list(refusal: Refusal) -> None:
    (line,) = refusal("[accuracy]", "[loss, acc]")
    assert line.startswith("spec.yaml:14: evaluation.metrics.1: no metric is called 'acc'")


def test_a_misspelt_key_of_the_whole_experiment_is_one_mistake(refusal: Refusal) -> None:
    (line,) = refusal("name:", "nmae:")
    assert line.startswith("spec.yaml:1: nmae: unknown key 'nmae'; did you mean 'name'?; the keys are name, seeds, ")
    assert line.endswith("device, variants")


def test_mistakes_of_head_and_variants_are_told_together(refusal: Refusal) -> None:
    lines = refusal("name: places", "name: pla ces", "seeds=0", "model.dropout=1", "variants.fast.optimizer.lr=x")
    assert [line.split(": ")[1] for line in lines] == ["model.dropout", "optimizer.lr", "name", "seeds"]


def test_five_are_shown_then_the_number_of_the_others(refusal: Refusal) -> None:
    lines = refusal("budget: {epochs: 1}", "budget: {epochs: 1}\nq1: 1\nq2: 1\nq3: 1\nq4: 1\nq5: 1\nq6: 1\nq7: 1")
    assert len(lines) == 6
    assert lines[-1] == "and 2 more"


def test_all_mistakes_are_in_the_exception(write_spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError) as caught:
        load(write_spec(SPEC + "".join(f"q{i}: 1\n" for i in range(9))))
    assert len(caught.value.problems) == 9
