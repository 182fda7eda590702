"""Run states ↔ the core's codes, for the other modules."""

# Returns the code of a RunState member. Raises TypeError for anything else, plain strings included.
cdef int state_code(object state) except -1

# Returns the member for a code from 0 to AQW_RUN_STATE_LAST. Raises ValueError for other numbers.
cdef object state_member(int code)
