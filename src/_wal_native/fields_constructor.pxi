# --- The constructor ------------------------------------------------------------------------------

cdef extern from *:
    """
    /* Whether calls of the class go through a function of its own, which may be replaced. On
     * free-threaded builds another thread may be calling it, so there it may not. */
    static int aqw_fields_takes_constructor(PyObject *cls) {
    #ifdef Py_GIL_DISABLED
        (void)cls;
        return 0;
    #else
        PyTypeObject *meta = Py_TYPE(cls);
        return meta->tp_vectorcall_offset == offsetof(PyTypeObject, tp_vectorcall) &&
               ((PyTypeObject *)cls)->tp_vectorcall != NULL;
    #endif
    }
    /* Makes an instance with empty slots. */
    static inline PyObject *aqw_fields_new(PyObject *cls) {
        PyObject *made = PyObject_Malloc((size_t)((PyTypeObject *)cls)->tp_basicsize);
        if (made == NULL) return PyErr_NoMemory();
        for (PyObject **slot = (PyObject **)(made + 1);
             (char *)slot < (char *)made + ((PyTypeObject *)cls)->tp_basicsize; slot++)
            *slot = NULL;
        return PyObject_Init(made, (PyTypeObject *)cls);
    }
    /* Takes over the calls of a class, and nothing else. How instances end stays msgspec's: for
     * instances of subclasses it calls the functions of base classes, and those instances may be
     * tracked by the collector, have weak references or a dictionary, and so another allocator. */
    static void aqw_fields_take_over(PyObject *cls, vectorcallfunc construct) {
        ((PyTypeObject *)cls)->tp_vectorcall = construct;
    }
    """
    Py_ssize_t PyVectorcall_NARGS(size_t count) noexcept
    bint aqw_fields_takes_constructor(object cls) noexcept
    object aqw_fields_new(PyObject *cls)
    void aqw_fields_take_over(object cls, vectorcallfunc construct) noexcept

cdef enum:
    CONSTRUCTORS = 1024
    CONSTRUCTORS_MAX = 512      # msgspec builds the instances of further classes

cdef struct Constructor:
    PyObject *cls               # both live as long as the process
    PyObject *table

# A hash table by the class's address: an entry takes the next free place where its own is taken.
cdef Constructor constructors[CONSTRUCTORS]
cdef int constructor_count = 0


cdef inline int place_of(PyObject *cls) noexcept:
    """Return the place of a class's entry, or where it would be."""
    cdef int place = <int>((<uintptr_t>cls >> 4) * <uintptr_t>2654435761 % CONSTRUCTORS)
    while constructors[place].cls != cls and constructors[place].cls != NULL:
        place = (place + 1) % CONSTRUCTORS
    return place


cdef int add_constructor(FieldTable table, object cls) except -1:
    """Have calls of the class come to ``construct`` where its fields are those of the table."""
    global constructor_count
    cdef int place
    if constructors[place_of(<PyObject *>cls)].cls != NULL:
        return 0
    if (not aqw_fields_takes_constructor(cls) or not aqw_slots_are_all(cls, len(table.fields))
            or constructor_count >= CONSTRUCTORS_MAX):
        return 0
    fields = struct_fields(cls)
    names = tuple([field.name for field in fields])
    if names != tuple([(<Field?>field).name for field in table.fields]):
        return 0
    table.names = names
    table.defaults = tuple([field.default for field in fields])
    table.factories = tuple([field.default_factory for field in fields])
    table.build = (<ClassWithCalls *>cls).tp_vectorcall
    place = place_of(<PyObject *>cls)
    Py_INCREF(cls)
    Py_INCREF(table)
    constructors[place].table = <PyObject *>table
    constructors[place].cls = <PyObject *>cls
    constructor_count += 1
    aqw_fields_take_over(cls, <vectorcallfunc>construct)
    return 0


cdef object construct(
    PyObject *cls, PyObject *const *arguments, size_t count_and_flag, PyObject *names
):
    """Build an instance: do in one go what msgspec's constructor and the hook do."""
    cdef FieldTable table = <FieldTable>constructors[place_of(cls)].table
    cdef Py_ssize_t given = PyVectorcall_NARGS(count_and_flag)
    cdef Py_ssize_t index, count = PyTuple_GET_SIZE(table.fields)
    if given > count:
        return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    instance = aqw_fields_new(cls)
    for index in range(given):
        aqw_slot_set(<PyObject *>instance, offset_of(table, index), arguments[index])
    if names != NULL:
        for index in range(PyTuple_GET_SIZE(<object>names)):
            if not set_by_name(
                    table, instance, PyTuple_GET_ITEM(<object>names, index),
                    arguments[given + index]):
                return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    if given < count and not set_defaults(table, instance, given):
        return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    check_fields(table, instance)
    return instance


cdef inline object msgspec_constructs(
    FieldTable table, PyObject *cls, PyObject *const *arguments, size_t count_and_flag,
    PyObject *names,
):
    """Leave to msgspec what cannot be placed at once: names that are not interned, and mistakes.

    An error of msgspec gets the class and its fields. It has no trace of Python code, as what a
    field's rule, a default's function or a signal's handler raises has.
    """
    try:
        return table.build(cls, arguments, count_and_flag, names)
    except TypeError as error:
        if type(error) is not TypeError or error.__traceback__.tb_next is not None:
            raise
        raise TypeError(call_text(table, str(error), PyVectorcall_NARGS(count_and_flag))) from None


cdef str call_text(FieldTable table, str mistake, Py_ssize_t given):
    """Return what msgspec says of a call, with the class and the fields that it takes.

    For a command it adds the most frequent mistake.
    """
    cdef str text = (
        f"{table.type_name}({', '.join(table.names)}): {mistake[:1].lower()}{mistake[1:]}")
    if (table.names[:1] == ("sequence",) and table.type_name.endswith("Command")
            and 0 < given < len(table.names)):
        text += (
            "; is the leading None forgotten? The first value is the sequence, None takes the next "
            f"one: {table.type_name}(None, ...)")
    return text


cdef inline Py_ssize_t offset_of(FieldTable table, Py_ssize_t index) noexcept:
    return table.quicks[index].offset


cdef bint set_by_name(FieldTable table, object instance, PyObject *name, PyObject *value) noexcept:
    """Fill the field of this name. False where no field has the name, or it was filled before."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(table.names)):
        if PyTuple_GET_ITEM(table.names, index) == name:
            if value_in(instance, offset_of(table, index)) != NULL:
                return False
            aqw_slot_set(<PyObject *>instance, offset_of(table, index), value)
            return True
    return False


cdef bint set_defaults(FieldTable table, object instance, Py_ssize_t first) except -1:
    """Fill the empty fields from one on. False where such a field has no default."""
    cdef Py_ssize_t index
    cdef PyObject *default
    for index in range(first, PyTuple_GET_SIZE(table.fields)):
        if value_in(instance, offset_of(table, index)) != NULL:
            continue
        default = PyTuple_GET_ITEM(table.defaults, index)
        if default != <PyObject *>NODEFAULT:
            aqw_slot_set(<PyObject *>instance, offset_of(table, index), default)
            continue
        factory = table.factories[index]
        if factory is NODEFAULT:
            return False
        made = factory()
        aqw_slot_set(<PyObject *>instance, offset_of(table, index), <PyObject *>made)
    return True


def complete_class(cls not None):
    """Give a complete class its constructor before its first instance is built.

    So an error for the very first call names the class, too.
    """
    add_constructor(FieldTable(cls), cls)


def has_constructor(cls not None):
    """Whether this module builds the instances of the class.

    It does from the second instance on at the latest. On free-threaded builds msgspec builds all.
    """
    return constructors[place_of(<PyObject *>cls)].cls != NULL
