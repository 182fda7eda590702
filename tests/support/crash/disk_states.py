"""The disks that a power loss may leave of a :class:`tests.support.core.memory_io.Disk`: which
there are, all of them or a sample, and what they hold.

What is not stable falls into independent units, each with several outcomes, of which the first is
"lost" and the last "kept":

- a change of names (a file created, renamed or removed, a directory made) whose directory was not
  synced since. A rename may also leave both names;
- a sector of 512 bytes that was written, or stored to through a mapping, since its file was last
  synced: it holds any of the contents that it had since then. Torn, it holds some of a write's
  bytes and not the others, or garbage in their place; where the log pads to sectors, garbage in the
  place of the whole padded sector, old bytes included;
- a file's size, where it grew: any size that it had. Bytes that were not written read as zeros.

A state is one outcome for every unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from random import Random

from tests.support.core.memory_io import (
    SECTOR,
    Disk,
    File,
    NameChange,
    apply_change,
    parent_of,
    parents,
)

Part = tuple[int, bytes]
SHOWN = 20
"""So many units that are not whole are told of a state."""
TEARS = ("head", "tail", "middle", "mixed", "garbage")
HEADER_WORDS = 4
"""Of four bytes each: what a record begins with."""


@dataclass(frozen=True)
class Torn:
    """An outcome of a sector: the write that follows the first `kept` ones came to the disk in
    part.
    """

    kept: int
    how: str
    seed: int


Outcome = int | Torn


@dataclass(eq=False)
class NameUnit:
    change: NameChange

    @property
    def outcomes(self) -> int:
        return 3 if self.change.removed is not None and self.change.file is not None else 2

    def text(self, outcome: Outcome) -> str:
        change = self.change
        if change.file is None and not change.is_directory:
            name = f"removal of {change.path}"
        elif change.removed is not None:
            name = f"rename of {change.removed} to {change.path}"
        else:
            name = f"name {change.path}"
        if outcome == 0:
            return f"{name} lost"
        return f"{name} kept" if outcome == self.outcomes - 1 else f"{name} half done: both names"

    def apply(self, outcome: Outcome, files: dict[str, File], directories: set[str]) -> None:
        change = self.change
        if outcome == 1 and self.outcomes == 3:
            assert change.file is not None
            files[change.path] = change.file
            if change.removed is not None:
                files.setdefault(change.removed, change.file)
        elif outcome != 0:
            apply_change(change, files, directories)


@dataclass(eq=False)
class SizeUnit:
    file: File
    sizes: list[int]

    @property
    def outcomes(self) -> int:
        return len(self.sizes)

    def text(self, outcome: Outcome) -> str:
        assert isinstance(outcome, int)
        return f"{self.file.name}: size {self.sizes[outcome]}"


@dataclass(eq=False)
class SectorUnit:
    """The writes to one sector since the last sync, in their order."""

    file: File
    number: int
    parts: list[Part]

    @property
    def outcomes(self) -> int:
        return len(self.parts) + 1

    def text(self, outcome: Outcome) -> str:
        where = f"{self.file.name}: bytes {self.number * SECTOR}+{SECTOR}"
        if isinstance(outcome, Torn):
            return f"{where} torn ({outcome.how}) after {outcome.kept} of {len(self.parts)} writes"
        return (
            f"{where} lost"
            if outcome == 0
            else f"{where} after {outcome} of {len(self.parts)} writes"
        )

    def apply(self, outcome: Outcome, to: bytearray, padding: int) -> None:
        count = outcome.kept if isinstance(outcome, Torn) else outcome
        for at, data in self.parts[:count]:
            place(to, at, data)
        if isinstance(outcome, Torn):
            at, data = self.parts[count]
            random = Random(outcome.seed)
            if outcome.how == "garbage sector":
                start = at - at % padding
                place(to, start, random.randbytes(padding))
            elif outcome.how.startswith("word "):
                tear_out(to, at, data, int(outcome.how.removeprefix("word ")))
            else:
                tear(to, at, data, outcome.how, random)


def place(to: bytearray, at: int, data: bytes) -> None:
    """Write bytes; what would lie past the file's size is not to be seen."""
    data = data[: max(len(to) - at, 0)]
    to[at : at + len(data)] = data


def tear_out(to: bytearray, at: int, data: bytes, number: int) -> None:
    """Write all but one word, the so-many-th of those that the write changes: the first ones are a
    record's header.
    """
    old = bytes(to[at : at + len(data)]).ljust(len(data), b"\0")
    place(to, at, data)
    words = [
        offset
        for offset in range(0, len(data), 4)
        if data[offset : offset + 4] != old[offset : offset + 4]
    ]
    if words:
        left = words[min(number, len(words) - 1)]
        place(to, at + left, old[left : left + 4])


def tear(to: bytearray, at: int, data: bytes, how: str, random: Random) -> None:
    first, last = sorted(random.randrange(len(data) + 1) for _ in range(2))
    match how:
        case "head":
            place(to, at, data[:last])
        case "tail":
            place(to, at + first, data[first:])
        case "middle":
            place(to, at + first, data[first:last])
        case "mixed":
            for offset in range(0, len(data), 4):
                if random.random() < 0.5:
                    place(to, at + offset, data[offset : offset + 4])
        case "garbage":
            place(to, at, random.randbytes(len(data)))


@dataclass(eq=False)
class States:
    """The states of one moment. `disk` may change later; what is here stays."""

    files: dict[str, File]
    directories: set[str]
    names: list[NameUnit] = field(default_factory=list)
    sectors: list[SectorUnit] = field(default_factory=list)
    rewritten: list[SectorUnit] = field(default_factory=list)
    """Sectors that were written with the bytes that they had: they can only be torn."""
    sizes: list[SizeUnit] = field(default_factory=list)
    stable: dict[File, bytes] = field(default_factory=dict)
    padding: int = 0

    @classmethod
    def of(cls, disk: Disk, padding: int = 0) -> States:
        made = cls(dict(disk.stable_files), set(disk.stable_directories), padding=padding)
        made.names = [NameUnit(change) for change in disk.pending]
        named = [
            *disk.stable_files.values(),
            *(change.file for change in disk.pending if change.file is not None),
        ]
        for file in dict.fromkeys(named):
            made.add(file)
        return made

    def add(self, file: File) -> None:
        file.pull()
        self.stable[file] = bytes(file.stable)
        parts: dict[int, list[Part]] = {}
        sizes = {len(file.stable)}
        for offset, data in [*file.doubtful, *file.pending]:
            sizes.add(max(len(file.stable), offset + len(data)))
            for number in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
                start = max(offset, number * SECTOR)
                parts.setdefault(number, []).append(
                    (start, data[start - offset : number * SECTOR + SECTOR - offset])
                )
        if len(sizes) > 1:
            self.sizes.append(SizeUnit(file, sorted(sizes)))
        for number, writes in sorted(parts.items()):
            old = file.stable[number * SECTOR : number * SECTOR + SECTOR].ljust(SECTOR, b"\0")
            if any(old[at % SECTOR : at % SECTOR + len(data)] != data for at, data in writes):
                self.sectors.append(SectorUnit(file, number, writes))
            elif any(data.count(0) != len(data) for _, data in writes):
                self.rewritten.append(SectorUnit(file, number, writes))

    # --- Choosing ---------------------------------------------------------------------------------

    @property
    def units(self) -> list[NameUnit | SectorUnit | SizeUnit]:
        return [*self.names, *self.sizes, *self.sectors, *self.rewritten]

    @property
    def count(self) -> int:
        """How many states there are, without torn sectors."""
        return math.prod(unit.outcomes for unit in [*self.names, *self.sizes, *self.sectors])

    def choose(self, limit: int, random: Random, *, all_up_to: int = 0) -> Iterator[State]:
        """Yield every state if there are at most `limit`, or `all_up_to`, else `limit` of them; and
        as many more with torn sectors.
        """
        free = [*self.names, *self.sizes, *self.sectors]
        if self.count <= max(limit, all_up_to):
            yield from (
                State(self, outcomes)
                for outcomes in product(*(range(unit.outcomes) for unit in free))
            )
        else:
            yield from self.choose_some(limit, random)
        if self.sectors or self.rewritten:
            for _ in range(min(limit, 4 * len(self.sectors) + len(self.rewritten))):
                yield self.torn(random)
        if self.sectors:
            yield from self.without_words(
                random.sample(range(HEADER_WORDS), min(HEADER_WORDS, limit // 2)), random
            )

    def without_words(self, words: Iterable[int], random: Random) -> Iterator[State]:
        """Yield states that are whole but for one word of what was last written to one sector, of a
        segment where one is open.
        """
        free = [*self.names, *self.sizes, *self.sectors]
        logs = [unit for unit in self.sectors if unit.file.name.endswith(".log")]
        unit = random.choice(logs or self.sectors)
        full: list[Outcome] = [one.outcomes - 1 for one in free]
        for word in words:
            full[free.index(unit)] = Torn(len(unit.parts) - 1, f"word {word}", 0)
            yield State(self, tuple(full))

    def choose_some(self, limit: int, random: Random) -> Iterator[State]:
        """Yield the extremes, each change of names lost alone, names combined, units lost or kept
        alone, then any.
        """
        free = [*self.names, *self.sizes, *self.sectors]
        none, full = [0] * len(free), [unit.outcomes - 1 for unit in free]
        chosen = [none, full]
        chosen += [[*full[:index], 0, *full[index + 1 :]] for index in range(len(self.names))]
        names = list(product(*(range(unit.outcomes) for unit in self.names)))
        for combination in random.sample(names, min(len(names), limit // 4)):
            chosen += [[*combination, *rest[len(self.names) :]] for rest in (none, full)]
        for index in random.sample(range(len(free)), min(len(free), limit // 4)):
            for base, outcome in ((full, 0), (none, full[index])):
                chosen.append([*base[:index], outcome, *base[index + 1 :]])
        yield from (State(self, tuple(outcomes)) for outcomes in chosen)
        for _ in range(max(limit - len(chosen), limit // 4)):
            odds = random.choice((0.1, 0.5, 0.9))
            yield State(
                self,
                tuple(
                    last if random.random() < odds else random.randrange(last + 1) for last in full
                ),
            )

    def torn(self, random: Random) -> State:
        """Return a state with some sectors torn."""
        odds, torn_odds = random.choice((0.1, 0.5, 0.9, 1.0)), random.choice((0.1, 0.5))
        outcomes: list[Outcome] = [
            unit.outcomes - 1 if random.random() < odds else random.randrange(unit.outcomes)
            for unit in [*self.names, *self.sizes, *self.sectors]
        ]
        outcomes += [unit.outcomes - 1 for unit in self.rewritten]
        sectors = [*self.sectors, *self.rewritten]
        first = len(outcomes) - len(sectors)
        always = random.randrange(len(sectors))
        tears = (*TEARS, "garbage sector") if self.padding else TEARS
        for index, unit in enumerate(sectors):
            if index == always or random.random() < torn_odds:
                outcomes[first + index] = Torn(
                    random.randrange(len(unit.parts)), random.choice(tears), random.getrandbits(32)
                )
        return State(self, tuple(outcomes))


@dataclass(frozen=True)
class State:
    """One outcome for each unit; the rewritten sectors' may be left out."""

    states: States
    outcomes: tuple[Outcome, ...]

    def disk(self) -> Disk:
        """Return the disk, with all of it stable."""
        states = self.states
        files, directories = dict(states.files), set(states.directories)
        sizes = {file: len(data) for file, data in states.stable.items()}
        chosen = list(zip(states.units, self.outcomes, strict=False))
        for unit, outcome in chosen:
            if isinstance(unit, NameUnit):
                unit.apply(outcome, files, directories)
            elif isinstance(unit, SizeUnit):
                assert isinstance(outcome, int)
                sizes[unit.file] = unit.sizes[outcome]
        contents = {
            file: bytearray(data.ljust(sizes[file], b"\0")) for file, data in states.stable.items()
        }
        for unit, outcome in chosen:
            if isinstance(unit, SectorUnit) and outcome != 0:
                unit.apply(outcome, contents[unit.file], states.padding)
        reachable = {
            path for path in directories if all(above in directories for above in parents(path))
        }
        found = {
            path: bytes(contents[file])
            for path, file in files.items()
            if parent_of(path) in reachable
        }
        return Disk(found, reachable)

    def __str__(self) -> str:
        pairs = list(zip(self.states.units, self.outcomes, strict=False))
        lost = [unit.text(outcome) for unit, outcome in pairs if outcome != unit.outcomes - 1]
        kept = sum(outcome == unit.outcomes - 1 for unit, outcome in pairs)
        more = [f"and {len(lost) - SHOWN} more"] if len(lost) > SHOWN else []
        return "\n    ".join(
            [f"a power loss, {kept} of {len(pairs)} units kept whole; and:", *lost[:SHOWN], *more]
        )
