"""The seven identifier types: distinct types over the 16 bytes of a UUID."""

import builtins
from typing import Any, Self, final
from uuid import UUID

class Identifier:
    """Base of the identifier types: the 16 bytes of a UUID.

    An identifier is immutable and hashable, and equals identifiers of its own type only.
    """

    def __new__(
        cls, value: Self | UUID | str | builtins.bytes | bytearray | memoryview = ...
    ) -> Self:
        """Make a random identifier, or convert a value.

        The value is a UUID, its text (32 hexadecimal digits, or hyphenated), its 16 bytes, or an
        identifier of the same type. Raises InvalidFieldError for malformed text or another number
        of bytes, InvalidFieldTypeError for other types.
        """

    @classmethod
    def from_bytes(cls, value: builtins.bytes | bytearray | memoryview) -> Self:
        """Return the identifier with these 16 bytes.

        Raises InvalidFieldError for another number of bytes, InvalidFieldTypeError for other types.
        """

    @property
    def bytes(self) -> builtins.bytes:
        """The 16 bytes, in network order."""

    @property
    def hex(self) -> str:
        """The 32 hexadecimal digits."""

    @property
    def uuid(self) -> UUID:
        """The identifier as a :class:`uuid.UUID`."""

    @property
    def is_nil(self) -> bool:
        """Whether all bytes are zero."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any) -> Self: ...
    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]: ...

@final
class TaskId(Identifier):
    """Identifies a task."""

@final
class RunId(Identifier):
    """Identifies a run. Run identifiers are ordered by their bytes."""

    def __lt__(self, other: RunId, /) -> bool: ...
    def __le__(self, other: RunId, /) -> bool: ...
    def __gt__(self, other: RunId, /) -> bool: ...
    def __ge__(self, other: RunId, /) -> bool: ...

@final
class AttemptId(Identifier):
    """Identifies an attempt of a run."""

@final
class ActorId(Identifier):
    """Identifies an actor."""

@final
class TenantId(Identifier):
    """Identifies a tenant."""

@final
class LedgerEntryId(Identifier):
    """Identifies a ledger entry."""

@final
class SubscriptionId(Identifier):
    """Identifies a subscription."""
