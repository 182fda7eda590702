from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scheduling import Bench, bench


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Bench]:
    """A queue, a clock and a scheduler that retries after 1, 2, 4 ... seconds."""
    import actionqueue as aq

    with bench(tmp_path, retry=aq.Backoff(jitter=0)) as made:
        yield made
