"""What every store does, whichever engine it is in: the model in memory is asked the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from actionqueue.errors import (
    ClosedError,
    FencedError,
    InvalidFieldError,
    TermHeldError,
    TrimmedError,
    UnknownLogError,
)
from actionqueue.stores.arguments import GROUP_SIZE_MAX
from actionqueue.stores.protocol import SnapshotInfo, Term
from tests.stores.conftest import Logs


def filled(store: Any, *ends: int) -> Term:
    """Take the log, and append a group up to each of the ends."""
    term = store.campaign("writer")
    first = term.first_sequence
    for end in ends:
        store.append(term, first, end, group_to(end))
        first = end + 1
    store.keep(term)
    return term


def group_to(end: int) -> bytes:
    return f"up to {end}".encode()


def groups(*ends: int) -> list[bytes]:
    return [group_to(end) for end in ends]


# --- Logs -----------------------------------------------------------------------------------------


def test_a_log_is_made_once(logs: Logs) -> None:
    store = logs.open()
    for call in (
        store.head,
        store.snapshots,
        lambda: store.campaign("writer", timeout=0),
        lambda: store.read(0),
        lambda: store.tail(0, 0),
    ):
        with pytest.raises(UnknownLogError):
            call()
    assert store.initialize()
    assert not store.initialize()
    head = store.head()
    assert (head.next_sequence, head.watermark, head.trimmed_to, head.holder) == (1, 0, 0, None)
    assert logs.open().head() == head
    assert list(store.read(0)) == []
    assert store.snapshots() == []


def test_the_engine_says_what_it_is(logs: Logs) -> None:
    info = logs.made().describe()
    assert info.engine
    assert info.version
    assert info.append_bytes_max == GROUP_SIZE_MAX
    assert 0 < info.keep_seconds < 5


# --- Groups ---------------------------------------------------------------------------------------


def test_groups_are_read_in_order_and_whole(logs: Logs) -> None:
    store = logs.made()
    ends = [3, 4, 10, 250, 251, *range(260, 900, 10)]
    filled(store, *ends)
    reader = logs.open()
    assert list(reader.read(0)) == groups(*ends)
    for after in (3, 4, 9, 10, 249, 250, 600, 890):
        expected = [end for end in ends if end > after]
        assert list(reader.read(after)) == groups(*expected)
        for upto in (after, after + 1, 251, 600, 889, 890, 5000):
            within = [end for end in expected if end <= upto]
            assert list(reader.read(after, upto=upto)) == groups(*within)
    head = reader.head()
    assert (head.next_sequence, head.watermark, head.holder) == (891, 890, "writer")


def test_any_bytes_are_kept(logs: Logs) -> None:
    store = logs.made()
    term = store.campaign("writer")
    given = [b"\0", bytes(range(256)) * 16, b"x" * GROUP_SIZE_MAX]
    for number, group in enumerate(given, 1):
        store.append(term, number, number, group)
    store.keep(term)
    assert list(store.read(0)) == given


def test_readers_see_what_is_durable_at_the_latest_with_the_next_keep(logs: Logs) -> None:
    store = logs.made()
    term = store.campaign("writer")
    for end in range(1, 6):
        store.append(term, end, end, group_to(end))
        seen = list(logs.open().read(0))
        assert seen in (groups(*range(1, end)), groups(*range(1, end + 1)))
    store.keep(term)
    assert list(logs.open().read(0)) == groups(*range(1, 6))


def test_a_repeated_append_is_one(logs: Logs) -> None:
    store = logs.made()
    term = store.campaign("writer")
    for _ in range(3):
        store.append(term, 1, 5, b"a group")
    store.keep(term)
    assert list(store.read(0)) == [b"a group"]
    for first, last, group in (
        (1, 5, b"another"),
        (1, 6, b"a group"),
        (7, 9, b"behind a hole"),
        (5, 9, b"across the end"),
    ):
        with pytest.raises(InvalidFieldError, match=r"append\.first: must be 6"):
            store.append(term, first, last, group)
    store.append(term, 6, 6, b"the next")
    store.keep(term)
    assert list(store.read(0)) == [b"a group", b"the next"]


# --- Terms ----------------------------------------------------------------------------------------


def test_a_deposed_writer_appends_nothing(logs: Logs) -> None:
    first, second = logs.made(), logs.open()
    old = filled(first, 3)
    first.resign(old)
    term = second.campaign("the other")
    assert (term.first_sequence, term.holder) == (4, "the other")
    assert term.epoch > old.epoch
    second.append(term, 4, 4, group_to(4))
    for call in (
        lambda: first.append(old, 4, 4, b"too late"),
        lambda: first.append(old, 5, 5, b"too late"),
        lambda: first.append(old, 1, 3, group_to(3)),
        lambda: first.keep(old),
        lambda: first.outcome(old, 4, b"too late"),
        lambda: first.put_snapshot(old, 3, [b"too late"], b""),
        lambda: first.trim(old, 1),
        lambda: first.campaign("writer", resume=old),
    ):
        with pytest.raises(FencedError) as caught:
            call()
        assert caught.value.holder == "the other"
        assert caught.value.epoch == term.epoch
    second.keep(term)
    assert list(second.read(0)) == groups(3, 4)
    assert second.snapshots() == []


def test_a_living_writer_keeps_its_log(logs: Logs) -> None:
    first, second = logs.made(), logs.open()
    term = first.campaign("the first")
    for _ in range(3):
        with pytest.raises(TermHeldError) as caught:
            second.campaign("the second", timeout=0)
        assert caught.value.holder == "the first"
        first.keep(term)
    assert time.monotonic() < first.valid_until(term) < time.monotonic() + 10
    first.append(term, 1, 1, b"still here")


def test_a_silent_writer_is_put_aside(logs: Logs) -> None:
    """Its process may be stopped, and wake later."""
    first, second = logs.made(), logs.open()
    old = filled(first, 3)
    term = second.campaign("the second", timeout=60)
    assert time.monotonic() >= first.valid_until(old)
    second.append(term, 4, 4, group_to(4))
    with pytest.raises(FencedError):
        while True:  # its connection may be gone, and is made again
            try:
                first.keep(old)
            except FencedError:
                raise
            except Exception:  # noqa: S112 -- whatever its engine says first
                continue


def test_a_writer_resumes_its_own_term(logs: Logs) -> None:
    store = logs.made()
    old = filled(store, 3)
    term = store.campaign("writer", resume=old)
    assert term.epoch > old.epoch
    assert term.first_sequence == 4
    assert store.outcome(term, 1, group_to(3))
    assert not store.outcome(term, 1, b"another")
    assert not store.outcome(term, 4, b"never sent")
    with pytest.raises(FencedError):
        store.append(old, 4, 4, b"in flight")
    store.append(term, 4, 4, group_to(4))
    again = store.campaign("writer", resume=term)
    store.resign(again)
    with pytest.raises(FencedError):
        store.append(again, 5, 5, b"after the end")
    assert list(store.read(0)) == groups(3, 4)


def test_of_many_candidates_one_at_a_time_writes(logs: Logs) -> None:
    logs.made()
    written: list[int] = []
    lock = threading.Lock()

    def write(name: str) -> None:
        store = logs.open()
        for _ in range(3):
            term = store.campaign(name)
            at = term.first_sequence
            store.append(term, at, at, name.encode())
            with lock:
                written.append(at)
            store.resign(term)

    threads = [threading.Thread(target=write, args=(f"writer {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == list(range(1, 13))
    assert len(list(logs.open().read(0, upto=12))) == 12


# --- Waiting --------------------------------------------------------------------------------------


def test_a_reader_waits_for_groups(logs: Logs) -> None:
    store, reader = logs.made(), logs.open()
    term = filled(store, 3)
    assert list(reader.tail(0, None)) == groups(3)
    assert list(reader.tail(3, 0)) == []
    found: list[list[bytes]] = []
    thread = threading.Thread(target=lambda: found.append(list(reader.tail(3, None))))
    thread.start()
    store.append(term, 4, 9, group_to(9))
    store.keep(term)
    thread.join()
    assert found == [groups(9)]


# --- Snapshots and trimming -----------------------------------------------------------------------


def test_a_snapshot_is_there_once_it_is_whole(logs: Logs) -> None:
    store, reader = logs.made(), logs.open()
    term = filled(store, 2, 3, 9)
    pieces = [b"a", b"", b"x" * 2**20, b"the end"]
    store.put_snapshot(term, 3, pieces, b"digest")
    (info,) = reader.snapshots()
    assert (info.sequence, info.epoch, info.digest) == (3, term.epoch, b"digest")
    assert b"".join(reader.get_snapshot(info)) == b"".join(pieces)

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        store.put_snapshot(term, 9, broken(), b"")
    assert reader.snapshots() == [info]
    store.put_snapshot(term, 9, [b"a later one"], b"")
    term = store.campaign("writer")
    store.put_snapshot(term, 9, [b"again"], b"other")
    newest, earlier = reader.snapshots()
    assert (newest.sequence, earlier.sequence) == (9, 3)
    assert list(reader.get_snapshot(newest)) == [b"again"]
    assert b"".join(reader.get_snapshot(earlier)) == b"".join(pieces)


def test_what_snapshots_hold_can_be_dropped(logs: Logs) -> None:
    store, reader = logs.made(), logs.open()
    term = filled(store, 3, 6, 9, 12)
    for below in (1, 4):
        with pytest.raises(InvalidFieldError, match=r"trim\.below"):
            store.trim(term, below)
    store.put_snapshot(term, 2, [b"old"], b"")
    store.put_snapshot(term, 7, [b"new"], b"")
    old = reader.snapshots()[1]
    with pytest.raises(InvalidFieldError, match=r"trim\.below"):
        store.trim(term, 9)
    store.trim(term, 8)
    assert reader.head().trimmed_to == 7
    assert [info.sequence for info in reader.snapshots()] == [7]
    with pytest.raises(TrimmedError):
        list(reader.get_snapshot(old))
    for after in (0, 3, 6):
        with pytest.raises(TrimmedError) as caught:
            list(reader.read(after))
        assert (caught.value.after, caught.value.trimmed_to) == (after, 7)
    with pytest.raises(TrimmedError):
        list(reader.tail(0, 0))
    assert list(reader.read(7)) == groups(9, 12)
    store.trim(term, 5)  # it was, already
    assert reader.head().trimmed_to == 7
    assert list(reader.read(9)) == groups(12)
    store.append(term, 13, 13, group_to(13))
    store.keep(term)
    assert list(reader.read(7)) == groups(9, 12, 13)


# --- Input ----------------------------------------------------------------------------------------

TERM = Term(1, 1, "writer")
WRONG = {
    "campaign.holder": lambda s: s.campaign(""),
    "campaign.holder type": lambda s: s.campaign(b"writer"),
    "campaign.holder slash": lambda s: s.campaign("a/b"),
    "campaign.holder long": lambda s: s.campaign("w" * 201),
    "campaign.resume": lambda s: s.campaign("w", resume=1),
    "campaign.timeout": lambda s: s.campaign("w", timeout=-1),
    "keep.term": lambda s: s.keep(1),
    "valid_until.term": lambda s: s.valid_until(None),
    "resign.term": lambda s: s.resign(None),
    "append.term": lambda s: s.append(None, 1, 1, b"x"),
    "append.first": lambda s: s.append(TERM, -1, 1, b"x"),
    "append.last": lambda s: s.append(TERM, 1, 2**63, b"x"),
    "append.last before": lambda s: s.append(TERM, 2, 1, b"x"),
    "append.last zero": lambda s: s.append(TERM, 0, 0, b"x"),
    "append.group": lambda s: s.append(TERM, 1, 1, "x"),
    "append.group empty": lambda s: s.append(TERM, 1, 1, b""),
    "append.group long": lambda s: s.append(TERM, 1, 1, bytes(GROUP_SIZE_MAX + 1)),
    "outcome.first": lambda s: s.outcome(TERM, "1", b"x"),
    "read.after": lambda s: s.read(-1),
    "read.upto": lambda s: s.read(0, upto=1.5),
    "tail.after": lambda s: s.tail(None, 0),
    "tail.timeout": lambda s: s.tail(0, "1"),
    "put_snapshot.sequence": lambda s: s.put_snapshot(TERM, None, [], b""),
    "put_snapshot.digest": lambda s: s.put_snapshot(TERM, 1, [], b"x" * 65),
    "trim.below": lambda s: s.trim(TERM, -1),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(logs: Logs, name: str) -> None:
    store = logs.made()
    head = store.head()
    with pytest.raises(InvalidFieldError) as caught:
        WRONG[name](store)
    assert f"{caught.value.type_name}.{caught.value.field}" == name.partition(" ")[0]
    assert store.head() == head


def test_pieces_of_snapshots_are_bytes(logs: Logs) -> None:
    store = logs.made()
    term = store.campaign("writer")
    for piece in ("text", bytes(2**20 + 1)):
        with pytest.raises(InvalidFieldError, match=r"put_snapshot\.pieces"):
            store.put_snapshot(term, 0, [piece], b"")
    assert store.snapshots() == []


def test_a_closed_store_takes_no_calls(logs: Logs) -> None:
    store = logs.made()
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        store.head()


def test_what_is_no_snapshot_and_no_term_is_named(logs: Logs) -> None:
    store = logs.made()
    term = filled(store, 3)
    for info, field in (
        (None, "info"),
        (SnapshotInfo(-1, 1, 1, b""), r"info\.sequence"),
        (SnapshotInfo(1, "1", 1, b""), r"info\.epoch"),  # type: ignore[arg-type]
        (SnapshotInfo(1, 1, 2**63, b""), r"info\.piece_count"),
    ):
        with pytest.raises(InvalidFieldError, match=rf"get_snapshot\.{field}:"):
            store.get_snapshot(info)
    for wrong, field in (
        (None, "term"),
        (Term("1", 1, "writer"), r"term\.epoch"),  # type: ignore[arg-type]
        (Term(2**63, 1, "writer"), r"term\.epoch"),
        (Term(term.epoch, 1, None), r"term\.holder"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidFieldError, match=rf"append\.{field}:"):
            store.append(wrong, 4, 4, b"4")
    store.append(term, 4, 4, b"4")
