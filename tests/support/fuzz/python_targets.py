"""What Python reads of other people's bytes: one function for each, from bytes to an assertion that
fails.

Each takes any bytes and raises only where a promise is broken: another error than the typed ones,
an error that is not one line, a value that does not survive its own form. ``test_hostile_text.py``
feeds them by hypothesis, ``run_python.py`` by atheris.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

import actionqueue  # noqa: F401 -- native modules take names from it
from _wal_native.events import (
    capability_from_bytes,
    capability_to_bytes,
    decode_event,
    encode_event,
    filter_from_bytes,
    registration_from_bytes,
    role_from_bytes,
    task_spec_from_bytes,
)
from actionqueue import ActorId, Cron, TaskId, TaskSpec
from actionqueue.errors import InvalidFieldError, MalformedEventError, ValidationError
from actionqueue.json.commands import command_from_json, command_to_json
from actionqueue.json.lines import InvalidLineError, submission_from_line
from actionqueue.json.verdict import refused
from actionqueue.model import cron
from actionqueue.model.base import event_of, validate
from actionqueue.projection import Projection


def is_one_line(error: Exception) -> bool:
    """Whether the message is short, and can be printed as it is."""
    return 0 < len(str(error)) < 500 and str(error).isprintable()


def submit_line(data: bytes) -> None:
    """A line of ``actionqueue submit``."""
    try:
        command, _ = submission_from_line(data)
    except (InvalidLineError, InvalidFieldError) as error:
        verdict = msgspec.json.encode(refused(error, 0))
        assert verdict.count(b"\n") == 0
        assert is_one_line(error)
        return
    try:
        again = command_to_json(command)
    except InvalidFieldError:
        return  # a run with a past has no JSON form
    assert command_from_json(again) == command
    projection = Projection()
    try:
        sequence = validate(command, projection)
    except ValidationError as error:
        msgspec.json.encode(refused(error, 0))
        return
    event = event_of(command, sequence)
    assert decode_event(event.kind, event.sequence, encode_event(event)) == event
    projection.apply_event(event)


def cron_expression(data: bytes) -> None:
    """A cron expression, and the times that it means."""
    text = data.decode("utf-8", "replace")
    try:
        schedule = cron.parse(text)
    except cron.CronSyntaxError as error:
        assert is_one_line(error)
        return
    assert all(schedule[:7])
    # Times far apart take long to find; that is another test's matter.
    if max(schedule.year) - min(schedule.year) > 8:
        schedule = schedule._replace(
            year=frozenset(year for year in schedule.year if 2024 <= year <= 2030)
            or frozenset({2024})
        )
    start = timegm((min(schedule.year), 1, 1, 0, 0, 0)) - 1
    try:
        times = schedule.next_after(start, 3)
        zone = cron.zone_named(schedule.zone) or UTC
    except cron.TimeZoneError as error:
        assert is_one_line(error)
        return
    assert times == sorted(set(times))
    for time in times:
        moment = datetime.fromtimestamp(time, zone).timetuple()
        assert time > start
        if schedule.zone and not schedule.repeats:
            continue  # it may stand for a time that the clock leaves out
        assert moment.tm_sec in schedule.second
        assert moment.tm_min in schedule.minute
        assert moment.tm_hour in schedule.hour
        assert moment.tm_mon in schedule.month
        days = moment.tm_mday in schedule.day, (moment.tm_wday + 1) % 7 + 1 in schedule.weekday
        assert (any if schedule.either_day else all)(days)
        assert moment.tm_year in schedule.year


def payload(data: bytes) -> None:
    """An event's payload, the kind first."""
    kind, body = (data[0], data[1:]) if data else (0, b"")
    try:
        event = decode_event(kind, 7, body)
    except MalformedEventError as error:
        assert is_one_line(error)
        return
    assert event.sequence == 7
    assert event.kind == kind
    assert encode_event(event) == body
    assert event == decode_event(kind, 7, body)
    repr(event)


def part(data: bytes) -> None:
    """An encoded part of an event, which one first."""
    which, body = (data[0] % 5, data[1:]) if data else (0, b"")
    try:
        if which == 0:
            spec = task_spec_from_bytes(TaskId.from_bytes(bytes([1] * 16)), body)
            assert isinstance(spec, TaskSpec)
            if isinstance(spec.run_policy, Cron):
                cron.parse(spec.run_policy.expression)
        elif which == 1:
            repr(filter_from_bytes(body))
        elif which == 2:
            repr(registration_from_bytes(ActorId.from_bytes(bytes(16)), body))
        elif which == 3:
            repr(role_from_bytes(body))
        else:
            assert capability_to_bytes(capability_from_bytes(body)) == body
    except MalformedEventError as error:
        assert is_one_line(error)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "submit_line": submit_line,
    "cron_expression": cron_expression,
    "payload": payload,
    "part": part,
}
