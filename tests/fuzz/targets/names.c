/* Names and paths of files.
 *
 * Held: a name is a segment's only where it is exactly the one that its numbers make; paths never leave their room. */
#include <stdlib.h>
#include <string.h>

#include "files/segment.h"
#include "fuzz.h"

static void check_name(const char *name) {
    uint64_t number = 0, first = 0;
    char path[128];
    int is_segment = aqw_segment_name_parse(name, &number, &first);
    CHECK(!is_segment || !aqw_segment_name_is_temporary(name));
    if (!is_segment) return;
    CHECK(number > 0 && (first > 0 || number > 1));    /* 0: behind the last event that there can be */
    CHECK(aqw_segment_path(path, sizeof path, "/q", number, first) == AQW_OK);
    CHECK(strncmp(path, "/q/wal/", 7) == 0 && strcmp(path + 7, name) == 0);
}

static void check_numbers(input *in) {
    uint64_t number = take_u64(in), first = take_u64(in), parsed_number = 0, parsed_first = 0;
    char path[64];
    CHECK(aqw_segment_path(path, sizeof path, "/q", number, first) == AQW_OK);
    int is_segment = aqw_segment_name_parse(path + 7, &parsed_number, &parsed_first);
    CHECK(is_segment == (number > 0 && (first > 0 || number > 1)));
    CHECK(!is_segment || (parsed_number == number && parsed_first == first));
}

static void check_join(const char *name, size_t capacity) {
    char *to = malloc(capacity + (capacity == 0));
    if (to == NULL) abort();
    aqw_status status = aqw_path_join(to, capacity, "/queue", name);
    CHECK((status == AQW_OK) == (strlen(name) + 8 <= capacity));
    CHECK(status != AQW_OK || (strncmp(to, "/queue/", 7) == 0 && strcmp(to + 7, name) == 0));
    (void)aqw_segment_path(to, capacity, name, 1, 1);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t capacity = take_u8(&in);
    check_numbers(&in);
    char *name = malloc(size + 1);
    if (name == NULL) abort();
    if (size > 0) memcpy(name, data, size);
    name[size] = '\0';
    check_name(name);
    check_join(name, capacity);
    free(name);
    return 0;
}
