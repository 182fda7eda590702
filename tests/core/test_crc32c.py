"""CRC-32C against published values and a bitwise reference."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core import log_model
from tests.support.core.door import ffi, lib

CPUINFO = Path("/proc/cpuinfo")
START = lib.AQW_CRC32C_START
UPDATES: dict[str, Callable[[int, Any, int], int]] = {
    "chosen": lib.aqw_crc32c_update,
    "portable": lib.aqw_crc32c_update_portable,
}
PUBLISHED = [
    (b"", 0),
    (b"a", 0xC1D04330),
    (b"123456789", 0xE3069283),
    # RFC 3720, B.4
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000"
        ),
        0xD9963A56,
    ),
]


@pytest.fixture(params=UPDATES)
def update(request: pytest.FixtureRequest) -> Callable[[int, Any, int], int]:
    return UPDATES[request.param]


def bitwise(running: int, data: bytes) -> int:
    """The definition: one bit after the other."""
    for byte in data:
        for bit in range(8):
            carry = (running ^ byte >> bit) & 1
            running >>= 1
            if carry:
                running ^= 0x82F63B78
    return running


@pytest.mark.parametrize(("data", "expected"), PUBLISHED)
def test_published_values(
    update: Callable[[int, Any, int], int], data: bytes, expected: int
) -> None:
    assert lib.aqw_crc32c_finish(update(START, data, len(data))) == expected
    assert lib.aqw_crc32c(data, len(data)) == expected
    assert log_model.crc(data) == expected


def test_every_length_at_every_alignment(update: Callable[[int, Any, int], int]) -> None:
    source = bytes((37 * i + i // 256) % 256 for i in range(300))
    expected = [START]
    for byte in source:
        expected.append(bitwise(expected[-1], bytes([byte])))
    memory = ffi.new("uint8_t[]", 352)
    base = memory + (-int(ffi.cast("uintptr_t", memory)) % 16)
    for alignment in range(16):
        start = base + alignment
        ffi.buffer(start, 300)[:] = source
        assert [update(START, start, size) for size in range(301)] == expected


@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_pieces_give_the_checksum_of_the_whole(data: bytes, cuts: list[int]) -> None:
    for update in UPDATES.values():
        running, at = START, 0
        for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
            running = update(running, data[at:cut], cut - at)
            at = cut
        assert running == bitwise(START, data)


@given(running=st.integers(0, 2**32 - 1), data=st.binary(max_size=100))
def test_any_running_value(running: int, data: bytes) -> None:
    expected = bitwise(running, data)
    assert lib.aqw_crc32c_update(running, data, len(data)) == expected
    assert lib.aqw_crc32c_update_portable(running, data, len(data)) == expected


@pytest.mark.skipif(
    not CPUINFO.exists() or platform.machine() != "x86_64",
    reason="asks Linux about an x86 processor",
)
def test_the_instruction_is_used_where_there_is_one() -> None:
    assert lib.aqw_crc32c_is_hardware() == int("sse4_2" in CPUINFO.read_text())
