from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lanes import LANES, LANES_ON_DISK, Lane


@pytest.fixture(params=[*LANES, *LANES_ON_DISK])
def lane(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lane]:
    """Each lane in turn, empty."""
    if request.param in LANES:
        yield LANES[request.param]()
    else:
        with LANES_ON_DISK[request.param](tmp_path) as made:
            yield made
