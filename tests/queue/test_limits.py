"""Every limit that a user can reach, through an open queue: one below and the limit itself are kept
and read back, one above is refused before anything is appended.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from _wal_native.events import encode_event
from actionqueue import limits
from actionqueue.errors import (
    InvalidFieldError,
    OpenIOError,
    RecordTooLarge,
    ValidationError,
    Written,
)
from actionqueue.model.base import event_of
from tests.support.crash import ledger
from tests.support.queues import SMALL, replayed, state_of

ROW = "record at the limit -1, limit, +1"
TENANT = aq.TenantId()


def entry(payload: bytes = b"", key: str = "key") -> aq.LedgerAppendCommand:
    """Return a command that is accepted in every state."""
    return aq.LedgerAppendCommand(
        None, aq.LedgerEntry(aq.LedgerEntryId(), TENANT, key, None, payload, 1), 1
    )


def size_of(command: aq.MutationCommand) -> int:
    return len(encode_event(event_of(command, 1)))


def entry_of_size(size: int) -> aq.LedgerAppendCommand:
    """Return a command whose record's payload has this size."""
    around = size_of(entry(bytes(size // 2))) - size // 2
    command = entry(bytes(size - around))
    assert size_of(command) == size
    return command


def record_size(payload_size: int) -> int:
    return (16 + payload_size + 3) // 4 * 4


def actor(department: str = "d", capabilities: tuple[str, ...] = ("c",)) -> aq.ActorRegisterCommand:
    registration = aq.ActorRegistration(
        aq.ActorId(), "identity", capabilities, 5, aq.DepartmentId(department)
    )
    return aq.ActorRegisterCommand(None, registration, 1)


REACHED: dict[str, tuple[int, Callable[[int], aq.MutationCommand]]] = {
    "payload": (
        limits.PAYLOAD_SIZE_MAX,
        lambda size: entry(bytes(size - size_of(entry(bytes(size // 2))) + size // 2)),
    ),
    "text": (limits.TEXT_SIZE_MAX, lambda size: entry(key="k" * size)),
    "text in more bytes than characters": (
        limits.TEXT_SIZE_MAX,
        lambda size: entry(key="ö" * (size // 2) + "k" * (size % 2)),
    ),
    "list": (
        limits.LIST_COUNT_MAX,
        lambda count: actor(capabilities=tuple(map(str, range(count)))),
    ),
    "department": (limits.DEPARTMENT_SIZE_MAX, lambda size: actor(department="d" * size)),
}


@pytest.mark.parametrize("name", REACHED)
def test_a_command_at_a_limit(directory: Path, name: str) -> None:
    limit, command_of = REACHED[name]
    with aq.open(directory, **SMALL, durability="deferred") as queue:
        for size in (limit - 1, limit):
            queue.submit(command_of(size))
        before, appended = state_of(queue), queue.stats()["appended_records"]
        with pytest.raises((RecordTooLarge, InvalidFieldError)) as refusal:
            queue.submit(command_of(limit + 1))
        assert refusal.value.written is Written.NO
        with pytest.raises((RecordTooLarge, InvalidFieldError)):
            queue.submit_many([entry(), command_of(limit + 1)])
        assert state_of(queue) == before
        assert (queue.sequence, queue.stats()["appended_records"]) == (2, appended)
    with aq.open(directory) as queue:
        assert state_of(queue) == before
    ledger.record(ROW, 4, 0)


@pytest.mark.parametrize("name", REACHED)
def test_a_batch_of_commands_at_a_limit(directory: Path, name: str) -> None:
    limit, command_of = REACHED[name]
    with aq.open(directory, **SMALL, durability="deferred") as queue:
        queue.submit_many([entry(), command_of(limit), command_of(limit - 1), entry()])
        before = state_of(queue)
    with aq.open(directory) as queue:
        assert state_of(queue) == before


def batch_of_size(size: int) -> list[aq.MutationCommand]:
    """Return commands whose records take this many bytes together."""
    largest = entry_of_size(limits.PAYLOAD_SIZE_MAX)
    count, rest = divmod(size, record_size(limits.PAYLOAD_SIZE_MAX))
    return [largest] * count + [entry_of_size(rest - 16)]


def test_a_batch_at_its_limit_of_bytes(directory: Path, long_form: bool) -> None:
    """The short form only looks at the refusal: a batch of the largest size takes a gigabyte of
    memory.
    """
    limit = limits.BATCH_SIZE_MAX
    with aq.open(directory, durability="deferred") as queue:
        kept = [limit - 4, limit] if long_form else []
        for size in kept:
            assert len(queue.submit_many(batch_of_size(size))) == 16
        before = queue.sequence
        with pytest.raises(RecordTooLarge) as refusal:
            queue.submit_many(batch_of_size(limit + 4))
        assert (refusal.value.size, refusal.value.limit) == (limit + 4, limit)
        assert refusal.value.batch_index == 15
        assert queue.sequence == before == 16 * len(kept)
        assert queue.stats()["appended_records"] == before
        queue.submit(entry())
    assert replayed(directory).latest_sequence == before + 1
    ledger.record(ROW, len(kept) + 1, 0)


def test_a_batch_at_its_limit_of_commands(directory: Path, long_form: bool) -> None:
    limit = limits.BATCH_COUNT_MAX
    heartbeat = aq.ActorHeartbeatCommand(None, aq.ActorId(), 1)
    with aq.open(directory, durability="deferred") as queue:
        counts = [limit - 1, limit] if long_form else [limit]
        for count in counts:
            assert len(queue.submit_many([heartbeat] * count)) == count
        before = queue.sequence
        with pytest.raises(InvalidFieldError) as refusal:
            queue.submit_many([heartbeat] * (limit + 1))
        assert refusal.value.value == limit + 1
        assert refusal.value.written is Written.NO
        assert queue.sequence == queue.stats()["last_sequence"] == before == sum(counts)
        assert queue.submit(heartbeat).sequence == before + 1
    with aq.open(directory) as queue:
        assert queue.sequence == before + 1
    ledger.record(ROW, len(counts) + 1, 0)


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ("segment_size", limits.SEGMENT_SIZE_MIN, limits.SEGMENT_SIZE_MAX),
        ("ring_size", limits.RING_SIZE_MIN, limits.RING_SIZE_MAX),
    ],
)
def test_an_option_at_its_limits(directory: Path, option: str, least: int, most: int) -> None:
    for value in (least, most):
        with aq.open(directory / str(value), **{option: value}) as queue:
            queue.submit_many([entry(bytes(70_000)), entry()])
        assert replayed(directory / str(value)).latest_sequence == 2
    for wrong in (least - 1, most + 1, least // 2, most * 2):
        with pytest.raises(ValueError, match=option):
            aq.open(directory / "queue", **{option: wrong})
    assert not (directory / "queue").exists()
    ledger.record(ROW, 6, 0)


def deep(root: Path, size: int) -> Path:
    """Return a path of this many bytes below the root."""
    rest = size - len(str(root))
    parts = []
    while rest > 0:
        part = min(rest, 200)
        if 0 < rest - part < 2:
            part -= 2
        parts.append("d" * (part - 1))
        rest -= part
    path = root.joinpath(*parts)
    assert len(str(path)) == size
    return path


@pytest.mark.platform("long names")
def test_a_path_at_its_limit(tmp_path: Path) -> None:
    """A queue that can be created there can also rotate and be recovered there: its longest name
    fits.
    """
    most = limits.PATH_SIZE_MAX - 128
    for size in (most - 1, most):
        path = deep(tmp_path / str(size), size)
        with aq.open(path, **SMALL) as queue:
            for _ in range(5):
                queue.submit(entry(bytes(20_000)))
            assert queue.stats()["rotations"] > 0
            newest = max((path / "wal").iterdir())
            position = queue.stats()["segment_used"]
        with newest.open("r+b") as file:
            file.seek(
                position + 16
            )  # behind the close marker: a torn append, which is set aside under the longest name
            file.write(b"torn")
        with aq.open(path) as queue:
            assert queue.recovery.drop_reason == "torn"
            assert queue.sequence == 5
    for size in (most + 1, most + 50, most + 127):
        path = deep(tmp_path / str(size), size)
        with pytest.raises(OpenIOError) as failure:
            aq.open(path)
        assert failure.value.errno == errno.ENAMETOOLONG
        assert not (tmp_path / str(size)).exists()
    ledger.record(ROW, 5, 0)


def test_a_refusal_after_the_last_sequence_is_a_validation_error(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """No log gets there by appends, so the projection is told that it is there."""

    class AtTheEnd:
        latest_sequence = limits.SEQUENCE_MAX

    with aq.open(directory) as queue:
        queue.submit(entry())
        before: dict[str, Any] = state_of(queue)
        with monkeypatch.context() as patch:
            patch.setattr(queue, "_projection", AtTheEnd())
            for sequence in (None, limits.SEQUENCE_MAX, 0):
                command = aq.LedgerAppendCommand(sequence, entry().entry, 1)
                with pytest.raises(aq.SequenceOverflow) as refusal:
                    queue.submit(command)
                assert isinstance(refusal.value, ValidationError)
                with pytest.raises(aq.SequenceOverflow):
                    queue.submit_many([command])
        assert state_of(queue) == before
        assert queue.submit(entry()).sequence == 2
    ledger.record("sequence near 2^64", 6, 0)
