"""An embedded, durable mutation log for job schedulers.

Open a queue with :func:`open`, submit the commands of :mod:`actionqueue.model`, and ask
:class:`Projection` what they add up to. Every public name is importable from here.
"""

import sys
import typing as _typing

import _actionqueue_start

if _actionqueue_start.is_running_the_package():
    _actionqueue_start.end_at_interrupts()
    _actionqueue_start.put_the_collector_off()

# These come first, because the native modules raise errors and build values of this package.
from actionqueue import errors  # isort: skip
from actionqueue import model  # isort: skip
from actionqueue import provided as _provided  # isort: skip  # noqa: F401 -- for what it does

from _wal_native.above import keep as _keep
from actionqueue import (
    authority,
    clock,
    columns,
    compaction,
    damage,
    opening,
    projection,
    queue,
    reading,
    recovery,
    sync_policy,
    wait_reasons,
)
from actionqueue.authority import *
from actionqueue.clock import *
from actionqueue.columns import *
from actionqueue.compaction import *
from actionqueue.damage import *
from actionqueue.errors import *
from actionqueue.model import *
from actionqueue.opening import *
from actionqueue.projection import *
from actionqueue.queue import *
from actionqueue.reading import *
from actionqueue.recovery import *
from actionqueue.sync_policy import *
from actionqueue.wait_reasons import *

if _typing.TYPE_CHECKING:
    from actionqueue.scheduler import Backoff as Backoff
    from actionqueue.scheduler import Claim as Claim
    from actionqueue.scheduler import ClaimColumns as ClaimColumns
    from actionqueue.scheduler import Misfire as Misfire
    from actionqueue.scheduler import PrerequisiteFailure as PrerequisiteFailure
    from actionqueue.scheduler import RunEnd as RunEnd
    from actionqueue.scheduler import Scheduler as Scheduler
    from actionqueue.scheduler import TickReport as TickReport
    from actionqueue.scheduler import run_id_of as run_id_of
    from actionqueue.stores import EtcdStore as EtcdStore
    from actionqueue.stores import LogStore as LogStore
    from actionqueue.stores import PostgresStore as PostgresStore

__version__ = "0.1.0"

__all__ = ["__version__"]
__all__ += authority.__all__
__all__ += clock.__all__
__all__ += columns.__all__
__all__ += compaction.__all__
__all__ += damage.__all__
__all__ += errors.__all__
__all__ += model.__all__  # type: ignore[attr-defined]  # it hides its list from mypy
__all__ += opening.__all__
__all__ += projection.__all__
__all__ += queue.__all__
__all__ += reading.__all__
__all__ += recovery.__all__
__all__ += sync_policy.__all__
__all__ += wait_reasons.__all__
__all__ += [
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
_OF_THE_STORES = ("EtcdStore", "LogStore", "PostgresStore")


def __getattr__(name: str) -> _typing.Any:
    """Import the scheduler, which takes a fifth of the time, and the stores where one is asked for.

    Programs that only submit and ask need neither.
    """
    if name in __all__ or name == "scheduler":  # the others of the list are here already
        import actionqueue.scheduler as module  # noqa: PLC0415

        return module if name == "scheduler" else getattr(module, name)
    if name in _OF_THE_STORES:
        from actionqueue import stores  # noqa: PLC0415

        return getattr(stores, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_OF_THE_STORES})


_keep(sys.modules[__name__])
