"""Fixtures of the tests of an open queue."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compaction import Gate
from tests.support.queues import IN_MEMORY


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        yield Path(made, "queue")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)
