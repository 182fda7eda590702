"""Faults of the core as exceptions: the fields of those that :mod:`_wal_native.status` names.

The same failed system call means different things. While a queue is being opened, it is the reason
why the queue does not open. In an open queue it poisons the log, or, before a byte of a record was
written, only keeps the next segment from being made. At the very end of a close it leaves a whole
log without the mark that says so.
"""

from libc.stdint cimport uint64_t

from _wal_native.core cimport *
from _wal_native.status cimport raise_status, raise_status_with

import errno
import os
from os import fsdecode

from _wal_native.above import (
    CorruptLogError,
    DisplacedError,
    LockedError,
    LogCloseError,
    LogSpaceError,
    LogWriteError,
    OpenIOError,
    PoisonedError,
    SnapshotError,
    ensure_from_system,
    host_name,
)


cdef int HOLDER_SIZE_MAX = 1024
cdef int HOLDER_TRIES = 50

# The lock file's name may stand for anything by now: a look follows no link and waits for nothing.
cdef int LOOK_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


cdef str path_of(const aqw_fault *fault):
    return fsdecode(<bytes>fault.path)


cdef dict system_call(const aqw_fault *fault):
    operation = "" if fault.operation == NULL else (<bytes>fault.operation).decode("ascii")
    return {"operation": operation, "path": path_of(fault), "errno": fault.system_error}


cdef dict damage(const aqw_fault *fault):
    reason = (<bytes>aqw_reason_name(fault.reason)).decode("ascii")
    if fault.refusal != 0:
        reason += " (" + (<bytes>aqw_status_name(fault.refusal)).decode("ascii") + ")"
    if fault.reason == AQW_REASON_DIRECTORY:
        reason += " (symbolic link)" if os.path.islink(path_of(fault)) else " (file)"
    return {
        "path": path_of(fault),
        "segment": fault.segment or None,
        "offset": (fault.offset if fault.segment and fault.reason != AQW_REASON_SEGMENT_MISSING
                   else None),
        "reason": reason,
        "first_sequence": fault.first_sequence or None,
        "last_sequence": (fault.last_sequence if fault.last_sequence >= fault.first_sequence > 0
                          else None),
    }


cdef str holder_text(str path):
    """Return the beginning of the lock file, or an empty string where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | LOOK_FLAGS)
    except OSError as error:
        ensure_from_system(error)
        return ""
    try:
        return os.read(descriptor, HOLDER_SIZE_MAX).decode("utf-8", "replace")
    except OSError as error:
        ensure_from_system(error)
        return ""
    finally:
        os.close(descriptor)


cdef bint may_live(object pid, object host):
    """Whether a process may exist. It may wherever this host does not know it."""
    if os.name != "posix" or host != host_name():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        pass
    except OSError as error:
        ensure_from_system(error)
    return True


cdef object locker_of(str path):
    """Return the process that Linux names as the holder of a lock, or None.

    The caller asks where the file LOCK does not name the holder, or has gone.
    """
    try:
        status = os.lstat(path)
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                words = line.split()    # 1: FLOCK ADVISORY WRITE 4711 08:01:131 0 EOF
                if (words[1:2] == ["FLOCK"] and words[3] == "WRITE" and words[5] == place
                        and words[4].isdecimal()):
                    return int(words[4]) or None
    except (AttributeError, IndexError):    # not Linux, or other lines than today's
        pass
    except OSError as error:
        ensure_from_system(error)
    return None


cdef dict holder_of(str path):
    """Return what the lock file says of its holder, as the fields of a LockedError.

    A writer that has just taken the lock may not have written to the file yet. Until then the file
    names no process, or one that was killed. So this reads the file up to HOLDER_TRIES times, and
    then asks the system where the system tells. To write to it by hand is at the user's risk.
    """
    fields = {"path": path, "pid": None, "host": None, "started": None}
    if os.path.basename(path) != "LOCK":
        return fields | {"pid": locker_of(path)}
    for _ in range(HOLDER_TRIES):
        said = {}
        for line in holder_text(path).splitlines():
            name, _, value = line.partition("=")
            if name == "host" and value:
                said["host"] = value
            elif name in ("pid", "started") and value.isdecimal():
                said[name] = int(value)
        if "pid" in said and may_live(said["pid"], said.get("host")):
            return fields | said
    return fields | {"pid": locker_of(path)}


def locked_error(str path, /):
    """Return the LockedError for a lock file that a process holds, with what the file says."""
    return LockedError(**holder_of(path))


cdef object damage_of(const aqw_fault *fault):
    return CorruptLogError(**damage(fault))


cdef object quarantine_of(str directory):
    """Return the directory into which repairs moved files of this queue, or None."""
    quarantine = directory + "/quarantine"
    try:
        return (quarantine if any(name.startswith("repair-") for name in os.listdir(quarantine))
                else None)
    except OSError as error:
        ensure_from_system(error)
        return None


cdef int raise_open_fault(const aqw_fault *fault) except -1:
    cdef int status = fault.status
    if status == AQW_IO_ERROR or status == AQW_NO_SPACE:
        raise OpenIOError(**system_call(fault))
    if status == AQW_TOO_LARGE:     # a writer with other limits wrote the log
        raise OpenIOError("recover", path_of(fault), errno.EFBIG)
    if status == AQW_DISPLACED:     # while it was being opened
        raise OpenIOError("check", path_of(fault), errno.ESTALE)
    if status == AQW_CORRUPT:
        return raise_status_with(status, damage(fault))
    if status == AQW_LOCKED:
        return raise_status_with(status, holder_of(path_of(fault)))
    if status == AQW_UNSUPPORTED_FORMAT:
        return raise_status_with(status, {
            "path": path_of(fault), "version": fault.format_version or AQW_FORMAT_VERSION,
            "event_kind": fault.event_kind or None})
    if status == AQW_NOT_A_QUEUE:
        return raise_status_with(
            status, {"path": path_of(fault), "quarantine": quarantine_of(path_of(fault))})
    if status == AQW_HISTORY_CHANGED:
        return raise_status_with(
            status, {"path": path_of(fault), "sequence": fault.last_sequence})
    if status == AQW_COMPACTED:
        return raise_status_with(
            status, {"path": path_of(fault), "first_sequence": fault.first_sequence})
    if status == AQW_INVALID_ARGUMENT:
        option = (path_of(fault) if fault.operation == NULL
                  else (<bytes>fault.operation).decode("ascii"))
        raise ValueError(f"{option} is out of range")
    return raise_status_with(status, system_call(fault))


cdef int raise_snapshot_fault(const aqw_fault *fault) except -1:
    if fault.status == AQW_IO_ERROR or fault.status == AQW_NO_SPACE:
        raise SnapshotError(**system_call(fault))
    if fault.status == AQW_DISPLACED:
        raise DisplacedError(path_of(fault))
    return raise_open_fault(fault)


cdef object first_failure(const aqw_fault *fault):
    """Return the failure that poisoned the log."""
    if fault.status == AQW_DISPLACED or fault.poison == AQW_DISPLACED:
        return DisplacedError(path_of(fault))
    fields = system_call(fault)
    # No system call failed where the ring's bytes did not verify, but the storage under them did.
    if fault.system_error == 0:
        fields["errno"] = errno.EIO
    return LogWriteError(**fields)


cdef int raise_log_fault(int status, const aqw_fault *fault, uint64_t sequence=0) except -1:
    if status == AQW_IO_ERROR or status == AQW_NO_SPACE:
        raise LogSpaceError(**system_call(fault))
    if status == AQW_POISONED:
        # The call that met the failure raises it; later ones raise PoisonedError with that cause.
        cause = first_failure(fault)
        raise PoisonedError(cause) if fault.status == AQW_POISONED else cause
    if status == AQW_CORRUPT:
        return raise_status_with(status, damage(fault))
    if AQW_REFUSED_SEQUENCE <= status <= AQW_REFUSED_LAST:
        return raise_status(status, sequence)
    return raise_status_with(status, system_call(fault))


def raise_through(str door, int status, int fault_status=0, int poison=0, /):
    """Raise what a door of the core makes of a status, with a fault that says nothing else.

    Tests use this to try all statuses. Raises ValueError for a door that does not exist.
    """
    cdef aqw_fault fault
    aqw_fault_set(&fault, <aqw_status>(fault_status or status), b"/queue")
    fault.poison = poison
    if door == "status":
        return raise_status(status, 1)
    if door == "open":
        return raise_open_fault(&fault)
    if door == "snapshot":
        return raise_snapshot_fault(&fault)
    if door == "log":
        return raise_log_fault(status, &fault, 1)
    if door == "close":
        return raise_close_fault(status, &fault)
    raise ValueError(f"there is no door {door!r}")


cdef int raise_close_fault(int status, const aqw_fault *fault) except -1:
    # Only the close marker is missing: the close synced every event before it.
    if status == AQW_IO_ERROR or status == AQW_NO_SPACE:
        raise LogCloseError(**system_call(fault))
    return raise_log_fault(status, fault)
