"""Which weights go: exactly so many, those that an independent program chooses too, and none comes back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from nnopt.structure.prune.criteria import (
    Evidence,
    GradientCriterion,
    MagnitudeCriterion,
    MovementCriterion,
    RandomCriterion,
    mean_gradient,
)
from nnopt.structure.prune.masks import bits_kept, extend, removable, set_to_zero

SHAPES = st.lists(st.sampled_from([(3, 7), (1, 1), (2, 3, 3, 3), (5, 4), (4, 2, 2)]), min_size=1, max_size=4)
N_OF_M = st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 5), (1, 100)])


def drawn(shapes: list[tuple[int, ...]], seed: int, levels: int) -> list[Tensor]:
    """Scores of few different values, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(levels, shape, generator=generator).float() for shape in shapes]


def nothing_removed(scores: list[Tensor]) -> list[Tensor]:
    return [torch.zeros(score.shape, dtype=torch.bool) for score in scores]


def slow_choice(scores: list[Tensor], count: int) -> set[tuple[int, int]]:
    """The first `count` of (layer, place) by score, equal ones in their order."""
    places = [
        (value, layer, place)
        for layer, score in enumerate(scores)
        for place, value in enumerate(score.flatten().tolist())
    ]
    return {(layer, place) for _, layer, place in sorted(places)[:count]}


def places_of(removed: list[Tensor]) -> set[tuple[int, int]]:
    return {
        (layer, place) for layer, mask in enumerate(removed) for place in mask.flatten().nonzero().flatten().tolist()
    }


@given(SHAPES, st.integers(0, 999), st.sampled_from([1, 3, 1000]), st.floats(0, 0.999))
def test_exactly_the_share_goes_and_those_of_a_slow_twin(
    shapes: list[tuple[int, ...]], seed: int, levels: int, amount: float
) -> None:
    scores = drawn(shapes, seed, levels)
    removed = nothing_removed(scores)
    extend(removed, scores, amount)
    assert places_of(removed) == slow_choice(scores, round(amount * sum(score.numel() for score in scores)))

    removed = nothing_removed(scores)
    extend(removed, scores, amount, by_layer=True)
    for mask, score in zip(removed, scores, strict=True):
        assert places_of([mask]) == slow_choice([score], round(amount * score.numel()))


@given(SHAPES, st.integers(0, 999), st.lists(st.floats(0, 0.999), min_size=2, max_size=5), st.booleans(), st.booleans())
def test_more_and_more_go_and_none_comes_back(
    shapes: list[tuple[int, ...]], seed: int, amounts: list[float], by_layer: bool, grouped: bool
) -> None:
    n_of_m = (1, 4) if grouped else None
    if grouped:
        amounts = [0.75 * amount for amount in amounts]
    removed = nothing_removed(drawn(shapes, seed, 3))
    gone: set[tuple[int, int]] = set()
    for index, amount in enumerate(sorted(amounts)):
        extend(removed, drawn(shapes, seed + index, 3), amount, by_layer, n_of_m)
        assert gone <= places_of(removed)
        gone = places_of(removed)
        parts = [[mask.shape] for mask in removed] if by_layer else [[mask.shape for mask in removed]]
        share = amount / 0.75 if grouped else amount
        assert len(gone) == sum(round(share * removable(part, n_of_m)) for part in parts)


@given(SHAPES, st.integers(0, 999), N_OF_M, st.booleans(), st.sampled_from([0.0, 0.5]))
def test_of_each_m_in_a_row_the_n_highest_stay(
    shapes: list[tuple[int, ...]], seed: int, n_of_m: tuple[int, int], by_layer: bool, first: float
) -> None:
    n, m = n_of_m
    scores = drawn(shapes, seed, 1000)
    removed = nothing_removed(scores)
    for amount in (first * (1 - n / m), 1 - n / m):
        extend(removed, scores, amount, by_layer, n_of_m)
    for mask, score in zip(removed, scores, strict=True):
        for gone, row in zip(mask.flatten(1).tolist(), score.flatten(1).tolist(), strict=True):
            for start in range(0, len(row), m):
                group = sorted(zip(row[start : start + m], range(m), strict=False))
                wanted = {place for _, place in group[: max(0, len(group) - n)]}
                assert {place for place in range(len(group)) if gone[start + place]} == wanted
    assert sum(int(mask.sum()) for mask in removed) == removable([score.shape for score in scores], n_of_m)


def test_what_is_not_a_number_stays() -> None:
    scores = [torch.tensor([[float("nan"), 2.0, float("inf"), float("-inf")]])]
    removed = nothing_removed(scores)
    extend(removed, scores, 0.5)
    assert removed[0].tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_removed_weights_become_0_whatever_they_are_and_others_keep_their_bits(dtype: torch.dtype) -> None:
    values = torch.tensor([1.5, -1.5, float("inf"), float("nan"), -0.0, 1e-38] * 2, dtype=dtype).view(2, 6)
    removed = torch.tensor([[True] * 6, [False] * 6])
    before = values.clone()
    set_to_zero([values], bits_kept([removed], [values]))
    assert values[0].tolist() == [0.0] * 6
    assert not values[0].signbit().any()
    assert torch.equal(values[1].view(torch.uint8), before[1].view(torch.uint8))


@pytest.mark.parametrize("amount", [0.0, 0.31, 0.9])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_torch_prunes_the_same_weights(amount: float, scope: str) -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(20, 11), nn.Linear(11, 10))
    layers = [layer for layer in model if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    weights = [layer.weight.detach().clone() for layer in layers]
    removed = nothing_removed(weights)
    half = [torch.zeros_like(mask) for mask in removed]
    scores = MagnitudeCriterion().scores(weights, evidence())
    extend(removed, scores, amount, by_layer=scope == "layer")
    extend(half, scores, amount / 2, by_layer=scope == "layer")
    extend(half, scores, amount, by_layer=scope == "layer")  # in two goes: no other
    if scope == "global":
        torch_prune.global_unstructured(
            [(layer, "weight") for layer in layers], torch_prune.L1Unstructured, amount=amount
        )
    else:
        for layer in layers:
            torch_prune.l1_unstructured(layer, "weight", amount)
    for layer, mask, other in zip(layers, removed, half, strict=True):
        assert torch.equal(layer.weight_mask == 0, mask)
        assert torch.equal(mask, other)


# -------------------------------------------------------------------------------------------------- scores


def evidence(seed: int = 0, slopes: list[Tensor] | None = None) -> Evidence:
    """What a criterion looks at; the gradient and the movement are `slopes`."""
    return Evidence(torch.Generator().manual_seed(seed), lambda samples: slopes or [], lambda: slopes or [])


def test_random_scores_are_a_permutation_of_the_generator() -> None:
    weights = [torch.zeros(3, 4), torch.zeros(2, 2, 2)]
    first, again, other = (RandomCriterion().scores(weights, evidence(seed)) for seed in (1, 1, 2))
    assert sorted(torch.cat([score.flatten() for score in first]).tolist()) == list(range(20))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_gradient_and_movement_weigh_as_written() -> None:
    weights, slopes = [torch.tensor([[2.0, -3.0, 0.5]])], [torch.tensor([[-1.0, 0.5, 0.0]])]
    assert GradientCriterion(10).scores(weights, evidence(slopes=slopes))[0].tolist() == [[2.0, 1.5, 0.0]]
    assert MovementCriterion().scores(weights, evidence(slopes=slopes))[0] is slopes[0]


@pytest.mark.parametrize("samples", [1, 7, 600])
def test_the_mean_gradient_is_that_of_the_samples_one_by_one(samples: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))
    inputs, targets = torch.randn(samples, 6), torch.randint(3, (samples,))
    found = mean_gradient(model, nn.functional.cross_entropy, inputs, targets)
    wanted = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    model.eval()
    for one, target in zip(inputs, targets, strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(one[None]), target[None]).backward()
        for name, parameter in model.named_parameters():
            wanted[name] += parameter.grad / samples
    for name, slope in wanted.items():
        torch.testing.assert_close(found[name], slope)


def test_the_mean_gradient_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2), nn.Linear(2, 2))
    model[4].weight.requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn_before = torch.get_rng_state()
    inputs, targets = torch.randn(300, 4), torch.randint(2, (300,))
    torch.set_rng_state(drawn_before)
    found = mean_gradient(model, nn.functional.cross_entropy, 5 + 3 * inputs, targets)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all((parameter.grad == 7).all() for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn_before)
    assert model.training
    assert found["1.weight"].abs().max() > 0
    assert torch.equal(found["4.weight"], torch.zeros(2, 2))
    # A shift and a scale of the inputs is what batch norm takes away, if it looks at them and not at its averages.
    again = mean_gradient(model, nn.functional.cross_entropy, 5 + 3 * 2 * inputs, targets)
    torch.testing.assert_close(found["3.weight"], again["3.weight"], atol=2e-3, rtol=0.02)
    mean_gradient(model, nn.functional.cross_entropy, inputs[:1], targets[:1])
