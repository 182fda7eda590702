/* Tenants, which are never purged. The shortest file of a family: an example for others. */
#include "table/family.h"

typedef struct aqw_tenant_row {
    uint8_t tenant_id[16];
    uint64_t created_at;
    aqw_owned *name;
} aqw_tenant_row;

static aqw_tenant_row *tenant_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_TENANT, row);
}

/* ---- The key ---- */

AQW_KEY_IS_FIRST(aqw_tenant_row, tenant_id);

static uint64_t tenant_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_TENANT, row);
}

uint32_t aqw_table_find_tenant(const aqw_table *table, const uint8_t tenant_id[16]) {
    return aqw_index_find_id(table, AQW_ROW_TENANT, tenant_id);
}

/* ---- The event ---- */

static aqw_status tenant_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *tenant_id = event->as.tenant_created.tenant_id;
    uint32_t row = aqw_table_find_tenant(table, tenant_id);
    aqw_owned *name;
    aqw_status status = aqw_owned_reserve(table, AQW_ROW_TENANT, row,
                                          event->as.tenant_created.name, &name);
    if (status != AQW_OK) return status;

    aqw_tenant_row *tenant = row ? tenant_at(table, row)
                                 : aqw_row_new_keyed(table, AQW_ROW_TENANT, tenant_id);
    aqw_owned_set(table, &tenant->name, name);
    tenant->created_at = event->timestamp;
    return AQW_OK;
}

static const aqw_row_event tenant_events[] = {
    {AQW_TENANT_CREATED, tenant_created},
    {0, NULL},
};

/* ---- The view ---- */

void aqw_table_tenant(const aqw_table *table, uint32_t row, aqw_tenant_view *view) {
    const aqw_tenant_row *tenant = tenant_at(table, row);
    aqw_id_copy(view->tenant_id, tenant->tenant_id);
    view->name = aqw_owned_bytes(tenant->name);
    view->created_at = tenant->created_at;
}

/* ---- The image ---- */

static aqw_status save_tenant(aqw_saver *save, uint32_t row) {
    const aqw_tenant_row *tenant = tenant_at(save->table, row);
    writer *out = start(save);
    put_id(out, tenant->tenant_id);
    put_varint(out, tenant->created_at);
    return emit_with(save, AQW_IMAGE_TENANT, tenant->name->data, tenant->name->size);
}

static aqw_status load_tenant(aqw_table_loader *load, cursor *from) {
    uint8_t tenant_id[16];
    count_one(load, from, AQW_IMAGE_TENANT);
    read_id(from, tenant_id);
    uint64_t created_at = read_varint(from);
    aqw_bytes text = read_rest_as_text(from, 1);
    if (finish(from) != AQW_OK || aqw_table_find_tenant(load->table, tenant_id))
        return AQW_MALFORMED_SNAPSHOT;
    aqw_owned *name = aqw_owned_copy(load->table, text);
    if (!name) return AQW_NO_MEMORY;

    aqw_tenant_row *tenant = aqw_row_new_keyed(load->table, AQW_ROW_TENANT, tenant_id);
    tenant->name = name;
    tenant->created_at = created_at;
    return AQW_OK;
}

static const aqw_row_item tenant_item = {
    .type = AQW_IMAGE_TENANT, .size_min = 18, .save = save_tenant, .load = load_tenant};

/* ---- The kind ---- */

#if !defined(NDEBUG)
static void check_tenant(const aqw_table *table, uint32_t row, aqw_tally *to) {
    (void)to;
    AQW_ASSERT(tenant_at(table, row)->name != NULL);
}
#endif

const aqw_row_type aqw_tenant_type = {
    .size = sizeof(aqw_tenant_row),
    .count_at = AQW_COUNTED_AS(tenants),
    .owned_at = offsetof(aqw_tenant_row, name),
    .hash_of = tenant_hash,
    .events = tenant_events,
    .item = &tenant_item,
    AQW_CHECKED_BY(check_tenant, NULL)
};
