"""Writers that are cut off, killed, deposed and opened again: the log has what was acknowledged.

The model is a list: the event of each sequence, as it was first seen in the engine.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import actionqueue as aq
from _wal_native.group import records_of_group
from _wal_native.snapshot import image_digest
from actionqueue.replication.queue import ReplicatedQueue
from tests.support.stores.memory import Engine, MemoryStore

sites = st.sampled_from("ab")
some_are_open = precondition(lambda self: any(each.queue for each in self.sites.values()))
some_are_closed = precondition(lambda self: not all(each.queue for each in self.sites.values()))
faults = st.sampled_from(["", "", "before", "after", "unavailable", "late"])


class Site:
    """A directory, and the process that has it open, if there is one."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.path = folder / name
        self.queue: ReplicatedQueue | None = None
        self.store: MemoryStore | None = None
        self.accepted: dict[int, bytes] = {}
        """What this directory's processes have acknowledged at all, since it was compared last."""


class Replicated(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="aq-"))
        self.engine = Engine()
        MemoryStore(self.engine).initialize()
        self.log = self.engine.logs["actionqueue"]
        self.sites = {name: Site(name, self.folder) for name in "ab"}
        self.events: list[bytes] = []
        self.durable: dict[int, bytes] = {}
        self.number = 0
        self.copies = 0
        self.last_writer: Site | None = None
        self.graveyard: list[ReplicatedQueue] = []

    def one(self, name: str, *, is_open: bool) -> Site:
        """Return the site of this name where it is open or closed as asked for, or the other."""
        able = [each for each in self.sites.values() if (each.queue is not None) is is_open]
        return next((each for each in able if each.name == name), able[0])

    # --- What happens -----------------------------------------------------------------------------

    @some_are_closed
    @rule(name=sites, in_the_way=st.booleans())
    def open(self, name: str, in_the_way: bool) -> None:
        """Open a directory; without patience, or as if the other writer were silent for long."""
        site = self.one(name, is_open=False)
        if not in_the_way:
            self.log.owner = None  # whatever it keeps saying
        site.store = MemoryStore(self.engine)
        try:
            site.queue = aq.open(
                site.path,
                store=site.store,
                takeover_seconds=0,
                outbox_seconds=0.2,
                holder=site.name,
                segment_size=1 << 16,
                compaction=None,
            )
        except aq.TermHeldError:
            assert in_the_way
            return
        self.see()
        self.check_what_was_accepted(site)
        self.last_writer = site

    def check_what_was_accepted(self, site: Site) -> None:
        """All of it is in the log, unless another writer came; then the rest is reported."""
        assert site.queue is not None
        missing = {
            sequence
            for sequence, payload in site.accepted.items()
            if self.events[sequence - 1 : sequence] != [payload]
        }
        lost = site.queue.stats()["store"]["lost"]
        if self.last_writer is site:
            assert not missing
        if missing:
            lines = [json.loads(line) for line in Path(lost.path).read_text().splitlines()]
            # Where the log was trimmed, what can no longer be compared is in the file, too.
            assert missing <= {line["sequence"] for line in lines}
        site.accepted.clear()

    def task(self) -> tuple[aq.TaskCreateCommand, bytes]:
        self.number += 1
        payload = b"%d" % self.number
        return aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), 1), payload

    @some_are_open
    @rule(name=sites, fault=faults, size=st.integers(1, 3))
    def immediate(self, name: str, fault: str, size: int) -> None:
        site = self.one(name, is_open=True)
        assert site.queue is not None
        assert site.store is not None
        site.store.is_cut = False
        commands, payloads = zip(*(self.task() for _ in range(size)), strict=True)
        site.store.fail_next = fault
        try:
            outcomes = site.queue.submit_many(commands, "immediate")
        except (aq.PartialDurabilityError, aq.PoisonedError):
            assert self.last_writer is not site
        else:
            assert self.last_writer is site
            for outcome, payload in zip(outcomes, payloads, strict=True):
                self.durable[outcome.sequence] = payload
        self.see()

    @some_are_open
    @rule(name=sites, size=st.integers(1, 30))
    def deferred(self, name: str, size: int) -> None:
        self.submit_deferred(self.one(name, is_open=True), size)

    def submit_deferred(self, site: Site, size: int) -> None:
        assert site.queue is not None
        for _ in range(size):
            command, payload = self.task()
            if site.queue._log is None or is_held(site.queue):
                return
            try:
                outcome = site.queue.submit(command, "deferred")
            except aq.PoisonedError:
                assert self.last_writer is not site
                return
            site.accepted[outcome.sequence] = payload

    @some_are_open
    @rule(name=sites)
    def cut(self, name: str) -> None:
        site = self.one(name, is_open=True)
        assert site.store is not None
        site.store.is_cut = not site.store.is_cut

    @some_are_open
    @rule(name=sites, unshipped=st.integers(0, 3))
    def kill(self, name: str, unshipped: int) -> None:
        """Go on with the files as SIGKILL would leave them."""
        site = self.one(name, is_open=True)
        assert site.queue is not None
        assert site.store is not None
        if unshipped:
            site.store.is_cut = True
            self.submit_deferred(site, unshipped)
        with self.engine.lock:  # nothing comes between the last append and the files
            site.store.is_cut = True
            self.copies += 1
            path = self.folder / f"{site.name}{self.copies}"
            shutil.copytree(site.path, path)
        self.graveyard.append(site.queue)
        site.queue, site.path = None, path

    @some_are_open
    @rule(name=sites)
    def close(self, name: str) -> None:
        site = self.one(name, is_open=True)
        assert site.queue is not None
        with contextlib.suppress(aq.PartialDurabilityError):
            site.queue.close()
        site.queue = None
        self.see()

    @some_are_open
    @rule(name=sites)
    def snapshot(self, name: str) -> None:
        site = self.one(name, is_open=True)
        assert site.queue is not None
        assert site.store is not None
        site.store.is_cut = False
        try:
            site.queue.compact()
        except (aq.PartialDurabilityError, aq.PoisonedError):
            assert self.last_writer is not site

    @rule()
    def read(self) -> None:
        """A reader and a new copy have the same projection."""
        self.log.watermark = self.log.next_sequence - 1
        with aq.open(store=MemoryStore(self.engine), readonly=True) as reader:
            assert reader.sequence < self.log.next_sequence
            writer = self.last_writer
            if writer is None or writer.queue is None or writer.queue.sequence != reader.sequence:
                return
            assert image_digest(writer.queue.projection) == image_digest(reader.projection)

    # --- What is always true ----------------------------------------------------------------------

    def see(self) -> None:
        """Take the engine's events into the model: none ever changes."""
        with self.engine.lock:
            groups = list(self.log.groups)
        for first, last, group in groups:
            payloads = [payload_of(record) for record in records_of_group(group, first - 1)]
            assert len(payloads) == last - first + 1
            known = self.events[first - 1 : last]
            assert payloads[: len(known)] == known
            if last > len(self.events):
                self.events += payloads[len(known) :]

    @invariant()
    def what_is_durable_is_in_the_log(self) -> None:
        self.see()
        for sequence, payload in self.durable.items():
            assert self.events[sequence - 1] == payload

    def teardown(self) -> None:
        for queue in [*self.graveyard, *(site.queue for site in self.sites.values())]:
            if queue is not None:
                queue._outbox_seconds = 0.0
                with contextlib.suppress(aq.ActionQueueError):
                    queue.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def payload_of(record: Any) -> bytes:
    from _wal_native.events import decode_event

    return bytes(decode_event(record[3], record[2], record[7]).task_spec.payload.data)


def is_held(queue: ReplicatedQueue) -> bool:
    """Whether a submit would wait, for the store or for the end of the lease."""
    shipper = queue._shipper
    return shipper is None or shipper.append_seconds() < 0.1


TestReplicated = Replicated.TestCase
TestReplicated.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
