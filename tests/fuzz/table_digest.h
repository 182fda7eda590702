/* Everything that a table's queries show, as one number, for comparing tables; and the invariants that hold in every table. */
#ifndef FUZZ_TABLE_DIGEST_H
#define FUZZ_TABLE_DIGEST_H

#include "table/table.h"

/* Row numbers are left out, and the order of rows is in. Ends the program where the table contradicts itself. */
uint64_t table_digest(const aqw_table *table);

#endif
