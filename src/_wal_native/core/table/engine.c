/* Whether the engine is paused: no row, but a part of the table's head. */
#include "event/rules.h"
#include "table/family.h"

static aqw_status engine_paused(aqw_engine_view *engine, uint64_t timestamp) {
    if (engine->is_paused) return AQW_REFUSED_ENGINE_PAUSED;
    engine->is_paused = 1;
    engine->has_paused_at = 1;
    engine->paused_at = timestamp;
    engine->has_resumed_at = 0;
    engine->resumed_at = 0;
    return AQW_OK;
}

static aqw_status engine_resumed(aqw_engine_view *engine, uint64_t timestamp) {
    if (!engine->is_paused) return AQW_REFUSED_ENGINE_NOT_PAUSED;
    if (aqw_rule_resume_precedes_pause(engine->paused_at, timestamp))
        return AQW_REFUSED_RESUME_BEFORE_PAUSE;
    engine->is_paused = 0;
    engine->has_resumed_at = 1;
    engine->resumed_at = timestamp;
    return AQW_OK;
}

aqw_status aqw_engine_apply(aqw_table *table, const aqw_event *event) {
    aqw_engine_view *engine = &table->head.engine;
    return event->kind == AQW_ENGINE_PAUSED ? engine_paused(engine, event->timestamp)
                                            : engine_resumed(engine, event->timestamp);
}

void aqw_table_engine(const aqw_table *table, aqw_engine_view *view) { *view = table->head.engine; }

void aqw_engine_put(writer *out, const aqw_engine_view *engine) {
    put_u8(out, engine->is_paused ? 1 : engine->has_paused_at ? 2 : 0);
    if (engine->has_paused_at) put_varint(out, engine->paused_at);
    if (engine->has_resumed_at) put_difference(out, engine->resumed_at, engine->paused_at);
}

void aqw_engine_read(cursor *from, aqw_engine_view *engine) {
    uint8_t state = read_code(from, 2);
    engine->is_paused = state == 1;
    engine->has_paused_at = state != 0;
    engine->has_resumed_at = state == 2;
    if (engine->has_paused_at) engine->paused_at = read_varint(from);
    if (engine->has_resumed_at) engine->resumed_at = read_difference(from, engine->paused_at);
    require(from, !engine->has_resumed_at ||
                      !aqw_rule_resume_precedes_pause(engine->paused_at, engine->resumed_at));
}

#if !defined(NDEBUG)
int aqw_engine_check(const aqw_engine_view *engine) {
    AQW_ASSERT(!engine->is_paused || engine->has_paused_at);
    AQW_ASSERT(!engine->is_paused || !engine->has_resumed_at);
    return 1;
}
#endif
