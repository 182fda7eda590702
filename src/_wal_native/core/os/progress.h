/* How far a long call has come, and a way to stop it, for another thread. Every function takes NULL for "nobody looks". */
#ifndef AQW_PROGRESS_H
#define AQW_PROGRESS_H

#include <stdint.h>

typedef struct aqw_progress aqw_progress;

/* NULL without memory. */
aqw_progress *aqw_progress_new(void);
void aqw_progress_free(aqw_progress *progress);

/* Who works: bytes dealt with since the last call. */
void aqw_progress_add(aqw_progress *progress, uint64_t bytes);
/* Who works: how many bytes there will be, as far as is known. */
void aqw_progress_expect(aqw_progress *progress, uint64_t bytes);
/* 1 where the call is to end with AQW_STOPPED: it was canceled, or the question below is answered so. */
int aqw_progress_must_stop(aqw_progress *progress);

/* Who makes the call, before it, and with NULL after it: what is to be asked now and then in the thread that works, about every
 * AQW_PROGRESS_ASK_NS. Once it has answered 1 it is not asked again. */
#define AQW_PROGRESS_ASK_NS 50000000u
typedef int (*aqw_progress_question)(void *context);
void aqw_progress_ask(aqw_progress *progress, aqw_progress_question must_stop, void *context);

/* Who looks. */
int aqw_progress_is_canceled(const aqw_progress *progress);
uint64_t aqw_progress_done(const aqw_progress *progress);
uint64_t aqw_progress_total(const aqw_progress *progress);
void aqw_progress_cancel(aqw_progress *progress);

#endif
