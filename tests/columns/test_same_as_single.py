"""Columns do what single commands do: the same sequences, verdicts, errors and projection, before
and after a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue.errors import ValidationError
from tests.support.columns import (
    OPTIONS,
    RESULTS,
    STATES,
    RowSource,
    add_run,
    small_queue,
    submit_columns,
    way_to,
)
from tests.support.queues import in_memory, replayed, state_of


def single(queue: aq.ActionQueue, command: aq.MutationCommand) -> int | ValidationError:
    try:
        return queue.submit(command).sequence
    except ValidationError as error:
        return error


class Pair:
    """A queue that takes single commands and one that takes columns, with the same runs."""

    def __init__(self, directory: Path, random: Random) -> None:
        self.single = aq.open(directory / "single", **OPTIONS)
        self.columns = aq.open(directory / "columns", **OPTIONS)
        self.source = RowSource(random, self.single.projection)
        for state in (
            "running",
            "running",
            "leased",
            "ready",
            "scheduled",
            *random.choices(STATES, k=4),
        ):
            self._both([aq.TaskCreateCommand(None, task := aq.TaskSpec(payload=b""), 1)])
            self._both(
                [
                    aq.RunCreateCommand(
                        None, run := aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
                    )
                ]
            )
            way = way_to(run.id, state)
            self._both(
                [
                    *way[:2],
                    *([aq.LeaseAcquireCommand(None, run.id, "w", 10, 1)] if len(way) >= 2 else []),
                    *way[2:],
                ]
            )
        self.source.run_ids = self.single.projection.run_ids()

    def _both(self, commands: Sequence[aq.MutationCommand]) -> None:
        for queue in (self.single, self.columns):
            for command in commands:
                queue.submit(command)

    def report(self, count: int) -> None:
        """Submit the same commands to both, and compare the verdicts."""
        commands = self.source.commands(count)
        verdicts = [single(self.single, command) for command in commands]
        outcome = submit_columns(self.columns, commands, on_refusal="report")
        accepted = [verdict for verdict in verdicts if isinstance(verdict, int)]
        assert outcome.count == len(accepted)
        assert outcome.first_sequence == (accepted[0] if accepted else 0)
        assert outcome.last_sequence == (accepted[-1] if accepted else 0)
        assert outcome.sequences.tolist() == [
            verdict if isinstance(verdict, int) else 0 for verdict in verdicts
        ]
        assert [outcome.error(row) or outcome.sequences[row] for row in range(count)] == verdicts
        assert outcome.refused_count == count - len(accepted)
        if outcome.refused is None:
            assert outcome.refused_count == 0
        else:
            assert [code == 0 for code in outcome.refused] == [
                isinstance(verdict, int) for verdict in verdicts
            ]

    def all_or_nothing(self, count: int) -> None:
        """Submit the same commands to both as one: all of them, or none and the same error."""
        commands = self.source.commands(count)
        before = state_of(self.columns)
        try:
            self.single.submit_many(commands)
        except ValidationError as error:
            with pytest.raises(ValidationError) as refusal:
                submit_columns(self.columns, commands)
            assert refusal.value == error
            assert refusal.value.batch_index == error.batch_index
            assert state_of(self.columns) == before
        else:
            outcome = submit_columns(self.columns, commands, on_refusal="raise")
            assert (outcome.count, outcome.refused, outcome.last_sequence) == (
                count,
                None,
                self.single.sequence,
            )

    def compare(self, directory: Path) -> None:
        expected = state_of(self.single)
        assert state_of(self.columns) == expected
        for queue in (self.single, self.columns):
            queue.close()
        assert replayed(directory / "columns").to_json() == expected
        with aq.open(directory / "columns", **OPTIONS) as again:
            assert state_of(again) == expected


def play(random: Random, rounds: int, rows_max: int) -> None:
    with in_memory() as directory:
        pair = Pair(directory, random)
        with pair.single, pair.columns:  # closed also where Hypothesis ends an example early
            for _ in range(rounds):
                random.choice([pair.report, pair.report, pair.all_or_nothing])(
                    random.randrange(1, rows_max)
                )
            pair.compare(directory)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False), rounds=st.integers(1, 8))
def test_columns_do_what_single_commands_do(random: Random, rounds: int) -> None:
    play(random, rounds, 12)


@pytest.mark.parametrize("seed", range(3))
def test_columns_do_what_single_commands_do_in_long_calls(seed: int) -> None:
    play(Random(seed), 40, 200)


def test_the_codes_are_in_the_order_of_the_members() -> None:
    assert aq.columns.state_codes(STATES).tolist() == list(range(len(STATES)))
    assert aq.columns.states_from_codes(range(len(STATES))) == list(STATES)
    assert aq.columns.result_codes(RESULTS).tolist() == list(range(len(RESULTS)))
    assert aq.columns.state_codes(["ready", aq.RunState.CANCELED]).tolist() == [1, 8]
    with pytest.raises(aq.InvalidFieldError, match="must be one of scheduled, ready"):
        aq.columns.state_codes(["Ready"])


def test_one_value_stands_for_all_rows() -> None:
    with small_queue() as queue:
        run_ids = aq.columns.id_array([add_run(queue, "ready") for _ in range(3)])
        for run_id in queue.projection.run_ids():
            queue.submit(aq.LeaseAcquireCommand(None, run_id, "worker", 10, 1))
        queue.submit_reschedules(run_ids, 50, -7, 5)
        assert queue.projection.columns().runs["scheduled_at"].tolist() == [50, 50, 50]
        assert queue.projection.columns().runs["effective_priority"].tolist() == [-7, -7, -7]
        queue.submit_transitions(run_ids, "ready", aq.RunState.LEASED, 5)
        queue.submit_transitions(run_ids, 2, 3, 6)
        queue.submit_lease_heartbeats(run_ids, "worker", 20, 7)
        queue.submit_lease_heartbeats(run_ids, b"worker", 21, 7)
        attempt_ids = aq.columns.new_ids(aq.AttemptId, 3)
        queue.submit_attempt_starts(run_ids, attempt_ids, 8)
        results = aq.columns.result_codes(["success", "failure", "suspended"])
        queue.submit_attempt_finishes(
            run_ids, attempt_ids, results, 9, outputs=b"out", errors="broken"
        )
        attempts = [
            queue.projection.attempts(run_id) or [] for run_id in queue.projection.run_ids()
        ]
        assert [(a.result, a.output, a.error, a.finished_at) for (a,) in attempts] == [
            ("success", b"out", None, 9),
            ("failure", None, "broken", 9),
            ("suspended", b"out", None, 9),
        ]
        assert [a.attempt_id for (a,) in attempts] == aq.columns.ids_from_array(
            attempt_ids, aq.AttemptId
        )
        assert {queue.projection.active_lease(run_id) for run_id in queue.projection.run_ids()} == {
            ("worker", 21)
        }
        more = aq.columns.new_ids(aq.AttemptId, 3)
        queue.submit_attempt_starts(run_ids, more, 8)
        queue.submit_attempt_finishes(run_ids, more, aq.AttemptResultKind.SUCCESS, 9)
        last = [
            (queue.projection.attempts(run_id) or [])[-1] for run_id in queue.projection.run_ids()
        ]
        assert {(a.result, a.output, a.error) for a in last} == {("success", None, None)}
