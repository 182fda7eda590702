"""Which arrays are accepted, and how the others are refused: with the argument's name, before
anything is written.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import actionqueue as aq
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import BATCH_COUNT_MAX, TEXT_SIZE_MAX
from tests.support.columns import OldBoolean, add_run, small_queue
from tests.support.queues import state_of

COUNT = 3
OTHER_ORDER = ">" if sys.byteorder == "little" else "<"
RUN_IDS = [aq.RunId(bytes([number]) * 8 + bytes(8)) for number in range(1, COUNT + 1)]
ATTEMPT_IDS = [aq.AttemptId(bytes([number]) * 16) for number in range(1, COUNT + 1)]

GOOD: dict[str, dict[str, Any]] = {
    "submit_transitions": {
        "run_ids": aq.columns.id_array(RUN_IDS),
        "previous_states": np.full(COUNT, 3, np.uint8),
        "new_states": np.full(COUNT, 4, np.uint8),
        "timestamps": np.full(COUNT, 9, np.uint64),
    },
    "submit_reschedules": {
        "run_ids": aq.columns.id_array(RUN_IDS),
        "scheduled_times": np.full(COUNT, 99, np.uint64),
        "effective_priorities": np.array([-1, 0, 1], np.int32),
        "timestamps": np.full(COUNT, 9, np.uint64),
    },
    "submit_lease_heartbeats": {
        "run_ids": aq.columns.id_array(RUN_IDS),
        "owners": aq.columns.offsets_and_data(["wörker"] * COUNT),
        "expiries": np.full(COUNT, 20, np.uint64),
        "timestamps": np.full(COUNT, 9, np.uint64),
    },
    "submit_attempt_starts": {
        "run_ids": aq.columns.id_array(RUN_IDS),
        "attempt_ids": aq.columns.new_ids(aq.AttemptId, COUNT),
        "timestamps": np.full(COUNT, 9, np.uint64),
    },
    "submit_attempt_finishes": {
        "run_ids": aq.columns.id_array(RUN_IDS),
        "attempt_ids": aq.columns.id_array(ATTEMPT_IDS),
        "results": np.array([0, 1, 3], np.uint8),
        "timestamps": np.full(COUNT, 9, np.uint64),
        "outputs": aq.columns.offsets_and_data([b"out", None, b""]),
        "errors": aq.columns.offsets_and_data([None, "bröken", None]),
    },
}


@pytest.fixture
def queue() -> Iterator[aq.ActionQueue]:
    """Three running runs, each with a lease."""
    with small_queue() as made:
        for run_id in RUN_IDS:
            add_run(made, "leased", run_id=run_id)
            made.submit(aq.LeaseAcquireCommand(None, run_id, "wörker", 10, 1))
            made.submit(aq.RunStateTransitionCommand(None, run_id, "leased", "running", 1))
        yield made


def start_attempts(queue: aq.ActionQueue) -> None:
    queue.submit_attempt_starts(aq.columns.id_array(RUN_IDS), aq.columns.id_array(ATTEMPT_IDS), 1)


def wait_for_a_retry(queue: aq.ActionQueue) -> None:
    queue.submit_transitions(aq.columns.id_array(RUN_IDS), "running", "retry_wait", 1)


def call(queue: aq.ActionQueue, name: str, **changed: Any) -> Any:
    if name == "submit_attempt_finishes" and not queue.projection.counts().attempts:
        start_attempts(queue)
    if name == "submit_reschedules" and queue.projection.run_state(RUN_IDS[0]) == "running":
        wait_for_a_retry(queue)
    return getattr(queue, name)(**{**GOOD[name], **changed})


@pytest.mark.parametrize("name", GOOD)
def test_the_arrays_that_the_other_tests_change_are_good(queue: aq.ActionQueue, name: str) -> None:
    assert call(queue, name).count == COUNT


# --- What else is good ----------------------------------------------------------------------------


def read_only(values: Any) -> Any:
    values.flags.writeable = False
    return values


def unaligned(values: Any) -> Any:
    """Return the same values one byte further than their alignment allows."""
    room = bytearray(values.nbytes + 1)
    shifted = np.frombuffer(room, values.dtype, len(values), 1)
    shifted[:] = values
    assert values.dtype.itemsize == 1 or not shifted.flags.aligned
    return shifted


@pytest.mark.parametrize(
    "run_ids",
    [
        np.frombuffer(b"".join(run_id.bytes for run_id in RUN_IDS), np.uint8).reshape(COUNT, 16),
        memoryview(b"".join(run_id.bytes for run_id in RUN_IDS)).cast("B", (COUNT, 16)),
        read_only(aq.columns.id_array(RUN_IDS)),
        np.frombuffer(b"." + b"".join(run_id.bytes for run_id in RUN_IDS), "V16", COUNT, 1),
        aq.columns.id_array([*RUN_IDS, *RUN_IDS])[COUNT:],
    ],
    ids=["uint8", "memoryview", "read-only", "unaligned", "a slice"],
)
def test_identifiers_in_other_shapes(queue: aq.ActionQueue, run_ids: Any) -> None:
    call(queue, "submit_transitions", run_ids=run_ids)
    assert queue.projection.run_ids(aq.RunState.RETRY_WAIT) == RUN_IDS


@pytest.mark.parametrize(
    "timestamps",
    [
        np.array([7, 8, 9], np.ulonglong),
        np.array([7, 8, 9], "<u8" if sys.byteorder == "little" else ">u8"),
        array.array("Q", [7, 8, 9]),
        memoryview(np.array([7, 8, 9], np.uint64).tobytes()).cast("Q"),
        unaligned(np.array([7, 8, 9], np.uint64)),
        np.array([6, 7, 8, 9], np.uint64)[1:],
    ],
    ids=["ulonglong", "explicit order", "array.array", "memoryview", "unaligned", "a slice"],
)
def test_numbers_from_elsewhere(queue: aq.ActionQueue, timestamps: Any) -> None:
    call(queue, "submit_transitions", timestamps=timestamps)
    assert queue.projection.columns().runs["last_state_change_at"].tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    "timestamps", [7, np.uint64(7), np.int8(7), np.array(7)], ids=lambda value: type(value).__name__
)
def test_one_number_for_all_rows(queue: aq.ActionQueue, timestamps: Any) -> None:
    call(queue, "submit_transitions", timestamps=timestamps)
    assert queue.projection.columns().runs["last_state_change_at"].tolist() == [7, 7, 7]


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int32, np.int64])
def test_offsets_of_other_widths(queue: aq.ActionQueue, dtype: Any) -> None:
    offsets, data = GOOD["submit_attempt_finishes"]["errors"]
    call(
        queue,
        "submit_attempt_finishes",
        errors=(offsets.astype(dtype), data),
        outputs=(unaligned(np.array([0, 3, 3, 3], dtype)), b"out"),
    )
    attempts = [queue.projection.attempts(run_id) or [] for run_id in RUN_IDS]
    assert [(attempt.output, attempt.error) for (attempt,) in attempts] == [
        (b"out", None),
        (None, "bröken"),
        (None, None),
    ]


def test_data_may_be_longer_than_what_the_offsets_use(queue: aq.ActionQueue) -> None:
    owners = np.array([2, 9, 9, 16], np.uint32), "..wörkerwörker.".encode()
    outcome = call(queue, "submit_lease_heartbeats", owners=owners, on_refusal="report")
    assert outcome.sequences.astype(bool).tolist() == [True, False, True]
    nobody = np.zeros(COUNT + 1, np.uint32), b""
    outcome = call(queue, "submit_lease_heartbeats", owners=nobody, on_refusal="report")
    assert {aq.columns.refusal_name(code) for code in outcome.refused} == {"lease_owner"}


# --- What is refused ------------------------------------------------------------------------------

BAD_IDS: list[Any] = [
    RUN_IDS,
    b"".join(run_id.bytes for run_id in RUN_IDS),
    None,
    aq.columns.id_array(RUN_IDS).view("S16"),
    aq.columns.id_array(RUN_IDS).view("V8"),
    aq.columns.id_array(RUN_IDS).view(np.uint64),
    aq.columns.id_array(RUN_IDS).view(np.uint64).reshape(COUNT, 2),
    aq.columns.id_array(RUN_IDS).view(np.int8).reshape(COUNT, 16),
    aq.columns.id_array(RUN_IDS).view([("high", "u8"), ("low", "u8")]),
    aq.columns.id_array(RUN_IDS).view(np.uint8),
    aq.columns.id_array(RUN_IDS).view(np.uint8).reshape(-1, 8),
    aq.columns.id_array(RUN_IDS).reshape(COUNT, 1),
    np.array(RUN_IDS, object),
    np.asfortranarray(aq.columns.id_array(RUN_IDS).view(np.uint8).reshape(COUNT, 16)),
    aq.columns.id_array([*RUN_IDS, *RUN_IDS])[::2],
    aq.columns.id_array(RUN_IDS)[::-1],
    aq.columns.id_array(RUN_IDS)[0],
]
BAD_NUMBERS: list[Any] = [
    [9, 9, 9],
    None,
    "9",
    9.0,
    True,
    -1,
    2**64,
    np.float64(9),
    np.bool_(1),
    OldBoolean(),
    np.full(COUNT, 9, np.int64),
    np.full(COUNT, 9, np.uint32),
    np.full(COUNT, 9, np.float64),
    np.full(COUNT, 9, OTHER_ORDER + "u8"),
    np.full(COUNT, 9, "datetime64[s]"),
    np.full(COUNT, 9, object),
    np.full((COUNT, 1), 9, np.uint64),
    np.full(2 * COUNT, 9, np.uint64)[::2],
    np.full(COUNT + 1, 9, np.uint64),
    np.full(COUNT - 1, 9, np.uint64),
    np.zeros(0, np.uint64),
]
BAD_CODES: list[Any] = [
    [3, 3, 3],
    None,
    "Running",
    "",
    9,
    -1,
    False,
    1.0,
    np.full(COUNT, 3, np.int8),
    np.full(COUNT, 3, np.uint16),
    np.full(COUNT, 1, bool),
    np.full(COUNT, b"x", "S1"),
    np.full((1, COUNT), 3, np.uint8),
    np.full(2 * COUNT, 3, np.uint8)[::2],
    np.full(COUNT + 1, 3, np.uint8),
    np.array([3, 3, 9], np.uint8),
    np.array([255, 3, 3], np.uint8),
]
OFFSETS = np.array([0, 1, 2, 3], np.uint64)
BAD_BYTES: list[Any] = [
    7,
    ["worker"] * COUNT,
    ("worker", "worker", "worker"),
    bytearray(b"worker"),
    (OFFSETS, "abc"),
    (OFFSETS, None),
    (None, b"abc"),
    ([0, 1, 2, 3], b"abc"),
    (OFFSETS.astype(np.uint16), b"abc"),
    (OFFSETS.astype(np.float64), b"abc"),
    (OFFSETS.astype(OTHER_ORDER + "u8"), b"abc"),
    (OFFSETS[:-1], b"abc"),
    (np.array([0, 1, 2, 3, 3], np.uint64), b"abc"),
    (np.zeros(0, np.uint64), b"abc"),
    (OFFSETS, b"ab"),
    (np.array([0, 2, 1, 3], np.uint64), b"abc"),
    (np.array([0, 1, 2, 2**63], np.uint64), b"abc"),
    (np.array([0, 1, 2, -1], np.int32), b"abc"),
    (np.array([-1, 1, 2, 3], np.int64), b"abc"),
    (OFFSETS, np.zeros(3, np.uint16)),
    (OFFSETS, np.zeros(6, np.uint8)[::2]),
]
BAD_TEXTS: list[Any] = [
    "\ud800",
    b"\xff",
    "x" * (TEXT_SIZE_MAX + 1),
    (OFFSETS, b"ab\xff"),
    (OFFSETS, "aö".encode()),
]

BAD_PRIORITIES: list[Any] = [
    None,
    "1",
    1.0,
    True,
    2**31,
    -(2**31) - 1,
    [1, 2, 3],
    np.zeros(COUNT, np.uint32),
    np.zeros(COUNT, np.int64),
    np.zeros(COUNT, np.float32),
    np.zeros(COUNT, OTHER_ORDER + "i4"),
    np.zeros(COUNT + 1, np.int32),
    np.zeros((COUNT, 2), np.int32),
    np.zeros(2 * COUNT, np.int32)[::2],
]

BAD: dict[str, dict[str, list[Any]]] = {
    "submit_transitions": {
        "run_ids": BAD_IDS,
        "previous_states": BAD_CODES,
        "new_states": BAD_CODES,
        "timestamps": BAD_NUMBERS,
    },
    "submit_reschedules": {
        "run_ids": BAD_IDS,
        "scheduled_times": BAD_NUMBERS,
        "effective_priorities": BAD_PRIORITIES,
        "timestamps": BAD_NUMBERS,
    },
    "submit_lease_heartbeats": {
        "run_ids": BAD_IDS,
        "owners": [None, *BAD_BYTES, *BAD_TEXTS],
        "expiries": BAD_NUMBERS,
        "timestamps": BAD_NUMBERS,
    },
    "submit_attempt_starts": {
        "run_ids": BAD_IDS,
        "attempt_ids": [*BAD_IDS, aq.columns.new_ids(aq.AttemptId, COUNT + 1)],
        "timestamps": BAD_NUMBERS,
    },
    "submit_attempt_finishes": {
        "run_ids": BAD_IDS,
        "attempt_ids": BAD_IDS,
        "results": [*BAD_CODES, 4, np.array([0, 1, 4], np.uint8)],
        "timestamps": BAD_NUMBERS,
        "outputs": [
            "text",
            *BAD_BYTES,
            aq.columns.offsets_and_data([b"out", b"of a failure", b""]),
        ],
        "errors": [
            None,
            *BAD_BYTES,
            *BAD_TEXTS,
            aq.columns.offsets_and_data(["of a success", "", ""]),
        ],
    },
}
MASKED_NUMBERS = np.ma.masked_array(np.ones(COUNT, np.uint64), mask=[False, True, False])
MASKED_CODES = np.ma.masked_array(np.zeros(COUNT, np.uint8), mask=[True, False, False])
MASKED: list[tuple[str, dict[str, Any], str]] = [
    ("submit_transitions", {"timestamps": MASKED_NUMBERS}, "timestamps"),
    (
        "submit_transitions",
        {"timestamps": np.ma.masked_array(np.uint64(1), mask=True)},
        "timestamps",
    ),
    ("submit_transitions", {"previous_states": MASKED_CODES}, "previous_states"),
    (
        "submit_transitions",
        {"new_states": np.ma.masked_array(np.uint8(1), mask=True)},
        "new_states",
    ),
    (
        "submit_transitions",
        {"run_ids": np.ma.masked_array(aq.columns.id_array(RUN_IDS), mask=[True, False, False])},
        "run_ids",
    ),
    (
        "submit_lease_heartbeats",
        {"owners": (np.ma.masked_array(OFFSETS, mask=OFFSETS == 1), b"abc")},
        "owners",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "field"), MASKED)
def test_what_is_masked_is_no_value(
    queue: aq.ActionQueue, name: str, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidFieldError, match="masked") as refusal:
        call(queue, name, **arguments)
    assert refusal.value.field == field


def test_a_mask_that_masks_nothing_is_none(queue: aq.ActionQueue) -> None:
    for mask in (np.ma.nomask, np.zeros(COUNT, bool)):
        times = np.ma.masked_array(np.ones(COUNT, np.uint64), mask=mask)
        assert call(
            queue, "submit_transitions", timestamps=times, on_refusal="report"
        ).refused_count in (0, COUNT)


@pytest.mark.parametrize("on_refusal", ["foo", [], None, 1, np.array(["raise", "report"])])
def test_another_way_to_meet_refusals_is_refused(queue: aq.ActionQueue, on_refusal: Any) -> None:
    with pytest.raises(InvalidFieldError, match="on_refusal"):
        call(queue, "submit_transitions", on_refusal=on_refusal)


@pytest.mark.parametrize("code", [-1, 9, np.int64(-9)])
def test_a_code_that_is_none_has_no_state(code: int) -> None:
    assert aq.columns.states_from_codes(np.array([0, 8], np.uint8)) == [
        aq.RunState.SCHEDULED,
        aq.RunState.CANCELED,
    ]
    with pytest.raises(IndexError):
        aq.columns.states_from_codes([0, code])


@pytest.mark.parametrize("value", [True, np.True_, "1", 1.0, None], ids=repr)
def test_a_number_of_a_row_or_a_code_is_a_whole_number(queue: aq.ActionQueue, value: Any) -> None:
    outcome = call(queue, "submit_transitions", on_refusal="report")
    with pytest.raises(
        InvalidFieldTypeError, match=r"^error\.row: must be the number of a row, from 0, got "
    ):
        outcome.error(value)
    with pytest.raises(
        InvalidFieldTypeError, match=r"^states_from_codes\.codes: must be whole numbers, got "
    ):
        aq.columns.states_from_codes([0, value])
    with pytest.raises(
        InvalidFieldTypeError, match=r"^refusal_name\.code: must be a code from 0 to 65535, got "
    ):
        aq.columns.refusal_name(value)


@pytest.mark.parametrize("value", [-1, 2**70, 10**5000], ids=["-1", "2**70", "10**5000"])
def test_no_such_row_or_code(queue: aq.ActionQueue, value: int) -> None:
    with pytest.raises(
        IndexError,
        match=r"there is no row (-1|11\d+|<a number of about 5001 digits>); the call had",
    ):
        call(queue, "submit_transitions", on_refusal="report").error(value)
    with pytest.raises(IndexError, match=r"codes must be from 0 to 8, got "):
        aq.columns.states_from_codes([0, value])
    with pytest.raises(
        InvalidFieldError, match=r"^refusal_name\.code: must be a code from 0 to 65535, got "
    ):
        aq.columns.refusal_name(value)


CASES = [(name, argument) for name, arguments in BAD.items() for argument in arguments]


@pytest.mark.parametrize(
    ("name", "argument"), CASES, ids=[f"{name}-{argument}" for name, argument in CASES]
)
def test_another_array_is_refused_by_name(queue: aq.ActionQueue, name: str, argument: str) -> None:
    if name == "submit_attempt_finishes":
        start_attempts(queue)
    if name == "submit_reschedules":
        wait_for_a_retry(queue)
    before, appended = state_of(queue), queue.stats()["appended_records"]
    for value in BAD[name][argument]:
        for on_refusal in ("raise", "report"):
            with pytest.raises(InvalidFieldError) as refusal:
                call(queue, name, **{argument: value}, on_refusal=on_refusal)
            assert (refusal.value.type_name, refusal.value.field) == (name, argument), value
            assert len(str(refusal.value)) < 400
    assert state_of(queue) == before
    assert queue.stats()["appended_records"] == appended
    assert call(queue, name).count == COUNT


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        (
            "run_ids",
            aq.columns.id_array(RUN_IDS).view("S16"),
            r"drops zero bytes at the end.*\|S16 of shape \(3,\)",
        ),
        ("run_ids", RUN_IDS, r"must be an array of identifiers: V16, or uint8 of shape \(n, 16\)"),
        (
            "run_ids",
            aq.columns.id_array(RUN_IDS * 2)[::2],
            "must be contiguous; numpy.ascontiguousarray",
        ),
        (
            "timestamps",
            np.zeros(COUNT, np.int64),
            r"must be an array of uint64, or one number for all rows.*int64 of shape \(3,\)",
        ),
        ("timestamps", np.zeros(COUNT, OTHER_ORDER + "u8"), "in the machine's byte order"),
        ("timestamps", np.zeros(2, np.uint64), "must have 3 items, one for each of run_ids, got 2"),
        ("timestamps", -1, r"must be from 0 to 2\*\*64 - 1, got -1"),
        (
            "new_states",
            np.array([4, 4, 77], np.uint8),
            "row 2: a state's code is from 0 .* to 8 .*, got 77",
        ),
        ("new_states", "Ready", "must be one of scheduled, ready"),
    ],
)
def test_the_error_says_what_to_do(
    queue: aq.ActionQueue, argument: str, value: Any, says: str
) -> None:
    with pytest.raises(InvalidFieldError, match=says):
        call(queue, "submit_transitions", **{argument: value})


def test_a_wrong_type_is_a_type_error(queue: aq.ActionQueue) -> None:
    for argument, value in (
        ("run_ids", RUN_IDS),
        ("timestamps", 1.5),
        ("new_states", np.zeros(COUNT, np.int8)),
        ("timestamps", True),
    ):
        with pytest.raises(InvalidFieldTypeError):
            call(queue, "submit_transitions", **{argument: value})


def test_no_more_rows_than_a_batch_holds(queue: aq.ActionQueue) -> None:
    with pytest.raises(InvalidFieldError, match=f"at most {BATCH_COUNT_MAX} rows"):
        queue.submit_transitions(np.zeros(BATCH_COUNT_MAX + 1, "V16"), 0, 1, 1, on_refusal="report")
    outcome = queue.submit_transitions(
        np.zeros(BATCH_COUNT_MAX, "V16"), 0, 1, 1, on_refusal="report"
    )
    assert outcome.refused_count == BATCH_COUNT_MAX
    assert outcome.error(BATCH_COUNT_MAX - 1) == aq.UnknownRun(run_id=aq.RunId(bytes(16)))


# --- Without NumPy --------------------------------------------------------------------------------


def test_submitting_needs_no_numpy(queue: aq.ActionQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    run_ids = memoryview(b"".join(run_id.bytes for run_id in RUN_IDS)).cast("B", (COUNT, 16))
    outcome = queue.submit_transitions(
        run_ids, bytes([3, 3, 3]), array.array("B", [4, 4, 5]), array.array("Q", [1, 2, 3])
    )
    assert (outcome.count, outcome.refused) == (COUNT, None)
    for needs in (
        queue.projection.columns,
        queue.projection.run_id_array,
        lambda: aq.columns.id_array(RUN_IDS),
        lambda: aq.columns.new_ids(aq.RunId, 1),
        lambda: aq.columns.state_codes(["ready"]),
        lambda: aq.columns.offsets_and_data([b""]),
        lambda: outcome.sequences,
    ):
        with pytest.raises(ImportError, match=r"pip install 'actionqueue\[numpy\]'"):
            needs()


# --- Identifiers ----------------------------------------------------------------------------------


def test_identifiers_to_arrays_and_back() -> None:
    ids = [aq.RunId(), aq.RunId(bytes(16)), aq.RunId(b"\1" + bytes(15)), aq.RunId(b"\xff" * 16)]
    made = aq.columns.id_array(ids)
    assert (made.dtype, made.shape) == ("V16", (4,))
    assert [bytes(item) for item in made] == [run_id.bytes for run_id in ids]
    assert aq.columns.ids_from_array(made, aq.RunId) == ids
    assert aq.columns.ids_from_array(made.view(np.uint8).reshape(-1, 16), aq.TaskId) == [
        aq.TaskId(run_id.bytes) for run_id in ids
    ]
    assert aq.columns.ids_from_array(aq.columns.id_array(iter([])), aq.RunId) == []
    with pytest.raises(InvalidFieldTypeError, match="must be identifiers"):
        aq.columns.id_array([aq.RunId(), UUID(int=1)])  # type: ignore[list-item]
    with pytest.raises(InvalidFieldTypeError, match="drops zero bytes"):
        aq.columns.ids_from_array(made.view("S16"), aq.RunId)
    for id_type in (aq.Identifier, UUID, int):
        with pytest.raises(InvalidFieldTypeError, match="one of the seven"):
            aq.columns.ids_from_array(made, id_type)  # type: ignore[type-var]
        with pytest.raises(InvalidFieldTypeError, match="one of the seven"):
            aq.columns.new_ids(id_type, 1)  # type: ignore[arg-type]


def test_new_identifiers_are_random_uuids() -> None:
    made = aq.columns.new_ids(aq.RunId, 1000)
    uuids = [run_id.uuid for run_id in aq.columns.ids_from_array(made, aq.RunId)]
    assert len(set(uuids)) == 1000
    assert {(uuid.version, uuid.variant) for uuid in uuids} == {(4, UUID(int=1 << 63).variant)}
    octets = made.view(np.uint8).reshape(-1, 16)
    assert all(len(set(octets[:, column].tolist())) > 3 for column in range(16))
    assert aq.columns.new_ids(aq.RunId, 0).shape == (0,)


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.int16, np.uint64], ids=lambda kind: kind.__name__
)
def test_as_many_new_identifiers_as_asked_for_by_any_kind_of_number(
    kind: Callable[[int], Any],
) -> None:
    assert (
        len(set(aq.columns.ids_from_array(aq.columns.new_ids(aq.RunId, kind(100)), aq.RunId)))
        == 100
    )


def test_a_count_of_new_identifiers_that_is_none() -> None:
    for count in (True, "3", 1.5, None, np.float64(1)):
        with pytest.raises(
            InvalidFieldTypeError,
            match=r"^new_ids\.count: must be a whole number from 0 to 4294967294, got ",
        ):
            aq.columns.new_ids(aq.RunId, count)  # type: ignore[arg-type]
    for count in (-1, np.int8(-1), -(10**5000), 2**32, 2**64, 10**5000):
        with pytest.raises(
            InvalidFieldError,
            match=r"^new_ids\.count: must be a whole number from 0 to 4294967294, got ",
        ):
            aq.columns.new_ids(aq.RunId, count)


def test_texts_to_arrays() -> None:
    offsets, data = aq.columns.offsets_and_data(["a", None, "ö", b"\0\xff", ""])
    assert (offsets.dtype, data.dtype) == (np.uint64, np.uint8)
    assert offsets.tolist() == [0, 1, 1, 3, 5, 5]
    assert data.tobytes() == b"a\xc3\xb6\0\xff"
    offsets, data = aq.columns.offsets_and_data([])
    assert (offsets.tolist(), data.tolist()) == ([0], [])
    for value in (True, 0, 5, [], np.uint8(0), 10**5000):
        with pytest.raises(
            InvalidFieldTypeError,
            match=r"^offsets_and_data\.values: must be str, bytes or None, got ",
        ):
            aq.columns.offsets_and_data(["a", value])  # type: ignore[list-item]
    with pytest.raises(
        InvalidFieldError, match=r"^offsets_and_data\.values: must not have lone surrogates"
    ):
        aq.columns.offsets_and_data(["\ud800"])


@pytest.mark.parametrize(
    "error", [ImportError("no shared object"), ModuleNotFoundError("no part", name="numpy.part")]
)
def test_a_broken_numpy_speaks_for_itself(
    monkeypatch: pytest.MonkeyPatch, error: ImportError
) -> None:
    def refuse(_name: str) -> None:
        raise error

    monkeypatch.setattr("actionqueue.arrays.importlib.import_module", refuse)
    with pytest.raises(ImportError) as caught:
        aq.new_ids(aq.RunId, 1)
    assert caught.value is error
