"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.core.door import lib
from tests.support.core.table_driver import Table


@pytest.fixture(scope="module", params=["whole", "in part"])
def segment_held(request: pytest.FixtureRequest) -> Iterator[None]:
    """The newest segment is held whole, as segments of usual sizes are, or in part, as the largest
    are.
    """
    lib.aqw_window_limit(0 if request.param == "whole" else 12_288)
    yield
    lib.aqw_window_limit(0)


@pytest.fixture(autouse=True)
def no_failures_left() -> Iterator[None]:
    yield
    lib.aqw_test_memory_fail(-1, 0)


@pytest.fixture
def table() -> Iterator[Table]:
    with Table() as made:
        yield made
