import builtins
from typing import Any, Self, final
from uuid import UUID

class Identifier:
    """Base of the identifier types: 16 bytes of a UUID, immutable, hashable, equal to its own type only."""

    def __new__(
        cls, value: Self | UUID | str | builtins.bytes | bytearray | memoryview = ...
    ) -> Self:
        """Make a random identifier, or convert a UUID, its text (32 digits or hyphenated), 16 bytes or an identifier.

        Raises InvalidFieldError for malformed text or another number of bytes, InvalidFieldTypeError for other types.
        """

    @classmethod
    def from_bytes(cls, value: builtins.bytes | bytearray | memoryview) -> Self:
        """Return the identifier with these 16 bytes."""

    @property
    def bytes(self) -> builtins.bytes:
        """The 16 bytes, in network order."""

    @property
    def hex(self) -> str:
        """The 32 hexadecimal digits."""

    @property
    def uuid(self) -> UUID:
        """The same as a :class:`uuid.UUID`."""

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
class TaskId(Identifier): ...

@final
class RunId(Identifier):
    def __lt__(self, other: RunId, /) -> bool: ...
    def __le__(self, other: RunId, /) -> bool: ...
    def __gt__(self, other: RunId, /) -> bool: ...
    def __ge__(self, other: RunId, /) -> bool: ...

@final
class AttemptId(Identifier): ...

@final
class ActorId(Identifier): ...

@final
class TenantId(Identifier): ...

@final
class LedgerEntryId(Identifier): ...

@final
class SubscriptionId(Identifier): ...
