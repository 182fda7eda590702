"""Every limit of the library. Sizes are in bytes, and those of text count UTF-8.

The numbers come from the native core, which holds writer and reader to the same ones. Those that no
C code needs stand here.
"""

from _wal_native.fields import (
    BATCH_COUNT_MAX,
    BATCH_SIZE_MAX,
    DEPARTMENT_SIZE_MAX,
    IMAGE_ITEM_SIZE_MAX,
    LIST_COUNT_MAX,
    MAPPING_COUNT_MAX,
    NAME_SIZE_MAX,
    PATH_SIZE_MAX,
    PAYLOAD_SIZE_MAX,
    PURGE_COUNT_MAX,
    QUARANTINE_COPIES_MAX,
    RING_SIZE_DEFAULT,
    RING_SIZE_MAX,
    RING_SIZE_MIN,
    ROW_COUNT_MAX,
    SEGMENT_COUNT_MAX,
    SEGMENT_FILE_SIZE_MAX,
    SEGMENT_RESERVE_MAX,
    SEGMENT_SIZE_DEFAULT,
    SEGMENT_SIZE_FIRST,
    SEGMENT_SIZE_MAX,
    SEGMENT_SIZE_MIN,
    SEQUENCE_MAX,
    SNAPSHOT_COUNT_MAX,
    TEXT_SIZE_MAX,
    TOMBSTONE_COUNT_MAX,
)

__all__ = [
    "BATCH_COUNT_MAX",
    "BATCH_SIZE_MAX",
    "CALENDAR_SECONDS_MAX",
    "DEPARTMENT_SIZE_MAX",
    "I32_MAX",
    "I32_MIN",
    "IMAGE_ITEM_SIZE_MAX",
    "LIST_COUNT_MAX",
    "MAPPING_COUNT_MAX",
    "NAME_SIZE_MAX",
    "PATH_SIZE_MAX",
    "PAYLOAD_SIZE_MAX",
    "POLL_SECONDS_MAX",
    "PURGE_COUNT_MAX",
    "QUARANTINE_COPIES_MAX",
    "RING_SIZE_DEFAULT",
    "RING_SIZE_MAX",
    "RING_SIZE_MIN",
    "ROW_COUNT_MAX",
    "SEGMENT_COUNT_MAX",
    "SEGMENT_FILE_SIZE_MAX",
    "SEGMENT_RESERVE_MAX",
    "SEGMENT_SIZE_DEFAULT",
    "SEGMENT_SIZE_FIRST",
    "SEGMENT_SIZE_MAX",
    "SEGMENT_SIZE_MIN",
    "SEQUENCE_MAX",
    "SNAPSHOT_COUNT_MAX",
    "TEXT_SIZE_MAX",
    "TOMBSTONE_COUNT_MAX",
    "U32_MAX",
    "U64_MAX",
]

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
I32_MIN = -(2**31)
I32_MAX = 2**31 - 1

CALENDAR_SECONDS_MAX = 253402300799
"""The last second of the year 9999, in Unix seconds.

Calls that go by the calendar take no later time."""
POLL_SECONDS_MAX = 86400
"""The longest time between two looks at a log that is followed: a day."""
