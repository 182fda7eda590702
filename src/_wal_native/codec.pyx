"""Python events and domain objects ↔ C events and payload bytes.

Two ways through: ``EventEncoder.fill`` turns a Python event into an ``aqw_event`` whose pointers lead into the Python
objects themselves, so that the payload is copied once, by the core; ``event_from_c`` turns a decoded one into a Python
event. What bytes mean is known to ``core/event.c`` alone.

The kinds that a scheduler writes all day read their fields by offset. A struct keeps them in slots, whose place the
class's own descriptors tell, and 26 attribute look-ups for one task would cost more than all else. Nothing is read by
offset before the object's type was checked.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyObject_TypeCheck, PyTypeObject
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from _wal_native.core cimport *
from _wal_native.ids cimport (
    ActorId, AttemptId, Identifier, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId, id_from_data,
)
from _wal_native.rules cimport state_code, state_member

from actionqueue.actor import ActorRegistration, DepartmentId
from actionqueue.budget import BudgetDimension
from actionqueue.errors import InvalidFieldError, MalformedEventError, RecordTooLarge
from actionqueue.events import (
    ActorDeregistered, ActorHeartbeat, ActorRegistered, AttemptFinished, AttemptStarted, BudgetAllocated,
    BudgetConsumed, BudgetExhausted, BudgetReplenished, CapabilityGranted, CapabilityRevoked, DependencyDeclared,
    EnginePaused, EngineResumed, Event, LeaseAcquired, LeaseExpired, LeaseHeartbeat, LeaseReleased, LedgerEntryAppended,
    RoleAssigned, RunCanceled, RunCreated, RunResumed, RunStateChanged, RunSuspended, RunsPurged, SubscriptionCanceled,
    SubscriptionCreated, SubscriptionTriggered, TaskCanceled, TaskCreated, TenantCreated,
)
from actionqueue.platform import Capability, Role
from actionqueue.states import AttemptResultKind, RunState
from actionqueue.subscription import (
    BudgetThresholdFilter, CustomFilter, RunStateChangedFilter, TaskCompletedFilter,
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
cdef object Once, RunInstance, TaskConstraints, TaskMetadata, TaskPayload, TaskSpec

from actionqueue.run import RunInstance
from actionqueue.run_policy import Cron, Once, Repeat
from actionqueue.task import (
    ConcurrencyKeyHoldPolicy,
    SafetyLevel,
    TaskConstraints,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
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


# --- Slots: where the hot kinds' fields are --------------------------------------------------------------------------

cdef Py_ssize_t slot_of(object cls, str name) except -1:
    cdef Py_ssize_t offset = aqw_slot_offset(getattr(cls, name))
    if offset < 0:
        raise ImportError(f"{cls.__name__}.{name} is not a struct field")
    return offset


cdef Py_ssize_t same_slot_of(tuple classes, str name) except -1:
    """The slot that a field has in all of the classes."""
    if len({slot_of(cls, name) for cls in classes}) != 1:
        raise ImportError(f"{classes[0].__name__}.{name} is elsewhere in its sisters")
    return slot_of(classes[0], name)


cdef inline object slot(object owner, Py_ssize_t offset):
    """Read a field of an object whose type was checked."""
    cdef PyObject *value = (<PyObject **>((<char *><PyObject *>owner) + offset))[0]
    if value is NULL:
        raise AttributeError(f"a field of {type(owner).__name__} is not set")
    return <object>value


cdef inline int check_type(object value, object cls) except -1:
    if not PyObject_TypeCheck(value, <PyTypeObject *>cls):
        raise TypeError(f"expected {cls.__name__}, got {type(value).__name__}")
    return 0


cdef Py_ssize_t EVENT_SEQUENCE = slot_of(Event, "sequence")

cdef Py_ssize_t TASK_CREATED_SPEC = slot_of(TaskCreated, "task_spec")
cdef Py_ssize_t TASK_CREATED_TIMESTAMP = slot_of(TaskCreated, "timestamp")

cdef Py_ssize_t RUN_CREATED_INSTANCE = slot_of(RunCreated, "run_instance")

cdef Py_ssize_t STATE_CHANGED_RUN_ID = slot_of(RunStateChanged, "run_id")
cdef Py_ssize_t STATE_CHANGED_PREVIOUS = slot_of(RunStateChanged, "previous_state")
cdef Py_ssize_t STATE_CHANGED_NEW = slot_of(RunStateChanged, "new_state")
cdef Py_ssize_t STATE_CHANGED_TIMESTAMP = slot_of(RunStateChanged, "timestamp")

cdef Py_ssize_t STARTED_RUN_ID = slot_of(AttemptStarted, "run_id")
cdef Py_ssize_t STARTED_ATTEMPT_ID = slot_of(AttemptStarted, "attempt_id")
cdef Py_ssize_t STARTED_TIMESTAMP = slot_of(AttemptStarted, "timestamp")

cdef Py_ssize_t FINISHED_RUN_ID = slot_of(AttemptFinished, "run_id")
cdef Py_ssize_t FINISHED_ATTEMPT_ID = slot_of(AttemptFinished, "attempt_id")
cdef Py_ssize_t FINISHED_RESULT = slot_of(AttemptFinished, "result")
cdef Py_ssize_t FINISHED_ERROR = slot_of(AttemptFinished, "error")
cdef Py_ssize_t FINISHED_OUTPUT = slot_of(AttemptFinished, "output")
cdef Py_ssize_t FINISHED_TIMESTAMP = slot_of(AttemptFinished, "timestamp")

cdef tuple LEASES = (LeaseAcquired, LeaseHeartbeat, LeaseExpired, LeaseReleased)
cdef Py_ssize_t LEASE_RUN_ID = same_slot_of(LEASES, "run_id")
cdef Py_ssize_t LEASE_OWNER = same_slot_of(LEASES, "owner")
cdef Py_ssize_t LEASE_EXPIRY = same_slot_of(LEASES, "expiry")
cdef Py_ssize_t LEASE_TIMESTAMP = same_slot_of(LEASES, "timestamp")

cdef Py_ssize_t RUN_ID = slot_of(RunInstance, "id")
cdef Py_ssize_t RUN_TASK_ID = slot_of(RunInstance, "task_id")
cdef Py_ssize_t RUN_STATE = slot_of(RunInstance, "state")
cdef Py_ssize_t RUN_CURRENT_ATTEMPT_ID = slot_of(RunInstance, "current_attempt_id")
cdef Py_ssize_t RUN_ATTEMPT_COUNT = slot_of(RunInstance, "attempt_count")
cdef Py_ssize_t RUN_CREATED_AT = slot_of(RunInstance, "created_at")
cdef Py_ssize_t RUN_SCHEDULED_AT = slot_of(RunInstance, "scheduled_at")
cdef Py_ssize_t RUN_EFFECTIVE_PRIORITY = slot_of(RunInstance, "effective_priority")
cdef Py_ssize_t RUN_LAST_STATE_CHANGE_AT = slot_of(RunInstance, "last_state_change_at")

cdef Py_ssize_t SPEC_ID = slot_of(TaskSpec, "id")
cdef Py_ssize_t SPEC_PAYLOAD = slot_of(TaskSpec, "payload")
cdef Py_ssize_t SPEC_RUN_POLICY = slot_of(TaskSpec, "run_policy")
cdef Py_ssize_t SPEC_CONSTRAINTS = slot_of(TaskSpec, "constraints")
cdef Py_ssize_t SPEC_METADATA = slot_of(TaskSpec, "metadata")
cdef Py_ssize_t SPEC_PARENT_TASK_ID = slot_of(TaskSpec, "parent_task_id")
cdef Py_ssize_t SPEC_TENANT_ID = slot_of(TaskSpec, "tenant_id")

cdef Py_ssize_t PAYLOAD_DATA = slot_of(TaskPayload, "data")
cdef Py_ssize_t PAYLOAD_CONTENT_TYPE = slot_of(TaskPayload, "content_type")

cdef Py_ssize_t CONSTRAINTS_MAX_ATTEMPTS = slot_of(TaskConstraints, "max_attempts")
cdef Py_ssize_t CONSTRAINTS_TIMEOUT_SECS = slot_of(TaskConstraints, "timeout_secs")
cdef Py_ssize_t CONSTRAINTS_CONCURRENCY_KEY = slot_of(TaskConstraints, "concurrency_key")
cdef Py_ssize_t CONSTRAINTS_HOLD_POLICY = slot_of(TaskConstraints, "concurrency_key_hold_policy")
cdef Py_ssize_t CONSTRAINTS_SAFETY_LEVEL = slot_of(TaskConstraints, "safety_level")
cdef Py_ssize_t CONSTRAINTS_REQUIRED_CAPABILITIES = slot_of(TaskConstraints, "required_capabilities")

cdef Py_ssize_t METADATA_TAGS = slot_of(TaskMetadata, "tags")
cdef Py_ssize_t METADATA_PRIORITY = slot_of(TaskMetadata, "priority")
cdef Py_ssize_t METADATA_DESCRIPTION = slot_of(TaskMetadata, "description")


# --- Python values → C fields ----------------------------------------------------------------------------------------

cdef inline int set_id(uint8_t *to, object value, type cls) except -1:
    if type(value) is not cls:
        raise TypeError(f"expected {cls.__name__}, got {type(value).__name__}")
    memcpy(to, (<Identifier>value).data, 16)
    return 0


cdef int set_optional_id(uint8_t *to, object value, type cls) except -1:
    """Return whether there is one."""
    if value is None:
        return 0
    set_id(to, value, cls)
    return 1


cdef inline int set_text(aqw_bytes *to, object text) except -1:
    """Point to a string's UTF-8 form, which the string itself keeps."""
    cdef Py_ssize_t size
    if type(text) is not str:
        raise TypeError(f"expected str, got {type(text).__name__}")
    to.data = <const uint8_t *>PyUnicode_AsUTF8AndSize(text, &size)
    if size > AQW_TEXT_SIZE_MAX:
        raise RecordTooLarge(size, AQW_TEXT_SIZE_MAX)
    to.size = <uint32_t>size
    return 0


cdef inline int set_optional_text(aqw_bytes *to, object text) except -1:
    if text is not None:
        return set_text(to, text)
    to.data = NULL
    to.size = 0
    return 0


cdef inline int set_bytes(aqw_bytes *to, object data) except -1:
    if type(data) is not bytes:
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    if PyBytes_GET_SIZE(data) > AQW_PAYLOAD_SIZE_MAX:
        raise RecordTooLarge(PyBytes_GET_SIZE(data), AQW_PAYLOAD_SIZE_MAX)
    to.data = <const uint8_t *>PyBytes_AS_STRING(data)
    to.size = <uint32_t>PyBytes_GET_SIZE(data)
    return 0


cdef int set_list(aqw_list *to, Scratch scratch, tuple texts) except -1:
    """Encode a list of strings into the scratch memory."""
    cdef aqw_bytes entry
    cdef size_t size = 0
    for text in texts:
        set_text(&entry, text)
        scratch.reserve(size + 5 + entry.size)      # a varint32 takes at most 5 bytes
        check_encoded(aqw_list_put(scratch.data, scratch.capacity, &size, entry.data, entry.size), &size)
        if size > AQW_PAYLOAD_SIZE_MAX:
            raise RecordTooLarge(size, AQW_PAYLOAD_SIZE_MAX)
    scratch.reserve(1)
    to.data = scratch.data
    to.size = <uint32_t>size
    to.count = <uint32_t>len(texts)
    return 0


cdef int check_encoded(aqw_status status, const size_t *size) except -1:
    """Raise for what an encoder returned. The size is what the whole would take, and read after the encoder set it."""
    if status == AQW_OK:
        return 0
    if status == AQW_TOO_LARGE:
        raise RecordTooLarge(size[0], AQW_PAYLOAD_SIZE_MAX)
    raise MalformedEventError("a field has a value that no payload can hold")


cdef enum:
    SCRATCH_SIZE_MIN = 256
    SCRATCH_SIZE_KEPT = 65536


@cython.final
cdef class Scratch:
    """Memory that an encoder writes to, and uses again for the next event."""

    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, size_t size) except -1:
        """Have room for `size` bytes; what was written stays."""
        cdef size_t capacity = self.capacity if self.capacity > 0 else SCRATCH_SIZE_MIN
        cdef void *grown
        if size <= self.capacity:
            return 0
        while capacity < size:
            capacity *= 2
        grown = realloc(self.data, capacity)
        if grown is NULL:
            raise MemoryError()
        self.data = <uint8_t *>grown
        self.capacity = capacity
        return 0

    cdef void release(self) noexcept:
        free(self.data)
        self.data = NULL
        self.capacity = 0


# --- Python events → C events ----------------------------------------------------------------------------------------

@cython.final
cdef class EventEncoder:
    """Turns Python events into C events, one at a time."""

    def __cinit__(self):
        self.part = Scratch()
        self.capabilities = Scratch()
        self.tags = Scratch()

    cdef aqw_event *fill(self, object event) except NULL:
        cdef aqw_event *to = &self.event
        cdef int kind = kind_of(event)
        if self.part.capacity > SCRATCH_SIZE_KEPT:      # the event before was an unusually large one
            self.part.release()
            self.capabilities.release()
            self.tags.release()
        self.source = event
        to.kind = <uint8_t>kind
        to.sequence = slot(event, EVENT_SEQUENCE)
        if kind == AQW_RUN_STATE_CHANGED:
            set_id(to.fields.run_state_changed.run_id, slot(event, STATE_CHANGED_RUN_ID), RunId)
            to.fields.run_state_changed.previous_state = <uint8_t>state_code(slot(event, STATE_CHANGED_PREVIOUS))
            to.fields.run_state_changed.new_state = <uint8_t>state_code(slot(event, STATE_CHANGED_NEW))
            to.timestamp = slot(event, STATE_CHANGED_TIMESTAMP)
        elif (kind == AQW_LEASE_ACQUIRED or kind == AQW_LEASE_HEARTBEAT or kind == AQW_LEASE_EXPIRED
                or kind == AQW_LEASE_RELEASED):
            set_id(to.fields.lease.run_id, slot(event, LEASE_RUN_ID), RunId)
            set_text(&to.fields.lease.owner, slot(event, LEASE_OWNER))
            to.fields.lease.expiry = slot(event, LEASE_EXPIRY)
            to.timestamp = slot(event, LEASE_TIMESTAMP)
        elif kind == AQW_ATTEMPT_STARTED:
            set_id(to.fields.attempt_started.run_id, slot(event, STARTED_RUN_ID), RunId)
            set_id(to.fields.attempt_started.attempt_id, slot(event, STARTED_ATTEMPT_ID), AttemptId)
            to.timestamp = slot(event, STARTED_TIMESTAMP)
        elif kind == AQW_ATTEMPT_FINISHED:
            fill_attempt_finished(to, event)
        elif kind == AQW_RUN_CREATED:
            fill_run_created(to, event)
        elif kind == AQW_TASK_CREATED:
            fill_task_created(self, event)
        else:
            to.timestamp = event.timestamp
            fill_rare_kind(self, event)
        return to


cdef inline int kind_of(object event) except -1:
    """Return the code of an event's kind, after which its fields may be read by offset."""
    cdef int kind = getattr(event, "kind", 0)
    if kind < 1 or kind > AQW_EVENT_KIND_LAST or type(event) is not EVENT_CLASSES[kind]:
        raise TypeError(f"expected an event, got {type(event).__name__}")
    return kind


cdef inline int check_payload_size(const aqw_event *event, size_t part_size) except -1:
    """Raise where the payload is over its limit. For the kinds that may be: those with a part of any size."""
    cdef size_t size
    if part_size < AQW_TEXT_SIZE_MAX:       # the rest of such a payload is identifiers, numbers and one text at most
        return 0
    return check_encoded(aqw_event_encode(event, NULL, 0, &size), &size)


cdef int fill_attempt_finished(aqw_event *to, object event) except -1:
    cdef object error = slot(event, FINISHED_ERROR)
    cdef object output = slot(event, FINISHED_OUTPUT)
    set_id(to.fields.attempt_finished.run_id, slot(event, FINISHED_RUN_ID), RunId)
    set_id(to.fields.attempt_finished.attempt_id, slot(event, FINISHED_ATTEMPT_ID), AttemptId)
    to.fields.attempt_finished.result = <uint8_t>code_of(slot(event, FINISHED_RESULT), RESULTS)
    to.timestamp = slot(event, FINISHED_TIMESTAMP)
    if to.fields.attempt_finished.result == AQW_FAILURE or to.fields.attempt_finished.result == AQW_TIMEOUT:
        if output:
            raise MalformedEventError("an attempt with an error has no output", to.kind, to.sequence)
        set_text(&to.fields.attempt_finished.detail, error)
        return 0
    if error is not None:
        raise MalformedEventError("an attempt without failure has no error", to.kind, to.sequence)
    if not output:      # empty output is none
        to.fields.attempt_finished.detail.data = NULL
        to.fields.attempt_finished.detail.size = 0
        return 0
    set_bytes(&to.fields.attempt_finished.detail, output)
    return check_payload_size(to, to.fields.attempt_finished.detail.size)


cdef int fill_run_created(aqw_event *to, object event) except -1:
    cdef object run = slot(event, RUN_CREATED_INSTANCE)
    check_type(run, RunInstance)
    to.timestamp = 0
    set_id(to.fields.run_created.run_id, slot(run, RUN_ID), RunId)
    set_id(to.fields.run_created.task_id, slot(run, RUN_TASK_ID), TaskId)
    to.fields.run_created.created_at = slot(run, RUN_CREATED_AT)
    to.fields.run_created.scheduled_at = slot(run, RUN_SCHEDULED_AT)
    to.fields.run_created.effective_priority = slot(run, RUN_EFFECTIVE_PRIORITY)
    if not aqw_rule_run_is_fresh(<uint8_t>state_code(slot(run, RUN_STATE)),
                                 slot(run, RUN_CURRENT_ATTEMPT_ID) is not None, slot(run, RUN_ATTEMPT_COUNT),
                                 to.fields.run_created.created_at, slot(run, RUN_LAST_STATE_CHANGE_AT)):
        raise MalformedEventError("a run is created scheduled and fresh", to.kind, to.sequence)
    return 0


cdef int fill_task_created(EventEncoder encoder, object event) except -1:
    cdef aqw_event *to = &encoder.event
    cdef aqw_task_spec spec
    cdef size_t size
    cdef object source = slot(event, TASK_CREATED_SPEC)
    check_type(source, TaskSpec)
    to.timestamp = slot(event, TASK_CREATED_TIMESTAMP)
    set_id(to.fields.task_created.task_id, slot(source, SPEC_ID), TaskId)
    set_task_spec(encoder, &spec, source)
    check_encoded(aqw_task_spec_encode(&spec, NULL, 0, &size), &size)
    encoder.part.reserve(size)
    check_encoded(aqw_task_spec_encode(&spec, encoder.part.data, encoder.part.capacity, &size), &size)
    to.fields.task_created.spec.data = encoder.part.data
    to.fields.task_created.spec.size = <uint32_t>size
    return check_payload_size(to, size)


cdef int set_task_spec(EventEncoder encoder, aqw_task_spec *to, object spec) except -1:
    cdef object part = slot(spec, SPEC_PAYLOAD)
    memset(to, 0, sizeof(to[0]))
    check_type(part, TaskPayload)
    set_bytes(&to.payload, slot(part, PAYLOAD_DATA))
    set_optional_text(&to.content_type, slot(part, PAYLOAD_CONTENT_TYPE))
    set_run_policy(to, slot(spec, SPEC_RUN_POLICY))
    set_constraints(encoder, to, slot(spec, SPEC_CONSTRAINTS))
    set_metadata(encoder, to, slot(spec, SPEC_METADATA))
    to.has_parent = set_optional_id(to.parent_task_id, slot(spec, SPEC_PARENT_TASK_ID), TaskId)
    to.has_tenant = set_optional_id(to.tenant_id, slot(spec, SPEC_TENANT_ID), TenantId)
    return 0


cdef int set_run_policy(aqw_task_spec *to, object policy) except -1:
    if type(policy) is Once:
        to.policy = AQW_POLICY_ONCE
    elif type(policy) is Repeat:
        to.policy = AQW_POLICY_REPEAT
        to.repeat_count = policy.count
        to.repeat_interval_secs = policy.interval_secs
    elif type(policy) is Cron:
        to.policy = AQW_POLICY_CRON
        set_text(&to.cron_expression, policy.expression)
        to.max_occurrences = 0 if policy.max_occurrences is None else policy.max_occurrences
    else:
        raise TypeError(f"expected a run policy, got {type(policy).__name__}")
    return 0


cdef int set_constraints(EventEncoder encoder, aqw_task_spec *to, object constraints) except -1:
    check_type(constraints, TaskConstraints)
    cdef object timeout_secs = slot(constraints, CONSTRAINTS_TIMEOUT_SECS)
    cdef object required = slot(constraints, CONSTRAINTS_REQUIRED_CAPABILITIES)
    to.max_attempts = slot(constraints, CONSTRAINTS_MAX_ATTEMPTS)
    if timeout_secs is not None:
        to.has_timeout = 1
        to.timeout_secs = timeout_secs
    set_optional_text(&to.concurrency_key, slot(constraints, CONSTRAINTS_CONCURRENCY_KEY))
    to.hold_policy = <uint8_t>code_of(slot(constraints, CONSTRAINTS_HOLD_POLICY), HOLD_POLICIES)
    to.safety_level = <uint8_t>code_of(slot(constraints, CONSTRAINTS_SAFETY_LEVEL), SAFETY_LEVELS)
    if required is not None:
        set_list(&to.required_capabilities, encoder.capabilities, required)
    return 0


cdef int set_metadata(EventEncoder encoder, aqw_task_spec *to, object metadata) except -1:
    check_type(metadata, TaskMetadata)
    cdef tuple tags = slot(metadata, METADATA_TAGS)
    if tags:
        set_list(&to.tags, encoder.tags, tags)
    to.priority = slot(metadata, METADATA_PRIORITY)
    return set_optional_text(&to.description, slot(metadata, METADATA_DESCRIPTION))


cdef int fill_rare_kind(EventEncoder encoder, object event) except -1:
    """Fill in the kinds that are read by attribute; kind, sequence and timestamp are already there."""
    cdef aqw_event *to = &encoder.event
    cdef int kind = to.kind
    if kind == AQW_TASK_CANCELED:
        set_id(to.fields.task_canceled.task_id, event.task_id, TaskId)
    elif kind == AQW_RUN_CANCELED or kind == AQW_RUN_RESUMED:
        set_id(to.fields.run.run_id, event.run_id, RunId)
    elif kind == AQW_RUN_SUSPENDED:
        set_id(to.fields.run_suspended.run_id, event.run_id, RunId)
        set_optional_text(&to.fields.run_suspended.reason, event.reason)
    elif kind == AQW_DEPENDENCY_DECLARED:
        fill_dependency_declared(encoder, event)
    elif kind == AQW_BUDGET_ALLOCATED:
        set_budget(to, event, event.limit)
    elif kind == AQW_BUDGET_CONSUMED:
        set_budget(to, event, event.amount)
    elif kind == AQW_BUDGET_EXHAUSTED:
        set_budget(to, event, 0)
    elif kind == AQW_BUDGET_REPLENISHED:
        set_budget(to, event, event.new_limit)
    elif kind == AQW_SUBSCRIPTION_CREATED:
        fill_subscription_created(encoder, event)
    elif kind == AQW_SUBSCRIPTION_TRIGGERED or kind == AQW_SUBSCRIPTION_CANCELED:
        set_id(to.fields.subscription.subscription_id, event.subscription_id, SubscriptionId)
    elif kind == AQW_ACTOR_REGISTERED:
        fill_actor_registered(encoder, event)
    elif kind == AQW_ACTOR_DEREGISTERED or kind == AQW_ACTOR_HEARTBEAT:
        set_id(to.fields.actor.actor_id, event.actor_id, ActorId)
    elif kind == AQW_TENANT_CREATED:
        set_id(to.fields.tenant_created.tenant_id, event.tenant_id, TenantId)
        set_text(&to.fields.tenant_created.name, event.name)
    elif kind == AQW_ROLE_ASSIGNED:
        set_id(to.fields.role_assigned.actor_id, event.actor_id, ActorId)
        set_id(to.fields.role_assigned.tenant_id, event.tenant_id, TenantId)
        encode_named(encoder.part, &to.fields.role_assigned.role, event.role, Role, ROLE_NAMES)
    elif kind == AQW_CAPABILITY_GRANTED or kind == AQW_CAPABILITY_REVOKED:
        set_id(to.fields.capability.actor_id, event.actor_id, ActorId)
        set_id(to.fields.capability.tenant_id, event.tenant_id, TenantId)
        encode_named(encoder.part, &to.fields.capability.capability, event.capability, Capability, CAPABILITY_NAMES)
    elif kind == AQW_LEDGER_ENTRY_APPENDED:
        fill_ledger_entry_appended(to, event)
    elif kind == AQW_RUNS_PURGED:
        fill_runs_purged(encoder, event)
    # engine_paused and engine_resumed have no more fields
    return 0


cdef int fill_dependency_declared(EventEncoder encoder, object event) except -1:
    cdef aqw_event *to = &encoder.event
    cdef tuple depends_on = event.depends_on
    cdef size_t count = <size_t>len(depends_on), i
    if count > AQW_LIST_COUNT_MAX:
        raise RecordTooLarge(16 * count, 16 * AQW_LIST_COUNT_MAX)
    set_id(to.fields.dependency_declared.task_id, event.task_id, TaskId)
    encoder.part.reserve(16 * count + 1)
    for i in range(count):
        set_id(encoder.part.data + 16 * i, depends_on[i], TaskId)
    to.fields.dependency_declared.depends_on = encoder.part.data
    to.fields.dependency_declared.count = <uint32_t>count
    return 0


cdef int set_budget(aqw_event *to, object event, object value) except -1:
    set_id(to.fields.budget.task_id, event.task_id, TaskId)
    to.fields.budget.dimension = <uint8_t>code_of(event.dimension, DIMENSIONS)
    to.fields.budget.value = value
    return 0


cdef int fill_subscription_created(EventEncoder encoder, object event) except -1:
    cdef aqw_event *to = &encoder.event
    cdef aqw_filter part
    cdef size_t size
    set_id(to.fields.subscription_created.subscription_id, event.subscription_id, SubscriptionId)
    set_id(to.fields.subscription_created.task_id, event.task_id, TaskId)
    set_filter(&part, event.filter)
    check_encoded(aqw_filter_encode(&part, NULL, 0, &size), &size)
    encoder.part.reserve(size)
    check_encoded(aqw_filter_encode(&part, encoder.part.data, encoder.part.capacity, &size), &size)
    to.fields.subscription_created.filter.data = encoder.part.data
    to.fields.subscription_created.filter.size = <uint32_t>size
    return 0


cdef int set_filter(aqw_filter *to, object source) except -1:
    memset(to, 0, sizeof(to[0]))
    if type(source) is CustomFilter:
        to.kind = AQW_FILTER_CUSTOM
        return set_text(&to.key, source.key)
    if type(source) is TaskCompletedFilter:
        to.kind = AQW_FILTER_TASK_COMPLETED
    elif type(source) is RunStateChangedFilter:
        to.kind = AQW_FILTER_RUN_STATE_CHANGED
        to.state = <uint8_t>state_code(source.state)
    elif type(source) is BudgetThresholdFilter:
        to.kind = AQW_FILTER_BUDGET_THRESHOLD
        to.dimension = <uint8_t>code_of(source.dimension, DIMENSIONS)
        to.threshold_pct = source.threshold_pct
    else:
        raise TypeError(f"expected a filter, got {type(source).__name__}")
    return set_id(to.task_id, source.task_id, TaskId)


cdef int fill_actor_registered(EventEncoder encoder, object event) except -1:
    cdef aqw_event *to = &encoder.event
    cdef aqw_registration part
    cdef size_t size
    memset(&part, 0, sizeof(part))
    set_id(to.fields.actor_registered.actor_id, event.actor_id, ActorId)
    set_text(&part.identity, event.identity)
    set_list(&part.capabilities, encoder.capabilities, event.capabilities)
    set_optional_text(&part.department, event.department)
    part.heartbeat_interval_secs = event.heartbeat_interval_secs
    part.has_tenant = set_optional_id(part.tenant_id, event.tenant_id, TenantId)
    check_encoded(aqw_registration_encode(&part, NULL, 0, &size), &size)
    encoder.part.reserve(size)
    check_encoded(aqw_registration_encode(&part, encoder.part.data, encoder.part.capacity, &size), &size)
    to.fields.actor_registered.registration.data = encoder.part.data
    to.fields.actor_registered.registration.size = <uint32_t>size
    return check_payload_size(to, size)


cdef int encode_named(Scratch scratch, aqw_bytes *to, object value, object cls, tuple names) except -1:
    """Encode a role or a capability: its code is its name's place among the names."""
    cdef aqw_named part
    cdef uint8_t custom_code = <uint8_t>(len(names) - 1)
    cdef size_t size
    check_type(value, cls)
    part.code = <uint8_t>names.index(value.name)
    set_optional_text(&part.custom, value.text)
    check_encoded(aqw_named_encode(&part, custom_code, NULL, 0, &size), &size)
    scratch.reserve(size)
    check_encoded(aqw_named_encode(&part, custom_code, scratch.data, scratch.capacity, &size), &size)
    to.data = scratch.data
    to.size = <uint32_t>size
    return 0


cdef int fill_ledger_entry_appended(aqw_event *to, object event) except -1:
    set_id(to.fields.ledger_entry_appended.entry_id, event.entry_id, LedgerEntryId)
    set_id(to.fields.ledger_entry_appended.tenant_id, event.tenant_id, TenantId)
    to.fields.ledger_entry_appended.has_actor = set_optional_id(
        to.fields.ledger_entry_appended.actor_id, event.actor_id, ActorId)
    set_text(&to.fields.ledger_entry_appended.ledger_key, event.ledger_key)
    set_bytes(&to.fields.ledger_entry_appended.payload, event.payload)
    return check_payload_size(to, to.fields.ledger_entry_appended.payload.size)


cdef int fill_runs_purged(EventEncoder encoder, object event) except -1:
    cdef aqw_event *to = &encoder.event
    cdef tuple run_ids = event.run_ids, task_ids = event.task_ids
    cdef size_t runs = <size_t>len(run_ids), tasks = <size_t>len(task_ids), i
    if runs + tasks > AQW_PURGE_COUNT_MAX:
        raise RecordTooLarge(16 * (runs + tasks), 16 * AQW_PURGE_COUNT_MAX)
    encoder.part.reserve(16 * (runs + tasks) + 1)
    for i in range(runs):
        set_id(encoder.part.data + 16 * i, run_ids[i], RunId)
    for i in range(tasks):
        set_id(encoder.part.data + 16 * (runs + i), task_ids[i], TaskId)
    to.fields.runs_purged.run_ids = encoder.part.data
    to.fields.runs_purged.task_ids = encoder.part.data + 16 * runs
    to.fields.runs_purged.run_count = <uint32_t>runs
    to.fields.runs_purged.task_count = <uint32_t>tasks
    return 0


# --- C events → Python events ----------------------------------------------------------------------------------------

cdef inline object text_of(aqw_bytes text):
    return PyUnicode_DecodeUTF8(<const char *>text.data, text.size, NULL)


cdef inline object optional_text_of(aqw_bytes text):
    return None if text.data is NULL else text_of(text)


cdef inline object bytes_of(aqw_bytes data):
    return PyBytes_FromStringAndSize(<const char *>data.data, data.size)


cdef tuple texts_of(aqw_list encoded):
    cdef list texts = []
    cdef uint32_t offset = 0
    cdef aqw_bytes entry
    while aqw_list_next(&encoded, &offset, &entry) == AQW_OK:
        texts.append(text_of(entry))
    return tuple(texts)


cdef object event_from_c(const aqw_event *event):
    try:
        return build_event(event)
    except MalformedEventError as error:
        raise MalformedEventError(error.reason, event.kind, event.sequence) from error


cdef object build_event(const aqw_event *event):
    cdef int kind = event.kind
    cdef object cls
    if kind < 1 or kind > AQW_EVENT_KIND_LAST:
        raise MalformedEventError("unknown kind")
    cls = EVENT_CLASSES[kind]
    if kind == AQW_RUN_STATE_CHANGED:
        return cls(event.sequence, id_from_data(RunId, event.fields.run_state_changed.run_id),
                   state_member(event.fields.run_state_changed.previous_state),
                   state_member(event.fields.run_state_changed.new_state), event.timestamp)
    if (kind == AQW_LEASE_ACQUIRED or kind == AQW_LEASE_HEARTBEAT or kind == AQW_LEASE_EXPIRED
            or kind == AQW_LEASE_RELEASED):
        return cls(event.sequence, id_from_data(RunId, event.fields.lease.run_id), text_of(event.fields.lease.owner),
                   event.fields.lease.expiry, event.timestamp)
    if kind == AQW_ATTEMPT_STARTED:
        return cls(event.sequence, id_from_data(RunId, event.fields.attempt_started.run_id),
                   id_from_data(AttemptId, event.fields.attempt_started.attempt_id), event.timestamp)
    if kind == AQW_ATTEMPT_FINISHED:
        return build_attempt_finished(event)
    if kind == AQW_RUN_CREATED:
        return cls(event.sequence, RunInstance(
            id_from_data(RunId, event.fields.run_created.run_id),
            id_from_data(TaskId, event.fields.run_created.task_id),
            RunState.SCHEDULED, None, 0, event.fields.run_created.created_at, event.fields.run_created.scheduled_at,
            event.fields.run_created.effective_priority, event.fields.run_created.created_at))
    if kind == AQW_TASK_CREATED:
        task_id = id_from_data(TaskId, event.fields.task_created.task_id)
        return cls(event.sequence, task_spec_from_c(task_id, event.fields.task_created.spec), event.timestamp)
    if kind == AQW_TASK_CANCELED:
        return cls(event.sequence, id_from_data(TaskId, event.fields.task_canceled.task_id), event.timestamp)
    if kind == AQW_RUN_CANCELED or kind == AQW_RUN_RESUMED:
        return cls(event.sequence, id_from_data(RunId, event.fields.run.run_id), event.timestamp)
    if kind == AQW_RUN_SUSPENDED:
        return cls(event.sequence, id_from_data(RunId, event.fields.run_suspended.run_id),
                   optional_text_of(event.fields.run_suspended.reason), event.timestamp)
    if kind == AQW_ENGINE_PAUSED or kind == AQW_ENGINE_RESUMED:
        return cls(event.sequence, event.timestamp)
    if kind == AQW_DEPENDENCY_DECLARED:
        return cls(event.sequence, id_from_data(TaskId, event.fields.dependency_declared.task_id),
                   ids_of(TaskId, event.fields.dependency_declared.depends_on, event.fields.dependency_declared.count),
                   event.timestamp)
    if kind == AQW_BUDGET_EXHAUSTED:
        return cls(event.sequence, id_from_data(TaskId, event.fields.budget.task_id),
                   DIMENSIONS[event.fields.budget.dimension], event.timestamp)
    if kind == AQW_BUDGET_ALLOCATED or kind == AQW_BUDGET_CONSUMED or kind == AQW_BUDGET_REPLENISHED:
        return cls(event.sequence, id_from_data(TaskId, event.fields.budget.task_id),
                   DIMENSIONS[event.fields.budget.dimension], event.fields.budget.value, event.timestamp)
    if kind == AQW_RUNS_PURGED:
        return cls(event.sequence,
                   ids_of(RunId, event.fields.runs_purged.run_ids, event.fields.runs_purged.run_count),
                   ids_of(TaskId, event.fields.runs_purged.task_ids, event.fields.runs_purged.task_count),
                   event.timestamp)
    return build_platform_event(event, cls)


cdef object build_attempt_finished(const aqw_event *event):
    cdef int result = event.fields.attempt_finished.result
    cdef aqw_bytes detail = event.fields.attempt_finished.detail
    error, output = None, None
    if result == AQW_FAILURE or result == AQW_TIMEOUT:
        error = text_of(detail)
    elif detail.data is not NULL:
        output = bytes_of(detail)
    return AttemptFinished(event.sequence, id_from_data(RunId, event.fields.attempt_finished.run_id),
                           id_from_data(AttemptId, event.fields.attempt_finished.attempt_id), RESULTS[result],
                           error, output, event.timestamp)


cdef tuple ids_of(type cls, const uint8_t *ids, uint32_t count):
    cdef uint32_t i
    return tuple([id_from_data(cls, ids + 16 * i) for i in range(count)])


cdef object build_platform_event(const aqw_event *event, object cls):
    """The kinds about subscriptions, actors, tenants, roles, capabilities and the ledger."""
    cdef int kind = event.kind
    if kind == AQW_SUBSCRIPTION_CREATED:
        return cls(event.sequence, id_from_data(SubscriptionId, event.fields.subscription_created.subscription_id),
                   id_from_data(TaskId, event.fields.subscription_created.task_id),
                   filter_from_c(event.fields.subscription_created.filter), event.timestamp)
    if kind == AQW_SUBSCRIPTION_TRIGGERED or kind == AQW_SUBSCRIPTION_CANCELED:
        return cls(event.sequence, id_from_data(SubscriptionId, event.fields.subscription.subscription_id),
                   event.timestamp)
    if kind == AQW_ACTOR_REGISTERED:
        registration = registration_from_c(id_from_data(ActorId, event.fields.actor_registered.actor_id),
                                           event.fields.actor_registered.registration)
        department = registration.department
        return cls(event.sequence, registration.actor_id, registration.identity, registration.capabilities,
                   None if department is None else department.value, registration.heartbeat_interval_secs,
                   registration.tenant_id, event.timestamp)
    if kind == AQW_ACTOR_DEREGISTERED or kind == AQW_ACTOR_HEARTBEAT:
        return cls(event.sequence, id_from_data(ActorId, event.fields.actor.actor_id), event.timestamp)
    if kind == AQW_TENANT_CREATED:
        return cls(event.sequence, id_from_data(TenantId, event.fields.tenant_created.tenant_id),
                   text_of(event.fields.tenant_created.name), event.timestamp)
    if kind == AQW_ROLE_ASSIGNED:
        return cls(event.sequence, id_from_data(ActorId, event.fields.role_assigned.actor_id),
                   role_from_c(event.fields.role_assigned.role),
                   id_from_data(TenantId, event.fields.role_assigned.tenant_id), event.timestamp)
    if kind == AQW_CAPABILITY_GRANTED or kind == AQW_CAPABILITY_REVOKED:
        return cls(event.sequence, id_from_data(ActorId, event.fields.capability.actor_id),
                   capability_from_c(event.fields.capability.capability),
                   id_from_data(TenantId, event.fields.capability.tenant_id), event.timestamp)
    return cls(event.sequence, id_from_data(LedgerEntryId, event.fields.ledger_entry_appended.entry_id),
               id_from_data(TenantId, event.fields.ledger_entry_appended.tenant_id),
               text_of(event.fields.ledger_entry_appended.ledger_key),
               id_from_data(ActorId, event.fields.ledger_entry_appended.actor_id)
               if event.fields.ledger_entry_appended.has_actor else None,
               bytes_of(event.fields.ledger_entry_appended.payload), event.timestamp)


# --- Nested parts → domain objects -----------------------------------------------------------------------------------

cdef int check_decoded(aqw_status status, str what) except -1:
    if status != AQW_OK:
        raise MalformedEventError(f"the {what} does not decode")
    return 0


cdef object task_spec_from_c(object task_id, aqw_bytes part):
    cdef aqw_task_spec spec
    check_decoded(aqw_task_spec_decode(part.data, part.size, &spec), "task spec")
    try:
        return build_task_spec(task_id, &spec)
    except InvalidFieldError as error:      # the one thing that C cannot judge is a cron expression
        raise MalformedEventError(str(error)) from error


cdef object build_task_spec(object task_id, const aqw_task_spec *spec):
    return TaskSpec(
        task_id,
        TaskPayload(bytes_of(spec.payload), optional_text_of(spec.content_type)),
        run_policy_of(spec),
        TaskConstraints(
            spec.max_attempts,
            spec.timeout_secs if spec.has_timeout else None,
            optional_text_of(spec.concurrency_key),
            HOLD_POLICIES[spec.hold_policy],
            SAFETY_LEVELS[spec.safety_level],
            None if spec.required_capabilities.data is NULL else texts_of(spec.required_capabilities)),
        TaskMetadata(texts_of(spec.tags), spec.priority, optional_text_of(spec.description)),
        id_from_data(TaskId, spec.parent_task_id) if spec.has_parent else None,
        id_from_data(TenantId, spec.tenant_id) if spec.has_tenant else None)


cdef object run_policy_of(const aqw_task_spec *spec):
    if spec.policy == AQW_POLICY_REPEAT:
        return Repeat(spec.repeat_count, spec.repeat_interval_secs)
    if spec.policy == AQW_POLICY_CRON:
        return Cron(text_of(spec.cron_expression), spec.max_occurrences or None)
    return Once()


cdef object filter_from_c(aqw_bytes part):
    cdef aqw_filter decoded
    check_decoded(aqw_filter_decode(part.data, part.size, &decoded), "filter")
    if decoded.kind == AQW_FILTER_CUSTOM:
        return CustomFilter(text_of(decoded.key))
    task_id = id_from_data(TaskId, decoded.task_id)
    if decoded.kind == AQW_FILTER_RUN_STATE_CHANGED:
        return RunStateChangedFilter(task_id, state_member(decoded.state))
    if decoded.kind == AQW_FILTER_BUDGET_THRESHOLD:
        return BudgetThresholdFilter(task_id, DIMENSIONS[decoded.dimension], decoded.threshold_pct)
    return TaskCompletedFilter(task_id)


cdef object registration_from_c(object actor_id, aqw_bytes part):
    cdef aqw_registration decoded
    check_decoded(aqw_registration_decode(part.data, part.size, &decoded), "registration")
    return ActorRegistration(
        actor_id, text_of(decoded.identity), texts_of(decoded.capabilities), decoded.heartbeat_interval_secs,
        None if decoded.department.data is NULL else DepartmentId(text_of(decoded.department)),
        id_from_data(TenantId, decoded.tenant_id) if decoded.has_tenant else None)


cdef object role_from_c(aqw_bytes part):
    return named_from_c(part, Role, ROLE_NAMES)


cdef object capability_from_c(aqw_bytes part):
    return named_from_c(part, Capability, CAPABILITY_NAMES)


cdef object named_from_c(aqw_bytes part, object cls, tuple names):
    cdef aqw_named decoded
    cdef uint8_t custom_code = <uint8_t>(len(names) - 1)
    check_decoded(aqw_named_decode(part.data, part.size, custom_code, &decoded), cls.__name__.lower())
    return cls(names[decoded.code], optional_text_of(decoded.custom))


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
