#include "base/fault.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [AQW_REASON_NONE] = "none",
    [AQW_REASON_HEADER_INVALID] = "header_invalid",
    [AQW_REASON_HEADER_COPIES] = "header_copies_differ",
    [AQW_REASON_FILE_SIZE] = "file_size",
    [AQW_REASON_OTHER_LOG] = "other_log",
    [AQW_REASON_SEGMENT_MISSING] = "segment_missing",
    [AQW_REASON_SEGMENT_DUPLICATE] = "segment_duplicate",
    [AQW_REASON_LINK] = "link",
    [AQW_REASON_RING_MISSING] = "ring_missing",
    [AQW_REASON_RECORD_INVALID] = "record_invalid",
    [AQW_REASON_RECORD_COUNT] = "record_count",
    [AQW_REASON_BATCH] = "batch",
    [AQW_REASON_PAYLOAD] = "payload",
    [AQW_REASON_REFUSED_EVENT] = "refused_event",
    [AQW_REASON_HISTORY_MISSING] = "history_missing",
    [AQW_REASON_DIRECTORY] = "directory",
    [AQW_REASON_TORN] = "torn",
    [AQW_REASON_SNAPSHOT] = "snapshot_invalid",
    [AQW_REASON_SNAPSHOT_AHEAD] = "snapshot_ahead",
    [AQW_REASON_UNREADABLE] = "unreadable",
};

const char *aqw_reason_name(int reason) {
    if (reason < 0 || (size_t)reason >= sizeof names / sizeof names[0]) return "unknown";
    return names[reason];
}

aqw_status aqw_fault_set(aqw_fault *fault, aqw_status status, const char *path) {
    memset(fault, 0, sizeof *fault);
    fault->status = (int)status;
    if (path != NULL) aqw_fault_name(fault, path);
    return status;
}

void aqw_fault_name(aqw_fault *fault, const char *path) {
    snprintf(fault->path, sizeof fault->path, "%.*s", (int)sizeof fault->path - 1, path);
}

aqw_status aqw_fault_io(aqw_fault *fault, const char *operation, const char *path,
                        int system_error) {
    aqw_fault_set(fault, AQW_IO_ERROR, path);
    fault->operation = operation;
    fault->system_error = system_error;
    return AQW_IO_ERROR;
}

aqw_status aqw_fault_corrupt(aqw_fault *fault, aqw_reason reason, const char *path,
                             uint64_t segment, uint64_t offset) {
    aqw_fault_set(fault, AQW_CORRUPT, path);
    fault->reason = (int)reason;
    fault->segment = segment;
    fault->offset = offset;
    return AQW_CORRUPT;
}
