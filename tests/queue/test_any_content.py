"""What a record holds decides nothing: payloads and texts that look like the log, or are copies of
it, leave it readable.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from actionqueue.inspection import verify
from tests.support.core.log_model import parse_header, record_bytes
from tests.support.queues import in_child, task_create

CLAIMED = (0x0FFFF0 - 64, 0x020000, 0x010000, 0x008000, 0x0F7F7F, 64, 0)
"""Sizes that headers announce: nearly the ring's, some that fit often, none."""


def headers(random: Random, count: int) -> bytes:
    """Bytes that begin like records, whatever they announce, one every 16 bytes."""
    parts = (
        struct.pack(
            "<IIII",
            random.getrandbits(32),
            random.choice((1, 2, 3, 31, 240)) << 24 | random.choice(CLAIMED),
            random.choice((0, 5, 300, 3000, 10**6)),
            random.getrandbits(24),
        )
        for _ in range(count)
    )
    return b"".join(parts)


def shifted(data: bytes) -> bytes:
    """The same at each distance from the alignment."""
    return b"".join(bytes(places) + data + bytes(16 - places) for places in range(4))


def of_the_log(path: Path, random: Random) -> bytes:
    """Some of the log's own bytes, as they lie in its files now."""
    files = [path / "ring", *sorted((path / "wal").iterdir())]
    data = random.choice(files).read_bytes().rstrip(b"\0")
    at = random.randrange(0, max(1, len(data) - 20_000))
    return data[at : at + random.choice((64, 1_000, 20_000))]


def contents(path: Path, random: Random) -> Callable[[], bytes]:
    def make() -> bytes:
        kind = random.randrange(4)
        if kind == 0:
            return headers(random, random.choice((1, 40, 600)))
        if kind == 1:
            return shifted(headers(random, 60))
        if kind == 2:
            return of_the_log(path, random)
        return headers(random, 3) + of_the_log(path, random) + headers(random, 3)

    return make


def attempt_of(text: str) -> list[object]:
    """Commands of a run whose attempt fails with this text."""
    task = aq.TaskSpec(payload=b"job")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    attempt = aq.AttemptId()
    steps = [("scheduled", "ready"), ("ready", "leased"), ("leased", "running")]
    return [
        aq.TaskCreateCommand(None, task, 1),
        aq.RunCreateCommand(None, run),
        *(aq.RunStateTransitionCommand(None, run.id, before, after, 1) for before, after in steps),
        aq.AttemptStartCommand(None, run.id, attempt, 1),
        aq.AttemptFinishCommand(None, run.id, attempt, aq.AttemptOutcome.failure(text), 1),
    ]


@pytest.mark.platform("fork")
@pytest.mark.parametrize("end", ["close", "kill"])
@pytest.mark.parametrize("segment_size", [2**16, 2**18, 2**26])
@pytest.mark.parametrize("seed", range(4))
def test_any_content_leaves_the_log_as_it_is(
    tmp_path: Path, end: str, segment_size: int, seed: int
) -> None:
    path = tmp_path / "queue"
    random = Random(seed)
    options = {
        "compaction": None,
        "segment_size": segment_size,
        "ring_size": random.choice((65536, 2**20)),
        "durability": "deferred",
    }

    def write() -> list[bytes]:
        queue = aq.open(path, **options)
        written = []
        make = contents(path, random)
        for number in range(40):
            payload = make()
            written.append(payload)
            queue.submit(task_create(payload), "immediate" if random.random() < 0.2 else "deferred")
            if number % 8 == 0:
                text = headers(random, 30).decode("latin-1")
                queue.submit_many(attempt_of(text))
        if end == "kill":
            return written
        queue.close()
        return written

    expected: list[bytes] = []
    for _ in range(3):
        expected += in_child(write)
        with aq.open(path, readonly=True) as reader:
            seen = [
                task.spec.payload.data
                for task in reader.projection.tasks()
                if task.spec.payload.data != b"job"
            ]
        assert seen == expected
        verify(path)
        with aq.open(path, **options) as queue:
            assert [
                t.spec.payload.data
                for t in queue.projection.tasks()
                if t.spec.payload.data != b"job"
            ] == expected
            assert queue.recovery.dropped_bytes == 0


@pytest.mark.platform("fork")
@pytest.mark.parametrize("end", ["close", "kill"])
@pytest.mark.parametrize("places", range(4))
def test_a_record_made_to_verify_where_the_ring_comes_round_again(
    tmp_path: Path, places: int, end: str
) -> None:
    """It holds the checksum of a place behind the end that has the same byte of the ring: but it is
    a part of a record that was read.
    """
    path = tmp_path / "queue"

    def write() -> int:
        queue = aq.open(path, compaction=None, segment_size=2**18, ring_size=65536)
        for _ in range(5):
            queue.submit(task_create(b"x"))
        segment = max((path / "wal").glob("*.log"))
        header = parse_header(segment.read_bytes()[:128])
        assert header is not None
        used = queue.stats()["segment_used"]
        # The payload begins somewhere in its record: one lie for each place that this can be.
        lies = [
            record_bytes(header, used + 4 * n + 16 * n + 65536, 30, 240, b"", lag=0)
            for n in range(60)
        ]
        queue.submit(
            task_create(bytes(places) + b"".join(lies)),
            "deferred" if end == "kill" else "immediate",
        )
        if end == "close":
            queue.close()
        return 6

    last = in_child(write)
    for readonly in (True, False):
        with aq.open(path, **({"readonly": True} if readonly else {"compaction": None})) as queue:
            assert queue.sequence == last
