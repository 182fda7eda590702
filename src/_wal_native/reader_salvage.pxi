# --- Salvage: what can still be read --------------------------------------------------------------

cdef class _Visitor:
    """The function that a salvage calls for each record, and the error that it raised."""

    cdef object visit
    cdef object error


cdef aqw_status visit_record(
    void *to, const aqw_record *record, aqw_fault *fault
) noexcept with gil:
    cdef _Visitor visitor = <_Visitor>to
    try:
        visitor.visit(fields_of(record))
    except BaseException as error:  # the call of the salvage raises it again
        visitor.error = error
        return aqw_fault_set(fault, AQW_STOPPED, NULL)
    return AQW_OK


def salvage(str directory not None, str moved, object visit not None):
    """Call `visit` with a tuple like LogReader's for every event whose record verifies.

    The calls come in the order of the records' places, whatever is damaged around them. `moved` is
    None for the log as it is. For the files that one repair has moved away it is "repair-<id>-",
    with which their names begin. Raises the OpenError family, and what `visit` raises.
    """
    cdef aqw_fault fault
    cdef aqw_status status
    cdef _Visitor visitor = _Visitor()
    cdef void *to = <void *>visitor
    cdef bytes path = os.fsencode(directory)
    cdef bytes prefix = b"" if moved is None else os.fsencode(moved)
    cdef const char *c_path = path
    cdef const char *c_prefix = NULL
    if moved is not None:
        c_prefix = prefix
    visitor.visit = visit
    cdef list raised = []
    cdef Progress progress = Progress()
    watch_for_signals(progress, raised)
    with nogil:
        status = aqw_salvage_read(
            aqw_io_system(), c_path, c_prefix, visit_record, to, progress.progress, &fault)
    end_the_watch(progress, raised)
    if visitor.error is not None:
        raise visitor.error
    if status != AQW_OK:
        raise_open_fault(&fault)
