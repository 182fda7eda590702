/* Mapped files that another program may cut short. Touching a page after the new end raises SIGBUS,
 * which ends a process that does not expect it. A mapping that is registered here gets memory of
 * its own in that moment, and is lost from then on: what is in it belongs to no file. Other faults
 * go where they went before. Windows keeps mapped files from being cut. */
#ifndef AQW_MAPPINGS_H
#define AQW_MAPPINGS_H

#include <stddef.h>

/* Returns 0 or an errno value: ENOTSUP where there are AQW_MAPPING_COUNT_MAX already. */
int aqw_mapping_register(void *address, size_t size);
/* In a forked child, which does not have the parent's mappings. */
void aqw_mappings_forget_parents(void);
/* The caller calls it before it takes the mapping away. */
void aqw_mapping_forget(const void *address);
/* Returns 1 where the mapping that begins at the address was lost. Costs one load
 * where none was. */
int aqw_mapping_is_lost(const void *address);

#endif
