/* Feeds files to a target: each argument is a file, or a directory whose files are meant. Prints how many it fed. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { PATH_SIZE = 4096 };

static unsigned long fed;

static void give_up(const char *what, const char *path) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

static void feed_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size + (size == 0));
    if (file == NULL || data == NULL || fread(data, 1, size, file) != size) give_up("can't be read", path);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    fed++;
}

static void feed(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) give_up("is not there", path);
    if (!S_ISDIR(status.st_mode)) {
        feed_file(path, (size_t)status.st_size);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) give_up("can't be listed", path);
    for (int i = 0; i < count; i++) {
        char name[PATH_SIZE];
        int size = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && size > 0 && size < PATH_SIZE) feed(name);
        free(entries[i]);
    }
    free(entries);
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) feed(arguments[i]);
    printf("%lu inputs\n", fed);
    return 0;
}
