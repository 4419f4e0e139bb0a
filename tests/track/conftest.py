"""Trackers write to places of their own, whatever the machine's user has set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from running import Starter, started


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    os.environ.pop("WANDB_SERVICE", None)  # its processes would share that of a test in this one
    yield from started()


@pytest.fixture(autouse=True)
def no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
