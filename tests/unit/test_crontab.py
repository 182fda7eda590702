"""Lines of a crontab: what they become, and that they mean what cron means by them."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionqueue import Cron
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.model.cron import parse

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def expression(line, timezone=None):
    return Cron.from_crontab(line, timezone).expression


LINES = {
    # crontab(5) of cronie and of Vixie's cron
    "5 0 * * *": "0 5 0 * * *",
    "15 14 1 * *": "0 15 14 1 * *",
    "0 22 * * 1-5": "0 0 22 * * MON-FRI",
    "23 0-23/2 * * *": "0 23 0-23/2 * * *",
    "5 4 * * sun": "0 5 4 * * SUN",
    "0 4 8-14 * *": "0 0 4 8-14 * *",
    "30 4 1,15 * 5": "0 30 4 1,15 * |FRI",
    # Debian's /etc/crontab
    "17 *\t* * *": "0 17 * * * *",
    "25 6\t* * *": "0 25 6 * * *",
    "47 6\t* * 7": "0 47 6 * * SUN",
    "52 6\t1 * *": "0 52 6 1 * *",
    # Debian's cron.d files: certbot, php, sysstat, mdadm, popularity-contest
    "0 */12 * * *": "0 0 */12 * * *",
    "09,39 * * * *": "0 09,39 * * * *",
    "5-55/10 * * * *": "0 5-55/10 * * * *",
    "57 0 * * 0": "0 57 0 * * SUN",
    # Kubernetes and GitHub Actions
    "*/1 * * * *": "0 */1 * * * *",
    "0 0 13 * 5": "0 0 0 13 * |FRI",
    "0 3 * * 1": "0 0 3 * * MON",
    "30 5 * * 1,3": "0 30 5 * * MON,WED",
    "30 5 * * 2,4": "0 30 5 * * TUE,THU",
    "20/15 * * * *": "0 20/15 * * * *",
    "0 0 ? * ?": "0 0 0 ? * *",
    # Go's robfig/cron
    "30 3-6,20-23 * * *": "0 30 3-6,20-23 * * *",
    "CRON_TZ=Asia/Tokyo 30 04 * * *": "CRON_TZ=Asia/Tokyo 0 30 04 * * *",
    "CRON_TZ=Asia/Tokyo 0 6 * * ?": "CRON_TZ=Asia/Tokyo 0 0 6 * * *",
    "@hourly": "@hourly",
    "CRON_TZ=America/New_York @daily": "CRON_TZ=America/New_York @daily",
    "@annually": "@yearly",
    "@midnight": "@daily",
    # crontab.guru's, Wikipedia's and GitLab's examples
    "5 0 * 8 *": "0 5 0 * 8 *",
    "0 0,12 1 */2 *": "0 0 0,12 1 */2 *",
    "0 0 1,15 * 3": "0 0 0 1,15 * |WED",
    "1 0 * * *": "0 1 0 * * *",
    "45 23 * * 6": "0 45 23 * * SAT",
    "0 9-17 * * mon-fri": "0 0 9-17 * * MON-FRI",
    "0 5 * jan-mar,DEC *": "0 0 5 * jan-mar,DEC *",
    " 0 4 * * 0,6 \n": "0 0 4 * * SUN,SAT",
    "0 8 * * fri-sun": "0 0 8 * * SUN,FRI,SAT",
    "0 8 * * 5-7": "0 0 8 * * SUN,FRI,SAT",
    "0 8 1-7 * 6": "0 0 8 1-7 * |SAT",
    "0 8 * * 1/2": "0 0 8 * * MON,WED,FRI",
    "0 8 * * 5/1": "0 0 8 * * FRI,SAT",
    "0 8 * * 7/2": "0 0 8 * * SUN",
    # A kind of day that begins with a star is not restricted, so that both must match.
    "0 8 */2 * 1": "0 0 8 */2 * MON",
    "0 8 1 * */2": "0 0 8 1 * SUN,TUE,THU,SAT",
    "0 8 1 * 0-7": "0 0 8 1 * |SUN-SAT",
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_other_programs_documents(line):
    assert expression(line) == LINES[line]
    assert parse(LINES[line]) == parse(Cron(LINES[line]).expression)


def test_the_time_zone_stands_before_the_fields():
    policy = Cron.from_crontab("*/5 8-18 * * 1-5", timezone="Europe/Zurich", max_occurrences=3)
    assert policy == Cron("CRON_TZ=Europe/Zurich 0 */5 8-18 * * MON-FRI", 3)
    assert expression("@weekly", "Asia/Tokyo") == "CRON_TZ=Asia/Tokyo @weekly"
    assert expression("0 0 * * *", "UTC") == "CRON_TZ=UTC 0 0 0 * * *"


@given(
    st.lists(
        st.one_of(
            st.integers(0, 7).map(lambda number: (str(number), {number % 7})),
            st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(1, 9))
            .filter(lambda of: of[0] <= of[1])
            .map(
                lambda of: (
                    f"{of[0]}-{of[1]}/{of[2]}",
                    {number % 7 for number in range(of[0], of[1] + 1, of[2])},
                )
            ),
            st.integers(1, 9).map(lambda step: (f"*/{step}", set(range(0, 7, step)))),
            st.sampled_from(WEEKDAYS).map(lambda name: (name, {WEEKDAYS.index(name)})),
        ),
        min_size=1,
    ),
    st.sampled_from(["*", "13", "*/3", "?"]),
)
def test_weekdays_are_those_of_cron(items, day):
    weekday = ",".join(text for text, _ in items)
    schedule = parse(expression(f"0 0 {day} * {weekday}"))
    assert {number - 1 for number in schedule.weekday} == set().union(*(of for _, of in items))
    assert schedule.either_day == (day == "13" and not weekday.startswith("*"))


def test_every_range_of_names_is_the_range_of_numbers():
    for first, last in product(range(7), range(1, 8)):
        if first <= last and (first, last) != (0, 7):
            names = expression(f"0 0 * * {WEEKDAYS[first]}-{WEEKDAYS[last % 7]}")
            assert names == expression(f"0 0 * * {first}-{last}")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "there are 0 fields, not 5"),
        ("* * * *", "there are 4 fields, not 5"),
        ("* * * * * /bin/true", "there are 6 fields, not 5 .*without a command"),
        ("0 * * * * *", "there are 6 fields, not 5"),
        ("60 * * * *", "the minute: '60' is not from 0 to 59"),
        ("* * * * 8", "the weekday: '8' is not from 0 to 7"),
        ("* * * * 6-0", "the weekday: '6-0' is a range that goes backwards"),
        ("* * * * sat-mon", "the weekday: 'sat-mon' is a range that goes backwards"),
        ("** * * * *", r"the minute: '\*' is too much after '\*'"),
        ("1,2* * * * *", r"the minute: '\*' is too much after '1,2'"),
        ("0 0 1 * |1", r"the weekday: '\|1' is not a number"),
        ("0 0 L * *", "the day of the month: 'L' is not a name of this field"),
        ("H * * * *", "the minute: 'H' is not a name of this field"),
        ("0~9 * * * *", "the minute: '~9' is too much after '0'"),
        ("@reboot", "'@reboot' is not one of @yearly @annually"),
        ("@every 5m", "'@every 5m' is not one of"),
        ("* * *\u00a0* * *", "is too much after"),
        ("CRON_TZ=Nowhere/Land * * * * *", "no time zone 'Nowhere/Land'"),
        ("CRON_TZ= * * * * *", "'' is not the name of a time zone"),
    ],
)
def test_what_is_no_line_of_a_crontab(line, reason):
    with pytest.raises(InvalidFieldError, match=rf"^from_crontab\.line: .*{reason}"):
        expression(line)


def test_a_time_zone_is_given_once():
    with pytest.raises(InvalidFieldError, match="the line names a time zone"):
        expression("CRON_TZ=Asia/Tokyo 0 0 * * *", "Asia/Tokyo")


@pytest.mark.parametrize("timezone", ["Nowhere/Land", "", "../UTC", "/etc/localtime", "a" * 300])
def test_a_time_zone_must_be_known(timezone):
    with pytest.raises(InvalidFieldError, match=rf"^from_crontab\.timezone: .*{timezone[:40]}"):
        expression("* * * * *", timezone)


@pytest.mark.parametrize("value", [b"* * * * *", None, 5])
def test_a_line_is_text(value):
    with pytest.raises(InvalidFieldTypeError, match=r"^from_crontab\.line: must be a str"):
        Cron.from_crontab(value)


@pytest.mark.parametrize("value", [b"UTC", 5])
def test_a_time_zone_is_text(value):
    with pytest.raises(InvalidFieldTypeError, match=r"^from_crontab\.timezone: must be the name"):
        Cron.from_crontab("* * * * *", value)


def test_the_bound_of_runs_is_checked_as_always():
    with pytest.raises(InvalidFieldError, match=r"^Cron\.max_occurrences"):
        Cron.from_crontab("* * * * *", max_occurrences=0)


def test_five_fields_in_the_wrong_place_lead_to_the_right_one():
    with pytest.raises(InvalidFieldError, match=r"Cron\.from_crontab takes the 5 of a crontab"):
        Cron("*/5 * * * *")
