/* The inside of a stream, for stream.c and stream_end.c. */
#ifndef AQW_STREAM_INTERNAL_H
#define AQW_STREAM_INTERNAL_H

#include "base/limits.h"
#include "files/ring.h"
#include "read/scan.h"
#include "read/stream.h"

struct aqw_stream {
    aqw_io io;
    char directory[AQW_PATH_SIZE_MAX];
    aqw_segment_header *segments;   /* oldest first */
    uint64_t segment_count, segment_capacity;
    aqw_ring_image ring;
    aqw_stream_summary summary;

    aqw_progress *progress;         /* may end the reading of the newest segment; may be NULL */
    int passes_damage;              /* what the medium has lost of the newest reads as zeros */
    aqw_window newest;              /* the newest segment's bytes */
    aqw_window ring_data;           /* the ring's; empty without a ring */
    aqw_window older;               /* of the older one being read, up to its end; zeros: none */
    aqw_scan segment_scan;          /* of `newest` */
    aqw_scan ring_scan;
    uint64_t ring_first;            /* the first position whose record came from the ring */
    uint8_t *scratch;               /* ring.size bytes: a ring record that wraps around */

    uint64_t index;                 /* the segment being read */
    int in_batch;
    uint64_t position;
    uint32_t ordinal;
};

/* Where a record of the newest segment was found. */
typedef enum { SOURCE_NONE, SOURCE_SEGMENT, SOURCE_RING } aqw_source;

/* Finds the record at a position of the newest segment by the rule of format.h, READING 4, given W.
 * The ring counts only above W. */
aqw_source aqw_stream_choose(aqw_stream *stream, uint64_t position, uint32_t ordinal,
                             uint64_t durable, aqw_record *record);

/* Returns `size` bytes of the ring at a segment position, in one piece; NULL past its size. */
const uint8_t *aqw_stream_ring_bytes(aqw_stream *stream, uint64_t position, uint64_t size);

/* What lies after the end of the records, in the segment or in the ring. */
typedef struct aqw_remains {
    uint64_t watermark;             /* the highest that a record there has */
    uint64_t events;
} aqw_remains;

/* Looks for a record of the newest segment at a position after `from` and before `end`, with at
 * least `ordinal_min` events before it and no more than fit after `from`. The cost does not depend
 * on the size that the bytes there announce. Returns AQW_NO_MEMORY, what ended the segment's
 * window, or AQW_OK. */
aqw_status aqw_stream_segment_remains(aqw_stream *stream, uint64_t position, uint64_t end,
                                      uint32_t ordinal_min, uint64_t from, aqw_record *record,
                                      int *is_found);
/* Looks for the record of the position that only the ring has, in the same way. */
aqw_status aqw_stream_ring_remains(aqw_stream *stream, uint64_t position, uint32_t ordinal_min,
                                   uint64_t from, aqw_record *record, int *is_found);
/* Finds all of them after the records that end at `from` with `ordinal` events: one
 * pass over both. */
aqw_status aqw_stream_find_remains(aqw_stream *stream, uint64_t from, uint32_t ordinal,
                                   aqw_remains *segment, aqw_remains *ring, aqw_fault *fault);

/* The steps of aqw_stream_open, for it and for salvage. A new stream knows its
 * directory and nothing else. */
aqw_status aqw_stream_new(const aqw_io *io, const char *directory, aqw_stream **stream,
                          aqw_fault *fault);
/* Lists the names of the segments, in order of number. */
aqw_status aqw_stream_list(aqw_stream *stream, aqw_fault *fault);
/* Loads the header of segment `index` by itself. */
aqw_status aqw_stream_load_header(aqw_stream *stream, uint64_t index, aqw_fault *fault);
/* Loads the bytes of the last segment, and makes room for a ring record. */
aqw_status aqw_stream_load_newest(aqw_stream *stream, aqw_fault *fault);
/* Returns AQW_OK, or what kept the newest segment from being read. The caller asks before anything
 * rests on the absence of a record. */
aqw_status aqw_stream_failure(const aqw_stream *stream, aqw_fault *fault);

/* Decides W and where the stream ends: fills the summary. */
aqw_status aqw_stream_find_end(aqw_stream *stream, aqw_fault *fault);
/* Finds what that decision rests on. */
aqw_status aqw_stream_find_facts(aqw_stream *stream, aqw_end_facts *facts, aqw_fault *fault);

/* Reports AQW_CORRUPT at a place of segment `index`, with the sequences at stake. */
aqw_status aqw_stream_corrupt(const aqw_stream *stream, uint64_t index, aqw_reason reason,
                              uint64_t offset, uint64_t first_sequence, uint64_t last_sequence,
                              aqw_fault *fault);

#endif
