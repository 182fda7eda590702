"""The model: what a queue holds, what may be submitted to it, and when that is refused.

One file a family. Each has the family's value types, and for each of its commands the event that
the command becomes, the outcome that the caller gets, and the checks that may refuse it.

==================  ===============================================================================
``base``            what commands, events and outcomes have in common; the codes of the events
``fields``          what the fields of commands and value types accept
``forms``           the JSON form of commands and values, from the types of their fields
``queries``         what the checks of commands ask of a projection
``ids``             the identifiers
``tasks``           tasks, and what they wait for
``run_policies``    when a task is to run; ``cron``, a folder, reads the expressions
``runs``            runs and their states
``attempts``        attempts, and how they end
``leases``          which owner may work on a run, and until when
``engine``          pausing and resuming everything
``budgets``         what a task may use
``subscriptions``   what a task waits for
``actors``          what executes runs
``platform``        tenants, roles, capabilities and the ledger
``retention``       what is forgotten
==================  ===============================================================================
"""

# The states of runs come first: the rules take them from there, and most families import the rules.
from actionqueue.model import runs  # isort: skip

from actionqueue.model import (
    actors,
    attempts,
    base,
    budgets,
    engine,
    ids,
    leases,
    platform,
    retention,
    run_policies,
    subscriptions,
    tasks,
)
from actionqueue.model.actors import *
from actionqueue.model.attempts import *
from actionqueue.model.base import *
from actionqueue.model.budgets import *
from actionqueue.model.engine import *
from actionqueue.model.ids import *
from actionqueue.model.leases import *
from actionqueue.model.platform import *
from actionqueue.model.retention import *
from actionqueue.model.run_policies import *
from actionqueue.model.runs import *
from actionqueue.model.subscriptions import *
from actionqueue.model.tasks import *

# Only mypy takes this for true. It exports what star imports bring, and it would hide all of them
# where it sees a list that is put together.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += actors.__all__
    __all__ += attempts.__all__
    __all__ += base.__all__
    __all__ += budgets.__all__
    __all__ += engine.__all__
    __all__ += ids.__all__
    __all__ += leases.__all__
    __all__ += platform.__all__
    __all__ += retention.__all__
    __all__ += run_policies.__all__
    __all__ += runs.__all__
    __all__ += subscriptions.__all__
    __all__ += tasks.__all__
