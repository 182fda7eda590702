"""The ring's file: its bytes, its two slots, wrapping around, and what loading refuses."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core import log_model as model
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import CoreError, check
from tests.support.core.memory_io import Disk, Fault, MemoryIo

UUID = bytes(range(200, 216))
SIZE = 65536


class Ring:
    """An aqw_ring in /q of a disk of its own."""

    def __init__(
        self,
        *,
        maps: bool = True,
        durable: int = 5,
        size: int = SIZE,
        fault: Fault | None = None,
        old: bytes | None = None,
    ):
        self.disk = Disk({} if old is None else {"/q/ring": old}, ["/q"])
        self.io = MemoryIo(self.disk, maps=maps, fault=fault)
        self.ring, self.fault = ffi.new("aqw_ring *"), ffi.new("aqw_fault *")
        check(
            lib.aqw_ring_create(self.io.table, b"/q", UUID, size, durable, self.ring, self.fault),
            self.fault,
        )

    def set_durable(self, sequence: int) -> None:
        lib.aqw_ring_set_durable(self.io.table, self.ring, sequence)

    def put(self, position: int, data: bytes) -> None:
        lib.aqw_ring_put(self.ring, position, data, len(data))

    def get(self, position: int, size: int) -> bytes:
        to = ffi.new("uint8_t[]", size + 1)
        lib.aqw_ring_get(self.ring, position, to, size)
        return bytes(ffi.buffer(to, size))

    def close(self) -> None:
        lib.aqw_ring_close(self.io.table, self.ring)
        assert not self.io.handles
        assert not self.io.mappings

    @property
    def history(self) -> bytes:
        return bytes(ffi.buffer(self.ring.history))

    @property
    def bytes(self) -> bytes:
        return self.disk.bytes_of("/q/ring")


def load(data: bytes | None, io: MemoryIo | None = None) -> model.Ring | None:
    io = io or MemoryIo(Disk({} if data is None else {"/q/ring": data}, ["/q"]))
    image, fault = ffi.new("aqw_ring_image *"), ffi.new("aqw_fault *")
    status = lib.aqw_ring_load(io.table, b"/q", image, fault)
    assert not io.handles
    check(status, fault)
    if not image.is_present:
        return None
    data = bytes(ffi.buffer(image.data, image.size))
    loaded = model.Ring(
        bytes(image.log_uuid), image.durable_sequence, data, bytes(ffi.buffer(image.history))
    )
    lib.aqw_ring_image_free(image)
    return loaded


def refusal(data: bytes) -> str:
    with pytest.raises(CoreError) as caught:
        load(data)
    return caught.value.fault.reason if caught.value.status == "corrupt" else caught.value.status


@pytest.mark.parametrize("maps", [True, False])
def test_created_file_is_the_models(maps: bool) -> None:
    ring = Ring(maps=maps)
    expected = model.ring_bytes(UUID, bytes(SIZE), (5, None), ring.history)
    assert ring.history != bytes(16)
    assert ring.bytes == expected
    assert list(ring.disk.stable_files) == ["/q/ring"]
    assert ring.disk.stable_files["/q/ring"].stable == expected
    assert bool(ring.ring.is_mapped) is maps
    ring.close()
    assert (
        load(expected)
        == model.parse_ring(expected)
        == model.Ring(UUID, 5, bytes(SIZE), ring.history)
    )


@pytest.mark.parametrize("maps", [True, False])
def test_the_slots_take_turns(maps: bool) -> None:
    ring = Ring(maps=maps)
    slots: list[int | None] = [5, None]
    for turn, sequence in enumerate([6, 7, 2**40, 2**64 - 1], 1):
        ring.set_durable(sequence)
        slots[turn % 2] = sequence
        assert ring.bytes == model.ring_bytes(UUID, bytes(SIZE), (slots[0], slots[1]), ring.history)
        loaded = load(ring.bytes)
        assert loaded is not None
        assert loaded.durable_sequence == sequence
    ring.close()


def test_the_greatest_valid_slot_counts() -> None:
    for slots, expected in [
        ((5, 9), 9),
        ((9, 5), 9),
        ((0, 0), 0),
        ((None, 3), 3),
        ((None, None), 0),
    ]:
        loaded = load(model.ring_bytes(UUID, bytes(SIZE), slots))
        assert loaded is not None
        assert loaded.durable_sequence == expected


def test_a_damaged_slot_gives_way_to_the_other() -> None:
    good = model.ring_bytes(UUID, bytes(SIZE), (8, 9))
    for at, left in [(4096, 9), (8192, 8)]:
        for bit in range(128):
            damaged = bytearray(good)
            damaged[at + bit // 8] ^= 1 << bit % 8
            loaded = load(bytes(damaged))
            assert loaded is not None
            assert loaded.durable_sequence == left


def test_another_logs_slot_does_not_count() -> None:
    ring = bytearray(model.ring_bytes(UUID, bytes(SIZE), (8, None)))
    ring[8192:8208] = model.slot_bytes(bytes(16), 9)
    loaded = load(bytes(ring))
    assert loaded is not None
    assert loaded.durable_sequence == 8


def test_a_missing_ring_is_no_failure() -> None:
    assert load(None) is None


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    good = model.ring_bytes(UUID, bytes(SIZE))
    for bit in range(64 * 8):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(damaged)) == "header_invalid"


def test_a_newer_format_is_told_from_damage() -> None:
    newer = bytearray(model.ring_bytes(UUID, bytes(SIZE)))
    newer[8] = 2
    newer[60:64] = model.crc(bytes(newer[:60])).to_bytes(4, "little")
    assert refusal(bytes(newer)) == "unsupported_format"


def test_file_sizes() -> None:
    good = model.ring_bytes(UUID, bytes(SIZE))
    for data in (b"", good[:65535], good[:65536], good[:-1], good + b"\0", good + bytes(65536)):
        assert refusal(data) == "file_size"


@pytest.mark.parametrize("size", [0, 4, 65535, 65537, 65536 + 4096, 2**28 + 65536, 2**63])
def test_refused_sizes_of_the_data(size: int) -> None:
    header = (
        model.RING_MAGIC
        + (1).to_bytes(4, "little")
        + (65536).to_bytes(4, "little")
        + UUID
        + size.to_bytes(8, "little")
        + bytes(20)
    )
    data = bytearray(65536 + (size if size < 2**20 else 0))
    data[:64] = header + model.crc(header).to_bytes(4, "little")
    assert refusal(bytes(data)) == "file_size"


@pytest.mark.parametrize("size", [65536, 131072, 2**20])
def test_accepted_sizes_of_the_data(size: int) -> None:
    ring = Ring(size=size)
    loaded = load(ring.bytes)
    assert loaded is not None
    assert len(loaded.data) == size
    ring.close()


@given(st.integers(0, 2**40), st.binary(max_size=300), st.integers(-300, 3))
def test_bytes_wrap_around(turns: int, data: bytes, shift: int) -> None:
    ring = Ring()
    position = (turns + 1) * SIZE + shift
    ring.put(position, data)
    assert ring.get(position, len(data)) == data
    expected = bytearray(SIZE)
    for offset, byte in enumerate(data):
        expected[(position + offset) % SIZE] = byte
    assert ring.bytes[65536:] == expected
    ring.close()


def test_all_of_the_ring_at_once() -> None:
    ring, data = Ring(), bytes(i % 251 for i in range(SIZE))
    for position in (0, 1, SIZE - 1, SIZE, 10 * SIZE + 4096):
        ring.put(position, data)
        assert ring.get(position, SIZE) == data
    ring.close()


def calls_of_creation() -> int:
    ring = Ring(old=b"old")
    ring.close()
    return len([call for call in ring.io.calls if call.operation not in ("unmap", "close")])


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failed_creation_keeps_the_old_ring(error: int) -> None:
    for index in range(calls_of_creation()):
        disk = Disk({"/q/ring": b"old", "/q/ring.tmp": b"left over"}, ["/q"])
        io = MemoryIo(disk, fault=Fault(index, error))
        ring, fault = ffi.new("aqw_ring *"), ffi.new("aqw_fault *")
        status = lib.aqw_ring_create(io.table, b"/q", UUID, SIZE, 5, ring, fault)
        failed = io.failed[0].operation
        if failed == "map":  # then the ring is private memory
            assert status == lib.AQW_OK
            assert not ring.is_mapped
            lib.aqw_ring_close(io.table, ring)
        else:
            assert status == lib.AQW_IO_ERROR
            assert fault.system_error == error
            assert disk.bytes_of("/q/ring") == (
                model.ring_bytes(UUID, bytes(SIZE), (5, None), bytes(ffi.buffer(ring.history)))
                if failed == "sync_directory"
                else b"old"
            )
        assert not io.handles
        assert not io.mappings
        assert not io.mistakes


def test_a_failed_read_is_not_a_short_file() -> None:
    data = model.ring_bytes(UUID, bytes(SIZE))
    for index in range(7):
        io = MemoryIo(Disk({"/q/ring": data}, ["/q"]), fault=Fault(index, errno.EIO))
        with pytest.raises(CoreError) as caught:
            load(data, io)
        assert caught.value.status == "io_error"
        assert caught.value.fault.system_error == errno.EIO


def test_what_is_no_file_is_an_error() -> None:
    disk = Disk(directories=["/q/ring"])
    with pytest.raises(CoreError) as caught:
        load(None, MemoryIo(disk))
    assert caught.value.status == "io_error"


def test_a_copy_is_told_from_the_file_itself() -> None:
    """By what the system keeps for a file and for no copy of it; the history goes on in the file
    itself only.
    """
    disk = Disk({}, ["/q"])
    io = MemoryIo(disk)
    ring, image, fault = ffi.new("aqw_ring *"), ffi.new("aqw_ring_image *"), ffi.new("aqw_fault *")
    check(lib.aqw_ring_prepare(io.table, b"/q", SIZE, ring, fault), fault)
    disk.files["/q/ring.tmp"].identity = 17
    check(lib.aqw_ring_publish(io.table, b"/q", UUID, 5, ring, fault), fault)
    lib.aqw_ring_close(io.table, ring)
    for identity, is_copy in ((17, 0), (18, 1), (0, 1)):
        disk.files["/q/ring"].identity = identity
        check(lib.aqw_ring_look(io.table, b"/q", image, fault), fault)
        assert (image.is_present, image.is_copy) == (1, is_copy)
        assert bytes(ffi.buffer(image.history)) == bytes(ffi.buffer(ring.history))
