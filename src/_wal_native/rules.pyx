"""The rules that validation and replay share, as Python functions over ``core/event/rules.h``.

A rule is stated once, in C. These functions only add the conversion of ``RunState`` members.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from _wal_native.core cimport *

from _wal_native.above import RunState, shown


cdef tuple MEMBERS = tuple(RunState)    # the order of the members is the order of the codes
cdef int MEMBER_COUNT = AQW_RUN_STATE_LAST + 1

if len(MEMBERS) != MEMBER_COUNT:
    raise ImportError("RunState and the core do not have the same states")

# Borrowed from MEMBERS, to compare without reference counts.
cdef PyObject *members[AQW_RUN_STATE_LAST + 1]
cdef int member_index
for member_index in range(MEMBER_COUNT):
    members[member_index] = <PyObject *>MEMBERS[member_index]


cdef int find_state(object state) noexcept:
    cdef int code
    for code in range(AQW_RUN_STATE_LAST + 1):
        if members[code] == <PyObject *>state:
            return code
    return -1


def wrong_state(state):
    """Return the error for what is no state of runs."""
    return TypeError(f"a run's state must be a RunState, not {shown(state)}")


cdef int state_code(object state) except -1:
    cdef int code = find_state(state)
    if code < 0:
        raise wrong_state(state)
    return code


cdef object state_member(int code):
    if not 0 <= code <= AQW_RUN_STATE_LAST:
        raise ValueError(f"no run state has the code {code}")
    return <object>members[code]


def transition_is_valid(from_state, to_state, /):
    """Whether a run may go from one state to the other, by one of the 17 transitions."""
    return aqw_rule_transition_is_valid(
        <uint8_t>state_code(from_state), <uint8_t>state_code(to_state)) != 0


def state_is_terminal(state, /):
    """Whether a run never leaves this state: completed, failed and canceled."""
    return aqw_rule_state_is_terminal(<uint8_t>state_code(state)) != 0


def attempt_blocks_change(from_state, to_state, bint has_active_attempt, /):
    """Whether an active attempt forbids the change: from running to anything but canceled."""
    return aqw_rule_attempt_blocks_change(
        <uint8_t>state_code(from_state), <uint8_t>state_code(to_state), has_active_attempt) != 0


def state_allows(uint8_t kind, state, /):
    """Whether a run in this state takes an event of this kind, where its state alone decides."""
    return aqw_rule_state_allows(kind, <uint8_t>state_code(state)) != 0


def attempt_count_is_full(uint32_t attempt_count, /):
    """Whether one more attempt would overflow the run's 32-bit count."""
    return aqw_rule_attempt_count_is_full(attempt_count) != 0


def lease_expiry_regresses(uint64_t current, uint64_t proposed, /):
    """Whether a heartbeat would lower the lease's expiry. An equal expiry does not."""
    return aqw_rule_lease_expiry_regresses(current, proposed) != 0


def resume_precedes_pause(uint64_t paused_at, uint64_t resumed_at, /):
    """Whether the engine would resume before it was paused. An equal time does not."""
    return aqw_rule_resume_precedes_pause(paused_at, resumed_at) != 0


def run_is_fresh(state, bint has_active_attempt, uint32_t attempt_count, uint64_t created_at,
                 uint64_t last_state_change_at, /):
    """Whether a run has the one shape in which runs are created."""
    return aqw_rule_run_is_fresh(
        <uint8_t>state_code(state), has_active_attempt, attempt_count, created_at,
        last_state_change_at) != 0
