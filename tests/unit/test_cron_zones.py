"""Cron expressions in time zones, against known nights, and against a slow model that looks at
every minute of a zone's clock.
"""

import sys
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionqueue import Cron, TaskCreateCommand, TaskSpec
from actionqueue.errors import InvalidFieldError
from actionqueue.model.cron import parse


def times(fields, zone, after, until):
    """The times of an expression from one moment of a zone's clock to another, as its clock shows
    them, with the offset."""
    known = ZoneInfo(zone)
    first, last = (
        int(datetime.fromisoformat(text).replace(tzinfo=known).timestamp())
        for text in (after, until)
    )
    found = Cron(f"CRON_TZ={zone} {fields}").next_occurrences_after(first - 1, 300)
    return [
        datetime.fromtimestamp(time, known).isoformat(" ", "minutes")[5:]
        for time in found
        if time <= last
    ]


ZURICH_SPRING = ("Europe/Zurich", "2024-03-31 00:00", "2024-03-31 06:00")
ZURICH_AUTUMN = ("Europe/Zurich", "2024-10-27 00:00", "2024-10-27 04:30")
NIGHTS = [
    # 02:00 becomes 03:00: what names times of the day matches once for each.
    ("0 30 2 * * *", *ZURICH_SPRING, ["03-31 03:00+02:00"]),
    ("0 0 2 * * *", *ZURICH_SPRING, ["03-31 03:00+02:00"]),
    ("0 0,30 2 * * *", *ZURICH_SPRING, ["03-31 03:00+02:00"]),
    ("0 0 1-3 * * *", *ZURICH_SPRING, ["03-31 01:00+01:00", "03-31 03:00+02:00"]),
    ("0 30 2,3 * * *", *ZURICH_SPRING, ["03-31 03:00+02:00", "03-31 03:30+02:00"]),
    ("0 0 */2 * * *", *ZURICH_SPRING, [
        "03-31 00:00+01:00", "03-31 03:00+02:00", "03-31 04:00+02:00", "03-31 06:00+02:00",
    ]),
    ("0 30 2 * * SUN", *ZURICH_SPRING, ["03-31 03:00+02:00"]),
    ("0 30 2 1 * *", *ZURICH_SPRING, []),
    # What repeats goes by the clock.
    ("0 30 * * * *", *ZURICH_SPRING, [
        "03-31 00:30+01:00", "03-31 01:30+01:00", "03-31 03:30+02:00", "03-31 04:30+02:00",
        "03-31 05:30+02:00",
    ]),
    ("0 */20 1-3 * * *", *ZURICH_SPRING, [
        "03-31 01:00+01:00", "03-31 01:20+01:00", "03-31 01:40+01:00", "03-31 03:00+02:00",
        "03-31 03:20+02:00", "03-31 03:40+02:00",
    ]),
    ("0 */20 2 * * *", *ZURICH_SPRING, []),
    ("@daily", *ZURICH_SPRING, ["03-31 00:00+01:00"]),
    # 03:00 becomes 02:00.
    ("0 30 2 * * *", *ZURICH_AUTUMN, ["10-27 02:30+02:00"]),
    ("0 0,30 2 * * *", *ZURICH_AUTUMN, ["10-27 02:00+02:00", "10-27 02:30+02:00"]),
    ("0 0 2,3 * * *", *ZURICH_AUTUMN, ["10-27 02:00+02:00", "10-27 03:00+01:00"]),
    ("0 0 */2 * * *", *ZURICH_AUTUMN, [
        "10-27 00:00+02:00", "10-27 02:00+02:00", "10-27 04:00+01:00",
    ]),
    ("@hourly", *ZURICH_AUTUMN, [
        "10-27 00:00+02:00", "10-27 01:00+02:00", "10-27 02:00+02:00", "10-27 02:00+01:00",
        "10-27 03:00+01:00", "10-27 04:00+01:00",
    ]),
    ("0 */30 2-3 * * *", *ZURICH_AUTUMN, [
        "10-27 02:00+02:00", "10-27 02:30+02:00", "10-27 02:00+01:00", "10-27 02:30+01:00",
        "10-27 03:00+01:00", "10-27 03:30+01:00",
    ]),
    ("*/30 30 2 * * *", *ZURICH_AUTUMN, [
        "10-27 02:30+02:00", "10-27 02:30+02:00", "10-27 02:30+01:00", "10-27 02:30+01:00",
    ]),
    # Half an hour, on Lord Howe Island.
    ("0 15 2 * * *", "Australia/Lord_Howe", "2024-10-06 00:00", "2024-10-06 04:00",
        ["10-06 02:30+11:00"]),
    ("0 15 * * * *", "Australia/Lord_Howe", "2024-10-06 00:00", "2024-10-06 04:00", [
        "10-06 00:15+10:30", "10-06 01:15+10:30", "10-06 03:15+11:00",
    ]),
    ("0 15,45 1 * * *", "Australia/Lord_Howe", "2024-04-07 00:00", "2024-04-07 04:00", [
        "04-07 01:15+11:00", "04-07 01:45+11:00",
    ]),
    ("0 */15 1 * * *", "Australia/Lord_Howe", "2024-04-07 00:00", "2024-04-07 04:00", [
        "04-07 01:00+11:00", "04-07 01:15+11:00", "04-07 01:30+11:00", "04-07 01:45+11:00",
        "04-07 01:30+10:30", "04-07 01:45+10:30",
    ]),
    # Samoa had no 30 December 2011.
    ("0 0 12 * * *", "Pacific/Apia", "2011-12-29 00:00", "2012-01-01 00:00", [
        "12-29 12:00-10:00", "12-31 00:00+14:00", "12-31 12:00+14:00",
    ]),
    ("@daily", "Pacific/Apia", "2011-12-29 00:00", "2012-01-01 00:00", [
        "12-29 00:00-10:00", "12-31 00:00+14:00", "01-01 00:00+14:00",
    ]),
    ("0 0 12 30 12 *", "Pacific/Apia", "2011-01-01 00:00", "2012-12-31 00:00", [
        "12-31 00:00+14:00", "12-30 12:00+14:00",
    ]),
    # Morocco puts its clock back for Ramadan.
    ("0 30 2 * * *", "Africa/Casablanca", "2024-03-10 00:00", "2024-03-11 04:00", [
        "03-10 02:30+01:00", "03-11 02:30+00:00",
    ]),
    ("0 30 2 * * *", "Africa/Casablanca", "2024-04-14 00:00", "2024-04-15 04:00", [
        "04-14 03:00+01:00", "04-15 02:30+01:00",
    ]),
    # Where midnight is left out, and where 23:01 to 00:01 came twice.
    ("@daily", "America/Havana", "2024-03-09 00:00", "2024-03-11 00:00", [
        "03-09 00:00-05:00", "03-10 01:00-04:00", "03-11 00:00-04:00",
    ]),
    ("@daily", "America/St_Johns", "2010-11-06 12:00", "2010-11-08 12:00", [
        "11-07 00:00-02:30", "11-08 00:00-03:30",
    ]),
    ("0 0 * * * *", "America/St_Johns", "2010-11-06 22:30", "2010-11-07 02:00", [
        "11-06 23:00-02:30", "11-07 00:00-02:30", "11-07 00:00-03:30", "11-07 01:00-03:30",
        "11-07 02:00-03:30",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "zone", "after", "until", "expected"), NIGHTS)
def test_known_nights(fields, zone, after, until, expected):
    assert times(fields, zone, after, until) == expected


def test_a_time_after_the_first_of_two_leads_to_the_next_day():
    policy = Cron.from_crontab("30 2 * * *", "Europe/Zurich")
    first = int(datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp())
    for after in (first, first + 1, first + 1800, first + 3600, first + 3601):
        assert policy.next_occurrences_after(after, 1) == [first + 25 * 3600]
    assert policy.next_occurrences_after(first - 1, 1) == [first]


def test_a_time_at_the_end_of_a_gap_leads_to_the_next_day():
    policy = Cron.from_crontab("30 2 * * *", "Europe/Zurich")
    end = int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp())
    assert policy.next_occurrences_after(end - 1, 1) == [end]
    assert policy.next_occurrences_after(end, 1) == [end + 86400 - 1800]


class PutBack(tzinfo):
    """A made-up zone, whose clock is put back from 02:30 to 01:30 when it is 23:30 in UTC: what
    comes twice goes beyond midnight there, which no real zone has had since 1970."""

    AT = datetime(2024, 1, 10, 23, 30, tzinfo=UTC)

    def fromutc(self, moment):
        hours = 3 if moment.replace(tzinfo=UTC) < self.AT else 2
        return moment + timedelta(hours=hours)


def test_a_clock_may_be_put_back_around_midnight_in_utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actionqueue.model.cron.schedules.zone_named", lambda _name: PutBack())
    midnight = int(datetime(2024, 1, 11, tzinfo=UTC).timestamp())
    schedule = parse("CRON_TZ=Made/Up 0 0,15 2 * * *")
    first, second, following = midnight - 3600, midnight - 2700, midnight + 86400
    assert schedule.next_after(midnight - 7200, 3) == [first, second, following]
    for after in (second, midnight - 1800, midnight - 1, midnight, midnight + 900):
        assert schedule.next_after(after, 1) == [following]
    repeats = parse("CRON_TZ=Made/Up 0 */15 2 * * *")
    assert repeats.next_after(midnight - 3600, 3) == [second, midnight, midnight + 900]


def test_rare_days_in_a_zone():
    policy = Cron("CRON_TZ=Pacific/Apia 0 0 12 29 2 MON")
    assert [
        datetime.fromtimestamp(time, ZoneInfo("Pacific/Apia")).isoformat()
        for time in policy.next_occurrences_after(0, 9)
    ] == [
        "1988-02-29T12:00:00-11:00",
        "2016-02-29T12:00:00+14:00",
        "2044-02-29T12:00:00+13:00",
        "2072-02-29T12:00:00+13:00",
    ]
    assert Cron("CRON_TZ=Pacific/Apia 0 0 12 30 2 *").next_occurrences_after(0, 9) == []


def test_rare_days_cost_few_looks_at_the_zone(monkeypatch: pytest.MonkeyPatch):
    looks = []

    class Counted(ZoneInfo):
        def fromutc(self, moment):
            looks.append(moment)
            return super().fromutc(moment)

    monkeypatch.setattr("actionqueue.model.cron.schedules.zone_named", Counted.no_cache)
    schedule = parse("CRON_TZ=Europe/Zurich 0 0 12 29 2 MON")
    assert len(schedule.next_after(0, 9)) == 4
    assert len(looks) < 60


def test_years_are_those_of_the_zone():
    assert Cron("CRON_TZ=Pacific/Kiritimati 0 0 0 1 1 * 2030").next_occurrences_after(0, 2) == [
        int(datetime(2029, 12, 31, 10, tzinfo=UTC).timestamp())
    ]
    last = Cron("CRON_TZ=Etc/GMT+12 59 59 23 31 12 * 2100")
    (time,) = last.next_occurrences_after(0, 2)
    assert datetime.fromtimestamp(time, UTC) == datetime(2101, 1, 1, 11, 59, 59, tzinfo=UTC)
    assert last.next_occurrences_after(time - 1, 1) == [time]
    assert last.next_occurrences_after(time, 1) == []
    # In 1970 it was still 1969 there.
    assert Cron("CRON_TZ=America/Lima @daily").next_occurrences_after(0, 1) == [5 * 3600]


def test_utc_is_a_zone_that_needs_no_data(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zoneinfo, "ZoneInfo", lambda _name: 1 // 0)
    policy = Cron.from_crontab("0 12 * * *", "UTC")
    assert policy.next_occurrences_after(0, 1) == [12 * 3600]


# --- The slow model -------------------------------------------------------------------------------


def fits(schedule, wall):
    return (
        wall.year in schedule.year
        and wall.month in schedule.month
        and (any if schedule.either_day else all)(
            (wall.day in schedule.day, wall.isoweekday() % 7 + 1 in schedule.weekday)
        )
        and wall.hour in schedule.hour
        and wall.minute in schedule.minute
    )


def exists(wall, zone):
    there = wall.replace(tzinfo=zone).astimezone(UTC)
    return there.astimezone(zone).replace(tzinfo=None) == wall


def instant(wall, zone):
    """The first time that the clock shows this, in Unix seconds, or the end of the gap it is in."""
    while not exists(wall, zone):
        wall = wall.replace(second=0) + timedelta(minutes=1)
    return int(wall.replace(tzinfo=zone, fold=0).timestamp())


def expected_times(schedule, zone, first, last):
    """Every time from the first second to the last, both in Unix seconds and whole minutes."""
    minute = timedelta(minutes=1)
    found = set()
    if schedule.repeats:
        for time in range(first, last, 60):
            wall = datetime.fromtimestamp(time, zone)
            if fits(schedule, wall):
                found.update(time + second for second in schedule.second)
    else:
        wall = datetime.fromtimestamp(first, zone).replace(tzinfo=None, fold=0) - timedelta(days=2)
        while wall < datetime.fromtimestamp(last, zone).replace(tzinfo=None) + minute * 120:
            if fits(schedule, wall):
                found.update(
                    instant(wall.replace(second=second), zone) for second in schedule.second
                )
            wall += minute
    return sorted(time for time in found if first <= time < last)


ODD_ZONES = [
    *("Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"),
    *("Africa/Casablanca", "Africa/Cairo", "America/Havana", "America/St_Johns"),
    *("Asia/Kathmandu", "Asia/Pyongyang", "Asia/Gaza", "America/Caracas", "Antarctica/Troll"),
    *("Pacific/Kiritimati", "Pacific/Kwajalein", "America/Sao_Paulo", "America/Scoresbysund"),
    *("Antarctica/Casey", "Asia/Tehran", "Europe/Dublin", "Etc/GMT+12", "Africa/Monrovia"),
]


@st.composite
def starts(draw, zone):
    """The first second of a day, most often one in which the zone's clock is put forward or back,
    or the one after."""
    first = datetime(draw(st.integers(1973, 2099)), 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=number) for number in range(367)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    odd = [
        day for day, here, next_ in zip(days, offsets, offsets[1:], strict=False) if here != next_
    ]
    return int(
        (draw(st.sampled_from(odd or days)) - timedelta(days=draw(st.integers(0, 1)))).timestamp()
    )


def field(low, high):
    number = st.integers(low, high).map(str)
    return st.one_of(
        st.just("*"),
        number,
        number,
        st.tuples(number, number).map(",".join),
        st.integers(2, high).map("*/{}".format),
        st.integers(low, high).flatmap(
            lambda first: st.integers(first, high).map(lambda last: f"{first}-{last}")
        ),
    )


def test_against_the_slow_model():
    names = st.sampled_from(ODD_ZONES) | st.sampled_from(sorted(zoneinfo.available_timezones()))

    @given(
        zone=names,
        data=st.data(),
        second=st.sampled_from(["0", "0", "15,45", "*/20"]),
        minute=field(0, 59),
        hour=field(0, 23) | field(0, 3),
        days=st.tuples(
            st.sampled_from(["*", "*", "*/2", "20-31,1-10"]),
            st.sampled_from(["*", "*", "SUN", "2-6", "|SUN"]),
        ),
    )
    @settings(max_examples=150, deadline=None)
    def check(zone, data, second, minute, hour, days):
        known = ZoneInfo(zone)
        schedule = parse(f"CRON_TZ={zone} {second} {minute} {hour} {days[0]} * {days[1]}")
        start = data.draw(starts(known))
        expected = expected_times(schedule, known, start, start + 3 * 86400)
        found = schedule.next_after(start - 1, len(expected) + 1)
        assert [time for time in found if time < start + 3 * 86400] == expected
        assert found == sorted(set(found))
        for after in expected[:-1:7]:
            assert schedule.next_after(after, 2) == [time for time in found if time > after][:2]

    check()


# --- Zones that this machine does not know --------------------------------------------------------


UNKNOWN = "CRON_TZ=Nowhere/Land 0 30 2 * * *"
UNKNOWN_REASON = r"^Cron\.expression: this machine knows no time zone 'Nowhere/Land', got "


def test_an_unknown_zone_is_refused_where_it_would_be_written():
    policy = Cron(UNKNOWN)
    with pytest.raises(InvalidFieldError, match=UNKNOWN_REASON):
        TaskCreateCommand(None, TaskSpec(payload=b"", run_policy=policy), 0)
    with pytest.raises(InvalidFieldError, match=UNKNOWN_REASON):
        policy.next_occurrences_after(0, 1)


@pytest.mark.parametrize("name", ["Europe", "a" * 300])
def test_what_is_no_zone_but_may_be_a_file(name):
    with pytest.raises(InvalidFieldError, match="time zone '" + name[:40]):
        Cron(f"CRON_TZ={name} @daily").next_occurrences_after(0, 1)


def test_a_machine_without_time_zones_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for name in {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}:
        monkeypatch.setitem(sys.modules, name, None)
    zoneinfo.reset_tzpath(to=[])
    ZoneInfo.clear_cache()
    try:
        with pytest.raises(InvalidFieldError, match=r"'Europe/Zurich' .* pip install tzdata"):
            Cron.from_crontab("30 2 * * *", "Europe/Zurich")
        assert Cron("CRON_TZ=Europe/Zurich @daily").expression
        assert Cron.from_crontab("@daily", "UTC").next_occurrences_after(0, 1) == [86400]
    finally:
        zoneinfo.reset_tzpath()
        ZoneInfo.clear_cache()
