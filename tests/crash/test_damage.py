"""Damage to small logs, everywhere: see :mod:`damage`. It is refused or costs an unacknowledged tail; nothing wrong
ever comes back.
"""

from __future__ import annotations

from random import Random

import pytest

import damage
import ledger
from log_images import newest
from sessions import SCENARIOS

PARTS = 4
"""The bytes of a log are shared out among so many tests, which run side by side."""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", ["immediate", "mixed"])
def test_every_bit_flipped(name: str, part: int, long_form: bool) -> None:
    """All bits of all bytes of a log of one segment; in the short form a sample of those that mean something."""
    log = damage.LOGS[name]()
    places = damage.all_places(log) if long_form else Random(part).sample(damage.used_places(log), 60)
    count = damage.flips(log, places[part::PARTS] if long_form else places)
    ledger.record("bit flip in every byte of log and ring", count, note="refused, or an unacknowledged tail dropped")


@pytest.mark.parametrize("name", ["deferred", "chained"])
def test_every_bit_that_means_something_flipped(name: str, long_form: bool) -> None:
    log = damage.LOGS[name]()
    places = damage.used_places(log)
    count = damage.flips(log, places if long_form else Random(1).sample(places, 40))
    ledger.record("bit flip in every byte of log and ring", count, note="refused, or an unacknowledged tail dropped")


def test_a_bit_flipped_in_snapshots(long_form: bool) -> None:
    """Full replay or the older snapshot make up for it: the same state comes back.

    That every bit is noticed: tests/core/test_snapshot.py.
    """
    count = damage.flipped_snapshots(damage.compacted_log(), every=37 if long_form else 4_001)
    ledger.record("bit flip in bytes of a snapshot", count, note="the same state")


@pytest.mark.parametrize(("name", "file"), [("immediate", ""), ("deferred", ""), ("mixed", "ring"), ("mixed", "")])
def test_cut_at_every_byte(name: str, file: str, long_form: bool) -> None:
    log = damage.LOGS[name]()
    count = damage.cuts(log, file or newest(log.image), step=1 if long_form else 17)
    ledger.record("torn at every byte, behind it zeros, garbage, old bytes", count, note="segment and ring")


@pytest.mark.parametrize("name", damage.LOGS)
def test_records_in_places_where_they_do_not_belong(name: str) -> None:
    """Every record copied over every other and behind every other, and every pair swapped."""
    log = damage.LOGS[name]()
    count = refused = 0
    for what, image in damage.misplaced(log):
        count += 1
        refused += damage.check_misplaced(log, image, what)
    assert count
    assert refused
    ledger.record("stale, duplicated, misplaced records", count, note="0 accepted")


@pytest.mark.parametrize("scenario", ["unclean ends", "clean ends", "rotation"])
def test_stale_rings_and_segments(scenario: str, long_form: bool) -> None:
    """The ring of every moment beside the segments of every other."""
    count = damage.stale_files(SCENARIOS[scenario].run("mapped"), step=1 if long_form else 9)
    ledger.record("stale, duplicated, misplaced records", count, note="0 accepted")


def test_missing_files() -> None:
    count = sum(damage.missing_files(make()) for name, make in damage.LOGS.items() if name != "immediate")
    ledger.record("a segment or the ring missing", count, note="refused")
