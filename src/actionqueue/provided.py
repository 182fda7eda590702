"""Gives the native modules what they need of this package besides its errors.

They import nothing of the package. It imports this module before any native module that needs one
of these objects.
"""

from _wal_native.above import provide
from actionqueue import (
    actor,
    budget,
    commands,
    cron,
    events,
    mapping,
    outcomes,
    platform,
    run,
    run_policy,
    states,
    subscription,
    task,
    texts,
)

for _module in (
    states,
    budget,
    run_policy,
    run,
    task,
    subscription,
    actor,
    platform,
    commands,
    events,
    outcomes,
):
    provide({name: getattr(_module, name) for name in _module.__all__})
provide(
    {
        "applied_of": mapping.applied_of,
        "has_ended": cron.has_ended,
        "host_name": texts.host_name,
        "shown": texts.shown,
    }
)
