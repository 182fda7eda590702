# --- The slow path: convert or refuse -------------------------------------------------------------

cdef extern from *:
    object PyUnicode_FromObject(object text)


cdef object convert(str type_name, Field field, object value):
    """Return the value in its final form, or raise an error that says why the field refuses it."""
    if value is None or field.kind == IDENTIFIER:
        return refuse(
            type_name, field, value, isinstance(value, Identifier) and type(value) is field.cls)
    if field.kind == UNSIGNED or field.kind == SIGNED:
        if isinstance(value, int) and not isinstance(value, bool):
            # The plain int, where the value is an instance of a subclass.
            return checked(type_name, field, PyNumber_Index(value))
        return refuse(type_name, field, value, False)
    if field.kind == TEXT:
        if isinstance(value, str):
            return checked(type_name, field, PyUnicode_FromObject(value))
        return refuse(type_name, field, value, False)
    if field.kind == BYTES:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return checked(type_name, field, bytes(memoryview(value)))
        return refuse(type_name, field, value, False)
    if field.kind == CHOICE:
        if not PyUnicode_CheckExact(value):
            return refuse(type_name, field, value, False)
        member = field.members.get(value)
        return refuse(type_name, field, value, True) if member is None else member
    if field.kind == ITEMS:
        if isinstance(value, (list, tuple)):
            return convert_items(type_name, field, tuple(value))
        return refuse(type_name, field, value, False)
    if field.conversion is not None and isinstance(value, field.conversion.accepted):
        return field.conversion.function(value)
    return refuse(type_name, field, value, False)


cdef object convert_items(str type_name, Field field, tuple entries):
    if not field.size_minimum <= len(entries) <= field.size_maximum:
        return refuse(type_name, field, entries, True)
    return tuple([
        entry if accepts(field.item, <PyObject *>entry) else convert(type_name, field.item, entry)
        for entry in entries])


cdef object checked(str type_name, Field field, object value):
    """Return the converted value where the field takes it; refuse it otherwise."""
    if accepts(field, <PyObject *>value):
        return value
    return refuse(type_name, field, value, True)


cdef object refuse(str type_name, Field field, object value, bint type_fits):
    """Raise an error that says why the field refuses the value."""
    error = InvalidFieldError if type_fits else InvalidFieldTypeError
    raise error(type_name, field.name, value, reason_for(field, value, type_fits))


cdef str reason_for(Field field, object value, bint type_fits):
    """Return what the field takes, None included."""
    return what_fits(field, value, type_fits) + (
        ", or None" if field.optional and not type_fits else "")


cdef str what_fits(Field field, object value, bint type_fits):
    if field.kind == SIGNED:
        return f"must be an int from {field.signed_minimum} to {field.signed_maximum}"
    if field.kind == UNSIGNED:
        return f"must be an int from {field.unsigned_minimum} to {field.unsigned_maximum}"
    if field.kind == TEXT:
        if type_fits and utf8_size(<PyObject *>value) < 0:
            return "must be text that UTF-8 can encode, without lone surrogates"
        return f"must be a str of {field.size_minimum} to {field.size_maximum} bytes in UTF-8"
    if field.kind == BYTES:
        return f"must be {field.size_minimum} to {field.size_maximum} bytes"
    if field.kind == IDENTIFIER:
        return "must not be nil" if type_fits else f"must be a {field.cls.__name__}"
    if field.kind == CHOICE:
        return f"must be one of {', '.join(field.members)}"
    if field.kind == ITEMS:
        return f"must be a tuple or list of {field.size_minimum} to {field.size_maximum} entries"
    others = ("" if field.conversion is None
              else "".join(f" or {cls.__name__}" for cls in field.conversion.accepted))
    return f"must be a {field.cls.__name__}{others}"
