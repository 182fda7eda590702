"""Python events and domain objects ↔ C events and payload bytes.

Two ways through: ``EventEncoder.fill`` turns a Python event into an ``aqw_event`` whose pointers lead into the Python
objects themselves, so that the payload is copied once, by the core; ``event_from_c`` turns a decoded one into a Python
event. What bytes mean is known to ``core/event/event.c`` alone.

The kinds that a scheduler writes all day read their fields by offset. A struct keeps them in slots, whose place the
class's own descriptors tell, and 26 attribute look-ups for one task would cost more than all else. Nothing is read by
offset before the object's type was checked.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport Py_TYPE, PyObject, PyObject_TypeCheck, PyTypeObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from _wal_native.core cimport *
from _wal_native.ids cimport (
    ActorId, AttemptId, Identifier, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId, id_from_data,
)
from _wal_native.rules cimport state_code, state_member

from actionqueue.errors import InvalidFieldError, MalformedEventError, RecordTooLarge
from actionqueue.model import (
    ActorDeregistered, ActorHeartbeat, ActorRegistered, ActorRegistration, AttemptFinished, AttemptResultKind,
    AttemptStarted, BudgetAllocated, BudgetConsumed, BudgetDimension, BudgetExhausted, BudgetReplenished,
    BudgetThresholdFilter, Capability, CapabilityGranted, CapabilityRevoked, CustomFilter, DepartmentId,
    DependencyDeclared, EnginePaused, EngineResumed, Event, LeaseAcquired, LeaseExpired, LeaseHeartbeat, LeaseReleased,
    LedgerEntryAppended, Role, RoleAssigned, RunCanceled, RunCreated, RunResumed, RunState, RunStateChanged,
    RunStateChangedFilter, RunSuspended, RunsPurged, SubscriptionCanceled, SubscriptionCreated, SubscriptionTriggered,
    TaskCanceled, TaskCompletedFilter, TaskCreated, TenantCreated,
)

cdef extern from *:
    """
    #include <structmember.h>   /* PyMemberDef, before Python 3.12 */
    /* Where a slot's descriptor finds the slot in an object; -1 for any other kind of attribute. */
    static Py_ssize_t aqw_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
        return ((PyMemberDescrObject *)descriptor)->d_member->offset;
    }
    """
    Py_ssize_t aqw_slot_offset(object descriptor) noexcept
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    object PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors)


# Read for every event, so they are bound here and not looked up in the module.
cdef object AttemptFinishCommand, AttemptOutcome, AttemptStartCommand, LeaseAcquireCommand, LeaseExpireCommand
cdef object LeaseHeartbeatCommand, LeaseReleaseCommand, Once, RunCreateCommand, RunInstance, RunResumeCommand
cdef object RunStateTransitionCommand, RunSuspendCommand, TaskConstraints, TaskCreateCommand, TaskMetadata, TaskPayload
cdef object TaskSpec

from actionqueue.model import (
    AttemptFinishCommand, AttemptOutcome, AttemptStartCommand, ConcurrencyKeyHoldPolicy, Cron, LeaseAcquireCommand,
    LeaseExpireCommand, LeaseHeartbeatCommand, LeaseReleaseCommand, Once, Repeat, RunCreateCommand, RunInstance,
    RunResumeCommand, RunStateTransitionCommand, RunSuspendCommand, SafetyLevel, TaskConstraints, TaskCreateCommand,
    TaskMetadata, TaskPayload, TaskSpec,
)


# --- Vocabularies: the order of the members is the order of the codes ------------------------------------------------

cdef tuple RESULTS = tuple(AttemptResultKind)
cdef tuple DIMENSIONS = tuple(BudgetDimension)
cdef tuple HOLD_POLICIES = tuple(ConcurrencyKeyHoldPolicy)
cdef tuple SAFETY_LEVELS = tuple(SafetyLevel)
cdef tuple ROLE_NAMES = Role.NAMES              # the last is "custom"
cdef tuple CAPABILITY_NAMES = Capability.NAMES

# Each kind's class, at the place of its code; none has the code 0.
cdef tuple EVENT_CLASSES = (
    None, TaskCreated, RunCreated, RunStateChanged, AttemptStarted, AttemptFinished, TaskCanceled, RunCanceled,
    LeaseAcquired, LeaseHeartbeat, LeaseExpired, LeaseReleased, EnginePaused, EngineResumed, DependencyDeclared,
    RunSuspended, RunResumed, BudgetAllocated, BudgetConsumed, BudgetExhausted, BudgetReplenished, SubscriptionCreated,
    SubscriptionTriggered, SubscriptionCanceled, ActorRegistered, ActorDeregistered, ActorHeartbeat, TenantCreated,
    RoleAssigned, CapabilityGranted, CapabilityRevoked, LedgerEntryAppended, RunsPurged,
)
for code in range(1, AQW_EVENT_KIND_LAST + 1):
    if EVENT_CLASSES[code].kind != code:
        raise ImportError(f"the kind of {EVENT_CLASSES[code].__name__} is not {code}")


cdef inline int code_of(object member, tuple members) except -1:
    """Return the code of an enumeration's member."""
    cdef Py_ssize_t code
    for code in range(len(members)):
        if members[code] is member:
            return <int>code
    raise TypeError(f"expected {type(members[0]).__name__}, got {type(member).__name__}")


include "encode.pxi"
include "encode_commands.pxi"
include "decode.pxi"


# --- The Python face -------------------------------------------------------------------------------------------------

def encode_event(object event not None) -> bytes:
    """Return the event's payload bytes; its kind and sequence are not among them.

    Raises:
        RecordTooLarge: the payload, or one of its fields, is over a limit.
        MalformedEventError: no payload can hold the event, such as a run that is not fresh in ``RunCreated``.
        TypeError, OverflowError: it is no event, or a field has a value of a wrong type or range.
    """
    cdef EventEncoder encoder = EventEncoder()
    cdef aqw_event *filled = encoder.fill(event)
    cdef size_t size
    cdef bytes payload
    check_encoded(aqw_event_encode(filled, NULL, 0, &size), &size)
    payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    check_encoded(aqw_event_encode(filled, <uint8_t *>PyBytes_AS_STRING(payload), size, &size), &size)
    return payload


def decode_event(int kind, sequence, bytes payload not None):
    """Return the event of this kind (a code of ``EventKind``) that the payload holds.

    Raises:
        MalformedEventError: the payload is not one of that kind, or there is no such kind.
    """
    cdef aqw_event event
    if kind < 1 or kind > AQW_EVENT_KIND_LAST:
        raise MalformedEventError("unknown kind", kind, sequence)
    if aqw_event_decode(<uint8_t>kind, sequence, <const uint8_t *>PyBytes_AS_STRING(payload),
                        <size_t>PyBytes_GET_SIZE(payload), &event) != AQW_OK:
        raise MalformedEventError("the payload does not decode", kind, sequence)
    return event_from_c(&event)


cdef aqw_bytes part_of(bytes data) except *:
    cdef aqw_bytes part
    set_bytes(&part, data)
    return part


def task_spec_from_bytes(TaskId task_id not None, bytes data not None):
    """Return the task spec that its encoding holds; the task's id is not in it. Raises MalformedEventError."""
    return task_spec_from_c(task_id, part_of(data))


def filter_from_bytes(bytes data not None):
    """Return the event filter that its encoding holds. Raises MalformedEventError."""
    return filter_from_c(part_of(data))


def registration_from_bytes(ActorId actor_id not None, bytes data not None):
    """Return the registration that its encoding holds; the actor's id is not in it. Raises MalformedEventError."""
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
    encode_named(scratch, &encoded, capability, Capability, CAPABILITY_NAMES)
    return bytes_of(encoded)
