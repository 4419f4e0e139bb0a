"""What every optimizer is to do besides learning: each check with its reason."""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from nnopt.bench.conformance.outcome import Outcome
from nnopt.bench.conformance.shapes import LOSS, Shapes, rows
from nnopt.bench.conformance.trial import Trial, in_words, keys_of, refusal, spec_of
from nnopt.errors import UsageError
from nnopt.randomness import derive

UPDATES = 12  # enough for work that is done every fifth or tenth step to be done
LEARNING = 40  # until when something has to be learned; those that look for their rate begin with steps of all lengths
LOSS_KIND = "cross_entropy"
CHANGED = "hidden.weight"  # what `entries` gives other gradients

Keys = dict[str, Any]


class _BrokenError(Exception):
    """What was seen that should not be."""


class _DeclaredError(Exception):
    """Why the check is not for this optimizer, in its own words."""


def _begin(keys: Keys, **shapes: bool) -> Trial:
    return Trial.begin(spec_of(keys), Shapes(**shapes), LOSS)


def _train(trial: Trial, updates: int = UPDATES, multiplier: float = 1.0) -> Trial:
    inputs, targets = rows(trial.parameters.values[0].dtype)
    for _ in range(updates):
        trial.update(inputs, targets, multiplier)
    return trial


def _loss(trial: Trial) -> float:
    inputs, targets = rows(trial.parameters.values[0].dtype)
    return float(LOSS(trial.outputs(inputs), targets))


def _leaves(state: Any) -> list[Any]:
    """What a state holds, tensors as lists of numbers."""
    if isinstance(state, dict):
        return [leaf for key in state for leaf in (key, *_leaves(state[key]))]
    if isinstance(state, list | tuple):
        return [leaf for item in state for leaf in _leaves(item)]
    return [state.tolist() if isinstance(state, Tensor) else state]


def _same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(left, right, strict=True))


def _judged(trial: Trial) -> list[Tensor]:
    return trial.weights() + [one.clone() for one in trial.optimizer.shown() or []]


def _learns(trial: Trial, what: str) -> str:
    before = _loss(trial)
    after = _loss(_train(trial, LEARNING))
    if not trial.is_finite():
        raise _BrokenError(f"{what}: a weight is no finite number after {LEARNING} updates")
    if not after < before:
        raise _BrokenError(f"{what}: the loss went from {before:.4f} to {after:.4f} in {LEARNING} updates")
    return f"loss {before:.3f} to {after:.3f} in {LEARNING} updates"


def shapes(keys: Keys) -> str:
    """Kernels, matrices, vectors and a single number train together."""
    return _learns(_begin(keys), "kernels, matrices, vectors and a number")


def idle(keys: Keys) -> str:
    """Parameters whose gradient is 0 do no harm, and none comes to them: weight decay may shrink them."""
    trial = _begin(keys, idle=True)
    before = {name: value.clone() for name, value in trial.parameters.named() if "idle" in name}
    said = _learns(trial, "beside parameters without a part in the loss")
    for name, value in trial.parameters.named():
        if name in before and bool((value.abs() > before[name].abs() * (1 + 1e-6)).any()):
            raise _BrokenError(
                f"{name} has no part in the loss, and went from {before[name].tolist()} to {value.tolist()}"
            )
    return said


def empty(keys: Keys) -> str:
    """A parameter without entries does no harm."""
    return _learns(_begin(keys, empty=True), "beside a parameter without entries")


def resume(keys: Keys) -> str:
    """Training that goes on from a file is, bit for bit, training that was never stopped."""
    unbroken = _train(_begin(keys), UPDATES // 2 + 1)
    file = io.BytesIO()
    passes = unbroken.backward.evaluations
    torch.save({"weights": unbroken.model.state_dict(), "optimizer": unbroken.optimizer.state_dict()}, file)
    file.seek(0)
    _train(unbroken, UPDATES, 0.5)
    resumed = _train(_begin(keys), 2)
    try:
        saved = torch.load(file, weights_only=True)
    except Exception as error:  # whatever torch says of an object that it does not trust
        words = str(error).strip().splitlines()[0]
        raise _BrokenError(f"torch.load(weights_only=True) cannot read its state: {words}") from error
    resumed.model.load_state_dict(saved["weights"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    resumed.backward.evaluations = passes
    _train(resumed, UPDATES, 0.5)
    if not _same(_judged(resumed), _judged(unbroken)):
        raise _BrokenError("weights differ from those of training that was never stopped: state_dict lacks something")
    if _leaves(resumed.optimizer.state_dict()) != _leaves(unbroken.optimizer.state_dict()):
        raise _BrokenError("weights are those of training that was never stopped, but state_dict is not")
    return f"the same bits {UPDATES} updates later"


def repeat(keys: Keys) -> str:
    """Two runs give the same bits, and draw nothing from torch's default generator, which is the network's."""
    first = _train(_begin(keys))
    state = torch.get_rng_state()
    second = _begin(keys)
    built = torch.get_rng_state()
    _train(second)
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    if not _same(_judged(first), _judged(second)):
        raise _BrokenError("two runs of the same spec end at different weights")
    if not torch.equal(built, after):
        raise _BrokenError("its steps draw from torch's default generator: take Objective.generator")
    return f"the same bits after {UPDATES} updates"


def order(keys: Keys) -> str:
    """The order of parameters changes nothing beyond rounding, in double precision."""
    ways = []
    for turned in (False, True):
        model = Shapes(turned=turned).double()
        start = [value.detach().clone() for _, value in sorted(model.named_parameters())]
        trial = _train(Trial.begin(spec_of(keys), model, LOSS), 5)
        ways.append(torch.cat([(new - old).flatten() for new, old in zip(trial.weights(), start, strict=True)]))
    apart = float((ways[0] - ways[1]).norm() / ways[0].norm())
    if not apart < 1e-5:
        raise _BrokenError(f"layers in another order: the ways of 5 updates differ by {apart:.1e} of their length")
    return f"the ways of 5 updates differ by {apart:.0e} of their length"


def evaluations(keys: Keys) -> str:
    """A step evaluates once, or the class says otherwise; no more than a gradient, or the class says otherwise."""
    trial = _begin(keys)
    declared = trial.spec.evaluations_vary
    _train(trial, 2)
    passes = trial.backward.evaluations
    if declared != (passes > 2):
        raise _BrokenError(f"2 updates took {passes} passes, and its class has evaluations_vary = {declared}")
    plain = _begin(keys)
    inputs, targets = rows()
    plain.update(inputs, targets)  # so that the pass has its batch
    try:
        plain.optimizer.step(lambda: plain.backward(), plain.spec.peak_lr)
    except UsageError as error:
        if not plain.spec.inner.needs_curvature:
            raise _BrokenError(
                f"given gradients alone it says: {error}; its class should have needs_curvature"
            ) from error
        return f"{passes} passes in 2 updates; without second derivatives it says so"
    if plain.spec.inner.needs_curvature:
        raise _BrokenError("its class has needs_curvature, but gradients alone are enough for it: see objective_of")
    return f"{passes} passes in 2 updates"


def rate(keys: Keys) -> str:
    """The rate that a step is given counts: from 0, as a warm-up may begin, weights stay; later on they learn."""
    trial = _begin(keys)
    before = trial.weights()
    _train(trial, 1, 0.0)
    if not _same(before, trial.weights()):
        raise _BrokenError("a first step at the rate 0 moves weights")
    after = _learns(trial, "after a first step at the rate 0")
    small = float(torch.cat([(a - b).abs().flatten() for a, b in zip(_way(keys, 1e-3), before, strict=True)]).max())
    large = float(torch.cat([(a - b).abs().flatten() for a, b in zip(_way(keys, 1.0), before, strict=True)]).max())
    if not small < large / 10:
        raise _BrokenError(
            f"2 updates at a thousandth of the rate move a weight by {small:.1e}, at all of it by {large:.1e}"
        )
    return f"after a step at the rate 0, {after}"


def _way(keys: Keys, multiplier: float) -> list[Tensor]:
    """The weights after two updates: the first of some does no more than look (SOAP's)."""
    return _train(_begin(keys), 2, multiplier).weights()


def groups(keys: Keys) -> str:
    """Groups of parameters have the rate and the weight decay that they are given."""
    spec = spec_of(keys)
    if "groups" not in type(spec.inner).model_fields:
        reason = spec.inner.refused.get("groups")
        if reason is None:
            raise _BrokenError("its class has no key `groups`, and no reason for that in `refused`")
        raise _DeclaredError(reason)
    rated = _own_rate(keys["kind"])
    lengths = [_length(keys["kind"], "hidden", decay) for decay in (0.0, 0.5 / max(spec.peak_lr, 1e-3))]
    if lengths[0] is None or lengths[1] is None:
        decayed = "refused"
    elif lengths[1] < lengths[0]:
        decayed = "heeded"
    else:
        raise _BrokenError(
            f"a group's own weight decay changes nothing: its weights are {lengths[1]:.4f} long either way"
        )
    if rated == decayed == "refused":
        raise _BrokenError("its class has a key `groups`, and refuses both a rate and a weight decay there")
    return f"a rate of its own is {rated}, a weight decay of its own is {decayed}"


def _own_rate(kind: str) -> str:
    """Whether a group's own rate is heeded, or refused."""
    try:
        trial = _begin(keys_of(kind, groups=[{"parameters": ["hidden"], "lr": 1e-20}]))
    except (ValidationError, UsageError):
        return "refused"
    before = {name: value.clone() for name, value in trial.parameters.named()}
    _train(trial)
    moved = {
        name: float((value - before[name]).norm() / before[name].norm()) for name, value in trial.parameters.named()
    }
    if moved["hidden.weight"] > 1e-5 or moved["answers.weight"] < 1e-4:
        raise _BrokenError(
            "at a rate times 1e-20 `hidden` should stay and `answers` move: their weights moved by "
            f"{moved['hidden.weight']:.1e} and {moved['answers.weight']:.1e} of their length"
        )
    return "heeded"


def _length(kind: str, layer: str, decay: float) -> float | None:
    """Of a layer's weights after training with a weight decay of its own; None where that is refused."""
    group = {"parameters": [layer], "weight_decay": decay}
    try:
        trial = _begin(keys_of(kind, groups=[group]))
    except (ValidationError, UsageError):
        return None
    _train(trial)
    values = [value.flatten() for name, value in trial.parameters.named() if name.startswith(layer)]
    return float(torch.cat(values).norm())


def overflow(keys: Keys) -> str:
    """Where a scaled loss overflowed, neither weights nor state change; a finite step is the usual one."""
    refused = refusal(keys, LOSS_KIND, "fp16")
    if refused is not None:
        raise _DeclaredError(refused)
    trial, usual = _train(_begin(keys), 3), _train(_begin(keys), 3)
    weights, state = _judged(trial), copy.deepcopy(_leaves(trial.optimizer.state_dict()))

    def overflowed() -> Tensor:
        for gradient in trial.parameters.gradients:
            gradient.fill_(torch.inf)
        trial.parameters.gradients[0].view(-1)[0] = torch.nan
        return torch.tensor(torch.inf)

    trial.optimizer.step(overflowed, trial.spec.peak_lr, lambda: torch.tensor(False))
    if not _same(_judged(trial), weights):
        raise _BrokenError("weights change in a step whose gradients overflowed (finite() is false)")
    if _leaves(trial.optimizer.state_dict()) != state:
        raise _BrokenError("its state changes in a step whose gradients overflowed (finite() is false)")
    inputs, targets = rows()
    trial.update(inputs, targets, finite=lambda: torch.tensor(True))
    usual.update(inputs, targets)
    if not _same(_judged(trial), _judged(usual)):
        raise _BrokenError("the step after an overflow is not the one that comes without it")
    return "an overflow changes neither weights nor state"


def entries(keys: Keys) -> str:
    """A weight's way comes of its own gradients alone, or the class says otherwise: parallel fsdp cuts tensors."""
    spec = spec_of(keys)
    if not spec.inner.flat:
        raise _DeclaredError("it looks at whole tensors (flat = False)")
    if spec.evaluations_vary or spec.inner.needs_curvature:
        raise _DeclaredError("it evaluates as it likes, and is not steered by gradients that are given to it")
    usual, other = _steered(keys, 1.0), _steered(keys, -30.0)
    moved = [name for name, way in usual.items() if name != CHANGED and not torch.equal(way, other[name])]
    if bool(moved) != spec.inner.sums_over_all:
        seen = f"other gradients of {CHANGED} alone change {', '.join(moved) or 'no other weights'}"
        raise _BrokenError(f"{seen}, and its class has sums_over_all = {spec.inner.sums_over_all}")
    return "sums go over all weights, as its class says" if moved else "each weight goes its way by itself"


def _steered(keys: Keys, factor: float) -> dict[str, Tensor]:
    """The weights after steps along one gradient, that of a layer times `factor` in every other step."""
    trial = _begin(keys)
    generator = torch.Generator().manual_seed(derive(0, "steered"))
    ways = {name: torch.randn(value.shape, generator=generator) for name, value in trial.parameters.named()}

    def evaluate(update: int) -> Tensor:
        for name, gradient in trial.parameters.named(trial.parameters.gradients):
            gradient.copy_(ways[name] * (factor if name == CHANGED and update % 2 else 1.0))
        return torch.tensor(1.0)

    for update in range(UPDATES):
        trial.optimizer.step(functools.partial(evaluate, update), trial.spec.peak_lr)
    return {name: value.clone() for name, value in trial.parameters.named(trial.optimizer.shown())}


PROPERTIES: dict[str, Callable[[Keys], str]] = {
    check.__name__: check
    for check in (shapes, idle, empty, resume, repeat, order, evaluations, rate, groups, overflow, entries)
}


def check(name: str, kind: str) -> Outcome:
    """How one of `PROPERTIES` ended."""
    keys = keys_of(kind)
    reason = spec_of(keys).cannot.get(name)
    try:
        seen = PROPERTIES[name](keys)
    except _DeclaredError as words:
        return Outcome(name, "declared", str(words), keys)
    except _BrokenError as words:
        if reason is not None:
            return Outcome(name, "declared", f"{reason} ({words})", keys)
        return Outcome(name, "failed", str(words), keys)
    except Exception as error:  # whatever an optimizer of someone's own raises
        if reason is not None and isinstance(error, UsageError):
            return Outcome(name, "declared", reason, keys)
        return Outcome(name, "failed", f"it raises {in_words(error)}", keys)
    if reason is not None:
        return Outcome(name, "failed", f"its class says it cannot ({reason}), but: {seen}", keys)
    return Outcome(name, "passed", seen, keys)
