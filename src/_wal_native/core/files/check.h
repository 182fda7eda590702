/* What files/ checks of itself in builds with assertions. */
#ifndef AQW_FILES_CHECK_H
#define AQW_FILES_CHECK_H

#include "base/assert.h"
#include "files/ring.h"

/* Checks the members of a published ring that never change; what the file holds is not looked at,
 * because other processes can change it. Returns 1: where something is wrong, an assertion inside
 * says what. */
int aqw_ring_check(const aqw_ring *ring);

#endif
