/* The ledger: lines that only a purge takes away, from the first one on. It has no key. */
#include "table/family.h"

typedef struct aqw_ledger_row {
    uint8_t entry_id[16];
    uint8_t tenant_id[16];
    uint8_t actor_id[16];
    uint64_t timestamp;
    const uint8_t *bytes;       /* in the arena: the key, then the payload */
    uint32_t key_size;
    uint32_t payload_size;
    uint8_t has_actor;
} aqw_ledger_row;

static const aqw_ledger_row *entry_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_LEDGER, row);
}

/* `bytes` is a copy in the arena. */
static aqw_ledger_row *add_entry(aqw_table *table, const uint8_t *bytes, uint32_t key_size,
                                 uint32_t payload_size) {
    uint32_t row = aqw_row_new(table, AQW_ROW_LEDGER);
    aqw_ledger_row *entry = aqw_row_at(table, AQW_ROW_LEDGER, row);
    entry->bytes = bytes;
    entry->key_size = key_size;
    entry->payload_size = payload_size;
    return entry;
}

/* ---- The event ---- */

static aqw_status ledger_entry_appended(aqw_table *table, const aqw_event *event) {
    aqw_bytes key = event->as.ledger_entry_appended.ledger_key;
    aqw_bytes payload = event->as.ledger_entry_appended.payload;
    if (key.size > AQW_PAYLOAD_SIZE_MAX || payload.size > AQW_PAYLOAD_SIZE_MAX)
        return AQW_TOO_LARGE;
    if (aqw_index_reserve(table, AQW_ROW_LEDGER, 1) != AQW_OK) return AQW_NO_MEMORY;
    uint8_t *bytes = aqw_arena_take(&table->arena, (size_t)key.size + payload.size, 1);
    if (!bytes) return AQW_NO_MEMORY;

    if (key.size) memcpy(bytes, key.data, key.size);
    if (payload.size) memcpy(bytes + key.size, payload.data, payload.size);
    aqw_ledger_row *entry = add_entry(table, bytes, key.size, payload.size);
    memcpy(entry->entry_id, event->as.ledger_entry_appended.entry_id, 16);
    memcpy(entry->tenant_id, event->as.ledger_entry_appended.tenant_id, 16);
    entry->has_actor = event->as.ledger_entry_appended.has_actor != 0;
    if (entry->has_actor) memcpy(entry->actor_id, event->as.ledger_entry_appended.actor_id, 16);
    entry->timestamp = event->timestamp;
    return AQW_OK;
}

static const aqw_row_event ledger_events[] = {
    {AQW_LEDGER_ENTRY_APPENDED, ledger_entry_appended},
    {0, NULL},
};

/* ---- The view ---- */

void aqw_table_ledger(const aqw_table *table, uint32_t row, aqw_ledger_view *view) {
    const aqw_ledger_row *entry = entry_at(table, row);
    aqw_id_copy(view->entry_id, entry->entry_id);
    aqw_id_copy(view->tenant_id, entry->tenant_id);
    view->has_actor = entry->has_actor;
    aqw_id_copy(view->actor_id, entry->actor_id);
    view->ledger_key = aqw_bytes_of(entry->bytes, entry->key_size);
    view->payload = aqw_bytes_of(entry->bytes + entry->key_size, entry->payload_size);
    view->timestamp = entry->timestamp;
}

/* ---- The image ---- */

static aqw_status save_entry(aqw_saver *save, uint32_t row) {
    const aqw_ledger_row *entry = entry_at(save->table, row);
    if (entry->payload_size > AQW_PAYLOAD_SIZE_MAX - entry->key_size) return AQW_TOO_LARGE;
    writer *out = start(save);
    put_id(out, entry->entry_id);
    put_id(out, entry->tenant_id);
    put_varint(out, entry->timestamp);
    put_u8(out, entry->has_actor ? AQW_IMAGE_HAS_FIRST : 0);
    if (entry->has_actor) put_id(out, entry->actor_id);
    put_varint(out, entry->key_size);
    return emit_with(save, AQW_IMAGE_LEDGER_ENTRY, entry->bytes,
                     entry->key_size + entry->payload_size);
}

static aqw_status load_entry(aqw_table_loader *load, cursor *from) {
    uint8_t entry_id[16], tenant_id[16], actor_id[16] = {0};
    count_one(load, from, AQW_IMAGE_LEDGER_ENTRY);
    read_id(from, entry_id);
    read_id(from, tenant_id);
    uint64_t timestamp = read_varint(from);
    uint8_t has_actor = read_code(from, AQW_IMAGE_HAS_FIRST);
    if (has_actor) read_id(from, actor_id);
    uint32_t key_size = read_positive32(from);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK || key_size > bytes.size || key_size > AQW_TEXT_SIZE_MAX ||
        !aqw_utf8_is_valid(bytes.data, key_size)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    const uint8_t *copy = aqw_bytes_copy(load->table, bytes);
    if (!copy) return AQW_NO_MEMORY;

    aqw_ledger_row *entry = add_entry(load->table, copy, key_size, bytes.size - key_size);
    memcpy(entry->entry_id, entry_id, 16);
    memcpy(entry->tenant_id, tenant_id, 16);
    memcpy(entry->actor_id, actor_id, 16);
    entry->has_actor = has_actor;
    entry->timestamp = timestamp;
    return AQW_OK;
}

static const aqw_row_item ledger_item = {
    .type = AQW_IMAGE_LEDGER_ENTRY, .size_min = 36, .save = save_entry, .load = load_entry};

/* ---- The purge ---- */

static int entry_is_purged(const aqw_table *table, uint32_t row) {
    return aqw_row_is_behind(table, AQW_ROW_LEDGER, row);
}

static int entry_may_go(const aqw_search *of, uint32_t row) {
    return entry_at(of->table, row)->timestamp <= of->what->ledger_cutoff;
}

static int search_entries(aqw_search *of) {
    return !of->what->has_ledger_cutoff || aqw_search_first_rows(of, AQW_ROW_LEDGER, entry_may_go);
}

static const aqw_row_purge ledger_purge = {
    .unknown = AQW_REFUSED_UNKNOWN_LEDGER_ENTRY,
    .count_at = offsetof(aqw_event, as.runs_purged.ledger_count),
    .found_count_at = offsetof(aqw_finished, ledger_count),
    .search = search_entries,
};

/* ---- The kind ---- */

const aqw_row_type aqw_ledger_type = {
    .size = sizeof(aqw_ledger_row),
    .count_at = AQW_COUNTED_AS(ledger),
    .is_purged = entry_is_purged,
    .events = ledger_events,
    .item = &ledger_item,
    .purge = &ledger_purge,
};
