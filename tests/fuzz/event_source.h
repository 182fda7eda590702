/* Events chosen by an input: all kinds, identifiers from small pools so that they meet, fields that are mostly legal. */
#ifndef FUZZ_EVENT_SOURCE_H
#define FUZZ_EVENT_SOURCE_H

#include "event/event.h"
#include "table/table.h"
#include "fuzz.h"

enum { EVENT_PART_SIZE = 4096, EVENT_LONG_SIZE = 150000 };

/* What an event's fields point into; valid until the next event is taken. */
typedef struct event_memory {
    uint8_t part[EVENT_PART_SIZE];      /* an encoded spec, filter, registration, role or capability */
    uint8_t ids[16 * 18];
    uint8_t text[64];
} event_memory;

/* The next event. Where `table` is not NULL, states and leases are mostly those that the table has, so that it is often accepted.
 * An event may have any code and any text: not each one can be encoded. */
void take_event(input *from, const aqw_table *table, event_memory *memory, uint64_t sequence, aqw_event *event);

/* A task's spec, as fields. Its lists and texts point into `memory`. */
void take_spec(input *from, event_memory *memory, aqw_task_spec *spec);
void take_id(input *from, uint8_t pool, uint8_t id[16]);

#endif
