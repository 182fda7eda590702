"""The JSON form of what came of a submitted command.

==============  ================================================================================
accepted        ``{"ok": true, "sequence", "applied", "latest"}``; ``applied`` is the command's
                name or ``no_op`` (below)
not accepted    ``{"ok": false, "stage", "error", "message", "latest"}``
==============  ================================================================================

``stage`` is ``input`` (the text was no command), ``validation``, ``append``, ``partial_durability``
or ``apply``. ``error`` is the exception's class name, for ``append`` that of its cause; ``message``
is for people and may change. The two last stages also have the ``sequence`` of the event that they
are about. ``latest`` is the sequence of the projection's last event after all that.

``applied`` is ``no_op`` for the commands on actors, tenants, roles, capabilities and the ledger,
whatever they changed: the implementations share this form. In Python their outcomes say what
changed.
"""

from __future__ import annotations

from typing import Any

from actionqueue.errors import (
    ActionQueueError,
    AppendError,
    ApplyError,
    PartialDurabilityError,
    ValidationError,
)
from actionqueue.model import (
    AppliedActorDeregister,
    AppliedActorHeartbeat,
    AppliedActorRegister,
    AppliedCapabilityGrant,
    AppliedCapabilityRevoke,
    AppliedLedgerAppend,
    AppliedMutation,
    AppliedRoleAssign,
    AppliedTenantCreate,
    MutationOutcome,
)

__all__ = ["accepted", "refused"]

_NO_OP: frozenset[type[AppliedMutation]] = frozenset(
    {
        AppliedActorRegister,
        AppliedActorDeregister,
        AppliedActorHeartbeat,
        AppliedTenantCreate,
        AppliedRoleAssign,
        AppliedCapabilityGrant,
        AppliedCapabilityRevoke,
        AppliedLedgerAppend,
    }
)


def accepted(outcome: MutationOutcome, latest: int) -> dict[str, Any]:
    """Return the verdict on a command that was accepted."""
    applied = outcome.applied
    name = "no_op" if type(applied) in _NO_OP else applied.name
    return {"ok": True, "sequence": outcome.sequence, "applied": name, "latest": latest}


def refused(error: ActionQueueError, latest: int) -> dict[str, Any]:
    """Return the verdict on a command that was not, or on a text that is no command."""
    named: BaseException = error
    verdict: dict[str, Any] = {"ok": False}
    if isinstance(error, ValidationError):
        verdict["stage"] = "validation"
    elif isinstance(error, AppendError):
        verdict["stage"], named = "append", error.cause
    elif isinstance(error, PartialDurabilityError):
        verdict |= {"stage": "partial_durability", "sequence": error.sequence}
    elif isinstance(error, ApplyError):
        verdict |= {"stage": "apply", "sequence": error.sequence}
    else:
        verdict["stage"] = "input"
    return verdict | {
        "error": type(named).__name__,
        "message": _encodable(str(error)),
        "latest": latest,
    }


def _encodable(text: str) -> str:
    """Escape lone surrogates, which a refused text may hold and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
