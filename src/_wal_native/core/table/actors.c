/* Actors, which go once they are deregistered, with all that they were given (table/platform.c). */
#include "table/family.h"

typedef struct aqw_actor_row {
    uint8_t actor_id[16];
    uint64_t registered_at;
    uint64_t last_heartbeat_at;
    uint64_t deregistered_at;
    aqw_owned *registration;
    uint8_t has_heartbeat;
    uint8_t is_deregistered;
    uint8_t is_purged;
} aqw_actor_row;

static aqw_actor_row *actor_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_ACTOR, row);
}

/* ---- The key ---- */

AQW_KEY_IS_FIRST(aqw_actor_row, actor_id);

static uint64_t actor_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_ACTOR, row);
}

uint32_t aqw_table_find_actor(const aqw_table *table, const uint8_t actor_id[16]) {
    return aqw_index_find_id(table, AQW_ROW_ACTOR, actor_id);
}

/* ---- Events ---- */

static aqw_status actor_registered(aqw_table *table, const aqw_event *event) {
    const uint8_t *actor_id = event->as.actor_registered.actor_id;
    uint32_t row = aqw_table_find_actor(table, actor_id);
    aqw_bytes bytes = event->as.actor_registered.registration;
    aqw_owned *registration;
    aqw_status status = aqw_owned_reserve(table, AQW_ROW_ACTOR, row, bytes, &registration);
    if (status != AQW_OK) return status;

    aqw_actor_row *actor = row ? actor_at(table, row)
                               : aqw_row_new_keyed(table, AQW_ROW_ACTOR, actor_id);
    aqw_owned_set(table, &actor->registration, registration);
    actor->registered_at = event->timestamp;
    actor->has_heartbeat = 0;
    actor->last_heartbeat_at = 0;
    actor->is_deregistered = 0;
    actor->deregistered_at = 0;
    return AQW_OK;
}

static aqw_status actor_changed(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_actor(table, event->as.actor.actor_id);
    if (!row) return AQW_OK;
    if (aqw_undo_keep_row(table, AQW_ROW_ACTOR, row) != AQW_OK) return AQW_NO_MEMORY;

    aqw_actor_row *actor = actor_at(table, row);
    if (event->kind == AQW_ACTOR_HEARTBEAT) {
        actor->has_heartbeat = 1;
        actor->last_heartbeat_at = event->timestamp;
    } else {
        actor->is_deregistered = 1;
        actor->deregistered_at = event->timestamp;
    }
    return AQW_OK;
}

static const aqw_row_event actor_events[] = {
    {AQW_ACTOR_REGISTERED, actor_registered},
    {AQW_ACTOR_DEREGISTERED, actor_changed},
    {AQW_ACTOR_HEARTBEAT, actor_changed},
    {0, NULL},
};

/* ---- The view ---- */

void aqw_table_actor(const aqw_table *table, uint32_t row, aqw_actor_view *view) {
    const aqw_actor_row *actor = actor_at(table, row);
    aqw_id_copy(view->actor_id, actor->actor_id);
    view->registration = aqw_owned_bytes(actor->registration);
    view->registered_at = actor->registered_at;
    view->has_heartbeat = actor->has_heartbeat;
    view->last_heartbeat_at = actor->last_heartbeat_at;
    view->is_deregistered = actor->is_deregistered;
    view->deregistered_at = actor->deregistered_at;
}

/* ---- The image ---- */

static aqw_status save_actor(aqw_saver *save, uint32_t row) {
    const aqw_actor_row *actor = actor_at(save->table, row);
    writer *out = start(save);
    put_id(out, actor->actor_id);
    put_varint(out, actor->registered_at);
    put_times(out, actor->registered_at, actor->has_heartbeat, actor->last_heartbeat_at,
              actor->is_deregistered, actor->deregistered_at);
    return emit_with(save, AQW_IMAGE_ACTOR, actor->registration->data, actor->registration->size);
}

static aqw_status load_actor(aqw_table_loader *load, cursor *from) {
    uint8_t actor_id[16];
    aqw_registration fields;
    count_one(load, from, AQW_IMAGE_ACTOR);
    read_id(from, actor_id);
    uint64_t registered_at = read_varint(from);
    aqw_image_times happened =
        read_times(from, registered_at, AQW_IMAGE_HAS_FIRST | AQW_IMAGE_HAS_SECOND);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK ||
        aqw_registration_decode(bytes.data, bytes.size, &fields) != AQW_OK ||
        aqw_table_find_actor(load->table, actor_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    aqw_owned *registration = aqw_owned_copy(load->table, bytes);
    if (!registration) return AQW_NO_MEMORY;

    aqw_actor_row *actor = aqw_row_new_keyed(load->table, AQW_ROW_ACTOR, actor_id);
    actor->registration = registration;
    actor->registered_at = registered_at;
    actor->has_heartbeat = happened.has_first;
    actor->last_heartbeat_at = happened.first;
    actor->is_deregistered = happened.has_second;
    actor->deregistered_at = happened.second;
    return AQW_OK;
}

static const aqw_row_item actor_item = {
    .type = AQW_IMAGE_ACTOR, .size_min = 25, .save = save_actor, .load = load_actor};

/* ---- The purge ---- */

static int actor_is_over(const aqw_table *table, uint32_t row) {
    return actor_at(table, row)->is_deregistered;
}

static int actor_is_purged(const aqw_table *table, uint32_t row) {
    return actor_at(table, row)->is_purged;
}

static aqw_status keep_actor(aqw_table *table, uint32_t row) {
    return aqw_held_keep(table, actor_at(table, row)->actor_id);
}

static void mark_actor(aqw_table *table, uint32_t row, int is_purged) {
    actor_at(table, row)->is_purged = is_purged != 0;
}

/* Takes a marked actor out of the counts, with all that it was given. */
static void drop_actor(aqw_table *table, uint32_t row) {
    table->head.purged[AQW_ROW_ACTOR]++;
    aqw_held_drop(table, actor_at(table, row)->actor_id);
}

static int search_actors(aqw_search *of);

static const aqw_row_purge actor_purge = {
    .unknown = AQW_REFUSED_UNKNOWN_ACTOR,
    .ids_at = offsetof(aqw_event, as.runs_purged.actor_ids),
    .count_at = offsetof(aqw_event, as.runs_purged.actor_count),
    .found_ids_at = offsetof(aqw_finished, actor_ids),
    .found_count_at = offsetof(aqw_finished, actor_count),
    .find = aqw_table_find_actor,
    .is_over = actor_is_over,
    .keep = keep_actor,
    .is_marked = actor_is_purged,
    .mark = mark_actor,
    .drop = drop_actor,
    .search = search_actors,
};

static int search_actors(aqw_search *of) {
    aqw_finished *finished = of->finished;
    if (!of->what->has_cutoff) return 1;
    for (; aqw_search_enter_row(of, AQW_ROW_ACTOR); finished->next_row++) {
        const aqw_actor_row *actor = actor_at(of->table, finished->next_row);
        if (!aqw_search_may_go_on(of)) return 0;
        aqw_search_look_at(of, 1);
        if (actor->is_purged || !actor->is_deregistered ||
            actor->deregistered_at > of->what->cutoff)
            continue;
        aqw_search_add(of, &actor_purge, actor->actor_id);
        aqw_search_look_at(of, aqw_held_count(of->table, actor->actor_id));
    }
    return 1;
}

/* ---- The kind ---- */

#if !defined(NDEBUG)
static void check_actor(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_actor_row *actor = actor_at(table, row);
    (void)to;
    AQW_ASSERT(actor->registration != NULL);
    AQW_ASSERT(!actor->is_purged || actor->is_deregistered);
}
#endif

const aqw_row_type aqw_actor_type = {
    .size = sizeof(aqw_actor_row),
    .count_at = AQW_COUNTED_AS(actors),
    .owned_at = offsetof(aqw_actor_row, registration),
    .hash_of = actor_hash,
    .is_purged = actor_is_purged,
    .events = actor_events,
    .item = &actor_item,
    .purge = &actor_purge,
    AQW_CHECKED_BY(check_actor, NULL)
};
