# --- Fields ---------------------------------------------------------------------------------------

cdef extern from *:
    """
    /* Reads the value of an int from 0 to 2**60 - 1, for less than the cost of a call. */
    static inline int aqw_fields_number(PyObject *number, uint64_t *value) {
    #if PY_VERSION_HEX < 0x030C0000
        Py_ssize_t size = Py_SIZE(number);
        const digit *digits = ((PyLongObject *)number)->ob_digit;
    #else
        uintptr_t tag = ((PyLongObject *)number)->long_value.lv_tag;
        Py_ssize_t size = (tag & 2) != 0 ? -1 : (Py_ssize_t)(tag >> 3);
        const digit *digits = ((PyLongObject *)number)->long_value.ob_digit;
    #endif
        if (size < 0 || size > 2) return 0;
        *value = (size > 0 ? digits[0] : 0) | (size > 1 ? (uint64_t)digits[1] << PyLong_SHIFT : 0);
        return 1;
    }
    """
    bint aqw_fields_number(PyObject *number, uint64_t *value) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text) noexcept
    const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *number, int *overflow) noexcept
    unsigned long long PyLong_AsUnsignedLongLong(PyObject *number) noexcept
    PyObject *PyErr_Occurred() noexcept

cdef enum Kind:
    UNSIGNED, SIGNED, TEXT, BYTES, IDENTIFIER, CHOICE, ITEMS, INSTANCE


@cython.final
cdef class Field:
    """One field of a class, or the entries of a list field.

    It knows which values to accept as they are, and which to convert.
    """

    cdef str name
    cdef Py_ssize_t offset          # of its slot in an instance, in bytes
    cdef Kind kind
    cdef bint optional
    cdef uint64_t unsigned_minimum, unsigned_maximum
    cdef int64_t signed_minimum, signed_maximum
    cdef Py_ssize_t size_minimum, size_maximum
    cdef bint not_nil
    cdef object cls                 # the type of an accepted value; for INSTANCE also a base of it
    cdef dict members               # CHOICE: name to member
    cdef Field item                 # ITEMS: the entries
    cdef ConvertRule conversion     # INSTANCE: which other values are converted, or None

    def __init__(self, str name, object annotation):
        self.name = name
        self.size_maximum = AQW_TEXT_SIZE_MAX
        self.read(annotation)

    def read(self, annotation):
        """Take over what the annotation says."""
        origin = typing.get_origin(annotation)
        if origin is typing.Union or origin is types.UnionType:
            inner = [part for part in typing.get_args(annotation) if part is not type(None)]
            if len(inner) != 1:
                raise TypeError(f"the field {self.name!r} has more than one type: {annotation}")
            self.optional = True
            self.read(inner[0])
        elif origin is typing.Annotated:
            base, *rules = typing.get_args(annotation)
            self.read(base)
            for rule in rules:
                self.restrict(rule)
        elif origin is tuple:
            entry, _ = typing.get_args(annotation)
            self.kind = ITEMS
            self.cls = tuple
            self.item = Field(self.name, entry)
            self.size_maximum = AQW_LIST_COUNT_MAX
        else:
            self.read_class(annotation)

    def read_class(self, cls):
        """Take over a plain class."""
        self.cls = cls
        if cls is int:
            self.kind = UNSIGNED
            self.unsigned_maximum = UINT64_MAX
        elif cls is str:
            self.kind = TEXT
        elif cls is bytes:
            self.kind = BYTES
            self.size_maximum = AQW_PAYLOAD_SIZE_MAX
        elif not isinstance(cls, type):
            raise TypeError(
                f"the field {self.name!r} has an annotation that cannot be checked: {cls!r}")
        elif issubclass(cls, Identifier):
            self.kind = IDENTIFIER
        elif issubclass(cls, enum.StrEnum):
            self.kind = CHOICE
            self.members = {member.value: member for member in cls}
        else:
            self.kind = INSTANCE

    def restrict(self, rule):
        """Take over the metadata of an annotation."""
        if isinstance(rule, IntegerRule) and self.kind == UNSIGNED:
            if rule.minimum < 0:
                self.kind = SIGNED
                self.signed_minimum = rule.minimum
                self.signed_maximum = rule.maximum
            else:
                self.unsigned_minimum = rule.minimum
                self.unsigned_maximum = rule.maximum
        elif isinstance(rule, SizeRule) and self.kind in (TEXT, BYTES, ITEMS):
            self.size_minimum = (<SizeRule>rule).minimum
            self.size_maximum = (<SizeRule>rule).maximum
        elif isinstance(rule, NotNilRule) and self.kind == IDENTIFIER:
            self.not_nil = True
        elif isinstance(rule, ConvertRule) and self.kind == INSTANCE:
            self.conversion = rule
        else:
            raise TypeError(
                f"the field {self.name!r} has a rule that does not fit its type: {rule!r}")


# --- The fast path: is the value in its final form? -----------------------------------------------

cdef bint accepts(Field field, PyObject *value) noexcept:
    """Whether the field takes the value as it is. This never leaves an exception set."""
    cdef Py_ssize_t size
    if value == <PyObject *>None:
        return field.optional
    if field.kind == IDENTIFIER:
        return has_type(value, field.cls) and not (field.not_nil and is_nil(<Identifier>value))
    if field.kind == UNSIGNED:
        return PyLong_CheckExact(<object>value) and is_unsigned(field, value)
    if field.kind == SIGNED:
        return PyLong_CheckExact(<object>value) and is_signed(field, value)
    if field.kind == TEXT:
        if not PyUnicode_CheckExact(<object>value):
            return False
        size = utf8_size(value)
        return field.size_minimum <= size <= field.size_maximum
    if field.kind == CHOICE:
        return has_type(value, field.cls)
    if field.kind == BYTES:
        return (PyBytes_CheckExact(<object>value)
                and field.size_minimum <= PyBytes_GET_SIZE(<object>value) <= field.size_maximum)
    if field.kind == INSTANCE:
        return PyObject_TypeCheck(<object>value, <PyTypeObject *>field.cls)
    return accepts_items(field, value)


cdef inline bint has_type(PyObject *value, object cls) noexcept:
    """Whether the value is an instance of the very class, not of a subclass."""
    return <PyObject *>Py_TYPE(<object>value) == <PyObject *>cls


cdef bint accepts_items(Field field, PyObject *value) noexcept:
    cdef Py_ssize_t index, count
    if not PyTuple_CheckExact(<object>value):
        return False
    count = PyTuple_GET_SIZE(<object>value)
    if not field.size_minimum <= count <= field.size_maximum:
        return False
    for index in range(count):
        if not accepts(field.item, PyTuple_GET_ITEM(<object>value, index)):
            return False
    return True


cdef inline bint is_unsigned(Field field, PyObject *value) noexcept:
    cdef int overflow
    cdef long long small = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef unsigned long long number = <unsigned long long>small
    if overflow < 0 or (overflow == 0 and small < 0):
        return False
    if overflow > 0:
        number = PyLong_AsUnsignedLongLong(value)
        if number == UINT64_MAX and PyErr_Occurred() != NULL:
            PyErr_Clear()
            return False
    return field.unsigned_minimum <= number <= field.unsigned_maximum


cdef inline bint is_signed(Field field, PyObject *value) noexcept:
    cdef int overflow
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    return overflow == 0 and field.signed_minimum <= number <= field.signed_maximum


cdef inline Py_ssize_t utf8_size(PyObject *value) noexcept:
    """Return a string's size in UTF-8, in bytes, or -1 where it has no such form.

    The string keeps the form for the encoder.
    """
    cdef Py_ssize_t size
    if PyUnicode_AsUTF8AndSize(value, &size) == NULL:
        PyErr_Clear()
        return -1
    return size


# The part of a field's rule that decides most values, in one place, so that a check reads little.

cdef struct Quick:
    Py_ssize_t offset
    PyObject *cls                   # of a value in its final form; no subclasses of it
    Kind kind
    bint optional
    bint not_nil
    uint64_t minimum, maximum       # of a number, or of a size


cdef void set_quick(Quick *to, Field field) noexcept:
    to.offset = field.offset
    to.cls = <PyObject *>field.cls
    to.kind = field.kind
    to.optional = field.optional
    to.not_nil = field.not_nil
    if field.kind == UNSIGNED:
        to.minimum, to.maximum = field.unsigned_minimum, field.unsigned_maximum
    elif field.kind == SIGNED:
        to.minimum, to.maximum = 0, <uint64_t>field.signed_maximum
    else:
        to.minimum, to.maximum = <uint64_t>field.size_minimum, <uint64_t>field.size_maximum


cdef inline bint accepts_at_once(const Quick *quick, PyObject *value) noexcept:
    """Whether the field certainly takes the value. Where this is False, ``accepts`` decides."""
    cdef uint64_t number
    if <PyObject *>Py_TYPE(<object>value) != quick.cls:
        return value == <PyObject *>None and quick.optional
    if quick.kind == IDENTIFIER:
        return not (quick.not_nil and is_nil(<Identifier>value))
    if quick.kind == CHOICE or quick.kind == INSTANCE:
        return True
    if quick.kind == UNSIGNED or quick.kind == SIGNED:
        return aqw_fields_number(value, &number) and quick.minimum <= number <= quick.maximum
    if quick.kind == BYTES:
        return quick.minimum <= <uint64_t>PyBytes_GET_SIZE(<object>value) <= quick.maximum
    if quick.kind == TEXT:
        return (PyUnicode_IS_COMPACT_ASCII(value)
                and quick.minimum <= <uint64_t>PyUnicode_GET_LENGTH(value) <= quick.maximum)
    return quick.minimum == 0 and PyTuple_GET_SIZE(<object>value) == 0      # ITEMS
