"""Plans: steps that a queue accepts, made beforehand, and the state after each of them.

A child that is killed or whose calls fail does the steps; its test knows them too, and so what must
be found later.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import actionqueue as aq
from actionqueue.errors import ValidationError
from tests.support.command_source import CommandSource
from tests.support.model import Model
from tests.support.queues import apply

DURABILITIES = ("immediate", "deferred", "deferred", "deferred")
PAYLOAD_SIZES = (10_000, 40_000, 66_000, 150_000)


class Step(NamedTuple):
    """Commands that are submitted in one call."""

    commands: list[aq.MutationCommand]
    is_batch: bool
    durability: str

    def submit(self, queue: aq.ActionQueue) -> int:
        """Submit them, and return the sequence of the last."""
        if self.is_batch:
            return queue.submit_many(self.commands, self.durability)[-1].sequence
        return queue.submit(self.commands[0], self.durability).sequence


class Plan:
    """Steps that a queue at the model's state accepts, and the state after each of them."""

    def __init__(
        self, random: Random, model: Model, length: int, large_share: float = 0.15
    ) -> None:
        self.steps: list[Step] = []
        self.states = {model.latest_sequence: model.to_json()}
        self.ends = {model.latest_sequence: model.copy()}
        ahead, source = model.copy(), CommandSource(random, poison=False)
        source.clock += model.latest_sequence
        for _ in range(length):
            is_batch = random.random() < 0.3
            commands = self.acceptable(source, ahead, random.randrange(2, 12) if is_batch else 1)
            if random.random() < large_share:
                large = aq.TaskCreateCommand(
                    None, aq.TaskSpec(payload=random.randbytes(random.choice(PAYLOAD_SIZES))), 1
                )
                apply(ahead, [large])
                commands.append(large)
            is_batch = is_batch or len(commands) > 1
            if commands:
                self.add(Step(commands, is_batch, random.choice(DURABILITIES)), ahead)

    def add(self, step: Step, ahead: Model) -> None:
        """Add a step that leads to this state."""
        self.steps.append(step)
        self.states[ahead.latest_sequence] = ahead.to_json()
        self.ends[ahead.latest_sequence] = ahead.copy()

    @staticmethod
    def acceptable(source: CommandSource, ahead: Model, count: int) -> list[aq.MutationCommand]:
        commands = []
        for _ in range(count):
            command = source.next(ahead)
            try:
                apply(ahead, [command])
            except ValidationError:
                continue
            commands.append(command)
        return commands

    def run(self, queue: aq.ActionQueue, first: int) -> Iterator[int]:
        """Submit the steps from one on, yielding the sequence after each."""
        for step in self.steps[first:]:
            yield step.submit(queue)


def filling_plan(
    seed: int, length: int, before: Model | None = None, *, large: int, size: int = 13_000
) -> Plan:
    """Return a plan of small steps first, then of large commands that fill segments, every second
    of them immediate.
    """
    random = Random(seed)
    plan = Plan(random, before or Model(), length, large_share=0.0)
    ahead = plan.ends[max(plan.ends)].copy()
    for index in range(large):
        command = aq.TaskCreateCommand(None, aq.TaskSpec(payload=random.randbytes(size)), 1)
        apply(ahead, [command])
        plan.add(
            Step([command], is_batch=False, durability=("deferred", "immediate")[index % 2]), ahead
        )
    return plan
