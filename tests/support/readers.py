"""What the tests of readers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import actionqueue as aq
from tests.support.queues import SMALL, task_create

WAIT_SECONDS = 60


def open_small(path: Path, **options: Any) -> aq.ActionQueue:
    return aq.open(path, **{"compaction": None, "durability": "deferred", **SMALL, **options})


def read(path: Path) -> aq.ReadOnlyQueue:
    return aq.open(path, readonly=True)


def fill(queue: aq.ActionQueue, count: int = 20, size: int = 9000) -> None:
    for _ in range(count):
        queue.submit(task_create(b"x" * size))


def state(reader: aq.ReadOnlyQueue) -> dict[str, Any]:
    from actionqueue.json.projection import projection_to_json

    return projection_to_json(reader.projection)
