"""Faults of the core as exceptions."""

from actionqueue.errors import LockedError

def raise_through(door: str, status: int, fault_status: int = 0, poison: int = 0, /) -> int:
    """Raise what a door of the core makes of a status, with a fault that says nothing else.

    The door is "status", "open", "snapshot", "log" or "close"; any other raises ValueError.
    Returns 0 where the door takes the status for success. Tests use this to try all of them.
    """

def locked_error(path: str, /) -> LockedError:
    """Return the LockedError for a lock file that a process holds, with what the file says."""
