"""Python events, commands and domain objects ↔ C events and payload bytes.

Which fields a kind has is written down in ``core/event/events.def`` alone. At import each event
class gets a program from it, and so does each command class that takes the short way: a step for
each field, with its form, its place in an ``aqw_event`` and the slot that holds it in an object of
the class (``events_programs.pxi``). One loop runs these steps for all kinds (``fill_fields``), and
another one makes events from C events (``events_build.pxi``). Only domain objects with an encoding
of their own have code of their own (``events_parts.pxi``).

``EventEncoder`` fills an ``aqw_event`` whose pointers lead into the Python objects themselves, so
the payload is copied once, by the core. What bytes mean is known to ``core/event`` alone.

Fields are read by offset, because attribute look-ups would cost more than all else. A class's own
descriptors tell where its slots are. Nothing is read by offset before the object's type is checked.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.object cimport Py_TYPE, PyObject, PyObject_TypeCheck, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from _wal_native.core cimport *
from _wal_native.from_c cimport bytes_of, ids_of, text_of
from _wal_native.ids cimport ActorId, Identifier, RunId, TaskId, TenantId, id_from_data
from _wal_native.rules cimport find_state, state_member
from _wal_native.slots cimport slot_of, value_in

from enum import Enum

# Read for every event, so they are bound here and not looked up in the module.
cdef object ActorRegistered, Once, RunInstance, TaskConstraints, TaskMetadata, TaskPayload, TaskSpec

from _wal_native.above import (
    COMMANDS,
    ActorRegistered,
    ActorRegistration,
    BudgetDimension,
    BudgetThresholdFilter,
    Capability,
    ConcurrencyKeyHoldPolicy,
    Cron,
    CustomFilter,
    DepartmentId,
    Event,
    EventFilter,
    InvalidFieldError,
    MalformedEventError,
    Once,
    RecordTooLarge,
    Repeat,
    Role,
    RunInstance,
    RunStateChangedFilter,
    SafetyLevel,
    TaskCompletedFilter,
    TaskConstraints,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
)
from _wal_native.rules import wrong_state

cdef extern from *:
    """
    #define AQW_PLACE_OF_TYPE ((Py_ssize_t)offsetof(PyObject, ob_type))
    """
    const Py_ssize_t AQW_PLACE_OF_TYPE
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


include "events_values.pxi"
include "events_programs.pxi"
include "events_parts.pxi"


# --- Python events and commands → C events ------------------------------------------------------

@cython.final
cdef class EventEncoder:
    """Turns Python events into C events, one at a time."""

    def __cinit__(self):
        self.part = Scratch()
        self.capabilities = Scratch()
        self.tags = Scratch()
        self.ids = Scratch()

    cdef int trim(self) except -1:
        """Give back the memory that an unusually large event took."""
        self.part.release()
        self.capabilities.release()
        self.tags.release()
        self.ids.release()
        return 0

    cdef aqw_event *fill(self, object event) except NULL:
        cdef const Program *program = program_of(event)
        if program is NULL or program.is_command:
            raise TypeError(f"expected an event, got {type(event).__name__}")
        while self.source is not None:  # its end may run a finalizer, which may fill this encoder
            previous = self.source
            self.source = None
            previous = None
        self.source = event
        try:
            self.event.sequence = integer(slot(event, program.sequence))
            fill_fields(self, program, event)
        except Misfit as misfit:
            raise error_of(misfit) from None
        return &self.event

    @cython.nonecheck(False)
    cdef bint fill_command(self, object command, uint64_t sequence) except -1:
        cdef const Program *program = program_of(command)
        if program is NULL or not program.is_command:
            return False
        if value_in(command, program.sequence) != <PyObject *>None:
            if <uint64_t>integer(slot(command, program.sequence)) != sequence:
                return False
        self.event.sequence = sequence
        fill_fields(self, program, command)
        return True


@cython.nonecheck(False)
cdef int fill_fields(EventEncoder encoder, const Program *program, object source) except -1:
    """Fill in an event's kind and fields from an object of the program's class.

    Runs no Python code: it reads slots of objects whose types it has checked, and where one does not
    fit it raises a Misfit.
    """
    cdef aqw_event *event = &encoder.event
    cdef const Step *step = &program.steps[0]
    cdef const Step *end = step + program.step_count
    cdef object owner = source
    cdef PyObject *value        # borrowed: the owner keeps it, and no other code runs meanwhile
    cdef uint8_t *to
    cdef uint8_t *ids = NULL
    cdef size_t size = 0        # of what may be large
    cdef int form
    if encoder.part.capacity > SCRATCH_SIZE_KEPT or encoder.ids.capacity > SCRATCH_SIZE_KEPT:
        encoder.trim()
    event.kind = program.kind
    event.spec_is_valid = 0
    while step != end:
        form = step.form
        to = <uint8_t *>event + step.to
        value = value_in(owner, step.slot)
        if value is NULL:
            raise Misfit(empty_slot, owner)
        if form == AQW_FIELD_ID:
            if <PyObject *>Py_TYPE(<object>value) != step.about:
                refuse_type(value, step.about)
            memcpy(to, (<Identifier>value).data, 16)
        elif form == AQW_FIELD_NUMBER:
            if not PyLong_Check(<object>value):
                refuse_type(value, <PyObject *>int)
            (<uint64_t *>to)[0] = <object>value
        elif form == AQW_FIELD_STATE:
            to[0] = <uint8_t>code_of_state(<object>value)
        elif form == AQW_FIELD_TEXT:
            set_text(<aqw_bytes *>to, <object>value)
            size += (<aqw_bytes *>to).size
        elif form == STEP_ENTER:
            check_type(<object>value, <object>step.about)
            owner = <object>value
        elif form == AQW_FIELD_CODE:
            to[0] = <uint8_t>code_of(<object>value, <tuple>step.about)
        elif form == AQW_FIELD_SIGNED32:
            (<int32_t *>to)[0] = integer(<object>value)
        elif form == AQW_FIELD_IDS:
            if ids is NULL:
                ids = reserve_ids(encoder, step, end, owner)
            (<const uint8_t **>to)[0] = ids
            (<uint32_t *>(<uint8_t *>event + step.second))[0] = <uint32_t>len(<tuple?><object>value)
            ids = put_ids(ids, <object>value, step.about)
        elif form < AQW_FIELD_ZERO:
            size += fill_rare(event, step, <object>value, owner)
        else:
            size += fill_special(encoder, step, owner)
        step += 1
    if size >= AQW_TEXT_SIZE_MAX:       # the rest, identifiers and numbers, is far from the limit
        check_payload_size(event)
    return 0


cdef Py_ssize_t fill_rare(aqw_event *event, const Step *step, object value, object owner) except -1:
    """Fill in the forms that few events have. Returns the size of what may be large."""
    cdef uint8_t *to = <uint8_t *>event + step.to
    cdef uint8_t *second = <uint8_t *>event + step.second
    cdef int form = step.form
    if form == AQW_FIELD_MAYBE_NUMBER:
        second[0] = value is not None
        (<uint64_t *>to)[0] = 0 if value is None else integer(value)
        return 0
    if form == AQW_FIELD_MAYBE_ID:
        second[0] = <uint8_t>set_optional_id(to, value, step.about)
        return 0
    if form == AQW_FIELD_NUMBER32:
        (<uint32_t *>to)[0] = integer(value)
        return 0
    if form == AQW_FIELD_DETAIL:
        set_detail(event, step, value, slot(owner, step.second_slot))
    elif form == AQW_FIELD_MAYBE_TEXT:
        set_optional_text(<aqw_bytes *>to, value)
    else:   # AQW_FIELD_BYTES
        set_bytes(<aqw_bytes *>to, value)
    return (<aqw_bytes *>to).size


cdef int check_payload_size(const aqw_event *event) except -1:
    """Raise where the payload is over its limit."""
    cdef size_t size
    return check_encoded(aqw_event_encode(event, NULL, 0, &size), &size)


cdef uint8_t *reserve_ids(
    EventEncoder encoder, const Step *step, const Step *end, object owner
) except NULL:
    """Return memory for all lists of identifiers of an event. The limit is for all together."""
    cdef size_t count = 0, limit = step.limit
    while step != end:
        if step.form == AQW_FIELD_IDS:
            count += <size_t>len(<tuple?>slot(owner, step.slot))
        step += 1
    if count > limit:
        raise Misfit(RecordTooLarge, 16 * count, 16 * limit)
    encoder.ids.reserve(16 * count + 1)
    return encoder.ids.data


cdef uint8_t *put_ids(uint8_t *to, tuple ids, PyObject *cls) except NULL:
    for one in ids:
        set_id(to, one, cls)
        to += 16
    return to


cdef int refuse(const aqw_event *event, str reason) except -1:
    raise Misfit(MalformedEventError, reason, event.kind, event.sequence)


cdef inline bint has_error(int result) noexcept:
    return result == AQW_FAILURE or result == AQW_TIMEOUT


cdef int set_detail(aqw_event *event, const Step *step, object error, object output) except -1:
    """Fill in an attempt's error or its output: its result says which of them it has."""
    cdef aqw_bytes *to = <aqw_bytes *>(<uint8_t *>event + step.to)
    if output is not None and type(output) is not bytes:
        refuse_type(<PyObject *>output, <PyObject *>bytes)
    if has_error((<uint8_t *>event + step.second)[0]):
        if output:
            refuse(event, "an attempt with an error has no output")
        return set_text(to, error)
    if error is not None:
        refuse(event, "an attempt without failure has no error")
    if output:
        return set_bytes(to, output)
    to.data = NULL      # empty output is absent
    to.size = 0
    return 0


cdef Py_ssize_t fill_special(EventEncoder encoder, const Step *step, object owner) except -1:
    """Fill in the forms that read more than one slot, or none.

    Returns the size of what may be large.
    """
    cdef aqw_bytes *part = <aqw_bytes *>(<uint8_t *>&encoder.event + step.to)
    cdef int form = step.form
    if form == AQW_FIELD_ZERO:
        (<uint64_t *>part)[0] = 0
        return 0
    if form == STEP_FRESH:
        return check_fresh(&encoder.event, owner)
    if form == AQW_FIELD_SPEC:
        encode_task_spec(encoder, part, owner)
        encoder.event.spec_is_valid = 1
    elif form == AQW_FIELD_FILTER:
        encode_filter(encoder.part, part, owner)
    elif form == AQW_FIELD_REGISTRATION:
        encode_registration(encoder, part, owner)
    elif form == AQW_FIELD_ROLE:
        encode_named(encoder.part, part, owner, ROLE_NAMES)
    else:
        encode_named(encoder.part, part, owner, CAPABILITY_NAMES)
    return part.size


cdef int check_fresh(const aqw_event *event, object run) except -1:
    cdef uint8_t state = <uint8_t>code_of_state(slot(run, RUN_STATE))
    cdef bint has_attempt = slot(run, RUN_CURRENT_ATTEMPT_ID) is not None
    cdef uint32_t attempt_count = integer(slot(run, RUN_ATTEMPT_COUNT))
    cdef uint64_t created_at = event.fields.run_created.created_at
    cdef uint64_t last_change_at = integer(slot(run, RUN_LAST_STATE_CHANGE_AT))
    if not aqw_rule_run_is_fresh(state, has_attempt, attempt_count, created_at, last_change_at):
        refuse(event, "a run is created scheduled and fresh")
    return 0


include "events_build.pxi"


add_programs()


# --- The Python face ------------------------------------------------------------------------------

def encode_event(object event not None) -> bytes:
    """Return the event's payload bytes; its kind and sequence are not among them.

    Raises:
        RecordTooLarge: The payload, or one of its fields, is over a limit.
        MalformedEventError: No payload can hold the event, such as a created run that is not fresh.
        TypeError, OverflowError: It is not an event, or a field has a wrong type or range.
    """
    cdef EventEncoder encoder = EventEncoder()
    cdef aqw_event *filled = encoder.fill(event)
    cdef size_t size
    cdef bytes payload
    try:
        check_encoded(aqw_event_encode(filled, NULL, 0, &size), &size)
        payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        check_encoded(
            aqw_event_encode(filled, <uint8_t *>PyBytes_AS_STRING(payload), size, &size), &size)
    except Misfit as misfit:
        raise error_of(misfit) from None
    return payload


def decode_event(int kind, sequence, bytes payload not None):
    """Return the event of this kind (a code of ``EventKind``) that the payload holds.

    Raises:
        MalformedEventError: The payload is not one of that kind, or there is no such kind.
    """
    cdef aqw_event event
    if kind < 1 or kind > AQW_EVENT_KIND_LAST:
        raise MalformedEventError(
            "this version of the library does not know the kind", kind, sequence)
    if aqw_event_decode(<uint8_t>kind, sequence, <const uint8_t *>PyBytes_AS_STRING(payload),
                        <size_t>PyBytes_GET_SIZE(payload), &event) != AQW_OK:
        raise MalformedEventError("the payload does not decode", kind, sequence)
    return event_from_c(&event)


cdef aqw_bytes part_of(bytes data) except *:
    cdef aqw_bytes part
    try:
        set_bytes(&part, data)
    except Misfit as misfit:
        raise error_of(misfit) from None
    return part


def task_spec_from_bytes(TaskId task_id not None, bytes data not None):
    """Return the task spec that its encoding holds, for a task. Raises MalformedEventError."""
    return task_spec_from_c(task_id, part_of(data))


def filter_from_bytes(bytes data not None):
    """Return the event filter that its encoding holds. Raises MalformedEventError."""
    return filter_from_c(part_of(data))


def registration_from_bytes(ActorId actor_id not None, bytes data not None):
    """Return the registration that its encoding holds, for an actor. Raises MalformedEventError."""
    return registration_from_c(actor_id, part_of(data))


def role_from_bytes(bytes data not None):
    """Return the role that its encoding holds. Raises MalformedEventError."""
    return role_from_c(part_of(data))


def capability_from_bytes(bytes data not None):
    """Return the capability that its encoding holds. Raises MalformedEventError."""
    return capability_from_c(part_of(data))


def capability_to_bytes(capability not None) -> bytes:
    """Return the capability's encoding. Raises RecordTooLarge where its text is over the limit."""
    cdef aqw_bytes encoded
    cdef Scratch scratch = Scratch()
    try:
        check_type(capability, Capability)
        encode_named(scratch, &encoded, capability, CAPABILITY_NAMES)
    except Misfit as misfit:
        raise error_of(misfit) from None
    return bytes_of(encoded)
