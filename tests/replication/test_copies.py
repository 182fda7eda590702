"""A directory is a copy: files of a backup, damaged snapshots, and two openings at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from _wal_native.reader import LogFollower
from actionqueue.replication import copy
from actionqueue.replication.note import read_note
from actionqueue.stores.protocol import Head
from tests.replication.conftest import Site
from tests.replication.test_queue import new_task
from tests.support.stores.memory import MemoryStore

FILES = ("wal", "snapshots", "ring")


def fill(queue: aq.ActionQueue, count: int, durability: str = "immediate") -> None:
    for _ in range(count):
        queue.submit(new_task(), durability)


def tasks_of(queue: Any) -> set[Any]:
    return {task.spec.id for task in queue.projection.tasks()}


def put_back(source: Path, target: Path) -> None:
    for name in FILES:
        path, saved = target / name, source / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if saved.is_dir():
            shutil.copytree(saved, path)
        elif saved.exists():
            shutil.copy(saved, path)


def whole_group(site: Site, follower: LogFollower, upto: int) -> tuple[int, int, bytes]:
    """Return all events up to one in a group."""
    group = follower.take_group(upto, 1 << 20, site.log.id.bytes, 1, 0, 0)
    assert group is not None
    return group[:3]


def upload(queue: Any) -> None:
    """Have the newest snapshot in the store now, and the log trimmed."""
    queue._uploader._look()


def test_files_of_a_backup_with_events_that_were_lost_are_not_believed(site: Site) -> None:
    queue = site.open("a")
    fill(queue, 10)
    site.cut(queue)
    fill(queue, 5, "deferred")
    site.kill(queue, "b")
    shutil.copytree(site.folder / "b", site.folder / "backup")
    other = site.open("c", takeover_seconds=30)
    fill(other, 8)
    other.close()
    again = site.open("b")
    fill(again, 2)
    again.close()
    put_back(site.folder / "backup", site.folder / "b")
    again = site.open("b")
    assert tasks_of(again) == tasks_of(site.read())
    lost = again.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (11, 15)


def test_a_copy_that_stood_by_has_lost_nothing_when_the_log_was_trimmed(site: Site) -> None:
    queue = site.open("a", compaction=None)
    fill(queue, 20)
    queue._shipper._keep_once()  # type: ignore[union-attr]  # tells readers what is durable
    standby = site.open("b", standby=True)
    assert standby.sequence == 20
    standby.close()
    for _ in range(2):
        fill(queue, 20)
        queue.compact()
        upload(queue)
    assert site.log.trimmed_to == 40
    standby = site.open("b", standby=True)
    assert standby.stats()["store"]["lost"] is None
    assert not [*(site.folder / "b").glob("quarantine/outbox-*")]
    assert tasks_of(standby) == tasks_of(queue)


def test_a_damaged_snapshot_of_the_store_leaves_the_one_before_it(site: Site) -> None:
    queue = site.open("a", compaction=None)
    for _ in range(2):
        fill(queue, 20)
        queue.compact()
        upload(queue)
    fill(queue, 3)
    queue.close()
    found, pieces = site.log.snapshots[40]
    pieces[0] = pieces[0][:100] + bytes([pieces[0][100] ^ 1]) + pieces[0][101:]
    assert site.read().sequence == 43
    assert site.open("b").sequence == 43
    site.log.snapshots[40] = (aq.stores.SnapshotInfo(40, found.epoch, 1, found.digest), [b"x"])
    site.log.snapshots[20][1][0] = b"x"
    with pytest.raises(aq.CorruptLogError):
        site.read()
    with pytest.raises(aq.CorruptLogError):
        site.open("c")


def test_a_snapshot_that_the_disk_damaged_does_not_reach_the_store(site: Site) -> None:
    queue = site.open("a", compaction=None)
    fill(queue, 20)
    queue.compact()
    newest = max((site.folder / "a" / "snapshots").iterdir())
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with pytest.raises(aq.CorruptLogError):
        upload(queue)
    assert not site.log.snapshots


def test_an_opening_leaves_the_note_of_the_writer_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = site.open("a")
    read = copy.read_note

    def read_and_go_on(directory: str) -> Any:
        note = read(directory)
        site.stores[queue].fail_next = "before"  # so that the writer's term is another one
        queue.submit(new_task())
        return note

    monkeypatch.setattr(copy, "read_note", read_and_go_on)
    with pytest.raises(aq.LockedError):
        site.open("a")
    note = read_note(str(site.folder / "a"))
    assert note is not None
    assert note.term.epoch == site.log.epoch


def test_what_a_writer_stores_behind_an_openings_first_look_is_not_lost(site: Site) -> None:
    queue = site.open("a")
    fill(queue, 1)

    class Late(MemoryStore):
        def head(self) -> Head:
            head = super().head()
            if not queue.is_closed:
                fill(queue, 1)
                queue.close()
            return head

    again = aq.open(site.folder / "a", store=Late(site.engine))
    assert again.sequence == 2
    again.close()


def test_no_queue_opens_while_a_copy_is_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = site.open("a")
    fill(queue, 3)
    site.cut(queue)
    fill(queue, 2, "deferred")
    site.kill(queue, "b")
    other = site.open("c", takeover_seconds=30)
    fill(other, 4)
    other.close()
    drop = copy.Copy._drop
    refused = []

    def drop_beside_another(self: Any) -> None:
        with pytest.raises(aq.LockedError) as error:
            site.open("b")
        refused.append(error)
        drop(self)

    monkeypatch.setattr(copy.Copy, "_drop", drop_beside_another)
    again = site.open("b")
    assert refused
    assert tasks_of(again) == tasks_of(site.read())


def test_a_damaged_group_is_named_where_a_copy_is_compared(site: Site) -> None:
    queue = site.open("a")
    fill(queue, 3)
    site.cut(queue)
    fill(queue, 3, "deferred")
    site.kill(queue, "b")
    other = site.open("c", takeover_seconds=30)
    fill(other, 4)
    other.close()
    first, last, group = site.log.groups[3]
    site.log.groups[3] = (first, last, group[:-1] + bytes([group[-1] ^ 1]))
    with pytest.raises(aq.DamagedGroupError):
        site.open("b")
    assert not [*(site.folder / "b").glob("quarantine/outbox-*")]


def test_a_copy_catches_up_over_several_segments_in_one_group(site: Site) -> None:
    queue = site.open("a")
    for _ in range(40):
        queue.submit_many([new_task(b"x" * 300) for _ in range(50)], "deferred")
    queue.sync()
    follower = LogFollower(queue.path, 0)
    queue.close()
    site.log.groups[:] = [whole_group(site, follower, 1000), whole_group(site, follower, 2000)]
    assert site.open("b", segment_size=65536).sequence == 2000
