/* What write/ checks of itself in builds with assertions. */
#ifndef AQW_LOG_CHECK_H
#define AQW_LOG_CHECK_H

#include "write/log_internal.h"

/* Returns 1 where the calling thread has the right to sync. */
int aqw_log_may_sync(const aqw_log *log);
/* The calling thread has taken the right to sync, or gives it up. */
void aqw_log_note_sync(aqw_log *log, int begins);
/* Returns 1 where no other thread can change the segment, because the caller has one
 * of the three locks. */
int aqw_log_segment_is_held(aqw_log *log);
/* Returns 1 where the caller has the three locks, all of which it takes to change the segment. */
int aqw_log_is_held_whole(aqw_log *log);
/* Returns 1 where the caller has none of the log's mutexes: it is about to wait for
 * the disk or for a thread. */
int aqw_log_is_unlocked(aqw_log *log);

/* Checks the log's positions against each other. Under the append lock. Returns 1: where something
 * is wrong, an assertion inside says what. */
int aqw_log_check(aqw_log *log);

#endif
