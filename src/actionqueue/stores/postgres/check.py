"""What the settings of a server do not promise."""

from __future__ import annotations

from actionqueue.stores.postgres.session import Answer

__all__ = ["VERSION_MIN", "unsafe_settings", "warnings_of"]

VERSION_MIN = 150_000
QUORUM_STATES = {"sync", "quorum"}


def unsafe_settings(names: str, commit: str, fsync: str) -> str:
    """Say which settings let acknowledged commits be lost; an empty text where none does."""
    if not names:
        return "synchronous_standby_names is empty, so no commit waits for a standby"
    if commit not in {"on", "remote_apply"}:
        return f"synchronous_commit is {commit!r}, and must be 'on' or 'remote_apply'"
    if fsync != "on":
        return "fsync is off"
    return ""


def warnings_of(settings: Answer, standbys: Answer) -> tuple[str, ...]:
    """Return what does not keep the promise, or may not."""
    _, number, names, commit, fsync, full_page_writes, is_in_recovery = settings.rows[0]
    found = [unsafe_settings(names, commit, fsync)]
    if is_in_recovery:
        found.append("this server is a standby, so it is not the one that appends go to")
    if number < VERSION_MIN:
        found.append("the server is older than PostgreSQL 15, with which this was tested")
    if "*" in names:
        found.append(
            "synchronous_standby_names has a *, which counts everything that streams, a backup too:"
            " name the standbys"
        )
    if full_page_writes != "on":
        found.append("full_page_writes is off: a power loss may damage the data")
    answering = [name for name, _, state in standbys.rows if state in QUORUM_STATES]
    if names and not answering and not is_in_recovery:
        found.append("no standby answers for commits now, so every append waits")
    return tuple(filter(None, found))
