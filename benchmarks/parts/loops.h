/* Each does something `count` times. Those that return int return an aqw_status: 0 is success. */
#ifndef LOOPS_H
#define LOOPS_H

#include <stddef.h>
#include <stdint.h>

typedef struct loop_table loop_table;

uint32_t loop_crc32c(const uint8_t *data, size_t size, uint32_t times);
int loop_frame(uint32_t times);                     /* encode a transition as a record of a batch, and seal it */
int loop_ring_put(const uint8_t *data, uint64_t size, uint32_t times);
int loop_encode(uint32_t times);
int loop_decode(uint32_t times);
loop_table *loop_table_new(uint32_t runs);          /* NULL without memory, or where an event is refused */
void loop_table_free(loop_table *loop);
int loop_table_apply(loop_table *loop, uint32_t times);     /* heartbeats of leased runs in no order */
int loop_table_create(loop_table *loop, uint32_t times);    /* that many more runs, of one task */
uint32_t loop_table_find(loop_table *loop, uint32_t times); /* returns how many were found */

#endif
