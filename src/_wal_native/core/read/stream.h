/* Reading a log back: the one reader of segments and ring, for recovery and for the tools that only
 * look. The rules are those of format.h, "READING". A stream writes and creates nothing. */
#ifndef AQW_STREAM_H
#define AQW_STREAM_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/record.h"
#include "files/segment.h"
#include "files/window.h"
#include "os/io.h"
#include "os/progress.h"
#include "read/end_cases.h"

typedef struct aqw_stream aqw_stream;

/* A snapshot that was loaded: the stream need not go back further, and must not end before it. */
typedef struct aqw_stream_base {
    uint8_t log_uuid[16];
    uint64_t sequence;
} aqw_stream_base;

/* What an open stream knows. */
typedef struct aqw_stream_summary {
    uint64_t segments;              /* that the stream reads */
    uint64_t ignored_segments;      /* older ones, which the base covers wholly */
    uint64_t base_sequence;         /* of the snapshot, 0 without one */
    uint64_t first_sequence;        /* of the oldest read: at most base_sequence + 1 */
    uint64_t last_sequence;         /* of the last event that counts, 0 without an event */
    uint64_t durable_sequence;      /* W */
    int is_clean;                   /* ends with a close marker that covers everything */
    uint64_t end;                   /* position in the newest segment where the stream ends */
    uint32_t ordinal;               /* events in the newest segment, up to there */
    uint64_t durable_end;           /* position after the last event or whole batch up to W */
    uint64_t durable_last_sequence; /* that event's sequence */
    uint64_t ring_events;           /* events that only the ring has */
    uint64_t dropped_from;          /* bytes of the newest segment that don't count: from here, */
    uint64_t dropped_bytes;         /* up to the last that is not zero; 0: none */
    uint64_t dropped_events;        /* whole events seen among what is dropped (segment or ring) */
    int ring_has_dropped;           /* 1 where some of them are in the ring */
    int drop_reason;                /* aqw_reason: torn, or batch for an unfinished one */
} aqw_stream_summary;

/* Opens the log in a queue's directory and decides where it ends. With a base (NULL: none) it
 * ignores segments that lie wholly at or below the base's sequence, whether they are there or not.
 * Returns AQW_NOT_A_QUEUE where there is no segment, no ring and no snapshot, not even a damaged
 * one; AQW_CORRUPT, AQW_UNSUPPORTED_FORMAT, AQW_IO_ERROR or AQW_NO_MEMORY, as the fault says;
 * AQW_STOPPED where the progress (NULL: none) says so. */
aqw_status aqw_stream_open(const aqw_io *io, const char *directory, const aqw_stream_base *base,
                           aqw_progress *progress, aqw_stream **stream, aqw_fault *fault);
void aqw_stream_free(aqw_stream *stream);

/* Gives the facts on which aqw_stream_open decides, even for a log that it refuses because of where
 * the log ends. Fails as aqw_stream_open does, except for that decision. */
aqw_status aqw_stream_end_facts(const aqw_io *io, const char *directory,
                                const aqw_stream_base *base, aqw_end_facts *facts,
                                aqw_fault *fault);

const aqw_stream_summary *aqw_stream_summary_of(const aqw_stream *stream);
/* The newest segment's header. */
const aqw_segment_header *aqw_stream_newest(const aqw_stream *stream);
/* The header of segment `index` from 0, oldest first. */
const aqw_segment_header *aqw_stream_segment(const aqw_stream *stream, uint64_t index);

/* Gives the next record that counts, markers and pads included; it points into the stream's memory
 * until the next call. Returns AQW_END after the last. The stream meets damage in an older segment,
 * and reports it, when it gets there. */
aqw_status aqw_stream_next(aqw_stream *stream, aqw_record *record, aqw_fault *fault);
/* A place ahead of the next record, for aqw_stream_peek: zeros at first. */
typedef struct aqw_stream_ahead {
    uint64_t index;
    uint64_t position;
} aqw_stream_ahead;

/* Returns 1 with the kind and the payload of what seems to be the record at the place, in the same
 * segment, and moves the place after it. For fetching what applying the record will need: it
 * verifies nothing. Returns 0 where nothing lies there. A place that the stream has passed, or that
 * is in another segment, moves to the next record first. */
int aqw_stream_peek(const aqw_stream *stream, aqw_stream_ahead *ahead, uint8_t *kind,
                    const uint8_t **payload, uint32_t *size);
/* Starts over, at the position in the newest segment after the durable events: what a
 * new segment must hold. */
void aqw_stream_seek_durable_end(aqw_stream *stream);

/* The ring's history, 16 bytes; NULL where the ring is missing, or is a copy. */
const uint8_t *aqw_stream_history(const aqw_stream *stream);
/* The bytes of the newest segment, and the ring's data, for quarantine. They stay the stream's. */
aqw_window *aqw_stream_segment_bytes(aqw_stream *stream);
aqw_window *aqw_stream_ring_data(aqw_stream *stream);

#endif
