"""K-FAC: its factors against dense Fisher matrices, its steps against dense solves."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from plain_objective import PlainObjective
from torch import Tensor, nn

from nnopt.errors import CheckpointError, UsageError
from nnopt.losses import ComponentLoss, CrossEntropy, Loss
from nnopt.models.transformer import Transformer
from nnopt.optim.factors import Layer, layers_of, measured
from nnopt.optim.kfac import Kfac, KfacSettings, damped_inverses
from nnopt.optim.parameters import Group, SeparateParameters

PLAIN = KfacSettings(
    damping=0.1, momentum=0.0, average=0.95, kl_clip=None, update_every=1, invert_every=1, weight_decay=0.0
)


def settings(**keys: Any) -> KfacSettings:
    return KfacSettings(**{**PLAIN.__dict__, **keys})


def factors(
    model: nn.Module, inputs: Tensor, loss: Loss | None = None, seed: int = 0
) -> dict[str, tuple[Tensor, Tensor]]:
    """A and G of each layer, of targets drawn by `seed`."""
    parameters = SeparateParameters(model)
    objective = PlainObjective(model, parameters, inputs, inputs, CrossEntropy())
    layers = layers_of(model, parameters)
    return measured(objective.smooth(), parameters, layers, torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def eye(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def dense_fisher(model: nn.Module, inputs: Tensor, seed: int) -> Tensor:
    """Mean over the samples of the outer product of each one's gradient of [W b], columns of [W b] one by one."""
    with torch.no_grad():
        drawn = CrossEntropy().drawn(model(inputs), torch.Generator().manual_seed(seed))
    rows = []
    for one, target in zip(inputs, drawn, strict=True):
        loss = F.cross_entropy(model(one[None]), target[None])
        weight, bias = torch.autograd.grad(loss, list(model.parameters()))
        rows.append(torch.cat((weight.flatten(1), bias[:, None]), dim=1).T.flatten())
    together = torch.stack(rows)
    return together.T @ together / len(rows)


def test_one_dense_layer_that_is_given_one_input_has_the_exact_fisher_matrix() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4)).double()
    inputs = normal(1, 3).expand(30, 3)

    ((a, g),) = factors(model, inputs, seed=5).values()

    torch.testing.assert_close(torch.kron(a, g), dense_fisher(model, inputs, 5))


def test_the_fisher_matrix_is_that_of_the_model_and_not_of_the_targets() -> None:
    """With many draws at one input it is (diag p − ppᵀ) ⊗ aaᵀ, whatever the targets are."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3)).double()
    inputs = normal(1, 2).expand(50_000, 2)
    chances = model(inputs[:1])[0].softmax(0).detach()

    ((a, g),) = factors(model, inputs).values()

    extended = torch.cat((inputs[0], torch.ones(1)))
    torch.testing.assert_close(a, torch.outer(extended, extended))
    torch.testing.assert_close(g, chances.diag() - torch.outer(chances, chances), rtol=0.03, atol=0.003)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "keys",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 2)},
        {"kernel_size": 3, "dilation": 2, "padding": "same"},
        {"kernel_size": (2, 4), "padding": "same", "bias": False},
        {"kernel_size": 2, "padding": "valid"},
    ],
    ids=str,
)
def test_the_rows_of_a_convolution_times_its_weights_are_its_outputs(mode: str, keys: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(2, 5, padding_mode=mode, **keys).double()
    layer = Layer(module, "weight", "bias" if module.bias is not None else None)
    images = normal(3, 2, 7, 6)
    matrix = module.weight.flatten(1)
    if module.bias is not None:
        matrix = torch.cat((matrix, module.bias[:, None]), dim=1)

    rows = torch.cat(list(layer.rows(images)))

    torch.testing.assert_close(rows @ matrix.T, layer.output_rows(module(images)))


def test_patches_are_taken_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 3)).double()
    images = normal(7, 2, 3, 3)
    whole = factors(model, images)
    monkeypatch.setattr("nnopt.optim.factors.AT_ONCE", 2 * 3 * 3 * 4 * 2)
    module = model[0]
    assert isinstance(module, nn.Conv2d)
    assert [len(part) for part in Layer(module, "", None).rows(images)] == [8, 8, 8, 4]
    for name, pair in factors(model, images).items():
        torch.testing.assert_close(pair, whole[name])


def test_a_convolution_has_the_mean_over_places_in_a_and_the_sum_in_g() -> None:
    """Place by place, of each sample's own gradient (Grosse & Martens 2016, equations 26 and 31, the mean moved)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).double()
    images = normal(4, 1, 3, 3)
    with torch.no_grad():
        drawn = CrossEntropy().drawn(model(images), torch.Generator().manual_seed(0))
    a, g = torch.zeros(4, 4, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    for image, target in zip(images, drawn, strict=True):
        before = model[0](image[None]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model[1:](before), target[None]), before)
        for row in range(2):
            for column in range(2):
                patch = image[0, row : row + 2, column : column + 2].flatten()
                a += torch.outer(patch, patch) / 16
                g += torch.outer(slope[0, :, row, column], slope[0, :, row, column]) / 4

    found = factors(model, images)["0.weight"]

    torch.testing.assert_close(found, (a, g))


def test_a_layer_that_is_used_twice_has_both_uses_in_its_factors() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, values: Tensor) -> Tensor:
            answer: Tensor = self.inner(torch.tanh(self.inner(values)))
            return answer

    torch.manual_seed(0)
    model, inputs = Twice().double(), normal(6, 3)
    with torch.no_grad():
        drawn = CrossEntropy().drawn(model(inputs), torch.Generator().manual_seed(0))
    first = model.inner(inputs)
    middle = torch.tanh(first)
    last = model.inner(middle)
    slopes = torch.autograd.grad(F.cross_entropy(last, drawn), (first, last))
    rows = F.pad(torch.cat((inputs, middle)), (0, 1), value=1.0).detach()

    ((a, g),) = factors(model, inputs).values()

    torch.testing.assert_close(a, rows.T @ rows / 12)
    torch.testing.assert_close(g, 6 * sum((slope.T @ slope for slope in slopes), torch.zeros(())))


def test_an_activation_that_writes_over_its_input_changes_nothing() -> None:
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=inplace), nn.Linear(6, 3)).double()
        found.append(factors(model, normal(9, 4)))
    assert found[0].keys() == {"0.weight", "2.weight"}
    for name, pair in found[0].items():
        for one, other in zip(pair, found[1][name], strict=True):
            assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_which_layers_have_factors() -> None:
    model = Mixed()
    layers = layers_of(model, SeparateParameters(model))
    assert {layer.weight: layer.bias for layer in layers} == {
        "convolution.weight": "convolution.bias",
        "dense.weight": "dense.bias",
        "unbiased.weight": None,
    }

    model.dense.weight.requires_grad_(False)
    model.convolution.bias.requires_grad_(False)
    layers = layers_of(model, SeparateParameters(model))
    assert {layer.weight: layer.bias for layer in layers} == {"convolution.weight": None, "unbiased.weight": None}

    tied = Transformer(5, 4, 1, 2, 4, 8, "learned", True, "relu", "layer", 0.0, 0.0)
    assert {layer.weight for layer in layers_of(tied, SeparateParameters(tied))} == {
        "blocks.0.attention.query_key_value.weight",
        "blocks.0.attention.output.weight",
        "blocks.0.dense.0.weight",
        "blocks.0.dense.2.weight",
    }


class Mixed(nn.Module):
    """Layers that have factors, and others."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 1)
        self.grouped = nn.Conv2d(2, 2, 1, groups=2)
        self.norm = nn.BatchNorm2d(2)
        self.dense = nn.Linear(2, 2)
        self.unbiased = nn.Linear(2, 2, bias=False)
        self.empty = nn.Linear(0, 2)
        self.weighed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        self.one = nn.Linear(2, 2)
        self.other = nn.Linear(2, 2)
        self.other.weight = self.one.weight


@pytest.mark.parametrize("pair", [(normal(5, 3), normal(4, 2)), (normal(2, 3), torch.zeros(1, 2, dtype=torch.float64))])
def test_the_inverses_are_damped_by_pi(pair: tuple[Tensor, Tensor]) -> None:
    a, g = (one.T @ one for one in pair)
    is_zero = not g.any()
    pi = 1.0 if is_zero else math.sqrt((a.trace() / 3) / (g.trace() / 2))

    left, right = damped_inverses(a, g, 0.09)

    torch.testing.assert_close(left, torch.linalg.inv(a + pi * 0.3 * eye(3)))
    torch.testing.assert_close(right, torch.linalg.inv(g + 0.3 / pi * eye(2)))


def test_a_damping_that_rounding_drowns_is_raised() -> None:
    a = torch.full((40, 40), 1e6)
    for inverse in damped_inverses(a, a, 1e-20):
        assert inverse.isfinite().all()
        torch.testing.assert_close(inverse, inverse.T)


def slowly(
    weights: list[Tensor], inputs: Tensor, targets: Tensor, steps: int, lr: float, keys: KfacSettings
) -> list[Tensor]:
    """The twin: two dense layers [W b] around tanh, dense Fisher blocks of per-sample gradients, dense solves."""
    weights = [weight.clone() for weight in weights]
    velocity = [torch.zeros_like(weight) for weight in weights]
    averages: list[list[Tensor]] = []
    damped: list[Tensor] = []
    passes = count = 0

    def answer(sample: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        one = torch.ones(1, dtype=torch.float64)
        first = torch.cat((sample, one))
        hidden = (weights[0] @ first).requires_grad_()
        second = torch.cat((torch.tanh(hidden), one))
        return [first, second], [hidden, weights[1] @ second]

    for step in range(steps):
        gradients = [torch.zeros_like(weight) for weight in weights]
        for sample, target in zip(inputs, targets, strict=True):
            given, made = answer(sample)
            slopes = torch.autograd.grad(F.cross_entropy(made[1][None], target[None]), made)
            for total, slope, a in zip(gradients, slopes, given, strict=True):
                total += torch.outer(slope, a.detach()) / len(inputs)
        passes += 1
        if step % keys.update_every == 0:
            outputs = torch.stack([answer(sample)[1][1].detach() for sample in inputs])
            drawn = CrossEntropy().drawn(outputs, torch.Generator().manual_seed(passes))
            passes += 1
            found = [[torch.zeros(n, n, dtype=torch.float64) for n in (w.shape[1], w.shape[0])] for w in weights]
            for sample, target in zip(inputs, drawn, strict=True):
                given, made = answer(sample)
                slopes = torch.autograd.grad(F.cross_entropy(made[1][None], target[None]), made)
                for block, a, slope in zip(found, given, slopes, strict=True):
                    block[0] += torch.outer(a, a).detach() / len(inputs)
                    block[1] += torch.outer(slope, slope) / len(inputs)
            count += 1
            rho = min(1 - 1 / count, keys.average)
            averages = averages or found
            averages = [
                [rho * old + (1 - rho) * new for old, new in zip(*pair, strict=True)]
                for pair in zip(averages, found, strict=True)
            ]
        if step % keys.invert_every == 0:
            damped = []
            for a, g in averages:
                pi = math.sqrt((a.trace() / len(a)) / (g.trace() / len(g)))
                root = math.sqrt(keys.damping)
                damped.append(torch.kron(a + pi * root * eye(len(a)), g + root / pi * eye(len(g))))
        ways = [
            torch.linalg.solve(matrix, gradient.T.flatten()).view(gradient.T.shape).T
            for matrix, gradient in zip(damped, gradients, strict=True)
        ]
        change = sum(float((way * gradient).sum()) for way, gradient in zip(ways, gradients, strict=True)) * lr**2
        scale = 1.0 if keys.kl_clip is None else min(1.0, math.sqrt(keys.kl_clip / change))
        for place, way in enumerate(ways):
            velocity[place] = keys.momentum * velocity[place] + scale * way
            weights[place] = ((1 - lr * keys.weight_decay) * weights[place] - lr * velocity[place]).detach()
    return weights


@pytest.mark.parametrize(
    "keys",
    [
        PLAIN,
        settings(momentum=0.8, update_every=2, invert_every=3, average=0.4, weight_decay=0.1),
        settings(kl_clip=1e-3, momentum=0.5, damping=1e-3),
    ],
    ids=["plain", "all", "clipped"],
)
def test_steps_equal_those_of_dense_blocks(keys: KfacSettings) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    inputs, targets = normal(7, 3), torch.arange(7) % 3
    before = [torch.cat((layer.weight, layer.bias[:, None]), dim=1).detach() for layer in (model[0], model[2])]
    expected = slowly(before, inputs, targets, 5, 0.3, keys)
    optimizer = Kfac(parameters := SeparateParameters(model), keys)
    objective = PlainObjective(model, parameters, inputs, targets, CrossEntropy())

    for _ in range(5):
        optimizer.step(objective, 0.3)

    for layer, wanted in zip((model[0], model[2]), expected, strict=True):
        found = torch.cat((layer.weight, layer.bias[:, None]), dim=1).detach()
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(expected[0], before[0], rtol=1e-3)


def test_one_step_solves_badly_scaled_least_squares() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1)).double()
    inputs = normal(20_000, 3) * torch.tensor([1.0, 100.0, 0.01])
    targets = inputs @ torch.tensor([[2.0], [0.03], [-50.0]], dtype=torch.float64) + 1
    objective = PlainObjective(model, SeparateParameters(model), inputs, targets, ComponentLoss(F.mse_loss, None))
    before = float(objective())

    Kfac(objective.parameters, settings(damping=1e-14)).step(objective, 1.0)

    assert float(objective()) < 1e-3 * before


def test_what_is_learnt_does_not_depend_on_the_scales_of_the_inputs() -> None:
    """Martens & Grosse 2015, theorem 1: invariant to affine changes of what a layer is given, without damping."""
    change = normal(3, 3, seed=4) * torch.tensor([10.0, 1.0, 0.1])
    answers = []
    for is_changed in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
        inputs = normal(200, 3)
        if is_changed:
            with torch.no_grad():  # the same function of the changed inputs x' = Mx + 2
                model[0].weight.copy_(model[0].weight @ torch.linalg.inv(change))
                model[0].bias -= model[0].weight.sum(dim=1) * 2
            inputs = inputs @ change.T + 2
        objective = PlainObjective(model, SeparateParameters(model), inputs, torch.arange(200) % 3, CrossEntropy())
        optimizer = Kfac(objective.parameters, settings(damping=1e-18, momentum=0.5))
        for _ in range(4):
            optimizer.step(objective, 0.2)
        answers.append(model(inputs).detach())
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-4)


def test_other_parameters_take_steps_of_sgd_with_momentum() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 3)).double()
    twin = nn.LayerNorm(4).double()
    sgd = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.7)
    parameters = SeparateParameters(model)
    objective = PlainObjective(model, parameters, normal(8, 3), torch.arange(8) % 3, CrossEntropy())
    optimizer = Kfac(parameters, settings(momentum=0.7, kl_clip=1e-9))
    for _ in range(3):
        optimizer.step(objective, 0.1)
        for own, other in zip(model[1].parameters(), twin.parameters(), strict=True):
            assert own.grad is not None
            other.grad = own.grad.clone()
        sgd.step()
    for own, other in zip(model[1].parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_groups_and_the_rate_it_is_told_are_heeded() -> None:
    def moved(group: Group, lr: float) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        parameters = SeparateParameters(model, groups=[group])
        objective = PlainObjective(model, parameters, normal(8, 3), torch.arange(8) % 3, CrossEntropy())
        Kfac(parameters, PLAIN).step(objective, lr)
        return [new.detach() - old for new, old in zip(model.parameters(), before, strict=True)]

    plain = moved(Group(), 0.1)
    faster = moved(Group(frozenset({"2.weight", "2.bias"}), 3.0), 0.1)
    torch.testing.assert_close(faster, [*plain[:2], *(3 * one for one in plain[2:])])
    torch.testing.assert_close(moved(Group(), 0.2), [2 * one for one in plain])


def perceptron() -> tuple[nn.Sequential, Kfac, PlainObjective]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.3), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 3))
    parameters = SeparateParameters(model)
    inputs = torch.randn(16, 4)
    optimizer = Kfac(parameters, settings(momentum=0.9, kl_clip=1e-3, update_every=2, invert_every=3))
    return model, optimizer, PlainObjective(model, parameters, inputs, torch.arange(16) % 3, CrossEntropy())


@pytest.mark.parametrize("steps", [0, 2, 3, 4])
def test_a_stopped_optimizer_goes_on_with_the_same_bits(steps: int) -> None:
    model, optimizer, objective = perceptron()
    for _ in range(steps):
        optimizer.step(objective, 0.1)
    file = io.BytesIO()
    kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "passes": objective.passes}
    torch.save({**kept, "random": torch.get_rng_state()}, file)
    for _ in range(4):
        optimizer.step(objective, 0.1)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, other, later = perceptron()
    again.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    later.passes = saved["passes"]
    torch.set_rng_state(saved["random"])
    for _ in range(4):
        other.step(later, 0.1)
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_factors_of_numbers_that_are_not_finite_are_passed_over() -> None:
    model, optimizer, objective = perceptron()
    optimizer.step(objective, 0.1)
    kept = {name: block["inputs"].clone() for name, block in optimizer.state_dict()["blocks"].items()}
    optimizer.step(objective, 0.1)
    values = [parameter.detach().clone() for parameter in model.parameters()]
    objective.inputs = torch.full_like(objective.inputs, math.nan)
    optimizer.step(objective, 0.1)  # the third measures
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
    for name, block in optimizer.state_dict()["blocks"].items():
        assert torch.equal(block["inputs"], kept[name])


def test_what_it_cannot_use_is_said() -> None:
    _, optimizer, objective = perceptron()
    with pytest.raises(UsageError, match="kfac measures curvature and cannot use fp16: take bf16 or fp32"):
        optimizer.step(objective, 0.1, finite=lambda: torch.tensor(True))
    with pytest.raises(UsageError, match="kfac needs second derivatives, and here only gradients"):
        optimizer.step(lambda: torch.zeros(()), 0.1)

    def one(model: nn.Module, loss: Loss) -> Callable[[], None]:
        inputs = torch.zeros(2, 3)
        parameters = SeparateParameters(model)
        objective = PlainObjective(model, parameters, inputs, torch.zeros(2, dtype=torch.long), loss)
        return lambda: Kfac(parameters, PLAIN).step(objective, 0.1)

    with pytest.raises(UsageError, match="needs a model with a dense layer"):
        one(nn.LayerNorm(3), CrossEntropy())()
    with pytest.raises(UsageError, match="so none can be drawn, as optimizer kfac needs"):
        one(nn.Linear(3, 3), ComponentLoss(F.l1_loss, torch.eye(3)))()


def test_the_state_of_another_model_is_refused() -> None:
    _, optimizer, objective = perceptron()
    optimizer.step(objective, 0.1)
    state = optimizer.state_dict()
    fresh = perceptron()[1]
    weights = {**state["blocks"], "3.weight": state["blocks"]["0.weight"]}
    for other in ({}, {**state, "velocity": state["velocity"][1:]}, {**state, "blocks": weights}):
        with pytest.raises(CheckpointError, match="not one of kfac on this model"):
            fresh.load_state_dict(other)
