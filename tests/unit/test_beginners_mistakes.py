"""What a beginner does wrong first is answered with the name, the value, and what to do."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from actionqueue import MutationCommand, aio, inspection

COMMANDS = MutationCommand.__subclasses__()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    aq.open(tmp_path / "queue").close()
    return tmp_path / "queue"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_a_call_without_the_leading_none_is_told_so(command: Any) -> None:
    values = [5] * (len(command.__struct_fields__) - 1)
    with pytest.raises(TypeError, match=rf"{command.__name__}.*None"):
        command(*values)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"durability": "fast"}, "durability: must be one of immediate, deferred, got 'fast'"),
        ({"compaction": True}, "compaction must be a CompactionPolicy, or None"),
        ({"sync": None}, "sync must be a SyncPolicy"),
        ({"create": "no"}, "create must be True or False, got 'no'"),
        ({"readonly": 1}, "readonly must be True or False, got 1"),
        ({"readonly": True, "ring_size": 65536}, "readonly=True takes no ring_size"),
        (
            {"segment_size": 100_000},
            "segment_size must be a power of two from 65536 to 1073741824 bytes, got 100000",
        ),
        (
            {"ring_size": "big"},
            "ring_size must be a multiple of 65536 up to 268435456 bytes, got 'big'",
        ),
        ({"sector_size": 7}, "sector_size must be 0, 512 or 4096, got 7"),
        ({"sector_size": False}, "sector_size must be 0, 512 or 4096, got False"),
        ({"progress": print}, "progress: must be a Progress or None, got <built-in"),
    ],
)
def test_an_option_that_does_not_fit_is_named_with_what_does(
    options: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        aq.open(tmp_path / "queue", **options)
    assert not (tmp_path / "queue").exists()


class Odd:
    """A value without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("value", [10**5000, Odd(), [10**5000]], ids=["number", "odd", "list"])
@pytest.mark.parametrize(
    "option",
    [
        "durability",
        "compaction",
        "sync",
        "create",
        "readonly",
        "segment_size",
        "ring_size",
        "sector_size",
        "progress",
    ],
)
def test_an_option_is_named_whatever_its_value_is(
    option: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=option):
        aq.open(tmp_path / "queue", **{option: value})
    assert not (tmp_path / "queue").exists()


@pytest.mark.parametrize(
    "value", [5, 0, "", True, print, Odd()], ids=["5", "0", "text", "True", "function", "odd"]
)
def test_a_progress_is_a_progress(value: Any, tmp_path: Path) -> None:
    """Also one that counts as false is no None."""
    path = tmp_path / "queue"

    async def open_async() -> None:
        async with aio.open_async(path, progress=value):
            pass

    with aq.open(path) as queue:
        for call in (queue.snapshot, queue.compact):
            with pytest.raises(
                aq.InvalidFieldTypeError,
                match=rf"^{call.__name__}\.progress: must be a Progress or None, got ",
            ):
                call(progress=value)
        assert queue.stats()["snapshot_error"] is None
    with pytest.raises(
        aq.InvalidFieldTypeError, match=r"^repair\.progress: must be a Progress or None, got "
    ):
        aq.repair(path, accept_data_loss=False, progress=value)
    with pytest.raises(
        aq.InvalidFieldTypeError, match=r"^open\.progress: must be a Progress or None, got "
    ):
        aq.open(path, progress=value)
    with pytest.raises(
        aq.InvalidFieldTypeError, match=r"^open\.progress: must be a Progress or None, got "
    ):
        asyncio.run(open_async())
    aq.open(path, progress=None).close()


@pytest.mark.parametrize(
    "value", [5, 0, "", print, Odd(), 10**5000], ids=["5", "0", "text", "function", "odd", "number"]
)
def test_what_verify_tells_of_is_a_progress(value: Any, tmp_path: Path) -> None:
    """It is refused before a file is looked at: there is none."""
    with pytest.raises(
        aq.InvalidFieldTypeError, match=r"^verify\.progress: must be a Progress or None, got "
    ):
        inspection.verify(tmp_path / "none", value)
    aq.open(tmp_path / "queue").close()
    assert inspection.verify(tmp_path / "queue", None)["records"] >= 0


@pytest.mark.parametrize(
    "value", [5, None, "print", Odd(), 10**5000], ids=["5", "None", "text", "odd", "number"]
)
def test_what_is_called_back_can_be_called(value: Any, tmp_path: Path) -> None:
    with pytest.raises(aq.InvalidFieldTypeError, match=r"^salvage\.visit: must be callable, got "):
        inspection.salvage(tmp_path / "none", value)


@pytest.mark.parametrize(
    "value",
    [5, None, True, b"queue", Odd(), 10**5000],
    ids=["5", "None", "True", "bytes", "odd", "number"],
)
def test_a_path_that_is_none_is_shown(value: Any) -> None:
    calls = [
        aq.open,
        aq.follow,
        aq.repair,
        inspection.verify,
        inspection.statistics,
        inspection.read_projection,
        inspection.moved_logs,
    ]
    for call in calls:
        options = {"accept_data_loss": False} if call is aq.repair else {}
        with pytest.raises(TypeError, match=r"^path must be a str or a path-like of str, got "):
            call(value, **options)


@pytest.mark.parametrize("value", [5, None, Odd(), 10**5000], ids=["5", "None", "odd", "number"])
def test_what_is_gone_through_is_iterable(value: Any, made: Path) -> None:
    with aq.open(made) as queue:
        calls = [queue.submit_many, aq.columns.id_array, aq.columns.offsets_and_data]
        for call in [
            *calls,
            aq.columns.state_codes,
            aq.columns.states_from_codes,
            aq.columns.result_codes,
        ]:
            with pytest.raises(
                aq.InvalidFieldTypeError, match=rf"^{call.__name__}\.[a-z]+: must be iterable, got "
            ):
                call(value)
    with pytest.raises(
        aq.InvalidFieldTypeError, match=r"^AsyncQueue\.queue: must be an ActionQueue, got "
    ):
        aio.AsyncQueue(value)


class OnlyAppends:
    flush = 5

    def append(self, event: Any) -> None:
        raise AssertionError(event)


@pytest.mark.parametrize(
    ("writer", "projection", "text"),
    [
        (5, aq.Projection(), "StorageMutationAuthority.writer: must have a method append, got 5"),
        (
            OnlyAppends(),
            aq.Projection(),
            "StorageMutationAuthority.writer: must have a method flush, got <",
        ),
        (None, None, "StorageMutationAuthority.writer: must have a method append, got None"),
        ([], aq.Projection(), "StorageMutationAuthority.writer: must have a method flush, got []"),
    ],
    ids=["number", "half", "None", "list"],
)
def test_an_authority_is_told_what_its_parts_lack(writer: Any, projection: Any, text: str) -> None:
    with pytest.raises(aq.InvalidFieldTypeError, match=re.escape(text)):
        aq.StorageMutationAuthority(writer, projection)


@pytest.mark.parametrize("value", [None, 5, [], Odd()], ids=["None", "5", "list", "odd"])
def test_an_authority_needs_a_projection(value: Any) -> None:
    writer = OnlyAppends()
    writer.flush = print  # type: ignore[assignment]
    with pytest.raises(
        aq.InvalidFieldTypeError,
        match=r"^StorageMutationAuthority\.projection: must have a method apply_event, got ",
    ):
        aq.StorageMutationAuthority(writer, value)


Follow = Callable[..., object]


def follow_async(path: Path, **options: Any) -> None:
    async def follow() -> None:
        async with aio.open_async(path) as queue:
            await anext(queue.follow(**options))

    asyncio.run(follow())


def follow_as_a_reader(path: Path, **options: Any) -> None:
    with aq.open(path, readonly=True) as reader:
        reader.follow(**options)


def follow_as_a_writer(path: Path, **options: Any) -> None:
    with aq.open(path) as queue:
        queue.follow(**options)


FOLLOWS = [
    aq.follow,
    follow_as_a_reader,
    follow_as_a_writer,
    follow_async,
    inspection.follow_records,
]
every_follow = pytest.mark.parametrize("follow", FOLLOWS, ids=lambda follow: follow.__name__)


@every_follow
def test_a_position_is_no_bool(follow: Follow, made: Path) -> None:
    """True is no 1: it would pass over an event."""
    for after in (True, False, 1.0, b"1", [1], np.True_, Odd()):
        with pytest.raises(
            aq.InvalidFieldTypeError,
            match=r"^follow(_records)?\.after: must be a sequence from 0 to .*, got ",
        ):
            follow(made, after=after)
    for after in (-1, 2**64, 10**5000, -(10**5000)):
        with pytest.raises(
            aq.InvalidFieldError,
            match=r"^follow(_records)?\.after: must be a sequence from 0 to .*, got ",
        ):
            follow(made, after=after)


@every_follow
def test_seconds_between_two_looks_are_a_number(follow: Follow, made: Path) -> None:
    text = r"^follow(_records)?\.poll_seconds: "
    text += r"must be a number of seconds, finite and from 0 to 86400, got "
    for seconds in ("x", True, None, [], np.True_, Decimal(1), 1j, Odd()):
        with pytest.raises(aq.InvalidFieldTypeError, match=text):
            follow(made, poll_seconds=seconds)
    for seconds in (
        -1,
        -0.001,
        math.nan,
        math.inf,
        -math.inf,
        86401,
        1e300,
        10**5000,
        -(10**5000),
        Fraction(10**400),
    ):
        with pytest.raises(aq.InvalidFieldError, match=text):
            follow(made, poll_seconds=seconds)


@pytest.mark.parametrize(
    "follow",
    [aq.follow, follow_as_a_reader, follow_as_a_writer],
    ids=lambda follow: follow.__name__,
)
def test_seconds_until_a_follower_ends_are_a_number(follow: Follow, made: Path) -> None:
    text = r"^follow\.timeout: must be a number of seconds, finite and from 0, got "
    for seconds in ("x", True, [], np.True_, Decimal(1), Odd()):
        with pytest.raises(aq.InvalidFieldTypeError, match=text):
            follow(made, timeout=seconds)
    for seconds in (-1, -0.001, math.nan, math.inf, -math.inf, 10**5000, -(10**5000)):
        with pytest.raises(aq.InvalidFieldError, match=text):
            follow(made, timeout=seconds)


@pytest.mark.parametrize(
    "kind", [int, float, Fraction, np.float32, np.int8, np.uint64], ids=lambda kind: kind.__name__
)
def test_seconds_may_be_any_kind_of_real_number(kind: Any, made: Path) -> None:
    assert list(aq.follow(made, timeout=kind(0), poll_seconds=kind(0))) == []


def test_whether_statistics_replay_is_a_bool(made: Path) -> None:
    for value in ("no", 0, 1, Odd()):
        with pytest.raises(TypeError, match="replays must be True or False, got "):
            inspection.statistics(made, replays=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["no", 0, 1, None])
def test_data_loss_is_accepted_with_true_and_nothing_else(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path) as queue:
        queue.submit(aq.EnginePauseCommand(None, 7))
    segment = max((path / "wal").glob("*.log"))
    segment.write_bytes(b"")
    with pytest.raises(TypeError, match="accept_data_loss must be True or False, got"):
        aq.repair(path, accept_data_loss=value)
    assert segment.exists()


def test_refusals_say_what_is_allowed_and_which_command_of_a_batch_it_was(tmp_path: Path) -> None:
    spec = aq.TaskSpec(payload=b"x")
    run = aq.RunInstance.scheduled(spec.id, scheduled_at=7, created_at=7)
    with aq.open(tmp_path / "queue") as queue:
        queue.submit(aq.TaskCreateCommand(None, spec, 7))
        queue.submit(aq.RunCreateCommand(None, run))
        with pytest.raises(
            aq.InvalidTransition, match="from scheduled it may go to ready, canceled"
        ):
            queue.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "running", 7))
        with pytest.raises(aq.LeaseInvalidRunState, match="is scheduled; it is allowed in ready"):
            queue.submit(aq.LeaseAcquireCommand(None, run.id, "worker", 9, 7))
        pause = aq.EnginePauseCommand(None, 7)
        with pytest.raises(aq.EngineAlreadyPaused, match="command 1 of the batch"):
            queue.submit_many([pause, pause])
        with pytest.raises(
            ValueError, match="durability: must be one of immediate, deferred, got 'fast'"
        ):
            queue.submit(pause, "fast")


# --- Values with code of their own ----------------------------------------------------------------


class AlwaysEqual(str):
    """A text that says of itself what is wanted."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class Failing:
    def __index__(self) -> int:
        raise RuntimeError("no number")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_path_that_no_file_system_takes_is_named(path: str) -> None:
    for call in (aq.open, aq.follow, inspection.verify):
        with pytest.raises(ValueError, match=r"^path must be text that the file system takes.*got"):
            call(path)


def test_a_text_is_compared_by_what_it_says(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.parent)
    aq.open(AlwaysEqual("named")).close()
    assert sorted(path.name for path in made.parent.iterdir()) == ["named", "queue"]
    with aq.open(made) as queue:
        with pytest.raises(aq.InvalidFieldError, match=r"^submit\.on_refusal: "):
            queue.submit_lease_heartbeats(
                np.zeros((0, 16), np.uint8), "me", 1, 1, on_refusal=AlwaysEqual("none")
            )  # type: ignore[arg-type]
        with pytest.raises(aq.HistoryChangedError):
            aq.follow(made, history=AlwaysEqual("0" * 32))
    with pytest.raises(ValueError, match="readonly=True takes no durability"):
        aq.open(made, readonly=True, durability=AlwaysEqual("x"))  # type: ignore[call-overload]


@pytest.mark.parametrize("history", ["", "HELLO", "0" * 31, "A" * 32])
def test_what_is_no_history_is_named_at_once(made: Path, history: str) -> None:
    with pytest.raises(
        aq.InvalidFieldError, match=r"^follow\.history: must be a str as queue\.history is"
    ):
        aq.follow(made, history=history)


def test_what_a_value_raises_of_itself_is_its_cause(made: Path) -> None:
    with aq.open(made) as queue:
        for call in (
            lambda: queue.compact(retention_seconds=Failing()),  # type: ignore[arg-type]
            lambda: aq.follow(made, after=Failing()),  # type: ignore[arg-type]
            lambda: aq.CompactionPolicy(log_bytes=Failing()),  # type: ignore[arg-type]
        ):
            with pytest.raises(aq.InvalidFieldTypeError) as refusal:
                call()
            assert isinstance(refusal.value.__cause__, RuntimeError)
