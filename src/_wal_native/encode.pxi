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


cdef inline object integer(object value):
    """The same number. Anything else would be asked for one, which runs code that may use this encoder meanwhile."""
    if not isinstance(value, int):
        raise TypeError(f"expected int, got {type(value).__name__}")
    return value


cdef inline int check_type(object value, object cls) except -1:
    if not PyObject_TypeCheck(value, <PyTypeObject *>cls):
        raise TypeError(f"expected {cls.__name__}, got {type(value).__name__}")
    return 0


cdef Py_ssize_t EVENT_SEQUENCE = slot_of(Event, "sequence")

cdef Py_ssize_t TASK_CREATED_SPEC = slot_of(TaskCreated, "task_spec")
cdef Py_ssize_t TASK_CREATED_TIMESTAMP = slot_of(TaskCreated, "timestamp")

cdef Py_ssize_t RUN_CREATED_INSTANCE = slot_of(RunCreated, "run_instance")

cdef Py_ssize_t FINISHED_RUN_ID = slot_of(AttemptFinished, "run_id")
cdef Py_ssize_t FINISHED_ATTEMPT_ID = slot_of(AttemptFinished, "attempt_id")
cdef Py_ssize_t FINISHED_RESULT = slot_of(AttemptFinished, "result")
cdef Py_ssize_t FINISHED_ERROR = slot_of(AttemptFinished, "error")
cdef Py_ssize_t FINISHED_OUTPUT = slot_of(AttemptFinished, "output")
cdef Py_ssize_t FINISHED_TIMESTAMP = slot_of(AttemptFinished, "timestamp")

# What events and their commands both have, each in its own places.

cdef struct StateChangeSlots:
    Py_ssize_t run_id, previous_state, new_state, timestamp


cdef struct StartSlots:
    Py_ssize_t run_id, attempt_id, timestamp


cdef struct LeaseSlots:
    Py_ssize_t run_id, owner, expiry, timestamp


cdef StateChangeSlots state_change_slots(object cls) except *:
    cdef StateChangeSlots slots
    slots.run_id = slot_of(cls, "run_id")
    slots.previous_state = slot_of(cls, "previous_state")
    slots.new_state = slot_of(cls, "new_state")
    slots.timestamp = slot_of(cls, "timestamp")
    return slots


cdef StartSlots start_slots(object cls) except *:
    cdef StartSlots slots
    slots.run_id = slot_of(cls, "run_id")
    slots.attempt_id = slot_of(cls, "attempt_id")
    slots.timestamp = slot_of(cls, "timestamp")
    return slots


cdef LeaseSlots lease_slots(tuple classes) except *:
    cdef LeaseSlots slots
    slots.run_id = same_slot_of(classes, "run_id")
    slots.owner = same_slot_of(classes, "owner")
    slots.expiry = same_slot_of(classes, "expiry")
    slots.timestamp = same_slot_of(classes, "timestamp")
    return slots


cdef StateChangeSlots EVENT_STATE_CHANGE = state_change_slots(RunStateChanged)
cdef StartSlots EVENT_START = start_slots(AttemptStarted)
cdef LeaseSlots EVENT_LEASE = lease_slots((LeaseAcquired, LeaseHeartbeat, LeaseExpired, LeaseReleased))

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

    cdef int trim(self) except -1:
        """Give the memory of an unusually large event back."""
        if self.part.capacity > SCRATCH_SIZE_KEPT:
            self.part.release()
            self.capabilities.release()
            self.tags.release()
        return 0

    cdef aqw_event *fill(self, object event) except NULL:
        cdef aqw_event *to = &self.event
        cdef int kind = kind_of(event)
        self.trim()
        while self.source is not None:  # its end may run a finalizer, which may come here itself: nothing is under way yet
            previous = self.source
            self.source = None
            previous = None
        self.source = event
        to.kind = <uint8_t>kind
        to.spec_is_valid = 0
        to.sequence = integer(slot(event, EVENT_SEQUENCE))
        if kind == AQW_RUN_STATE_CHANGED:
            fill_run_state_changed(to, event, &EVENT_STATE_CHANGE)
        elif (kind == AQW_LEASE_ACQUIRED or kind == AQW_LEASE_HEARTBEAT or kind == AQW_LEASE_EXPIRED
                or kind == AQW_LEASE_RELEASED):
            fill_lease(to, event, &EVENT_LEASE)
        elif kind == AQW_ATTEMPT_STARTED:
            fill_attempt_started(to, event, &EVENT_START)
        elif kind == AQW_ATTEMPT_FINISHED:
            to.timestamp = integer(slot(event, FINISHED_TIMESTAMP))
            set_id(to.fields.attempt_finished.run_id, slot(event, FINISHED_RUN_ID), RunId)
            set_id(to.fields.attempt_finished.attempt_id, slot(event, FINISHED_ATTEMPT_ID), AttemptId)
            fill_outcome(to, slot(event, FINISHED_RESULT), slot(event, FINISHED_ERROR), slot(event, FINISHED_OUTPUT))
        elif kind == AQW_RUN_CREATED:
            fill_run_created(to, slot(event, RUN_CREATED_INSTANCE))
        elif kind == AQW_TASK_CREATED:
            to.timestamp = integer(slot(event, TASK_CREATED_TIMESTAMP))
            fill_task_created(self, slot(event, TASK_CREATED_SPEC))
        else:
            to.timestamp = integer(event.timestamp)
            fill_rare_kind(self, event)
        return to


    cdef bint fill_command(self, object command, uint64_t sequence) except -1:
        return fill_from_command(self, command, sequence)


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


cdef int fill_run_state_changed(aqw_event *to, object source, const StateChangeSlots *slots) except -1:
    set_id(to.fields.run_state_changed.run_id, slot(source, slots.run_id), RunId)
    to.fields.run_state_changed.previous_state = <uint8_t>state_code(slot(source, slots.previous_state))
    to.fields.run_state_changed.new_state = <uint8_t>state_code(slot(source, slots.new_state))
    to.timestamp = integer(slot(source, slots.timestamp))
    return 0


cdef int fill_lease(aqw_event *to, object source, const LeaseSlots *slots) except -1:
    set_id(to.fields.lease.run_id, slot(source, slots.run_id), RunId)
    set_text(&to.fields.lease.owner, slot(source, slots.owner))
    to.fields.lease.expiry = integer(slot(source, slots.expiry))
    to.timestamp = integer(slot(source, slots.timestamp))
    return 0


cdef int fill_attempt_started(aqw_event *to, object source, const StartSlots *slots) except -1:
    set_id(to.fields.attempt_started.run_id, slot(source, slots.run_id), RunId)
    set_id(to.fields.attempt_started.attempt_id, slot(source, slots.attempt_id), AttemptId)
    to.timestamp = integer(slot(source, slots.timestamp))
    return 0


cdef int fill_outcome(aqw_event *to, object result, object error, object output) except -1:
    """How the attempt finished; the event's other fields are already there."""
    if output is not None and type(output) is not bytes:
        raise TypeError(f"expected bytes, got {type(output).__name__}")
    to.fields.attempt_finished.result = <uint8_t>code_of(result, RESULTS)
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


cdef int fill_run_created(aqw_event *to, object run) except -1:
    check_type(run, RunInstance)
    to.timestamp = 0
    set_id(to.fields.run_created.run_id, slot(run, RUN_ID), RunId)
    set_id(to.fields.run_created.task_id, slot(run, RUN_TASK_ID), TaskId)
    to.fields.run_created.created_at = integer(slot(run, RUN_CREATED_AT))
    to.fields.run_created.scheduled_at = integer(slot(run, RUN_SCHEDULED_AT))
    to.fields.run_created.effective_priority = integer(slot(run, RUN_EFFECTIVE_PRIORITY))
    if not aqw_rule_run_is_fresh(<uint8_t>state_code(slot(run, RUN_STATE)),
                                 slot(run, RUN_CURRENT_ATTEMPT_ID) is not None, integer(slot(run, RUN_ATTEMPT_COUNT)),
                                 to.fields.run_created.created_at, integer(slot(run, RUN_LAST_STATE_CHANGE_AT))):
        raise MalformedEventError("a run is created scheduled and fresh", to.kind, to.sequence)
    return 0


cdef int fill_task_created(EventEncoder encoder, object source) except -1:
    """The task's identifier and specification; the event's timestamp is already there."""
    cdef aqw_event *to = &encoder.event
    cdef aqw_task_spec spec
    cdef size_t size
    check_type(source, TaskSpec)
    set_id(to.fields.task_created.task_id, slot(source, SPEC_ID), TaskId)
    set_task_spec(encoder, &spec, source)
    encoder.part.reserve(SCRATCH_SIZE_MIN)
    if aqw_task_spec_encode(&spec, encoder.part.data, encoder.part.capacity, &size) != AQW_OK:     # mostly there is room
        check_encoded(aqw_task_spec_encode(&spec, NULL, 0, &size), &size)
        encoder.part.reserve(size)
        check_encoded(aqw_task_spec_encode(&spec, encoder.part.data, encoder.part.capacity, &size), &size)
    to.fields.task_created.spec.data = encoder.part.data
    to.fields.task_created.spec.size = <uint32_t>size
    to.spec_is_valid = 1
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
        to.repeat_count = integer(policy.count)
        to.repeat_interval_secs = integer(policy.interval_secs)
    elif type(policy) is Cron:
        to.policy = AQW_POLICY_CRON
        set_text(&to.cron_expression, policy.expression)
        to.max_occurrences = 0 if policy.max_occurrences is None else integer(policy.max_occurrences)
    else:
        raise TypeError(f"expected a run policy, got {type(policy).__name__}")
    return 0


cdef int set_constraints(EventEncoder encoder, aqw_task_spec *to, object constraints) except -1:
    check_type(constraints, TaskConstraints)
    cdef object timeout_secs = slot(constraints, CONSTRAINTS_TIMEOUT_SECS)
    cdef object required = slot(constraints, CONSTRAINTS_REQUIRED_CAPABILITIES)
    to.max_attempts = integer(slot(constraints, CONSTRAINTS_MAX_ATTEMPTS))
    if timeout_secs is not None:
        to.has_timeout = 1
        to.timeout_secs = integer(timeout_secs)
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
    to.priority = integer(slot(metadata, METADATA_PRIORITY))
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
    to.fields.budget.value = integer(value)
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
        to.threshold_pct = integer(source.threshold_pct)
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
    part.heartbeat_interval_secs = integer(event.heartbeat_interval_secs)
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
    if type(value.name) is not str:
        raise TypeError(f"expected str, got {type(value.name).__name__}")
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


cdef uint8_t *put_ids(uint8_t *to, tuple ids, type cls) except NULL:
    cdef object one
    for one in ids:
        set_id(to, one, cls)
        to += 16
    return to


cdef int fill_runs_purged(EventEncoder encoder, object event) except -1:
    cdef aqw_event *to = &encoder.event
    cdef tuple run_ids = event.run_ids, task_ids = event.task_ids
    cdef tuple subscription_ids = event.subscription_ids, actor_ids = event.actor_ids
    cdef size_t count = <size_t>(len(run_ids) + len(task_ids) + len(subscription_ids) + len(actor_ids))
    cdef uint8_t *data
    if count > AQW_PURGE_COUNT_MAX:
        raise RecordTooLarge(16 * count, 16 * AQW_PURGE_COUNT_MAX)
    encoder.part.reserve(16 * count + 1)
    data = encoder.part.data
    to.fields.runs_purged.run_ids = data
    data = put_ids(data, run_ids, RunId)
    to.fields.runs_purged.task_ids = data
    data = put_ids(data, task_ids, TaskId)
    to.fields.runs_purged.subscription_ids = data
    data = put_ids(data, subscription_ids, SubscriptionId)
    to.fields.runs_purged.actor_ids = data
    put_ids(data, actor_ids, ActorId)
    to.fields.runs_purged.run_count = <uint32_t>len(run_ids)
    to.fields.runs_purged.task_count = <uint32_t>len(task_ids)
    to.fields.runs_purged.subscription_count = <uint32_t>len(subscription_ids)
    to.fields.runs_purged.actor_count = <uint32_t>len(actor_ids)
    to.fields.runs_purged.ledger_count = integer(event.ledger_entries)
    to.fields.runs_purged.tombstone_count = integer(event.tombstones)
    to.fields.runs_purged.keeps_ids = event.kept_until is not None
    to.fields.runs_purged.kept_until = 0 if event.kept_until is None else integer(event.kept_until)
    return 0
