"""Threads that exchange do not take the core of those that compute."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from nnopt.train.parallel.scheduling import beginning_threads_that_do_not_preempt
from nnopt.train.parallel.team import membership

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the policies of Linux")


def policies() -> dict[str, int]:
    """Thread's number -> the policy by which the kernel gives it a core."""
    return {thread: os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}


def test_threads_of_gloo_wait_for_a_free_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")  # membership sets it: taken back at the end of the test
    before = policies()
    with membership(0, 1, 0, f"file://{tmp_path}/meeting", torch.device("cpu")):
        within = policies()
    begun = set(within) - set(before)
    assert begun
    assert {within[thread] for thread in begun} == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert {thread: within[thread] for thread in before if thread in within} == {
        thread: policy for thread, policy in before.items() if thread in within
    }


def test_a_policy_chosen_outside_is_kept() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with beginning_threads_that_do_not_preempt():
            pass
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_where_it_is_forbidden_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("not in this container")

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    with beginning_threads_that_do_not_preempt():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
