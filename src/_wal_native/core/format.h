/* Format 1 of the log on disk, byte by byte. This comment is the specification; record.c, segment.c
 * and ring.c are the only code that reads or writes these bytes (payloads: event.c).
 *
 * All numbers are unsigned and little-endian. "Checksum" is CRC-32C. A "position" is an offset in a segment file.
 *
 * DIRECTORY
 *   LOCK                        locked exclusively while a writer lives; text: who holds it; never deleted
 *   ring                        the ring: appended records that may not be in the segment yet
 *   wal/<number>-<first>.log    segments; number and first sequence in 20 decimal digits
 *   wal/prepare-*.tmp           segments in preparation; never read, deleted by the next writer
 *   quarantine/                 copies of bytes that a recovery dropped
 *   snapshots/                  reserved for snapshots
 *
 * SEGMENT: a file of fixed size, written with zeros and synced before it gets its name.
 *   offset  size
 *        0   128  header
 *     4096   128  header again, the same bytes
 *     8192        records, one after the other, up to the end of the segment; zeros from there on
 *   All other bytes below 8192 are zero.
 *
 *   Segment header:
 *        0     8  magic "AQWALSEG"
 *        8     4  format version, 1
 *       12     4  header size, 128
 *       16    16  log UUID: the same in every file of a queue
 *       32     8  segment number, from 1; never used again
 *       40     8  salt, random
 *       48     8  first sequence: that of the first event in this segment
 *       56     8  file size
 *       64     8  watermark: every event up to this sequence was on stable storage when this header was written
 *       72     8  link: number of the predecessor, 0 for segment 1
 *       80     8  link: salt of the predecessor
 *       88     8  link: end of the predecessor: only its bytes below this position count
 *       96     8  link: sequence of the last event in the predecessor (and before)
 *      104     8  Unix seconds at creation; for people, no decision rests on it
 *      112    12  zero
 *      124     4  checksum of bytes 0 to 123
 *   A header is valid if and only if magic, version, size and checksum are right, number and first sequence are those of
 *   the file's name, and the file size is a multiple of 4 within limits.h and is the file's. A segment's header is the
 *   first copy if it is valid, else the second; two valid copies that differ are damage.
 *   Segments form one chain: numbers rise by one; each link equals the predecessor's number and salt; first sequence =
 *   link's last sequence + 1.
 *
 * RECORD: at a position that is a multiple of 4
 *        0     4  checksum of bytes 4 to the end of the padding, started from the seed (below)
 *        4     3  payload size
 *        7     1  kind: an event kind (event.h), 240 = close marker, 241 = pad
 *        8     4  ordinal: events before this record in this segment; an event's sequence is first sequence + ordinal
 *       12     3  lag: sequence of the last event up to and including this record, less the durable sequence when the
 *                 record was appended; 16777215 = not known. The difference is the record's watermark
 *       15     1  flags: 1 = the batch goes on with the next record, 2 = last record of a batch
 *       16        payload (payload.h for events; empty for a marker; zeros for a pad)
 *                 zeros up to a multiple of 4
 *   Seed: the checksum's running value over log UUID, segment number, salt and the record's position (8 bytes each but
 *   the UUID). So a record is valid in one place of one segment of one log only.
 *   A record is valid if and only if its checksum is right, its kind is known, its flags are 0, 1 or 2 (0 for a
 *   marker or pad), and its ordinal is the number of events before it.
 *   A batch is a run of records, all but the last with flag 1, the last with flag 2; no marker or pad stands inside,
 *   and it lies in one segment. A close marker says that every event before it was synced before it was written.
 *
 * RING: a file of 65536 bytes of header and then `size` bytes of data, mapped by the writer
 *        0     8  magic "AQWALRNG"
 *        8     4  format version, 1
 *       12     4  header area, 65536
 *       16    16  log UUID
 *       32     8  size of the data, a multiple of 65536
 *       40    20  zero
 *       60     4  checksum of bytes 0 to 59
 *     4096     8  durable sequence, slot 0
 *     4104     8  its check: checksum of UUID and sequence, in the low 32 bits; the complement above
 *     8192    16  slot 1, likewise. The writer uses the two in turn; the greatest valid one counts
 *    65536        the byte of the newest segment at position p is at 65536 + p mod size
 *   A ring byte counts only as part of a record that is valid at its position in the newest segment.
 *
 * READING (stream.c)
 *   1. Segments in order of number; every header valid, the chain whole, the first segment number 1 at sequence 1.
 *   2. All but the newest: records must be valid one after the other from 8192 to exactly the end that the successor's link
 *      gives, with as many events as the two first sequences say, not inside a batch. Anything else is damage.
 *   3. W = the highest watermark in any header, any slot of the ring, and any valid record of the newest segment, in the
 *      segment or the ring, also behind the first invalid one.
 *   4. The newest, position by position: the segment's record if it is valid; else the ring's, if it is valid and lies above W.
 *      Where neither holds the stream ends. If the next event's sequence is at most W, that is damage; so is a record that
 *      can't stand where it does by its flags. An unfinished batch at the end does not count. Bytes that are not zero from
 *      the end on are a torn tail.
 *   5. Clean: the last record is a close marker in the segment, its watermark is the last sequence, zeros follow, and the ring
 *      holds no event behind it.
 *   6. The ring may be missing after a clean end, or where there is no event yet. Else its absence is damage.
 *
 * WRITING ON (recovery.c)
 *   After a clean end the marker's bytes are written again and synced, and the same segment is continued. After any other end
 *   what is dropped is copied to quarantine/, then a new segment continues: its link ends the newest one after the last
 *   event at or below W, and the events above W are written into it, before it gets its name. Only then is the ring replaced. */
#ifndef AQW_FORMAT_H
#define AQW_FORMAT_H

#define AQW_FORMAT_VERSION 1

#define AQW_SEGMENT_HEADER_SIZE 128
#define AQW_SEGMENT_HEADER_COPY 4096
#define AQW_SEGMENT_DATA 8192

#define AQW_RECORD_HEADER_SIZE 16
#define AQW_RECORD_ALIGNMENT 4
#define AQW_RECORD_LAG_UNKNOWN 16777215
#define AQW_KIND_MARKER 240
#define AQW_KIND_PAD 241
#define AQW_FLAG_BATCH_OPEN 1
#define AQW_FLAG_BATCH_END 2

#define AQW_RING_HEADER_SIZE 64
#define AQW_RING_SLOT_FIRST 4096
#define AQW_RING_SLOT_SECOND 8192
#define AQW_RING_DATA 65536

#endif
