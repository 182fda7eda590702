/* The files of a queue's directory, described by an input: whole logs with right checksums and links, and every way of spoiling
 * them. A checksum never stops the fuzzer: what a step writes is sealed, unless the step is about damage. */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include "disk.h"
#include "fuzz.h"

/* Builds the files below QUEUE on an empty disk, until the input is used up. */
void image_build(disk *d, input *in);

#endif
