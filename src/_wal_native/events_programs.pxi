# --- Programs: what each class's fields are in C --------------------------------------------------

# Steps for what the core's table does not have as a field. The last three only build values.
cdef enum:
    STEP_FRESH = AQW_FIELD_FORM_LAST + 1    # the entered object is a run, and must be a new one
    STEP_ENTER      # go on with the object in the slot, which must be of the class `about`
    STEP_RUN        # a run from the fields of run_created
    STEP_ERROR      # an attempt's detail where it is an error
    STEP_OUTPUT     # an attempt's detail where it is an output
    STEP_COUNT_MAX = 16
    PROGRAM_PLACES = 256    # a power of two


cdef struct Step:
    int form                # enum aqw_field_form, or one of the above
    int place               # among the constructor's arguments
    uint32_t limit
    size_t to               # in aqw_event
    size_t second           # in aqw_event: what the form says
    Py_ssize_t slot         # where a step needs no slot, that of the object's type
    Py_ssize_t second_slot  # of an attempt's output; the first is that of its error
    PyObject *about         # a class of identifiers, an enumeration's members, the entered class


cdef struct Program:
    PyObject *cls
    bint is_command
    uint8_t kind
    int step_count
    int value_count
    int argument_count
    Py_ssize_t sequence     # its slot
    Step steps[STEP_COUNT_MAX]      # to fill an aqw_event from an object of the class
    Step values[STEP_COUNT_MAX]     # to build an event: a value each


cdef Program *programs_by_class[PROGRAM_PLACES]
cdef Program *programs_by_kind[256]     # of the event classes
cdef list KEPT = []                     # what programs point to

# The domain objects whose encodings are nested parts.
cdef dict PARTS = {
    AQW_FIELD_SPEC: TaskSpec,
    AQW_FIELD_FILTER: EventFilter,
    AQW_FIELD_ROLE: Role,
    AQW_FIELD_CAPABILITY: Capability,
}

# The places of a registration's fields among an event's arguments, and their names.
cdef list REGISTRATION_PLACES = []


cdef inline size_t place_of(PyObject *cls) noexcept:
    return ((<uintptr_t>cls >> 4) * 2654435761u >> 8) & (PROGRAM_PLACES - 1)


cdef inline const Program *program_of(object instance) noexcept:
    """Return the program of the object's very class, or NULL where the class has none."""
    cdef PyObject *cls = <PyObject *>Py_TYPE(instance)
    cdef size_t place = place_of(cls)
    while programs_by_class[place] is not NULL and programs_by_class[place].cls != cls:
        place = (place + 1) & (PROGRAM_PLACES - 1)
    return programs_by_class[place]


cdef object annotation_of(object cls, str name):
    for owner in cls.__mro__:
        annotations = getattr(owner, "__annotations__", {})
        if name in annotations:
            return annotations[name]
    raise ImportError(f"{cls.__name__}.{name} has no annotation")


cdef object class_in(object annotation, object base):
    """Return the class that an annotation names, alone, optional or in a tuple.

    It is derived from the base. None where the annotation names no such class.
    """
    for part in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(part, type) and issubclass(part, base):
            return part
    return None


cdef str name_in(object cls, str name):
    """Return what the class calls a field of the core's table, or None.

    An object's own identifier is just ``id``.
    """
    if name in cls.__struct_fields__:
        return name
    return "id" if name.endswith("_id") and "id" in cls.__struct_fields__ else None


cdef str holder_of(object cls, int form, str name):
    """Return the field whose value holds a field of the core's table.

    None where the class itself has the field.
    """
    if form == AQW_FIELD_ZERO or form == AQW_FIELD_REGISTRATION:
        return None
    if form not in PARTS and name in cls.__struct_fields__:
        return None
    for holder in cls.__struct_fields__[1:]:
        held = annotation_of(cls, holder)
        if form in PARTS:
            if held is PARTS[form]:
                return holder
        elif hasattr(held, "__struct_fields__") and name_in(held, name) is not None:
            return holder
    raise ImportError(f"{cls.__name__} has no field {name}")


cdef object subject_of(int form, uint32_t limit, object annotation):
    """Return what a form has to know: a class of identifiers, or an enumeration's members.

    The members are in the order of their codes. None for the other forms.
    """
    cdef object found = None
    if form == AQW_FIELD_ID or form == AQW_FIELD_MAYBE_ID or form == AQW_FIELD_IDS:
        found = class_in(annotation, Identifier)
    elif form == AQW_FIELD_CODE:
        found = class_in(annotation, Enum)
    else:
        return None
    if found is None:
        raise ImportError(f"{annotation} names neither identifiers nor an enumeration")
    if form == AQW_FIELD_CODE:
        members = tuple(found)
        if len(members) != limit + 1:
            raise ImportError(f"{annotation} and the core do not have the same members")
        return members
    return found


cdef Step *new_step(Program *program, int form) except NULL:
    cdef Step *step = &program.steps[program.step_count]
    if program.step_count == STEP_COUNT_MAX:
        raise ImportError(f"{(<object>program.cls).__name__} has too many fields")
    program.step_count += 1
    step.form = form
    step.slot = AQW_PLACE_OF_TYPE
    return step


cdef int add_value(Program *program, const Step *step, int form, str name) except -1:
    """Add a step that makes the constructor's argument of this name."""
    cdef Step *value = &program.values[program.value_count]
    if program.is_command:
        return 0
    if program.value_count == STEP_COUNT_MAX:
        raise ImportError(f"{(<object>program.cls).__name__} has too many fields")
    program.value_count += 1
    value[0] = step[0]
    value.form = form
    value.place = <int>(<object>program.cls).__struct_fields__.index(name)
    return 0


cdef str name_of(const aqw_event_field *field):
    """Return what Python calls a field of the core's table. A detail is an error or an output."""
    return "error" if field.form == AQW_FIELD_DETAIL else field.name.decode()


cdef Step *add_field(
    Program *program, object cls, const aqw_event_layout *layout, uint32_t index
) except NULL:
    """Add the step for a field that objects of the class have."""
    cdef const aqw_event_field *field = &layout.fields[index]
    cdef Step *step = new_step(program, field.form)
    step.to = field.offset
    step.second = field.second
    step.limit = field.limit
    if field.form == AQW_FIELD_SPEC or field.form == AQW_FIELD_REGISTRATION:
        if layout.fields[0].form != AQW_FIELD_ID:
            raise ImportError(f"{cls.__name__} has a part without an identifier before it")
        step.second = layout.fields[0].offset       # whose specification or registration it is
    if field.form >= AQW_FIELD_ZERO:
        return step
    name = name_in(cls, name_of(field))
    step.slot = slot_of(cls, name)
    if field.form == AQW_FIELD_DETAIL:
        step.second_slot = slot_of(cls, "output")
    about = subject_of(field.form, field.limit, annotation_of(cls, name))
    KEPT.append(about)
    step.about = <PyObject *>about
    return step


cdef int add_own_field(Program *program, const aqw_event_layout *layout, uint32_t index) except -1:
    cdef object cls = <object>program.cls
    cdef Step *step = add_field(program, cls, layout, index)
    if step.form == AQW_FIELD_DETAIL:
        add_value(program, step, STEP_ERROR, "error")
        add_value(program, step, STEP_OUTPUT, "output")
    elif step.form == AQW_FIELD_REGISTRATION:
        names = cls.__struct_fields__
        REGISTRATION_PLACES.extend([(names.index(name), name) for name in REGISTRATION_FIELDS])
        add_value(program, step, step.form, REGISTRATION_FIELDS[0])
    elif step.form < AQW_FIELD_ZERO:
        add_value(program, step, step.form, name_of(&layout.fields[index]))
    return 0


cdef int add_held_fields(
    Program *program, const aqw_event_layout *layout, str holder, list indices
) except -1:
    """Add the steps for the fields that are in the value of one of the class's own."""
    cdef object held = annotation_of(<object>program.cls, holder)
    cdef Step *step = new_step(program, STEP_ENTER)
    step.slot = slot_of(<object>program.cls, holder)
    step.about = <PyObject *>held
    for index in indices:
        step = add_field(program, held, layout, index)
    add_value(program, step, STEP_RUN if held is RunInstance else step.form, holder)
    if held is RunInstance:
        new_step(program, STEP_FRESH)
    return 0


cdef int add_fields(Program *program, const aqw_event_layout *layout) except -1:
    cdef dict held = {}     # by the class's own field, those of the table that are in its value
    cdef uint32_t index
    cdef const aqw_event_field *field
    for index in range(layout.field_count):
        field = &layout.fields[index]
        holder = holder_of(<object>program.cls, field.form, name_of(field))
        if holder is None:
            add_own_field(program, layout, index)
        else:
            held.setdefault(holder, []).append(index)
    for holder in held:
        add_held_fields(program, layout, holder, held[holder])
    return 0


cdef int add_program(object cls, int kind, bint is_command) except -1:
    cdef const aqw_event_layout *layout = aqw_event_layout_of(<uint8_t>kind)
    cdef Program *program = <Program *>calloc(1, sizeof(Program))
    cdef size_t place = place_of(<PyObject *>cls)
    if program is NULL:
        raise MemoryError()
    if layout is NULL:
        raise ImportError(f"the core does not know the kind {kind}, which {cls.__name__} becomes")
    KEPT.append(cls)
    program.cls = <PyObject *>cls
    program.is_command = is_command
    program.kind = <uint8_t>kind
    program.argument_count = <int>len(cls.__struct_fields__)
    program.sequence = slot_of(cls, "sequence")
    add_fields(program, layout)
    while programs_by_class[place] is not NULL:
        place = (place + 1) & (PROGRAM_PLACES - 1)
    programs_by_class[place] = program
    if not is_command:
        check_values(program)
        programs_by_kind[kind] = program
    return 0


cdef int check_values(const Program *program) except -1:
    """Raise ImportError unless each argument but the sequence comes from a step."""
    cdef int index
    cdef set places = set()
    for index in range(program.value_count):
        places.add(program.values[index].place)
        if program.values[index].form == AQW_FIELD_REGISTRATION:
            places.update([place for place, _ in REGISTRATION_PLACES])
    if places != set(range(1, program.argument_count)):
        name = (<object>program.cls).__name__
        raise ImportError(f"{name} and the core do not have the same fields")
    return 0


cdef int add_programs() except -1:
    cdef int kind
    for cls in Event.__subclasses__():
        add_program(cls, cls.kind, False)
    for cls in COMMANDS.values():
        if cls.takes_short_way:
            add_program(cls, cls.becomes.kind, True)
    for kind in range(1, AQW_EVENT_KIND_LAST + 1):
        if programs_by_kind[kind] is NULL and aqw_event_layout_of(<uint8_t>kind) is not NULL:
            raise ImportError(f"no class of events has the kind {kind}")
    return 0
