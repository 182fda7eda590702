"""The scheduler over a queue: what runs when, with leases, retries, recurrence and dependencies.

``core`` takes the steps. Above it are ``adding`` (tasks), ``working`` (claims and their ends),
``releasing`` (claims given back), ``ending`` (failures with what they cancel), ``due`` and
``ticking`` (what time brings about), ``controlling`` (what an application asks for) and
``waiting``; ``scheduler`` puts them together. ``recurrence``, ``prerequisites``, ``attempts`` and
``subscriptions`` say which commands each rule takes; ``shared`` is what the schedulers of one queue
have in common. The twin for asyncio, ``aio``, is imported on its own.
"""

from actionqueue.scheduler.backoff import Backoff
from actionqueue.scheduler.claim_columns import ClaimColumns
from actionqueue.scheduler.claims import Claim
from actionqueue.scheduler.prerequisites import PrerequisiteFailure
from actionqueue.scheduler.recurrence import Misfire, run_id_of
from actionqueue.scheduler.scheduler import Scheduler
from actionqueue.scheduler.shared import RunEnd
from actionqueue.scheduler.ticking import TickReport

__all__ = [
    "Backoff",
    "Claim",
    "ClaimColumns",
    "Misfire",
    "PrerequisiteFailure",
    "RunEnd",
    "Scheduler",
    "TickReport",
    "run_id_of",
]
