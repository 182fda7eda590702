"""Fixtures of the tests of an open queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.compaction import Gate


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "queue"
