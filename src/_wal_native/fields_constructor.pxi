# --- The constructor -------------------------------------------------------------------------------------------------

cdef extern from *:
    """
    /* Whether calls of the class go through a function of its own, which may then be another one.
     * On free-threaded builds another thread may be calling it. */
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
    /* An instance with empty slots. */
    static inline PyObject *aqw_fields_new(PyObject *cls) {
        PyObject *made = PyObject_Malloc((size_t)((PyTypeObject *)cls)->tp_basicsize);
        if (made == NULL) return PyErr_NoMemory();
        for (PyObject **slot = (PyObject **)(made + 1); (char *)slot < (char *)made + ((PyTypeObject *)cls)->tp_basicsize; slot++) *slot = NULL;
        return PyObject_Init(made, (PyTypeObject *)cls);
    }
    /* Only calls are taken over. How instances end stays msgspec's: it calls the functions of base classes for those of subclasses, which
     * may be tracked by the collector, have weak references or a dictionary, and so another allocator. */
    static void aqw_fields_take_over(PyObject *cls, vectorcallfunc construct) { ((PyTypeObject *)cls)->tp_vectorcall = construct; }
    """
    Py_ssize_t PyVectorcall_NARGS(size_t count) noexcept
    bint aqw_fields_takes_constructor(object cls) noexcept
    object aqw_fields_new(PyObject *cls)
    void aqw_fields_take_over(object cls, vectorcallfunc construct) noexcept

cdef enum:
    CONSTRUCTORS = 1024
    CONSTRUCTORS_MAX = 512      # more classes than that are left to msgspec

cdef struct Constructor:
    PyObject *cls               # both are kept for good
    PyObject *table

cdef Constructor constructors[CONSTRUCTORS]     # by the class's address; the next free place where that is taken
cdef int constructor_count = 0


cdef inline int place_of(PyObject *cls) noexcept:
    """Where a class's entry is, or would be."""
    cdef int place = <int>((<uintptr_t>cls >> 4) * <uintptr_t>2654435761 % CONSTRUCTORS)
    while constructors[place].cls != cls and constructors[place].cls != NULL:
        place = (place + 1) % CONSTRUCTORS
    return place


cdef int add_constructor(FieldTable table, object cls) except -1:
    """Have calls of the class come to ``construct``, if its fields are those of the table."""
    global constructor_count
    cdef int place
    if constructors[place_of(<PyObject *>cls)].cls != NULL:
        return 0
    if not aqw_fields_takes_constructor(cls) or not aqw_slots_are_all(cls, len(table.fields)) or constructor_count >= CONSTRUCTORS_MAX:
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


cdef object construct(PyObject *cls, PyObject *const *arguments, size_t count_and_flag, PyObject *names):
    """Build an instance: what msgspec's constructor and the hook do, in one go."""
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
            if not set_by_name(table, instance, PyTuple_GET_ITEM(<object>names, index), arguments[given + index]):
                return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    if given < count and not set_defaults(table, instance, given):
        return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    check_fields(table, instance)
    return instance


cdef inline object msgspec_constructs(FieldTable table, PyObject *cls, PyObject *const *arguments, size_t count_and_flag, PyObject *names):
    """What cannot be placed at once: names that are not interned, and mistakes, which msgspec tells of."""
    try:
        return table.build(cls, arguments, count_and_flag, names)
    except TypeError as error:
        if type(error) is not TypeError:
            raise
        raise TypeError(call_text(table, str(error), PyVectorcall_NARGS(count_and_flag))) from None


cdef str call_text(FieldTable table, str mistake, Py_ssize_t given):
    """What msgspec says of a call, with the class, what it takes, and what is mostly wrong with the call of a command."""
    cdef str text = f"{table.type_name}({', '.join(table.names)}): {mistake[:1].lower()}{mistake[1:]}"
    if table.names[:1] == ("sequence",) and table.type_name.endswith("Command") and 0 < given < len(table.names):
        text += f"; is the leading None forgotten? The first value is the sequence, None takes the next one: {table.type_name}(None, ...)"
    return text


cdef inline Py_ssize_t offset_of(FieldTable table, Py_ssize_t index) noexcept:
    return table.quicks[index].offset


cdef bint set_by_name(FieldTable table, object instance, PyObject *name, PyObject *value) noexcept:
    """Fill the field of this name, unless there is none or it was filled before."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(table.names)):
        if PyTuple_GET_ITEM(table.names, index) == name:
            if value_in(instance, offset_of(table, index)) != NULL:
                return False
            aqw_slot_set(<PyObject *>instance, offset_of(table, index), value)
            return True
    return False


cdef bint set_defaults(FieldTable table, object instance, Py_ssize_t first) except -1:
    """Fill what is empty, from a field on, unless a field has no default."""
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
    """Have calls of a complete class come here from the first one on, so that also the first mistake is told with the class's name."""
    add_constructor(FieldTable(cls), cls)


def has_constructor(cls not None):
    """Whether instances of the class are built here. They are from the second one on at the latest, but on free-threaded builds."""
    return constructors[place_of(<PyObject *>cls)].cls != NULL
