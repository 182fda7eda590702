from actionqueue.errors import ActionQueueError
from actionqueue.model import MutationCommand
from actionqueue.sync_policy import DurabilityPolicy

from .log import Log
from .outcome import MutationOutcome
from .turn import Turn

class Lane:
    _log: Log
    _durability: DurabilityPolicy
    _unusable: ActionQueueError | None
    @property
    def _lane(self) -> Turn: ...
    def submit(
        self, command: MutationCommand, durability: DurabilityPolicy | str | None = None
    ) -> MutationOutcome: ...
