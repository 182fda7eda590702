"""The engine room: a C core and thin Cython doors onto it. Private; use :mod:`actionqueue`.

The doors raise the exceptions of :mod:`actionqueue.errors`, so that package is imported first.
"""

import actionqueue  # see above; it imports the doors itself


def _imports_of_the_extensions() -> None:
    """Name what the extensions import, for programs that freeze others: they read Python code only. Nothing calls this."""
    # What the doors import, each other included.
    import datetime  # noqa: ICN001 -- as the extensions do
    import decimal
    import enum
    import errno
    import operator
    import socket
    import threading
    import types
    import typing
    import uuid

    import msgspec
    import msgspec.structs

    import _wal_native.arrays
    import _wal_native.buffers
    import _wal_native.codec
    import _wal_native.columns
    import _wal_native.fault
    import _wal_native.fields
    import _wal_native.ids
    import _wal_native.lane
    import _wal_native.log
    import _wal_native.outcome
    import _wal_native.progress
    import _wal_native.reader
    import _wal_native.rules
    import _wal_native.snapshot
    import _wal_native.status
    import _wal_native.table
    import _wal_native.turn
    import actionqueue.model.base
    import actionqueue.weak_list
