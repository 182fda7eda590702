"""The constructors that the classes with checked fields get with their first instance: the same as
msgspec's and the hook's, but faster.
"""

import copy
import gc
import inspect
import pickle
import sys
import weakref
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from _wal_native.fields import PresenceRule, has_constructor
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.model.fields import U64, Checked
from tests.support import strategies

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
COMMANDS = [
    cls for cls in vars(aq).values() if inspect.isclass(cls) and aq.MutationCommand in cls.__bases__
]


class Three(Checked, frozen=True, gc=False):
    first: U64
    second: U64 = 2
    third: tuple[aq.TaskId, ...] = msgspec.field(default_factory=tuple)


class Made(Checked, frozen=True, gc=False):
    task_id: aq.TaskId = msgspec.field(default_factory=aq.TaskId)
    number: U64 = 7


Three(1)
Made()


def test_all_commands_are_looked_at() -> None:
    assert set(COMMANDS) == set(strategies.COMMANDS)


@given(strategies.commands)
def test_every_command_has_one(command: aq.MutationCommand) -> None:
    arguments = [getattr(command, name) for name in command.__struct_fields__]
    assert type(command)(*arguments) == command  # the second one at the latest
    assert has_constructor(type(command)) == GIL  # without one the classes keep msgspec's


@given(strategies.commands)
def test_by_position_by_name_and_copied_are_the_same(command: aq.MutationCommand) -> None:
    cls, names = type(command), command.__struct_fields__
    values = [getattr(command, name) for name in names]
    for positional in range(len(names) + 1):
        named = dict(zip(names[positional:], values[positional:], strict=True))
        made = cls(*values[:positional], **named)
        assert made == command
        assert cls(*values[:positional], **dict(reversed(named.items()))) == command
    assert (
        copy.copy(command)
        == pickle.loads(pickle.dumps(command))
        == msgspec.structs.replace(command)
        == command
    )


def test_defaults() -> None:
    assert (Three(5).second, Three(5).third) == (2, ())
    assert Three(first=5, third=[]).second == 2
    one, other = Made(), Made()
    assert one.task_id != other.task_id
    assert Made(number=1).number == 1
    assert Made(other.task_id).task_id is other.task_id


@pytest.mark.parametrize(
    "wrong",
    [
        Three,
        lambda: Three(second=1),
        lambda: Three(1, 2, (), 4),
        lambda: Three(1, first=1),
        lambda: Three(1, fourth=1),
        lambda: Three(1, 2, (), third=()),
        lambda: aq.TaskCreateCommand(None),
        lambda: aq.RunResumeCommand(None, aq.RunId(), timestamp=1, sequence=None),
    ],
)
def test_wrong_calls_are_told_of_as_ever(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"[Aa]rgument"):
        wrong()


def test_names_that_are_not_interned() -> None:
    name = "fir"
    assert Three(**{name + "st": 4}).first == 4


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, InvalidFieldError),
        (2**64, InvalidFieldError),
        ("1", InvalidFieldTypeError),
        (True, InvalidFieldTypeError),
        (1.0, InvalidFieldTypeError),
        (None, InvalidFieldTypeError),
    ],
)
def test_fields_are_checked(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="first"):
        Three(value)
    with pytest.raises(error, match="second"):
        Three(1, second=value)


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        2**15 - 1,
        2**15,
        2**30 - 1,
        2**30,
        2**45,
        2**60 - 1,
        2**60,
        2**63 - 1,
        2**63,
        2**64 - 1,
    ],
)
def test_numbers_of_every_size(value: int) -> None:
    assert Three(value).first == value


def test_values_are_converted() -> None:
    class Number(int):
        pass

    made = Three(Number(3), third=[aq.TaskId("11" * 16)])
    assert type(made.first) is int
    assert made.third == (aq.TaskId("11" * 16),)
    assert aq.TaskSpec(payload=bytearray(b"x")).payload == aq.TaskPayload(b"x")


def test_no_reference_is_kept_or_lost() -> None:
    task_id, count = aq.TaskId(), 1000
    kept = [Made(task_id) for _ in range(count)]
    assert sys.getrefcount(task_id) >= count
    before = sys.getrefcount(task_id)
    for wrong in ({"number": -1}, {"other": 1}, {"number": "x"}):
        with pytest.raises((TypeError, InvalidFieldError)):
            Made(task_id, **wrong)
    assert sys.getrefcount(task_id) == before
    kept.clear()
    gc.collect()
    assert sys.getrefcount(task_id) == before - count


def test_a_failing_factory_leaves_nothing() -> None:
    class Failing(Checked, frozen=True, gc=False):
        first: aq.TaskId
        second: U64 = msgspec.field(default_factory=lambda: 1 // 0)

    task_id = aq.TaskId()
    Failing(task_id, 1)
    before = sys.getrefcount(task_id)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            Failing(task_id)
    assert sys.getrefcount(task_id) == before


def test_a_class_with_more_than_slots_keeps_msgspecs() -> None:
    class Referable(Checked, frozen=True, gc=True, weakref=True):
        first: U64

    for number in range(3):
        made = Referable(number)
        assert weakref.ref(made)() is made
    assert not has_constructor(Referable)


def test_a_subclass_that_may_be_a_chain_is_the_collectors() -> None:
    class Linked(aq.TaskSpec, frozen=True):
        before: aq.TaskSpec | None = None

    class Many(aq.TaskSpec, frozen=True):
        before: tuple[aq.MutationOutcome, ...] = ()

    class Nested(aq.TaskSpec, frozen=True):
        before: tuple[tuple[aq.TaskSpec, ...], ...] = ()

    for cls in (Linked, Many, Nested, Linked):
        for _ in range(2):
            with pytest.raises(TypeError, match=rf"{cls.__name__}\.before holds .* gc=True"):
                cls(payload=b"x")

    class Claiming(aq.AttemptOutcome, frozen=True):
        __module__ = aq.AttemptOutcome.__module__
        before: aq.AttemptOutcome | None = None

    class TaskSpec(aq.TaskSpec, frozen=True):  # another one of that name
        __module__ = aq.TaskSpec.__module__
        before: aq.TaskSpec | None = None

    for make in (lambda: Claiming("success"), lambda: TaskSpec(payload=b"x")):
        with pytest.raises(TypeError, match=r"\.before holds .* gc=True"):
            make()

    class Tracked(aq.TaskSpec, frozen=True, gc=True):
        before: aq.TaskSpec | None = None

    chain = None
    for _ in range(200_000):
        chain = Tracked(payload=b"x", before=chain)
    del chain  # a segmentation fault, where the class is not the collector's


def test_a_class_without_a_check_of_its_own_has_no_instances() -> None:
    """Its fields could hold anything, other instances in a chain too."""

    class Between(aq.AttemptOutcome, frozen=True):
        def __init_subclass__(cls) -> None:
            pass

    class Unchecked(Between, frozen=True):
        before: Any = None

    assert Between("success").error is None
    for _ in range(2):
        with pytest.raises(TypeError, match=r"Unchecked has no check .* super\(\)"):
            Unchecked("success", before=Between("success"))


def test_an_outcome_that_may_be_a_chain_is_the_collectors() -> None:
    class Untracked(aq.AppliedMutation, frozen=True, gc=False):
        name = "untracked"
        before: Any

    with pytest.raises(InvalidFieldTypeError, match="gc=True"):
        aq.MutationOutcome(1, Untracked(None))

    class Tracked(aq.AppliedMutation, frozen=True):
        name = "tracked"
        before: Any

    chain = None
    for number in range(200_000):
        chain = aq.MutationOutcome(number, Tracked(chain))
    del chain


def test_a_subclass_has_its_own() -> None:
    class More(Three, frozen=True, gc=False):
        fourth: U64 = 4

    for _ in range(3):
        assert (More(1).fourth, More(1, 2, (), 9).fourth, Three(1).second) == (4, 9, 2)


@pytest.mark.parametrize("result", list(aq.AttemptResultKind))
@pytest.mark.parametrize("error", [None, "", "e"])
@pytest.mark.parametrize("output", [None, b"", b"o"])
def test_an_outcomes_parts_go_together_or_are_refused(
    result: Any, error: str | None, output: bytes | None
) -> None:
    """What the constructor decides by itself (PresenceRule) and what it asks ``_check_together``
    for are one rule.
    """
    has_error = result in {aq.AttemptResultKind.FAILURE, aq.AttemptResultKind.TIMEOUT}
    is_whole = (error is not None and output is None) if has_error else error is None
    for build in (
        aq.AttemptOutcome,
        lambda *parts: aq.AttemptOutcome(
            **dict(zip(("result", "error", "output"), parts, strict=True))
        ),
    ):
        if is_whole:
            made = build(result, error, output)
            assert (made.result, made.error, made.output) == (result, error, output or None)
        else:
            with pytest.raises(InvalidFieldError):
                build(result, error, output)


def test_a_rule_for_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="has no slot"):

        class Wrong(Checked, frozen=True, gc=False):
            NAME: ClassVar[str] = "not a field"
            first: U64 | None
            _together: ClassVar[PresenceRule] = PresenceRule("NAME", {"first": ()}, required=())


# --- Identifiers ----------------------------------------------------------------------------------

IDENTIFIERS = [
    aq.TaskId,
    aq.RunId,
    aq.AttemptId,
    aq.ActorId,
    aq.TenantId,
    aq.LedgerEntryId,
    aq.SubscriptionId,
]


@pytest.mark.parametrize("cls", IDENTIFIERS)
def test_identifiers_are_called_in_every_way(cls: Any) -> None:
    assert len({cls() for _ in range(1000)}) == 1000
    made = cls()
    assert made.uuid.version == 4
    assert cls(made) == cls(value=made) == cls(made.hex) == cls(made.uuid) == made
    for wrong in (lambda: cls(made, made), lambda: cls(other=made), lambda: cls(made, value=made)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(InvalidFieldTypeError):
        cls(None)
    assert pickle.loads(pickle.dumps(made)) == made


@given(st.binary(min_size=16, max_size=16))
def test_identifiers_from_bytes(value: bytes) -> None:
    assert aq.RunId(value).bytes == value
