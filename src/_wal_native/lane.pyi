"""The front of the queue's lane."""

from actionqueue.errors import ActionQueueError
from actionqueue.model import MutationCommand
from actionqueue.sync_policy import DurabilityPolicy

from .log import Log
from .outcome import MutationOutcome
from .turn import Turn

class Lane:
    """Base of :class:`actionqueue.lane.QueueLane`."""

    _log: Log
    _durability: DurabilityPolicy
    _unusable: ActionQueueError | None
    @property
    def _lane(self) -> Turn: ...
    def submit(
        self, command: MutationCommand, durability: DurabilityPolicy | str | None = None
    ) -> MutationOutcome:
        """Validate a command, append its event, apply it, and return the outcome.

        The outcome comes once the event is as durable as `durability` asks for: IMMEDIATE or
        DEFERRED, or None for the queue's own.

        Raises:
            ValidationError: The command was refused; nothing has changed.
            AppendError: The event was not appended, or (``written`` is unknown) the handle is
                poisoned.
            PartialDurabilityError: The event was appended and applied, but may not be durable; the
                handle is poisoned.
            PoisonedError, ClosedError, ForkedError: The handle takes no commands; nothing has
                changed.
            ReentrantCallError: A query or submit of this thread is under way; nothing has changed.
            ValueError: `durability` is not a DurabilityPolicy, nor the name of one.
        """
