"""Reading logs, without a lock. Sizes are in bytes; times are Unix seconds."""

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeAlias

from .progress import Progress
from .table import StateTable

_Record: TypeAlias = tuple[int, int, int, int, int, int, int, bytes]
"""Segment, offset, sequence, kind code, flags, size, watermark and payload."""

class LogReader:
    """The records of a log that no writer has open, oldest first, by the rules of recovery.

    For one thread: a second one gets RuntimeError.
    """

    def __new__(cls, directory: str, base: tuple[bytes, int] | None = None) -> Self:
        """Open the log in a directory. Raises the OpenError family.

        `base` is the log UUID (16 bytes) and the sequence of a snapshot. The log need not go back
        further than that, and must not end before it.
        """

    @property
    def directory(self) -> str:
        """The directory as it was given."""

    def summary(self) -> dict[str, Any]:
        """Return what is known of the log as a whole, as a dict."""

    def segments(self) -> list[dict[str, Any]]:
        """Return the segments' headers as a list of dicts, oldest first."""

    def __iter__(self) -> Iterator[_Record]: ...
    def __next__(self) -> _Record:
        """Return the next record. Raises the OpenError family for damage."""

    def replay(self, table: StateTable, progress: Progress | None = None) -> dict[str, int]:
        """Apply every event from here to the end to the table, except those that it has.

        Returns the numbers of records, events and bytes as a dict. Raises the OpenError family,
        StoppedError where `progress` was canceled.
        """

    def replay_to(
        self, table: StateTable, sequence: int, progress: Progress | None = None
    ) -> dict[str, int]:
        """Apply events as :meth:`replay` does, up to the one with this sequence.

        It ends before that where the log ends before that.
        """

class LogFollower:
    """The durable events of a log that may have a writer. For one thread."""

    def __new__(cls, directory: str, after: int, checksum: int | None = None) -> Self:
        """Open the log in a directory, after the event with the sequence `after`.

        `checksum` is what :attr:`checksum` said after that event, or None where the caller does not
        know it. Raises the OpenError family: HistoryChangedError where that event was never
        appended or another has its place, CompactedError where the next one is no longer there.
        """

    @property
    def sequence(self) -> int:
        """Sequence of the last event that was returned or replayed; at first that of `after`."""

    @property
    def durable_sequence(self) -> int:
        """Events up to this sequence were durable at the follower's last look."""

    @property
    def history(self) -> str | None:
        """The history that is followed, as 32 hexadecimal digits; None while it is not known."""

    @property
    def checksum(self) -> int | None:
        """The checksum of the event with the sequence :attr:`sequence`.

        None where the follower has not met that event.
        """

    @property
    def record(self) -> _Record | None:
        """The record that :meth:`next_record` returned last."""

    def trust(self, sequence: int, /) -> None:
        """From now on take events up to this one, durable or not.

        A queue that has written them out itself calls this.
        """

    def next_record(self) -> _Record | None:
        """Return the next durable event's record.

        None where no further event is durable yet. Raises the OpenError family, ForkedError in a
        forked child. Where a signal's handler raises right after this call, the caller does not get
        the record, and finds it in `record`.
        """

    def take_group(
        self,
        upto: int,
        size_max: int,
        log_uuid: bytes,
        epoch: int,
        watermark: int,
        link: int,
    ) -> tuple[int, int, bytes, int] | None:
        """Return the next whole batches up to an event, durable or not, as a group.

        That is the first and the last sequence, the group's bytes (no more than `size_max`, unless
        one batch has more) and its checksum; None where no event is left.
        """

    def replay(self, table: StateTable, *, is_private: bool) -> int:
        """Apply the durable events from here on to the table, a batch as one.

        Returns the number of events. A private table, which no other thread knows yet, gets all of
        them. For any other table the call may return before the end, so that queries that wait for
        it get a turn: 0 says that no event was left.
        """

def salvage(directory: str, moved: str | None, visit: Callable[[_Record], object]) -> None:
    """Call `visit` with the record of every event whose record verifies.

    The calls come in the order of the records' places, whatever is damaged around them. `moved` is
    None for the log as it is. For the files that one repair has moved away it is "repair-<id>-",
    with which their names begin. Raises the OpenError family, and what `visit` raises.
    """

def lock_is_held(path: str, /) -> bool:
    """Whether a writer holds the lock file at this path. No writer holds a missing file.

    Raises OpenIOError where the system does not say.
    """

def names_in(path: str) -> list[str]:
    """Return the names in a directory, or an empty list where it can't be read."""
