"""The field checker, on types made for the purpose: what each kind of field accepts, converts and
refuses.
"""

import copy
import enum
import pickle
import re
from typing import Annotated, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from _wal_native import fields as native
from _wal_native.fields import ConvertRule, IntegerRule, NotNilRule, SizeRule
from actionqueue import AttemptResultKind, RunId, RunState, TaskId, limits
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.model import fields
from actionqueue.model.fields import (
    I32,
    U32,
    U64,
    Abstract,
    Blob,
    Checked,
    NonEmptyTexts,
    PositiveU32,
    Text,
    Texts,
)
from tests.support import places


class Numbers(Checked, frozen=True, gc=False):
    u64: U64 = 0
    u32: U32 = 0
    i32: I32 = 0
    positive: PositiveU32 = 1
    percent: Annotated[int, IntegerRule(0, 100)] = 0
    optional: U64 | None = None


class Words(Checked, frozen=True, gc=False):
    text: Text = ""
    short: Annotated[str, SizeRule(1, 4)] = "x"
    optional: Text | None = None
    blob: Blob = b""
    texts: Texts = ()
    names: NonEmptyTexts | None = None


class Part(Checked, frozen=True, gc=False):
    value: U64


class Whole(Checked, frozen=True, gc=False):
    NAME: ClassVar[str] = "not a field"
    task_id: TaskId
    run_id: Annotated[RunId, NotNilRule()]
    state: RunState
    part: Annotated[Part, ConvertRule((int,), Part)]
    ids: tuple[TaskId, ...] = ()
    optional: RunId | None = None


class Pair(Checked, frozen=True, gc=False):
    low: U64
    high: U64

    def _check_together(self):
        if self.low > self.high:
            raise InvalidFieldError("Pair", "high", self.high, "must not be below low")


def whole(**changes):
    values = {"task_id": TaskId(), "run_id": RunId(), "state": RunState.READY, "part": Part(1)}
    return Whole(**values | changes)


def refused(make, type_name, field, *, wrong_type):
    """Check that the call is refused for this field, and return the error."""
    with pytest.raises(InvalidFieldError) as caught:
        make()
    error = caught.value
    assert (error.type_name, error.field) == (type_name, field)
    assert isinstance(error, InvalidFieldTypeError) == wrong_type
    return error


BOUNDS = {
    "u64": (0, 2**64 - 1),
    "u32": (0, 2**32 - 1),
    "i32": (-(2**31), 2**31 - 1),
    "positive": (1, 2**32 - 1),
    "percent": (0, 100),
    "optional": (0, 2**64 - 1),
}


@pytest.mark.parametrize(("field", "bounds"), BOUNDS.items())
def test_integers_at_their_bounds(field, bounds):
    low, high = bounds
    for value in (low, high):
        assert getattr(Numbers(**{field: value}), field) == value
    for value in (low - 1, high + 1, -(2**63), -(2**64), 2**64, 2**200, -(2**200)):
        error = refused(
            lambda value=value: Numbers(**{field: value}), "Numbers", field, wrong_type=False
        )
        assert error.value == value
        assert f"{low} to {high}" in error.reason


@pytest.mark.parametrize("field", BOUNDS)
@given(value=st.integers())
def test_integers_anywhere(field, value):
    low, high = BOUNDS[field]
    if low <= value <= high:
        assert getattr(Numbers(**{field: value}), field) == value
    else:
        refused(lambda: Numbers(**{field: value}), "Numbers", field, wrong_type=False)


@pytest.mark.parametrize("value", [True, False, 1.0, float("nan"), "1", b"1", [1], object(), 1j])
@pytest.mark.parametrize("field", BOUNDS)
def test_other_types_are_no_integers(field, value):
    refused(lambda: Numbers(**{field: value}), "Numbers", field, wrong_type=True)


def test_none_is_for_optional_fields():
    assert Numbers(optional=None).optional is None
    refused(lambda: Numbers(u64=None), "Numbers", "u64", wrong_type=True)
    refused(lambda: Words(text=None), "Words", "text", wrong_type=True)
    refused(lambda: whole(task_id=None), "Whole", "task_id", wrong_type=True)
    refused(lambda: whole(state=None), "Whole", "state", wrong_type=True)
    refused(lambda: whole(part=None), "Whole", "part", wrong_type=True)


def test_an_instance_of_a_subclass_of_int_becomes_an_int():
    class Code(enum.IntEnum):
        FIVE = 5

    made = Numbers(u64=Code.FIVE, i32=Code.FIVE)
    assert (type(made.u64), made.u64, type(made.i32)) == (int, 5, int)


def test_the_number_in_an_instance_of_a_subclass_is_taken_whatever_its_arithmetic_says():
    class Seconds(int):
        def __add__(self, other):
            return Seconds(7)

        __index__ = __int__ = __pos__ = __radd__ = __add__

    made = aq.EnginePauseCommand(None, Seconds(1000))
    assert (type(made.timestamp), made.timestamp) == (int, 1000)


def test_an_instance_of_a_subclass_of_str_becomes_a_str():
    made = Words(text=RunState.READY, texts=(RunState.READY,))
    assert (type(made.text), made.text) == (str, "ready")
    assert (type(made.texts[0]), made.texts[0]) == (str, "ready")


@given(text=st.text(max_size=20))
def test_text_is_measured_in_utf8(text):
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0:
        for field in ("text", "optional"):
            assert (
                "surrogates"
                in refused(
                    lambda field=field: Words(**{field: text}), "Words", field, wrong_type=False
                ).reason
            )
        refused(lambda: Words(texts=("a", text)), "Words", "texts", wrong_type=False)
        return
    assert Words(text=text).text == text
    if 1 <= size <= 4:
        assert Words(short=text).short == text
    else:
        refused(lambda: Words(short=text), "Words", "short", wrong_type=False)


@pytest.mark.parametrize("character", ["a", "é", "漢", "😀"])
def test_the_limit_of_text(character):
    size = len(character.encode())
    assert limits.TEXT_SIZE_MAX % size in (0, 1)
    most = limits.TEXT_SIZE_MAX // size
    Words(text=character * most)
    refused(lambda: Words(text=character * (most + 1)), "Words", "text", wrong_type=False)


def test_the_limit_of_bytes():
    Words(blob=bytes(limits.PAYLOAD_SIZE_MAX))
    refused(
        lambda: Words(blob=bytes(limits.PAYLOAD_SIZE_MAX + 1)), "Words", "blob", wrong_type=False
    )
    refused(
        lambda: Words(blob=bytearray(limits.PAYLOAD_SIZE_MAX + 1)),
        "Words",
        "blob",
        wrong_type=False,
    )


def test_the_limit_of_lists():
    assert len(Words(texts=["x"] * limits.LIST_COUNT_MAX).texts) == limits.LIST_COUNT_MAX
    for entries in (["x"] * (limits.LIST_COUNT_MAX + 1), ("x",) * (limits.LIST_COUNT_MAX + 1)):
        refused(lambda entries=entries: Words(texts=entries), "Words", "texts", wrong_type=False)


@pytest.mark.parametrize("value", [b"x", 1, ["x"], bytearray(b"x")])
def test_other_types_are_no_text(value):
    refused(lambda: Words(text=value), "Words", "text", wrong_type=True)


@pytest.mark.parametrize("value", ["x", 1, [1], None])
def test_other_types_are_no_bytes(value):
    refused(lambda: Words(blob=value), "Words", "blob", wrong_type=True)


def test_bytes_like_objects_become_bytes_of_their_own():
    source = bytearray(b"abc")
    for given_value in (source, memoryview(source), memoryview(b"xaxbxc")[1::2]):
        made = Words(blob=given_value)
        assert (type(made.blob), made.blob) == (bytes, b"abc")
    made = Words(blob=source)
    source[0] = 0
    assert made.blob == b"abc"


def test_lists_become_tuples_and_stay_as_they_are():
    source = ["a", RunState.READY]
    made = Words(texts=source)
    assert made.texts == ("a", "ready")
    assert source == ["a", RunState.READY]
    assert type(source[1]) is RunState
    entries = ("a", "b")
    assert Words(texts=entries).texts is entries


@pytest.mark.parametrize("value", ["abc", {"a"}, {"a": 1}, iter("a"), 5, (c for c in "a")])
def test_other_types_are_no_lists(value):
    refused(lambda: Words(texts=value), "Words", "texts", wrong_type=True)


def test_entries_are_checked():
    refused(lambda: Words(texts=["a", 1]), "Words", "texts", wrong_type=True)
    refused(lambda: Words(texts=("a", None)), "Words", "texts", wrong_type=True)
    refused(lambda: Words(names=[]), "Words", "names", wrong_type=False)
    refused(lambda: Words(names=()), "Words", "names", wrong_type=False)
    refused(lambda: Words(names=["a", ""]), "Words", "names", wrong_type=False)
    refused(lambda: whole(ids=[RunId()]), "Whole", "ids", wrong_type=True)
    ids = [TaskId(), TaskId(bytes(16))]
    assert whole(ids=ids).ids == tuple(ids)


@pytest.mark.parametrize("value", [RunId(), "0" * 32, b"0" * 16, TaskId().uuid, 0])
def test_only_the_very_type_is_an_identifier(value):
    refused(lambda: whole(task_id=value), "Whole", "task_id", wrong_type=True)


def test_nil_is_refused_where_the_field_says_so():
    assert whole(task_id=TaskId(bytes(16))).task_id.is_nil
    error = refused(lambda: whole(run_id=RunId(bytes(16))), "Whole", "run_id", wrong_type=False)
    assert "nil" in error.reason


@pytest.mark.parametrize("state", RunState)
def test_names_become_members(state):
    assert whole(state=state).state is state
    assert whole(state=state.value).state is state


def test_unknown_names_are_refused():
    for name in ("", "READY", "no_such_state", "ready "):
        error = refused(lambda name=name: whole(state=name), "Whole", "state", wrong_type=False)
        assert "retry_wait" in error.reason
    for value in (AttemptResultKind.SUSPENDED, 1, b"ready"):
        refused(lambda value=value: whole(state=value), "Whole", "state", wrong_type=True)


def test_parts_are_instances_or_converted():
    part = Part(7)
    assert whole(part=part).part is part
    assert whole(part=7).part == part
    refused(lambda: whole(part="7"), "Whole", "part", wrong_type=True)
    refused(lambda: whole(part=-7), "Part", "value", wrong_type=False)


def test_the_fields_together():
    assert Pair(1, 2).high == 2
    refused(lambda: Pair(2, 1), "Pair", "high", wrong_type=False)
    refused(lambda: Pair(2, -1), "Pair", "high", wrong_type=False)


def test_every_way_to_an_instance_is_checked():
    made = Numbers(u32=7)
    with pytest.raises(InvalidFieldError):
        msgspec.structs.replace(made, u32=-1)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"u32": -1}', type=Numbers)
    assert msgspec.structs.replace(made, u32=8) == Numbers(u32=8)
    assert msgspec.json.decode(b'{"u32": 7}', type=Numbers) == made
    broken = Numbers(u32=7)
    msgspec.structs.force_setattr(broken, "u32", -1)
    with pytest.raises(InvalidFieldError):
        pickle.loads(pickle.dumps(broken))
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_instances_are_immutable_and_hashable():
    made = whole()
    with pytest.raises(AttributeError):
        made.part = Part(2)
    assert hash(made) == hash(copy.copy(made))


def test_an_abstract_type_has_no_instances():
    class Shape(Abstract, frozen=True, gc=False):
        pass

    class Circle(Shape, frozen=True, gc=False):
        radius: U64

    assert Circle(1).radius == 1
    with pytest.raises(InvalidFieldError):
        Circle(-1)
    with pytest.raises(TypeError, match="Shape is abstract"):
        Shape()


def test_inherited_fields_are_checked():
    class More(Part, frozen=True, gc=False):
        other: U64

    assert More(1, 2) == More(1, 2)
    refused(lambda: More(-1, 2), "More", "value", wrong_type=False)
    refused(lambda: More(1, -2), "More", "other", wrong_type=False)


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (int | str, "more than one type"),
        (list[int], "cannot be checked"),
        (Annotated[int, SizeRule(0, 1)], "does not fit"),
        (Annotated[str, IntegerRule(0, 1)], "does not fit"),
        (Annotated[Part, NotNilRule()], "does not fit"),
        (Annotated[int, "a remark"], "does not fit"),
        ("int", "cannot be checked"),
    ],
)
def test_annotations_that_cannot_be_checked_are_refused(annotation, why):
    with pytest.raises(TypeError, match=why):
        type(Checked)("Odd", (Checked,), {"__annotations__": {"field": annotation}}, frozen=True)


def test_limits_are_those_of_the_core():
    header = places.CORE / "base/limits.h"
    defined = dict(
        re.findall(r"^#define AQW_(\w+) (\d+)u?$", header.read_text("utf-8"), re.MULTILINE)
    )
    assert defined
    for name, value in defined.items():
        assert getattr(limits, name) == getattr(native, name) == int(value)
    own = {"U32_MAX", "U64_MAX", "I32_MIN", "I32_MAX", "CALENDAR_SECONDS_MAX", "POLL_SECONDS_MAX"}
    assert set(limits.__all__) == defined.keys() | own


def test_the_aliases_are_documented():
    assert all(hasattr(fields, name) for name in fields.__all__)
