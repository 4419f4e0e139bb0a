"""No garbage is looked for while modules load, and Ctrl-C is heard afterwards."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator

import pytest

from nnopt.loading import while_loading


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


def load_while_pressing(times: int, loaded: list[str]) -> None:
    with while_loading():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        loaded.append("all")


@pytest.mark.parametrize(("times", "is_loaded"), [(1, True), (2, False)], ids=["once", "twice"])
def test_ctrl_c_is_heard_at_the_end_of_the_block_and_at_once_the_second_time(times: int, is_loaded: bool) -> None:
    loaded: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        load_while_pressing(times, loaded)
    assert bool(loaded) is is_loaded
    assert gc.isenabled()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_somebody_elses_handler_stays() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with while_loading():
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_load_too() -> None:
    ended: list[bool] = []

    def load() -> None:
        with while_loading():
            ended.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert ended == [True]
