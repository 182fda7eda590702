"""The slots of structs, read and filled by offset, because attribute look-ups would cost more.

These functions are inline: a module that cimports them has copies of its own, and imports nothing.
A class's own descriptors tell where its slots are. The caller checks an object's type before it
reads or fills a slot.
"""

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include <structmember.h>   /* PyMemberDef, before Python 3.12 */
    /* Where a slot's descriptor finds the slot in an object; -1 for any other kind of attribute. */
    static inline Py_ssize_t aqw_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }
    /* Puts a value into a slot; the slot takes a reference of its own. */
    static inline void aqw_slot_set(PyObject *owner, Py_ssize_t offset, PyObject *value) {
        PyObject **slot = (PyObject **)((char *)owner + offset);
        PyObject *old = *slot;
        *slot = Py_NewRef(value);
        Py_XDECREF(old);
    }
    /* Whether instances of the class are nothing but slots, which the collector leaves alone. */
    static inline int aqw_slots_are_all(PyObject *cls, Py_ssize_t count) {
        PyTypeObject *type = (PyTypeObject *)cls;
        return !PyType_IS_GC(type) && type->tp_weaklistoffset == 0 && type->tp_dictoffset == 0 &&
               type->tp_itemsize == 0 &&
               type->tp_basicsize ==
                   (Py_ssize_t)(sizeof(PyObject) + (size_t)count * sizeof(PyObject *));
    }
    """
    Py_ssize_t aqw_slot_offset(object descriptor) noexcept
    void aqw_slot_set(PyObject *owner, Py_ssize_t offset, PyObject *value) noexcept
    bint aqw_slots_are_all(object cls, Py_ssize_t count) noexcept


cdef inline Py_ssize_t slot_of(object cls, str name) except -1:
    """Return where a field lies in an instance of the class, in bytes from its beginning."""
    cdef Py_ssize_t offset = aqw_slot_offset(getattr(cls, name))
    if offset < 0:
        raise TypeError(
            f"{cls.__name__}.{name} has no slot; this version of msgspec is not supported")
    return offset


cdef inline PyObject *value_in(object owner, Py_ssize_t offset) noexcept:
    """What is in a slot: a borrowed reference, or NULL."""
    return (<PyObject **>((<char *><PyObject *>owner) + offset))[0]
