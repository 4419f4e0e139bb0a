"""What a language model makes of a text: the probability of each token after those before it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnopt.data.sources.text import TextLayout
from nnopt.errors import DataError
from nnopt.train.answers import Column


def foretold(network: nn.Module, numbers: Tensor, context: int, batch: int) -> Tensor:
    """log p of each token but the first, given those before it in its window: [n − 1].

    Args:
        network: tokens [b, length] -> scores [b, length, vocabulary], in evaluation mode.
        numbers: [n] int64 tokens, on its device. Windows follow each other without overlap, the last one shorter.
        context: the most tokens that it reads.
        batch: windows at once.
    """
    whole = (len(numbers) - 1) // context
    cut = numbers[: whole * context + 1].unfold(0, context + 1, context) if whole else numbers.new_empty(0, 2)
    windows = [*torch.split(cut, batch)] if whole else []
    if len(rest := numbers[whole * context :]) > 1:
        windows.append(rest[None])
    found = []
    for window in windows:
        scores = network(window[:, :-1]).float()
        found.append(F.log_softmax(scores, dim=-1).gather(2, window[:, 1:, None]).flatten())
    return torch.cat(found)


def columns_of_text(
    network: nn.Module, layout: TextLayout, file: Path, batch: int, device: torch.device
) -> dict[str, Column]:
    """What a network on `device` makes of a text file: position, token, probability and -log of it, a row a token.

    The first token, before which nothing stands, has no row. Windows of the context follow each other without overlap,
    `batch` of them at once.

    Raises:
        DataError: the file cannot be read, has what the vocabulary has no token for, or has one token alone.
    """
    numbers = torch.from_numpy(layout.numbers(file))
    if len(numbers) < 2:
        raise DataError(f"{file} has one token alone: nothing is to be foretold")
    logs = foretold(network, numbers.to(device), layout.context, batch).cpu().double()
    return {
        "position": range(1, len(numbers)),
        "token": [layout.tokens.names[number] for number in numbers[1:].tolist()],
        "probability": logs.exp().tolist(),
        "nll": (-logs).tolist(),
    }
