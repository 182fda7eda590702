"""The whole queue against the model, step by step, through clean and unclean ends."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import actionqueue as aq
from actionqueue import MutationOutcome, RunsPurged
from actionqueue.errors import CompactedError, NonMonotonicSequence, ValidationError
from actionqueue.inspection import verify
from actionqueue.json.projection import projection_to_json
from actionqueue.model.base import applied_of, event_of, validate
from tests.support.command_source import CommandSource
from tests.support.model import Model
from tests.support.queues import (
    IN_MEMORY,
    REFUSED,
    apply,
    copy_of,
    log_bytes,
    replayed,
    state_of,
    task_create,
)

durabilities = st.sampled_from(["immediate", "deferred", "deferred", "deferred"])
# From well inside the ring, over its size, to more than the smallest segment holds.
payload_sizes = st.sampled_from([1, 1000, 20_000, 57_000, 65_400, 65_536, 70_000, 200_000])
options = st.fixed_dictionaries(
    {
        "segment_size": st.sampled_from([65536, 65536, 131072]),
        "ring_size": st.sampled_from([65536, 131072]),
        "sector_size": st.sampled_from([0, 512, 4096]),
    }
)


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a queue and to the model."""

    @initialize(options=options, seed=st.integers(0, 2**32))
    def create(self, options: dict[str, int], seed: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="actionqueue-", dir=IN_MEMORY))
        self.kills = 0
        self.model = Model()
        self.source = CommandSource(Random(seed))
        self.options = options
        self.path = self.directory / "queue-0"
        self.queue = aq.open(self.path, compaction=None, **options)
        self.opened_at = 0
        self.snapshots: list[int] = []
        self.reader: aq.ReadOnlyQueue | None = None
        self.followed = Model()  # what the events add up to that were followed
        assert self.queue.recovery.is_created

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            try:
                self.queue.close()
                if not self.snapshots:
                    assert replayed(self.path) == self.model
                verify(self.path)
                with aq.open(self.path, readonly=True) as reader:
                    assert projection_to_json(reader.projection) == self.model.to_json()
            finally:
                if self.reader is not None:
                    self.reader.close()
                shutil.rmtree(self.directory)

    # --- Commands ---------------------------------------------------------------------------------

    def expected(self, command: aq.MutationCommand) -> MutationOutcome | ValidationError:
        """Return the outcome that the model leads to, and let it happen there."""
        try:
            sequence = validate(command, self.model)
        except ValidationError as error:
            return error
        self.model.apply_event(event_of(command, sequence))
        return MutationOutcome(sequence, applied_of(command))

    def submit_and_compare(self, command: aq.MutationCommand, durability: str) -> None:
        expected = self.expected(command)
        actual: MutationOutcome | ValidationError
        try:
            actual = self.queue.submit(command, durability)
        except ValidationError as error:
            actual = error
        assert actual == expected
        if durability == "immediate" and isinstance(actual, MutationOutcome):
            assert self.queue.durable_sequence >= actual.sequence

    @rule(count=st.integers(1, 15), durability=durabilities)
    def submit(self, count: int, durability: str) -> None:
        for _ in range(count):
            self.submit_and_compare(self.source.next(self.model), durability)

    @rule(size=payload_sizes, durability=durabilities)
    def submit_large(self, size: int, durability: str) -> None:
        self.submit_and_compare(task_create(bytes([size % 251]) * size), durability)

    @rule(offset=st.sampled_from([-1, 1, 2, 2**64 - 1]))
    def submit_with_a_wrong_sequence(self, offset: int) -> None:
        expected = self.model.latest_sequence + 1
        wrong = min(max(expected + offset, 0), 2**64 - 1)
        with pytest.raises(NonMonotonicSequence) as refusal:
            self.queue.submit(aq.EnginePauseCommand(wrong, 1))
        assert refusal.value == NonMonotonicSequence(expected, wrong)

    @rule()
    def submit_with_the_right_sequence(self) -> None:
        command = aq.TaskCreateCommand(
            self.model.latest_sequence + 1, aq.TaskSpec(payload=b"right"), 1
        )
        self.submit_and_compare(command, "deferred")

    # --- Batches ----------------------------------------------------------------------------------

    def acceptable(self, count: int) -> list[aq.MutationCommand]:
        """Return commands that are accepted one after the other, without changing the model."""
        ahead, chosen = self.model.copy(), []
        for _ in range(count):
            command = self.source.next(ahead)
            try:
                apply(ahead, [command])
            except ValidationError:
                continue
            chosen.append(command)
        return chosen

    def outcomes_of(self, commands: list[aq.MutationCommand]) -> list[Any]:
        outcomes = [self.expected(command) for command in commands]
        assert all(isinstance(outcome, MutationOutcome) for outcome in outcomes)
        return outcomes

    @rule(count=st.integers(0, 20), durability=durabilities)
    def submit_many(self, count: int, durability: str) -> None:
        commands = self.acceptable(count)
        expected = self.outcomes_of(commands)
        assert self.queue.submit_many(iter(commands), durability) == expected

    @rule(count=st.integers(0, 8), large=st.none() | payload_sizes, durability=durabilities)
    def batch(self, count: int, large: int | None, durability: str) -> None:
        commands = self.acceptable(count)
        if large is not None:
            commands.append(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"b" * large), 1))
        expected = self.outcomes_of(commands)
        with self.queue.batch(durability) as batch:
            for command in commands:
                batch.submit(command)
        assert batch.outcomes == expected

    @rule(before=st.integers(0, 12), after=st.integers(0, 3), large=st.none() | payload_sizes)
    def refused_batch(self, before: int, after: int, large: int | None) -> None:
        accepted = self.acceptable(before)
        if large is not None:
            accepted.append(task_create(b"r" * large))
        wrong = aq.EnginePauseCommand(self.model.latest_sequence + len(accepted) + 2, 1)
        before_bytes = log_bytes(self.path)
        with pytest.raises(ValidationError) as refusal:
            self.queue.submit_many([*accepted, wrong, *[task_create()] * after])
        assert refusal.value.batch_index == len(accepted)
        assert log_bytes(self.path) == before_bytes

    @rule(count=st.integers(1, 5))
    def abandoned_batch(self, count: int) -> None:
        with pytest.raises(KeyError), self.queue.batch() as batch:
            for command in self.acceptable(count):
                batch.submit(command)
            raise KeyError
        with pytest.raises(RuntimeError):
            _ = batch.outcomes

    # --- Durability and ends ----------------------------------------------------------------------

    @rule()
    def sync(self) -> None:
        self.queue.sync()
        assert self.queue.durable_sequence == self.model.latest_sequence

    def reopen(self) -> aq.RecoveryReport:
        self.queue = aq.open(self.path, create=False, compaction=None, **self.options)
        self.opened_at = self.model.latest_sequence
        return self.queue.recovery

    @rule(options=st.none() | options)
    def close_and_reopen(self, options: dict[str, int] | None) -> None:
        self.queue.close()
        self.options = options or self.options
        recovery = self.reopen()
        assert recovery.is_clean
        assert recovery.drop_reason is None
        assert not recovery.is_created
        assert recovery.last_sequence == recovery.durable_sequence == self.model.latest_sequence
        self.check_replayed(recovery)

    def check_replayed(self, recovery: aq.RecoveryReport) -> None:
        """See that the newest snapshot was used, and everything behind it."""
        assert recovery.snapshot_sequence == max(self.snapshots, default=0)
        assert recovery.events == recovery.last_sequence - recovery.snapshot_sequence
        assert recovery.snapshots_damaged == 0

    @rule(options=st.none() | options)
    def kill_and_reopen(self, options: dict[str, int] | None) -> None:
        """Go on in a copy of the files, which is what a killed process leaves: nothing that was
        returned is lost.
        """
        durable = self.queue.durable_sequence
        self.kills += 1
        killed = copy_of(self.path, self.directory / f"queue-{self.kills}")
        self.queue.close()
        self.path = killed
        self.options = options or self.options
        was_used = self.model.latest_sequence > self.opened_at
        recovery = self.reopen()
        assert recovery.last_sequence == self.model.latest_sequence
        self.check_replayed(recovery)
        assert durable <= recovery.durable_sequence <= recovery.last_sequence
        assert not (was_used and recovery.is_clean)
        assert recovery.dropped_events == recovery.dropped_bytes == 0
        assert self.queue.durable_sequence == self.queue.sequence

    # --- Snapshots and compaction -----------------------------------------------------------------

    def check_report(self, report: aq.SnapshotReport, before: int) -> None:
        latest = self.model.latest_sequence
        assert report.sequence == latest == self.queue.durable_sequence
        assert report.is_new == (latest > max(self.snapshots, default=0))
        assert report.replayed_events == latest - max(self.snapshots, default=0) >= latest - before
        if report.is_new:
            self.snapshots = [*self.snapshots[-1:], latest]
        files = sorted(
            int(file.name.removesuffix(".snap")) for file in (self.path / "snapshots").glob("*")
        )
        assert files == self.snapshots

    @rule()
    def snapshot(self) -> None:
        self.check_report(self.queue.snapshot(), self.model.latest_sequence)

    @rule(age=st.none() | st.integers(0, 50))
    def compact(self, age: int | None) -> None:
        """With retention too: what ended before some moment is forgotten by events, which the model
        takes as well.
        """
        before = self.model.latest_sequence
        with patch.object(aq.clock, "now", return_value=1_000_000):
            retention = None if age is None else 1_000_000 - max(0, self.source.clock - age)
            report = self.queue.compact(retention_seconds=retention)
        purges = list(aq.follow(self.path, after=before, timeout=0)) if age is not None else []
        for event in purges:
            assert isinstance(event, RunsPurged)
            self.model.apply_event(event)
        forgotten = [event for event in purges if isinstance(event, RunsPurged)]
        assert report.purged_runs == sum(len(event.run_ids) for event in forgotten)
        assert report.purged_subscriptions == sum(
            len(event.subscription_ids) for event in forgotten
        )
        assert report.purged_actors == sum(len(event.actor_ids) for event in forgotten)
        self.check_report(report, before)
        assert report.kept_sequence == (self.snapshots[-2] if len(self.snapshots) > 1 else 0)

    # --- Readers ----------------------------------------------------------------------------------

    def check_reader(self, reader: aq.ReadOnlyQueue) -> None:
        assert reader.sequence == reader.durable_sequence == self.queue.durable_sequence
        if reader.sequence == self.model.latest_sequence:
            assert projection_to_json(reader.projection) == self.model.to_json()

    @rule()
    def open_a_reader(self) -> None:
        self.reader = aq.open(self.path, readonly=True)
        assert self.reader.has_writer
        self.check_reader(self.reader)

    @rule()
    def refresh_the_reader(self) -> None:
        """It may have been opened long before, and the log may no longer go back that far."""
        if self.reader is not None and self.reader.path == str(self.path):
            before = self.reader.sequence
            assert self.reader.refresh() == self.reader.sequence - before >= 0
            self.check_reader(self.reader)

    @rule()
    def follow(self) -> None:
        try:
            for event in aq.follow(self.path, after=self.followed.latest_sequence, timeout=0):
                assert event.sequence == self.followed.latest_sequence + 1
                self.followed.apply_event(event)
        except CompactedError as error:
            assert self.snapshots
            assert error.first_sequence > self.followed.latest_sequence + 1
            self.queue.sync()
            self.followed = self.model.copy()
        assert self.followed.latest_sequence == self.queue.durable_sequence
        if self.followed.latest_sequence == self.model.latest_sequence:
            assert self.followed == self.model

    # --- What always holds ------------------------------------------------------------------------

    @invariant()
    def projection_is_the_model(self) -> None:
        if hasattr(self, "queue"):
            assert state_of(self.queue) == self.model.to_json()
            assert self.queue.durable_sequence <= self.queue.sequence == self.model.latest_sequence
            stats = self.queue.stats()
            assert stats["last_sequence"] == self.queue.sequence
            assert stats["ring_used"] <= stats["ring_size"]
            assert stats["segment_used"] <= stats["segment_size"]


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_refused_batch_of_one() -> None:
    with tempfile.TemporaryDirectory() as directory, aq.open(directory) as queue:
        with pytest.raises(ValidationError) as refusal:
            queue.submit_many([REFUSED])
        assert refusal.value.batch_index == 0
        assert queue.sequence == 0
