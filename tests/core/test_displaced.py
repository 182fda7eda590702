"""The queue's directory is moved away under a handle, and another queue stands at its path: the
handle leaves that one alone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.core.door import lib
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, status_name
from tests.support.core.memory_io import Call, Disk, File, MemoryIo

ASIDE = DIRECTORY + ".old"
TEMPORARY = ("prepare-", "snapshot.tmp")
Act = Callable[[Log], None]


def queue_files() -> dict[str, bytes]:
    """Return the files of a queue with a segment of each of the names that the other one is about
    to use, and of two snapshots.
    """
    with Log(MemoryIo(Disk())) as log:
        for _ in range(3):
            for _ in range(5):
                log.commit(bytes(9000))
            log.compact(drops_segments=False)
        assert log.stats.segment_number > 2
        assert log.io is not None
        return log.io.disk.image(DIRECTORY)


OTHER = queue_files()


def move_and_replace(disk: Disk) -> None:
    """Move the queue away, and put the other queue at its path."""
    for names in (disk.files, disk.folders):
        for path in [path for path in names if path.startswith(f"{DIRECTORY}/")]:
            names[path.replace(DIRECTORY, ASIDE, 1)] = names.pop(path)
    for name, data in OTHER.items():
        path = f"{DIRECTORY}/{name}"
        disk.files[path] = File(bytearray(data), bytearray(data), name=path)
    disk.directories |= {f"{DIRECTORY}/wal", f"{DIRECTORY}/snapshots"}


def left_of_other(disk: Disk) -> dict[str, bytes]:
    found = {
        name: data
        for name, data in disk.image(DIRECTORY).items()
        if not name.split("/")[-1].startswith(TEMPORARY)
    }
    return {**found, "LOCK": OTHER["LOCK"]}  # which tells of a holder while the queue is open


def rotate(log: Log) -> None:
    for _ in range(8):
        log.append(bytes(9000))


def compact(log: Log) -> None:
    log.compact(drops_segments=False)


def opened(*, locks_directories: bool = True) -> Log:
    log = Log(MemoryIo(Disk(), locks_directories=locks_directories))
    for _ in range(5):
        log.commit(bytes(9000))
    return log


@pytest.mark.parametrize(
    "locks_directories", [True, False], ids=["folder locked", "folder not locked"]
)
@pytest.mark.parametrize(
    "act", [rotate, compact, Log.compact], ids=["rotate", "snapshot", "compact"]
)
def test_a_handle_that_lost_its_directory_changes_nothing_at_its_path(
    act: Act, *, locks_directories: bool
) -> None:
    log = opened(locks_directories=locks_directories)
    assert log.io is not None
    move_and_replace(log.io.disk)
    with pytest.raises(CoreError) as caught:
        act(log)
    assert caught.value.fault.path == DIRECTORY
    assert log.io.disk.image(DIRECTORY) == OTHER
    if act is rotate:
        assert caught.value.status == "poisoned"
        assert caught.value.fault.status == "displaced"
        assert log.state == "poisoned"
        assert status_name(log.fault.poison) == "displaced"
    else:
        assert caught.value.status == "displaced"
        assert log.state == "ok"
    log.close()
    assert log.io.disk.image(DIRECTORY) == OTHER
    assert log.io.mistakes == []


@pytest.mark.parametrize("act", [rotate, compact], ids=["rotate", "snapshot"])
def test_the_directory_is_replaced_before_any_of_the_calls(act: Act) -> None:
    """Whenever it happens, no name of the other queue is taken; what was in the making may be left
    there, for the next writer to remove.
    """
    log = opened()
    assert log.io is not None
    start = len(log.io.calls)
    act(log)
    calls = log.io.calls[start:]
    log.close()
    assert {"rename", "check_same", "sync_directory"} <= {call.operation for call in calls}
    for index in range(len(calls)):
        log = opened()
        io = log.io
        assert io is not None
        at = len(io.calls) + index

        def replace(call: Call, at: int = at, disk: Disk = io.disk) -> None:
            if call.index == at:
                move_and_replace(disk)

        io.before_call = replace
        try:
            act(log)
        except CoreError as error:
            assert error.status in (
                "poisoned",
                "displaced",
                "io_error",
                "corrupt",
                "history_changed",
            )
        assert left_of_other(io.disk) == OTHER, (index, calls[index])
        io.before_call = None
        try:
            log.close()
        except CoreError as error:
            assert error.status == "poisoned"
        assert left_of_other(io.disk) == OTHER
        assert io.mistakes == []


def test_a_compaction_looks_before_each_file_that_it_removes() -> None:
    """The directory is replaced at its last check: the file that comes next stays, and is the other
    queue's.
    """

    def compacting() -> tuple[Log, MemoryIo]:
        log = opened()
        compact(log)
        rotate(log)
        compact(log)
        rotate(log)
        log.sync()
        assert log.io is not None
        return log, log.io

    log, io = compacting()
    start = len(io.calls)
    log.compact()
    checks = [
        call.index
        for call in io.calls[start:]
        if call.operation == "check_same" and call.path.endswith("/LOCK")
    ]
    removed = [
        call
        for call in io.calls[start:]
        if call.operation == "unlink" and call.path.endswith((".log", ".snap"))
    ]
    assert len(removed) > 2
    assert len(checks) == 2 + len(removed)
    log.close()
    for at in checks:
        log, io = compacting()

        def replace(call: Call, at: int = at, disk: Disk = io.disk) -> None:
            if call.index == at:
                move_and_replace(disk)

        io.before_call = replace
        with pytest.raises(CoreError) as caught:
            log.compact()
        assert caught.value.status == "displaced"
        io.before_call = None
        assert left_of_other(io.disk) == OTHER
        log.close()


def test_the_directory_is_replaced_while_it_is_being_opened() -> None:
    """Replay may take minutes, and only then are names given."""
    files = {f"{DIRECTORY}/{name}": data for name, data in OTHER.items()}
    io = MemoryIo(Disk(files))
    with_events = Log(io)
    with_events.append(b"not durable")
    with_events.kill()  # so that the next one has to publish a segment and a ring
    image = io.disk.image(DIRECTORY)
    io = MemoryIo(Disk({f"{DIRECTORY}/{name}": data for name, data in image.items()}))
    Log(io).kill()
    renames = [call.index for call in io.calls if call.operation == "rename"]
    last_check = max(call.index for call in io.calls if call.operation == "check_same")
    assert len(renames) == 2
    for at in range(last_check + 1):
        io = MemoryIo(Disk({f"{DIRECTORY}/{name}": data for name, data in image.items()}))

        def replace(call: Call, at: int = at, disk: Disk = io.disk) -> None:
            if call.index == at and f"{DIRECTORY}/LOCK" in disk.files:
                move_and_replace(disk)

        io.before_call = replace
        try:
            Log(io).kill()
        except CoreError as error:
            assert error.status in ("displaced", "io_error", "corrupt")
            assert io.handles == {}
        left = left_of_other(io.disk)
        left.pop("ring.tmp", None)
        if any(call.operation == "lock_directory" for call in io.calls[:at]):
            assert left == OTHER, at


# --- LOCK alone -----------------------------------------------------------------------------------


def remove_lock(disk: Disk) -> None:
    del disk.files[f"{DIRECTORY}/LOCK"]


def test_without_its_lock_file_a_queue_is_still_held_and_goes_on() -> None:
    log = opened()
    assert log.io is not None
    remove_lock(log.io.disk)
    for _ in range(2):  # the first refused one leaves a lock file of its own
        other = MemoryIo(log.io.disk)
        with pytest.raises(CoreError) as caught:
            Log(other)
        assert (caught.value.status, caught.value.fault.path) == ("locked", f"{DIRECTORY}/wal")
        assert other.handles == {}
    rotate(log)
    log.compact()
    log.close()
    with Log(MemoryIo(log.io.disk)) as log:
        assert log.last_sequence == 13


def test_where_directories_have_no_locks_a_lost_lock_file_is_found_before_the_next_segment() -> (
    None
):
    log = opened(locks_directories=False)
    assert log.io is not None
    remove_lock(log.io.disk)
    with pytest.raises(CoreError) as caught:
        rotate(log)
    assert caught.value.fault.status == "displaced"
    log.close()


@pytest.mark.parametrize("operation", ["check_same", "lock_directory"])
def test_what_cannot_be_told_is_no_reason_to_go_on(operation: str) -> None:
    """Neither opening nor rotating goes on past a check that failed; and the log takes the next
    append.
    """
    if operation == "lock_directory":
        io = MemoryIo(Disk())
        io.before_call = lambda call: (
            io.fail(call.index, 5) if call.operation == operation else None
        )
        with pytest.raises(CoreError) as caught:
            Log(io)
        assert (caught.value.fault.operation, caught.value.fault.system_error) == ("lock", 5)
        assert io.handles == {}
        return
    log = opened()
    io_of_log = log.io
    assert io_of_log is not None
    io_of_log.before_call = lambda call: (
        io_of_log.fail(call.index, 24) if call.operation == operation else None
    )
    with pytest.raises(CoreError) as caught:
        rotate(log)
    assert (caught.value.status, caught.value.fault.operation, caught.value.fault.system_error) == (
        "io_error",
        "check",
        24,
    )
    io_of_log.before_call = None
    last = log.last_sequence
    rotate(log)
    assert log.last_sequence == last + 8
    log.close()


def test_a_closed_log_has_no_place() -> None:
    log = opened()
    assert lib.aqw_log_check_place(log.log, log.fault) == lib.AQW_OK
    assert lib.aqw_log_close(log.log, log.fault) == lib.AQW_OK
    assert lib.aqw_log_check_place(log.log, log.fault) == lib.AQW_CLOSED
    log.close()
