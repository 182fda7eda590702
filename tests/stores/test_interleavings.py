"""Writers, a reader and lost answers in any order: what was acknowledged is in the log, once."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actionqueue.errors import (
    FencedError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TermHeldError,
)
from actionqueue.stores.protocol import Term
from tests.support.stores.memory import LEASE_SECONDS, Engine, MemoryStore

writers = st.integers(0, 1)
faults = st.sampled_from(["", "", "", "before", "after", "unavailable"])


class Writer:
    """A store, its term, and the group whose append's answer it lacks."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self.store = MemoryStore(engine)
        self.term: Term | None = None
        self.next = 0
        self.open: bytes | None = None
        self.appended = 0

    def group(self) -> bytes:
        assert self.term is not None
        self.appended += 1
        return f"{self.term.epoch} {self.name} {self.appended}".encode()


class Interleavings(RuleBasedStateMachine):
    """Two writers take turns as they like; `groups` is what the log has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine()
        self.time = 0.0
        self.engine.clock = lambda: self.time
        self.writers = [Writer(self.engine, name) for name in "ab"]
        self.reader = MemoryStore(self.engine)
        self.reader.initialize()
        self.groups: list[bytes] = []
        self.acknowledged = 0
        self.holder: Writer | None = None

    def end(self, writer: Writer) -> None:
        writer.term = writer.open = None

    @rule(number=writers, fault=faults, waits=st.booleans())
    def campaign(self, number: int, fault: str, waits: bool) -> None:
        """Take the log, which another writer may think that it has still."""
        writer = self.writers[number]
        if self.holder is writer:
            return
        if waits:
            self.time += 2 * LEASE_SECONDS
        if fault == "unavailable":
            writer.store.fail_next = fault
        try:
            writer.term = writer.store.campaign(writer.name, timeout=0)
        except TermHeldError as error:
            assert self.holder is not None
            assert self.holder is not writer
            assert error.holder == self.holder.name
            assert self.time <= self.holder.store.valid_until(self.holder.term)
        except StoreUnavailableError:
            assert fault == "unavailable"
        else:
            if self.holder is not None and self.holder.term is not None:
                assert self.time > self.holder.store.valid_until(self.holder.term)
            assert writer.term.first_sequence == len(self.groups) + 1
            writer.next, writer.open, self.holder = writer.term.first_sequence, None, writer

    @precondition(lambda self: any(each.term and not each.open for each in self.writers))
    @rule(which=writers, several=st.lists(faults, min_size=1, max_size=3))
    def append(self, which: int, several: list[str]) -> None:
        able = [each for each in self.writers if each.term and not each.open]
        writer = able[which % len(able)]
        for fault in several:
            if writer.term is not None and writer.open is None:
                self.append_one(writer, fault)

    def append_one(self, writer: Writer, fault: str) -> None:
        assert writer.term is not None
        group = writer.group()
        writer.store.fail_next = fault
        try:
            writer.store.append(writer.term, writer.next, writer.next, group)
        except FencedError as error:
            assert self.holder is not writer
            assert error.epoch > writer.term.epoch
            self.end(writer)
        except OutcomeUnknownError:
            assert fault in {"before", "after"}
            writer.open = group
            if fault == "after" and self.holder is writer:
                self.groups.append(group)
        except StoreUnavailableError:
            assert fault == "unavailable"
        else:
            assert self.holder is writer
            self.groups.append(group)
            self.acknowledged = len(self.groups)
            writer.store.append(writer.term, writer.next, writer.next, group)  # it is there once
            writer.next += 1
        writer.store.fail_next = ""

    @precondition(lambda self: any(each.open for each in self.writers))
    @rule(which=writers)
    def settle(self, which: int) -> None:
        able = [each for each in self.writers if each.open]
        writer = able[which % len(able)]
        assert writer.term is not None
        assert writer.open is not None
        try:
            writer.term = writer.store.campaign(writer.name, resume=writer.term, timeout=0)
        except FencedError:
            assert self.holder is not writer
            self.end(writer)
            return
        assert self.holder is writer
        is_there = writer.store.outcome(writer.term, writer.next, writer.open)
        assert is_there == (self.groups[-1:] == [writer.open])
        if not is_there:
            writer.store.append(writer.term, writer.next, writer.next, writer.open)
            self.groups.append(writer.open)
        self.acknowledged = len(self.groups)
        writer.next, writer.open = writer.next + 1, None

    @precondition(lambda self: any(each.term and not each.open for each in self.writers))
    @rule(which=writers)
    def keep_or_resign(self, which: int) -> None:
        able = [each for each in self.writers if each.term and not each.open]
        writer = able[which % len(able)]
        assert writer.term is not None
        is_kept = self.time < writer.store.valid_until(writer.term)
        try:
            (writer.store.keep if is_kept else writer.store.resign)(writer.term)
        except FencedError:
            assert self.holder is not writer
            self.end(writer)
            return
        if not is_kept:
            self.holder = None if self.holder is writer else self.holder
            self.end(writer)

    @rule(share=st.sampled_from([0.3, 0.8, 1.5]))
    def wait(self, share: float) -> None:
        self.time += LEASE_SECONDS * share

    @invariant()
    def the_log_is_as_it_has_to_be(self) -> None:
        assert list(self.reader.read(0, upto=len(self.groups))) == self.groups
        seen = list(self.reader.read(0))
        assert seen == self.groups[: len(seen)]
        epochs = [int(group.split()[0]) for group in self.groups]
        assert epochs == sorted(epochs)
        assert self.reader.head().next_sequence == len(self.groups) + 1
        assert len(self.groups) >= self.acknowledged


TestInterleavings: Any = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
