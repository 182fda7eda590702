"""More sessions with compactions for the enumerator: importing this adds them to :mod:`sessions`.

A compaction changes no event; so the judge holds what comes back against the same account as ever.
"""

from __future__ import annotations

from tests.support.core.crash_images import numbered
from tests.support.core.memory_io import Loss
from tests.support.crash.sessions import HALF, RecordedSession, scenario

HALF_A_SEGMENT = 27_000


@scenario()
def compactions_between_unclean_ends(session: RecordedSession) -> None:
    """Each process ends differently; what a restart supersedes lies in front of, and behind, what
    is dropped.
    """
    session.open()
    session.commit(numbered(1, HALF_A_SEGMENT))
    session.append(numbered(2, HALF))
    session.compact()
    session.kill()
    session.open()
    session.append(numbered(3, HALF_A_SEGMENT))
    session.sync()
    session.compact()
    session.append(numbered(4, HALF))
    session.power_loss(Loss())
    session.open()
    session.append(numbered(5, HALF))
    session.compact()
    session.sync()
    session.compact()
    session.close()
    session.open()
    session.compact()
    session.append(numbered(6, HALF))


@scenario()
def snapshots_whose_names_were_not_synced(session: RecordedSession) -> None:
    """The file's sync fails, its rename, and twice the sync of its name; the next one relies on
    none of that, and has nothing new.
    """
    session.open()
    for number in range(1, 4):
        session.commit(numbered(number, HALF_A_SEGMENT))
    assert session.fails(session.compact, "sync", "snapshot.tmp", 5) == "io_error"
    assert session.fails(session.compact, "rename", "snapshot.tmp", 28) == "no_space"
    assert session.fails(session.compact, "sync_directory", "/snapshots", 5) == "io_error"
    session.commit(numbered(4, HALF))
    assert session.fails(session.compact, "sync_directory", "/snapshots", 5) == "io_error"
    session.compact()
    session.append(numbered(5, HALF))
