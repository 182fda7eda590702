/* Hints that runs will soon change, for callers that know the next ones: in a large table most of
 * the time of a change goes into waiting for the run's index entry, then its row, then what the row
 * leads to. Three steps, each of use only some runs after the one before. They change nothing, and
 * whatever they are given is only a hint. */
#ifndef AQW_TABLE_PREFETCH_H
#define AQW_TABLE_PREFETCH_H

#include <stdint.h>

#include "table/table.h"

/* Fetches the index entry; returns the hash for the next step. */
uint64_t aqw_table_prefetch_entry(const aqw_table *table, const uint8_t run_id[16]);
/* Fetches the row that is likely the run's; returns its number, or 0. */
uint32_t aqw_table_prefetch_run(const aqw_table *table, uint64_t hash);
/* Fetches what an event of this kind changes besides the row. `row` is what the step
 * before returned. */
void aqw_table_prefetch_links(const aqw_table *table, uint32_t row, uint8_t event_kind);
/* At the run's turn: lets lookups try this row before the index. 0: no row. A walk
 * must end with 0. */
void aqw_table_expect_run(aqw_table *table, uint32_t row);

#endif
