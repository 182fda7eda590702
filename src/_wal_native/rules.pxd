"""Run states ↔ the core's codes, for the other modules."""

# Returns the code of a RunState member, or -1 for anything else, plain strings included.
cdef int find_state(object state) noexcept

# Returns the same, or raises TypeError.
cdef int state_code(object state) except -1

# Returns the member for a code from 0 to AQW_RUN_STATE_LAST. Raises ValueError for other numbers.
cdef object state_member(int code)
