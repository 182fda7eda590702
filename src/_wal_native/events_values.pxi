# --- What has no C event --------------------------------------------------------------------------

class Misfit(Exception):
    """Says why an object has no C event: a function that makes the error, and its arguments.

    The encoder raises it and nothing else on purpose, and runs no Python code for that. In the code
    of an error's constructor a signal's handler may raise; the short way, which drops whatever the
    encoder raises, would drop that, too.
    """


cdef object error_of(object misfit):
    """Return the error that a Misfit stands for."""
    make, *about = misfit.args
    return make(*about)


def wrong_type(cls, value):
    """Return the error for a value that is not of the class."""
    return TypeError(f"expected {cls.__name__}, got {type(value).__name__}")


def wrong_object(str needed, value):
    """Return the error for an object that is none of several classes."""
    return TypeError(f"expected {needed}, got {type(value).__name__}")


def empty_slot(owner):
    """Return the error for an object that lacks a field."""
    return AttributeError(f"a field of {type(owner).__name__} is not set")


# --- Vocabularies and slots -----------------------------------------------------------------------

cdef inline int code_of(object member, tuple members) except -1:
    """Return the code of an enumeration's member: its place among the members."""
    cdef Py_ssize_t code
    for code in range(len(members)):
        if members[code] is member:
            return <int>code
    raise Misfit(wrong_type, type(members[0]), member)


cdef inline int code_of_state(object state) except -1:
    cdef int code = find_state(state)
    if code < 0:
        raise Misfit(wrong_state, state)
    return code


cdef inline object slot(object owner, Py_ssize_t offset):
    """Return what is in a slot that must not be empty."""
    cdef PyObject *value = value_in(owner, offset)
    if value is NULL:
        raise Misfit(empty_slot, owner)
    return <object>value


cdef tuple DIMENSIONS = tuple(BudgetDimension)
cdef tuple HOLD_POLICIES = tuple(ConcurrencyKeyHoldPolicy)
cdef tuple SAFETY_LEVELS = tuple(SafetyLevel)
cdef tuple ROLE_NAMES = Role.NAMES              # the last is "custom"
cdef tuple CAPABILITY_NAMES = Capability.NAMES

cdef Py_ssize_t RUN_STATE = slot_of(RunInstance, "state")
cdef Py_ssize_t RUN_CURRENT_ATTEMPT_ID = slot_of(RunInstance, "current_attempt_id")
cdef Py_ssize_t RUN_ATTEMPT_COUNT = slot_of(RunInstance, "attempt_count")
cdef Py_ssize_t RUN_LAST_STATE_CHANGE_AT = slot_of(RunInstance, "last_state_change_at")

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
cdef Py_ssize_t CONSTRAINTS_CAPABILITIES = slot_of(TaskConstraints, "required_capabilities")

cdef Py_ssize_t METADATA_TAGS = slot_of(TaskMetadata, "tags")
cdef Py_ssize_t METADATA_PRIORITY = slot_of(TaskMetadata, "priority")
cdef Py_ssize_t METADATA_DESCRIPTION = slot_of(TaskMetadata, "description")

# The last field of both.
cdef Py_ssize_t NAMED_NAME = slot_of(Role, "name")
cdef Py_ssize_t NAMED_TEXT = slot_of(Role, "text")
if (NAMED_NAME, NAMED_TEXT) != (slot_of(Capability, "name"), slot_of(Capability, "text")):
    raise ImportError("roles and capabilities have their fields in different places")


# --- Python values → C fields -------------------------------------------------------------------

cdef int refuse_type(PyObject *value, PyObject *cls) except -1:
    raise Misfit(wrong_type, <object>cls, <object>value)


cdef inline object integer(object value):
    """Return the number itself, or raise a Misfit for what is not an int.

    Cython would ask other objects for a number, and so run code that may use this encoder.
    """
    if not PyLong_Check(value):
        refuse_type(<PyObject *>value, <PyObject *>int)
    return value


cdef inline int check_type(object value, object cls) except -1:
    if not PyObject_TypeCheck(value, <PyTypeObject *>cls):
        raise Misfit(wrong_type, cls, value)
    return 0


@cython.nonecheck(False)
cdef inline int set_id(uint8_t *to, object value, PyObject *cls) except -1:
    if <PyObject *>Py_TYPE(value) != cls:
        refuse_type(<PyObject *>value, cls)
    memcpy(to, (<Identifier>value).data, 16)
    return 0


cdef inline int set_optional_id(uint8_t *to, object value, PyObject *cls) except -1:
    """Return whether there is an identifier."""
    if value is None:
        return 0
    set_id(to, value, cls)
    return 1


cdef inline int set_text(aqw_bytes *to, object text) except -1:
    """Point to a string's UTF-8 form, which the string itself keeps."""
    cdef Py_ssize_t size
    if type(text) is not str:
        raise Misfit(wrong_type, str, text)
    to.data = <const uint8_t *>PyUnicode_AsUTF8AndSize(text, &size)
    if size > AQW_TEXT_SIZE_MAX:
        raise Misfit(RecordTooLarge, size, AQW_TEXT_SIZE_MAX)
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
        raise Misfit(wrong_type, bytes, data)
    if PyBytes_GET_SIZE(data) > AQW_PAYLOAD_SIZE_MAX:
        raise Misfit(RecordTooLarge, PyBytes_GET_SIZE(data), AQW_PAYLOAD_SIZE_MAX)
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
        check_encoded(
            aqw_list_put(scratch.data, scratch.capacity, &size, entry.data, entry.size), &size)
        if size > AQW_PAYLOAD_SIZE_MAX:
            raise Misfit(RecordTooLarge, size, AQW_PAYLOAD_SIZE_MAX)
    scratch.reserve(1)
    to.data = scratch.data
    to.size = <uint32_t>size
    to.count = <uint32_t>len(texts)
    return 0


cdef int check_encoded(aqw_status status, const size_t *size) except -1:
    """Raise a Misfit for an encoder's status. The size is that of the whole, in bytes."""
    if status == AQW_OK:
        return 0
    if status == AQW_TOO_LARGE:
        raise Misfit(RecordTooLarge, size[0], AQW_PAYLOAD_SIZE_MAX)
    raise Misfit(MalformedEventError, "a field has a value that no payload can hold")


cdef enum:
    SCRATCH_SIZE_MIN = 256
    SCRATCH_SIZE_KEPT = 65536


@cython.final
cdef class Scratch:
    """Memory that an encoder writes to, and uses again for its next event."""

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


# --- C fields → Python values -------------------------------------------------------------------

cdef inline object optional_text_of(aqw_bytes text):
    return None if text.data is NULL else text_of(text)


cdef inline object optional_bytes_of(aqw_bytes data):
    return None if data.data is NULL else bytes_of(data)


cdef tuple texts_of(aqw_list encoded):
    cdef list texts = []
    cdef uint32_t offset = 0
    cdef aqw_bytes entry
    while aqw_list_next(&encoded, &offset, &entry) == AQW_OK:
        texts.append(text_of(entry))
    return tuple(texts)


cdef inline object optional_texts_of(aqw_list encoded):
    return None if encoded.data is NULL else texts_of(encoded)
