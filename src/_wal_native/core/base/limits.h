/* Every limit of the library, once. Writer, reader, validation and the Python layer all take their
 * limits from here (Python sees them as actionqueue.limits), so that the library writes nothing
 * that its reader would refuse. Sizes are in bytes. */
#ifndef AQW_LIMITS_H
#define AQW_LIMITS_H

/* The last sequence that an event can have. A segment that begins after it has 0 for its first
 * sequence, because 64 bits wrap there. So the code compares where segments begin by the sequence
 * before the first, which always exists. */
#define AQW_SEQUENCE_MAX 18446744073709551615u

/* Records. The payload length field has 24 bits. */
#define AQW_PAYLOAD_SIZE_MAX 16777215
/* One text field (owner, error, reason, tag, name, key, expression), in UTF-8 bytes. */
#define AQW_TEXT_SIZE_MAX 1048576
/* Entries of one list field (tags, capabilities, prerequisites). */
#define AQW_LIST_COUNT_MAX 65536
/* A department's identifier, in UTF-8 bytes. */
#define AQW_DEPARTMENT_SIZE_MAX 128
/* Commands in one batch, and the bytes of their records together. */
#define AQW_BATCH_COUNT_MAX 1048576
#define AQW_BATCH_SIZE_MAX 268435456

/* Segments: file sizes, the headers included. */
#define AQW_SEGMENT_SIZE_MIN 65536
#define AQW_SEGMENT_SIZE_FIRST 262144
#define AQW_SEGMENT_SIZE_DEFAULT 67108864
#define AQW_SEGMENT_SIZE_MAX 1073741824
/* A segment that a recovery makes may be larger: it holds what a writer has left in the largest
 * segment, copied, and after that room for a pad and a marker with any sector size. A writer fills
 * even that one only up to what is the largest otherwise. */
#define AQW_SEGMENT_FILE_SIZE_MAX 1073750016
#define AQW_SEGMENT_RESERVE_MAX 4128
#define AQW_SEGMENT_COUNT_MAX 1048576

/* Snapshots of a queue's directory that the library looks at, the newest ones. It keeps two. */
#define AQW_SNAPSHOT_COUNT_MAX 64

/* Copies of torn tails of one kind (of a segment, of the ring) that quarantine/ keeps,
 * the newest ones. */
#define AQW_QUARANTINE_COPIES_MAX 64

/* The ring's data area. */
#define AQW_RING_SIZE_MIN 65536
#define AQW_RING_SIZE_DEFAULT 1048576
#define AQW_RING_SIZE_MAX 268435456

/* Rings that one process maps at a time; a log whose ring is beyond that writes every
 * append through. */
#define AQW_MAPPING_COUNT_MAX 256

/* Rows of one kind in the state table (row numbers have 32 bits, and 0 means none). */
#define AQW_ROW_COUNT_MAX 4294967294

/* Runs, tasks, subscriptions and actors that one event purges, together. */
#define AQW_PURGE_COUNT_MAX 4096

/* Identifiers of forgotten tasks that the table refuses; beyond that, it drops the oldest. */
#define AQW_TOMBSTONE_COUNT_MAX 1048576

/* One item of a table's image (table/image.h). */
#define AQW_IMAGE_ITEM_SIZE_MAX 16778239

/* The path of a file in a queue's directory, with the longest name; and the room kept
 * for that name. */
#define AQW_PATH_SIZE_MAX 4096
#define AQW_NAME_SIZE_MAX 128

#endif
