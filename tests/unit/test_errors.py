"""Errors: fields, messages, comparison, pickling, and what each says about the log."""

import copy
import inspect
import pickle

import pytest

from actionqueue import errors
from actionqueue.budget import BudgetDimension
from actionqueue.errors import ActionQueueError, LeaseValidationEvent, Written
from actionqueue.ids import AttemptId, RunId, SubscriptionId, TaskId
from actionqueue.states import RunState

VALUES = {
    "run_id": RunId(bytes(15) + b"\1"),
    "task_id": TaskId(bytes(15) + b"\2"),
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
    "version": 27,
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
    assert {cls.__name__ for cls in CLASSES} | {"LeaseValidationEvent", "UnsafeDirectoryWarning", "Written"} == set(errors.__all__)


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
        assert str(value) in message
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
    for cls in (errors.ValidationError, errors.AppendError, errors.PartialDurabilityError, errors.ApplyError):
        assert issubclass(cls, errors.MutationError)
    for cls in (errors.LockedError, errors.CorruptLogError, errors.UnsupportedFormatError, errors.NotAQueueError):
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
    }
    assert make(cls).written is expected.get(cls, Written.NO)


def test_an_append_error_passes_on_what_its_cause_says():
    assert errors.AppendError(errors.LogSpaceError("pwrite", "/queue", 28)).written is Written.NO
    assert errors.AppendError(errors.LogWriteError("pwrite", "/queue", 5)).written is Written.UNKNOWN
    assert errors.AppendError(KeyError("x")).written is Written.UNKNOWN


@pytest.mark.parametrize("cls", [errors.AppendError, errors.PoisonedError], ids=lambda cls: cls.__name__)
def test_the_cause_is_chained(cls):
    cause = OSError(5, "x")
    assert cls(cause).__cause__ is cause


def test_both_causes_are_compared_by_their_fields():
    assert errors.AppendError(OSError(5, "x")) == errors.AppendError(OSError(5, "x"))
    assert errors.AppendError(OSError(5, "x")) != errors.AppendError(OSError(6, "x"))
    assert errors.AppendError(OSError(5, "x")) != errors.AppendError(KeyError(5, "x"))


def test_optional_fields():
    assert str(errors.LockedError("/queue")) == "/queue is held by another handle; close it there first"
    assert "None" not in str(errors.CorruptLogError("/queue", None, None, "a reason"))
    assert str(errors.MalformedEventError()) == "malformed event: the payload does not decode"
    assert errors.PoisonedError().cause is None


def test_long_values_are_shortened_in_messages():
    error = errors.InvalidFieldError("TaskPayload", "data", b"x" * 10_000_000, "is too large")
    assert len(str(error)) < 200
    assert len(repr(error)) < 300


def test_lone_surrogates_do_not_break_messages():
    error = errors.InvalidFieldError("LeaseAcquireCommand", "owner", "\udc80", "is no text")
    str(error).encode()
    repr(error).encode()
