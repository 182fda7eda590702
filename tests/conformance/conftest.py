from __future__ import annotations

import pytest
from lanes import LANES, Lane


@pytest.fixture(params=list(LANES.values()), ids=list(LANES))
def lane(request: pytest.FixtureRequest) -> Lane:
    """Each lane in turn, empty."""
    made: Lane = request.param()
    return made
