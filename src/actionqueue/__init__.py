"""An embedded, durable mutation log for job schedulers.

Open a queue with :func:`open`, submit the commands of :mod:`actionqueue.commands`, and ask
:class:`Projection` what they add up to. Every public name is importable from here.
"""

import _actionqueue_start

if _actionqueue_start.is_running_the_package():
    _actionqueue_start.end_at_interrupts()

# These come first, because the native modules raise errors and build values of this package.
from actionqueue import errors  # isort: skip
from actionqueue import provided as _provided  # isort: skip  # noqa: F401 -- for what it does

from actionqueue import (
    actor,
    authority,
    budget,
    clock,
    columns,
    commands,
    compaction,
    damage,
    events,
    ids,
    outcomes,
    platform,
    projection,
    reading,
    recovery,
    run,
    run_policy,
    states,
    store,
    subscription,
    sync_policy,
    task,
)
from actionqueue.actor import *
from actionqueue.authority import *
from actionqueue.budget import *
from actionqueue.clock import *
from actionqueue.columns import *
from actionqueue.commands import *
from actionqueue.compaction import *
from actionqueue.damage import *
from actionqueue.errors import *
from actionqueue.events import *
from actionqueue.ids import *
from actionqueue.outcomes import *
from actionqueue.platform import *
from actionqueue.projection import *
from actionqueue.reading import *
from actionqueue.recovery import *
from actionqueue.run import *
from actionqueue.run_policy import *
from actionqueue.states import *
from actionqueue.store import *
from actionqueue.subscription import *
from actionqueue.sync_policy import *
from actionqueue.task import *

__version__ = "0.1.0"

__all__ = ["__version__"]
__all__ += actor.__all__
__all__ += authority.__all__
__all__ += budget.__all__
__all__ += clock.__all__
__all__ += columns.__all__
__all__ += commands.__all__
__all__ += compaction.__all__
__all__ += damage.__all__
__all__ += errors.__all__
__all__ += events.__all__
__all__ += ids.__all__
__all__ += outcomes.__all__
__all__ += platform.__all__
__all__ += projection.__all__
__all__ += reading.__all__
__all__ += recovery.__all__
__all__ += run.__all__
__all__ += run_policy.__all__
__all__ += states.__all__
__all__ += store.__all__
__all__ += subscription.__all__
__all__ += sync_policy.__all__
__all__ += task.__all__
