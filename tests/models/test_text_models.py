"""Models that read tokens: published sizes, slow twins, and what a place may see."""

from __future__ import annotations

import math
from typing import Annotated, Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from nnopt.models.lstm import Lstm
from nnopt.models.transformer import Attention, Transformer
from nnopt.models.vectors import Rotation
from nnopt.optim.parameters import FlatParameters
from nnopt.spec.models import MODELS, ModelSpec

SPECS: TypeAdapter[Any] = TypeAdapter(Annotated[ModelSpec, MODELS])
SMALL = {"layers": 2, "heads": 2, "width": 16}
VOCABULARY, CONTEXT = 11, 8
KINDS: dict[str, dict[str, Any]] = {
    "learned": {"kind": "transformer", **SMALL},
    "rotary": {"kind": "transformer", **SMALL, "positions": "rotary", "norm": "rms", "tied": False},
    "lstm": {"kind": "lstm", "width": 16},
}


def build(keys: dict[str, Any], context: int = CONTEXT, vocabulary: int = VOCABULARY) -> nn.Module:
    torch.manual_seed(0)
    model = SPECS.validate_python(keys).build((context,), vocabulary)
    assert isinstance(model, nn.Module)
    return model


def tokens(n: int = 3, length: int = CONTEXT, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (n, length), generator=torch.Generator().manual_seed(seed))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_gpt_2_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        small = build({"kind": "transformer", "layers": 12, "heads": 12, "width": 768}, 1024, 50_257)
    assert count(small) == 124_439_808


@pytest.mark.parametrize("tied", [True, False])
def test_an_lstm_has_torch_s_own_number_of_parameters(tied: bool) -> None:
    model = build({"kind": "lstm", "layers": 2, "width": 16, "tied": tied})
    cells = 2 * 4 * (16 * 16 + 16 * 16 + 2 * 16)
    assert count(model) == VOCABULARY * 16 * (1 if tied else 2) + cells + VOCABULARY


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_sees_nothing_of_what_comes_after_it(kind: str) -> None:
    model = build(KINDS[kind]).eval()
    before = tokens()
    for place in range(CONTEXT):
        after = before.clone()
        after[:, place] = (after[:, place] + 1) % VOCABULARY
        seen, changed = model(before), model(after)
        assert torch.equal(seen[:, :place], changed[:, :place])
        assert not torch.allclose(seen[:, place:], changed[:, place:])


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_tokens_than_the_context_are_answered_as_the_first_ones_are(kind: str) -> None:
    model = build(KINDS[kind]).eval()
    assert torch.allclose(model(tokens()[:, :3]), model(tokens())[:, :3], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_loss_is_that_of_guessing(kind: str) -> None:
    model = build(KINDS[kind], 32, 500)
    given = torch.randint(500, (8, 33), generator=torch.Generator().manual_seed(2))
    loss = nn.functional.cross_entropy(model(given[:, :-1]).flatten(0, 1), given[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(500), abs=0.05)


@pytest.mark.parametrize("rotary", [False, True])
def test_attention_equals_its_slow_twin(rotary: bool) -> None:
    torch.manual_seed(3)
    width, heads, length = 12, 3, 5
    each = width // heads
    attention = Attention(width, heads, 0.0, Rotation(each, length) if rotary else None).double()
    values = torch.randn(2, length, width, dtype=torch.float64)
    wanted = torch.empty_like(values)
    for n in range(2):
        query, key, value = attention.query_key_value(values[n]).split(width, dim=1)
        for head in range(heads):
            part = slice(head * each, (head + 1) * each)
            for place in range(length):
                scores = torch.stack(
                    [
                        turned(query[place, part], place, rotary) @ turned(key[other, part], other, rotary)
                        for other in range(place + 1)
                    ]
                )
                weights = (scores / math.sqrt(each)).softmax(0)
                wanted[n, place, part] = weights @ value[: place + 1, part]
    assert torch.allclose(attention(values), attention.output(wanted), atol=1e-6)


def turned(vector: Tensor, place: int, rotary: bool) -> Tensor:
    """Each pair of numbers (j, j + d/2) as a complex number, times e^(i · place · 10000^(−2j/d))."""
    if not rotary:
        return vector
    half = len(vector) // 2
    angles = torch.tensor([place * 10_000 ** (-2 * pair / len(vector)) for pair in range(half)], dtype=torch.float64)
    found = torch.complex(vector[:half], vector[half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((found.real, found.imag))


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    rotation = Rotation(8, 20)
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(4)).unbind()
    along = [rotation(vector.expand(1, 1, 20, 8))[0, 0] for vector in (query, key)]
    scores = along[0] @ along[1].T
    for distance in range(5):
        assert torch.allclose(scores.diagonal(distance), scores[0, distance], atol=1e-5)
    assert not torch.allclose(scores[0, 1], scores[0, 2])


def test_what_is_added_to_the_sum_of_all_blocks_begins_smaller() -> None:
    model = build({"kind": "transformer", "layers": 8, "heads": 4, "width": 128})
    assert isinstance(model, Transformer)
    state = model.state_dict()
    spread = {name: state[name].std().item() for name in state if name.endswith("weight") and state[name].dim() == 2}
    for name, found in spread.items():
        adds = name.endswith(("attention.output.weight", "dense.2.weight"))
        assert found == pytest.approx(0.02 / math.sqrt(16) if adds else 0.02, rel=0.1), name


def test_dropout_acts_in_training_alone() -> None:
    for keys in ({**KINDS["learned"], "dropout": 0.5}, {**KINDS["lstm"], "dropout": 0.5}):
        model = build(keys)
        assert not torch.equal(model(tokens()), model(tokens()))
        model.eval()
        assert torch.equal(model(tokens()), model(tokens()))


@pytest.mark.parametrize("kind", ["learned", "lstm"])
def test_tied_weights_stay_one_in_flat_parameters_and_learn(kind: str) -> None:
    model = build(KINDS[kind])
    assert isinstance(model, Transformer | Lstm)
    parameters = FlatParameters(model)
    assert parameters.count == count(model)
    model(tokens()).square().sum().backward()
    parameters.values[0].sub_(parameters.gradients[0], alpha=0.01)
    assert torch.equal(model.head.weight, model.tokens.weight)
    assert model.head.weight.data_ptr() == model.tokens.weight.data_ptr()
    other = build(KINDS[kind])
    other.load_state_dict(model.state_dict())
    model.eval()
    assert torch.equal(other.eval()(tokens()), model(tokens()))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "transformer", "width": 130}, "width should be a multiple of heads: 130 is none of 4"),
        ({"kind": "transformer", "width": 12, "positions": "rotary"}, "rotary turns pairs of numbers"),
        ({"kind": "transformer", "layers": 0}, "greater than 0"),
        ({"kind": "lstm", "heads": 2}, "unknown key 'heads'"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SPECS.validate_python(keys)
