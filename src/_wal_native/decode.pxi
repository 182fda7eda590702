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
                   event.timestamp,
                   ids_of(SubscriptionId, event.fields.runs_purged.subscription_ids, event.fields.runs_purged.subscription_count),
                   ids_of(ActorId, event.fields.runs_purged.actor_ids, event.fields.runs_purged.actor_count),
                   event.fields.runs_purged.ledger_count,
                   event.fields.runs_purged.tombstone_count,
                   event.fields.runs_purged.kept_until if event.fields.runs_purged.keeps_ids else None)
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
