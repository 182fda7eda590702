"""Every status of the header has a name and, where it is a failure, an exception."""

from __future__ import annotations

from _wal_native import status
from actionqueue.errors import CorruptLogError
from tests.support.core.door import ffi, lib

NO_FAILURE = {lib.AQW_OK, lib.AQW_END, lib.AQW_NEEDS_ROOM}
CODES = {
    name.removeprefix("AQW_").lower(): code
    for code, name in ffi.typeof("aqw_status").elements.items()
    if not name.endswith("_LAST")
}


def test_names_are_those_of_the_header() -> None:
    for name, code in CODES.items():
        assert ffi.string(lib.aqw_status_name(code)).decode() == name
    assert ffi.string(lib.aqw_status_name(12345)) == b"unknown"


def test_each_failure_has_its_exception() -> None:
    assert set(status.EXCEPTIONS) == set(CODES.values()) - NO_FAILURE


def test_the_last_refusal_is_the_last() -> None:
    assert max(CODES.values()) == lib.AQW_REFUSED_LAST


def test_each_reason_for_damage_is_told_in_plain_words() -> None:
    for code in ffi.typeof("aqw_reason").elements:
        if code != lib.AQW_REASON_NONE:
            assert CorruptLogError(
                "/queue", None, None, ffi.string(lib.aqw_reason_name(code)).decode()
            ).meaning, code
