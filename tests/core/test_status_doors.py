"""Every status of the core comes out of every door as its typed error, also where nothing else is
known of the failure.
"""

from __future__ import annotations

import pickle

import pytest

from _wal_native.fault import raise_through
from actionqueue.errors import ActionQueueError
from tests.support.core.door import ffi, lib

NO_FAILURE = {lib.AQW_OK, lib.AQW_END, lib.AQW_NEEDS_ROOM}
FAILURES = sorted(code for code in ffi.typeof("aqw_status").elements if code not in NO_FAILURE)
DOORS = ("status", "open", "snapshot", "log", "close")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "status", FAILURES, ids=lambda code: ffi.string(lib.aqw_status_name(code)).decode()
)
def test_every_status_is_a_typed_error(door: str, status: int) -> None:
    with pytest.raises((ActionQueueError, MemoryError, ValueError)) as raised:
        raise_through(door, status)
    error = raised.value
    assert str(error) or isinstance(error, MemoryError)
    assert repr(error)
    if isinstance(error, ActionQueueError):
        assert pickle.loads(pickle.dumps(error)) == error


@pytest.mark.parametrize("first", FAILURES)
def test_a_poisoned_log_tells_of_every_first_failure(first: int) -> None:
    for door in ("log", "close"):
        with pytest.raises(ActionQueueError) as raised:
            raise_through(door, lib.AQW_POISONED, lib.AQW_POISONED, first)
        assert str(raised.value)
