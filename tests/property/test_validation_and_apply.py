"""Validation and replay agree: what is accepted can be applied, and what breaks a rule is refused
by both.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionqueue import Event, MutationCommand
from actionqueue.errors import (
    ActionQueueError,
    ActiveAttemptBlocksTransition,
    AttemptIdReused,
    EngineResumeBeforePause,
    NonMonotonicSequence,
    RefusedEventError,
    RunCreateNotFresh,
    RunCreateRequiresScheduled,
    ValidationError,
)
from actionqueue.json.projection import projection_to_json
from actionqueue.model.base import event_of, validate
from actionqueue.projection import Projection
from tests.support.command_source import CommandSource
from tests.support.model import Model
from tests.support.strategies import build_stream, command_sources, commands, events


class Pair:
    """The slow model and the native projection, side by side."""

    def __init__(self) -> None:
        self.model = Model()
        self.native = Projection()

    def submit(self, command: MutationCommand) -> None:
        """Ask validation over both, and hold both projections to the answer."""
        verdict = self._validate(command, self.model)
        assert verdict == self._validate(command, self.native)
        if isinstance(verdict, int):
            event = event_of(command, verdict)
            self.model.apply_event(event)
            self.native.apply_event(event)
            return
        sequence = self.model.latest_sequence + 1
        if isinstance(verdict, NonMonotonicSequence):
            # This is a gap, which is legal in a log that another program wrote.
            if verdict.provided > sequence:
                return
            sequence = verdict.provided
        self.assert_both_refuse(
            event_of(command, sequence), is_new_run=self._is_about_a_new_run(verdict)
        )

    def apply(self, event: Event) -> None:
        """Apply an event whose command nobody validated: both take it, or both refuse it for the
        same reason.
        """
        refusals = [self._refusal(projection, event) for projection in (self.model, self.native)]
        assert refusals[0] == refusals[1]

    def assert_both_refuse(self, event: Event, *, is_new_run: bool) -> None:
        before = self.model.to_json()
        refusals = [self._refusal(projection, event) for projection in (self.model, self.native)]
        assert None not in refusals
        # The shape of a new run is not the table's to judge: its events cannot hold any other.
        assert is_new_run or refusals[0] == refusals[1]
        assert self.model.to_json() == before
        assert projection_to_json(self.native) == before

    def assert_equal(self) -> None:
        assert projection_to_json(self.native) == self.model.to_json()

    @staticmethod
    def _validate(
        command: MutationCommand, projection: Model | Projection
    ) -> int | ValidationError:
        try:
            return validate(command, projection)
        except ValidationError as error:
            return error

    @staticmethod
    def _refusal(projection: Model | Projection, event: Event) -> ActionQueueError | None:
        try:
            projection.apply_event(event)
        except ActionQueueError as error:
            return error
        return None

    @staticmethod
    def _is_about_a_new_run(error: ValidationError) -> bool:
        return isinstance(error, RunCreateRequiresScheduled | RunCreateNotFresh)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(source=command_sources(), length=st.integers(1, 40))
def test_what_validation_says_apply_does(source: CommandSource, length: int) -> None:
    pair = Pair()
    source.stream(length, pair.model, pair.submit)
    pair.assert_equal()


@pytest.mark.parametrize("seed", range(6))
def test_what_validation_says_apply_does_in_long_streams(seed: int) -> None:
    pair = Pair()
    CommandSource(Random(seed)).stream(1500, pair.model, pair.submit)
    pair.assert_equal()


@settings(deadline=None)
@given(stream=st.lists(commands, max_size=12))
def test_what_validation_says_apply_does_for_commands_that_fit_nothing(
    stream: list[MutationCommand],
) -> None:
    pair = Pair()
    for command in stream:
        pair.submit(command)
    pair.assert_equal()


@settings(deadline=None)
@given(seed=st.integers(0, 50), later=st.lists(events, max_size=12))
def test_both_projections_judge_any_event_alike(seed: int, later: list[Event]) -> None:
    pair = Pair()
    for command in build_stream(Random(seed), 60)[0]:
        pair.submit(command)
    for event in later:
        pair.apply(event)
    pair.assert_equal()


POISON = {
    ActiveAttemptBlocksTransition,
    EngineResumeBeforePause,
    AttemptIdReused,
    RunCreateNotFresh,
}


@pytest.mark.parametrize("poison", [True, False])
def test_the_streams_hold_poison_where_they_shall(poison: bool) -> None:
    model = Model()
    refused: set[type[ValidationError]] = set()

    def submit(command: MutationCommand) -> None:
        try:
            sequence = validate(command, model)
        except ValidationError as error:
            refused.add(type(error))
        else:
            model.apply_event(event_of(command, sequence))

    CommandSource(Random(1), poison=poison).stream(5000, model, submit)
    assert refused & POISON == (POISON if poison else set())


def test_a_refused_event_has_the_name_of_its_rule() -> None:
    stream, model = build_stream(Random(1), 40)
    event = event_of(stream[0], model.latest_sequence)
    with pytest.raises(RefusedEventError) as refusal:
        model.apply_event(event)
    assert refusal.value == RefusedEventError(rule="sequence", sequence=model.latest_sequence)
