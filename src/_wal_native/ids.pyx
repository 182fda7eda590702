"""The seven identifier types: distinct types over the 16 bytes of a UUID.

They are C structs, and not wrappers of :class:`uuid.UUID`, because every command makes, compares
and hashes them: a ``uuid.UUID`` costs twenty times as much. The types are final, so one comparison
of pointers tells them apart.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from os import urandom
from uuid import UUID

# Its errors are looked up when one is raised: pickles import this module before the package above.
from _wal_native import above

cdef enum:
    BLOCK_SIZE = 4096

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define AQW_IDS_STATIC static _Thread_local
    #else
    #define AQW_IDS_STATIC static
    #endif
    AQW_IDS_STATIC unsigned char aqw_ids_block[4096];
    AQW_IDS_STATIC Py_ssize_t aqw_ids_left;

    #ifdef _WIN32
    static int aqw_ids_at_fork_in_child(void (*handler)(void)) {
        (void)handler;
        return 0;
    }
    #else
    #include <pthread.h>
    static int aqw_ids_at_fork_in_child(void (*handler)(void)) {
        return pthread_atfork(NULL, NULL, handler);
    }
    #endif
    """
    unsigned char random_block "aqw_ids_block"[BLOCK_SIZE]
    Py_ssize_t random_left "aqw_ids_left"
    int aqw_ids_at_fork_in_child(void (*handler)() noexcept nogil) noexcept

cdef extern from *:
    ctypedef object (*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *)
    ctypedef struct ClassWithCalls "PyTypeObject":
        vectorcallfunc tp_vectorcall
        object (*tp_new)(ClassWithCalls *, PyObject *, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t count) noexcept
    object PyType_GenericAlloc(type cls, Py_ssize_t item_count)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


# --- Random bytes ---------------------------------------------------------------------------------
#
# The system's generator gives a block at a time, because a call for each identifier would cost more
# than all the rest. A forked child discards the bytes that are left: it would else repeat its
# parent's identifiers. Where there is no GIL each thread has a block of its own, so that none waits
# for another, and a forked child's only thread for none that is gone.


cdef void discard_random_block() noexcept nogil:
    global random_left
    random_left = 0     # of the child's only thread


cdef int take_random(unsigned char *to) except -1:
    """Take 16 bytes that no other identifier gets."""
    global random_left
    cdef bytes block
    while random_left < 16:
        # Other threads and signals' handlers may run during the call. Each returns from it with a
        # whole fresh block, so to replace what another brought meanwhile never repeats a byte.
        block = urandom(BLOCK_SIZE)
        memcpy(random_block, PyBytes_AS_STRING(block), BLOCK_SIZE)
        random_left = BLOCK_SIZE
    random_left -= 16
    memcpy(to, &random_block[random_left], 16)
    return 0


if aqw_ids_at_fork_in_child(discard_random_block) != 0:
    raise MemoryError("the fork handler of the identifiers could not be registered")


# --- Hashing --------------------------------------------------------------------------------------
#
# Identifiers may come from outside, and be sequential or chosen to collide. A secret seed and two
# rounds of multiply and shift spread them. The seed differs from process to process, as for str.

cdef uint64_t hash_seed[2]
memcpy(hash_seed, PyBytes_AS_STRING(urandom(16)), 16)


cdef inline uint64_t mix(uint64_t value) noexcept nogil:
    value ^= value >> 33
    value *= <uint64_t>0xFF51AFD7ED558CCD
    value ^= value >> 33
    value *= <uint64_t>0xC4CEB9FE1A85EC53
    return value ^ (value >> 33)


# --- Text -----------------------------------------------------------------------------------------

cdef const char *HEX_DIGITS = b"0123456789abcdef"


cdef inline int digit_value(char digit) noexcept nogil:
    """Return the value of a hexadecimal digit, or -1."""
    if c'0' <= digit <= c'9':
        return digit - c'0'
    if c'a' <= digit <= c'f':
        return digit - c'a' + 10
    if c'A' <= digit <= c'F':
        return digit - c'A' + 10
    return -1


cdef inline bint is_hyphen_before(int index) noexcept nogil:
    """Whether the hyphenated form has a hyphen before the byte at this index."""
    return index == 4 or index == 6 or index == 8 or index == 10


cdef bint parse_text(const char *text, Py_ssize_t size, unsigned char *to) noexcept nogil:
    """Read 32 hexadecimal digits, with or without the four hyphens."""
    cdef int index, high, low
    if size != 32 and size != 36:
        return False
    for index in range(16):
        if size == 36 and is_hyphen_before(index):
            if text[0] != c'-':
                return False
            text += 1
        high = digit_value(text[0])
        low = digit_value(text[1])
        if high < 0 or low < 0:
            return False
        to[index] = <unsigned char>(high << 4 | low)
        text += 2
    return True


cdef str format_text(const unsigned char *data, bint hyphenated):
    cdef char text[36]
    cdef int index
    cdef Py_ssize_t size = 0
    for index in range(16):
        if hyphenated and is_hyphen_before(index):
            text[size] = c'-'
            size += 1
        text[size] = HEX_DIGITS[data[index] >> 4]
        text[size + 1] = HEX_DIGITS[data[index] & 15]
        size += 2
    return PyUnicode_DecodeASCII(text, size, NULL)


# --- The types ------------------------------------------------------------------------------------

# Stands for "no value was given", so that None is refused like any other stray value.
cdef object NEW = object()


cdef int convert(Identifier self, object value) except -1:
    """Take the 16 bytes from the value that a caller gave."""
    cdef Py_ssize_t size
    cdef const char *text
    cdef bytes raw
    if isinstance(value, str):
        if value.isascii():     # other text is malformed, and may not even have a UTF-8 form
            text = PyUnicode_AsUTF8AndSize(value, &size)
            if parse_text(text, size, self.data):
                return 0
        raise above.InvalidFieldError(
            type(self).__name__, "value", value, "must be 32 hexadecimal digits or hyphenated")
    if type(value) is type(self):
        memcpy(self.data, (<Identifier>value).data, 16)
        return 0
    if isinstance(value, UUID):
        raw = value.bytes
    elif isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        if len(raw) != 16:
            raise above.InvalidFieldError(
                type(self).__name__, "value", value, "must be 16 bytes")
    else:
        raise above.InvalidFieldTypeError(
            type(self).__name__, "value", value,
            f"must be a UUID, its text, 16 bytes or another {type(self).__name__}")
    memcpy(self.data, PyBytes_AS_STRING(raw), 16)
    return 0


cdef inline int make_random(Identifier self) except -1:
    take_random(self.data)
    self.data[6] = (self.data[6] & 0x0F) | 0x40     # version 4: random
    self.data[8] = (self.data[8] & 0x3F) | 0x80     # the variant of RFC 9562
    return 0


cdef class Identifier:
    """Base of the identifier types: the 16 bytes of a UUID.

    An identifier is immutable and hashable, and equals identifiers of its own type only.
    """

    def __cinit__(self, object value=NEW):
        if value is NEW:
            if type(self) is Identifier:
                raise TypeError("Identifier is abstract; use one of its seven types")
            make_random(self)
        else:
            convert(self, value)

    @classmethod
    def from_bytes(cls, value):
        """Return the identifier with these 16 bytes.

        Raises InvalidFieldError for another number of bytes, InvalidFieldTypeError for other types.
        """
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise above.InvalidFieldTypeError(cls.__name__, "value", value, "must be 16 bytes")
        return cls(value)

    @property
    def bytes(self):
        """The 16 bytes, in network order."""
        return PyBytes_FromStringAndSize(<const char *>self.data, 16)

    @property
    def hex(self):
        """The 32 hexadecimal digits."""
        return format_text(self.data, False)

    @property
    def uuid(self):
        """The identifier as a :class:`uuid.UUID`."""
        return UUID(bytes=self.bytes)

    @property
    def is_nil(self):
        """Whether all bytes are zero."""
        return is_nil(self)

    def __str__(self):
        return format_text(self.data, True)

    def __repr__(self):
        return f"{type(self).__name__}('{format_text(self.data, True)}')"

    def __hash__(self):
        cdef uint64_t half[2]
        memcpy(half, self.data, 16)
        cdef Py_hash_t result = <Py_hash_t>mix(mix(half[0] ^ hash_seed[0]) ^ half[1] ^ hash_seed[1])
        return -2 if result == -1 else result

    def __richcmp__(self, object other, int operator):
        cdef int order
        if type(self) is not type(other):
            return NotImplemented
        order = memcmp(self.data, (<Identifier>other).data, 16)
        if operator == Py_EQ:
            return order == 0
        if operator == Py_NE:
            return order != 0
        if type(self) is not RunId:     # run identifiers alone have an order, which is promised
            return NotImplemented
        if operator == Py_LT:
            return order < 0
        if operator == Py_LE:
            return order <= 0
        if operator == Py_GT:
            return order > 0
        return order >= 0

    def __reduce__(self):
        return type(self), (self.bytes,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


@cython.final
cdef class TaskId(Identifier):
    """Identifies a task.

    Random by default; else made of a UUID, its text, its 16 bytes or another ``TaskId``.
    """


@cython.final
cdef class RunId(Identifier):
    """Identifies a run. Ordered by its bytes. Made like :class:`TaskId`."""


@cython.final
cdef class AttemptId(Identifier):
    """Identifies an attempt of a run. Made like :class:`TaskId`."""


@cython.final
cdef class ActorId(Identifier):
    """Identifies an actor. Made like :class:`TaskId`."""


@cython.final
cdef class TenantId(Identifier):
    """Identifies a tenant. Made like :class:`TaskId`."""


@cython.final
cdef class LedgerEntryId(Identifier):
    """Identifies a ledger entry. Made like :class:`TaskId`."""


@cython.final
cdef class SubscriptionId(Identifier):
    """Identifies a subscription. Made like :class:`TaskId`."""


cdef Identifier id_from_data(type cls, const unsigned char *data):
    # Calls the allocator, because the constructor would fetch random bytes first. An Identifier has
    # neither a virtual table nor references, so nothing else has to be set up.
    cdef Identifier made = <Identifier>PyType_GenericAlloc(cls, 0)
    memcpy(made.data, data, 16)
    return made


# --- Calls of the types ---------------------------------------------------------------------------
#
# Every command for a new task, run or attempt makes an identifier. A call without arguments needs
# neither a tuple nor a dictionary of them.

cdef object call(
    PyObject *cls, PyObject *const *arguments, size_t count_and_flag, PyObject *names
):
    cdef Py_ssize_t index, given = PyVectorcall_NARGS(count_and_flag)
    cdef Identifier made
    cdef dict named = None
    if given == 0 and names == NULL:
        made = <Identifier>PyType_GenericAlloc(<type>cls, 0)
        make_random(made)
        return made
    values = tuple([<object>arguments[index] for index in range(given)])
    if names != NULL:
        named = {
            name: <object>arguments[given + index] for index, name in enumerate(<tuple>names)}
    return (<ClassWithCalls *>cls).tp_new(
        <ClassWithCalls *>cls, <PyObject *>values, NULL if named is None else <PyObject *>named)


for cls in (TaskId, RunId, AttemptId, ActorId, TenantId, LedgerEntryId, SubscriptionId):
    (<ClassWithCalls *>cls).tp_vectorcall = <vectorcallfunc>call
del cls
