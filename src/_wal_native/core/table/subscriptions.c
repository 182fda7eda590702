/* Subscriptions, which go with their task or, once canceled, by themselves; and how many a task
 * has. */
#include "table/family.h"

typedef struct aqw_subscription_row {
    uint8_t subscription_id[16];
    uint64_t created_at;
    uint64_t triggered_at;
    uint64_t canceled_at;
    const uint8_t *filter;      /* in the arena */
    uint32_t filter_size;
    uint32_t task;
    uint8_t is_triggered;
    uint8_t is_canceled;
    uint8_t is_purged;          /* by itself; with its task it needs no flag */
} aqw_subscription_row;

/* How many subscriptions a task has that are not purged by themselves; few tasks have any. */
typedef struct aqw_subscriber_row {
    uint32_t task;
    uint32_t count;
} aqw_subscriber_row;

static aqw_subscription_row *subscription_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row);
}

static aqw_subscriber_row *subscriber_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_SUBSCRIBER, row);
}

/* ---- The keys ---- */

AQW_KEY_IS_FIRST(aqw_subscription_row, subscription_id);

static uint64_t subscription_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_SUBSCRIPTION, row);
}

uint32_t aqw_table_find_subscription(const aqw_table *table, const uint8_t subscription_id[16]) {
    return aqw_index_find_id(table, AQW_ROW_SUBSCRIPTION, subscription_id);
}

static uint64_t subscriber_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    return aqw_hash_numbers(table, subscriber_at(table, row)->task, 0);
}

static uint32_t find_subscriber(const aqw_table *table, uint32_t task) {
    const aqw_map *map = &table->maps[AQW_ROW_SUBSCRIBER];
    aqw_map_probe probe;
    aqw_map_find(map, aqw_hash_numbers(table, task, 0), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        if (subscriber_at(table, row)->task == task) return row;
    }
    return 0;
}

/* Makes room for a subscription of this task: in the rows, in the indexes, and in the undo
 * record. */
static aqw_status reserve_subscription(aqw_table *table, uint32_t task) {
    uint32_t subscriber = find_subscriber(table, task);
    if (aqw_index_reserve(table, AQW_ROW_SUBSCRIPTION, 1) != AQW_OK) return AQW_NO_MEMORY;
    return subscriber ? aqw_undo_keep_row(table, AQW_ROW_SUBSCRIBER, subscriber)
                      : aqw_index_reserve(table, AQW_ROW_SUBSCRIBER, 1);
}

static void count_subscription(aqw_table *table, uint32_t task) {
    uint32_t row = find_subscriber(table, task);
    if (!row) {
        row = aqw_row_new(table, AQW_ROW_SUBSCRIBER);
        subscriber_at(table, row)->task = task;
        aqw_index_insert(table, AQW_ROW_SUBSCRIBER, row);
    }
    subscriber_at(table, row)->count++;
}

static aqw_subscription_row *add_subscription(aqw_table *table, const uint8_t subscription_id[16],
                                              uint32_t task) {
    aqw_subscription_row *subscription =
        aqw_row_new_keyed(table, AQW_ROW_SUBSCRIPTION, subscription_id);
    subscription->task = task;
    count_subscription(table, task);
    return subscription;
}

/* ---- Events ---- */

static aqw_status subscription_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *subscription_id = event->as.subscription_created.subscription_id;
    aqw_bytes filter = event->as.subscription_created.filter;
    uint32_t task_row = aqw_table_find_task(table, event->as.subscription_created.task_id);
    if (!task_row) return AQW_REFUSED_UNKNOWN_TASK;
    if (aqw_table_find_subscription(table, subscription_id)) return AQW_REFUSED_SUBSCRIPTION_EXISTS;
    if (filter.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    if (reserve_subscription(table, task_row) != AQW_OK) return AQW_NO_MEMORY;
    const uint8_t *filter_copy = aqw_bytes_copy(table, filter);
    if (!filter_copy) return AQW_NO_MEMORY;

    aqw_subscription_row *subscription = add_subscription(table, subscription_id, task_row);
    subscription->filter = filter_copy;
    subscription->filter_size = filter.size;
    subscription->created_at = event->timestamp;
    return AQW_OK;
}

static aqw_status subscription_changed(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_subscription(table, event->as.subscription.subscription_id);
    int is_cancel = event->kind == AQW_SUBSCRIPTION_CANCELED;
    if (!row) return is_cancel ? AQW_REFUSED_UNKNOWN_SUBSCRIPTION : AQW_OK;
    aqw_subscription_row *subscription = subscription_at(table, row);
    if (is_cancel && subscription->is_canceled) return AQW_REFUSED_SUBSCRIPTION_CANCELED;
    if (aqw_undo_keep_row(table, AQW_ROW_SUBSCRIPTION, row) != AQW_OK) return AQW_NO_MEMORY;

    if (is_cancel) {
        subscription->is_canceled = 1;
        subscription->canceled_at = event->timestamp;
    } else {
        subscription->is_triggered = 1;
        subscription->triggered_at = event->timestamp;
    }
    return AQW_OK;
}

static const aqw_row_event subscription_events[] = {
    {AQW_SUBSCRIPTION_CREATED, subscription_created},
    {AQW_SUBSCRIPTION_TRIGGERED, subscription_changed},
    {AQW_SUBSCRIPTION_CANCELED, subscription_changed},
    {0, NULL},
};

/* ---- The view ---- */

void aqw_table_subscription(const aqw_table *table, uint32_t row, aqw_subscription_view *view) {
    const aqw_subscription_row *subscription = subscription_at(table, row);
    aqw_id_copy(view->subscription_id, subscription->subscription_id);
    aqw_task_id_copy(table, view->task_id, subscription->task);
    view->filter = aqw_bytes_of(subscription->filter, subscription->filter_size);
    view->created_at = subscription->created_at;
    view->is_triggered = subscription->is_triggered;
    view->triggered_at = subscription->triggered_at;
    view->is_canceled = subscription->is_canceled;
    view->canceled_at = subscription->canceled_at;
}

int aqw_table_subscription_is_canceled(const aqw_table *table, uint32_t row) {
    return subscription_at(table, row)->is_canceled;
}

/* ---- The image ---- */

static aqw_status save_subscription(aqw_saver *save, uint32_t row) {
    const aqw_subscription_row *subscription = subscription_at(save->table, row);
    writer *out = start(save);
    put_id(out, subscription->subscription_id);
    put_task(save, subscription->task);
    put_varint(out, subscription->created_at);
    put_times(out, subscription->created_at, subscription->is_triggered, subscription->triggered_at,
              subscription->is_canceled, subscription->canceled_at);
    return emit_with(save, AQW_IMAGE_SUBSCRIPTION, subscription->filter, subscription->filter_size);
}

static aqw_status load_subscription(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    uint8_t subscription_id[16];
    aqw_filter fields;
    count_one(load, from, AQW_IMAGE_SUBSCRIPTION);
    read_id(from, subscription_id);
    uint32_t task = read_task(load, from);
    uint64_t created_at = read_varint(from);
    aqw_image_times happened =
        read_times(from, created_at, AQW_IMAGE_HAS_FIRST | AQW_IMAGE_HAS_SECOND);
    aqw_bytes filter = read_rest(from);
    if (finish(from) != AQW_OK || aqw_filter_decode(filter.data, filter.size, &fields) != AQW_OK ||
        aqw_table_find_subscription(table, subscription_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (reserve_subscription(table, task) != AQW_OK) return AQW_NO_MEMORY;
    const uint8_t *filter_copy = aqw_bytes_copy(table, filter);
    if (!filter_copy) return AQW_NO_MEMORY;

    aqw_subscription_row *subscription = add_subscription(table, subscription_id, task);
    subscription->filter = filter_copy;
    subscription->filter_size = filter.size;
    subscription->created_at = created_at;
    subscription->is_triggered = happened.has_first;
    subscription->triggered_at = happened.first;
    subscription->is_canceled = happened.has_second;
    subscription->canceled_at = happened.second;
    return AQW_OK;
}

static const aqw_row_item subscription_item = {.type = AQW_IMAGE_SUBSCRIPTION,
                                               .size_min = 21,
                                               .save = save_subscription,
                                               .load = load_subscription};

/* ---- The purge ---- */

static aqw_subscriber_row *subscriber_of(const aqw_table *table, uint32_t subscription) {
    return subscriber_at(table, find_subscriber(table, subscription_at(table, subscription)->task));
}

static int subscription_is_purged(const aqw_table *table, uint32_t row) {
    const aqw_subscription_row *subscription = subscription_at(table, row);
    return subscription->is_purged || aqw_task_at(table, subscription->task)->is_purged;
}

static aqw_status keep_subscription(aqw_table *table, uint32_t row) {
    return aqw_undo_keep(table, subscriber_of(table, row), sizeof(aqw_subscriber_row));
}

/* An event may name a subscription as well as its task. */
static int subscription_is_marked(const aqw_table *table, uint32_t row) {
    return subscription_at(table, row)->is_purged;
}

static void mark_subscription(aqw_table *table, uint32_t row, int is_purged) {
    subscription_at(table, row)->is_purged = is_purged != 0;
}

static void drop_subscription(aqw_table *table, uint32_t row) {
    subscriber_of(table, row)->count--;
    table->head.purged[AQW_ROW_SUBSCRIPTION]++;
}

/* What was purged by itself is out of the counts already. */
static void drop_with_task(aqw_table *table, uint32_t task) {
    uint32_t row = find_subscriber(table, task);
    if (row) table->head.purged[AQW_ROW_SUBSCRIPTION] += subscriber_at(table, row)->count;
}

static int search_subscriptions(aqw_search *of);

static const aqw_row_purge subscription_purge = {
    .unknown = AQW_REFUSED_UNKNOWN_SUBSCRIPTION,
    .ids_at = offsetof(aqw_event, as.runs_purged.subscription_ids),
    .count_at = offsetof(aqw_event, as.runs_purged.subscription_count),
    .found_ids_at = offsetof(aqw_finished, subscription_ids),
    .found_count_at = offsetof(aqw_finished, subscription_count),
    .find = aqw_table_find_subscription,
    .is_over = aqw_table_subscription_is_canceled,
    .keep = keep_subscription,
    .is_marked = subscription_is_marked,
    .mark = mark_subscription,
    .drop = drop_subscription,
    .search = search_subscriptions,
};

static int search_subscriptions(aqw_search *of) {
    aqw_finished *finished = of->finished;
    if (!of->what->has_cutoff) return 1;
    for (; aqw_search_enter_row(of, AQW_ROW_SUBSCRIPTION); finished->next_row++) {
        const aqw_subscription_row *subscription = subscription_at(of->table, finished->next_row);
        if (!aqw_search_may_go_on(of)) return 0;
        aqw_search_look_at(of, 1);
        if (subscription_is_purged(of->table, finished->next_row)) continue;
        if (!subscription->is_canceled || subscription->canceled_at > of->what->cutoff) continue;
        aqw_search_add(of, &subscription_purge, subscription->subscription_id);
    }
    return 1;
}

/* ---- The kinds ---- */

#if !defined(NDEBUG)
static void check_subscription(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_subscription_row *subscription = subscription_at(table, row);
    AQW_ASSERT(subscription->filter != NULL);
    AQW_ASSERT(!subscription->is_purged || subscription->is_canceled);
    AQW_ASSERT(find_subscriber(table, subscription->task) != 0);
    to->sums[AQW_ROW_SUBSCRIPTION] += !subscription->is_purged;
}

static void check_subscriber(const aqw_table *table, uint32_t row, aqw_tally *to) {
    to->sums[AQW_ROW_SUBSCRIBER] += subscriber_at(table, row)->count;
}

static void check_subscribers(const aqw_table *table, const aqw_tally *of) {
    (void)table;
    AQW_ASSERT(of->sums[AQW_ROW_SUBSCRIBER] == of->sums[AQW_ROW_SUBSCRIPTION]);
}
#endif

const aqw_row_type aqw_subscription_type = {
    .size = sizeof(aqw_subscription_row),
    .count_at = AQW_COUNTED_AS(subscriptions),
    .hash_of = subscription_hash,
    .is_purged = subscription_is_purged,
    .events = subscription_events,
    .item = &subscription_item,
    .purge = &subscription_purge,
    .drop_with_task = drop_with_task,
    AQW_CHECKED_BY(check_subscription, NULL)
};

const aqw_row_type aqw_subscriber_type = {
    .size = sizeof(aqw_subscriber_row),
    .hash_of = subscriber_hash,
    AQW_CHECKED_BY(check_subscriber, check_subscribers)
};
