/* Has this process been forked off since? A handle notes the generation when it is opened, and compares it on every entry
 * before it touches a lock: a child's copy of a lock may be held by a thread that does not exist there. */
#ifndef AQW_FORK_H
#define AQW_FORK_H

#include <stdint.h>

/* Begins to count forks in this process and its children. Called once, when the library is loaded; 0 or an errno value. */
int aqw_fork_watch(void);
/* How many forks lie between the process that was watched first and this one. */
uint64_t aqw_fork_generation(void);

#endif
