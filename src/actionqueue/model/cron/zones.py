"""The time zones that this machine knows."""

from __future__ import annotations

import re
from datetime import tzinfo

from actionqueue.errors.system_calls import ensure_from_system

__all__ = ["TimeZoneError", "is_zone_name", "zone_named"]

_ALWAYS_KNOWN = "UTC"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*+(?:/[A-Za-z0-9_+-]++)*")


class TimeZoneError(ValueError):
    """This machine does not know a time zone; the message names it and says what to do."""


def is_zone_name(text: str) -> bool:
    """Tell whether a text has the form of a name of the IANA time zone database."""
    return _NAME.fullmatch(text) is not None


def zone_named(name: str | None) -> tzinfo | None:
    """Return the time zone of a name; None for UTC, which needs no data.

    Raises TimeZoneError where this machine does not know it.
    """
    if name is None or name == _ALWAYS_KNOWN:
        return None
    if not is_zone_name(name):  # it would be looked for as a path
        raise TimeZoneError(f"{_shown(name)} is not the name of a time zone, as Europe/Zurich is")
    # Late, because few queues have cron tasks with a time zone.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        if not _has_data():
            raise TimeZoneError(
                f"this machine has no time zone data, so {_shown(name)} is not known; install them"
                " with: pip install tzdata"
            ) from None
        raise TimeZoneError(f"this machine knows no time zone {_shown(name)}") from None
    except OSError as error:
        ensure_from_system(error)
        raise TimeZoneError(
            f"this machine can't read its time zone {_shown(name)}: {error.strerror}"
        ) from error


def _has_data() -> bool:
    """Tell whether the system or the package tzdata has the zone that every release has."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        ZoneInfo.no_cache(_ALWAYS_KNOWN)
    except ZoneInfoNotFoundError:
        return False
    return True


def _shown(name: str) -> str:
    """Return as much of a name as a message shows."""
    return repr(name if len(name) <= 40 else name[:40] + "...")
