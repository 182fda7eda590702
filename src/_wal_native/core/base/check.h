/* What base/ checks of itself in builds with assertions. */
#ifndef AQW_BASE_CHECK_H
#define AQW_BASE_CHECK_H

#include "base/assert.h"
#include "base/map.h"

/* Checks every entry of the map, at the cost of one hash a row. Returns 1: where something is
 * wrong, an assertion inside says what. */
int aqw_map_check(const aqw_map *map);

#endif
