"""Status codes of the core as exceptions: the one table.

Each status asks for a different remedy, so each has an exception of its own. The codes come from
``core/base/status.h``.
"""

from libc.stdint cimport uint64_t

from types import MappingProxyType

from _wal_native.core cimport *

from _wal_native.above import (
    ClosedError,
    CompactedError,
    CorruptLogError,
    DisplacedError,
    ForkedError,
    HistoryChangedError,
    LockedError,
    LogSpaceError,
    LogWriteError,
    MalformedEventError,
    NotAQueueError,
    PoisonedError,
    RecordTooLarge,
    RefusedEventError,
    StoppedError,
    UnsupportedFormatError,
)


cdef dict exceptions = {
    AQW_INVALID_ARGUMENT: ValueError,
    AQW_NO_MEMORY: MemoryError,
    AQW_TOO_LARGE: RecordTooLarge,
    AQW_MALFORMED_EVENT: MalformedEventError,
    AQW_MALFORMED_SNAPSHOT: CorruptLogError,
    AQW_CLOSED: ClosedError,
    AQW_POISONED: PoisonedError,
    AQW_FORKED: ForkedError,
    AQW_STOPPED: StoppedError,
    AQW_IO_ERROR: LogWriteError,
    AQW_NO_SPACE: LogSpaceError,
    AQW_LOCKED: LockedError,
    AQW_CORRUPT: CorruptLogError,
    AQW_UNSUPPORTED_FORMAT: UnsupportedFormatError,
    AQW_NOT_A_QUEUE: NotAQueueError,
    AQW_COMPACTED: CompactedError,
    AQW_DISPLACED: DisplacedError,
    AQW_HISTORY_CHANGED: HistoryChangedError,
}
cdef int refusal
for refusal in range(AQW_REFUSED_SEQUENCE, AQW_REFUSED_LAST + 1):
    exceptions[refusal] = RefusedEventError

EXCEPTIONS = MappingProxyType(exceptions)

cdef str REFUSED = "refused_"


cdef str name_of(int status):
    return aqw_status_name(status).decode("ascii")


cdef bint is_success(int status) noexcept:
    return status == AQW_OK or status == AQW_END or status == AQW_NEEDS_ROOM


cdef int raise_status(int status, uint64_t sequence=0) except -1:
    if is_success(status):
        return 0
    if AQW_REFUSED_SEQUENCE <= status <= AQW_REFUSED_LAST:
        raise RefusedEventError(rule=name_of(status).removeprefix(REFUSED), sequence=sequence)
    return raise_status_with(status, {})


# What a field says where the caller does not know it: so every status can become its exception.
cdef dict UNKNOWN_FIELDS = {
    "path": "",
    "operation": "",
    "errno": 0,
    "version": 0,
    "first_sequence": 0,
    "size": 0,
    "limit": AQW_PAYLOAD_SIZE_MAX,
    "reason": "unknown",
}


cdef int raise_status_with(int status, dict fields) except -1:
    """Raise the status's exception.

    It takes its own fields of those given. A field that it needs and does not get is unknown.
    """
    if is_success(status):
        return 0
    exception = exceptions.get(status)
    if exception is None:
        raise SystemError(f"the core returned {status} ({name_of(status)}), which is no status")
    if exception is ValueError:
        raise ValueError("an option or a size is out of range")
    given = {}
    for name in getattr(exception, "fields", ()):
        if name in fields:
            given[name] = fields[name]
        elif not hasattr(exception, name):
            given[name] = UNKNOWN_FIELDS.get(name)
    raise exception(**given)


def status_name(int status, /):
    """Return the status code's name in lower snake case.

    It is ``"unknown"`` for a number that no status has.
    """
    return name_of(status)
