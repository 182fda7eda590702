# --- Commands → C events, where no Python event is needed in between -------------------------------------------------

# The slot of each kind's sequence, at the place of its event's code.
cdef Py_ssize_t COMMAND_SEQUENCES[AQW_EVENT_KIND_LAST + 1]

for code, cls in (
    (AQW_RUN_STATE_CHANGED, RunStateTransitionCommand), (AQW_LEASE_HEARTBEAT, LeaseHeartbeatCommand),
    (AQW_LEASE_ACQUIRED, LeaseAcquireCommand), (AQW_LEASE_RELEASED, LeaseReleaseCommand),
    (AQW_LEASE_EXPIRED, LeaseExpireCommand), (AQW_ATTEMPT_STARTED, AttemptStartCommand),
    (AQW_ATTEMPT_FINISHED, AttemptFinishCommand), (AQW_TASK_CREATED, TaskCreateCommand),
    (AQW_RUN_CREATED, RunCreateCommand), (AQW_RUN_SUSPENDED, RunSuspendCommand), (AQW_RUN_RESUMED, RunResumeCommand),
):
    COMMAND_SEQUENCES[<int>code] = slot_of(cls, "sequence")

cdef StateChangeSlots COMMAND_STATE_CHANGE = state_change_slots(RunStateTransitionCommand)
cdef StartSlots COMMAND_START = start_slots(AttemptStartCommand)
cdef LeaseSlots COMMAND_LEASE = lease_slots(
    (LeaseAcquireCommand, LeaseHeartbeatCommand, LeaseExpireCommand, LeaseReleaseCommand))

cdef Py_ssize_t FINISH_RUN_ID = slot_of(AttemptFinishCommand, "run_id")
cdef Py_ssize_t FINISH_ATTEMPT_ID = slot_of(AttemptFinishCommand, "attempt_id")
cdef Py_ssize_t FINISH_OUTCOME = slot_of(AttemptFinishCommand, "outcome")
cdef Py_ssize_t FINISH_TIMESTAMP = slot_of(AttemptFinishCommand, "timestamp")
cdef Py_ssize_t OUTCOME_RESULT = slot_of(AttemptOutcome, "result")
cdef Py_ssize_t OUTCOME_ERROR = slot_of(AttemptOutcome, "error")
cdef Py_ssize_t OUTCOME_OUTPUT = slot_of(AttemptOutcome, "output")

cdef Py_ssize_t CREATE_RUN_INSTANCE = slot_of(RunCreateCommand, "run_instance")
cdef Py_ssize_t CREATE_TASK_SPEC = slot_of(TaskCreateCommand, "task_spec")
cdef Py_ssize_t CREATE_TASK_TIMESTAMP = slot_of(TaskCreateCommand, "timestamp")

cdef Py_ssize_t SUSPEND_RUN_ID = slot_of(RunSuspendCommand, "run_id")
cdef Py_ssize_t SUSPEND_REASON = slot_of(RunSuspendCommand, "reason")
cdef Py_ssize_t SUSPEND_TIMESTAMP = slot_of(RunSuspendCommand, "timestamp")
cdef Py_ssize_t RESUME_RUN_ID = slot_of(RunResumeCommand, "run_id")
cdef Py_ssize_t RESUME_TIMESTAMP = slot_of(RunResumeCommand, "timestamp")


cdef bint fill_from_command(EventEncoder encoder, object command, uint64_t sequence) except -1:
    cdef aqw_event *to = &encoder.event
    cdef PyObject *cls = <PyObject *>Py_TYPE(command)
    if cls == <PyObject *>RunStateTransitionCommand:
        to.kind = AQW_RUN_STATE_CHANGED
    elif cls == <PyObject *>LeaseHeartbeatCommand:
        to.kind = AQW_LEASE_HEARTBEAT
    elif cls == <PyObject *>LeaseAcquireCommand:
        to.kind = AQW_LEASE_ACQUIRED
    elif cls == <PyObject *>AttemptStartCommand:
        to.kind = AQW_ATTEMPT_STARTED
    elif cls == <PyObject *>AttemptFinishCommand:
        to.kind = AQW_ATTEMPT_FINISHED
    elif cls == <PyObject *>TaskCreateCommand:
        to.kind = AQW_TASK_CREATED
    elif cls == <PyObject *>RunCreateCommand:
        to.kind = AQW_RUN_CREATED
    elif cls == <PyObject *>LeaseReleaseCommand:
        to.kind = AQW_LEASE_RELEASED
    elif cls == <PyObject *>LeaseExpireCommand:
        to.kind = AQW_LEASE_EXPIRED
    elif cls == <PyObject *>RunSuspendCommand:
        to.kind = AQW_RUN_SUSPENDED
    elif cls == <PyObject *>RunResumeCommand:
        to.kind = AQW_RUN_RESUMED
    else:
        return False
    provided = slot(command, COMMAND_SEQUENCES[to.kind])
    if provided is not None and <uint64_t>integer(provided) != sequence:
        return False
    to.sequence = sequence
    to.spec_is_valid = 0
    encoder.trim()
    fill_command_fields(encoder, command)
    return True


cdef int fill_command_fields(EventEncoder encoder, object command) except -1:
    cdef aqw_event *to = &encoder.event
    cdef int kind = to.kind
    if kind == AQW_RUN_STATE_CHANGED:
        fill_run_state_changed(to, command, &COMMAND_STATE_CHANGE)
    elif kind == AQW_ATTEMPT_STARTED:
        fill_attempt_started(to, command, &COMMAND_START)
    elif kind == AQW_ATTEMPT_FINISHED:
        to.timestamp = integer(slot(command, FINISH_TIMESTAMP))
        set_id(to.fields.attempt_finished.run_id, slot(command, FINISH_RUN_ID), RunId)
        set_id(to.fields.attempt_finished.attempt_id, slot(command, FINISH_ATTEMPT_ID), AttemptId)
        outcome = slot(command, FINISH_OUTCOME)
        check_type(outcome, AttemptOutcome)
        fill_outcome(to, slot(outcome, OUTCOME_RESULT), slot(outcome, OUTCOME_ERROR), slot(outcome, OUTCOME_OUTPUT))
    elif kind == AQW_RUN_CREATED:
        fill_run_created(to, slot(command, CREATE_RUN_INSTANCE))
    elif kind == AQW_TASK_CREATED:
        to.timestamp = integer(slot(command, CREATE_TASK_TIMESTAMP))
        fill_task_created(encoder, slot(command, CREATE_TASK_SPEC))
    elif kind == AQW_RUN_SUSPENDED:
        set_id(to.fields.run_suspended.run_id, slot(command, SUSPEND_RUN_ID), RunId)
        set_optional_text(&to.fields.run_suspended.reason, slot(command, SUSPEND_REASON))
        to.timestamp = integer(slot(command, SUSPEND_TIMESTAMP))
    elif kind == AQW_RUN_RESUMED:
        set_id(to.fields.run.run_id, slot(command, RESUME_RUN_ID), RunId)
        to.timestamp = integer(slot(command, RESUME_TIMESTAMP))
    else:
        fill_lease(to, command, &COMMAND_LEASE)
    return 0
