"""What commands, events and outcomes have in common, and how a command leads to the other two."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from _wal_native.fields import complete_class
from _wal_native.outcome import MutationOutcome
from actionqueue.errors import InvalidFieldTypeError, NonMonotonicSequence, SequenceOverflow
from actionqueue.limits import SEQUENCE_MAX
from actionqueue.model.fields import Abstract
from actionqueue.model.kinds import EventKind
from actionqueue.model.queries import ProjectionQueries

__all__ = ["AppliedMutation", "Event", "EventKind", "MutationCommand", "MutationOutcome"]


class Event(msgspec.Struct, frozen=True):
    """Base of the events: what the log holds and the projection applies.

    Events are made from commands that were checked, or from records that were decoded, so their
    constructors check nothing. The ``sequence`` comes first, the ``timestamp`` (Unix seconds)
    last; :class:`RunCreated` has none, because its run has the time.
    """

    kind: ClassVar[EventKind]
    sequence: int


class AppliedMutation(msgspec.Struct, frozen=True):
    """Base of what commands change."""

    name: ClassVar[str]
    """The command's name in lower snake case."""


class MutationCommand(Abstract, frozen=True, gc=False):
    """Base of the commands: what a scheduler proposes, and the queue accepts or refuses.

    Every command has the ``sequence`` that its event is to take first; None leaves it to the
    queue. The ``timestamp``, in Unix seconds, comes last. Constructors check every field, and
    convert the names of states and dimensions, lists and bytes-like objects: see
    :mod:`actionqueue.model.fields`.

    A class names the event that it ``becomes`` and the outcome that it ``tells``. Both take over
    the fields that the command has under the same name; where their fields are others, the class
    defines ``_event(self, sequence)`` or ``_applied(self)``.

    What the projection has to say against a command is raised by ``_check(self, projection)``; a
    class without it is always accepted. The first check that fails decides the error. A rule that
    replay has too is asked of :mod:`_wal_native.rules`, over the C functions that the state table
    itself asks, so that replay never refuses what passed here. Refusals that exist only for that
    reason come after the others. This is the hot path: a check is one query of the projection and
    one comparison or rule, and success builds nothing.

    A class whose JSON form is not simply its fields says so: see :mod:`actionqueue.model.forms`.
    """

    becomes: ClassVar[type[Event]]
    """The event that the log keeps of the command."""
    tells: ClassVar[type[AppliedMutation]]
    """The outcome that tells the caller what the command changed."""
    takes_short_way: ClassVar[bool] = False
    """Whether a queue makes the log's event of the command without running Python code.

    So do the commands that a scheduler writes all day. The class may say so only if the rules of
    the state table (``core/table/apply.c``) refuse all that its ``_check`` refuses: that is asked
    only where they do, for the error.
    """

    if TYPE_CHECKING:

        @property
        def sequence(self) -> int | None:
            """The sequence that the command's event must take; None takes the next one."""


CommandClass = TypeVar("CommandClass", bound=type[MutationCommand])

COMMANDS: dict[str, type[MutationCommand]] = {}
"""The classes of commands, by the names of their outcomes."""


def registered(cls: CommandClass) -> CommandClass:
    """Make a class known as one of the commands."""
    complete_class(cls)
    COMMANDS[cls.tells.name] = cls
    _CHECKS[cls] = getattr(cls, "_check", None)
    return cls


# --- Whether a command is accepted ---------------------------------------------------------------

_CHECKS: dict[type[MutationCommand], Callable[[Any, ProjectionQueries], None] | None] = {}


def validate(command: MutationCommand, projection: ProjectionQueries) -> int:
    """Return the sequence that the command's event gets; raise what forbids the command.

    An explicit sequence must be the one after the projection's latest; None stands for that one.

    Raises:
        ValidationError: The subclass says why the projection does not allow the command.
        InvalidFieldTypeError: This is no command.
    """
    cls = type(command)  # before the try block: a signal's handler may raise behind a call
    try:
        check = _CHECKS[cls]
    except KeyError:
        reason = f"one of the {len(COMMANDS)} commands is needed"
        raise InvalidFieldTypeError("MutationCommand", "command", command, reason) from None
    sequence = projection.latest_sequence + 1
    if sequence > SEQUENCE_MAX:
        raise SequenceOverflow
    provided = command.sequence
    if provided is not None and provided != sequence:
        raise NonMonotonicSequence(expected=sequence, provided=provided)
    if check is not None:
        check(command, projection)
    return sequence


# --- What a command becomes ----------------------------------------------------------------------


def event_of(command: MutationCommand, sequence: int) -> Event:
    """Return the event that the command becomes.

    Args:
        command: One that :func:`validate` accepted.
        sequence: What that returned; the command's own may be None.
    """
    event: Event = _EVENTS[type(command)](command, sequence)
    return event


def applied_of(command: MutationCommand) -> AppliedMutation:
    """Return what the command changes, as its outcome tells it."""
    applied: AppliedMutation = _APPLIED[type(command)](command)
    return applied


class _Makers(dict[type[MutationCommand], Callable[..., Any]]):
    """The function of each class of commands that makes an event or an outcome of one.

    A function is made at its first use, since most programs use few of them.
    """

    def __init__(self, make: Callable[[type[MutationCommand]], Callable[..., Any]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, cls: type[MutationCommand]) -> Callable[..., Any]:
        if cls not in _CHECKS:
            raise KeyError(cls)
        function = self[cls] = self._make(cls)
        return function


def _event_maker(cls: type[MutationCommand]) -> Callable[..., Any]:
    own: Callable[..., Any] | None = getattr(cls, "_event", None)
    _, *names = cls.becomes.__struct_fields__
    return own or _handing_on(cls.becomes, names)


def _applied_maker(cls: type[MutationCommand]) -> Callable[..., Any]:
    own: Callable[..., Any] | None = getattr(cls, "_applied", None)
    return own or _handing_on(cls.tells, cls.tells.__struct_fields__)


def _handing_on(made: type, names: Sequence[str]) -> Callable[..., Any]:
    """Return a function that makes an object of these fields of a command, after what it is given.

    It takes the command, and then values that come before the fields.
    """
    if not names:
        return lambda _command, *before: made(*before)
    values = attrgetter(*names)
    if len(names) == 1:
        return lambda command, *before: made(*before, values(command))
    return lambda command, *before: made(*before, *values(command))


_EVENTS = _Makers(_event_maker)
_APPLIED = _Makers(_applied_maker)
