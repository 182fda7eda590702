/* The descriptors that io_posix.c has open. A forked child closes its copies at once, whoever called fork and whatever the parent's other
 * threads were doing: a child must not keep a queue's lock, and has no use for the rest.
 *
 * This is kept for the process (for each copy of the core that is linked in), not for a log, because a fork is the process's. It is
 * guarded by one mutex, which is held over single calls of open and close, and by a fork. */
#ifndef AQW_DESCRIPTORS_H
#define AQW_DESCRIPTORS_H

#include <dirent.h>

/* openat with mode 0600. The descriptor, or -1 with errno. */
int aqw_descriptor_open(int parent, const char *name, int how);
/* 0 or an errno value. EBADF for one that was not opened here, as is what a handle from before a fork names: that is left alone. */
int aqw_descriptor_close(int descriptor);
/* Closes a stream over one of these descriptors, and the descriptor with it. */
void aqw_descriptor_close_stream(DIR *stream);

#endif
