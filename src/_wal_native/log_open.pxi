# --- Opening a log --------------------------------------------------------------------------------

cdef dict report_fields(const aqw_recovery_report *report):
    return {
        "is_created": bool(report.is_created),
        "is_clean": bool(report.is_clean),
        "history": (<bytes>report.history[:16]).hex(),
        "segments": report.segments,
        "records": report.records,
        "events": report.events,
        "bytes": report.bytes,
        "replayed_bytes": report.replayed_bytes,
        "last_sequence": report.last_sequence,
        "durable_sequence": report.durable_sequence,
        "ring_events": report.ring_events,
        "rewritten_events": report.rewritten_events,
        "dropped_bytes": report.dropped_bytes,
        "dropped_events": report.dropped_events,
        "drop_reason": ((<bytes>aqw_reason_name(report.drop_reason)).decode("ascii")
                        if report.drop_reason else None),
        "dropped_segment": report.dropped_segment,
        "dropped_offset": report.dropped_offset,
        "snapshot_sequence": report.snapshot_sequence,
        "snapshots_damaged": report.snapshots_damaged,
        "snapshot_damage": (damage_of(&report.snapshot_damage) if report.snapshots_damaged
                            else None),
    }


cdef int set_policy(aqw_sync_policy *policy, object chosen) except -1:
    memset(policy, 0, sizeof(aqw_sync_policy))
    if chosen is None:
        return 0
    policy.records = chosen.records or 0
    policy.bytes = chosen.bytes or 0
    policy.delay_ns = (chosen.milliseconds or 0) * 1_000_000
    policy.when_ring_fills = chosen.when_ring_fills
    return 0


def open_log(
    str directory, StateTable table not None, *, bint may_create, uint64_t segment_size,
    uint64_t ring_size, uint32_t sector_size, uint64_t now, str holder, object sync=None,
    Progress progress=None, bytes store_log=None, uint64_t batch_size_max=0,
):
    """Open or create the queue in a directory (a real path), and replay it into the empty table.

    With `store_log`, the UUID of a log in a store, events are durable when that store has them: a
    new queue gets that UUID, and `batch_size_max` bounds the bytes of a batch's records.

    Sizes are in bytes, `now` in Unix seconds. `sync` is the SyncPolicy, or None for one that never
    syncs. Returns the log, and the recovery report as a dict.

    In the main thread, signals' handlers run now and then. What a handler raises ends the recovery,
    and is raised.

    Raises:
        OpenError: The queue does not open; the error's class says why.
        ValueError: An option is out of range.
        StoppedError: `progress` was canceled.
        MemoryError: There is no memory for the table.
    """
    cdef aqw_recovery_options options
    cdef aqw_recovery_report report
    cdef aqw_fault fault
    cdef aqw_status status
    cdef bytes path = os.fsencode(directory)
    cdef bytes holder_text = holder.encode()
    cdef const char *c_path = path
    cdef Log log = Log.__new__(Log)
    log.table = table
    log.encoder = EventEncoder()
    log.quick = EventEncoder()
    options.log.segment_size_max = segment_size
    options.log.ring_size = ring_size
    options.log.sector_size = sector_size
    options.log.now = now
    set_policy(&options.log.sync, sync)
    if store_log is not None and len(store_log) != 16:
        raise ValueError("store_log is a UUID's 16 bytes")
    options.log.has_store = log.has_store = store_log is not None
    options.log.batch_size_max = log.batch_size_max = batch_size_max
    options.log_uuid = NULL
    if store_log is not None:
        options.log_uuid = <const uint8_t *><const char *>store_log
    options.may_create = may_create
    options.holder = holder_text
    cdef list raised = []
    if progress is None:
        progress = Progress()
    options.progress = progress.progress
    open_logs.add(log)      # first, so that a child that is forked right after the call knows it
    watch_for_signals(progress, raised)
    with nogil:
        status = aqw_recover(
            aqw_io_system(), c_path, &options, table.table, &log.log, &report, &fault)
    end_the_watch(progress, raised)
    if status != AQW_OK:
        raise_open_fault(&fault)
    return log, report_fields(&report)
