/* How far a long call has come, and a way to stop it, for another thread. Every function takes NULL
 * for a call that no thread watches. */
#ifndef AQW_PROGRESS_H
#define AQW_PROGRESS_H

#include <stdint.h>

typedef struct aqw_progress aqw_progress;

/* NULL without memory. */
aqw_progress *aqw_progress_new(void);
void aqw_progress_free(aqw_progress *progress);

/* For the working thread: bytes dealt with since the last call. */
void aqw_progress_add(aqw_progress *progress, uint64_t bytes);
/* For the working thread: how many bytes there will be, as far as it knows. */
void aqw_progress_expect(aqw_progress *progress, uint64_t bytes);
/* Returns 1 where the call must end with AQW_STOPPED: it was canceled, or the question
 * below was answered so. */
int aqw_progress_must_stop(aqw_progress *progress);

/* For the caller, before the call, and with NULL after it: the question that the
 * working thread asks now and then, about every AQW_PROGRESS_ASK_NS. It does not ask
 * again after an answer of 1. */
#define AQW_PROGRESS_ASK_NS 50000000u
typedef int (*aqw_progress_question)(void *context);
void aqw_progress_ask(aqw_progress *progress, aqw_progress_question must_stop, void *context);

/* For the watching thread. */
int aqw_progress_is_canceled(const aqw_progress *progress);
uint64_t aqw_progress_done(const aqw_progress *progress);
uint64_t aqw_progress_total(const aqw_progress *progress);
void aqw_progress_cancel(aqw_progress *progress);

#endif
