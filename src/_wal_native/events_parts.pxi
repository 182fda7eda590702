# --- Domain objects → nested parts --------------------------------------------------------------

cdef int encode_checked_spec(EventEncoder encoder, aqw_bytes *to, object source) except -1:
    try:
        encode_task_spec(encoder, to, source)
    except Misfit as misfit:
        raise error_of(misfit) from None
    return 0


cdef int encode_task_spec(EventEncoder encoder, aqw_bytes *to, object source) except -1:
    cdef Scratch part = encoder.part
    cdef aqw_task_spec spec
    cdef size_t size
    set_task_spec(encoder, &spec, source)
    part.reserve(SCRATCH_SIZE_MIN)      # mostly this is room enough
    if aqw_task_spec_encode(&spec, part.data, part.capacity, &size) != AQW_OK:
        check_encoded(aqw_task_spec_encode(&spec, NULL, 0, &size), &size)
        part.reserve(size)
        check_encoded(aqw_task_spec_encode(&spec, part.data, part.capacity, &size), &size)
    to.data = part.data
    to.size = <uint32_t>size
    return 0


cdef int set_task_spec(EventEncoder encoder, aqw_task_spec *to, object spec) except -1:
    cdef object part = slot(spec, SPEC_PAYLOAD)
    memset(to, 0, sizeof(to[0]))
    check_type(part, TaskPayload)
    set_bytes(&to.payload, slot(part, PAYLOAD_DATA))
    set_optional_text(&to.content_type, slot(part, PAYLOAD_CONTENT_TYPE))
    set_run_policy(to, slot(spec, SPEC_RUN_POLICY))
    set_constraints(encoder, to, slot(spec, SPEC_CONSTRAINTS))
    set_metadata(encoder, to, slot(spec, SPEC_METADATA))
    to.has_parent = set_optional_id(
        to.parent_task_id, slot(spec, SPEC_PARENT_TASK_ID), <PyObject *>TaskId)
    to.has_tenant = set_optional_id(to.tenant_id, slot(spec, SPEC_TENANT_ID), <PyObject *>TenantId)
    return 0


cdef int set_run_policy(aqw_task_spec *to, object policy) except -1:
    if isinstance(policy, Once):
        to.policy = AQW_POLICY_ONCE
    elif isinstance(policy, Repeat):
        to.policy = AQW_POLICY_REPEAT
        to.repeat_count = integer(policy.count)
        to.repeat_interval_secs = integer(policy.interval_secs)
    elif isinstance(policy, Cron):
        to.policy = AQW_POLICY_CRON
        set_text(&to.cron_expression, policy.expression)
        if policy.max_occurrences is not None:
            to.max_occurrences = integer(policy.max_occurrences)
    else:
        raise Misfit(wrong_object, "a run policy", policy)
    return 0


cdef int set_constraints(EventEncoder encoder, aqw_task_spec *to, object constraints) except -1:
    check_type(constraints, TaskConstraints)
    cdef object timeout_secs = slot(constraints, CONSTRAINTS_TIMEOUT_SECS)
    cdef object required = slot(constraints, CONSTRAINTS_CAPABILITIES)
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


cdef int encode_filter(Scratch scratch, aqw_bytes *to, object source) except -1:
    cdef aqw_filter part
    cdef size_t size
    set_filter(&part, source)
    check_encoded(aqw_filter_encode(&part, NULL, 0, &size), &size)
    scratch.reserve(size)
    check_encoded(aqw_filter_encode(&part, scratch.data, scratch.capacity, &size), &size)
    to.data = scratch.data
    to.size = <uint32_t>size
    return 0


cdef int set_filter(aqw_filter *to, object source) except -1:
    memset(to, 0, sizeof(to[0]))
    if isinstance(source, CustomFilter):
        to.kind = AQW_FILTER_CUSTOM
        return set_text(&to.key, source.key)
    if isinstance(source, TaskCompletedFilter):
        to.kind = AQW_FILTER_TASK_COMPLETED
    elif isinstance(source, RunStateChangedFilter):
        to.kind = AQW_FILTER_RUN_STATE_CHANGED
        to.state = <uint8_t>code_of_state(source.state)
    elif isinstance(source, BudgetThresholdFilter):
        to.kind = AQW_FILTER_BUDGET_THRESHOLD
        to.dimension = <uint8_t>code_of(source.dimension, DIMENSIONS)
        to.threshold_pct = integer(source.threshold_pct)
    else:
        raise Misfit(wrong_object, "a filter", source)
    return set_id(to.task_id, source.task_id, <PyObject *>TaskId)


# The fields of a registration that an event has.
cdef tuple REGISTRATION_FIELDS = (
    "identity", "capabilities", "department", "heartbeat_interval_secs", "tenant_id",
)
cdef Py_ssize_t REGISTERED_IDENTITY = slot_of(ActorRegistered, "identity")
cdef Py_ssize_t REGISTERED_CAPABILITIES = slot_of(ActorRegistered, "capabilities")
cdef Py_ssize_t REGISTERED_DEPARTMENT = slot_of(ActorRegistered, "department")
cdef Py_ssize_t REGISTERED_INTERVAL = slot_of(ActorRegistered, "heartbeat_interval_secs")
cdef Py_ssize_t REGISTERED_TENANT_ID = slot_of(ActorRegistered, "tenant_id")


cdef int encode_registration(EventEncoder encoder, aqw_bytes *to, object event) except -1:
    cdef Scratch scratch = encoder.part
    cdef aqw_registration part
    cdef size_t size
    cdef object tenant_id
    check_type(event, ActorRegistered)
    memset(&part, 0, sizeof(part))
    tenant_id = slot(event, REGISTERED_TENANT_ID)
    set_text(&part.identity, slot(event, REGISTERED_IDENTITY))
    set_list(&part.capabilities, encoder.capabilities, slot(event, REGISTERED_CAPABILITIES))
    set_optional_text(&part.department, slot(event, REGISTERED_DEPARTMENT))
    part.heartbeat_interval_secs = integer(slot(event, REGISTERED_INTERVAL))
    part.has_tenant = set_optional_id(part.tenant_id, tenant_id, <PyObject *>TenantId)
    check_encoded(aqw_registration_encode(&part, NULL, 0, &size), &size)
    scratch.reserve(size)
    check_encoded(aqw_registration_encode(&part, scratch.data, scratch.capacity, &size), &size)
    to.data = scratch.data
    to.size = <uint32_t>size
    return 0


cdef int encode_named(Scratch scratch, aqw_bytes *to, object value, tuple names) except -1:
    """Encode a role or a capability: its code is its name's place among the names."""
    cdef aqw_named part
    cdef uint8_t custom_code = <uint8_t>(len(names) - 1)
    cdef size_t size
    cdef object name = slot(value, NAMED_NAME)
    if type(name) is not str:
        raise Misfit(wrong_type, str, name)
    part.code = <uint8_t>names.index(name)
    set_optional_text(&part.custom, slot(value, NAMED_TEXT))
    check_encoded(aqw_named_encode(&part, custom_code, NULL, 0, &size), &size)
    scratch.reserve(size)
    check_encoded(
        aqw_named_encode(&part, custom_code, scratch.data, scratch.capacity, &size), &size)
    to.data = scratch.data
    to.size = <uint32_t>size
    return 0


# --- Nested parts → domain objects --------------------------------------------------------------

cdef int check_decoded(aqw_status status, str what) except -1:
    if status != AQW_OK:
        raise MalformedEventError(f"the {what} does not decode")
    return 0


cdef object task_spec_from_c(object task_id, aqw_bytes part):
    cdef aqw_task_spec spec
    check_decoded(aqw_task_spec_decode(part.data, part.size, &spec), "task spec")
    try:
        return build_task_spec(task_id, &spec)
    except InvalidFieldError as error:      # C can judge everything but a cron expression
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
            optional_texts_of(spec.required_capabilities)),
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
        actor_id, text_of(decoded.identity), texts_of(decoded.capabilities),
        decoded.heartbeat_interval_secs,
        None if decoded.department.data is NULL else DepartmentId(text_of(decoded.department)),
        id_from_data(TenantId, decoded.tenant_id) if decoded.has_tenant else None)


cdef object role_from_c(aqw_bytes part):
    return named_from_c(part, Role, ROLE_NAMES)


cdef object capability_from_c(aqw_bytes part):
    return named_from_c(part, Capability, CAPABILITY_NAMES)


cdef object named_from_c(aqw_bytes part, object cls, tuple names):
    cdef aqw_named decoded
    cdef uint8_t custom_code = <uint8_t>(len(names) - 1)
    check_decoded(
        aqw_named_decode(part.data, part.size, custom_code, &decoded), cls.__name__.lower())
    return cls(names[decoded.code], optional_text_of(decoded.custom))
