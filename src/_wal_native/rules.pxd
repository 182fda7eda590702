"""Run states ↔ the core's codes, for the other doors."""

# The code of a RunState member. TypeError for anything else, a plain string included.
cdef int state_code(object state) except -1

# The member for a code from 0 to AQW_RUN_STATE_LAST. ValueError for any other number.
cdef object state_member(int code)
