"""The process that starts `nnopt` processes fast, one for all tests of workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running import Starter, started


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    yield from started()
