/* Loops over parts of the C core, for test_core.py: a part takes nanoseconds, so what is timed is many of it in one call. */
#include <stdlib.h>
#include <string.h>

#include "write/batch.h"
#include "base/crc32c.h"
#include "event/event.h"
#include "files/record.h"
#include "files/ring.h"
#include "table/table.h"

#include "loops.h"

#define BATCH_EVENTS 100
#define RING_SIZE 1048576
#define EXPIRY 1000

struct loop_table {
    aqw_table *table;
    uint32_t runs;
    uint64_t sequence;
    uint64_t expiry;
    uint32_t next;
    uint32_t created;
};

/* Identifiers that look random, and the same ones each time. */
static uint64_t mixed(uint64_t number) {
    number += 0x9E3779B97F4A7C15u;
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9u;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EBu;
    return number ^ (number >> 31);
}

static void id_of(uint8_t id[16], uint32_t number, uint32_t kind) {
    uint64_t halves[2] = {mixed(2u * (uint64_t)number + ((uint64_t)kind << 40)), mixed(2u * (uint64_t)number + 1u)};
    memcpy(id, halves, sizeof halves);
}

static aqw_event transition(uint64_t sequence, uint32_t run, uint8_t from, uint8_t to) {
    aqw_event event;
    memset(&event, 0, sizeof event);
    event.sequence = sequence;
    event.timestamp = 1;
    event.kind = AQW_RUN_STATE_CHANGED;
    id_of(event.as.run_state_changed.run_id, run, 1);
    event.as.run_state_changed.previous_state = from;
    event.as.run_state_changed.new_state = to;
    return event;
}

uint32_t loop_crc32c(const uint8_t *data, size_t size, uint32_t times) {
    uint32_t sum = 0;
    for (uint32_t number = 0; number < times; number++) {
        sum ^= aqw_crc32c(data, size);
    }
    return sum;
}

int loop_frame(uint32_t times) {
    aqw_batch batch;
    aqw_place place;
    aqw_status status = AQW_OK;
    memset(&place, 0, sizeof place);
    place.first_sequence = 1;
    aqw_place_seed(&place);
    aqw_batch_init(&batch);
    for (uint32_t number = 0; number < times && status == AQW_OK; number++) {
        aqw_event event = transition(number + 1, number, AQW_SCHEDULED, AQW_READY);
        status = aqw_batch_add(&batch, &event);
        if (batch.count == BATCH_EVENTS) {
            aqw_batch_seal(&batch, &place, 8192, number + 1 - BATCH_EVENTS, 0);
            aqw_batch_reset(&batch);
        }
    }
    aqw_batch_free(&batch);
    return (int)status;
}

int loop_ring_put(const uint8_t *data, uint64_t size, uint32_t times) {
    aqw_ring ring;
    uint64_t position = 0;
    memset(&ring, 0, sizeof ring);
    ring.data = malloc(RING_SIZE);
    ring.size = RING_SIZE;
    if (ring.data == NULL) {
        return (int)AQW_NO_MEMORY;
    }
    for (uint32_t number = 0; number < times; number++) {
        aqw_ring_put(&ring, position, data, size);
        position += size;
    }
    free(ring.data);
    return (int)AQW_OK;
}

int loop_encode(uint32_t times) {
    uint8_t payload[256];
    size_t size = 0;
    aqw_status status = AQW_OK;
    for (uint32_t number = 0; number < times && status == AQW_OK; number++) {
        aqw_event event = transition(number + 1, number, AQW_SCHEDULED, AQW_READY);
        status = aqw_event_encode(&event, payload, sizeof payload, &size);
    }
    return (int)status;
}

int loop_decode(uint32_t times) {
    uint8_t payload[256];
    size_t size = 0;
    aqw_event event = transition(1, 1, AQW_SCHEDULED, AQW_READY);
    aqw_status status = aqw_event_encode(&event, payload, sizeof payload, &size);
    for (uint32_t number = 0; number < times && status == AQW_OK; number++) {
        status = aqw_event_decode(AQW_RUN_STATE_CHANGED, number + 1, payload, size, &event);
    }
    return (int)status;
}

static aqw_event lease_of(const loop_table *loop, uint32_t run, uint8_t kind) {
    static const uint8_t owner[] = "worker-0001";
    aqw_event event;
    memset(&event, 0, sizeof event);
    event.sequence = loop->sequence + 1;
    event.timestamp = 1;
    event.kind = kind;
    id_of(event.as.lease.run_id, run, 1);
    event.as.lease.owner.data = owner;
    event.as.lease.owner.size = sizeof owner - 1;
    event.as.lease.expiry = loop->expiry;
    return event;
}

static aqw_status apply(loop_table *loop, const aqw_event *event) {
    aqw_status status = aqw_table_apply(loop->table, event);
    loop->sequence += status == AQW_OK;
    return status;
}

/* One task with a run that is leased. */
static aqw_status add_run(loop_table *loop, uint32_t run, aqw_bytes spec) {
    aqw_event event;
    aqw_status status;
    memset(&event, 0, sizeof event);
    event.kind = AQW_TASK_CREATED;
    event.sequence = loop->sequence + 1;
    id_of(event.as.task_created.task_id, run, 0);
    event.as.task_created.spec = spec;
    status = apply(loop, &event);
    if (status == AQW_OK) {
        memset(&event, 0, sizeof event);
        event.kind = AQW_RUN_CREATED;
        event.sequence = loop->sequence + 1;
        id_of(event.as.run_created.run_id, run, 1);
        id_of(event.as.run_created.task_id, run, 0);
        status = apply(loop, &event);
    }
    if (status == AQW_OK) {
        event = transition(loop->sequence + 1, run, AQW_SCHEDULED, AQW_READY);
        status = apply(loop, &event);
    }
    if (status == AQW_OK) {
        event = lease_of(loop, run, AQW_LEASE_ACQUIRED);
        status = apply(loop, &event);
    }
    if (status == AQW_OK) {
        event = transition(loop->sequence + 1, run, AQW_READY, AQW_LEASED);
        status = apply(loop, &event);
    }
    return status;
}

loop_table *loop_table_new(uint32_t runs) {
    static const uint8_t payload[100], seed[16];
    aqw_task_spec spec;
    uint8_t encoded[256];
    aqw_bytes bytes = {encoded, 0};
    size_t size = 0;
    loop_table *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    memset(&spec, 0, sizeof spec);
    spec.payload.data = payload;
    spec.payload.size = sizeof payload;
    spec.max_attempts = 1;
    loop->table = aqw_table_new(NULL, seed);
    loop->runs = runs;
    loop->expiry = EXPIRY;
    if (loop->table == NULL || aqw_task_spec_encode(&spec, encoded, sizeof encoded, &size) != AQW_OK) {
        loop_table_free(loop);
        return NULL;
    }
    bytes.size = (uint32_t)size;
    for (uint32_t run = 0; run < runs; run++) {
        if (add_run(loop, run, bytes) != AQW_OK) {
            loop_table_free(loop);
            return NULL;
        }
    }
    return loop;
}

void loop_table_free(loop_table *loop) {
    aqw_table_free(loop->table);
    free(loop);
}

int loop_table_apply(loop_table *loop, uint32_t times) {
    aqw_status status = AQW_OK;
    for (uint32_t number = 0; number < times && status == AQW_OK; number++) {
        uint32_t run = (uint32_t)(mixed(loop->next++) % loop->runs);
        aqw_event event;
        loop->expiry++;
        event = lease_of(loop, run, AQW_LEASE_HEARTBEAT);
        status = apply(loop, &event);
    }
    return (int)status;
}

int loop_table_create(loop_table *loop, uint32_t times) {
    aqw_status status = AQW_OK;
    aqw_event event;
    memset(&event, 0, sizeof event);
    event.kind = AQW_RUN_CREATED;
    id_of(event.as.run_created.task_id, 0, 0);
    for (uint32_t number = 0; number < times && status == AQW_OK; number++) {
        event.sequence = loop->sequence + 1;
        id_of(event.as.run_created.run_id, loop->runs + loop->created++, 1);
        status = apply(loop, &event);
    }
    return (int)status;
}

uint32_t loop_table_find(loop_table *loop, uint32_t times) {
    uint32_t found = 0;
    for (uint32_t number = 0; number < times; number++) {
        uint8_t id[16];
        id_of(id, (uint32_t)(mixed(loop->next++) % loop->runs), 1);
        found += aqw_table_find_run(loop->table, id) != 0;
    }
    return found;
}
