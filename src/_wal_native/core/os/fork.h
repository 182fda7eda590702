/* Tells whether this process was forked off since a handle was opened. A handle notes the
 * generation when it is opened, and compares it on every entry before it touches a lock: in a
 * child, a thread that does not exist there may hold the child's copy of a lock. */
#ifndef AQW_FORK_H
#define AQW_FORK_H

#include <stdint.h>

/* Begins to count forks in this process and its children. The library calls it once, when it is
 * loaded. Returns 0 or an errno value. */
int aqw_fork_watch(void);
/* Returns how many forks lie between the process that was watched first and this one. */
uint64_t aqw_fork_generation(void);

#endif
