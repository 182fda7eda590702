# --- C events → Python events -------------------------------------------------------------------

cdef object event_from_c(const aqw_event *event):
    try:
        return build_event(event)
    except MalformedEventError as error:
        raise MalformedEventError(error.reason, event.kind, event.sequence) from error


cdef inline int set_argument(tuple arguments, Py_ssize_t place, object value) except -1:
    Py_INCREF(value)
    PyTuple_SET_ITEM(arguments, place, value)       # which takes the reference over
    return 0


cdef object build_event(const aqw_event *event):
    cdef const Program *program = programs_by_kind[event.kind]
    cdef const Step *step
    cdef tuple arguments
    cdef int index
    if program is NULL:
        raise MalformedEventError("unknown kind")
    arguments = PyTuple_New(program.argument_count)
    set_argument(arguments, 0, event.sequence)
    for index in range(program.value_count):
        step = &program.values[index]
        if step.form == AQW_FIELD_REGISTRATION:
            set_registration(arguments, event, step)
        else:
            set_argument(arguments, step.place, value_of(event, step))
    return (<object>program.cls)(*arguments)


cdef object value_of(const aqw_event *event, const Step *step):
    """Return the constructor's argument for a step."""
    cdef const uint8_t *at = <const uint8_t *>event + step.to
    cdef const uint8_t *second = <const uint8_t *>event + step.second
    cdef int form = step.form
    if form == AQW_FIELD_ID:
        return id_from_data(<type>step.about, at)
    if form == AQW_FIELD_NUMBER:
        return (<const uint64_t *>at)[0]
    if form == AQW_FIELD_STATE:
        return state_member(at[0])
    if form == AQW_FIELD_TEXT:
        return text_of((<const aqw_bytes *>at)[0])
    if form == AQW_FIELD_CODE:
        return (<tuple>step.about)[at[0]]
    if form == STEP_ERROR:
        return text_of((<const aqw_bytes *>at)[0]) if has_error(second[0]) else None
    if form == STEP_OUTPUT:
        return None if has_error(second[0]) else optional_bytes_of((<const aqw_bytes *>at)[0])
    if form == STEP_RUN:
        return run_of(event)
    if form == AQW_FIELD_SPEC:
        return task_spec_from_c(id_from_data(TaskId, second), (<const aqw_bytes *>at)[0])
    if form == AQW_FIELD_SIGNED32:
        return (<const int32_t *>at)[0]
    if form == AQW_FIELD_MAYBE_TEXT:
        return optional_text_of((<const aqw_bytes *>at)[0])
    if form == AQW_FIELD_BYTES:
        return bytes_of((<const aqw_bytes *>at)[0])
    if form == AQW_FIELD_NUMBER32:
        return (<const uint32_t *>at)[0]
    if form == AQW_FIELD_MAYBE_NUMBER:
        return (<const uint64_t *>at)[0] if second[0] else None
    if form == AQW_FIELD_MAYBE_ID:
        return id_from_data(<type>step.about, at) if second[0] else None
    if form == AQW_FIELD_IDS:
        return ids_of(<type>step.about, (<const uint8_t **>at)[0], (<const uint32_t *>second)[0])
    if form == AQW_FIELD_FILTER:
        return filter_from_c((<const aqw_bytes *>at)[0])
    if form == AQW_FIELD_ROLE:
        return role_from_c((<const aqw_bytes *>at)[0])
    return capability_from_c((<const aqw_bytes *>at)[0])


cdef object run_of(const aqw_event *event):
    cdef uint64_t created_at = event.fields.run_created.created_at
    return RunInstance(
        id_from_data(RunId, event.fields.run_created.run_id),
        id_from_data(TaskId, event.fields.run_created.task_id),
        state_member(AQW_SCHEDULED), None, 0, created_at, event.fields.run_created.scheduled_at,
        event.fields.run_created.effective_priority, created_at)


cdef int set_registration(tuple arguments, const aqw_event *event, const Step *step) except -1:
    """Put a registration's fields among the arguments. An event has the department's name."""
    cdef const uint8_t *actor_id = <const uint8_t *>event + step.second
    cdef const aqw_bytes *part = <const aqw_bytes *>(<const uint8_t *>event + step.to)
    registration = registration_from_c(id_from_data(ActorId, actor_id), part[0])
    for place, name in REGISTRATION_PLACES:
        value = getattr(registration, name)
        set_argument(arguments, place, value.value if type(value) is DepartmentId else value)
    return 0
