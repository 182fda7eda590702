/* A batch under construction: events encoded one after the other as records that have no
 * position yet. One event is a batch of one. The log gives positions, flags and checksums
 * when it appends the batch. */
#ifndef AQW_BATCH_H
#define AQW_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "event/event.h"
#include "files/record.h"

typedef struct aqw_batch {
    uint8_t *data;
    size_t size;                /* bytes of the records so far */
    size_t capacity;
    uint32_t count;
    uint64_t first_sequence;    /* of the first event; the others follow without a gap */
} aqw_batch;

void aqw_batch_init(aqw_batch *batch);
void aqw_batch_free(aqw_batch *batch);
/* Forgets the records and keeps the memory, unless it was a large batch's. */
void aqw_batch_reset(aqw_batch *batch);

/* Adds an event. Returns AQW_REFUSED_SEQUENCE where its sequence is not the next, AQW_TOO_LARGE
 * over a limit of limits.h, AQW_MALFORMED_EVENT or AQW_NO_MEMORY; the batch is unchanged then. */
aqw_status aqw_batch_add(aqw_batch *batch, const aqw_event *event);
/* The same for an event whose bytes may change meanwhile, as those of a caller's array: a lease's
 * heartbeat or an attempt's end, which then has the bytes in the batch. They stay there until the
 * next call. AQW_MALFORMED_EVENT also where what was encoded is no valid event any more. */
aqw_status aqw_batch_add_own(aqw_batch *batch, aqw_event *event);
/* Takes the last record out again; `size` is what the batch's size was before the record. */
void aqw_batch_take_back(aqw_batch *batch, size_t size);
/* Adds a payload that is already encoded (recovery copies records with it). */
aqw_status aqw_batch_add_payload(aqw_batch *batch, uint64_t sequence, uint8_t kind,
                                 const uint8_t *payload, uint32_t size);

/* Writes flags, ordinals, lags and checksums for records that begin at `position`. The events'
 * ordinals begin at `ordinal`; `durable` is the sequence for the watermark. */
void aqw_batch_seal(aqw_batch *batch, const aqw_place *place, uint64_t position, uint32_t ordinal,
                    uint64_t durable);

#endif
