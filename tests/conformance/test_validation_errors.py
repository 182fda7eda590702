"""Every refusal, provoked through each lane, with its fields; and which refusal wins where two
apply.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from actionqueue import (
    AttemptFinishCommand,
    AttemptId,
    AttemptOutcome,
    AttemptStartCommand,
    BudgetAllocateCommand,
    BudgetConsumeCommand,
    BudgetDimension,
    BudgetReplenishCommand,
    DependencyDeclareCommand,
    EnginePauseCommand,
    EnginePaused,
    EngineResumeCommand,
    EventFilter,
    LeaseAcquireCommand,
    LeaseExpireCommand,
    LeaseHeartbeatCommand,
    LeaseReleaseCommand,
    MutationCommand,
    RunCreateCommand,
    RunId,
    RunInstance,
    RunRescheduleCommand,
    RunResumeCommand,
    RunsPurged,
    RunState,
    RunStateTransitionCommand,
    RunSuspendCommand,
    SubscriptionCancelCommand,
    SubscriptionCreateCommand,
    SubscriptionId,
    SubscriptionTriggerCommand,
    TaskCancelCommand,
    TaskCreateCommand,
    TaskId,
    TaskSpec,
    errors,
)
from actionqueue.errors import LeaseValidationEvent, ValidationError, Written
from actionqueue.limits import PAYLOAD_SIZE_MAX, SEQUENCE_MAX
from actionqueue.projection import Projection
from tests.support.lanes import LANES, Lane, lane_over
from tests.support.model import Model

S = RunState
SPEC = TaskSpec(payload=b"payload")
TASK, OTHER_TASK = SPEC.id, TaskId()
RUN = RunInstance.scheduled(TASK, scheduled_at=100, created_at=100)
OTHER_RUN = RunId()
ATTEMPT, OTHER_ATTEMPT = AttemptId(), AttemptId()
SUBSCRIPTION = SubscriptionId()
TOKEN = BudgetDimension.TOKEN
ACQUIRE, HEARTBEAT = LeaseValidationEvent.ACQUIRE, LeaseValidationEvent.HEARTBEAT
EXPIRE, RELEASE = LeaseValidationEvent.EXPIRE, LeaseValidationEvent.RELEASE

# --- Commands, and the commands that lead to a situation ------------------------------------------


def move(*states: RunState) -> list[MutationCommand]:
    """The transitions of the run from each state to the next."""
    return [
        RunStateTransitionCommand(None, RUN.id, previous, new, 200)
        for previous, new in pairwise(states)
    ]


def reschedule() -> MutationCommand:
    return RunRescheduleCommand(None, RUN.id, 700, 3, 300)


def suspend(run_id: RunId = RUN.id) -> MutationCommand:
    return RunSuspendCommand(None, run_id, None, 300)


def resume(run_id: RunId = RUN.id) -> MutationCommand:
    return RunResumeCommand(None, run_id, 300)


def start(attempt_id: AttemptId = ATTEMPT, run_id: RunId = RUN.id) -> MutationCommand:
    return AttemptStartCommand(None, run_id, attempt_id, 300)


def finish(attempt_id: AttemptId = ATTEMPT, run_id: RunId = RUN.id) -> MutationCommand:
    return AttemptFinishCommand(None, run_id, attempt_id, AttemptOutcome.success(), 300)


def acquire(run_id: RunId = RUN.id) -> MutationCommand:
    return LeaseAcquireCommand(None, run_id, "me", 500, 300)


def heartbeat(owner: str = "me", expiry: int = 500, run_id: RunId = RUN.id) -> MutationCommand:
    return LeaseHeartbeatCommand(None, run_id, owner, expiry, 300)


def expire(owner: str = "me", expiry: int = 500, run_id: RunId = RUN.id) -> MutationCommand:
    return LeaseExpireCommand(None, run_id, owner, expiry, 300)


def release(owner: str = "me", expiry: int = 500, run_id: RunId = RUN.id) -> MutationCommand:
    return LeaseReleaseCommand(None, run_id, owner, expiry, 300)


def subscribe(task_id: TaskId = TASK) -> MutationCommand:
    return SubscriptionCreateCommand(None, SUBSCRIPTION, task_id, EventFilter.custom("key"), 300)


def run_with(
    *,
    state: RunState = S.SCHEDULED,
    attempt: AttemptId | None = None,
    count: int = 0,
    changed: int = 100,
    task_id: TaskId = TASK,
) -> MutationCommand:
    run = RunInstance(RUN.id, task_id, state, attempt, count, 100, 100, 0, changed)
    return RunCreateCommand(None, run)


CREATE_TASK = TaskCreateCommand(None, SPEC, 10)
CANCEL_TASK = TaskCancelCommand(None, TASK, 20)
PAUSE = EnginePauseCommand(None, 400)
CANCEL_SUBSCRIPTION = SubscriptionCancelCommand(None, SUBSCRIPTION, 300)

WITH_TASK: list[MutationCommand] = [CREATE_TASK]
SCHEDULED = [*WITH_TASK, RunCreateCommand(None, RUN)]
READY = SCHEDULED + move(S.SCHEDULED, S.READY)
LEASED = READY + move(S.READY, S.LEASED)
RUNNING = LEASED + move(S.LEASED, S.RUNNING)
ATTEMPTING = [*RUNNING, start()]
RETRYING = RUNNING + move(S.RUNNING, S.RETRY_WAIT)
WITH_LEASE = [*READY, acquire()]
RUNNING_WITH_LEASE = WITH_LEASE + move(S.READY, S.LEASED, S.RUNNING)

Case = tuple[list[MutationCommand], MutationCommand, ValidationError]


# What was accepted before, the command that is refused, and the refusal.
REFUSALS: list[Case] = [
    ([], TaskCreateCommand(2, SPEC, 10), errors.NonMonotonicSequence(expected=1, provided=2)),
    (WITH_TASK, TaskCancelCommand(1, TASK, 10),
     errors.NonMonotonicSequence(expected=2, provided=1)),
    (WITH_TASK, TaskCancelCommand(0, TASK, 10),
     errors.NonMonotonicSequence(expected=2, provided=0)),
    (WITH_TASK, CREATE_TASK, errors.TaskAlreadyExists(task_id=TASK)),
    ([], CANCEL_TASK, errors.UnknownTask(task_id=TASK)),
    ([*WITH_TASK, CANCEL_TASK], CANCEL_TASK, errors.TaskAlreadyCanceled(task_id=TASK)),
    ([], DependencyDeclareCommand(None, TASK, [], 1), errors.EmptyDependencyList(task_id=TASK)),
    ([], DependencyDeclareCommand(None, TASK, [TASK], 1), errors.UnknownTask(task_id=TASK)),
    (WITH_TASK, DependencyDeclareCommand(None, OTHER_TASK, [TASK], 1),
     errors.UnknownTask(task_id=OTHER_TASK)),
    (WITH_TASK, DependencyDeclareCommand(None, TASK, [TASK, OTHER_TASK], 1),
     errors.UnknownTask(task_id=OTHER_TASK)),
    # Runs
    ([], RunCreateCommand(None, RUN), errors.UnknownTask(task_id=TASK)),
    (SCHEDULED, RunCreateCommand(None, RUN), errors.RunAlreadyExists(run_id=RUN.id)),
    (WITH_TASK, run_with(state=S.READY),
     errors.RunCreateRequiresScheduled(run_id=RUN.id, state=S.READY)),
    (WITH_TASK, run_with(attempt=ATTEMPT),
     errors.RunCreateNotFresh(RUN.id, "current_attempt_id", ATTEMPT)),
    (WITH_TASK, run_with(count=1), errors.RunCreateNotFresh(RUN.id, "attempt_count", 1)),
    (WITH_TASK, run_with(changed=101),
     errors.RunCreateNotFresh(RUN.id, "last_state_change_at", 101)),
    ([], move(S.SCHEDULED, S.READY)[0], errors.UnknownRun(run_id=RUN.id)),
    (READY, move(S.SCHEDULED, S.READY)[0],
     errors.PreviousStateMismatch(run_id=RUN.id, expected=S.SCHEDULED, actual=S.READY)),
    (READY, move(S.READY, S.RUNNING)[0],
     errors.InvalidTransition(run_id=RUN.id, from_=S.READY, to=S.RUNNING)),
    (ATTEMPTING, move(S.RUNNING, S.COMPLETED)[0],
     errors.ActiveAttemptBlocksTransition(
         RUN.id, from_=S.RUNNING, to=S.COMPLETED, active_attempt_id=ATTEMPT)),
    ([], suspend(), errors.UnknownRun(run_id=RUN.id)),
    (READY, suspend(), errors.RunSuspendRequiresRunning(run_id=RUN.id, state=S.READY)),
    (ATTEMPTING, suspend(),
     errors.ActiveAttemptBlocksTransition(
         RUN.id, from_=S.RUNNING, to=S.SUSPENDED, active_attempt_id=ATTEMPT)),
    ([], resume(), errors.UnknownRun(run_id=RUN.id)),
    (RUNNING, resume(), errors.RunResumeRequiresSuspended(run_id=RUN.id, state=S.RUNNING)),
    ([], reschedule(), errors.UnknownRun(run_id=RUN.id)),
    *[(history, reschedule(), errors.InvalidTransition(RUN.id, from_=state, to=S.SCHEDULED))
      for history, state in (
          (LEASED, S.LEASED),
          (RUNNING, S.RUNNING),
          (RUNNING + move(S.RUNNING, S.COMPLETED), S.COMPLETED),
          (RUNNING + move(S.RUNNING, S.FAILED), S.FAILED),
          (READY + move(S.READY, S.CANCELED), S.CANCELED))],
    # Attempts
    ([], start(), errors.AttemptStartUnknownRun(run_id=RUN.id)),
    (LEASED, start(), errors.AttemptStartRequiresRunning(run_id=RUN.id, state=S.LEASED)),
    (ATTEMPTING, start(OTHER_ATTEMPT),
     errors.AttemptStartAlreadyActive(run_id=RUN.id, active_attempt_id=ATTEMPT)),
    ([*ATTEMPTING, finish()], start(), errors.AttemptIdReused(run_id=RUN.id, attempt_id=ATTEMPT)),
    ([], finish(), errors.AttemptFinishUnknownRun(run_id=RUN.id)),
    (LEASED, finish(), errors.AttemptFinishRequiresRunning(run_id=RUN.id, state=S.LEASED)),
    (RUNNING, finish(), errors.AttemptFinishMissingActive(run_id=RUN.id)),
    (ATTEMPTING, finish(OTHER_ATTEMPT), errors.AttemptFinishAttemptMismatch(
        run_id=RUN.id, expected_attempt_id=ATTEMPT, provided_attempt_id=OTHER_ATTEMPT)),
    # Leases
    ([], acquire(), errors.LeaseUnknownRun(run_id=RUN.id, event=ACQUIRE)),
    (RUNNING, acquire(),
     errors.LeaseInvalidRunState(run_id=RUN.id, event=ACQUIRE, state=S.RUNNING)),
    (WITH_LEASE, acquire(), errors.LeaseAlreadyActive(run_id=RUN.id)),
    ([], heartbeat(), errors.LeaseUnknownRun(run_id=RUN.id, event=HEARTBEAT)),
    (WITH_LEASE, heartbeat(),
     errors.LeaseInvalidRunState(run_id=RUN.id, event=HEARTBEAT, state=S.READY)),
    (LEASED, heartbeat(), errors.LeaseMissingActive(run_id=RUN.id, event=HEARTBEAT)),
    (RUNNING_WITH_LEASE, heartbeat("you"),
     errors.LeaseOwnerMismatch(run_id=RUN.id, event=HEARTBEAT)),
    (RUNNING_WITH_LEASE, heartbeat("me", 499),
     errors.LeaseHeartbeatExpiryRegression(
         run_id=RUN.id, previous_expiry=500, proposed_expiry=499)),
    ([], expire(), errors.LeaseUnknownRun(run_id=RUN.id, event=EXPIRE)),
    (SCHEDULED, expire(),
     errors.LeaseInvalidRunState(run_id=RUN.id, event=EXPIRE, state=S.SCHEDULED)),
    (READY, expire(), errors.LeaseMissingActive(run_id=RUN.id, event=EXPIRE)),
    (WITH_LEASE, expire("you"), errors.LeaseOwnerMismatch(run_id=RUN.id, event=EXPIRE)),
    (WITH_LEASE, expire("me", 501),
     errors.LeaseExpiryMismatch(
         run_id=RUN.id, event=EXPIRE, expected_expiry=500, provided_expiry=501)),
    ([], release(), errors.LeaseUnknownRun(run_id=RUN.id, event=RELEASE)),
    (RETRYING, release(),
     errors.LeaseInvalidRunState(run_id=RUN.id, event=RELEASE, state=S.RETRY_WAIT)),
    (RUNNING, release(), errors.LeaseMissingActive(run_id=RUN.id, event=RELEASE)),
    (WITH_LEASE, release("you"), errors.LeaseOwnerMismatch(run_id=RUN.id, event=RELEASE)),
    (WITH_LEASE, release("me", 499),
     errors.LeaseExpiryMismatch(
         run_id=RUN.id, event=RELEASE, expected_expiry=500, provided_expiry=499)),
    # The engine
    ([PAUSE], PAUSE, errors.EngineAlreadyPaused()),
    ([], EngineResumeCommand(None, 400), errors.EngineNotPaused()),
    ([PAUSE], EngineResumeCommand(None, 399),
     errors.EngineResumeBeforePause(paused_at=400, resumed_at=399)),
    # Budgets and subscriptions
    ([], BudgetAllocateCommand(None, TASK, TOKEN, 1, 1), errors.UnknownTask(task_id=TASK)),
    ([], BudgetConsumeCommand(None, TASK, TOKEN, 1, 1), errors.UnknownTask(task_id=TASK)),
    ([], BudgetReplenishCommand(None, TASK, TOKEN, 1, 1), errors.UnknownTask(task_id=TASK)),
    (WITH_TASK, BudgetReplenishCommand(None, TASK, TOKEN, 1, 1),
     errors.BudgetNotAllocated(task_id=TASK, dimension=TOKEN)),
    ([], subscribe(), errors.UnknownTask(task_id=TASK)),
    ([*WITH_TASK, subscribe()], subscribe(),
     errors.SubscriptionAlreadyExists(subscription_id=SUBSCRIPTION)),
    ([], CANCEL_SUBSCRIPTION, errors.UnknownSubscription(subscription_id=SUBSCRIPTION)),
    ([*WITH_TASK, subscribe(), CANCEL_SUBSCRIPTION], CANCEL_SUBSCRIPTION,
     errors.SubscriptionAlreadyCanceled(subscription_id=SUBSCRIPTION)),
]  # fmt: skip

# Commands that break two rules: the first check decides.
TWO_FAULTS: list[Case] = [
    ([], TaskCancelCommand(5, TASK, 1), errors.NonMonotonicSequence(expected=1, provided=5)),
    (SCHEDULED, run_with(task_id=OTHER_TASK), errors.UnknownTask(task_id=OTHER_TASK)),
    (SCHEDULED, run_with(state=S.READY), errors.RunAlreadyExists(run_id=RUN.id)),
    (WITH_TASK, run_with(state=S.FAILED, count=3),
     errors.RunCreateRequiresScheduled(run_id=RUN.id, state=S.FAILED)),
    (WITH_TASK, run_with(attempt=ATTEMPT, count=1),
     errors.RunCreateNotFresh(RUN.id, "current_attempt_id", ATTEMPT)),
    (READY, move(S.SCHEDULED, S.COMPLETED)[0],
     errors.PreviousStateMismatch(run_id=RUN.id, expected=S.SCHEDULED, actual=S.READY)),
    (ATTEMPTING, move(S.RUNNING, S.READY)[0],
     errors.InvalidTransition(run_id=RUN.id, from_=S.RUNNING, to=S.READY)),
    (ATTEMPTING, start(),
     errors.AttemptStartAlreadyActive(run_id=RUN.id, active_attempt_id=ATTEMPT)),
    ([*ATTEMPTING, finish(), *move(S.RUNNING, S.FAILED)], start(),
     errors.AttemptStartRequiresRunning(run_id=RUN.id, state=S.FAILED)),
    ([*WITH_LEASE], heartbeat("you", 1),
     errors.LeaseInvalidRunState(run_id=RUN.id, event=HEARTBEAT, state=S.READY)),
    (RUNNING_WITH_LEASE, heartbeat("you", 1),
     errors.LeaseOwnerMismatch(run_id=RUN.id, event=HEARTBEAT)),
    (WITH_LEASE, release("you", 1), errors.LeaseOwnerMismatch(run_id=RUN.id, event=RELEASE)),
    ([*WITH_TASK, subscribe()], subscribe(OTHER_TASK), errors.UnknownTask(task_id=OTHER_TASK)),
]  # fmt: skip

# Close to a refusal, but allowed.
ALLOWED: list[tuple[list[MutationCommand], MutationCommand]] = [
    (ATTEMPTING, move(S.RUNNING, S.CANCELED)[0]),
    ([*ATTEMPTING, finish()], move(S.RUNNING, S.COMPLETED)[0]),
    ([*ATTEMPTING, finish()], start(OTHER_ATTEMPT)),
    ([PAUSE], EngineResumeCommand(None, 400)),
    (RUNNING_WITH_LEASE, heartbeat("me", 500)),
    (WITH_TASK, DependencyDeclareCommand(None, TASK, [TASK, TASK], 1)),
    (WITH_TASK, BudgetConsumeCommand(None, TASK, TOKEN, 1, 1)),
    ([], SubscriptionTriggerCommand(None, SUBSCRIPTION, 1)),
    ([*WITH_TASK, CANCEL_TASK], RunCreateCommand(None, RUN)),
    (
        [*WITH_TASK, subscribe(), CANCEL_SUBSCRIPTION],
        SubscriptionTriggerCommand(None, SUBSCRIPTION, 1),
    ),
    ([*RUNNING_WITH_LEASE, *move(S.RUNNING, S.RETRY_WAIT, S.READY)], release()),
]


def case_name(case: Case) -> str:
    return f"{type(case[1]).__name__}-{type(case[2]).__name__}"


def assert_refused(lane: Lane, command: MutationCommand, expected: ValidationError) -> None:
    """The command is refused as expected, and that changes nothing."""
    before = lane.to_json()
    with pytest.raises(ValidationError) as refusal:
        lane.submit(command)
    assert refusal.value == expected
    assert refusal.value.written is Written.NO
    assert str(refusal.value)
    assert lane.to_json() == before


@pytest.mark.parametrize("case", REFUSALS + TWO_FAULTS, ids=case_name)
def test_refusal(lane: Lane, case: Case) -> None:
    accepted, refused, expected = case
    for command in accepted:
        lane.submit(command)
    assert_refused(lane, refused, expected)


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: type(case[1]).__name__)
def test_allowed(lane: Lane, case: tuple[list[MutationCommand], MutationCommand]) -> None:
    accepted, command = case
    for earlier in accepted:
        lane.submit(earlier)
    assert lane.submit(command).sequence == len(accepted) + 1


def test_a_record_that_is_too_large_is_refused(lane: Lane) -> None:
    # This is allowed in itself, but the rest of the spec comes on top.
    spec = TaskSpec(payload=b"\x00" * PAYLOAD_SIZE_MAX)
    with pytest.raises(errors.RecordTooLarge) as refusal:
        lane.submit(TaskCreateCommand(None, spec, 1))
    assert refusal.value.limit == PAYLOAD_SIZE_MAX
    assert refusal.value.size > PAYLOAD_SIZE_MAX
    assert lane.projection.latest_sequence == 0
    assert lane.submit(CREATE_TASK).sequence == 1


@pytest.mark.parametrize("make_lane", LANES.values(), ids=LANES)
def test_the_last_sequence_can_be_taken_and_none_after_it(make_lane: Callable[[], Lane]) -> None:
    lane = make_lane()
    lane.projection.apply_event(EnginePaused(2**64 - 2, 1))
    assert (
        lane.submit(TaskCreateCommand(SEQUENCE_MAX, SPEC, 1)).sequence == SEQUENCE_MAX == 2**64 - 1
    )
    for sequence in (None, SEQUENCE_MAX, 0):
        assert_refused(lane, TaskCancelCommand(sequence, TASK, 1), errors.SequenceOverflow())


class FullModel(Model):
    """A model whose runs have had as many attempts as can be counted."""

    def attempt_count(self, run_id: RunId) -> int:
        return 2**32 - 1


class FullProjection(Projection):
    """The same, of the native projection: nobody can wait for four thousand million attempts."""

    def attempt_count(self, run_id: RunId) -> int:
        return 2**32 - 1


@pytest.mark.parametrize("projection_type", [FullModel, FullProjection])
def test_an_attempt_past_the_last_countable_one_is_refused(
    projection_type: type[Model | Projection],
) -> None:
    lane = lane_over(projection_type(), lambda projection: projection.latest_sequence)
    for command in RUNNING:
        lane.submit(command)
    assert_refused(lane, start(), errors.AttemptCountOverflow(run_id=RUN.id))


def test_the_model_refuses_to_count_further() -> None:
    model = Model()
    lane = lane_over(model, Model.to_json)
    for command in RUNNING:
        lane.submit(command)
    model.runs[RUN.id]["attempt_count"] = 2**32 - 1
    assert_refused(lane, start(), errors.AttemptCountOverflow(run_id=RUN.id))


@pytest.mark.parametrize("make_lane", LANES.values(), ids=LANES)
def test_the_identifier_of_a_forgotten_task_is_refused_while_it_is_a_tombstone(
    make_lane: Callable[[], Lane],
) -> None:
    lane = make_lane()
    lane.submit(CREATE_TASK)
    lane.projection.apply_event(RunsPurged(2, (), (TASK,), 20, kept_until=70))
    assert_refused(lane, CREATE_TASK, errors.TaskForgotten(task_id=TASK, until=70))
    lane.projection.apply_event(RunsPurged(3, (), (), 70, tombstones=1))
    assert lane.submit(CREATE_TASK).sequence == 4


def test_every_refusal_is_provoked_here() -> None:
    provoked = {type(refusal) for _, _, refusal in REFUSALS}
    alone = {
        errors.SequenceOverflow,
        errors.RecordTooLarge,
        errors.AttemptCountOverflow,
        errors.TaskForgotten,
        errors.SchedulingError,  # of a scheduler, which refuses before there is a command
    }
    assert provoked | alone == set(ValidationError.__subclasses__())
