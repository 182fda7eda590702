#include "replay.h"

#include "event.h"
#include "format.h"

aqw_status aqw_replay_record(aqw_table *table, const aqw_record *record, aqw_fault *fault) {
    aqw_event event;
    aqw_reason reason = AQW_REASON_PAYLOAD;
    aqw_status status = aqw_event_decode(record->kind, record->sequence, record->payload, record->payload_size, &event);
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

aqw_status aqw_replay_stream(aqw_stream *stream, aqw_table *table, aqw_replay_counts *counts, aqw_fault *fault) {
    aqw_record record;
    for (;;) {
        aqw_status status = aqw_stream_next(stream, &record, fault);
        if (status == AQW_END) return AQW_OK;
        if (status != AQW_OK) return status;
        counts->records++;
        counts->bytes += record.size;
        if (record.kind >= AQW_KIND_MARKER) continue;
        counts->events++;
        status = aqw_replay_record(table, &record, fault);
        if (status != AQW_OK) return status;
    }
}
