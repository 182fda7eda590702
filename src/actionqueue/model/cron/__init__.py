r"""Cron expressions: a strict grammar, and the times that an expression matches.

::

    expression = ["CRON_TZ=" zone space] (field{6,7} | macro)
    macro      = "@yearly" | "@monthly" | "@weekly" | "@daily" | "@hourly"
    field      = item {"," item}                     (the weekday: ["|"] item {"," item})
    item       = base ["/" number] | name
    base       = "*" | "?" | number ["-" number] | name "-" name

The fields are second, minute, hour, day of the month, month, weekday and, if not left out, year
(1970 to 2100). Weekdays are 1 (Sunday) to 7 (Saturday). Months and weekdays have names, in any
case, short or in full; ``?`` is another ``*`` for the two kinds of days. A range never wraps
around; ``5/10`` means from 5 to the end in steps of 10. Spaces may stand around numbers and names,
and separate fields where that is needed.

A time matches where all fields do. Where the weekday begins with ``|``, a day matches where the day
of the month or the weekday does: ``0 0 0 13 * |FRI`` is every 13th and every Friday. Crontab lines
mean that where both kinds of days are given, so :mod:`~actionqueue.model.cron.crontab` writes it.

A zone is a name of the IANA time zone database, such as ``Europe/Zurich``; without one, the fields
are in UTC. Parsing looks at the form of the name only, so that what one machine wrote is read on
another one that does not know the zone.

What happens when the clock of the zone is put forward or back depends on how often the expression
matches, by the rule of cronie's manual (cron(8), which leaves out changes of more than three hours;
here the size makes no difference):

- An expression *repeats* where its second or its minute has a ``*`` or a step, or its hour matches
  all 24 hours. It matches whenever the zone's clock shows a time that its fields match: so not in
  the hour that the clock leaves out, and twice in the hour that comes twice. It asks for something
  every few minutes or every hour, and a clock that is put back must not stop that for an hour.
- Every other expression names times of the day, and matches once for each of them. Times that the
  clock leaves out match together, at the first second after the gap: a job for 02:30 runs at 03:00
  in the night without a 02:30, and so not an hour late, and never not at all. Times that come twice
  match the first time only: a job for 02:30 runs once in that night, too.

====================  ==============================================================================
``fields``            the values that one field matches
``expressions``       what an expression means; whether it has ended
``schedules``         the times that match, in UTC and in a zone
``zones``             the time zones that this machine knows
``crontab``           lines of five fields, and the expressions that they become
====================  ==============================================================================
"""

from actionqueue.model.cron.crontab import expression_of
from actionqueue.model.cron.expressions import has_ended, parse
from actionqueue.model.cron.fields import CronSyntaxError
from actionqueue.model.cron.schedules import Schedule
from actionqueue.model.cron.zones import TimeZoneError, zone_named

__all__ = [
    "CronSyntaxError",
    "Schedule",
    "TimeZoneError",
    "expression_of",
    "has_ended",
    "parse",
    "zone_named",
]
