"""Python events and domain objects ↔ C events, for the other doors."""

from libc.stdint cimport uint8_t, uint64_t

from _wal_native.core cimport aqw_bytes, aqw_event


cdef class Scratch:
    cdef uint8_t *data
    cdef size_t capacity
    cdef int reserve(self, size_t size) except -1
    cdef void release(self) noexcept


cdef class EventEncoder:
    cdef aqw_event event
    cdef object source          # keeps alive what the event's pointers lead to
    cdef Scratch part           # the encoded nested part
    cdef Scratch capabilities   # encoded lists
    cdef Scratch tags
    cdef Scratch ids            # lists of identifiers

    # The event as C sees it, valid until the next call. What it points to belongs to `event` and to
    # this encoder. Raises RecordTooLarge where the payload or one of its fields is over a limit,
    # TypeError or OverflowError where a field has the wrong type. One thread at a time.
    cdef aqw_event *fill(self, object event) except NULL

    # Fills `event` with what a command becomes, without a Python event in between. Returns False
    # where the command's class does not take the short way, or the command names another sequence.
    # Raises TypeError, OverflowError, MemoryError and the like where `fill` raises. Runs no Python
    # code, so what it raises is never a signal's handler's. What the event points to belongs to the
    # command and to this encoder.
    cdef bint fill_command(self, object command, uint64_t sequence) except -1
    cdef int trim(self) except -1


# Returns the Python event for a C event that aqw_event_decode has accepted. It does not point to
# the C event's memory. Raises MalformedEventError where the domain types refuse what C cannot judge
# (a cron expression).
cdef object event_from_c(const aqw_event *event)

# Encodes a TaskSpec; the caller has checked its type. What it gives belongs to the encoder. Raises
# as `fill`.
cdef int encode_checked_spec(EventEncoder encoder, aqw_bytes *to, object source) except -1

# The nested parts that the state table keeps encoded.
cdef object task_spec_from_c(object task_id, aqw_bytes part)
cdef object filter_from_c(aqw_bytes part)
cdef object registration_from_c(object actor_id, aqw_bytes part)
cdef object role_from_c(aqw_bytes part)
cdef object capability_from_c(aqw_bytes part)
