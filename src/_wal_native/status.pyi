"""Status codes of the core as exceptions."""

from types import MappingProxyType

EXCEPTIONS: MappingProxyType[int, type[Exception]]
"""The exception that stands for each status code that is a failure."""

def status_name(status: int, /) -> str:
    """Return the status code's name in lower snake case.

    It is ``"unknown"`` for a number that no status has.
    """
