"""The C surface, declared once: one section a header, in the order in which the headers include each other."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "base/limits.h" nogil:
    enum:
        AQW_PAYLOAD_SIZE_MAX
        AQW_TEXT_SIZE_MAX
        AQW_LIST_COUNT_MAX
        AQW_DEPARTMENT_SIZE_MAX
        AQW_PURGE_COUNT_MAX


cdef extern from "base/status.h" nogil:
    ctypedef enum aqw_status:
        AQW_OK
        AQW_END
        AQW_NEEDS_ROOM
        AQW_INVALID_ARGUMENT
        AQW_NO_MEMORY
        AQW_TOO_LARGE
        AQW_MALFORMED_EVENT
        AQW_MALFORMED_SNAPSHOT
        AQW_CLOSED
        AQW_POISONED
        AQW_FORKED
        AQW_STOPPED
        AQW_IO_ERROR
        AQW_NO_SPACE
        AQW_LOCKED
        AQW_CORRUPT
        AQW_UNSUPPORTED_FORMAT
        AQW_NOT_A_QUEUE
        AQW_COMPACTED
        AQW_DISPLACED
        AQW_HISTORY_CHANGED
        AQW_REFUSED_SEQUENCE
        AQW_REFUSED_UNKNOWN_TASK
        AQW_REFUSED_TASK_EXISTS
        AQW_REFUSED_TASK_CANCELED
        AQW_REFUSED_UNKNOWN_RUN
        AQW_REFUSED_RUN_EXISTS
        AQW_REFUSED_PREVIOUS_STATE
        AQW_REFUSED_TRANSITION
        AQW_REFUSED_ATTEMPT_ACTIVE
        AQW_REFUSED_ATTEMPT_STATE
        AQW_REFUSED_ATTEMPT_ALREADY_ACTIVE
        AQW_REFUSED_ATTEMPT_REUSED
        AQW_REFUSED_ATTEMPT_COUNT
        AQW_REFUSED_ATTEMPT_MISSING
        AQW_REFUSED_ATTEMPT_MISMATCH
        AQW_REFUSED_LEASE_STATE
        AQW_REFUSED_LEASE_ACTIVE
        AQW_REFUSED_LEASE_MISSING
        AQW_REFUSED_LEASE_OWNER
        AQW_REFUSED_LEASE_EXPIRY
        AQW_REFUSED_LEASE_REGRESSION
        AQW_REFUSED_ENGINE_PAUSED
        AQW_REFUSED_ENGINE_NOT_PAUSED
        AQW_REFUSED_RESUME_BEFORE_PAUSE
        AQW_REFUSED_NO_DEPENDENCIES
        AQW_REFUSED_BUDGET_NOT_ALLOCATED
        AQW_REFUSED_SUBSCRIPTION_EXISTS
        AQW_REFUSED_UNKNOWN_SUBSCRIPTION
        AQW_REFUSED_SUBSCRIPTION_CANCELED
        AQW_REFUSED_RUN_NOT_FRESH
        AQW_REFUSED_NOT_FINISHED
        AQW_REFUSED_UNKNOWN_ACTOR
        AQW_REFUSED_UNKNOWN_LEDGER_ENTRY
        AQW_REFUSED_UNKNOWN_TOMBSTONE
        AQW_REFUSED_TASK_FORGOTTEN
        AQW_REFUSED_LAST

    const char *aqw_status_name(int status)


cdef extern from "event/event.h" nogil:
    enum:
        AQW_TASK_CREATED
        AQW_RUN_CREATED
        AQW_RUN_STATE_CHANGED
        AQW_ATTEMPT_STARTED
        AQW_ATTEMPT_FINISHED
        AQW_LEASE_ACQUIRED
        AQW_LEASE_HEARTBEAT
        AQW_LEASE_EXPIRED
        AQW_LEASE_RELEASED
        AQW_RUN_SUSPENDED
        AQW_RUN_RESUMED
        AQW_EVENT_KIND_LAST
        AQW_SCHEDULED
        AQW_RUN_STATE_LAST
        AQW_STATE_NONE
        AQW_SUCCESS
        AQW_FAILURE
        AQW_TIMEOUT
        AQW_RESULT_SUSPENDED
        AQW_ATTEMPT_RESULT_LAST
        AQW_RESULT_NONE
        AQW_BUDGET_DIMENSION_LAST
        AQW_POLICY_ONCE
        AQW_POLICY_REPEAT
        AQW_POLICY_CRON
        AQW_FILTER_TASK_COMPLETED
        AQW_FILTER_RUN_STATE_CHANGED
        AQW_FILTER_BUDGET_THRESHOLD
        AQW_FILTER_CUSTOM
        AQW_ROLE_CUSTOM
        AQW_CAPABILITY_CUSTOM

    ctypedef struct aqw_bytes:
        const uint8_t *data
        uint32_t size

    # Of the members of aqw_event.as, those that are read by name. Their types follow from events.def.
    ctypedef struct aqw_event_run_created:
        uint8_t run_id[16]
        uint8_t task_id[16]
        uint64_t created_at
        uint64_t scheduled_at
        int32_t effective_priority

    ctypedef union aqw_event_fields:
        aqw_event_run_created run_created

    ctypedef struct aqw_event:
        uint64_t sequence
        uint64_t timestamp
        uint8_t kind
        uint8_t spec_is_valid
        aqw_event_fields fields "as"

    ctypedef struct aqw_list:
        const uint8_t *data
        uint32_t size
        uint32_t count

    ctypedef struct aqw_task_spec:
        aqw_bytes payload
        aqw_bytes content_type
        uint8_t policy
        uint32_t repeat_count
        uint64_t repeat_interval_secs
        aqw_bytes cron_expression
        uint32_t max_occurrences
        uint32_t max_attempts
        uint8_t has_timeout
        uint64_t timeout_secs
        aqw_bytes concurrency_key
        uint8_t hold_policy
        uint8_t safety_level
        aqw_list required_capabilities
        aqw_list tags
        int32_t priority
        aqw_bytes description
        uint8_t has_parent
        uint8_t parent_task_id[16]
        uint8_t has_tenant
        uint8_t tenant_id[16]

    ctypedef struct aqw_filter:
        uint8_t kind
        uint8_t task_id[16]
        uint8_t state
        uint8_t dimension
        uint8_t threshold_pct
        aqw_bytes key

    ctypedef struct aqw_registration:
        aqw_bytes identity
        aqw_list capabilities
        aqw_bytes department
        uint64_t heartbeat_interval_secs
        uint8_t has_tenant
        uint8_t tenant_id[16]

    ctypedef struct aqw_named:
        uint8_t code
        aqw_bytes custom

    size_t aqw_event_payload_size(const aqw_event *event)
    aqw_status aqw_event_encode(const aqw_event *event, uint8_t *to, size_t capacity, size_t *size)
    aqw_status aqw_event_decode(uint8_t kind, uint64_t sequence, const uint8_t *payload, size_t size, aqw_event *event)
    aqw_status aqw_task_spec_encode(const aqw_task_spec *spec, uint8_t *to, size_t capacity, size_t *size)
    aqw_status aqw_task_spec_decode(const uint8_t *data, size_t size, aqw_task_spec *spec)
    aqw_status aqw_filter_encode(const aqw_filter *filter, uint8_t *to, size_t capacity, size_t *size)
    aqw_status aqw_filter_decode(const uint8_t *data, size_t size, aqw_filter *filter)
    aqw_status aqw_registration_encode(const aqw_registration *registration, uint8_t *to, size_t capacity, size_t *size)
    aqw_status aqw_registration_decode(const uint8_t *data, size_t size, aqw_registration *registration)
    aqw_status aqw_named_encode(const aqw_named *named, uint8_t custom_code, uint8_t *to, size_t capacity, size_t *size)
    aqw_status aqw_named_decode(const uint8_t *data, size_t size, uint8_t custom_code, aqw_named *named)
    aqw_status aqw_list_next(const aqw_list *list, uint32_t *offset, aqw_bytes *entry)
    aqw_status aqw_list_put(uint8_t *to, size_t capacity, size_t *size, const uint8_t *entry, uint32_t entry_size)


cdef extern from "event/layout.h" nogil:
    enum:
        AQW_FIELD_ID
        AQW_FIELD_MAYBE_ID
        AQW_FIELD_IDS
        AQW_FIELD_NUMBER
        AQW_FIELD_MAYBE_NUMBER
        AQW_FIELD_NUMBER32
        AQW_FIELD_SIGNED32
        AQW_FIELD_CODE
        AQW_FIELD_STATE
        AQW_FIELD_TEXT
        AQW_FIELD_MAYBE_TEXT
        AQW_FIELD_BYTES
        AQW_FIELD_DETAIL
        AQW_FIELD_ZERO
        AQW_FIELD_SPEC
        AQW_FIELD_FILTER
        AQW_FIELD_REGISTRATION
        AQW_FIELD_ROLE
        AQW_FIELD_CAPABILITY
        AQW_FIELD_FORM_LAST

    ctypedef struct aqw_event_field:
        const char *name
        uint16_t form
        uint16_t offset
        uint16_t second
        uint32_t limit

    ctypedef struct aqw_event_layout:
        uint32_t field_count
        const aqw_event_field *fields

    const aqw_event_layout *aqw_event_layout_of(uint8_t kind)


cdef extern from "event/rules.h" nogil:
    int aqw_rule_transition_is_valid(uint8_t from_state, uint8_t to_state)
    int aqw_rule_state_is_terminal(uint8_t state)
    int aqw_rule_attempt_blocks_change(uint8_t from_state, uint8_t to_state, int has_active_attempt)
    int aqw_rule_state_allows(uint8_t kind, uint8_t state)
    int aqw_rule_attempt_allowed(uint8_t state)
    int aqw_rule_attempt_count_is_full(uint32_t attempt_count)
    int aqw_rule_lease_expiry_regresses(uint64_t current, uint64_t proposed)
    int aqw_rule_lease_close_makes_ready(uint8_t state)
    int aqw_rule_resume_precedes_pause(uint64_t paused_at, uint64_t resumed_at)
    int aqw_rule_run_is_fresh(uint8_t state, int has_active_attempt, uint32_t attempt_count,
                              uint64_t created_at, uint64_t last_state_change_at)
    int aqw_rule_sequence_rises(uint64_t latest, uint64_t sequence)


cdef extern from "base/memory.h" nogil:
    ctypedef struct aqw_memory:
        pass


cdef extern from "table/table.h" nogil:
    ctypedef struct aqw_table:
        pass

    ctypedef struct aqw_task_view:
        uint8_t task_id[16]
        uint64_t created_at
        uint64_t canceled_at
        uint8_t is_canceled
        aqw_bytes spec
        uint64_t runs_created
        uint8_t has_last_run
        uint64_t last_run_at
        uint32_t run_count
        uint32_t first_run
        uint32_t first_dependency

    ctypedef struct aqw_lease_view:
        aqw_bytes owner
        uint64_t expiry
        uint64_t acquired_at
        uint64_t updated_at

    ctypedef struct aqw_run_view:
        uint8_t run_id[16]
        uint8_t task_id[16]
        uint8_t state
        uint8_t has_active_attempt
        uint8_t active_attempt_id[16]
        uint8_t has_lease
        aqw_lease_view lease
        int32_t effective_priority
        uint32_t attempt_count
        uint64_t created_at
        uint64_t scheduled_at
        uint64_t last_state_change_at
        uint32_t first_history
        uint32_t first_attempt
        uint32_t next_in_task

    ctypedef struct aqw_history_view:
        uint8_t from_state
        uint8_t to_state
        uint64_t timestamp
        uint32_t next

    ctypedef struct aqw_attempt_view:
        uint8_t attempt_id[16]
        uint64_t started_at
        uint8_t is_finished
        uint64_t finished_at
        uint8_t result
        aqw_bytes error
        aqw_bytes output
        uint32_t next

    ctypedef struct aqw_engine_view:
        uint8_t is_paused
        uint8_t has_paused_at
        uint64_t paused_at
        uint8_t has_resumed_at
        uint64_t resumed_at

    ctypedef struct aqw_dependency_view:
        uint8_t task_id[16]
        uint8_t depends_on[16]
        uint32_t next_in_task

    ctypedef struct aqw_parent_view:
        uint8_t parent_task_id[16]
        uint32_t first_child

    ctypedef struct aqw_child_view:
        uint8_t task_id[16]
        uint32_t next

    ctypedef struct aqw_budget_view:
        uint8_t task_id[16]
        uint8_t dimension
        uint64_t limit
        uint64_t consumed
        uint64_t allocated_at
        uint8_t is_exhausted

    ctypedef struct aqw_subscription_view:
        uint8_t subscription_id[16]
        uint8_t task_id[16]
        aqw_bytes filter
        uint64_t created_at
        uint8_t is_triggered
        uint64_t triggered_at
        uint8_t is_canceled
        uint64_t canceled_at

    ctypedef struct aqw_actor_view:
        uint8_t actor_id[16]
        aqw_bytes registration
        uint64_t registered_at
        uint8_t has_heartbeat
        uint64_t last_heartbeat_at
        uint8_t is_deregistered
        uint64_t deregistered_at

    ctypedef struct aqw_tenant_view:
        uint8_t tenant_id[16]
        aqw_bytes name
        uint64_t created_at

    ctypedef struct aqw_role_view:
        uint8_t actor_id[16]
        uint8_t tenant_id[16]
        aqw_bytes role
        uint64_t assigned_at

    ctypedef struct aqw_capability_view:
        uint8_t actor_id[16]
        uint8_t tenant_id[16]
        aqw_bytes capability
        uint64_t granted_at
        uint8_t is_revoked
        uint64_t revoked_at

    ctypedef struct aqw_ledger_view:
        uint8_t entry_id[16]
        uint8_t tenant_id[16]
        uint8_t has_actor
        uint8_t actor_id[16]
        aqw_bytes ledger_key
        aqw_bytes payload
        uint64_t timestamp

    ctypedef struct aqw_table_counts:
        uint32_t tasks
        uint32_t runs
        uint32_t runs_by_state[9]
        uint32_t history
        uint32_t attempts
        uint32_t leases
        uint32_t dependencies
        uint32_t parents
        uint32_t budgets
        uint32_t subscriptions
        uint32_t actors
        uint32_t tenants
        uint32_t roles
        uint32_t capabilities
        uint32_t ledger
        uint32_t tombstones
        uint64_t memory_bytes

    ctypedef struct aqw_tombstone_view:
        uint8_t task_id[16]
        uint64_t until

    ctypedef int (*aqw_schedule_ended)(void *context, aqw_bytes expression, uint64_t time) noexcept

    ctypedef struct aqw_retention:
        uint8_t has_cutoff
        uint64_t cutoff
        uint8_t has_ledger_cutoff
        uint64_t ledger_cutoff
        uint64_t today
        aqw_schedule_ended schedule_ended
        void *context

    ctypedef struct aqw_finished:
        uint32_t next_part
        uint32_t next_row
        uint32_t next_run
        uint32_t run_count
        uint32_t task_count
        uint32_t subscription_count
        uint32_t actor_count
        uint32_t ledger_count
        uint32_t tombstone_count
        uint8_t has_put_off
        uint8_t run_ids[AQW_PURGE_COUNT_MAX][16]
        uint8_t task_ids[AQW_PURGE_COUNT_MAX][16]
        uint8_t subscription_ids[AQW_PURGE_COUNT_MAX][16]
        uint8_t actor_ids[AQW_PURGE_COUNT_MAX][16]

    aqw_table *aqw_table_new(const aqw_memory *memory, const uint8_t *seed)
    void aqw_table_free(aqw_table *table)
    aqw_status aqw_table_apply(aqw_table *table, const aqw_event *event)
    aqw_status aqw_table_begin(aqw_table *table)
    void aqw_table_commit(aqw_table *table)
    void aqw_table_rollback(aqw_table *table)
    uint64_t aqw_table_latest_sequence(const aqw_table *table)
    uint64_t aqw_table_newest_change(const aqw_table *table)
    void aqw_table_engine(const aqw_table *table, aqw_engine_view *view)
    void aqw_table_counts_get(const aqw_table *table, aqw_table_counts *counts)
    uint32_t aqw_table_find_task(const aqw_table *table, const uint8_t *task_id)
    uint32_t aqw_table_find_run(const aqw_table *table, const uint8_t *run_id)
    uint32_t aqw_table_find_parent(const aqw_table *table, const uint8_t *parent_task_id)
    uint32_t aqw_table_find_budget(const aqw_table *table, const uint8_t *task_id, uint8_t dimension)
    uint32_t aqw_table_find_subscription(const aqw_table *table, const uint8_t *subscription_id)
    uint32_t aqw_table_find_actor(const aqw_table *table, const uint8_t *actor_id)
    uint32_t aqw_table_find_tenant(const aqw_table *table, const uint8_t *tenant_id)
    uint32_t aqw_table_find_role(const aqw_table *table, const uint8_t *actor_id, const uint8_t *tenant_id)
    uint32_t aqw_table_find_capability(const aqw_table *table, const uint8_t *actor_id, const uint8_t *tenant_id,
                                        aqw_bytes capability)
    uint32_t aqw_table_next_task(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_run(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_dependency(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_parent(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_budget(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_subscription(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_actor(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_role(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_capability(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_ledger(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_next_tombstone(const aqw_table *table, uint32_t row)
    uint32_t aqw_table_find_tombstone(const aqw_table *table, const uint8_t *task_id)
    void aqw_table_tombstone(const aqw_table *table, uint32_t row, aqw_tombstone_view *view)
    void aqw_table_task(const aqw_table *table, uint32_t row, aqw_task_view *view)
    void aqw_table_run(const aqw_table *table, uint32_t row, aqw_run_view *view)
    void aqw_table_history(const aqw_table *table, uint32_t row, aqw_history_view *view)
    void aqw_table_attempt(const aqw_table *table, uint32_t row, aqw_attempt_view *view)
    void aqw_table_dependency(const aqw_table *table, uint32_t row, aqw_dependency_view *view)
    void aqw_table_parent(const aqw_table *table, uint32_t row, aqw_parent_view *view)
    void aqw_table_child(const aqw_table *table, uint32_t row, aqw_child_view *view)
    void aqw_table_budget(const aqw_table *table, uint32_t row, aqw_budget_view *view)
    void aqw_table_subscription(const aqw_table *table, uint32_t row, aqw_subscription_view *view)
    void aqw_table_actor(const aqw_table *table, uint32_t row, aqw_actor_view *view)
    void aqw_table_tenant(const aqw_table *table, uint32_t row, aqw_tenant_view *view)
    void aqw_table_role(const aqw_table *table, uint32_t row, aqw_role_view *view)
    void aqw_table_capability(const aqw_table *table, uint32_t row, aqw_capability_view *view)
    void aqw_table_ledger(const aqw_table *table, uint32_t row, aqw_ledger_view *view)
    uint32_t aqw_table_run_attempt_count(const aqw_table *table, uint32_t row)
    int aqw_table_run_lease(const aqw_table *table, uint32_t row, aqw_lease_view *view)
    uint8_t aqw_table_run_state(const aqw_table *table, uint32_t row)
    const uint8_t *aqw_table_run_active_attempt(const aqw_table *table, uint32_t row)
    int aqw_table_run_had_attempt(const aqw_table *table, uint32_t row, const uint8_t *attempt_id)
    int aqw_table_task_is_canceled(const aqw_table *table, uint32_t row)
    int aqw_table_subscription_is_canceled(const aqw_table *table, uint32_t row)
    void aqw_table_find_finished(const aqw_table *table, const aqw_retention *what, uint32_t rows_max, aqw_finished *finished)


cdef extern from "table/image.h" nogil:
    ctypedef aqw_status (*aqw_image_sink)(void *to, uint8_t type, aqw_bytes fields, aqw_bytes bytes) noexcept

    ctypedef struct aqw_table_loader:
        pass

    aqw_status aqw_table_save(const aqw_table *table, aqw_image_sink sink, void *to)
    aqw_status aqw_table_load_begin(aqw_table_loader *loader, aqw_table *table, uint64_t size_max)
    aqw_status aqw_table_load_item(aqw_table_loader *loader, uint8_t type, const uint8_t *payload, size_t size)
    aqw_status aqw_table_load_end(aqw_table_loader *loader)


cdef extern from "base/limits.h" nogil:
    enum:
        AQW_BATCH_COUNT_MAX
        AQW_BATCH_SIZE_MAX
        AQW_SEGMENT_SIZE_DEFAULT
        AQW_RING_SIZE_DEFAULT
        AQW_SNAPSHOT_COUNT_MAX
        AQW_QUARANTINE_COPIES_MAX


cdef extern from "base/crc32c.h" nogil:
    enum:
        AQW_CRC32C_START

    uint32_t aqw_crc32c_update(uint32_t running, const void *data, size_t size)
    uint32_t aqw_crc32c_finish(uint32_t running)


cdef extern from "os/fork.h" nogil:
    int aqw_fork_watch()
    uint64_t aqw_fork_generation()


cdef extern from "base/fault.h" nogil:
    ctypedef enum aqw_reason:
        AQW_REASON_NONE
        AQW_REASON_SEGMENT_MISSING
        AQW_REASON_REFUSED_EVENT
        AQW_REASON_DIRECTORY

    ctypedef struct aqw_fault:
        int status
        int reason
        int system_error
        int refusal
        int poison
        const char *operation
        uint64_t segment
        uint64_t offset
        uint64_t first_sequence
        uint64_t last_sequence
        uint32_t format_version
        char path[512]

    const char *aqw_reason_name(int reason)
    aqw_status aqw_fault_set(aqw_fault *fault, aqw_status status, const char *path)


cdef extern from "os/io.h" nogil:
    ctypedef void (*aqw_list_visit)(void *to, const char *name) noexcept nogil

    ctypedef struct aqw_io:
        void *context
        int (*list)(void *context, const char *path, aqw_list_visit visit, void *to) noexcept nogil
        int (*probe_lock)(void *context, const char *path) noexcept nogil

    const aqw_io *aqw_io_system()


cdef extern from "files/format.h" nogil:
    enum:
        AQW_KIND_MARKER
        AQW_KIND_PAD
        AQW_FLAG_BATCH_OPEN
        AQW_FLAG_BATCH_END


cdef extern from "files/record.h" nogil:
    ctypedef struct aqw_place:
        uint8_t log_uuid[16]
        uint64_t segment_number
        uint64_t salt
        uint64_t first_sequence

    ctypedef struct aqw_record:
        uint64_t segment_number
        uint64_t position
        uint64_t sequence
        uint64_t watermark
        uint32_t payload_size
        uint32_t size
        uint8_t kind
        uint8_t flags
        const uint8_t *payload

    uint32_t aqw_record_size(uint32_t payload_size)


cdef extern from "files/segment.h" nogil:
    ctypedef struct aqw_segment_header:
        aqw_place place
        uint32_t format_version
        uint64_t file_size
        uint64_t watermark
        uint64_t link_end
        uint64_t link_last_sequence
        uint64_t created_at


cdef extern from "write/batch.h" nogil:
    ctypedef struct aqw_batch:
        size_t size
        uint32_t count
        uint64_t first_sequence

    void aqw_batch_init(aqw_batch *batch)
    void aqw_batch_free(aqw_batch *batch)
    void aqw_batch_reset(aqw_batch *batch)
    void aqw_batch_take_back(aqw_batch *batch, size_t size)
    aqw_status aqw_batch_add(aqw_batch *batch, const aqw_event *event)


cdef extern from "write/log_policy.h" nogil:
    ctypedef struct aqw_sync_policy:
        uint64_t records
        uint64_t bytes
        uint64_t delay_ns
        int when_ring_fills


cdef extern from "write/log.h" nogil:
    enum:
        AQW_SYNC_HISTOGRAM_SIZE
        AQW_GROUP_HISTOGRAM_SIZE

    ctypedef struct aqw_log:
        pass

    ctypedef struct aqw_log_options:
        uint64_t segment_size_max
        uint64_t ring_size
        uint32_t sector_size
        uint64_t now
        aqw_sync_policy sync

    ctypedef struct aqw_log_stats:
        uint64_t last_sequence
        uint64_t durable_sequence
        uint64_t segment_number
        uint64_t segment_size
        uint64_t segment_used
        uint64_t ring_size
        uint64_t ring_used
        uint64_t ring_used_max
        uint64_t appended_records
        uint64_t appended_bytes
        uint64_t taken_bytes
        uint64_t syncs
        uint64_t sync_ns_total
        uint64_t sync_ns_max
        uint64_t sync_ns_histogram[AQW_SYNC_HISTOGRAM_SIZE]
        uint64_t sync_groups
        uint64_t sync_events_total
        uint64_t sync_events_max
        uint64_t sync_events_histogram[AQW_GROUP_HISTOGRAM_SIZE]
        uint64_t stalls
        uint64_t stall_ns_total
        uint64_t stall_ns_max
        uint64_t drains
        uint64_t drained_bytes
        uint64_t rotations
        int is_ring_mapped

    aqw_status aqw_log_make_room(aqw_log *log, uint64_t size, aqw_fault *fault)
    int aqw_log_is_direct(const aqw_log *log, uint64_t size)
    aqw_status aqw_log_append(aqw_log *log, aqw_batch *batch, aqw_fault *fault)
    aqw_status aqw_log_sync(aqw_log *log, uint64_t sequence, aqw_fault *fault)
    uint64_t aqw_log_last_sequence(aqw_log *log)
    uint64_t aqw_log_durable_sequence(const aqw_log *log)
    void aqw_log_set_frugal(aqw_log *log, int is_frugal)
    aqw_status aqw_log_write_out(aqw_log *log, uint64_t *sequence, aqw_fault *fault)
    void aqw_log_stats_get(aqw_log *log, aqw_log_stats *stats)
    aqw_status aqw_log_state(aqw_log *log, aqw_fault *fault)
    aqw_status aqw_log_close(aqw_log *log, aqw_fault *fault)
    void aqw_log_abandon(aqw_log *log)
    void aqw_log_free(aqw_log *log)


cdef extern from "read/stream.h" nogil:
    ctypedef struct aqw_stream:
        pass

    ctypedef struct aqw_stream_base:
        uint8_t log_uuid[16]
        uint64_t sequence

    ctypedef struct aqw_stream_summary:
        uint64_t segments
        uint64_t ignored_segments
        uint64_t base_sequence
        uint64_t first_sequence
        uint64_t last_sequence
        uint64_t durable_sequence
        int is_clean
        uint64_t end
        uint64_t ring_events
        uint64_t dropped_from
        uint64_t dropped_bytes
        uint64_t dropped_events
        int ring_has_dropped
        int drop_reason

    aqw_status aqw_stream_open(const aqw_io *io, const char *directory, const aqw_stream_base *base, aqw_progress *progress,
                               aqw_stream **stream, aqw_fault *fault)
    void aqw_stream_free(aqw_stream *stream)
    const aqw_stream_summary *aqw_stream_summary_of(const aqw_stream *stream)
    const aqw_segment_header *aqw_stream_newest(const aqw_stream *stream)
    const aqw_segment_header *aqw_stream_segment(const aqw_stream *stream, uint64_t index)
    aqw_status aqw_stream_next(aqw_stream *stream, aqw_record *record, aqw_fault *fault)


cdef extern from "os/progress.h" nogil:
    ctypedef struct aqw_progress:
        pass

    aqw_progress *aqw_progress_new()
    void aqw_progress_free(aqw_progress *progress)
    void aqw_progress_add(aqw_progress *progress, uint64_t bytes)
    void aqw_progress_expect(aqw_progress *progress, uint64_t bytes)
    int aqw_progress_must_stop(aqw_progress *progress)
    int aqw_progress_is_canceled(const aqw_progress *progress)
    ctypedef int (*aqw_progress_question)(void *context) noexcept
    void aqw_progress_ask(aqw_progress *progress, aqw_progress_question must_stop, void *context)
    uint64_t aqw_progress_done(const aqw_progress *progress)
    uint64_t aqw_progress_total(const aqw_progress *progress)
    void aqw_progress_cancel(aqw_progress *progress)


cdef extern from "read/follow.h" nogil:
    ctypedef struct aqw_follower:
        pass

    aqw_status aqw_follower_open(const aqw_io *io, const char *directory, uint64_t after, aqw_follower **follower, aqw_fault *fault)
    aqw_status aqw_follower_open_behind(const aqw_io *io, const char *directory, uint64_t after, uint32_t checksum, aqw_follower **follower,
                                        aqw_fault *fault)
    ctypedef struct aqw_follower_place:
        pass

    void aqw_follower_free(aqw_follower *follower)
    void aqw_follower_where(const aqw_follower *follower, aqw_follower_place *place)
    void aqw_follower_go_back(aqw_follower *follower, const aqw_follower_place *place)
    aqw_status aqw_follower_next(aqw_follower *follower, aqw_record *record, aqw_fault *fault)
    uint64_t aqw_follower_sequence(const aqw_follower *follower)
    void aqw_follower_trust(aqw_follower *follower, uint64_t sequence)
    uint64_t aqw_follower_durable_sequence(const aqw_follower *follower)
    int aqw_follower_checksum(const aqw_follower *follower, uint32_t *checksum)
    const uint8_t *aqw_follower_history(const aqw_follower *follower)


cdef extern from "files/snapshot.h" nogil:
    ctypedef struct aqw_snapshot_info:
        uint8_t log_uuid[16]
        uint64_t sequence
        uint64_t created_at
        uint64_t file_size
        uint64_t items

    ctypedef struct aqw_snapshot_choice:
        int is_found
        aqw_snapshot_info info
        uint32_t damaged
        aqw_fault damage

    aqw_status aqw_snapshot_list(const aqw_io *io, const char *directory, uint64_t *sequences, uint32_t capacity, uint32_t *count,
                                 aqw_fault *fault)
    aqw_status aqw_snapshot_read(const aqw_io *io, const char *directory, uint64_t sequence, aqw_table *table,
                                 aqw_progress *progress, aqw_snapshot_info *info, aqw_fault *fault)
    aqw_status aqw_snapshot_read_counts(const aqw_io *io, const char *directory, uint64_t sequence, aqw_table_counts *counts,
                                        aqw_snapshot_info *info, aqw_fault *fault)
    aqw_status aqw_snapshot_load_newest(const aqw_io *io, const char *directory, aqw_table *table, aqw_progress *progress,
                                        aqw_snapshot_choice *choice, aqw_fault *fault)


cdef extern from "queue/submit.h" nogil:
    aqw_status aqw_submit(aqw_log *log, aqw_table *table, aqw_batch *batch, const aqw_event *event, aqw_fault *fault)


cdef extern from "queue/compact.h" nogil:
    ctypedef struct aqw_compact_options:
        uint64_t now
        int drops_segments
        aqw_progress *progress
        aqw_log *log

    ctypedef struct aqw_compact_report:
        int is_new
        uint64_t sequence
        uint64_t file_size
        uint64_t kept_sequence
        uint64_t replayed_events
        uint64_t dropped_segments
        uint64_t dropped_bytes
        uint64_t dropped_snapshots

    aqw_status aqw_compact(const aqw_io *io, const char *directory, const aqw_compact_options *options, aqw_compact_report *report,
                           aqw_fault *fault)


cdef extern from "read/salvage.h" nogil:
    ctypedef aqw_status (*aqw_salvage_visit)(void *to, const aqw_record *record, aqw_fault *fault)

    aqw_status aqw_salvage_read(const aqw_io *io, const char *directory, const char *moved, aqw_salvage_visit visit, void *to,
                                aqw_progress *progress, aqw_fault *fault)


cdef extern from "queue/repair.h" nogil:
    ctypedef struct aqw_repair_options:
        int accepts_data_loss
        uint64_t now
        const char *holder
        aqw_progress *progress
        aqw_salvage_visit visit
        void *visit_to

    ctypedef struct aqw_repair_report:
        int is_damaged
        aqw_fault damage
        uint64_t kept_sequence
        uint64_t lost_first
        uint64_t lost_last
        uint64_t readable_events
        uint64_t quarantined_files
        uint64_t quarantined_bytes

    aqw_status aqw_repair_look(const aqw_io *io, const char *directory, const aqw_repair_options *options, aqw_repair_report *report,
                               aqw_fault *fault)
    aqw_status aqw_repair(const aqw_io *io, const char *directory, const aqw_repair_options *options, aqw_repair_report *report,
                          aqw_fault *fault)


cdef extern from "read/replay.h" nogil:
    ctypedef struct aqw_replay_counts:
        uint64_t records
        uint64_t events
        uint64_t bytes

    aqw_status aqw_replay_record(aqw_table *table, const aqw_record *record, aqw_fault *fault)
    aqw_status aqw_replay_stream(aqw_stream *stream, aqw_table *table, aqw_replay_counts *counts, aqw_progress *progress,
                                 aqw_fault *fault)


cdef extern from "queue/recovery.h" nogil:
    ctypedef struct aqw_recovery_report:
        int is_created
        int is_clean
        uint8_t history[16]
        uint64_t segments
        uint64_t records
        uint64_t events
        uint64_t bytes
        uint64_t replayed_bytes
        uint64_t last_sequence
        uint64_t durable_sequence
        uint64_t ring_events
        uint64_t rewritten_events
        uint64_t dropped_bytes
        uint64_t dropped_events
        int drop_reason
        uint64_t dropped_segment
        uint64_t dropped_offset
        uint64_t snapshot_sequence
        uint32_t snapshots_damaged
        aqw_fault snapshot_damage

    ctypedef struct aqw_recovery_options:
        aqw_log_options log
        int may_create
        const char *holder
        aqw_progress *progress

    aqw_status aqw_recover(const aqw_io *io, const char *directory, const aqw_recovery_options *options, aqw_table *table,
                           aqw_log **log, aqw_recovery_report *report, aqw_fault *fault)


cdef extern from "queue/submit_columns.h" nogil:
    ctypedef struct aqw_column:
        const uint8_t *data
        uint32_t step

    ctypedef struct aqw_byte_column:
        const uint8_t *data
        uint64_t size
        const uint8_t *offsets
        uint32_t offset_size

    ctypedef struct aqw_columns:
        uint8_t kind
        uint32_t count
        aqw_column run_ids
        aqw_column timestamps
        aqw_column previous_states
        aqw_column new_states
        aqw_column expiries
        aqw_column attempt_ids
        aqw_column results
        aqw_byte_column owners
        aqw_byte_column outputs
        aqw_byte_column errors

    ctypedef struct aqw_column_fault:
        const char *column
        const char *reason
        uint32_t row
        uint64_t value

    ctypedef struct aqw_refused_row:
        uint32_t row
        uint16_t status
        uint8_t state
        uint8_t has_active_attempt
        uint8_t previous_state
        uint8_t new_state
        uint8_t has_lease
        uint8_t run_id[16]
        uint8_t attempt_id[16]
        uint8_t active_attempt_id[16]
        uint64_t expiry
        uint64_t lease_expiry
        uint64_t payload_size

    ctypedef struct aqw_columns_walk:
        uint32_t next
        int stops
        aqw_refused_row *refused
        uint32_t refused_count
        uint64_t batch_size

    aqw_status aqw_columns_check(const aqw_columns *columns, aqw_column_fault *fault)
    aqw_status aqw_columns_add(const aqw_columns *columns, uint32_t end, aqw_table *table, aqw_batch *batch, aqw_columns_walk *walk)


cdef extern from "table/columns.h" nogil:
    ctypedef struct aqw_run_record:
        uint8_t run_id[16]
        uint8_t task_id[16]
        uint8_t active_attempt_id[16]
        uint64_t created_at
        uint64_t scheduled_at
        uint64_t last_state_change_at
        uint64_t lease_expiry
        uint64_t lease_acquired_at
        uint64_t lease_updated_at
        int32_t effective_priority
        uint32_t attempt_count
        uint8_t state
        uint8_t has_active_attempt
        uint8_t has_lease

    ctypedef struct aqw_task_record:
        uint8_t task_id[16]
        uint64_t created_at
        uint64_t canceled_at
        uint32_t run_count
        uint8_t is_canceled

    ctypedef struct aqw_attempt_record:
        uint8_t attempt_id[16]
        uint8_t run_id[16]
        uint64_t started_at
        uint64_t finished_at
        uint32_t detail_size
        uint8_t result
        uint8_t is_finished

    uint32_t aqw_table_copy_runs(const aqw_table *table, aqw_run_record *to, uint32_t capacity)
    uint32_t aqw_table_copy_tasks(const aqw_table *table, aqw_task_record *to, uint32_t capacity)
    uint32_t aqw_table_copy_attempts(const aqw_table *table, aqw_attempt_record *to, uint32_t capacity)
    uint32_t aqw_table_copy_run_ids(const aqw_table *table, uint8_t state, uint8_t *to, uint32_t capacity)
