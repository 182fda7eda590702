from collections.abc import Callable
from typing import Any, final

PAYLOAD_SIZE_MAX: int
TEXT_SIZE_MAX: int
LIST_COUNT_MAX: int
DEPARTMENT_SIZE_MAX: int
BATCH_COUNT_MAX: int
BATCH_SIZE_MAX: int
SEGMENT_SIZE_MIN: int
SEGMENT_SIZE_FIRST: int
SEGMENT_SIZE_DEFAULT: int
SEGMENT_SIZE_MAX: int
SEGMENT_FILE_SIZE_MAX: int
SEGMENT_RESERVE_MAX: int
MAPPING_COUNT_MAX: int
SEGMENT_COUNT_MAX: int
RING_SIZE_MIN: int
RING_SIZE_DEFAULT: int
RING_SIZE_MAX: int
SNAPSHOT_COUNT_MAX: int
QUARANTINE_COPIES_MAX: int
PURGE_COUNT_MAX: int
TOMBSTONE_COUNT_MAX: int
IMAGE_ITEM_SIZE_MAX: int
ROW_COUNT_MAX: int
SEQUENCE_MAX: int
PATH_SIZE_MAX: int
NAME_SIZE_MAX: int

@final
class IntegerRule:
    """Metadata of an ``int`` annotation: the smallest and the largest value, within 64 bits."""

    minimum: int
    maximum: int
    def __init__(self, minimum: int, maximum: int) -> None: ...

@final
class SizeRule:
    """Metadata of a ``str``, ``bytes`` or ``tuple`` annotation: least and most UTF-8 bytes, bytes or entries."""

    minimum: int
    maximum: int
    def __init__(self, minimum: int, maximum: int) -> None: ...

@final
class NotNilRule:
    """Metadata of an identifier annotation: the nil UUID is refused."""

@final
class ConvertRule:
    """Metadata of a class annotation: values of these types are passed to the function, which gives an instance."""

    accepted: tuple[type, ...]
    function: Callable[[Any], Any]
    def __init__(self, accepted: tuple[type, ...], function: Callable[[Any], Any]) -> None: ...

@final
class PresenceRule:
    """What the optional fields of a class depend on: each may be there only where a choice is one of certain members."""

    def __init__(
        self, choice: str, members: dict[str, tuple[Any, ...]], required: tuple[str, ...]
    ) -> None: ...

def field_checker(cls: type) -> Callable[[Any], None]:
    """Return the ``__post_init__`` of a struct class: it checks, and where it is allowed converts, every field."""

def complete_class(cls: type[object], /) -> None: ...
def has_constructor(cls: type) -> bool:
    """Whether instances of the class are built here. They are from the second one on, but on free-threaded builds."""
