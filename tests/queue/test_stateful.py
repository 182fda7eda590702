"""The whole queue against the model, step by step, through clean and unclean ends."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import actionqueue as aq
from actionqueue.errors import NonMonotonicSequence, ValidationError
from actionqueue.mapping import applied_of, event_of
from actionqueue.outcomes import MutationOutcome
from actionqueue.validation import validate
from command_source import CommandSource
from model import Model
from queue_tools import IN_MEMORY, REFUSED, apply, copy_of, log_bytes, replayed, state_of, task_create

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
        self.queue = aq.open(self.path, **options)
        self.opened_at = 0
        assert self.queue.recovery.is_created

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            try:
                self.queue.close()
                assert replayed(self.path) == self.model
            finally:
                shutil.rmtree(self.directory)

    # --- Commands ----------------------------------------------------------------------------------------------------

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
        command = aq.TaskCreateCommand(self.model.latest_sequence + 1, aq.TaskSpec(payload=b"right"), 1)
        self.submit_and_compare(command, "deferred")

    # --- Batches -----------------------------------------------------------------------------------------------------

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

    # --- Durability and ends -----------------------------------------------------------------------------------------

    @rule()
    def sync(self) -> None:
        self.queue.sync()
        assert self.queue.durable_sequence == self.model.latest_sequence

    def reopen(self) -> aq.RecoveryReport:
        self.queue = aq.open(self.path, create=False, **self.options)
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
        assert recovery.events == recovery.last_sequence == recovery.durable_sequence == self.model.latest_sequence

    @rule(options=st.none() | options)
    def kill_and_reopen(self, options: dict[str, int] | None) -> None:
        """Go on in a copy of the files, which is what a killed process leaves: nothing that was returned is lost."""
        durable = self.queue.durable_sequence
        self.kills += 1
        killed = copy_of(self.path, self.directory / f"queue-{self.kills}")
        self.queue.close()
        self.path = killed
        self.options = options or self.options
        was_used = self.model.latest_sequence > self.opened_at
        recovery = self.reopen()
        assert recovery.last_sequence == recovery.events == self.model.latest_sequence
        assert durable <= recovery.durable_sequence <= recovery.last_sequence
        assert not (was_used and recovery.is_clean)
        assert recovery.dropped_events == recovery.dropped_bytes == 0
        assert self.queue.durable_sequence == self.queue.sequence

    # --- What always holds -------------------------------------------------------------------------------------------

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
