"""Seconds by account: training apart from evaluation, logging, checkpoints, compilation and set-up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

from nnopt.train.energy import EnergyMeter

ACCOUNTS = ("train", "evaluation", "logging", "checkpoint", "compile", "setup", "structure")


class Clock:
    """Adds up seconds; just one account runs at a time.

    An accelerator is waited for whenever the account changes, so that its work is counted where it was asked for.
    `meter` counts energy while the account is "train"; reading it is in no training second.
    """

    def __init__(
        self, device: torch.device, seconds: dict[str, float] | None = None, meter: EnergyMeter | None = None
    ) -> None:
        self.seconds = dict.fromkeys(ACCOUNTS, 0.0) | (seconds or {})
        self.device = device
        self.meter = meter or EnergyMeter(reason="not measured")
        self._account = "setup"
        self._since = time.perf_counter()

    def read(self, account: str = "train") -> float:
        """Seconds of an account up to now, without waiting for the device."""
        running = time.perf_counter() - self._since if account == self._account else 0.0
        return self.seconds[account] + running

    def switch(self, account: str) -> None:
        """Stops the present account and starts another."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        if account == "train":
            self.meter.start()
        now = time.perf_counter()
        self.seconds[self._account] += now - self._since
        before, self._account, self._since = self._account, account, now
        if before == "train" and account != "train":
            self.meter.stop()

    @contextlib.contextmanager
    def account(self, account: str) -> Iterator[None]:
        """Counts the block under `account`, then goes back to the one before."""
        before = self._account
        self.switch(account)
        try:
            yield
        finally:
            self.switch(before)
