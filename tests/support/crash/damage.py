"""Damage that no crash explains: flipped bits, cuts at every byte, records and files in places
where they do not belong.

What is damaged is refused, or dropped as a torn tail where it was never acknowledged as durable;
what comes back is never anything else than a prefix of what was appended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from random import Random

from tests.support.core import log_model as model
from tests.support.core.crash_images import Account, numbered
from tests.support.core.log_driver import DIRECTORY, CoreError, data_of, entry, read_stream
from tests.support.core.log_images import changed, disk_of, newest
from tests.support.core.memory_io import Disk, MemoryIo
from tests.support.crash.judge import BrokenPromise, Judge, digest_of
from tests.support.crash.sessions import Image, RecordedSession

Place = tuple[str, int]


@dataclass(frozen=True)
class Log:
    """The files of a killed log, and what was promised of it."""

    image: Image
    account: Account

    def is_prefix(self, events: list[bytes], at_least: int) -> bool:
        return len(events) >= at_least and any(
            events == prefix for prefix in self.account.prefixes()
        )


def killed(session: RecordedSession) -> Log:
    session.kill()
    return Log(session.disk.image(DIRECTORY), session.account)


def immediate_log() -> Log:
    """Every event is durable."""
    session = RecordedSession()
    session.open()
    session.commit(numbered(1, 8))
    session.commit(numbered(2, 40), numbered(3, 8))
    session.commit(numbered(4, 8))
    session.commit(numbered(5, 8))
    return killed(session)


def written_log() -> Log:
    """Every event is durable, and none is in the ring, which only says so: a damaged last record
    must not look torn.
    """
    session = RecordedSession(maps=False)
    session.open()
    session.commit(numbered(1, 8))
    session.commit(numbered(2, 24), numbered(3, 8))
    session.commit(numbered(4, 8))
    return killed(session)


def mixed_log() -> Log:
    """Two events are durable; two are only in the ring, and so is a batch of two."""
    session = RecordedSession()
    session.open()
    session.commit(numbered(1, 8))
    session.commit(numbered(2, 30))
    session.append(numbered(3, 8))
    session.append(numbered(4, 20), numbered(5, 8))
    session.append(numbered(6, 8))
    return killed(session)


def deferred_log() -> Log:
    """One event is durable; the others are in the segment and were never synced."""
    session = RecordedSession(maps=False)
    session.open()
    session.commit(numbered(1, 8))
    session.append(numbered(2, 8))
    session.append(numbered(3, 24), numbered(4, 8))
    session.append(numbered(5, 8))
    return killed(session)


def chained_log() -> Log:
    """Four segments of a few records each, and events in the ring."""
    session = RecordedSession()
    for first in range(1, 17, 4):
        session.open()
        session.commit(numbered(first, 8))
        session.commit(numbered(first + 1, 8), numbered(first + 2, 24))
        session.append(numbered(first + 3, 8))
        session.kill()
    return Log(session.disk.image(DIRECTORY), session.account)


LOGS = {
    "immediate": immediate_log,
    "written": written_log,
    "mixed": mixed_log,
    "deferred": deferred_log,
    "chained": chained_log,
}


# --- Flipped bits ---------------------------------------------------------------------------------


class Reader:
    """Reads a log whose bytes are changed in place, many times over."""

    def __init__(self, image: Image) -> None:
        self.disk = disk_of(image)
        self.io = MemoryIo(self.disk)

    def read(self) -> list[bytes] | str:
        """Return the events that count, or the reason of the refusal."""
        try:
            return [
                data_of(payload) if kind == 31 else b"?"
                for _, kind, payload in read_stream(self.io).events
            ]
        except CoreError as error:
            return error.fault.reason if error.status == "corrupt" else error.status

    def flip(self, file: str, at: int, bit: int) -> None:
        self.disk.files[f"{DIRECTORY}/{file}"].content[at] ^= 1 << bit


SLOTS = [at for slot in (*model.RING_SLOTS, *model.RING_SEGMENTS) for at in range(slot, slot + 16)]


def used_places(log: Log) -> list[Place]:
    """Return every byte that means something: headers, slots, records, and some behind them."""
    places: list[Place] = []
    for name, data in log.image.items():
        if name.endswith(".log"):
            end = len(data.rstrip(b"\0")) + 40
            places += [
                (name, at) for at in (*range(128), *range(4096, 4224), *range(model.DATA, end))
            ]
    end = max((len(log.image["ring"].rstrip(b"\0")), model.RING_DATA + model.DATA)) + 40
    places += [("ring", at) for at in (*range(64), *SLOTS)]
    return places + [("ring", at) for at in range(model.RING_DATA + model.DATA, end)]


def all_places(log: Log) -> list[Place]:
    return [
        (name, at) for name in log.image if name != "LOCK" for at in range(len(log.image[name]))
    ]


def flips(log: Log, places: Iterable[Place], *, of_unused: int = 1) -> int:
    """Flip every bit of these bytes, one at a time, and of those that nothing uses so many; return
    how many. Raises BrokenPromise.
    """
    reader, count = Reader(log.image), 0
    used = set(used_places(log))
    good = reader.read()
    if isinstance(good, str):
        raise BrokenPromise(f"the log is refused: {good}")
    judge = Judge()
    bits = (
        (place, (place[1] + more) % 8)
        for place in places
        for more in range(8 if place in used else of_unused)
    )
    for (file, at), bit in bits:
        reader.flip(file, at, bit)
        found = reader.read()
        reader.flip(file, at, bit)
        count += 1
        if isinstance(found, str) or found == good:
            continue
        try:
            if not log.is_prefix(found, log.account.durable):
                raise BrokenPromise(
                    f"{len(found)} events came back, {log.account.durable} were durable"
                )
            flipped = changed(log.image, file, at, bytes([log.image[file][at] ^ 1 << bit]))
            judge.check(disk_of(flipped), log.account, log.account.durable)
        except BrokenPromise as broken:
            raise BrokenPromise(
                f"{broken}\n  image: bit {bit} of byte {at} of {file} flipped"
            ) from broken
    return count


# --- Cuts -----------------------------------------------------------------------------------------


def fillings(data: bytes, offset: int, end: int) -> Iterator[tuple[str, bytes]]:
    """Yield what may stand behind a cut: zeros, garbage, and bytes that were valid elsewhere."""
    size = end - offset
    yield "zeros", bytes(size)
    yield "garbage", Random(offset).randbytes(size)
    first = model.DATA if len(data) != model.RING_DATA + 65536 else model.RING_DATA + model.DATA
    old = data[first : first + 76]
    yield "old bytes", (old * (size // len(old) + 1))[:size]


def cuts(log: Log, file: str, step: int = 1) -> int:
    """Cut a file behind each offset; return how many images that makes. Raises BrokenPromise."""
    base = model.RING_DATA if file == "ring" else 0
    data, judge, count = log.image[file], Judge(), 0
    end = len(data.rstrip(b"\0"))
    ends = unit_ends(log)
    for offset in range(base + model.DATA, end, step):
        for text, filling in fillings(data, offset, end):
            image = changed(log.image, file, offset, filling)
            whole = [events for position, events in ends if position <= offset - base]
            at_least = max([log.account.durable if file == "ring" else 0, *whole])
            count += 1
            try:
                if file != "ring" and at_least < log.account.durable:
                    check_loss_is_refused(image, data[offset:end] == filling, log)
                else:
                    judge.check(disk_of(image), log.account, at_least)
            except BrokenPromise as broken:
                raise BrokenPromise(
                    f"{broken}\n  image: {file} cut at {offset}, filled with {text}"
                ) from broken
    return count


def unit_ends(log: Log) -> list[tuple[int, int]]:
    """Return the position behind each appended unit, and how many events there are by then; for
    logs of one segment.
    """
    header = model.header_of(newest(log.image), log.image[newest(log.image)])
    segment, ring = log.image[newest(log.image)], model.parse_ring(log.image["ring"])
    position, count, found = model.DATA, 0, []
    for unit in log.account.units:
        for _ in unit:
            record = model.parse_record(header, segment, position, position) or ring.record(
                header, position
            )
            assert record is not None
            position += record.size
        count += len(unit)
        found.append((position, count))
    return found


def check_loss_is_refused(image: Image, is_same: bool, log: Log) -> None:
    found = Reader(image).read()
    if isinstance(found, str) or (is_same and log.is_prefix(found, 0)):
        return
    if not log.is_prefix(found, log.account.durable):
        raise BrokenPromise(f"{len(found)} events came back, {log.account.durable} were durable")


# --- Misplaced records ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """Where a record lies: in a file, at an offset."""

    file: str
    at: int
    size: int


def slots_of(log: Log) -> list[Slot]:
    """Return every record of a log, those in the ring too, as found by their payloads."""
    found: list[Slot] = []
    for name in sorted(name for name in log.image if name.endswith(".log") or name == "ring"):
        for payload in (entry(data) for unit in log.account.units for data in unit):
            at = log.image[name].find(payload)
            if at >= 0:
                found.append(Slot(name, at - 16, 16 + len(payload) + -len(payload) % 4))
    return found


def misplaced(log: Log) -> Iterator[tuple[str, Image]]:
    """Yield the log with each record copied over each other one and behind the last, and with each
    pair exchanged.
    """
    slots = slots_of(log)
    ends = [Slot(slot.file, slot.at + slot.size, 0) for slot in slots]
    pieces = {slot: log.image[slot.file][slot.at : slot.at + slot.size] for slot in slots}
    for source, target in product(slots, dict.fromkeys([*slots, *ends])):
        if (
            source is target
            or pieces[source] == log.image[target.file][target.at : target.at + source.size]
        ):
            continue
        yield (
            f"{source} copied to {target}",
            changed(log.image, target.file, target.at, pieces[source]),
        )
    for one, other in combinations(slots, 2):
        if pieces[one] != pieces[other]:
            yield f"{one} and {other} exchanged", exchanged(log.image, one, other)


def exchanged(image: Image, one: Slot, other: Slot) -> Image:
    """Return the image with two records in each other's place. What lies behind either moves up or
    down, so that no gap comes between.
    """
    pieces = {slot: image[slot.file][slot.at : slot.at + slot.size] for slot in (one, other)}
    result = dict(image)
    for slot, piece in sorted(
        [(one, pieces[other]), (other, pieces[one])], key=lambda put: put[0].at, reverse=True
    ):
        before = result[slot.file]
        result[slot.file] = before[: slot.at] + piece + before[slot.at + slot.size :]
    return {
        name: data[: len(image[name])].ljust(len(image[name]), b"\0")
        for name, data in result.items()
    }


def check_misplaced(log: Log, image: Image, what: str) -> bool:
    """Raises BrokenPromise where anything but a prefix of the log is read; returns whether it was
    refused.
    """
    found = Reader(image).read()
    if isinstance(found, str):
        return True
    if not log.is_prefix(found, log.account.durable):
        raise BrokenPromise(
            f"{len(found)} events came back, {log.account.durable} were durable\n  image: {what}"
        )
    return False


def stale_files(session: RecordedSession, step: int = 1) -> int:
    """Put rings of one moment beside segments of another; return how many images that makes. Raises
    BrokenPromise.
    """
    moments = [
        moment for moment in session.moments if any(path.endswith("/ring") for path in moment.alive)
    ][::step]
    account, seen = session.account, set()
    for ring, rest in product(moments, moments):
        alive = {**rest.alive, f"{DIRECTORY}/ring": ring.alive[f"{DIRECTORY}/ring"]}
        key = digest_of(list(alive.values()))
        if key in seen:
            continue
        seen.add(key)
        image = {path.removeprefix(f"{DIRECTORY}/"): data for path, data in alive.items()}
        at_least = max(ring.account.durable, rest.account.durable)
        check_misplaced(
            Log(image, Account(account.units, account.acknowledged, at_least)),
            image,
            f"the ring of '{ring.where}' beside the segments of '{rest.where}'",
        )
    return len(seen)


def missing_files(log: Log) -> int:
    """Remove each file of a log with events that are in the ring only; return how many. Raises
    BrokenPromise.
    """
    names = [name for name in log.image if name.endswith(".log") or name == "ring"]
    for name in names:
        found = Reader({path: data for path, data in log.image.items() if path != name}).read()
        if not isinstance(found, str):
            raise BrokenPromise(f"{len(found)} events came back\n  image: {name} removed")
    return len(names)


# --- Snapshots ------------------------------------------------------------------------------------


def compacted_log() -> Log:
    """Two snapshots, the segments behind the older of them, and events behind the newer."""
    session = RecordedSession()
    session.open()
    for number in (1, 3):
        session.commit(numbered(number, 34_000))
        session.commit(numbered(number + 1, 30_000))
        session.compact()
    session.commit(numbered(5, 8))
    session.append(numbered(6, 8))
    return killed(session)


def small_snapshots() -> Log:
    """Two snapshots of a few events, the whole log, and an event behind them."""
    session = RecordedSession()
    session.open()
    session.commit(numbered(1, 8))
    session.compact(drops_segments=False)
    session.commit(numbered(2, 8))
    session.compact(drops_segments=False)
    session.append(numbered(3, 8))
    return killed(session)


JUDGED_AT_ONCE = 200


def flipped_snapshots(log: Log, every: int) -> int:
    """Flip a bit in bytes of either snapshot: each so-many-th, and more of its header and end.
    Return how many.
    """
    places = []
    for name in sorted(name for name in log.image if name.endswith(".snap")):
        size = len(log.image[name])
        edges = [*range(min(size, 200)), *range(max(size - 60, 0), size)][:: 1 if every == 1 else 9]
        places += [(name, at, at % 8) for at in sorted({*edges, *range(0, size, every)})]
    return flips_of_snapshots(log, places)


def all_snapshot_bits(log: Log) -> list[tuple[str, int, int]]:
    return [
        (name, at, bit)
        for name in sorted(log.image)
        if name.endswith(".snap")
        for at in range(len(log.image[name]))
        for bit in range(8)
    ]


def flips_of_snapshots(log: Log, bits: Iterable[tuple[str, int, int]]) -> int:
    """Flip these bits, one at a time; return how many. Raises BrokenPromise.

    The same state comes back.
    """
    judge, count = Judge(), 0
    for name, at, bit in bits:
        flipped = changed(log.image, name, at, bytes([log.image[name][at] ^ 1 << bit]))
        count += 1
        if count % JUDGED_AT_ONCE == 0:
            judge = Judge()  # it remembers every image
        try:
            judge.check(disk_of(flipped), log.account, log.account.acknowledged)
        except BrokenPromise as broken:
            raise BrokenPromise(
                f"{broken}\n  image: bit {bit} of byte {at} of {name} flipped"
            ) from broken
    return count


def snapshots_of_other_moments(session: RecordedSession, step: int = 1) -> tuple[int, int]:
    """Put each snapshot of a session beside the log of its other moments. Raises BrokenPromise.

    One that covers no more than was durable changes nothing; one that is newer than the log is
    refused; between the two, where events that it covers are in the ring only, either is right.
    Return how many were used, and how many refused.
    """
    judge, seed = Judge(), 0x0DD
    last = session.moments[-1].alive
    snapshots = {path: data for path, data in last.items() if path.endswith(".snap")}
    older = newer = 0
    for moment in [moment for moment in session.moments if moment.account.acknowledged][::step]:
        log = {
            path: data
            for path, data in moment.alive.items()
            if not path.endswith((".snap", "snapshot.tmp"))
        }
        plain = judge.open(disk_at(log), seed)
        expected = plain.recovered
        plain.kill()
        for path, data in snapshots.items():
            what = f"\n  image: {path} beside the log of '{moment.where}', "
            what += f"which holds {len(expected)} events"
            covered = int(path.rpartition("/")[2].removesuffix(".snap"))
            try:
                opened = judge.open(disk_at({**log, path: data}), seed)
            except BrokenPromise as refused:
                if covered <= moment.account.durable or "snapshot_ahead" not in str(refused):
                    raise BrokenPromise(f"{refused}{what}") from refused
                newer += 1
                continue
            found = opened.recovered
            opened.kill()
            if covered > len(expected) or found != expected:
                raise BrokenPromise(f"{len(found)} events came back{what}")
            older += 1
    return older, newer


def disk_at(files: Image) -> Disk:
    """Return a disk with files under their whole paths."""
    return Disk(files, ["/home", f"{DIRECTORY}/wal", f"{DIRECTORY}/snapshots"])
