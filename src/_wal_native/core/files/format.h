/* Format 1 of the log on disk, byte by byte. This comment is the specification; record.c,
 * segment.c, ring.c and snapshot*.c are the only code that reads or writes these bytes (payloads:
 * event.c; items of snapshots: table/image.h).
 *
 * All numbers are unsigned and little-endian. "Checksum" is CRC-32C. A "position" is an offset in a
 * segment file. In every version magic, version and checksum of the three headers (segment, ring,
 * snapshot) stand where they do here, over the same bytes: a reader believes a version only if the
 * checksum is right, so that it does not take damage for a newer version.
 *
 * DIRECTORY
 *   LOCK                        a writer holds its lock exclusively while it lives; the text names
 *                               the holder; the library never deletes it. The same writer then
 *                               locks the directory wal/ too, where the system can: so a LOCK that
 *                               another program deletes lets no second writer in
 *   ring                        the ring: appended records that may not be in the segment yet
 *   wal/<number>-<first>.log    segments; number and first sequence in 20 decimal digits
 *   wal/prepare-*.tmp           segments in preparation; never read, deleted by the next writer
 *   snapshots/<sequence>.snap   the projection as of that event; sequence in 20
 *                               decimal digits, from 1
 *   snapshots/snapshot.tmp      a snapshot in the making; never read, deleted by the
 *                               maker of the next one
 *   quarantine/                 copies of bytes that a recovery dropped, and files
 *                               that a repair moved away
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
 *       64     8  watermark: every event up to this sequence was on stable storage
 *                 when this header was written
 *       72     8  link: number of the predecessor, 0 for segment 1
 *       80     8  link: salt of the predecessor
 *       88     8  link: end of the predecessor: only its bytes below this position count
 *       96     8  link: sequence of the last event in the predecessor (and before)
 *      104     8  Unix seconds at creation; for people, no decision rests on it
 *      112    12  zero
 *      124     4  checksum of bytes 0 to 123
 *   A header is valid if and only if magic, version, size and checksum are right, number and first
 *   sequence are those of the file's name, and the file size is a multiple of 4 within limits.h
 *   (AQW_SEGMENT_FILE_SIZE_MAX) and is the file's. A segment's header is the first copy if it is
 *   valid, else the second; two valid copies that differ are damage.
 *   Segments form one chain: numbers rise by one; each link equals the predecessor's number and
 *   salt; first sequence = link's last sequence + 1, which is 0 where the last sequence is
 *   2^64 - 1, because no event can follow that one. A segment with a number above 1 and a link of
 *   zeros is a repair's: it follows a snapshot.
 *
 * RECORD: at a position that is a multiple of 4
 *        0     4  checksum of bytes 4 to the end of the padding, started from the seed (below)
 *        4     3  payload size
 *        7     1  kind: 1 to 239 = an event (events.def), 240 = close marker, 241 = pad
 *        8     4  ordinal: events before this record in this segment; an event's sequence is first
 *                 sequence + ordinal
 *       12     3  lag: sequence of the last event up to and including this record, less the durable
 *                 sequence when the record was appended; 16777215 = not known. The difference is
 *                 the record's watermark
 *       15     1  flags: 1 = the batch goes on with the next record, 2 = last record of a batch
 *       16        payload (payload.h for events; empty for a marker; zeros for a pad)
 *                 zeros up to a multiple of 4
 *   Seed: the checksum's running value over log UUID, segment number, salt and the
 *   record's position (8 bytes each but the UUID). So a record is valid in one place
 *   of one segment of one log only.
 *   A record is valid if and only if its checksum is right, its kind is one of these, its flags are
 *   0, 1 or 2 (0 for a marker or pad), and its ordinal is the number of events before it. An event
 *   of a kind that the reader does not know was written by a newer library: replay refuses it, and
 *   what reads records takes it as any other.
 *   A batch is a run of records, all but the last with flag 1, the last with flag 2; no marker or
 *   pad stands inside, and it lies in one segment. A close marker says that every event before it
 *   was synced before it was written.
 *
 * RING: a file of 65536 bytes of header and then `size` bytes of data, mapped by the writer
 *        0     8  magic "AQWALRNG"
 *        8     4  format version, 1
 *       12     4  header area, 65536
 *       16    16  log UUID
 *       32     8  size of the data, a multiple of 65536
 *       40    16  history: random. A new writer keeps it where it finds the ring's
 *                 file itself, and makes another one where it finds a copy or no ring,
 *                 as does a repair. So a position in a log that was put back from a
 *                 backup is known to be of another history. The copy of a log in a store
 *                 has the log's UUID here
 *       56     4  what the system keeps for the ring's file and for no copy of it, as
 *                 a CRC-32C (io.h, identity)
 *       60     4  checksum of bytes 0 to 59
 *     4096     8  durable sequence, slot 0
 *     4104     8  its check: checksum of UUID and sequence, in the low 32 bits; the
 *                 complement above
 *     8192    16  slot 1, likewise. The writer uses the two in turn; the greatest valid one counts
 *    12288    16  number of the segment that the writer goes on in, and its check, as in the slots
 *                 above; written when that segment's name is durable, and before any of its events
 *    16384    16  the same, likewise in turn; zeros in both say nothing
 *    65536        the byte of the newest segment at position p is at 65536 + p mod size
 *   A ring byte counts only as part of a record that is valid at its position in the
 *   newest segment.
 *
 * SNAPSHOT: the state table as of one event, which was durable in the log before the
 * file got its name
 *   offset  size
 *        0     8  magic "AQWALSNP"
 *        8     4  format version, 1
 *       12     4  header size, 64
 *       16    16  log UUID
 *       32     8  sequence of the last event in it
 *       40     8  salt, random
 *       48     8  Unix seconds at creation; for people
 *       56     4  zero
 *       60     4  checksum of bytes 0 to 59
 *       64        blocks, one after the other, up to the end of the file
 *   Magic, version and checksum stand there in every version: a reader believes a newer one only
 *   where the checksum is right.
 *
 *   Block:
 *        0     4  checksum of bytes 4 to the end of the block, started from the seed: the
 *                 checksum's running value over log UUID, sequence, salt and the block's offset in
 *                 the file (8 bytes each but the UUID)
 *        4     4  size of what follows the count
 *        8     4  count of items
 *       12        items: 4 bytes, of which the lower 26 bits are the payload's size and the upper 6
 *                 the item's type, then the payload
 *   The last block, and no other, has a count of 0; its 8 bytes are the number of
 *   items in all blocks.
 *   A writer begins another block where one would grow past 262144 bytes; an item that is larger
 *   has its own. Where blocks are cut means nothing to a reader.
 *   A snapshot is valid if and only if header and blocks are, its sequence is that of the file's
 *   name, items fill their blocks, the last block's number is theirs, it ends at the file's end,
 *   and the items are a table's whose last event is `sequence` (table/image.h).
 *
 * READING (stream.c; snapshot.c)
 *   0. The base is the newest valid snapshot; those that are not valid, or that the medium does not
 *      give, are passed over and reported. One of a newer version is refused. B = its sequence, 0
 *      without a snapshot. Its log UUID must be the segments'.
 *   1. Segments in order of number. With a base, those before the last one whose first sequence is
 *      at most B + 1 do not count, whether they are there or not, and whatever is in them. Of the
 *      others: every header valid, the chain whole. The first one: without a base it has number 1
 *      and begins at sequence 1; with a base its first sequence is at most B + 1, and its link is
 *      of no consequence unless its number is 1.
 *   2. All but the newest: records must be valid one after the other from 8192 to exactly the end
 *      that the successor's link gives, with as many events as the two first sequences say, not
 *      inside a batch. Anything else is damage. Events up to B are verified and not applied.
 *   3. W = the highest of B, the watermark in any header, any slot of the ring, and
 *      the watermark of any valid record of the newest segment, in the segment or the
 *      ring, also after the first invalid one.
 *   4. The newest, position by position: the segment's record if it is valid; else the ring's, if
 *      it is valid and lies above W. Where neither holds, the stream ends. If the next event's
 *      sequence is at most W, that is damage (where only B says so: a snapshot that is ahead of the
 *      log); so is a record that can't stand where it does by its flags. An unfinished batch at the
 *      end does not count. Bytes that are not zero from the end on are a torn tail.
 *   5. Clean: the last record is a close marker in the segment, its watermark is the last sequence,
 *      zeros follow, and the ring holds no event after it.
 *   6. The ring may be missing after a clean end, or where there was never an event. Else its
 *      absence is damage; and so is that of the segment that the ring names, or of any before it.
 *      What 4 to 6 say of the place where the records end is one table of cases:
 *      read/end_cases.c.
 *   7. No segment, but a ring or a snapshot, valid or not, is damage too. Only where all three are
 *      missing may a writer create a queue.
 *
 * WRITING ON (recovery.c)
 *   After a clean end the writer writes the marker's bytes again, syncs them, and continues the
 *   same segment. It also continues, without a marker and after a sync of the file and of its name,
 *   a segment whose last byte that is not zero belongs to an event at or below W (or to its header,
 *   where it has no event), if the ring has nothing for what follows: all that this segment holds
 *   is stable. After any other end it copies what is dropped to quarantine/, then continues in a
 *   new segment: its link ends the newest one after the last event at or below W, and the events
 *   above W are written into it, before it gets its name. Only then does it replace the ring.
 *   Where the disk has no room for a second ring, the writer puts a close marker at the end of what
 *   the log goes on from, and syncs it; then it uses the old ring's file again: its slots and data
 *   become zeros, its history and its size stay. Where that file can't be written, the writer
 *   removes it, and makes a new one in its room, smaller if need be, with another history.
 *
 * FOLLOWING (follow.c): reading while a writer lives
 *   1. Begin in the newest segment whose first sequence is at most that of the wanted event. Where
 *      there is no such segment the event was compacted away.
 *   2. Read the durable sequence from the ring's slots. Then, in this order, look for the segment
 *      with the next number. If it links to this one, this one ends where it says, and its
 *      watermark counts as durable too. If it does not, begin again at 1: segments were compacted
 *      away, or a repair began a new chain.
 *   3. Take records, one after the other from 8192, while the next event is durable and the end is
 *      not reached. Read an invalid one again; if it stays invalid, that is damage. At the end go
 *      on in the successor, which must begin with the next event; then 2 again.
 *   4. Where the next event is not durable there is nothing yet: 2 again later.
 *   A successor's first sequence at or below an event that was delivered says that a
 *   repair gave that event up.
 *
 * COMPACTION (compact.c), by the holder of the lock
 *   1. Load the base, follow the log from there to what is durable, write that as a snapshot:
 *      temporary name, sync, read back, rename, sync of snapshots/ and of the queue's directory.
 *      Where nothing after the base is durable, make no snapshot, only the syncs of names.
 *   2. Keep the newest snapshot and the valid one before it; remove the others, oldest first. While
 *      the disk is short of room: keep only the newest, once it was read back and verified.
 *   3. Remove, oldest first, the segments that do not count for the older of the two by READING 1.
 *      With one snapshot, remove no segment.
 *   On a full disk keep the newest snapshot, which was read back, alone: 2 and 3 with it in the
 *   place of the older one. Where there is no room to make a snapshot, do that with the base first.
 *
 * REPAIR (repair.c), by the holder of the lock, of a log that READING refuses
 *   1. From the base on apply, of the segments that count by READING 1 and whose headers are valid,
 *      every event that is valid at its place in segment or ring (also below W) and has the next
 *      sequence; batches whole. K = the last one.
 *   2. Write a snapshot of K unless the base is that. Move the ring to quarantine/. Publish an
 *      empty segment: the number after all others, first sequence K + 1, a link of zeros. Move all
 *      other segments and snapshots to quarantine/. Write a ring whose slot says K.
 *   Without the last step READING refuses the log, because the ring is missing. With K = 0 the
 *   repair moves everything, and writes nothing. */
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
#define AQW_RING_SEGMENT_FIRST 12288
#define AQW_RING_SEGMENT_SECOND 16384
#define AQW_RING_DATA 65536

#endif
