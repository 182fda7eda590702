"""Cron expressions: the grammar, and the times, against a slow model that tries every second of a
day that fits.
"""

import math
from calendar import timegm
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionqueue import Cron
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX
from actionqueue.model import cron
from actionqueue.model.cron import CronSyntaxError, expressions, parse

EVERY = parse("* * * * * *")


def at(year, month=1, day=1):
    return timegm((year, month, day, 0, 0, 0))


def shown(times):
    return [datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") for time in times]


# --- The grammar ----------------------------------------------------------------------------------


def test_the_order_of_the_fields():
    schedule = parse("1 2 3 4 5 6 2030")
    assert schedule[:7] == ({1}, {2}, {3}, {4}, {5}, {6}, {2030})
    assert parse("1 2 3 4 5 6").year == set(range(1970, 2101))


def test_everything():
    assert (
        tuple(
            frozenset(range(low, high + 1))
            for low, high in ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2100))
        )
        == EVERY[:7]
    )
    assert parse("* * * ? * ?") == EVERY


@pytest.mark.parametrize(
    ("macro", "same"),
    [
        ("@yearly", "0 0 0 1 1 *"),
        ("@monthly", "0 0 0 1 * *"),
        ("@weekly", "0 0 0 * * SUN"),
        ("@daily", "0 0 0 * * *"),
        ("@hourly", "0 0 * * * *"),
    ],
)
def test_macros(macro, same):
    assert parse(macro) == parse(f" {macro}\n") == parse(same)


def test_weekdays_count_from_sunday_1():
    names = ("sun", "Mon", "TUE", "wEd", "thu", "fri", "sat")
    full = ("sunday", "MONDAY", "Tuesday", "wednesday", "thursday", "friday", "saturday")
    for number, (short, long) in enumerate(zip(names, full, strict=True), start=1):
        for text in (short, long, str(number)):
            assert parse(f"* * * * * {text}").weekday == {number}
    assert parse("* * * * * tues-thurs").weekday == {3, 4, 5}


def test_months_have_names():
    full = (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    )
    names = [name[:3].lower() for name in full]
    for number, (short, long) in enumerate(zip(names, full, strict=True), start=1):
        for text in (short, short.upper(), long, str(number), f"0{number}"):
            assert parse(f"* * * * {text} *").month == {number}


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("5", {5}),
        ("1,3,59", {1, 3, 59}),
        ("5-8", {5, 6, 7, 8}),
        ("5-5", {5}),
        ("*/20", {0, 20, 40}),
        ("50/4", {50, 54, 58}),
        ("10-20/5", {10, 15, 20}),
        ("1,10-12,40/10", {1, 10, 11, 12, 40, 50}),
        ("*/4294967295", {0}),
        ("0000000000000007", {7}),
        ("1 , 2 - 3", {1, 2, 3}),
        ("*/ 30", {0, 30}),
        ("*,5", set(range(60))),
    ],
)
def test_items(field, seconds):
    assert parse(f"{field} * * * * *").second == seconds


def test_spaces_are_needed_only_where_the_fields_would_run_together():
    assert parse("******") == EVERY
    assert parse("0****?2030") == parse("0 * * * * ? 2030")
    assert parse("\t0\n0\r0 1  1 \t* \n") == parse("0 0 0 1 1 *")
    assert parse("* * * * * Mon2030") == parse("* * * * * Mon 2030")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "*",
        "* * * * *",
        "0 * * * *",
        "* * * * * * * *",
        "* * * * * * 2030 *",
        "60 * * * * *",
        "* 60 * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * 32 * *",
        "* * * * 0 *",
        "* * * * 13 *",
        "* * * * * 0",
        "* * * * * 8",
        "* * * * * 0-6",
        "* * * * * * 1969",
        "* * * * * * 2101",
        "-1 * * * * *",
        "1.5 * * * * *",
        "99999999999999999999999 * * * * *",
        "? * * * * *",
        "* ? * * * *",
        "* * ? * * *",
        "* * * * ? *",
        "* * * * * * ?",
        "*/0 * * * * *",
        "5/0 * * * * *",
        "*/4294967296 * * * * *",
        "*/ * * * * *",
        "*/* * * * * *",
        "* /5 * * * * *",
        "9-5 * * * * *",
        "* * * * DEC-JAN *",
        "* * * * * FRI-MON",
        "5- * * * * *",
        "-5 * * * * *",
        "1-2-3 * * * * *",
        ",1 * * * * *",
        "1, * * * * *",
        "1,,2 * * * * *",
        "JAN * * * * *",
        "* * * JAN * *",
        "* * * * MON *",
        "* * * * * JAN",
        "* * * * * MON/2",
        "* * * * * 2-FRI",
        "* * * * * MON-6",
        "* * * * * monda",
        "* * * L * *",
        "* * * 15W * *",
        "* * * LW * *",
        "* * * * * 6#3",
        "* * * * * FRI#2",
        "* * * * * 5L",
        "H * * * * *",
        "R * * * * *",
        "* * * * * *x",
        "٣ * * * * *",
        "é * * * * *",
        "@annually",
        "@midnight",
        "@reboot",
        "@every 5s",
        "@Daily",
        "@DAILY",
        "@daily *",
        "|* * * * * *",
        "* * * |1 * *",
        "* * * * * |",
        "* * * * * ||2",
        "* * * * * 1|2",
        "CRON_TZ= * * * * * *",
        "CRON_TZ=Europe/Zurich",
        "CRON_TZ=Europe/Zurich ",
        "CRON_TZ=Europe/Zurich@daily",
        "CRON_TZ=/etc/localtime @daily",
        "CRON_TZ=../UTC @daily",
        "CRON_TZ=Europe//Zurich @daily",
        "CRON_TZ=Zürich @daily",
        "CRON_TZ=UTC CRON_TZ=UTC @daily",
        "cron_tz=UTC @daily",
        "TZ=UTC @daily",
        "@daily CRON_TZ=UTC",
        "@",
        "@ daily",
        "0 0 0 1 1 * @daily",
        "* * * * * *\N{NO-BREAK SPACE}",
        "*\v* * * * *",
    ],
)
def test_what_is_no_expression(expression):
    with pytest.raises(CronSyntaxError):
        parse(expression)


def test_the_message_says_what_and_where():
    with pytest.raises(CronSyntaxError, match=r"weekday: '0' is not from 1 to 7"):
        parse("* * * * * 0")
    with pytest.raises(CronSyntaxError, match=r"5 fields, not 6 or 7"):
        parse("* * * * *")
    with pytest.raises(CronSyntaxError, match=r"'Zürich' is not the name of a time zone"):
        parse("CRON_TZ=Zürich @daily")
    with pytest.raises(CronSyntaxError) as caught:
        parse("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_long_expressions_are_parsed_but_not_kept():
    expression = ",".join(["1"] * 10_000) + " * * * * *"
    before = expressions._parse_cached.cache_info().currsize
    assert parse(expression).second == {1}
    assert expressions._parse_cached.cache_info().currsize == before


# --- The times ------------------------------------------------------------------------------------


def test_times_are_strictly_after():
    assert EVERY.next_after(100, 3) == [101, 102, 103]
    assert parse("0 * * * * *").next_after(60, 2) == [120, 180]
    assert parse("0 * * * * *").next_after(59, 1) == [60]


def test_seconds_come_first_and_sunday_is_1():
    assert shown(parse("30 15 9 * * 1").next_after(at(2024, 2, 27), 2)) == [
        "2024-03-03 09:15:30",
        "2024-03-10 09:15:30",
    ]
    assert shown(parse("0 0 9 * * MON").next_after(at(2024, 2, 27), 1)) == ["2024-03-04 09:00:00"]
    assert shown(parse("0 0 9 * * 7").next_after(at(2024, 2, 27), 1)) == ["2024-03-02 09:00:00"]


def test_both_kinds_of_days_must_match():
    assert shown(parse("0 0 0 13 * FRI").next_after(at(2024, 1, 1), 3)) == [
        "2024-09-13 00:00:00",
        "2024-12-13 00:00:00",
        "2025-06-13 00:00:00",
    ]


def test_either_kind_of_day_matches_after_a_bar():
    assert shown(parse("0 0 0 13 * |FRI").next_after(at(2024, 9, 1), 5)) == [
        "2024-09-06 00:00:00",
        "2024-09-13 00:00:00",
        "2024-09-20 00:00:00",
        "2024-09-27 00:00:00",
        "2024-10-04 00:00:00",
    ]
    assert shown(parse("0 0 0 31 2 |7").next_after(at(2024, 2, 20), 2)) == [
        "2024-02-24 00:00:00",
        "2025-02-01 00:00:00",
    ]


def test_leap_days():
    assert shown(parse("0 0 0 29 2 *").next_after(at(2023, 1, 1), 2)) == [
        "2024-02-29 00:00:00",
        "2028-02-29 00:00:00",
    ]
    assert shown(parse("0 0 0 29 2 SUN").next_after(at(2023, 1, 1), 2)) == [
        "2032-02-29 00:00:00",
        "2060-02-29 00:00:00",
    ]
    assert shown(parse("0 0 0 29 2 *").next_after(at(2096, 3, 1), 5)) == []  # 2100 is no leap year


def test_days_that_never_come():
    assert parse("0 0 0 30 2 *").next_after(0, 5) == []
    assert parse("0 0 0 31 4,6 ?").next_after(at(2024, 1, 1), 5) == []


def test_years():
    schedule = parse("0 0 0 1 1 * 2030,2040-2041")
    assert shown(schedule.next_after(at(2024, 5, 5), 9)) == [
        "2030-01-01 00:00:00",
        "2040-01-01 00:00:00",
        "2041-01-01 00:00:00",
    ]
    assert shown(schedule.next_after(at(2030), 1)) == ["2040-01-01 00:00:00"]
    assert schedule.next_after(at(2041), 1) == []
    assert parse("* * * * * * 2020").next_after(at(2024), 1) == []
    assert shown(parse("* * * * * * 2100").next_after(at(2024, 5, 5), 1)) == ["2100-01-01 00:00:00"]
    assert shown(parse("59 59 23 31 12 *").next_after(at(2100, 6, 1), 2)) == ["2100-12-31 23:59:59"]
    assert parse("0 0 0 1 1 * 1970").next_after(0, 1) == []


@pytest.mark.parametrize("timestamp", [at(2101), 2**40, 2**63, 2**64 - 1])
def test_nothing_comes_after_the_last_year(timestamp):
    assert EVERY.next_after(timestamp, 3) == []


EVERY_DAY = Cron("@daily")


@pytest.mark.parametrize(
    "timestamp", [at(2101), 2**32, 2**37, at(9999, 12, 31), CALENDAR_SECONDS_MAX]
)
def test_times_up_to_the_year_9999_are_answered(timestamp):
    assert at(9999, 12, 31) + 86399 == CALENDAR_SECONDS_MAX
    assert EVERY_DAY.next_occurrences_after(timestamp, 3) == []
    assert EVERY_DAY.next_occurrences_after(0, 1) == [86400]
    assert EVERY_DAY.next_occurrences_after(np.uint8(0), np.int8(1)) == [86400]


CALL = "^next_occurrences_after"
OUTSIDE = [-1, -86400, CALENDAR_SECONDS_MAX + 1, 2**40, 2**64, 10**5000, -(10**5000)]


@pytest.mark.parametrize("timestamp", OUTSIDE, ids=lambda time: hex(time)[:12])
def test_a_time_outside_of_the_calendar_is_refused(timestamp):
    with pytest.raises(
        InvalidFieldError, match=rf"{CALL}\.timestamp: must be Unix seconds, .*, got "
    ) as refusal:
        EVERY_DAY.next_occurrences_after(timestamp, 1)
    assert not isinstance(refusal.value, TypeError)


NO_NUMBERS = [
    None,
    "0",
    0.0,
    1.5,
    math.nan,
    True,
    False,
    np.True_,
    np.float64(1),
    datetime(2024, 1, 1, tzinfo=UTC),
    [0],
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_time_and_a_count_are_whole_numbers(value):
    with pytest.raises(
        InvalidFieldTypeError, match=rf"{CALL}\.timestamp: must be Unix seconds, .*, got "
    ):
        EVERY_DAY.next_occurrences_after(value, 1)
    with pytest.raises(
        InvalidFieldTypeError,
        match=rf"{CALL}\.count: must be a whole number from 0 to 4294967295, got ",
    ):
        EVERY_DAY.next_occurrences_after(0, value)


@pytest.mark.parametrize("count", [-1, 2**32, 10**5000], ids=["-1", "2**32", "10**5000"])
def test_a_count_out_of_range_is_refused(count):
    with pytest.raises(
        InvalidFieldError,
        match=rf"{CALL}\.count: must be a whole number from 0 to 4294967295, got ",
    ):
        EVERY_DAY.next_occurrences_after(0, count)


def test_no_more_than_asked():
    assert EVERY.next_after(0, 0) == []
    assert Cron("* * * * * *", 2).next_occurrences_after(0, 4) == [1, 2, 3, 4]


@st.composite
def values(draw, low, high):
    first = draw(st.integers(low, high))
    form = draw(st.sampled_from(["*", "number", "range", "step", "list"]))
    if form == "*":
        return "*"
    if form == "range":
        return f"{first}-{draw(st.integers(first, high))}"
    if form == "step":
        return f"{first}/{draw(st.integers(1, 20))}"
    if form == "list":
        return f"{first},{draw(st.integers(low, high))}"
    return str(first)


@given(
    fields=st.tuples(
        values(0, 59), values(0, 59), values(0, 23), values(1, 31), values(1, 12), values(1, 7)
    ),
    either=st.sampled_from(["", "|"]),
    years=st.just("*") | values(2020, 2030),
    after=st.integers(at(2019, 6, 1), at(2031)),
)
@settings(max_examples=200)
def test_against_the_slow_model(fields, either, years, after):
    schedule = parse(" ".join((*fields[:5], either + fields[5], years)))
    expected = []
    day = datetime.fromtimestamp(after, UTC).date()
    while len(expected) < 3 and day.year <= 2032:
        weekday = day.isoweekday() % 7 + 1
        if (
            day.year in schedule.year
            and day.month in schedule.month
            and (any if either else all)((day.day in schedule.day, weekday in schedule.weekday))
        ):
            midnight = timegm(day.timetuple())
            of_day = (
                midnight + 3600 * hour + 60 * minute + second
                for hour in sorted(schedule.hour)
                for minute in sorted(schedule.minute)
                for second in sorted(schedule.second)
            )
            for time in of_day:
                if time > after and len(expected) < 3:
                    expected.append(time)
        day += timedelta(days=1)
    found = schedule.next_after(after, 3)
    horizon = at(2033)
    assert [time for time in found if time < horizon] == expected


def test_an_expression_has_ended_a_day_after_its_last_year():
    texts = (
        "0 0 0 1 1 * 1980,1990",
        "* * * * * * 1970-1990",
        "0 0 0 30 2 * 1990",
        "* * * * * * 1970/20,1975",
        "* * * * * * */131",
        "* * * * * * 01990,*/ 131 ",
        "0 0 0 1 1 * */131,*/ 140",
        "*/5 * * * * 2-3 */90",
    )
    for text in texts:
        last_year = max(parse(text).year)
        assert not cron.has_ended(text, at(last_year + 1, 1, 2) - 1)
        assert cron.has_ended(text, at(last_year + 1, 1, 2))
        assert cron.has_ended(text, 2**64 - 1)
    assert not cron.has_ended("CRON_TZ=Nowhere/Land * * * * * * 1990", at(1991, 1, 3) - 1)
    assert cron.has_ended("CRON_TZ=Nowhere/Land * * * * * * 1990", at(1991, 1, 3))
    assert not cron.has_ended("no expression", 2**64 - 1)
    assert not cron.has_ended("*/5 * * * * */2", at(2100, 1, 1))
    assert not cron.has_ended("* * * * * *", at(2100, 1, 1))
    assert not cron.has_ended("@yearly", at(2100, 1, 1))


def test_a_long_expression_is_not_parsed_to_know_whether_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
):
    """It is asked about again and again, and would not be remembered."""
    text = "0 0 0 1 1 * " + ",".join(["1970"] * 48)
    assert len(text) < 256
    assert cron.has_ended(text, 2**64 - 1)
    text += ",1970" * 5
    parsed = list[str]()
    monkeypatch.setattr(expressions, "parse", parsed.append)
    assert not cron.has_ended(text, 2**64 - 1)
    assert parsed == []
