"""Text that a trained language model writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from nnopt.data.sources.text import TextLayout
from nnopt.data.tokens import Tokens
from nnopt.errors import DataError, UsageError
from nnopt.randomness import derive
from nnopt.train.prediction import answering, load_trained
from nnopt.train.setup import Setup


def sample_text(
    folder: Path, prompt: str, count: int, temperature: float, top_k: int | None, seed: int, weights: str
) -> str:
    """The prompt and what the run in `folder` goes on with; without a prompt it begins after a line's end.

    Args:
        folder: of a run on text; nothing else is needed.
        prompt: what the text begins with.
        count: how many tokens are added.
        temperature: scores are divided by it before the softmax: below 1 likely tokens are drawn more often, and 0
            always takes the likeliest.
        top_k: only so many of the likeliest tokens are drawn from; None for all.
        seed: of the draws.
        weights: "best" or "last".

    Raises:
        UsageError: a run on other data, or a prompt that its vocabulary has no token for.
        CheckpointError, RunsFolderError: no such weights, or no run.
    """
    setup, state, _ = load_trained(folder, weights)
    layout = text_layout(setup, folder)
    begun = _begin(layout.tokens, prompt)
    generator = torch.Generator().manual_seed(derive(seed, "sample"))
    with answering(setup, state) as network:
        drawn = list(generate(network, begun.to(setup.device), count, layout.context, temperature, top_k, generator))
    return layout.tokens.decode([*(begun.tolist() if prompt else []), *drawn])


def text_layout(setup: Setup, folder: Path) -> TextLayout:
    """How the run in `folder` reads text.

    Raises:
        UsageError: it was trained on something else.
    """
    layout = setup.data.encoding.layout if setup.data.encoding is not None else None
    if not isinstance(layout, TextLayout):
        raise UsageError(f"{folder} was trained on {setup.data.name}, and only a run on text goes on with one")
    return layout


def generate(
    network: nn.Module,
    begun: Tensor,
    count: int,
    context: int,
    temperature: float,
    top_k: int | None,
    generator: torch.Generator,
) -> Iterator[int]:
    """Draws `count` tokens, each from what the network foretells after the last `context` tokens before it.

    Args:
        network: tokens [1, length] -> scores [1, length, vocabulary], in evaluation mode.
        begun: [n], the tokens that it goes on from, at least one, on its device.
        count: how many tokens to draw.
        context: the most tokens that it reads.
        temperature: as in `sample_text`.
        top_k: as in `sample_text`.
        generator: of the draws, on the CPU.
    """
    tokens = begun
    for _ in range(count):
        tokens = tokens[-context:]
        scores = network(tokens[None])[0, -1].float().cpu()
        chosen = int(scores.argmax()) if temperature == 0 else _draw(scores / temperature, top_k, generator)
        tokens = torch.cat((tokens, tokens.new_tensor([chosen])))
        yield chosen


def _begin(tokens: Tokens, prompt: str) -> Tensor:
    """The tokens to go on from: those of the prompt, or else a line's end, or the first token where none is known."""
    try:
        # What the terminal gave that is no UTF-8 is told by the vocabulary.
        return torch.from_numpy(tokens.encode((prompt or "\n").encode(errors="surrogateescape"))).to(torch.int64)
    except DataError as error:
        if prompt:
            raise UsageError(f"--prompt: {error}") from None
        return torch.zeros(1, dtype=torch.int64)


def _draw(scores: Tensor, top_k: int | None, generator: torch.Generator) -> int:
    if top_k is not None and top_k < len(scores):
        scores = scores.masked_fill(scores < scores.topk(top_k).values[-1], float("-inf"))
    return int(torch.multinomial(scores.softmax(0), 1, generator=generator))
