"""What the native modules take from this package besides its errors: they import nothing of it.

The package imports this module before any native module that needs one of these. The states of
runs, which the rules need, come even before that, in :mod:`actionqueue.model.runs`.
"""

from _wal_native.above import provide
from actionqueue import model, sync_policy
from actionqueue.model import base, cron

provide({name: getattr(model, name) for name in vars(model)["__all__"]})
provide(
    {
        "COMMANDS": base.COMMANDS,
        "DurabilityPolicy": sync_policy.DurabilityPolicy,
        "applied_of": base.applied_of,
        "has_ended": cron.has_ended,
    }
)
