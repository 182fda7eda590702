"""Damage to small logs, everywhere: see :mod:`tests.support.crash.damage`. It is refused or costs
an unacknowledged tail; nothing wrong ever comes back.

The short forms try samples; what the long forms try is said at each.
"""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from tests.support.core.log_images import newest
from tests.support.crash import damage, ledger
from tests.support.crash.sessions import SCENARIOS

PARTS = 8
"""The bytes of a log are shared out among so many tests, which run side by side."""


@pytest.mark.parametrize("part", range(PARTS))
def test_every_bit_flipped(part: int, long_form: bool) -> None:
    """All bits of all bytes of a log of one segment, the unused ones too; in the short form a
    sample of those that mean something.
    """
    log = damage.immediate_log()
    places = (
        damage.all_places(log)[part::PARTS]
        if long_form
        else Random(part).sample(damage.used_places(log), 30)
    )
    count = damage.flips(log, places, of_unused=8)
    assert count == 8 * len(places)
    ledger.record(
        "bit flip in every byte of log and ring",
        count,
        note="all bits of a log in which all is durable",
    )


@pytest.mark.parametrize("part", range(2))
def test_a_bit_of_every_byte_flipped(part: int, long_form: bool) -> None:
    """Of a log with events that are only in the ring: all bits of the bytes that mean something,
    one of every other byte.
    """
    log = damage.mixed_log()
    places = (
        damage.all_places(log)[part::2]
        if long_form
        else Random(part).sample(damage.used_places(log), 120)
    )
    count = damage.flips(log, places)
    ledger.record(
        "bit flip in every byte of log and ring",
        count,
        note="a log with events in the ring: all bits of bytes that mean something, "
        "one of every other byte",
    )


@pytest.mark.parametrize("name", ["written", "deferred", "chained"])
def test_every_bit_that_means_something_flipped(name: str, long_form: bool) -> None:
    """Headers, slots, records and some bytes behind them; those that nothing uses are left
    alone.
    """
    log = damage.LOGS[name]()
    places = damage.used_places(log)
    count = damage.flips(log, places if long_form else Random(1).sample(places, 40))
    note = "logs without events in the ring, with events never synced, of several segments: "
    note += "all bits of bytes that mean something"
    ledger.record("bit flip in every byte of log and ring", count, note=note)


def test_a_bit_flipped_in_snapshots(long_form: bool) -> None:
    """The log or the older snapshot makes up for it: the same state comes back.

    In small snapshots every bit of every byte, in large ones a bit of every 37th; in the short form
    a sample. That every bit is noticed: tests/core/test_snapshot.py.
    """
    small = damage.small_snapshots()
    bits = damage.all_snapshot_bits(small)
    count = damage.flips_of_snapshots(small, bits if long_form else Random(2).sample(bits, 60))
    ledger.record(
        "bit flip in bytes of a snapshot", count, note="every bit of two small ones: the same state"
    )
    count = damage.flipped_snapshots(damage.compacted_log(), every=37 if long_form else 4_001)
    ledger.record(
        "bit flip in bytes of a snapshot",
        count,
        note="bytes of two large ones, behind which segments are gone",
    )


def test_snapshots_beside_the_log_of_another_moment(long_form: bool) -> None:
    older, newer = damage.snapshots_of_other_moments(
        SCENARIOS["snapshots"].run("mapped"), step=1 if long_form else 9
    )
    assert older
    assert newer
    ledger.record("snapshot newer than the log", newer, note="all refused")
    ledger.record(
        "snapshot older or damaged",
        older,
        note="as old as the log or older: used, and the same state",
    )


@pytest.mark.parametrize(
    ("name", "file"),
    [("immediate", ""), ("written", ""), ("deferred", ""), ("mixed", "ring"), ("mixed", "")],
)
def test_cut_at_every_byte(name: str, file: str, long_form: bool) -> None:
    log = damage.LOGS[name]()
    count = damage.cuts(log, file or newest(log.image), step=1 if long_form else 17)
    ledger.record(
        "torn at every byte, behind it zeros, garbage, old bytes", count, note="segment and ring"
    )


@pytest.mark.parametrize("name", damage.LOGS)
def test_records_in_places_where_they_do_not_belong(name: str) -> None:
    """Every record copied over every other and behind every other, and every pair of them
    exchanged, whatever their sizes.
    """
    log = damage.LOGS[name]()
    count = refused = 0
    for what, image in damage.misplaced(log):
        count += 1
        refused += damage.check_misplaced(log, image, what)
    assert count
    assert refused
    ledger.record("stale, duplicated, misplaced records", count, note="0 accepted")


@pytest.mark.parametrize("name", damage.LOGS)
def test_an_exchange_of_records_changes_their_order_only(name: str) -> None:
    """All of them are still there, one behind the other, where their sizes differ too."""
    log = damage.LOGS[name]()
    slots = damage.slots_of(log)
    pieces = [log.image[slot.file][slot.at : slot.at + slot.size] for slot in slots]
    sizes_differ = set()
    for one, other in combinations(range(len(slots)), 2):
        moved = list(pieces)
        moved[one], moved[other] = pieces[other], pieces[one]
        expected = dict(log.image)
        for file in {slot.file for slot in slots}:
            begin = min(slot.at for slot in slots if slot.file == file)
            rest = b"".join(
                piece for piece, slot in zip(moved, slots, strict=True) if slot.file == file
            )
            expected[file] = expected[file][:begin] + rest.ljust(len(expected[file]) - begin, b"\0")
        assert damage.exchanged(log.image, slots[one], slots[other]) == expected
        sizes_differ.add(slots[one].size != slots[other].size)
    assert sizes_differ == {True, False}


@pytest.mark.parametrize("scenario", ["unclean ends", "clean ends", "rotation"])
def test_stale_rings_and_segments(scenario: str, long_form: bool) -> None:
    """The ring of every moment beside the segments of every other."""
    count = damage.stale_files(SCENARIOS[scenario].run("mapped"), step=1 if long_form else 9)
    ledger.record("stale, duplicated, misplaced records", count, note="0 accepted")


def test_missing_files() -> None:
    count = sum(
        damage.missing_files(make()) for name, make in damage.LOGS.items() if name != "immediate"
    )
    ledger.record("a segment or the ring missing", count, note="refused")
