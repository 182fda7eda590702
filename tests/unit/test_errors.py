"""Errors: fields, messages, comparison, pickling, and what each says about the log."""

import copy
import errno
import inspect
import pickle

import pytest

from actionqueue import (
    AttemptId,
    BudgetDimension,
    RunId,
    RunState,
    SubscriptionId,
    TaskCreateCommand,
    TaskId,
    TaskSpec,
    errors,
)
from actionqueue.errors import ActionQueueError, LeaseValidationEvent, Written

VALUES = {
    "until": 1_700_000_000,
    "run_id": RunId(bytes(15) + b"\1"),
    "task_id": TaskId(bytes(15) + b"\2"),
    "task_ids": (TaskId(bytes(15) + b"\2"), TaskId(bytes(15) + b"\2")),
    "subscription_id": SubscriptionId(bytes(15) + b"\3"),
    "attempt_id": AttemptId(bytes(15) + b"\4"),
    "active_attempt_id": AttemptId(bytes(15) + b"\5"),
    "expected_attempt_id": AttemptId(bytes(15) + b"\6"),
    "provided_attempt_id": AttemptId(bytes(15) + b"\7"),
    "state": RunState.READY,
    "expected": RunState.LEASED,
    "actual": RunState.RUNNING,
    "from_": RunState.RUNNING,
    "to": RunState.COMPLETED,
    "event": LeaseValidationEvent.HEARTBEAT,
    "dimension": BudgetDimension.TOKEN,
    "expected_expiry": 11,
    "provided_expiry": 12,
    "previous_expiry": 13,
    "proposed_expiry": 14,
    "paused_at": 15,
    "resumed_at": 16,
    "provided": 17,
    "size": 18,
    "limit": 19,
    "sequence": 20,
    "cause": OSError(28, "No space left on device"),
    "type_name": "TaskSpec",
    "field": "id",
    "value": "a value",
    "reason": "a reason",
    "rule": "previous_state",
    "kind": 3,
    "path": "/queue",
    "pid": 21,
    "host": "a-host",
    "started": 22,
    "segment": 23,
    "offset": 24,
    "first_sequence": 25,
    "last_sequence": 26,
    "unreadable": ((25, 25),),
    "given_up": ((26, 26),),
    "quarantine": "/queue/quarantine",
    "version": 27,
    "event_kind": 28,
    "max_attempts": 29,
    "holder": "another-host",
    "epoch": 30,
    "after": 31,
    "trimmed_to": 32,
    "first": 33,
    "last": 34,
    "log": "jobs",
    "operation": "fdatasync",
    "errno": 5,
}
CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, ActionQueueError) and not cls.__name__.startswith("_")
]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def make(cls):
    return cls(**{name: VALUES[name] for name in cls.fields})


def test_all_is_complete():
    others = {"LeaseValidationEvent", "TimestampWarning", "UnsafeDirectoryWarning", "Written"}
    assert {cls.__name__ for cls in CLASSES} | others == set(errors.__all__)


@every_class
def test_fields_by_name_and_by_position(cls):
    error = make(cls)
    for name in cls.fields:
        assert getattr(error, name) is VALUES[name]
    assert cls(*error.args) == error
    assert error.args == tuple(VALUES[name] for name in cls.fields)


@every_class
def test_comparison(cls):
    error = make(cls)
    assert error == make(cls)
    assert hash(error) == hash(make(cls))
    assert error != "error"
    for name in cls.fields:
        other = cls(**{key: VALUES[key] for key in cls.fields} | {name: "another value"})
        assert other != error


@every_class
def test_pickle_and_copy(cls):
    error = make(cls)
    error.add_note("a note")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is cls
        assert back == error
        assert back.written is error.written
        assert back.__notes__ == ["a note"]
        assert str(back) == str(error)


@every_class
def test_the_message_names_the_fields(cls):
    message = str(make(cls))
    for name in cls.fields:
        value = VALUES[name]
        shown = {"unreadable": "read: 25", "given_up": "repair: 26", "task_ids": "0002 -> 0000"}
        assert shown.get(name, str(value)) in message
    assert "{" not in message


@every_class
def test_repr_names_the_fields(cls):
    shown = repr(make(cls))
    assert shown.startswith(f"{cls.__name__}(")
    for name in cls.fields:
        assert f"{name}=" in shown


@every_class
def test_wrong_fields_are_refused(cls):
    named = {name: VALUES[name] for name in cls.fields}
    with pytest.raises(TypeError):
        cls(**named, no_such_field=1)
    with pytest.raises(TypeError):
        cls(*named.values(), 1)


def test_a_missing_field_is_named():
    with pytest.raises(TypeError, match="run_id"):
        errors.UnknownRun()


def test_families():
    assert issubclass(errors.InvalidFieldError, ValueError)
    assert issubclass(errors.InvalidFieldTypeError, TypeError)
    for cls in CLASSES:
        if cls.__module__ == errors.__name__ and "run_id" in cls.fields:
            assert issubclass(cls, errors.ValidationError)
    for cls in (
        errors.ValidationError,
        errors.AppendError,
        errors.PartialDurabilityError,
        errors.ApplyError,
    ):
        assert issubclass(cls, errors.MutationError)
    for cls in (
        errors.LockedError,
        errors.CorruptLogError,
        errors.UnsupportedFormatError,
        errors.NotAQueueError,
    ):
        assert issubclass(cls, errors.OpenError)
    for cls in (errors.LogWriteError, errors.LogSpaceError, errors.LogCloseError):
        assert issubclass(cls, errors.WriterError)


@every_class
def test_written(cls):
    expected = {
        errors.PartialDurabilityError: Written.UNKNOWN,
        errors.LogWriteError: Written.UNKNOWN,
        errors.LogCloseError: Written.YES,
        errors.AppendError: Written.UNKNOWN,  # as for any foreign error
        errors.ApplyError: Written.YES,
        errors.OutcomeUnknownError: Written.UNKNOWN,
    }
    assert make(cls).written is expected.get(cls, Written.NO)


def test_an_append_error_passes_on_what_its_cause_says():
    assert errors.AppendError(errors.LogSpaceError("pwrite", "/queue", 28)).written is Written.NO
    assert (
        errors.AppendError(errors.LogWriteError("pwrite", "/queue", 5)).written is Written.UNKNOWN
    )
    assert errors.AppendError(KeyError("x")).written is Written.UNKNOWN


@pytest.mark.parametrize(
    "cls", [errors.AppendError, errors.PoisonedError], ids=lambda cls: cls.__name__
)
def test_the_cause_is_chained(cls):
    cause = OSError(5, "x")
    assert cls(cause).__cause__ is cause


def test_both_causes_are_compared_by_their_fields():
    assert errors.AppendError(OSError(5, "x")) == errors.AppendError(OSError(5, "x"))
    assert errors.AppendError(OSError(5, "x")) != errors.AppendError(OSError(6, "x"))
    assert errors.AppendError(OSError(5, "x")) != errors.AppendError(KeyError(5, "x"))


def test_optional_fields():
    advice = "close it there first, or open it with readonly=True to read"
    assert str(errors.LockedError("/queue")) == f"/queue is held by another handle; {advice}"
    assert "None" not in str(errors.CorruptLogError("/queue", None, None, "a reason"))
    assert str(errors.MalformedEventError()) == "malformed event: the payload does not decode"
    assert errors.PoisonedError().cause is None


def test_long_values_are_shortened_in_messages():
    error = errors.InvalidFieldError("TaskPayload", "data", b"x" * 10_000_000, "is too large")
    assert len(str(error)) < 200
    assert len(repr(error)) < 300


class Odd:
    """A value whose own code fails."""

    def __repr__(self):
        raise RuntimeError("no text")


class OddList(list):
    def __len__(self):
        raise RuntimeError("no length")


class OddError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


HUGE = 10**5000
"""Python refuses to write so many digits."""
UNPRINTABLE = [
    HUGE,
    -HUGE,
    [HUGE],
    (HUGE,),
    {1: HUGE},
    {HUGE: 1},
    {HUGE},
    [[HUGE]],
    Odd(),
    [Odd()],
    {1: Odd()},
    OddList(),
    OddError(),
]


@pytest.mark.parametrize("value", UNPRINTABLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("cls", [errors.InvalidFieldError, errors.InvalidFieldTypeError])
def test_whatever_value_was_refused_the_error_can_be_printed(cls, value):
    error = cls("TaskSpec", "payload", value, "is none")
    assert str(error).startswith("TaskSpec.payload: is none, got ")
    assert repr(error).startswith(f"{cls.__name__}(type_name='TaskSpec', field='payload', value=")


def test_a_number_of_thousands_of_digits_is_told_by_their_number():
    with pytest.raises(errors.InvalidFieldError, match="got <a number of about 5001 digits>"):
        TaskCreateCommand(None, TaskSpec(payload=b""), HUGE)


@pytest.mark.parametrize(
    "cls",
    [errors.AppendError, errors.PartialDurabilityError, errors.ApplyError, errors.PoisonedError],
)
@pytest.mark.parametrize(
    "cause", [OddError(), ValueError(HUGE)], ids=lambda cause: type(cause).__name__
)
def test_whatever_the_cause_was_the_error_can_be_printed(cls, cause):
    """It may be what a writer of the application's own has raised."""
    error = cls(cause=cause) if cls.fields == ("cause",) else cls(7, cause)
    assert type(cause).__name__ in str(error)
    assert type(cause).__name__ in repr(error)


@pytest.mark.parametrize("value", [HUGE, Odd()], ids=["number", "odd"])
def test_a_run_that_is_not_new_can_be_told_of_whatever_it_has(value):
    assert str(errors.RunCreateNotFresh(VALUES["run_id"], "attempt_count", value)).startswith(
        "run "
    )


def test_lone_surrogates_do_not_break_messages():
    error = errors.InvalidFieldError("LeaseAcquireCommand", "owner", "\udc80", "is no text")
    str(error).encode()
    repr(error).encode()


def test_the_holder_of_a_lock_is_told_with_a_time_that_people_read():
    assert "process 7 on here since 2001-09-09T01:46:40Z" in str(
        errors.LockedError("/queue", 7, "here", 10**9)
    )
    # Another program wrote that into the file.
    assert f"since {2**63}" in str(errors.LockedError("/queue", 7, "here", 2**63))


@pytest.mark.parametrize(
    "cls", [errors.LogSpaceError, errors.SnapshotError], ids=lambda cls: cls.__name__
)
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ENOSPC", "free space"),
        ("EDQUOT", "quota"),
        ("EFBIG", "size of files"),
        ("EMFILE", "ulimit -n"),
        ("EACCES", "right to write"),
        ("EPERM", "right to write"),
        ("EROFS", "file system writable"),
        ("EBUSY", "program that holds it"),
        ("ENOENT", "directory back where it was opened"),
        ("ESTALE", "directory back where it was opened"),
        ("EIO", "look at the disk"),
        ("EDOM", "mend the cause"),
    ],
)
def test_what_to_do_follows_from_what_the_system_said(cls, name, remedy):
    text = str(cls("create", "/queue/wal/x", getattr(errno, name)))
    assert remedy in text
    assert ("free space" in text) == (name in {"ENOSPC", "EDQUOT"})
    assert "stays open" not in text  # nothing is open where a command of the command line failed


@pytest.mark.parametrize("name", ["EACCES", "EPERM", "EROFS"])
def test_who_cannot_write_may_still_read(name):
    assert "readonly=True" in str(errors.OpenIOError("open", "/queue/LOCK", getattr(errno, name)))
    assert "readonly" not in str(errors.OpenIOError("open", "/queue/LOCK", errno.EIO))


def test_where_there_is_no_queue_it_is_said_how_to_get_one():
    assert "create=False" in str(errors.NotAQueueError("/queue"))
    moved = str(errors.NotAQueueError("/queue", "/queue/quarantine"))
    assert "/queue/quarantine" in moved
    assert "log --salvage" in moved
    assert "begins a new queue at sequence 1" in moved


def test_the_sequences_of_damage():
    def told(**fields):
        return str(errors.CorruptLogError("/queue", 1, 8192, "record_invalid", **fields))

    assert "sequences" not in told()
    assert "as far as was read: 22 to 36 (`actionqueue verify DIR` says exactly)" in told(
        first_sequence=22, last_sequence=36
    )
    assert "as far as was read: from 22 on" in told(first_sequence=22)
    text = told(
        first_sequence=22,
        last_sequence=60,
        unreadable=((22, 22), (25, 36)),
        given_up=((23, 24), (37, 60)),
    )
    assert (
        "; sequences that can't be read: 22, 25 to 36; "
        "readable, but given up by a repair: 23 to 24, 37 to 60; " in text
    )
    assert "every event that is known of can be read" in told(unreadable=(), given_up=())


def test_damage_is_told_in_plain_words():
    for reason in ("record_invalid", "refused_event (refused_transition)"):
        error = errors.CorruptLogError("/queue", 1, 8192, reason)
        assert error.meaning
        assert f"{reason}, {error.meaning}" in str(error)
    assert errors.CorruptLogError("/queue", None, None, "of a later version").meaning == ""


def test_an_error_whose_value_leads_back_to_it_can_be_printed() -> None:
    """By more than one way: each level tried each of them, until the interpreter's stack was
    full.
    """
    collected: list[object] = []
    for _ in range(3):
        with pytest.raises(errors.InvalidFieldError) as refusal:
            TaskSpec(payload=collected)  # type: ignore[arg-type]
        collected.append(refusal.value)
    for print_it in (repr, str):
        assert len(print_it(collected[0])) < 5000
