"""Seeds as a spec gives them: a count or a list."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from nnopt.spec.base import show

MAX_SEEDS = 10_000
SEEDS_END = 2**63  # the first number that is no seed


def read_seeds(value: Any, _handler: ValidatorFunctionWrapHandler) -> int | tuple[int, ...]:
    """A count from 1, or a list of different whole numbers from 0, each as it was given.

    Raises:
        PydanticCustomError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_SEEDS:
            raise PydanticCustomError("seeds", f"should be a count from 1 to {MAX_SEEDS}, not {value}")
        return value
    if not isinstance(value, list | tuple) or not value:
        raise PydanticCustomError("seeds", f"should be a count or a list of whole numbers, not {show(value)}")
    for seed in value:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEEDS_END:
            raise PydanticCustomError("seeds", f"a seed should be a whole number from 0, not {show(seed)}")
    doubled = [seed for seed in value if list(value).count(seed) > 1]
    if doubled:
        raise PydanticCustomError("seeds", f"the seed {doubled[0]} is given twice; each seed is one run")
    return tuple(value)


# A count or a list, kept as it was given.
SeedsSpec = Annotated[
    int | tuple[int, ...],
    WrapValidator(read_seeds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]


def counted_seeds(value: Any, handler: ValidatorFunctionWrapHandler) -> tuple[int, ...]:
    """As `read_seeds`, with a count written out: 3 is 0, 1, 2."""
    seeds = read_seeds(value, handler)
    return tuple(range(seeds)) if isinstance(seeds, int) else seeds
