"""Calls that threads make one after the other, whatever signals come between."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, type_check_only

_R = TypeVar("_R")

@type_check_only
class _Cancelable(Protocol):
    @property
    def is_canceled(self) -> bool: ...

class Turn:
    """A lock whose holder makes one call.

    It refuses a thread that is inside already, for example in a signal's handler.
    """

    def run(self, work: Callable[..., _R], /, *arguments: Any) -> _R:
        """Make the call while no other thread is inside, and return what it returns.

        Raises ReentrantCallError where this thread is inside.
        """

    def run_long(
        self, progress: _Cancelable | None, work: Callable[..., _R], /, *arguments: Any
    ) -> _R:
        """Do the same for a long call, whose wait for its turn `progress.cancel()` ends.

        Then it raises StoppedError.
        """

    def wait(self, progress: _Cancelable | None = None) -> None:
        """Return when the call that is under way has ended.

        Raises ReentrantCallError in the thread that makes it, StoppedError where `progress` is
        canceled meanwhile.
        """

    @property
    def is_taken(self) -> bool:
        """Whether a thread is inside :meth:`run`."""

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is inside."""
