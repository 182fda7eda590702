/* A log with a store: a replicated engine that has to have an event before it counts as durable. The
 * log itself is then the outbox of what is on its way there, and a copy of what is there.
 *
 * One thread ships: it takes what waits, hands it to the engine, and says when the engine has it.
 * That takes the place of syncs: the log syncs its own files only before it leaves a segment and
 * when it closes. Callers wait for the store in the row in which they would wait for a sync. */
#ifndef AQW_LOG_STORE_H
#define AQW_LOG_STORE_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "write/log.h"

/* Says what the store has when the log begins: no more than the log. Before any append. */
void aqw_log_ship_from(aqw_log *log, uint64_t sequence);
/* Waits until a caller wants events to be durable, or the policy does, or the deadline has come.
 * Then writes what was appended to the segment; *sequence is the last event's. Returns AQW_END
 * where nothing waits for the store, AQW_CLOSED after aqw_log_ship_stop, AQW_POISONED. For the one
 * thread that ships, as the next two. */
aqw_status aqw_log_ship_begin(aqw_log *log, uint64_t deadline_ns, uint64_t *sequence,
                              aqw_fault *fault);
/* The store has every event up to this one: wakes those that wait for them. */
void aqw_log_ship_end(aqw_log *log, uint64_t sequence);
/* The store will never take another event from this log: poisons it. */
void aqw_log_ship_fail(aqw_log *log);
/* Nothing ships any more: ends aqw_log_ship_begin. Those that wait for the store get AQW_CLOSED,
 * and the log closes without it. */
void aqw_log_ship_stop(aqw_log *log);

/* Returns the moment of the monotonic clock that comes after as many nanoseconds. */
uint64_t aqw_log_moment_after(uint64_t nanoseconds);

/* Appends wait after this moment of the monotonic clock: another writer may have the store then, or
 * it is too far behind. */
void aqw_log_append_until(aqw_log *log, uint64_t moment_ns);
/* Returns 1 where appends wait now. */
int aqw_log_store_holds(const aqw_log *log);
/* Waits while they do, but no longer than a tenth of a second. Returns AQW_POISONED, AQW_CLOSED. */
aqw_status aqw_log_store_hold(aqw_log *log, aqw_fault *fault);

#endif
