"""No garbage is looked for while modules load."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from nnopt.collecting import while_loading


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize("was_on", [True, False])
def test_it_is_off_in_the_block_and_then_as_before(was_on: bool) -> None:
    (gc.enable if was_on else gc.disable)()
    with while_loading():
        assert not gc.isenabled()
    assert gc.isenabled() is was_on


def test_what_was_loaded_is_not_gone_through_again() -> None:
    gc.unfreeze()
    with while_loading():
        loaded = [{"a": []}]
    assert gc.get_freeze_count() > 0
    assert not any(one is loaded for one in gc.get_objects())  # of those that a collection goes through


def test_an_error_in_the_block_turns_it_on_again() -> None:
    with pytest.raises(ImportError), while_loading():
        raise ImportError("no such module")
    assert gc.isenabled()
