#include "table/prefetch.h"

#include "table/internal.h"

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(address) __builtin_prefetch((address), 1)
#else
#define PREFETCH(address) ((void)(address))
#endif

#define CACHE_LINE 64

uint64_t aqw_table_prefetch_entry(const aqw_table *table, const uint8_t run_id[16]) {
    uint64_t hash = aqw_hash_id(&table->hash_key, run_id);
    aqw_map_fetch(&table->maps[AQW_ROW_RUN], hash);
    return hash;
}

uint32_t aqw_table_prefetch_run(const aqw_table *table, uint64_t hash) {
    aqw_map_probe probe;
    aqw_map_find(&table->maps[AQW_ROW_RUN], hash, &probe);
    uint32_t row = aqw_map_next(&table->maps[AQW_ROW_RUN], &probe);
    if (!row) return 0;
    const uint8_t *run = aqw_row_at(table, AQW_ROW_RUN, row);
    PREFETCH(run);      /* a row begins anywhere in a line, and may end in the third */
    PREFETCH(run + CACHE_LINE);
    PREFETCH(run + sizeof(aqw_run_row) - 1);
    return row;
}

void aqw_table_prefetch_links(const aqw_table *table, uint32_t row, uint8_t event_kind) {
    if (!row) return;
    const aqw_run_row *run = aqw_run_at(table, row);
    switch (event_kind) {
    case AQW_RUN_STATE_CHANGED:
        if (run->last_history) PREFETCH(aqw_row_at(table, AQW_ROW_HISTORY, run->last_history));
        break;
    case AQW_ATTEMPT_STARTED:
    case AQW_ATTEMPT_FINISHED:
        if (run->last_attempt) PREFETCH(aqw_attempt_at(table, run->last_attempt));
        break;
    case AQW_LEASE_HEARTBEAT:
        if (run->lease) PREFETCH(run->lease);
        break;
    default: break;
    }
}

void aqw_table_expect_run(aqw_table *table, uint32_t row) { table->expected_run = row; }
