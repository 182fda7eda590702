/* Records: the frame around a payload (format.h, "RECORD"). This is the one place that
 * writes and checks it. */
#ifndef AQW_RECORD_H
#define AQW_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Where records lie: a checksum's seed is made of it, and ordinals count from it. */
typedef struct aqw_place {
    uint8_t log_uuid[16];
    uint64_t segment_number;
    uint64_t salt;
    uint64_t first_sequence;
    uint32_t seed;   /* set by aqw_place_seed: the running checksum over the first three */
} aqw_place;

/* A record that was read. `payload` points into the caller's bytes. */
typedef struct aqw_record {
    uint64_t segment_number;
    uint64_t position;
    uint64_t sequence;   /* an event's own; for a marker or pad that of the last event before */
    uint64_t watermark;         /* 0 where the record does not say it */
    uint32_t ordinal;
    uint32_t payload_size;
    uint32_t size;              /* header, payload and padding */
    uint8_t kind;
    uint8_t flags;
    const uint8_t *payload;
} aqw_record;

/* Computes place->seed from the other fields. */
void aqw_place_seed(aqw_place *place);

/* Returns the size of a record with this payload, header and padding included. */
uint32_t aqw_record_size(uint32_t payload_size);

/* Writes the header of a record whose payload already stands after it at to + 16, zeroes the
 * padding, and computes the checksum. */
void aqw_record_seal(uint8_t *to, const aqw_place *place, uint64_t position, uint32_t ordinal,
                     uint32_t lag, uint8_t kind, uint8_t flags, uint32_t payload_size);

#define AQW_PAD_SIZE_MAX (4096 + AQW_RECORD_HEADER_SIZE)

/* Writes a pad that fills the sector at `position` up, of at most AQW_PAD_SIZE_MAX bytes: so later
 * writes touch no sector that holds a durable record. Returns its size; 0 where no pad is needed
 * (sector_size 0: never), or where the `room` is too small for a marker after it. */
uint32_t aqw_pad_seal(uint8_t *to, const aqw_place *place, uint64_t position, uint32_t ordinal,
                      uint64_t lag, uint32_t sector_size, uint64_t room);

/* Reads the record at `from`, of which `available` bytes may be looked at. Returns 1 where it is
 * valid at this position, with any ordinal (aqw_record_check compares that), and fills *record.
 * Looks at the size before anything after it. */
int aqw_record_read(const uint8_t *from, size_t available, const aqw_place *place,
                    uint64_t position, aqw_record *record);

/* Does the same for a header whose kind, flags and checksum were found right. Returns 0 only where
 * its sequence is past the last possible one. */
int aqw_record_parse(const uint8_t *from, const aqw_place *place, uint64_t position,
                     aqw_record *record);

/* Does what aqw_record_read does, and the ordinal must be the given one. */
int aqw_record_check(const uint8_t *from, size_t available, const aqw_place *place,
                     uint64_t position, uint32_t ordinal, aqw_record *record);

/* Returns the checksum of the event itself: of sequence, kind and payload. It stays where a
 * recovery writes the event again into another segment. */
uint32_t aqw_record_event_checksum(const aqw_record *record);

/* Returns 1 where kind and flags can be a record's, before any checksum. Scans filter with it. */
int aqw_record_is_plausible(const uint8_t *from, uint32_t ordinal_min, uint32_t ordinal_max);

#endif
