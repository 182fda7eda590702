"""Where a log ends is decided by a table of cases: it covers every pattern of its facts once, a log
meets every case, and the document shows the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from tests.support import places
from tests.support.core import log_model as model
from tests.support.core.any_logs import made_logs
from tests.support.core.crash_images import Session, crash_images, long_run, sampled_losses
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import DIRECTORY, OK, check, fault_text, reason_name
from tests.support.core.log_images import (
    FIRST,
    LOGS,
    Image,
    changed,
    closed_log,
    disk_of,
    records,
    same_as_model,
)
from tests.support.core.memory_io import Disk, MemoryIo, home

DOCUMENT = places.ROOT / "docs" / "format.md"
UUID, SIZE = bytes(range(16)), 65536
WORDS = {
    "bound": {"held": 1, "lost": 2, "ahead": 4},
    "stop": {"no record": 1, "contradiction": 2},
    "last": {"whole": 1, "in batch": 2, "close": 4},
    "tail": {"zeros": 1, "bytes": 2},
    "ring": {"not made": 1, "missing": 2, "no more": 4, "more": 8, "ahead": 16},
}
VERDICTS = {1: "clean", 2: "unclean", 3: "refused"}


@dataclass(frozen=True)
class Facts:
    """One value for each fact, in the words of the document."""

    bound: str
    stop: str
    last: str
    tail: str
    ring: str


@dataclass(frozen=True)
class Case:
    label: str
    verdict: str
    reason: str
    covers: dict[str, frozenset[str]]

    def is_met_by(self, facts: Facts) -> bool:
        return all(getattr(facts, name) in values for name, values in self.covers.items())


PATTERNS = [Facts(*values) for values in product(*WORDS.values())]

NO_LOG: dict[str, Callable[[Facts], bool]] = {
    "W is above the last event then, so the marker does not reach it": lambda facts: (
        facts.last == "close" and facts.bound != "held"
    ),
    "the records of a batch are events": lambda facts: (
        facts.last == "in batch" and facts.ring == "not made"
    ),
    "the records of the batch stand in the segment or in the ring": lambda facts: (
        facts.last == "in batch" and facts.tail == "zeros" and facts.ring not in {"more", "ahead"}
    ),
    "the record that contradicts stands in the segment or in the ring": lambda facts: (
        facts.stop == "contradiction"
        and facts.tail == "zeros"
        and facts.ring in ("not made", "missing")
    ),
    "up to W only the segment counts, and what follows its last event stands there": lambda facts: (
        facts.bound != "held"
        and facts.tail == "zeros"
        and (facts.stop == "contradiction" or facts.last == "in batch")
    ),
}
"""The patterns that no log meets, unless it changes while it is read, by the reason for it.

The table decides them too."""


def is_of_no_log(facts: Facts) -> bool:
    return any(rule(facts) for rule in NO_LOG.values())


# --- The core's table -----------------------------------------------------------------------------


def text(name: Any) -> str:
    return str(ffi.string(name).decode())


def cases() -> list[Case]:
    count = ffi.new("size_t *")
    rows = lib.aqw_end_cases(count)
    return [case_of(rows[number]) for number in range(count[0])]


def case_of(row: Any) -> Case:
    covers = {
        name: frozenset(word for word, value in words.items() if getattr(row.covers, name) & value)
        for name, words in WORDS.items()
    }
    reason = reason_name(row.reason) if row.reason else ""
    return Case(text(row.label), VERDICTS[row.verdict], reason, covers)


def decided(facts: Facts) -> str:
    """Return the label of the case that the core finds for the facts."""
    values = {name: WORDS[name][word] for name, word in vars(facts).items()}
    return text(lib.aqw_end_decide(ffi.new("aqw_end_facts *", values)).label)


def facts_of(image: Image | Disk, base: int = 0) -> Facts:
    """Return what the core finds in a log: read with a snapshot of `base`, unless that is 0."""
    io = MemoryIo(image if isinstance(image, Disk) else disk_of(image))
    facts, fault = ffi.new("aqw_end_facts *"), ffi.new("aqw_fault *")
    at = (io.table, DIRECTORY.encode(), snapshot_of(base))
    check(lib.aqw_stream_end_facts(*at, facts, fault), fault)
    assert not io.handles
    return Facts(*(word_of(words, getattr(facts, name)) for name, words in WORDS.items()))


def word_of(words: dict[str, int], value: int) -> str:
    (word,) = [word for word, known in words.items() if known == value]
    return word


def snapshot_of(base: int) -> Any:
    return ffi.new("aqw_stream_base *", {"log_uuid": UUID, "sequence": base}) if base else ffi.NULL


@dataclass(frozen=True)
class Opened:
    """What the core makes of a log: the case's verdict and reason by what it does."""

    verdict: str
    reason: str
    first_sequence: int = 0
    last_sequence: int = 0
    drops_bytes: bool = False
    drops_of_ring: bool = False


def opened(image: Image, base: int = 0) -> Opened:
    io = MemoryIo(disk_of(image))
    made, fault = ffi.new("aqw_stream **"), ffi.new("aqw_fault *")
    at = (io.table, DIRECTORY.encode(), snapshot_of(base))
    status = lib.aqw_stream_open(*at, ffi.NULL, made, fault)
    if status != OK:
        failure = fault_text(fault)
        assert failure.status == "corrupt"
        return Opened("refused", failure.reason, failure.first_sequence, failure.last_sequence)
    summary = lib.aqw_stream_summary_of(made[0])
    found = Opened(
        "clean" if summary.is_clean else "unclean",
        reason_name(summary.drop_reason) if summary.drop_reason else "",
        drops_bytes=summary.dropped_bytes > 0,
        drops_of_ring=bool(summary.ring_has_dropped),
    )
    lib.aqw_stream_free(made[0])
    return found


# --- The table as such ----------------------------------------------------------------------------


def test_the_words_are_the_values_of_the_core() -> None:
    for name, words in WORDS.items():
        for word, value in words.items():
            assert getattr(lib, f"AQW_{name}_{word.replace(' ', '_')}".upper()) == value


def test_every_pattern_meets_exactly_one_case() -> None:
    table = cases()
    assert len({case.label for case in table}) == len(table)
    assert len(PATTERNS) == 180
    for facts in PATTERNS:
        (met,) = [case.label for case in table if case.is_met_by(facts)]
        assert decided(facts) == met


def test_a_fact_without_a_value_opens_nothing() -> None:
    met = lib.aqw_end_decide(ffi.new("aqw_end_facts *"))
    assert (text(met.label), VERDICTS[met.verdict]) == ("undecided", "refused")


def rows_of_the_document() -> Iterator[list[str]]:
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def words_of(name: str, cell: str) -> frozenset[str]:
    return frozenset(WORDS[name]) if cell == "any" else frozenset(cell.split(", "))


def test_the_document_shows_the_table() -> None:
    rows = list(rows_of_the_document())
    start = rows.index(["case", *WORDS, "verdict", "reason"]) + 2
    shown = [
        Case(
            row[0].strip("`"),
            row[6],
            row[7].strip("`"),
            {name: words_of(name, cell) for name, cell in zip(WORDS, row[1:6], strict=True)},
        )
        for row in rows[start : start + len(cases())]
    ]
    assert shown == cases()
    assert not [row for row in rows[start + len(shown) :] if len(row) == 8]


def test_the_document_explains_every_value() -> None:
    explained: dict[str, list[str]] = {}
    rows = list(rows_of_the_document())
    for fact, value, meaning in rows[rows.index(["fact", "value", "meaning"]) + 2 :][:15]:
        explained.setdefault(fact or list(explained)[-1], []).append(value)
        assert meaning
    assert explained == {name: list(words) for name, words in WORDS.items()}


# --- Logs -----------------------------------------------------------------------------------------


class Builder:
    """A log of one segment, which meets the facts that are asked for."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.events = int(facts.ring != "not made")
        watermark = self.events + 1 if facts.bound == "lost" else 0
        self.header = model.Header(UUID, 1, 5, 1, SIZE, watermark)
        self.segment, self.ring = bytearray(SIZE), bytearray(SIZE)
        self.segment[:128] = self.segment[4096:4224] = self.header.to_bytes()
        self.position, self.ordinal = model.DATA, 0

    def add(self, to: bytearray, kind: int = 31, **fields: int) -> None:
        fields = {"lag": model.LAG_UNKNOWN, **fields}
        data = model.record_bytes(self.header, self.position, self.ordinal, kind, **fields)
        to[self.position : self.position + len(data)] = data
        self.position += len(data)
        self.ordinal += kind == 31

    def build(self) -> Image:
        facts = self.facts
        for _ in range(self.events):
            self.add(self.segment)
        if facts.last == "close":
            self.add(self.segment, model.MARKER, lag=0)
        end = self.position
        behind = self.segment if facts.tail == "bytes" else self.ring
        if facts.last == "in batch":
            self.add(behind, flags=model.OPEN)
        if facts.stop == "contradiction":
            self.add(behind, flags=0 if facts.last == "in batch" else model.END)
        if facts.tail == "bytes" and not any(self.segment[end:]):
            self.segment[end + 64] = 1
        if facts.ring == "more":
            self.position += 128
            self.add(self.ring)
        image = {self.header.name: bytes(self.segment)}
        if facts.ring in ("no more", "more", "ahead"):
            used_for = self.header.number + (facts.ring == "ahead")
            image["ring"] = model.ring_bytes(UUID, bytes(self.ring), segment_number=used_for)
        return image

    @property
    def base(self) -> int:
        return self.events + 1 if self.facts.bound == "ahead" else 0


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.label)
def test_logs_meet_every_pattern_of_a_case(case: Case, segment_held: None) -> None:
    """A log has each pattern but those of no log, and the core does with it what the case says."""
    met = [facts for facts in PATTERNS if case.is_met_by(facts) and not is_of_no_log(facts)]
    assert met
    for facts in met:
        builder = Builder(facts)
        image = builder.build()
        assert facts_of(image, builder.base) == facts
        found = opened(image, builder.base)
        assert (found.verdict, found.reason) == (case.verdict, case.reason), facts
        if found.verdict != "refused":
            assert found.drops_bytes == (facts.tail == "bytes")
            assert found.drops_of_ring == (facts.ring == "more")
        if not builder.base:
            same_as_model(image)


def test_each_pattern_of_no_log_has_its_reason() -> None:
    for reason, rule in NO_LOG.items():
        others = [other for name, other in NO_LOG.items() if name != reason]
        told = [facts for facts in PATTERNS if rule(facts)]
        alone = [facts for facts in told if not any(other(facts) for other in others)]
        assert alone, f"{reason}: other reasons cover all of it"


def test_the_sequences_at_stake() -> None:
    """A refusal names the events behind the last whole one, or from the wrong record on."""
    at_stake = {
        Facts("lost", "no record", "whole", "zeros", "no more"): (2, 2),
        Facts("lost", "no record", "in batch", "bytes", "no more"): (3, 2),
        Facts("lost", "contradiction", "in batch", "bytes", "no more"): (3, 2),
        Facts("held", "contradiction", "whole", "zeros", "no more"): (2, 0),
        Facts("ahead", "no record", "whole", "zeros", "no more"): (2, 2),
        Facts("ahead", "no record", "in batch", "bytes", "no more"): (2, 2),
        Facts("held", "no record", "whole", "zeros", "missing"): (2, 0),
        Facts("held", "no record", "in batch", "bytes", "missing"): (2, 0),
        Facts("held", "no record", "whole", "zeros", "ahead"): (2, 0),
        Facts("lost", "no record", "whole", "zeros", "ahead"): (2, 0),
        Facts("ahead", "no record", "whole", "zeros", "ahead"): (2, 0),
    }
    for facts, sequences in at_stake.items():
        builder = Builder(facts)
        found = opened(builder.build(), builder.base)
        assert (found.first_sequence, found.last_sequence) == sequences, facts


def label_of(image: Image | Disk) -> str:
    facts = facts_of(image)
    assert not is_of_no_log(facts), facts
    return decided(facts)


def test_logs_that_a_writer_left() -> None:
    """The cases by logs of the core's own writer: as it left them, and damaged."""
    logs = {name: make() for name, make in LOGS.items()}
    assert {name: label_of(image) for name, image in logs.items()} == {
        "immediate": "unclosed",
        "deferred": "unclosed",
        "ring": "unclosed",
        "chained": "unclosed",
        "closed": "closed",
    }
    immediate, deferred, closed = logs["immediate"], logs["deferred"], closed_log()
    batch, last = records(immediate)[3], records(immediate)[-1]
    assert label_of(changed(immediate, FIRST, batch.position + 20, b"\xee")) == "batch_lost"
    assert label_of(changed(immediate, FIRST, last.position + 20, b"\xee")) == "event_lost"
    unfinished = records(deferred)[2].position
    assert label_of(changed(deferred, FIRST, unfinished, bytes(SIZE - unfinished))) == "batch_torn"
    end = records(deferred)[-1].position + records(deferred)[-1].size
    assert label_of(changed(deferred, FIRST, end, b"\xee")) == "torn"
    assert label_of({FIRST: deferred[FIRST]}) == "ring_missing"
    end = records(closed)[-1].position + records(closed)[-1].size
    assert label_of({FIRST: closed[FIRST]}) == "closed"
    del closed["ring"]
    assert label_of(changed(closed, FIRST, end, b"\xee")) == "ring_missing_behind_close"
    lost = records(immediate)[1].position  # the ring alone has what follows; one record is gone
    in_ring = changed(logs["ring"], "ring", model.RING_DATA + lost, bytes(60))
    assert label_of(in_ring) == "torn_in_ring"


def test_what_a_power_loss_leaves_is_never_refused() -> None:
    """No image of a session is damage; close markers, plain ends and torn tails are among them."""
    session = Session(home())
    images = crash_images(session, long_run, losses=sampled_losses(Random(4), 1))
    disks = [image.disk for image in images]
    met = {label_of(disk) for disk in disks if any(path.endswith(".log") for path in disk.files)}
    assert met <= {case.label for case in cases() if case.verdict != "refused"}
    assert met >= {"closed", "unclosed", "torn"}


@settings(max_examples=100, deadline=None)
@given(made_logs())
def test_no_arrangement_of_records_meets_a_pattern_of_no_log(image: Image) -> None:
    facts = facts_of(image)
    assert not is_of_no_log(facts), facts
    (case,) = [case for case in cases() if case.label == decided(facts)]
    found = opened(image)
    assert (found.verdict, found.reason) == (case.verdict, case.reason)
