#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "gate.h"

#include <stddef.h>

int aqw_gate_init(aqw_gate *gate) {
    gate->inside = gate->depth = gate->closer = 0;
    int error = aqw_mutex_init(&gate->mutex);
    return error != 0 ? error : aqw_condition_init(&gate->changed);
}

/* Closed by another thread. Under the mutex. */
static int is_closed(const aqw_gate *gate) { return gate->depth > 0 && gate->closer != aqw_thread_self(); }

void aqw_gate_enter(aqw_gate *gate) {
    if (gate == NULL) return;
    aqw_mutex_lock(&gate->mutex);
    while (is_closed(gate)) aqw_condition_wait(&gate->changed, &gate->mutex);
    gate->inside++;
    aqw_mutex_unlock(&gate->mutex);
}

int aqw_gate_try_enter(aqw_gate *gate) {
    if (gate == NULL) return 1;
    aqw_mutex_lock(&gate->mutex);
    int enters = !is_closed(gate);
    if (enters) gate->inside++;
    aqw_mutex_unlock(&gate->mutex);
    return enters;
}

void aqw_gate_leave(aqw_gate *gate) {
    if (gate == NULL) return;
    aqw_mutex_lock(&gate->mutex);
    gate->inside--;
    aqw_condition_wake_all(&gate->changed);
    aqw_mutex_unlock(&gate->mutex);
}

void aqw_gate_close(aqw_gate *gate) {
    aqw_mutex_lock(&gate->mutex);
    while (is_closed(gate)) aqw_condition_wait(&gate->changed, &gate->mutex);
    gate->depth++;
    gate->closer = aqw_thread_self();
    while (gate->inside > 0) aqw_condition_wait(&gate->changed, &gate->mutex);
    aqw_mutex_unlock(&gate->mutex);
}

void aqw_gate_open(aqw_gate *gate) {
    aqw_mutex_lock(&gate->mutex);
    gate->depth--;
    aqw_condition_wake_all(&gate->changed);
    aqw_mutex_unlock(&gate->mutex);
}
