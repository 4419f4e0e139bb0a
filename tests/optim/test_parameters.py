"""Parameters as one flat tensor and as they are: same names, norms, clipping and penalties."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnopt.errors import UsageError
from nnopt.optim.parameters import FlatParameters, Parameters, SeparateParameters

KINDS = [FlatParameters, SeparateParameters]
WEIGHTS = {"0.weight", "2.weight"}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def backward(model: nn.Module, rows: int = 8) -> None:
    torch.manual_seed(1)
    model(torch.randn(rows, 4)).square().sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_the_plain_model(kind: type[Parameters]) -> None:
    plain, model = network(), network()
    parameters = kind(model, WEIGHTS)
    inputs = torch.randn(5, 4)
    assert torch.equal(plain.eval()(inputs), model.eval()(inputs))
    backward(plain.train())
    backward(model.train())
    expected = {name: parameter.grad for name, parameter in plain.named_parameters()}
    found = dict(parameters.named(parameters.gradients))
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


@pytest.mark.parametrize("kind", KINDS)
def test_named_parameters_lead_in_the_order_of_the_model(kind: type[Parameters]) -> None:
    parameters = kind(network(), WEIGHTS)
    assert parameters.names == ["0.weight", "2.weight", "0.bias", "1.weight", "1.bias", "2.bias"]
    assert parameters.penalised == 12 + 6
    assert parameters.count == 12 + 6 + 3 + 3 + 3 + 2


def test_the_layers_are_views_of_one_tensor() -> None:
    model = network()
    parameters = FlatParameters(model, WEIGHTS)
    (flat,), (gradient,) = parameters.values, parameters.gradients
    assert flat.shape == gradient.shape == (29,)
    flat.fill_(7)
    assert all((parameter == 7).all() for parameter in model.parameters())
    backward(model)
    assert gradient[:12].view(3, 4).equal(model[0].weight.grad)
    assert gradient.data_ptr() == model[0].weight.grad.data_ptr()
    parameters.zero_gradients()
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_loading_weights_keeps_the_views() -> None:
    model, other = network(), network()
    (flat,) = FlatParameters(model).values
    nn.init.ones_(other[0].weight)
    model.load_state_dict(other.state_dict())
    assert (flat[:12] == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_named_gives_views_of_tensors_laid_out_alike(kind: type[Parameters]) -> None:
    model = network()
    parameters = kind(model, WEIGHTS)
    average = [value.detach().clone() for value in parameters.values]
    parts = dict(parameters.named(average))
    for name, parameter in model.named_parameters():
        assert torch.equal(parts[name], parameter)
        assert not parts[name].requires_grad
        parts[name].zero_()
    assert not any(tensor.any() for tensor in average)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_add_up_over_backward_passes(kind: type[Parameters]) -> None:
    """What gradient accumulation relies on; zeroing is the caller's."""
    model = network()
    parameters = kind(model)
    backward(model)
    once = [gradient.clone() for gradient in parameters.gradients]
    backward(model)
    for gradient, first in zip(parameters.gradients, once, strict=True):
        torch.testing.assert_close(gradient, 2 * first)
    parameters.zero_gradients()
    assert parameters.gradient_norm() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_clipping_is_torchs(kind: type[Parameters], limit: float) -> None:
    plain, model = network(), network()
    parameters = kind(model)
    backward(plain)
    backward(model)
    expected_norm = nn.utils.clip_grad_norm_(plain.parameters(), limit)
    torch.testing.assert_close(parameters.clip_norm(limit), expected_norm)
    found = dict(parameters.named(parameters.gradients))
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-8)
    nn.utils.clip_grad_value_(plain.parameters(), limit / 50)
    parameters.clip_value(limit / 50)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_clipping_a_gradient_of_zero_leaves_it(kind: type[Parameters]) -> None:
    parameters = kind(network())
    parameters.clip_norm(1.0)
    assert not any(gradient.any() for gradient in parameters.gradients)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [WEIGHTS, set()])
def test_the_penalty_and_its_gradient_are_autograds(kind: type[Parameters], first: set[str]) -> None:
    plain, model = network(), network()
    parameters = kind(model, first)
    penalised = [parameter for name, parameter in plain.named_parameters() if name in first]
    expected = sum((0.3 * w.abs().sum() + 0.2 / 2 * w.square().sum() for w in penalised), start=torch.zeros(()))
    torch.testing.assert_close(parameters.penalty(l1=0.3, l2=0.2), expected.detach())

    parameters.add_penalty_gradient(l1=0.3, l2=0.2)
    if penalised:
        expected.backward()
    found = dict(parameters.named(parameters.gradients))
    for name, parameter in plain.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_parameters_stay_out_and_tied_ones_count_once(kind: type[Parameters]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    model[1].weight = model[0].weight
    model[2].requires_grad_(False)
    parameters = kind(model)
    assert parameters.names == ["0.weight", "0.bias", "1.bias"]
    assert parameters.count == 16 + 4 + 4
    assert model[1].weight is model[0].weight
    backward(model)
    assert model[2].weight.grad is None
    assert parameters.gradient_norm() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_parameters_is_refused(kind: type[Parameters]) -> None:
    with pytest.raises(UsageError, match="no trainable parameter"):
        kind(nn.Sequential(nn.ReLU()))


def test_mixed_types_cannot_be_flat() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(UsageError, match=r"torch\.float32 on cpu, torch\.float64 on cpu"):
        FlatParameters(model)
