from actionqueue.commands import MutationCommand
from actionqueue.errors import ActionQueueError
from actionqueue.states import DurabilityPolicy

from .log import Log
from .outcome import MutationOutcome
from .turn import Turn

class Lane:
    _log: Log
    _durability: DurabilityPolicy
    _unusable: ActionQueueError | None
    @property
    def _lane(self) -> Turn: ...
    def submit(self, command: MutationCommand, durability: DurabilityPolicy | str | None = None) -> MutationOutcome: ...
