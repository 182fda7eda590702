"""The judge of disks that a crash left: opens each with the real recovery and holds what comes back
against what was promised.

- The log opens: a crash alone is never damage.
- What comes back is a gap-free prefix of whole batches, and holds everything that was promised.
- What was there and is dropped is reported, and lies in quarantine/. No byte of an old segment is
  changed.
- Whoever opens it again finds the same, also after a power loss, and what was committed in between
  as well.

What a disk comes to depends on its bytes alone, so each one is judged once; only the promises are
held against it every time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.core import log_model as model
from tests.support.core.crash_images import Account
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, entry
from tests.support.core.log_images import same_as_model
from tests.support.core.memory_io import Disk, MemoryIo
from tests.support.crash.disk_states import States

Image = dict[str, bytes]
RECORD_HEADER = 16
MODEL_SHARE = 24
FIRST_SEED = 0x5EED_0000_0000
"""Randomness here is never that of a session, whose seeds are small: salts would be the same."""
MODEL_BYTES = 6000
"""One image of so many, of those with so few bytes other than zero, is also held against the model
of the format.
"""


class BrokenPromise(Exception):
    """A disk that a crash may leave, and what is wrong with what the log makes of it."""


@dataclass(frozen=True)
class Verdict:
    """What a disk comes to: how many events, and a digest of them."""

    count: int
    digest: bytes


def digest_of(parts: list[bytes]) -> bytes:
    digest = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def key_of(disk: Disk) -> int:
    """Return a key for everything that a recovery can see: all but the lock file's text."""
    files = {
        path: bytes(file.content) for path, file in disk.files.items() if not path.endswith("/LOCK")
    }
    return hash((frozenset(disk.directories), frozenset(disk.files), frozenset(files.items())))


class Judge:
    """Judges the disks of sessions that used one set of options."""

    def __init__(self, **options: Any) -> None:
        self.maps = bool(options.pop("maps", True))
        self.options = options
        self.verdicts: dict[int, Verdict] = {}
        self.checks = 0

    @property
    def images(self) -> int:
        return len(self.verdicts)

    def open(self, disk: Disk, seed: int) -> Log:
        io = MemoryIo(disk, maps=self.maps, seed=seed)
        try:
            return Log(io, **self.options)
        except CoreError as error:
            raise BrokenPromise(f"refused to open: {error}") from error

    def check(self, disk: Disk, account: Account, at_least: int) -> bool:
        """Hold a disk against what was promised. Return whether it is a new one. Raises
        BrokenPromise.
        """
        self.checks += 1
        key = key_of(disk)
        verdict = self.verdicts.get(key)
        is_new = verdict is None
        if verdict is None:
            verdict = self.verdicts[key] = self.judge(disk, account, FIRST_SEED + self.images)
        if verdict.count < at_least:
            raise BrokenPromise(f"{at_least} events were promised, {verdict.count} came back")
        if not is_prefix(verdict, account):
            raise BrokenPromise(
                f"what came back is no prefix of whole batches: {verdict.count} events"
            )
        return is_new

    def judge(self, disk: Disk, account: Account, seed: int) -> Verdict:
        """Open the disk, which is changed by it, and follow what becomes of it."""
        before = disk.image(DIRECTORY)
        if (
            seed % MODEL_SHARE == 0
            and sum(len(data) - data.count(0) for data in before.values()) < MODEL_BYTES
        ):
            check_model(before)
        log = self.open(disk, seed)
        recovered = log.recovered
        check_opening(log, len(recovered))
        dropped = check_kept(before, disk.image(DIRECTORY), log, account)
        more = following_entry(account, len(recovered))
        commit(log, more)
        self.follow(disk, log, [*recovered, more], dropped, Random(seed))
        return Verdict(len(recovered), digest_of(recovered))

    def follow(
        self, disk: Disk, log: Log, expected: list[bytes], dropped: list[bytes], random: Random
    ) -> None:
        """After a commit: a power loss that keeps nothing, a random one and a mere kill leave just
        what was committed.

        And what was dropped before it is still somewhere.
        """
        padding = int(self.options.get("sector_size", 0))
        states = States.of(disk, padding)
        left = [
            next(states.choose(1, random)).disk(),
            states.torn(random).disk() if states.sectors else disk.copy(),
        ]
        log.kill()
        for number, one in enumerate([*left, disk]):
            what = ("a power loss", "a power loss that kept some", "a kill")[number]
            check_salts(one.image(DIRECTORY))
            if not all(
                any(record in file.content for file in one.files.values()) for record in dropped
            ):
                raise BrokenPromise(
                    f"a record was dropped, and set aside, but {what} took the copy away"
                )
            try:
                with self.open(one, seed=FIRST_SEED + random.getrandbits(62)) as again:
                    check_opening(again, len(expected))
                    if again.recovered != expected:
                        raise BrokenPromise(
                            f"after an opening, a commit and {what}, {len(expected)} events "
                            f"were due: {len(again.recovered)} came back, the same up to "
                            f"{common(again.recovered, expected)}"
                        )
            except CoreError as error:
                raise BrokenPromise(
                    f"after an opening, a commit and {what} the close failed: {error}"
                ) from error
            check_mistakes(again)


def common(one: list[bytes], other: list[bytes]) -> int:
    """Return how many items two lists share at their beginning."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def commit(log: Log, data: bytes) -> None:
    try:
        log.commit(data)
    except CoreError as error:
        raise BrokenPromise(f"it opened, but does not work: {error}") from error
    check_mistakes(log)


def check_opening(log: Log, count: int) -> None:
    """What was found is durable from then on, and nothing forbidden was done."""
    if not log.last_sequence == log.durable_sequence == count:
        raise BrokenPromise(
            f"{count} events, but the log says {log.last_sequence}, durable {log.durable_sequence}"
        )
    check_mistakes(log)


def check_mistakes(log: Log) -> None:
    assert log.io is not None
    if log.io.mistakes:
        raise BrokenPromise(f"forbidden calls: {log.io.mistakes}")


def is_prefix(verdict: Verdict, account: Account) -> bool:
    found: list[bytes] = []
    for unit in account.units:
        if len(found) >= verdict.count:
            break
        found.extend(unit)
    return len(found) == verdict.count and digest_of(found) == verdict.digest


def following_entry(account: Account, count: int) -> bytes:
    """Return an entry of the same size as the first one that did not come back: it lies where that
    one lay.
    """
    lost = [data for unit in account.units for data in unit][count:]
    size = len(lost[0]) if lost else 300
    return (b"following" * (size // 9 + 1))[:size]


def check_model(image: Image) -> None:
    """Hold the reader against the slow model of the format, where there is a log at all."""
    if not any(name.startswith("wal/") and name.endswith(".log") for name in image):
        return
    try:
        same_as_model(image)
    except AssertionError as error:
        raise BrokenPromise(f"the model of the format reads it differently: {error}") from error


def check_salts(image: Image) -> None:
    """Every segment has a salt of its own."""
    salts = [data[40:48] for name, data in image.items() if name.endswith(".log")]
    if len(set(salts)) != len(salts):
        raise BrokenPromise("two segments have the same salt")


def check_kept(before: Image, after: Image, log: Log, account: Account) -> list[bytes]:
    """Nothing that was there has gone without a word. Return the whole records that were
    dropped.
    """
    segments = sorted(name for name in before if name.startswith("wal/") and name.endswith(".log"))
    for name in segments:
        if after.get(name) != before[name]:
            raise BrokenPromise(f"the opening changed {name}")
    for name, data in before.items():
        if name.startswith("quarantine/") and name.endswith(".bin") and after.get(name) != data:
            raise BrokenPromise(f"the opening changed {name}")
    dropped = dropped_records(before, segments, account, len(log.recovered))
    if not dropped:
        return []
    kept = [
        data
        for name, data in after.items()
        if name.startswith("quarantine/") and name.endswith(".bin")
    ]
    report = log.report
    if (
        report.is_clean
        or report.drop_reason == 0
        or (report.dropped_bytes == 0 and report.dropped_events == 0)
    ):
        raise BrokenPromise(f"{len(dropped)} records were dropped and not reported")
    for record in dropped:
        if not any(record in data for data in kept):
            raise BrokenPromise("a record was dropped and is not in quarantine")
    return dropped


def dropped_records(
    before: Image, segments: list[str], account: Account, count: int
) -> list[bytes]:
    """Return every whole record of an event that did not come back, as it lies in the newest
    segment or the ring.
    """
    lost = [data for unit in account.units for data in unit][count:]
    if not lost or not segments:
        return []
    name = segments[-1]
    header = model.header_of(name, before[name])
    ring = before.get("ring", b"")[model.RING_DATA :]
    found = []
    for data in lost:
        payload = entry(data)
        at = before[name].find(payload, model.DATA) - RECORD_HEADER
        if at >= model.DATA and model.parse_record(header, before[name], at, at) is not None:
            found.append(before[name][at : at + RECORD_HEADER + len(payload)])
        at = ring.find(payload) - RECORD_HEADER
        if at >= 0 and any(
            model.parse_record(header, ring, at, place) for place in ring_places(header, ring, at)
        ):
            found.append(ring[at : at + RECORD_HEADER + len(payload)])
    return found


def ring_places(header: model.Header, ring: bytes, at: int) -> range:
    """Return the positions in the segment that an offset of the ring stands for."""
    first = model.DATA + (at - model.DATA) % len(ring)
    return range(first, header.file_size, len(ring))
