"""How far a long call has come, and a way to stop it."""

from typing import NoReturn

class Progress:
    """Shows how far a long call has come, and cancels it.

    The caller makes a new one for each call. Other threads look at it, or cancel it. That also ends
    the call's wait for another one of the same queue (a compaction under way). It ends no system
    call, such as a sync, and no wait for a command that another thread is submitting: the call ends
    behind them.
    """

    def __init__(self) -> None: ...
    @property
    def done(self) -> int:
        """Bytes that the call has dealt with so far."""

    @property
    def total(self) -> int:
        """Bytes that the call will have dealt with at its end, as far as it knows by now."""

    def expect(self, size: int, /) -> None:
        """Add `size` bytes to the total. The code that does the work calls this."""

    @property
    def is_canceled(self) -> bool:
        """Whether :meth:`cancel` was called."""

    def cancel(self) -> None:
        """Make the call end soon, with StoppedError, also where it waits for another call."""

    def __reduce__(self) -> NoReturn: ...
