"""The files of small logs in every state, and what core and model make of any files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.core import log_model as model
from tests.support.core.crash_images import Session, numbered
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, Seen, read_stream
from tests.support.core.memory_io import Disk, MemoryIo, home

Image = dict[str, bytes]
FIRST = "wal/00000000000000000001-00000000000000000001.log"
COMPARED = (
    "is_clean",
    "durable_sequence",
    "last_sequence",
    "end",
    "durable_end",
    "durable_last_sequence",
    "dropped_bytes",
    "ring_events",
    "ring_has_dropped",
)


def disk_of(image: Image) -> Disk:
    return Disk({f"{DIRECTORY}/{name}": data for name, data in image.items()}, [f"{DIRECTORY}/wal"])


def session(**options: Any) -> Session:
    made = Session(home(), **options)
    made.open()
    return made


def image_of(made: Session) -> Image:
    image = made.disk.image(DIRECTORY)
    made.kill()
    return image


def immediate_log() -> Image:
    """Return a killed log in which every event was synced: 1 | 2 3 4 | 5 6."""
    made = session()
    made.commit(numbered(1, 1))
    made.commit(numbered(2, 1), numbered(3, 2), numbered(4, 3))
    made.commit(numbered(5, 4))
    made.commit(numbered(6, 5))
    return image_of(made)


def deferred_log() -> Image:
    """Return a killed log in which nothing was synced and everything is in the segment: 1 | 2 3 |
    4.
    """
    made = session(maps=False)
    made.append(numbered(1, 1))
    made.append(numbered(2, 1), numbered(3, 2))
    made.append(numbered(4, 3))
    return image_of(made)


def ring_log() -> Image:
    """Return a killed log with 1 durable, and 2 | 3 4 | 5 in the ring only."""
    made = session()
    made.commit(numbered(1, 1))
    made.append(numbered(2, 2))
    made.append(numbered(3, 3), numbered(4, 4))
    made.append(numbered(5, 5))
    return image_of(made)


def chained_log() -> Image:
    """Return a killed log of four segments."""
    made = session()
    for number in range(1, 10):
        made.commit(numbered(number, 24_000))
    return image_of(made)


def closed_log() -> Image:
    made = session()
    made.commit(numbered(1), numbered(2))
    made.append(numbered(3))
    made.close()
    return image_of(made)


LOGS: dict[str, Callable[[], Image]] = {
    "immediate": immediate_log,
    "deferred": deferred_log,
    "ring": ring_log,
    "chained": chained_log,
    "closed": closed_log,
}


def newest(image: Image) -> str:
    return max(name for name in image if name.startswith("wal/"))


def records(image: Image, name: str | None = None) -> list[model.Record]:
    """Return the records of a segment, one after the other."""
    name = name or newest(image)
    header = model.header_of(name, image[name])
    found, position = [], model.DATA
    while (record := model.parse_record(header, image[name], position, position)) is not None:
        found.append(record)
        position += record.size
    return found


def changed(image: Image, name: str, at: int, data: bytes) -> Image:
    """Return the image with bytes of one file replaced."""
    old = image[name]
    return {**image, name: old[:at] + data + old[at + len(data) :]}


def core_reads(image: Image) -> Seen | str:
    """Return what the core reads, or why it refuses."""
    io = MemoryIo(disk_of(image))
    try:
        return read_stream(io)
    except CoreError as error:
        return error.fault.reason if error.status == "corrupt" else error.status
    finally:
        assert not io.handles
        assert not io.mistakes


def same_as_model(image: Image) -> Seen | None:
    """Check that core and model agree; return what they read, None where they refuse."""
    seen = core_reads(image)
    try:
        reading = model.read_log(image)
    except (model.Damage, model.NewerFormat) as error:
        assert isinstance(seen, str), f"the model refuses: {error!r}"
        return None
    assert not isinstance(seen, str), f"the core refuses: {seen}"
    assert {name: getattr(seen, name) for name in COMPARED} == {
        name: getattr(reading, name) for name in COMPARED
    }
    assert list(seen.events) == [
        (record.sequence, record.kind, record.payload) for record in reading.events
    ]
    return seen


def opened(
    image: Image, then: Callable[[Log], None] | None = None
) -> tuple[list[bytes], Log, Disk]:
    """Open for writing and close again; return what was recovered."""
    disk = disk_of(image)
    io = MemoryIo(disk, seed=99)
    log = Log(io)
    if then is not None:
        then(log)
    log.close()
    assert not io.handles
    assert not io.mistakes
    with Log(MemoryIo(disk)) as again:
        assert again.recovered[: len(log.recovered)] == log.recovered
        assert again.report.is_clean
    return log.recovered, log, disk


def quarantined(disk: Disk) -> Image:
    return {
        name: data for name, data in disk.image(DIRECTORY).items() if name.startswith("quarantine/")
    }
