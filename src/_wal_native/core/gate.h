/* A gate that a fork closes: calls that open or close descriptors pass it side by side, and a fork waits until none is on its way, so
 * that a child can be told of every descriptor that it inherits. For the core's own use and its doors.
 *
 * Who enters must not wait for anybody that may still have to enter. */
#ifndef AQW_GATE_H
#define AQW_GATE_H

#include <stdint.h>

#include "thread.h"

struct aqw_gate {
    aqw_mutex mutex;
    aqw_condition changed;
    uint64_t inside;            /* calls on their way */
    uint64_t depth;             /* how often `closer` has closed it; 0 = open */
    uint64_t closer;            /* the thread that forks */
};
typedef struct aqw_gate aqw_gate;

/* 0, or an errno value. Again in a forked child: there it is open, and nobody is inside. */
int aqw_gate_init(aqw_gate *gate);

/* Waits while another thread has closed it; the closing thread itself passes. NULL is a gate that is always open. */
void aqw_gate_enter(aqw_gate *gate);
/* 1 inside; 0 where that would take waiting. */
int aqw_gate_try_enter(aqw_gate *gate);
void aqw_gate_leave(aqw_gate *gate);

/* Keeps others from entering, and waits until nobody is inside. */
void aqw_gate_close(aqw_gate *gate);
void aqw_gate_open(aqw_gate *gate);

#endif
