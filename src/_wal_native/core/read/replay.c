#include "read/replay.h"

#include <string.h>

#include "base/bytes.h"
#include "event/event.h"
#include "files/format.h"
#include "read/stream_internal.h"

enum {
    /* bytes between two reports to progress, which may stop the replay */
    PROGRESS_SIZE = 1 << 16,
    RECORDS_AHEAD = 16          /* a fetch from memory takes about as long as applying 16 events */
};

/* What has been fetched ahead of the stream. */
typedef struct lookahead {
    aqw_stream_ahead place;
    uint32_t records;
    uint8_t id[16];             /* the identifier that the last of them begins with */
} lookahead;

/* Returns how much of the payload names places that were not fetched with the record before. Events
 * of a run often follow each other, and a run's creation follows that of its task. */
static uint32_t news(lookahead *ahead, const uint8_t *payload, uint32_t size) {
    if (size < sizeof ahead->id) return size;
    if (aqw_id_equal(ahead->id, payload)) return 0;
    if (size >= 2 * sizeof ahead->id && aqw_id_equal(ahead->id, payload + sizeof ahead->id))
        size = sizeof ahead->id;
    memcpy(ahead->id, payload, sizeof ahead->id);
    return size;
}

static void look_ahead(const aqw_stream *stream, const aqw_table *table, lookahead *ahead) {
    const uint8_t *payload = NULL;
    uint8_t kind = 0;
    uint32_t size = 0;
    while (ahead->records < RECORDS_AHEAD &&
           aqw_stream_peek(stream, &ahead->place, &kind, &payload, &size)) {
        size = news(ahead, payload, size);
        if (size > 0) aqw_table_fetch(table, kind, payload, size);
        ahead->records++;
    }
    if (ahead->records > 0) ahead->records--;
}

/* The record's checksum is right, so a library has written it, and a newer one. */
static aqw_status newer_kind(const aqw_record *record, aqw_fault *fault) {
    aqw_fault_set(fault, AQW_UNSUPPORTED_FORMAT, NULL);
    fault->event_kind = record->kind;
    fault->segment = record->segment_number;
    fault->offset = record->position;
    fault->first_sequence = fault->last_sequence = record->sequence;
    return AQW_UNSUPPORTED_FORMAT;
}

aqw_status aqw_replay_record(aqw_table *table, const aqw_record *record, aqw_fault *fault) {
    if (record->kind > AQW_EVENT_KIND_LAST) return newer_kind(record, fault);
    aqw_event event;
    aqw_reason reason = AQW_REASON_PAYLOAD;
    aqw_status status = aqw_event_decode(record->kind, record->sequence, record->payload,
                                         record->payload_size, &event);
    if (status == AQW_OK) {
        reason = AQW_REASON_REFUSED_EVENT;
        status = aqw_table_apply(table, &event);
    }
    if (status == AQW_OK) return AQW_OK;
    if (status == AQW_NO_MEMORY) return aqw_fault_set(fault, AQW_NO_MEMORY, NULL);
    aqw_fault_corrupt(fault, reason, NULL, record->segment_number, record->position);
    fault->refusal = (int)status;
    fault->first_sequence = fault->last_sequence = record->sequence;
    return AQW_CORRUPT;
}

aqw_status aqw_replay_stream(aqw_stream *stream, aqw_table *table, aqw_replay_counts *counts,
                             aqw_progress *progress, aqw_fault *fault) {
    aqw_record record;
    const uint64_t present = aqw_table_latest_sequence(table);
    uint64_t reported = counts->bytes;
    lookahead ahead = {{0, 0}, 0, {0}};
    for (;;) {
        look_ahead(stream, table, &ahead);
        aqw_status status = aqw_stream_next(stream, &record, fault);
        if (status == AQW_END) {
            aqw_progress_add(progress, counts->bytes - reported);
            return AQW_OK;
        }
        if (status != AQW_OK) return status;
        counts->records++;
        counts->bytes += record.size;
        if (record.sequence > present) counts->replayed_bytes += record.size;
        if (counts->bytes - reported >= PROGRESS_SIZE) {
            aqw_progress_add(progress, counts->bytes - reported);
            reported = counts->bytes;
            if (aqw_progress_must_stop(progress)) return aqw_fault_set(fault, AQW_STOPPED, NULL);
        }
        if (record.kind >= AQW_KIND_MARKER || record.sequence <= present) continue;
        counts->events++;
        status = aqw_replay_record(table, &record, fault);
        if (status == AQW_UNSUPPORTED_FORMAT) aqw_fault_name(fault, stream->directory);
        if (status != AQW_OK) return status;
    }
}
