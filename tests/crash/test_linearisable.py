"""Sixty-four threads at one queue: everything that each of them saw fits one serial order, which is
the log's.

The threads share one stream of commands that was made for a single one. So what they submit fits
mostly, and often no more: every verdict must be the one that the model reaches at some state
between the beginning of the call and its end.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

import actionqueue as aq
from actionqueue import Event
from actionqueue.errors import ValidationError
from actionqueue.inspection import iterate_records
from actionqueue.model.base import event_of, validate
from tests.support.command_source import CommandSource
from tests.support.crash import ledger
from tests.support.model import Model
from tests.support.queues import state_of

THREADS = 64


@dataclass
class Seen:
    """One call: what was submitted or asked, what came of it, and the sequences at its beginning
    and end.
    """

    commands: Sequence[aq.MutationCommand]
    sequences: tuple[int, ...] = ()
    """Of the outcomes."""
    refusal: ValidationError | None = None
    run_id: aq.RunId | None = None
    state: aq.RunState | None = None
    """The answer to a query."""
    first: int = 0
    last: int = 0
    began: int = 0
    ended: int = 0


def stream_of(length: int, seed: int) -> list[aq.MutationCommand]:
    """Return commands that fit in this order. Few of them say which sequence they expect, for
    hardly one of those could fit.
    """
    random, model = Random(seed), Model()
    source = CommandSource(random)
    commands: list[aq.MutationCommand] = []

    def submit(command: aq.MutationCommand) -> None:
        with contextlib.suppress(ValidationError):
            model.apply_event(event_of(command, validate(command, model)))
        commands.append(
            command if random.random() < 0.02 else msgspec.structs.replace(command, sequence=None)
        )

    source.stream(length, model, submit)
    return commands


class Crowd:
    """The threads, and what they saw."""

    def __init__(self, queue: aq.ActionQueue, commands: list[aq.MutationCommand]) -> None:
        self.queue, self.commands = queue, commands
        self.run_ids = [
            command.run_instance.id
            for command in commands
            if isinstance(command, aq.RunCreateCommand)
        ]
        self.next_command = itertools.count()
        self.tick = itertools.count()  # advanced in one step of the interpreter
        self.seen: list[list[Seen]] = [[] for _ in range(THREADS)]
        self.failures: list[BaseException] = []

    def run(self) -> None:
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _work(self, number: int) -> None:
        random = Random(number)
        try:
            while (at := next(self.next_command)) < len(self.commands):
                count = 3 if random.random() < 0.1 else 1
                self.seen[number].append(self._submit(self.commands[at : at + count], random))
                self.seen[number].append(self._ask(random))
        except BaseException as failure:
            self.failures.append(failure)

    def _submit(self, commands: list[aq.MutationCommand], random: Random) -> Seen:
        policy = "immediate" if random.random() < 0.3 else "deferred"
        seen = Seen(commands, began=next(self.tick), first=self.queue.sequence)
        try:
            if len(commands) == 1:
                seen.sequences = (self.queue.submit(commands[0], policy).sequence,)
            else:
                seen.sequences = tuple(
                    outcome.sequence for outcome in self.queue.submit_many(commands, policy)
                )
        except ValidationError as refusal:
            seen.refusal = refusal
        else:
            if policy == "immediate":
                assert self.queue.durable_sequence >= seen.sequences[-1]
        seen.last, seen.ended = self.queue.sequence, next(self.tick)
        return seen

    def _ask(self, random: Random) -> Seen:
        run_id = random.choice(self.run_ids)
        seen = Seen((), run_id=run_id, began=next(self.tick), first=self.queue.sequence)
        seen.state = self.queue.projection.run_state(run_id)
        seen.last, seen.ended = self.queue.sequence, next(self.tick)
        return seen


def fits(seen: Seen, model: Model) -> bool:
    """Whether the call may have ended as it did in this state."""
    if seen.run_id is not None:
        return model.run_state(seen.run_id) == seen.state
    assert seen.refusal is not None
    index = seen.refusal.batch_index or 0
    if index:
        model = model.copy()
    try:
        for command in seen.commands[:index]:
            model.apply_event(event_of(command, validate(command, model)))
        validate(seen.commands[index], model)
    except ValidationError as refusal:
        return refusal == seen.refusal
    return False


def check_order(seen: list[Seen], events: list[Event]) -> None:
    """Every outcome's event is in the log, once; calls of which one ended before the other began
    are in that order.
    """
    accepted = [call for call in seen if call.sequences]
    assert sorted(sequence for call in accepted for sequence in call.sequences) == list(
        range(1, len(events) + 1)
    )
    for call in accepted:
        assert call.sequences == tuple(
            range(call.sequences[0], call.sequences[0] + len(call.commands))
        )
        assert call.first < call.sequences[0] <= call.sequences[-1] <= call.last
        for command, sequence in zip(call.commands, call.sequences, strict=True):
            assert events[sequence - 1] == event_of(command, sequence)
    highest_ended = 0
    ended = sorted(accepted, key=lambda call: call.ended)
    at = 0
    for call in sorted(accepted, key=lambda call: call.began):
        while at < len(ended) and ended[at].ended < call.began:
            highest_ended = max(highest_ended, ended[at].sequences[-1])
            at += 1
        assert call.sequences[0] > highest_ended


def check_verdicts(seen: list[Seen], events: list[Event]) -> tuple[Model, list[Seen]]:
    """Go through the states in the log's order; return the last one, and the calls that fitted none
    of theirs.
    """
    model = Model()
    coming = sorted(
        (call for call in seen if not call.sequences), key=lambda call: call.first, reverse=True
    )
    waiting: list[Seen] = []
    unfit: list[Seen] = []
    accepted = {sequence: call for call in seen for sequence in call.sequences[:1]}
    for sequence in range(len(events) + 1):
        if sequence:
            model.apply_event(events[sequence - 1])  # which refuses what is against the rules
        while coming and coming[-1].first <= sequence:
            waiting.append(coming.pop())
        waiting = [call for call in waiting if not fits(call, model)]
        unfit += [call for call in waiting if call.last <= sequence]
        waiting = [call for call in waiting if call.last > sequence]
        if (call := accepted.get(sequence + 1)) is not None:
            assert validate(call.commands[0], model) == sequence + 1
    return model, unfit + waiting + coming


def test_what_all_threads_saw_is_one_serial_order(directory: Path, long_form: bool) -> None:
    verdicts = 0
    for seed in range(25 if long_form else 1):
        path = directory / str(seed)
        with aq.open(path, segment_size=2**18, ring_size=65536) as queue:
            crowd = Crowd(queue, stream_of(4000 if long_form else 2500, seed))
            crowd.run()
            state = state_of(queue)
        events = [record.event() for record in iterate_records(path) if record.is_event]
        seen = [call for thread in crowd.seen for call in thread]
        check_order(seen, events)
        model, unfit = check_verdicts(seen, events)
        assert unfit == []
        assert model.to_json() == state
        refused = sum(call.refusal is not None for call in seen)
        assert 0 < refused < len(seen) / 2
        assert len({type(call.refusal) for call in seen}) > 10
        verdicts += len(seen)
    ledger.record(
        "many threads",
        verdicts,
        note=f"verdicts and answers to {THREADS} threads, against the model in the log's order",
    )
