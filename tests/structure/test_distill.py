"""Distances from teachers' answers and layers: against torch.distributions, slow twins and the papers' limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, kl_divergence

from nnopt.structure.distill.answers import Answers, Sigmoid, Softmax, Values, answers_named
from nnopt.structure.distill.asked import Asked, Memory, ask, bytes_of_features
from nnopt.structure.distill.features import caught, similarities_apart, values_apart
from nnopt.structure.distill.guide import Computed, Distillation, Kept, Known, Match

TEMPERATURES = st.floats(1, 50)


def logits(seed: int, *shape: int) -> Tensor:
    """Numbers as a network's last layer gives them."""
    return 5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


@settings(max_examples=30)
@given(TEMPERATURES, st.integers(0, 10_000), st.integers(2, 6))
def test_softened_softmax_is_the_divergence_of_two_categorical_variables(temperature: float, seed: int, k: int) -> None:
    student, teacher = logits(seed, 4, k), logits(seed + 1, 4, k)
    answers = Softmax(temperature)
    found = answers.distance(student, answers.targets([teacher]))
    wanted = kl_divergence(Categorical(logits=teacher / temperature), Categorical(logits=student / temperature)).mean()
    assert found.item() == pytest.approx(temperature**2 * wanted.item(), rel=1e-3, abs=1e-5 * temperature**2)
    assert answers.distance(teacher, answers.targets([teacher])).item() == pytest.approx(0, abs=1e-6 * temperature**2)


@settings(max_examples=30)
@given(TEMPERATURES, st.integers(0, 10_000), st.integers(1, 4))
def test_softened_sigmoids_are_the_divergence_of_bernoulli_variables(temperature: float, seed: int, k: int) -> None:
    student, teacher = logits(seed, 4, k), logits(seed + 1, 4, k)
    answers = Sigmoid(temperature)
    found = answers.distance(student, answers.targets([teacher]))
    theirs, ours = (Bernoulli(logits=one.double() / temperature) for one in (teacher, student))
    wanted = kl_divergence(theirs, ours).mean()
    assert found.item() == pytest.approx(temperature**2 * wanted.item(), rel=1e-3, abs=1e-5 * temperature**2)


def test_at_a_high_temperature_it_matches_logits() -> None:
    """Hinton et al. 2015, equation 4: for logits of mean 0 the gradient tends to (z - v)/N, times T² here."""
    student = (student := logits(0, 3, 5)) - student.mean(dim=1, keepdim=True)
    teacher = (teacher := logits(1, 3, 5)) - teacher.mean(dim=1, keepdim=True)
    student.requires_grad_()
    answers = Softmax(1000.0)
    answers.distance(student, answers.targets([teacher])).backward()
    assert student.grad is not None
    wanted = (student - teacher).detach() / 5 / 3  # N = 5 classes, the mean over 3 samples
    torch.testing.assert_close(student.grad, wanted, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (Softmax(2.0), lambda t: np.exp(t / 2) / np.exp(t / 2).sum(axis=1, keepdims=True)),
        (Sigmoid(2.0), lambda t: 1 / (1 + np.exp(-t / 2))),
        (Values(), lambda t: t),
    ],
)
def test_several_teachers_are_averaged_in_what_they_say(answers: Answers, said: Any) -> None:
    teachers = [logits(seed, 3, 4) for seed in range(3)]
    wanted = np.mean([said(one.double().numpy()) for one in teachers], axis=0)
    np.testing.assert_allclose(answers.targets(teachers).numpy(), wanted, rtol=1e-5)


def test_values_are_the_mean_squared_difference_whatever_the_temperature() -> None:
    student, teacher = logits(0, 3, 2), logits(1, 3, 2)
    found = answers_named("values", 7.0).distance(student, teacher).item()
    assert found == pytest.approx(float(np.mean((student.numpy() - teacher.numpy()) ** 2)), rel=1e-5)


# ------------------------------------------------------------------------------------------------ layers


def slow_similarities(student: np.ndarray, teacher: np.ndarray) -> float:
    """Tung & Mori 2019, equations 1 to 4, entry by entry."""
    grams = []
    for rows in (student, teacher):
        gram = np.array([[float(np.sum(a * b)) for b in rows] for a in rows])
        grams.append(np.array([row / math.sqrt(float(np.sum(row**2))) for row in gram]))
    return float(sum((x - y) ** 2 for x, y in zip(grams[0].ravel(), grams[1].ravel(), strict=True)) / len(student) ** 2)


def test_similarities_equal_a_slow_twin_and_compare_layers_of_any_sizes() -> None:
    student, teacher = logits(0, 5, 3), logits(1, 5, 2, 4)
    wanted = slow_similarities(student.double().numpy(), teacher.double().numpy())
    assert similarities_apart(student, teacher).item() == pytest.approx(wanted, rel=1e-4)
    assert similarities_apart(teacher * 3, teacher).item() == pytest.approx(0, abs=1e-10)


def test_samples_without_any_feature_leave_gradients_finite() -> None:
    student = torch.zeros(3, 4, requires_grad=True)
    similarities_apart(student.relu(), logits(0, 3, 4)).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def network(seed: int, width: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))


def test_caught_outputs_are_those_of_the_named_layers_and_no_hook_stays() -> None:
    model, inputs = network(0, 5), logits(1, 4, 6)
    with caught(model, ["1", "0", "1"]) as found:
        model(inputs)
    assert torch.equal(found["0"], model[0](inputs))
    assert torch.equal(found["1"], model[1](model[0](inputs)))
    assert not any(layer._forward_hooks for layer in model.modules())


def test_asking_in_chunks_gives_what_the_network_says_in_evaluation_mode() -> None:
    model, inputs = nn.Sequential(network(0, 5), nn.Dropout(0.5)), logits(1, 7, 6)
    asked = ask(model, inputs.split(3), ["0.0"])
    torch.testing.assert_close(asked.outputs, model[0](inputs))
    torch.testing.assert_close(asked.features["0.0"], model[0][0](inputs))
    assert not asked.outputs.requires_grad
    assert bytes_of_features(model, inputs[:1], ["0.0"]) == 5 * 4


def test_the_oldest_answers_go_when_they_do_not_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnopt.structure.distill.asked.MOST_BYTES", 100)
    memory, asked_for = Memory(), []

    def get(key: str) -> None:
        memory.get(key, lambda: asked_for.append(key) or Asked(torch.zeros(12), {}))  # 48 bytes each

    for key in ("a", "b", "a", "c", "b", "a"):
        get(key)
    assert asked_for == ["a", "b", "c", "a"]


# ------------------------------------------------------------------------------------------------ the guide


@pytest.mark.parametrize("rows", [None, torch.tensor([4, 0, 2])])
@pytest.mark.parametrize("keeps", [True, False])
def test_the_whole_objective_is_the_weighted_sum_of_its_parts(rows: Tensor | None, keeps: bool) -> None:
    student, teacher, inputs = network(0, 4), network(1, 9).eval(), logits(2, 5, 6)
    labels = torch.tensor([0, 1, 2, 0, 1])
    asked = ask(teacher, inputs.split(2), ["0", "2"])
    answers = Softmax(3.0)
    matches = [Match("1", "0", 0.5, "similarities"), Match("2", "2", 2.0, "values")]
    features = Kept(asked.features) if keeps else Computed(teacher, ["0", "2"])
    guide = Distillation(answers, Known(answers.targets([asked.outputs])), 0.3, matches, features)

    chosen = torch.arange(5) if rows is None else rows
    batch = inputs[chosen]
    with guide.watching(student):
        outputs = student(batch)
    loss = nn.functional.cross_entropy(outputs, labels[chosen])
    found = guide(loss, outputs, batch, rows)

    hidden = student[1](student[0](batch))
    distance = answers.distance(student[2](hidden), answers.targets([teacher(batch)]))
    wanted = 0.7 * loss + 0.3 * distance
    wanted = wanted + 0.5 * similarities_apart(hidden, teacher[0](batch)) + 2 * values_apart(outputs, teacher(batch))
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_without_layers_nothing_watches_the_network() -> None:
    model = network(0, 4)
    with Distillation(Values(), Known(torch.zeros(5, 3)), 0.5).watching(model):
        assert not any(layer._forward_hooks for layer in model.modules())
