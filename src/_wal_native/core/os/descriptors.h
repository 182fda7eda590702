/* The descriptors that io_posix.c has open. A forked child closes its copies at once, whichever
 * code called fork and whatever the parent's other threads were doing: a child must not keep a
 * queue's lock, and has no use for the rest.
 *
 * The list belongs to the process (one for each copy of the core that is linked in), not to a
 * log, because a fork is the process's. One mutex guards it, held over single calls of open
 * and close, and by a fork. */
#ifndef AQW_DESCRIPTORS_H
#define AQW_DESCRIPTORS_H

#include <dirent.h>

/* openat with mode 0600. Returns the descriptor, or -1 with errno. */
int aqw_descriptor_open(int parent, const char *name, int how);
/* Returns 0 or an errno value. EBADF for a descriptor that was not opened here, such as one from
 * before a fork: it stays as it is. */
int aqw_descriptor_close(int descriptor);
/* Closes a stream over one of these descriptors, and the descriptor with it. */
void aqw_descriptor_close_stream(DIR *stream);

#endif
