"""The bytes of a group, against a writer of the format that is written by hand."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from _wal_native.group import read_group, records_of_group, take_in
from _wal_native.reader import LogFollower
from actionqueue.projection import Projection
from actionqueue.replication.groups import Chain, GroupHeader
from tests.replication.conftest import Site
from tests.replication.test_queue import new_task
from tests.replication.test_takeover import wait_for
from tests.support.fuzz.seeds import crc32c

LOG = UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
GOLDEN = bytes.fromhex(
    """
    41515747524f5550 01000000 00000000 000102030405060708090a0b0c0d0e0f
    0700000000000000 0900000000000000 0800000000000000 03000000 efbeadde
    0300000b 00 616263
    0100000c 01 78
    0000000d 02
    """
)
"""But for the checksum."""

events = st.lists(
    st.lists(st.tuples(st.integers(1, 239), st.binary(max_size=40)), min_size=1, max_size=4),
    min_size=1,
    max_size=5,
)


def group(
    batches: list[list[tuple[int, bytes]]],
    *,
    log: UUID = LOG,
    epoch: int = 7,
    first: int = 9,
    watermark: int = 8,
    link: int = 0,
) -> bytes:
    body = b""
    for batch in batches:
        for index, (kind, payload) in enumerate(batch):
            flags = 0 if len(batch) == 1 else 1 if index < len(batch) - 1 else 2
            body += struct.pack("<IB", len(payload) | kind << 24, flags) + payload
    count = sum(len(batch) for batch in batches)
    checked = log.bytes + struct.pack("<QQQII", epoch, first, watermark, count, link) + body
    return b"AQWGROUP" + struct.pack("<II", 1, crc32c(checked)) + checked


def sealed(data: bytes) -> bytes:
    """Give the bytes the checksum that they should have."""
    return data[:12] + struct.pack("<I", crc32c(data[16:])) + data[16:]


def test_the_format_is_what_it_was() -> None:
    made = group([[(11, b"abc")], [(12, b"x"), (13, b"")]], link=0xDEADBEEF)
    assert made.hex() == sealed(GOLDEN).hex()
    fields, reason = read_group(made)
    assert reason is None
    assert fields is not None
    assert GroupHeader(*fields)[:6] == (LOG.bytes, 7, 9, 11, 8, 0xDEADBEEF)


@given(events)
def test_what_is_written_is_read(batches: list[list[tuple[int, bytes]]]) -> None:
    made = group(batches)
    records = records_of_group(made, 0)
    flat = [event for batch in batches for event in batch]
    assert [(record[3], record[7]) for record in records] == flat
    assert [record[2] for record in records] == list(range(9, 9 + len(flat)))
    assert records_of_group(made, 9) == records[1:]


@given(events, st.data())
def test_any_change_is_noticed(batches: list[list[tuple[int, bytes]]], data: st.DataObject) -> None:
    made = bytearray(group(batches))
    index = data.draw(st.integers(0, len(made) - 1))
    made[index] ^= data.draw(st.integers(1, 255))
    fields, reason = read_group(bytes(made))
    assert fields is None
    assert reason
    with pytest.raises(ValueError, match="verify"):
        records_of_group(bytes(made), 0)


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_group_that_are_none(data: bytes) -> None:
    for each in (data, b"AQWGROUP" + data, sealed((b"AQWGROUP\1\0\0\0" + data).ljust(64, b"\0"))):
        read_group(each)
        take_in(Projection(), each)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made[:8] + struct.pack("<I", 2) + made[12:],  # a newer version
        lambda made: made[:56] + struct.pack("<I", 4) + made[60:],  # another count
        lambda made: made[:40] + struct.pack("<Q", 2**64 - 2) + made[48:],  # too high a sequence
        lambda made: made[:40] + struct.pack("<Q", 0) + made[48:],
        lambda made: made + b"\0",
        lambda made: made[:-1],
        lambda made: made[:67] + b"\xf0" + made[68:],  # a marker's kind
        lambda made: made[:68] + b"\3" + made[69:],
        lambda made: made[:68] + b"\2" + made[69:],  # the end of a batch that has not begun
        lambda made: made[:-1] + b"\1",  # a batch that does not end
    ],
)
def test_a_group_with_a_right_checksum_is_judged_too(change: object) -> None:
    made = group([[(11, b"abc")], [(12, b"x"), (13, b"")]])
    assert read_group(made)[1] is None
    fields, reason = read_group(sealed(change(made)))  # type: ignore[operator]
    assert fields is None
    assert ("newer version" in (reason or "")) == (change(made)[8] == 2)  # type: ignore[operator]


def test_groups_have_to_follow_one_another() -> None:
    chain = Chain(LOG, 8)
    first = group([[(11, b"a")]])
    header = chain.add(first)
    assert chain.last == 9
    chain.add(group([[(11, b"b")]], first=10, link=header.checksum))
    for wrong, reason in (
        (group([[(11, b"c")]], first=12), "missing before"),
        (group([[(11, b"c")]], first=11, link=1), "another group"),
        (group([[(11, b"c")]], first=11, log=UUID(int=5)), "another log"),
        (b"x", "verify"),
    ):
        with pytest.raises(aq.DamagedGroupError, match=reason) as raised:
            chain.add(wrong)
        assert raised.value.sequence == 11
    chain.add(group([[(11, b"c")]], first=11, link=0))  # its writer did not know


def test_a_group_that_is_damaged_in_the_store_is_not_taken_in(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    queue.submit(new_task())
    queue.close()
    first, last, data = site.log.groups[1]
    site.log.groups[1] = (first, last, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(aq.DamagedGroupError) as raised:
        site.open("b")
    assert raised.value.sequence == 2
    with pytest.raises(aq.DamagedGroupError):
        aq.open(store=site.store(), readonly=True)
    queue = site.open("a")  # it has the event itself
    queue.compact()
    wait_for(lambda: 2 in site.log.snapshots)
    for each in (site.open("c", standby=True), aq.open(store=site.store(), readonly=True)):
        assert each.sequence == 2


def test_a_group_is_no_larger_than_asked_for_but_for_a_batch(site: Site) -> None:
    queue = site.open("a")
    for _ in range(10):
        queue.submit(new_task(b"x" * 100), "deferred")
    queue.submit_many([new_task(b"x" * 1000), new_task(b"x" * 1000)], "deferred")
    queue.sync()
    follower = LogFollower(queue.path, 0)
    sizes = []
    while (taken := follower.take_group(12, 600, bytes(16), 1, 0, 0)) is not None:
        sizes.append((taken[0], taken[1], len(taken[2])))
    assert [first for first, _, _ in sizes] == [1, *(last + 1 for _, last, _ in sizes[:-1])]
    assert sizes[-1][:2] == (11, 12)
    assert all(size <= 600 for _, _, size in sizes[:-1])
    assert sizes[-1][2] > 2000
