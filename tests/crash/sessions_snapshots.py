"""Sessions with snapshots, compaction and repair, for the enumerator: importing this adds them to :mod:`sessions`.

A compaction changes no event; so the judge holds what comes back against the same account as ever.
"""

from __future__ import annotations

from crash_images import numbered
from memory_io import Loss
from sessions import HALF, RecordedSession, entries, scenario
from snapshot_driver import compact

HALF_A_SEGMENT = 27_000


def make_snapshot(session: RecordedSession) -> None:
    compact(session.io, drops_segments=False)
    session.note("after a snapshot")


def drop(session: RecordedSession) -> None:
    compact(session.io)
    session.note("after a compaction")


@scenario()
def snapshots(session: RecordedSession) -> None:
    """The first one makes the directory; the third one drops the first."""
    session.open()
    session.commit(*entries(1, 2))
    make_snapshot(session)
    session.append(numbered(3, HALF))
    make_snapshot(session)
    session.commit(*entries(4, 2))
    make_snapshot(session)
    session.append(numbered(6, HALF))
    session.sync()
    make_snapshot(session)
    session.append(numbered(7, HALF))


@scenario()
def compactions(session: RecordedSession) -> None:
    """Segments are dropped behind two snapshots, one after the other."""
    session.open()
    for number in range(1, 5):
        session.commit(numbered(number, HALF_A_SEGMENT))
    drop(session)
    session.commit(numbered(5, HALF_A_SEGMENT))
    session.append(numbered(6, HALF))
    drop(session)
    session.append(*entries(7, 2))
    session.sync()
    drop(session)
    session.append(numbered(9, HALF))


@scenario()
def compactions_between_unclean_ends(session: RecordedSession) -> None:
    """Each process ends differently; what a restart supersedes lies in front of, and behind, what is dropped."""
    session.open()
    session.commit(numbered(1, HALF_A_SEGMENT))
    session.append(numbered(2, HALF))
    drop(session)
    session.kill()
    session.open()
    session.append(numbered(3, HALF_A_SEGMENT))
    session.sync()
    drop(session)
    session.append(numbered(4, HALF))
    session.power_loss(Loss())
    session.open()
    session.append(numbered(5, HALF))
    drop(session)
    session.sync()
    drop(session)
    session.close()
    session.open()
    drop(session)
    session.append(numbered(6, HALF))


@scenario()
def failed_snapshots(session: RecordedSession) -> None:
    """Its sync, its name and the sync of its name fail; the next one relies on none of that."""
    session.open()
    for number in range(1, 4):
        session.commit(numbered(number, HALF_A_SEGMENT))
    assert session.fails(lambda: drop(session), "sync", "snapshot.tmp", 5) == "io_error"
    assert session.fails(lambda: drop(session), "rename", "snapshot.tmp", 28) == "no_space"
    assert session.fails(lambda: drop(session), "sync_directory", "/snapshots", 5) == "io_error"
    session.commit(numbered(4, HALF))
    assert session.fails(lambda: drop(session), "sync_directory", "/snapshots", 5) == "io_error"
    drop(session)
    session.append(numbered(5, HALF))
