"""Making and loading snapshots while calls fail and power is lost: none appears that is not whole,
nothing else goes.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.support.core.crash_images import (
    Session,
    check_recovered,
    crash_images,
    numbered,
    sampled_losses,
)
from tests.support.core.log_driver import DIRECTORY, KIND, CoreError, Log, entry
from tests.support.core.memory_io import RETRIED, Call, Disk, Fault, MemoryIo, home
from tests.support.core.snapshot_driver import (
    TEMPORARY,
    UUID,
    Progress,
    compact,
    data_up_to,
    load_newest,
    opened_log,
    parse_snapshot,
    queue,
    read_snapshot,
    reopened,
    snapshot_name,
    snapshot_path,
    snapshots_of,
    table_with,
    with_bytes,
    write_snapshot,
)

# --- I/O faults -----------------------------------------------------------------------------------

FAULTS = [
    Fault(0, errno.EIO),
    Fault(0, errno.EIO, once=False),
    Fault(0, errno.ENOSPC),
    Fault(0, errno.ENOSPC, once=False),
    Fault(0, errno.EINTR),
    Fault(0, 0, short=True),
    Fault(0, errno.EACCES),
]


def queue_in_use() -> Disk:
    """Return the disk of a queue with snapshots of 2 and 4, and an event behind them, as its
    compaction finds it.
    """
    disk = home()
    log = opened_log(disk)
    for number in range(1, 6):
        log.commit(numbered(number))
        if number in (2, 4):
            compact(log.io)
    left = disk.copy()
    log.kill()
    return left


def needs_room(call: Call, fault: Fault) -> bool:
    return (
        fault.error == errno.ENOSPC
        and call.path.endswith("/snapshot.tmp")
        and call.operation in ("open", "write", "sync", "check_same", "rename")
    )


def expected_after(call: Call, fault: Fault) -> str:
    if fault.error == 0 or (fault.error == errno.EINTR and call.operation in RETRIED):
        return "ok"
    if (
        fault.error == errno.EIO
        and call.path.endswith("4.snap")
        and call.operation in ("open", "read", "size")
    ):
        return "ok"  # damage: the one before makes up for it
    if call.path.endswith("2.snap") and call.operation in ("open", "size"):
        return "ok"  # only its size is not told
    if needs_room(call, fault):
        return "ok"  # what the one before covers makes room
    return "ok" if call.operation in ("close", "writeback") else "failed"


def test_making_one_fails_at_every_call(long_form: bool) -> None:
    """Nothing has appeared, the older ones and the log are whole, and the next try succeeds."""
    before = queue_in_use()
    io = MemoryIo(before.copy())
    compact(io)
    assert len(io.calls) > 40
    written = next(
        call.index for call in io.calls if call.operation == "sync" and call.path == TEMPORARY
    )
    for call in io.calls:
        for fault in FAULTS if long_form or call.index % 4 == 0 else FAULTS[:2]:
            disk = before.copy()
            failing = MemoryIo(disk, fault=replace(fault, index=call.index))
            try:
                compact(failing)
                outcome = "ok"
            except CoreError as error:
                outcome = "failed"
                assert fault.error == error.fault.system_error
                assert error.status in ("no_space", "io_error")
                if error.fault.operation in ("create", "write", "sync"):
                    assert (error.status == "no_space") == (fault.error == errno.ENOSPC)
            assert not failing.handles
            assert not failing.mistakes
            # A name's sync is of the new one, or of what is dropped; no system lacks room for a
            # look, or for reading back.
            is_read_back = call.operation == "open" and call.index > written
            is_unclear = fault.error == errno.ENOSPC and (
                is_read_back or call.operation in ("sync_directory", "check_directory")
            )
            if fault.once and not is_unclear:
                assert outcome == expected_after(call, fault), (call, fault)
            if fault.error == errno.ENOSPC:
                assert 4 in snapshots_of(disk)  # the one that was read, with the log from there
                assert reopened(disk.copy()).recovered == data_up_to(5)
            else:
                check_left(before, disk)
            again = MemoryIo(disk)
            compact(again)
            assert TEMPORARY not in disk.files
            assert snapshots_of(disk)[-1] == 5
            assert reopened(disk).recovered == data_up_to(5)


def check_left(before: Disk, after: Disk) -> None:
    """Old files are as they were; one has gone only where the new snapshot is there, whole."""
    old, new = before.image(DIRECTORY), after.image(DIRECTORY)
    assert {name: data for name, data in new.items() if name in old} == {
        name: data for name, data in old.items() if name in new
    }
    assert new.keys() - old.keys() <= {snapshot_name(5), "snapshots/snapshot.tmp"}
    if snapshot_name(5) in new:
        parse_snapshot(new[snapshot_name(5)])
        assert old.keys() - new.keys() <= {snapshot_name(2), snapshot_name(4)}
    else:
        assert new.keys() >= old.keys()


def test_loading_fails_at_every_call() -> None:
    """What the medium has lost is damage of the snapshot, and costs nothing; what the system
    refuses is told.
    """
    disk = queue(3, 5)
    io = MemoryIo(disk)
    load_newest(io)
    for call in io.calls:
        for fault in FAULTS:
            failing = MemoryIo(disk, fault=replace(fault, index=call.index))
            try:
                choice, table = load_newest(failing)
            except CoreError as error:
                assert error.fault.system_error == fault.error
                assert (
                    fault.error != errno.EIO
                    or call.operation in ("list", "check_directory")
                    or not fault.once
                )
            else:
                assert fault.error in (0, errno.EIO, errno.EINTR) or call.operation == "close"
                assert table.entries() == data_up_to(choice.info.sequence)
                assert choice.is_found or not fault.once
            assert not failing.handles
            assert not failing.mistakes


def test_an_unreadable_snapshot_is_made_up_for() -> None:
    disk = queue(3, 5)

    def opened_with_fault(index: int) -> Log:
        log = Log(MemoryIo(disk.copy(), fault=Fault(index, errno.EIO)))
        log.kill()
        return log

    io = MemoryIo(disk.copy())
    Log(io).kill()
    reads = [
        call for call in io.calls if call.operation == "read" and call.path == snapshot_path(5)
    ]
    assert len(reads) > 3
    for call in reads:
        log = opened_with_fault(call.index)
        assert log.recovered == data_up_to(6)
        assert (log.report.snapshot_sequence, log.report.snapshots_damaged) == (3, 1)
        assert log.report.snapshot_damage.system_error == errno.EIO


def test_no_temporary_file_is_ever_believed() -> None:
    disk = queue(3)
    whole = disk.bytes_of(snapshot_path(3))
    disk = with_bytes(disk, TEMPORARY, whole)
    assert reopened(disk.copy()).report.snapshot_sequence == 3
    log = opened_log(disk)
    assert compact(log.io).sequence == 6
    assert TEMPORARY not in disk.files
    log.kill()


def test_a_canceled_write_leaves_nothing() -> None:
    disk = Disk(directories=["/home", DIRECTORY])
    progress = Progress()
    progress.cancel()
    table = table_with(map(entry, data_up_to(5)), KIND)
    with pytest.raises(CoreError) as raised:
        write_snapshot(MemoryIo(disk), table, UUID, progress)
    assert raised.value.status == "stopped"
    assert not disk.image(DIRECTORY)


# --- Power loss -----------------------------------------------------------------------------------


def test_power_loss_while_one_is_written() -> None:
    """Whatever is left of it, the queue comes back whole; and where its name is left, so is all of
    it.
    """

    def run(session: Session) -> None:
        session.open()
        for number in range(1, 5):
            session.commit(numbered(number, 700))
        compact(session.io)
        session.commit(numbered(5))
        compact(session.io)
        session.close()

    count = 0
    for image in crash_images(Session(home()), run, losses=sampled_losses(Random(4), 3)):
        for sequence in snapshots_of(image.disk):
            read_snapshot(MemoryIo(image.disk), sequence)
            count += 1
        with Log(MemoryIo(image.disk, seed=9)) as log:
            check_recovered(log.recovered, image.account, image.account.durable)
            assert log.report.snapshots_damaged == 0
    assert count > 50


def test_the_file_on_a_real_disk(tmp_path: Path) -> None:
    directory = str(tmp_path / "queue")
    with Log(directory=directory) as log:
        log.commit(*data_up_to(3))
        assert compact(None, directory).sequence == 3
    path = tmp_path / "queue" / "snapshots" / f"{3:020d}.snap"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with Log(directory=directory) as again:
        assert (again.recovered, again.report.snapshot_sequence) == (data_up_to(3), 3)
