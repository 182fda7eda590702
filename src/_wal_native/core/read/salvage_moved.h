/* Shows the files that a repair moved to quarantine/ under the names that they had, so that what
 * reads a log reads them as one. Private to salvage. */
#ifndef AQW_SALVAGE_MOVED_H
#define AQW_SALVAGE_MOVED_H

#include "os/io.h"

typedef struct aqw_moved_files {
    const aqw_io *io;
    const char *directory;
    const char *prefix;         /* "repair-<id>-" */
} aqw_moved_files;

/* Fills a table with the functions that reading takes, on top of `io`; all three
 * arguments must outlive it. */
void aqw_moved_view(aqw_io *view, aqw_moved_files *files, const aqw_io *io, const char *directory,
                    const char *prefix);

#endif
