"""Queues of many small segments, and damage to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import actionqueue as aq
from actionqueue.json.projection import projection_to_json
from tests.support.command_line import run
from tests.support.queues import SMALL


def make_large(directory: Path, events: int = 60) -> dict[str, Any]:
    """Make a queue of many small segments, close it, and return its state."""
    with aq.open(directory, compaction=None, durability="deferred", **SMALL) as queue:
        return add(queue, events)


def add(queue: aq.ActionQueue, events: int = 30) -> dict[str, Any]:
    for _ in range(events):
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 9000), 1))
    return projection_to_json(queue.projection)


def add_to(directory: Path, events: int = 30) -> dict[str, Any]:
    with aq.open(directory, compaction=None, durability="deferred", **SMALL) as queue:
        return add(queue, events)


def flip(path: Path, offset: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if offset is None else offset] ^= 1
    path.write_bytes(content)


def damage(directory: Path) -> int:
    """Damage the 31st event's record, and return the sequence before it."""
    record = next(
        entry
        for entry in run("log", directory, "--json", "--from", "31").objects
        if entry["sequence"] == 31
    )
    segment = next((directory / "wal").glob(f"{record['segment']:020}-*.log"))
    flip(segment, record["offset"] + 100)
    return 30
