"""Commands: fields and their order, conversions, refusals, comparison and pickling; events and
outcomes likewise.
"""

import copy
import inspect
import pickle
import re

import msgspec
import pytest

import actionqueue as aq
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptOutcome,
    BudgetDimension,
    Capability,
    EventFilter,
    EventKind,
    LedgerEntry,
    LedgerEntryId,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
    TenantRegistration,
)
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.model.fields import I32, U64
from tests.support import places

TASK, RUN, ATTEMPT, ACTOR, TENANT = TaskId(), RunId(), AttemptId(), ActorId(), TenantId()
SUBSCRIPTION = SubscriptionId()
GOOD = {
    "sequence": 5,
    "task_spec": TaskSpec(payload=b"x"),
    "run_instance": RunInstance.scheduled(TASK, scheduled_at=1, created_at=1),
    "run_id": RUN,
    "task_id": TASK,
    "attempt_id": ATTEMPT,
    "subscription_id": SUBSCRIPTION,
    "actor_id": ACTOR,
    "tenant_id": TENANT,
    "previous_state": RunState.SCHEDULED,
    "new_state": RunState.READY,
    "outcome": AttemptOutcome.success(b"out"),
    "owner": "worker",
    "expiry": 2**64 - 1,
    "depends_on": (TaskId(), TaskId()),
    "reason": None,
    "dimension": BudgetDimension.COST_CENTS,
    "limit": 0,
    "amount": 2**64 - 1,
    "new_limit": 7,
    "filter": EventFilter.task_completed(TASK),
    "registration": ActorRegistration(ACTOR, "vessel", ["compute"], 30),
    "role": Role.AUDITOR,
    "capability": Capability.custom("own"),
    "entry": LedgerEntry(LedgerEntryId(), TENANT, "audit", ACTOR, b"x", 9),
    "timestamp": 100,
}
BAD = {
    "sequence": (-1, 2**64, 1.0, True, "1"),
    "task_spec": (None, b"x", TASK),
    "run_instance": (None, RUN),
    "run_id": (None, TASK, "0" * 32, RUN.bytes, RUN.uuid),
    "task_id": (None, RUN, "0" * 32),
    "attempt_id": (None, RUN),
    "subscription_id": (None, TASK),
    "actor_id": (None, TASK),
    "tenant_id": (None, ACTOR),
    "previous_state": (None, "walking", 0, BudgetDimension.TOKEN),
    "new_state": (None, "READY", 1),
    "outcome": (None, "success"),
    "owner": (None, b"worker", "\udc80", "x" * (2**20 + 1)),
    "expiry": (None, -1, 2**64, 1.5),
    "depends_on": (None, TASK, "x", [RUN], [None], {TASK}, [TASK] * 65537),
    "reason": (5, "\ud800"),
    "dimension": (None, "money", 0),
    "limit": (None, -1, 2**64, False),
    "amount": (None, -1, 2**64),
    "new_limit": (None, -1, 2**64),
    "filter": (None, "custom", TASK),
    "registration": (None, "vessel"),
    "role": (None, "auditor", Capability.CAN_SUBMIT),
    "capability": (None, "can_submit", Role.AUDITOR),
    "entry": (None, b"x"),
    "timestamp": (None, -1, 2**64, 1.5, True),
}


def exported(base):
    return [
        cls
        for cls in (getattr(aq, name) for name in aq.__all__)
        if inspect.isclass(cls) and issubclass(cls, base) and cls is not base
    ]


COMMANDS, EVENTS, APPLIED = (
    exported(aq.MutationCommand),
    exported(aq.Event),
    exported(aq.AppliedMutation),
)
every_command = pytest.mark.parametrize("cls", COMMANDS, ids=lambda cls: cls.__name__)


NUMBERS = {U64: (7, -1, 2**64, 1.5, True), I32: (-7, -(2**31) - 1, 2**31, 1.5, True)}
"""For fields that are not named above: a good value, then bad ones."""


def good(cls, field):
    if cls is aq.TenantCreateCommand and field == "registration":
        return TenantRegistration(TENANT, "acme")
    return GOOD[field] if field in GOOD else NUMBERS[cls.__annotations__[field]][0]


def bad(cls, field):
    return BAD[field] if field in BAD else (None, *NUMBERS[cls.__annotations__[field]][1:])


def make(cls, **changes):
    return cls(**{field: good(cls, field) for field in cls.__struct_fields__} | changes)


def test_commands_are_made_of_their_classes_only():
    assert COMMANDS
    for cls in COMMANDS:
        assert issubclass(cls, aq.MutationCommand)
    with pytest.raises(TypeError, match="abstract"):
        aq.MutationCommand()


@every_command
def test_the_sequence_is_first_and_the_timestamp_last(cls):
    assert cls.__struct_fields__[0] == "sequence"
    if cls is not aq.RunCreateCommand:
        assert cls.__struct_fields__[-1] == "timestamp"


@every_command
def test_fields_by_position_and_by_name(cls):
    values = [good(cls, field) for field in cls.__struct_fields__]
    command = cls(*values)
    assert command == make(cls)
    for field, value in zip(cls.__struct_fields__, values, strict=True):
        assert getattr(command, field) is value
    assert make(cls, sequence=None).sequence is None
    assert make(cls, sequence=0).sequence == 0


@every_command
def test_every_field_refuses_what_does_not_fit(cls):
    for field in cls.__struct_fields__:
        for value in bad(cls, field):
            with pytest.raises(InvalidFieldError) as caught:
                make(cls, **{field: value})
            error = caught.value
            assert (error.type_name, error.field) == (cls.__name__, field)
            if value is None:
                assert isinstance(error, InvalidFieldTypeError)


@every_command
def test_no_field_has_a_default(cls):
    for field in cls.__struct_fields__:
        values = {name: good(cls, name) for name in cls.__struct_fields__ if name != field}
        with pytest.raises(TypeError):
            cls(**values)


@every_command
def test_commands_are_values(cls):
    command = make(cls)
    assert command == make(cls)
    assert hash(command) == hash(make(cls))
    assert command != make(cls, sequence=6)
    assert pickle.loads(pickle.dumps(command)) == command
    assert copy.copy(command) == copy.deepcopy(command) == command
    assert msgspec.structs.replace(command, sequence=6).sequence == 6
    assert repr(command).startswith(f"{cls.__name__}(sequence=5, ")
    with pytest.raises(AttributeError):
        command.sequence = 7


def test_commands_of_different_types_differ():
    acquire = make(aq.LeaseAcquireCommand)
    release = make(aq.LeaseReleaseCommand)
    assert acquire != release


def test_conversions():
    transition = aq.RunStateTransitionCommand(None, RUN, "scheduled", "ready", 1)
    assert (transition.previous_state, transition.new_state) == (RunState.SCHEDULED, RunState.READY)
    assert type(transition.new_state) is RunState
    consume = aq.BudgetConsumeCommand(None, TASK, "time_secs", 1, 1)
    assert consume.dimension is BudgetDimension.TIME_SECS
    wanted = [TaskId(), TaskId()]
    declare = aq.DependencyDeclareCommand(None, TASK, wanted, 1)
    assert declare.depends_on == tuple(wanted)
    wanted.clear()
    assert len(declare.depends_on) == 2
    assert aq.DependencyDeclareCommand(None, TASK, [], 1).depends_on == ()


def test_the_outcome_of_an_attempt_shows_through():
    command = aq.AttemptFinishCommand(1, RUN, ATTEMPT, AttemptOutcome.failure("why"), 5)
    assert (command.result, command.error, command.output) == ("failure", "why", None)


# --- Events and outcomes --------------------------------------------------------------------------


def test_every_kind_has_one_event():
    assert sorted(cls.kind for cls in EVENTS) == list(EventKind) == list(range(1, len(EVENTS) + 1))
    for cls in EVENTS:
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).upper() == cls.kind.name


def test_the_codes_are_those_of_the_core():
    table = (places.CORE / "event/events.def").read_text("utf-8")
    lines = re.findall(r"^(?:EVENT|ALSO|AGAIN)\((\d+), (\w+),", table, re.MULTILINE)
    assert {name: int(code) for code, name in lines} == {
        kind.name: kind.value for kind in EventKind
    }


def test_the_fields_of_events():
    for cls in EVENTS:
        assert issubclass(cls, aq.Event)
        assert cls.__struct_fields__[0] == "sequence"
        if cls is not aq.RunCreated:
            required = len(cls.__struct_fields__) - len(cls.__struct_defaults__)
            # What may be left out is behind it.
            assert cls.__struct_fields__[required - 1] == "timestamp"


@pytest.mark.parametrize("cls", EVENTS + APPLIED, ids=lambda cls: cls.__name__)
def test_events_and_outcomes_are_values(cls):
    made = cls(*range(len(cls.__struct_fields__)))
    assert made == cls(*range(len(cls.__struct_fields__)))
    assert hash(made) == hash(copy.copy(made))
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(AttributeError):
        made.sequence = 1


def test_outcomes_are_named_after_their_commands():
    def snake(cls):
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    names = {cls.name for cls in APPLIED}
    assert len(names) == len(APPLIED)
    assert {f"applied_{name}" for name in names} == {snake(cls) for cls in APPLIED}
    of_commands = {snake(cls).removesuffix("_command") for cls in COMMANDS}
    assert names == of_commands
    outcome = aq.MutationOutcome(3, aq.AppliedEnginePause())
    assert (outcome.sequence, outcome.applied.name) == (3, "engine_pause")


def test_every_class_is_exported():
    for exported_classes, base in (
        (COMMANDS, aq.MutationCommand),
        (EVENTS, aq.Event),
        (APPLIED, aq.AppliedMutation),
    ):
        assert set(exported_classes) == {
            cls for cls in base.__subclasses__() if cls.__module__.startswith("actionqueue.")
        }
