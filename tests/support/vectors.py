"""The recorded streams: commands, the verdict on each, and the projection that they lead to."""

from __future__ import annotations

import json
from typing import Any

from tests.support import places

VECTORS = places.DATA / "vectors"
STREAMS = ("stream-1", "stream-2", "stream-3")


def stream(name: str) -> list[dict[str, Any]]:
    """Return a stream's lines: each a command and the verdict on it."""
    return [
        json.loads(line)
        for line in (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def projection_of(name: str) -> dict[str, Any]:
    """Return the projection that a stream leads to."""
    made: dict[str, Any] = json.loads(
        (VECTORS / f"{name}.projection.json").read_text(encoding="utf-8")
    )
    return made
