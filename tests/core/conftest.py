"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.core.door import lib


@pytest.fixture(scope="module", params=["whole", "in part"])
def segment_held(request: pytest.FixtureRequest) -> Iterator[None]:
    """The newest segment is held whole, as segments of usual sizes are, or in part, as the largest
    are.
    """
    lib.aqw_window_limit(0 if request.param == "whole" else 12_288)
    yield
    lib.aqw_window_limit(0)
