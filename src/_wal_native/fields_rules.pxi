# --- What an annotation may say -------------------------------------------------------------------

@cython.final
cdef class IntegerRule:
    """Metadata of an ``int`` annotation: the smallest and the largest value, within 64 bits."""

    cdef readonly object minimum
    cdef readonly object maximum

    def __init__(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum


@cython.final
cdef class SizeRule:
    """Metadata of a ``str``, ``bytes`` or ``tuple`` annotation: the least and the largest size.

    A str is measured in UTF-8 bytes, bytes in bytes, a tuple in entries.
    """

    cdef readonly Py_ssize_t minimum
    cdef readonly Py_ssize_t maximum

    def __init__(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum


@cython.final
cdef class NotNilRule:
    """Metadata of an identifier annotation: the field refuses the nil UUID."""


@cython.final
cdef class ConvertRule:
    """Metadata of a class annotation: the function makes an instance of a value of these types."""

    cdef readonly tuple accepted
    cdef readonly object function

    def __init__(self, accepted, function):
        self.accepted = accepted
        self.function = function


cdef enum:
    PRESENCES_MAX = 4

cdef struct Presence:
    Py_ssize_t offset
    PyObject *members
    bint is_required


@cython.final
cdef class PresenceRule:
    """What a class's optional fields depend on: each goes with certain members of a choice only.

    A class has the rule as its attribute ``_together``, to make its constructor fast: where the
    rule holds, ``_check_together`` is not called. It does not hold for an empty value, which may
    mean an absent one.
    """

    cdef str choice
    cdef dict members               # of each optional field
    cdef tuple required             # the fields that must be present with their members
    cdef Py_ssize_t choice_offset
    cdef Presence presences[PRESENCES_MAX]

    def __init__(self, str choice, dict members, tuple required):
        if len(members) > PRESENCES_MAX:
            raise ValueError(f"at most {PRESENCES_MAX} fields can depend on a choice")
        self.choice = choice
        self.members = {name: tuple(among) for name, among in members.items()}
        self.required = required

    cdef int bind(self, object cls) except -1:
        """Find the fields' slots in instances of the class."""
        cdef int index
        self.choice_offset = slot_of(cls, self.choice)
        for index, (name, among) in enumerate(self.members.items()):
            self.presences[index].offset = slot_of(cls, name)
            self.presences[index].members = <PyObject *>among
            self.presences[index].is_required = name in self.required
        return 0

    cdef bint holds(self, object instance) except -1:
        """Whether the fields of an instance go together. Each of them is valid by itself."""
        cdef PyObject *choice = value_in(instance, self.choice_offset)
        cdef PyObject *value
        cdef bint is_member
        cdef int index
        for index in range(PyDict_Size(self.members)):
            value = value_in(instance, self.presences[index].offset)
            is_member = is_among(choice, <object>self.presences[index].members)
            if value == <PyObject *>None:
                if is_member and self.presences[index].is_required:
                    return False
            elif not is_member or not <object>value:
                return False
        return True


cdef inline bint is_among(PyObject *choice, object members) noexcept:
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(members)):
        if PyTuple_GET_ITEM(members, index) == choice:
            return True
    return False
