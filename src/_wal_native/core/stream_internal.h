/* The inside of a stream, for stream.c and stream_end.c. */
#ifndef AQW_STREAM_INTERNAL_H
#define AQW_STREAM_INTERNAL_H

#include "limits.h"
#include "ring.h"
#include "stream.h"

struct aqw_stream {
    aqw_io io;
    char directory[AQW_PATH_SIZE_MAX];
    aqw_segment_header *segments;   /* oldest first */
    uint64_t segment_count, segment_capacity;
    aqw_ring_image ring;
    aqw_stream_summary summary;

    uint8_t *newest;                /* the newest segment, whole */
    uint8_t *older;                 /* the older segment that is being read, up to its end */
    uint64_t older_capacity;
    uint8_t *scratch;               /* ring.size bytes: a ring record that wraps around */

    uint64_t index;                 /* segment that is being read */
    int is_loaded;                  /* `older` holds segment `index` */
    int in_batch;
    uint64_t position;
    uint32_t ordinal;
};

/* Where a record of the newest segment was found. */
typedef enum { SOURCE_NONE, SOURCE_SEGMENT, SOURCE_RING } aqw_source;

/* The record at a position of the newest segment by the rule of format.h, READING 4, given W. The ring's only above W. */
aqw_source aqw_stream_choose(aqw_stream *stream, uint64_t position, uint32_t ordinal, uint64_t durable, aqw_record *record);

/* 1 where the ring holds a record of the newest segment for this position, with an ordinal in this range. Adds the bytes that it took to
 * tell to *cost: whoever scans keeps within a bound. */
int aqw_stream_ring_record(aqw_stream *stream, uint64_t position, uint32_t ordinal_min, uint32_t ordinal_max, uint64_t *cost,
                           aqw_record *record);

/* The steps of aqw_stream_open, for it and for salvage. A new stream knows its directory and nothing else. */
aqw_status aqw_stream_new(const aqw_io *io, const char *directory, aqw_stream **stream, aqw_fault *fault);
/* The names of the segments, in order of number. */
aqw_status aqw_stream_list(aqw_stream *stream, aqw_fault *fault);
/* The header of segment `index`, by itself. */
aqw_status aqw_stream_load_header(aqw_stream *stream, uint64_t index, aqw_fault *fault);
/* The bytes of the last segment, and room for a ring record. */
aqw_status aqw_stream_load_newest(aqw_stream *stream, aqw_fault *fault);

/* Decides W and where the stream ends: fills the summary. */
aqw_status aqw_stream_find_end(aqw_stream *stream, aqw_fault *fault);

/* AQW_CORRUPT at a place of segment `index`, with the sequences at stake. */
aqw_status aqw_stream_corrupt(const aqw_stream *stream, uint64_t index, aqw_reason reason, uint64_t offset,
                              uint64_t first_sequence, uint64_t last_sequence, aqw_fault *fault);

#endif
