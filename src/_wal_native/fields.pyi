"""The field checker: what the constructors of commands and domain types accept, and limits."""

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
    """Metadata of a ``str``, ``bytes`` or ``tuple`` annotation: the least and the largest size.

    A str is measured in UTF-8 bytes, bytes in bytes, a tuple in entries.
    """

    minimum: int
    maximum: int
    def __init__(self, minimum: int, maximum: int) -> None: ...

@final
class NotNilRule:
    """Metadata of an identifier annotation: the field refuses the nil UUID."""

@final
class ConvertRule:
    """Metadata of a class annotation: the function makes an instance of a value of these types."""

    accepted: tuple[type, ...]
    function: Callable[[Any], Any]
    def __init__(self, accepted: tuple[type, ...], function: Callable[[Any], Any]) -> None: ...

@final
class PresenceRule:
    """What a class's optional fields depend on: each goes with certain members of a choice only.

    The choice is the name of a field. `members` has, for each optional field, the members of the
    choice that it goes with; a field in `required` must be present with them. Raises ValueError
    for more than four optional fields.
    """

    def __init__(
        self, choice: str, members: dict[str, tuple[Any, ...]], required: tuple[str, ...]
    ) -> None: ...

def field_checker(cls: type) -> Callable[[Any], None]:
    """Return the ``__post_init__`` of a struct class.

    It checks every field, and converts a value where the field's rule allows that. Then it calls
    the class's method ``_check_together`` where the class has one. An instance whose fields do not
    fit raises InvalidFieldError or InvalidFieldTypeError.

    Raises TypeError for an annotation that cannot be checked, or a field without a slot.
    """

def complete_class(cls: type[object], /) -> None:
    """Give a complete class its constructor before its first instance is built.

    So an error for the very first call names the class, too.
    """

def has_constructor(cls: type) -> bool:
    """Whether this module builds the instances of the class.

    It does from the second instance on at the latest. On free-threaded builds msgspec builds all.
    """
