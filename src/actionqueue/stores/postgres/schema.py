"""The tables, and every statement that goes to them.

The row of ``aq.head`` is the fence. A campaign and an append both change it, so one waits for the
other, and a lock of PostgreSQL is held until the standbys have answered: an append is wholly before
or wholly after a new epoch. After a promotion the old primary gets no answer from a majority.
"""

from __future__ import annotations

__all__ = [
    "APPEND",
    "CAMPAIGN",
    "CREATE_LOG",
    "DROP_GROUPS",
    "DROP_OLD_PIECES",
    "DROP_SNAPSHOTS",
    "END_THE_DEAD",
    "FIND_FIRST",
    "FIND_LOG",
    "HAS_SCHEMA",
    "HEAD",
    "KEEP",
    "LEASE_SECONDS",
    "LOCK",
    "OUTCOME",
    "PUT_MANIFEST",
    "PUT_PIECE",
    "READ",
    "READ_MANIFESTS",
    "READ_PIECE",
    "RESIGN",
    "SCHEMA",
    "SETTINGS",
    "SET_SESSION",
    "STANDBYS",
    "STANDING",
    "TRIM",
    "UNLOCK",
    "WHY_NOT",
]

LEASE_SECONDS = 3
"""A writer that has not been heard of for so long may be put aside."""
LOCK_CLASS = 4711
"""The class of the advisory locks: one for each log, which a living writer's session holds."""

HAS_SCHEMA = "SELECT to_regclass('aq.manifest') IS NOT NULL"
SCHEMA = f"""
SELECT pg_advisory_xact_lock({LOCK_CLASS}, 0);
CREATE SCHEMA IF NOT EXISTS aq;
CREATE TABLE IF NOT EXISTS aq.head (
  log_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  uuid uuid NOT NULL,
  epoch bigint NOT NULL,
  next_seq bigint NOT NULL,
  watermark bigint NOT NULL,
  trimmed_to bigint NOT NULL,
  holder text,
  seen timestamptz
) WITH (fillfactor = 10);
CREATE TABLE IF NOT EXISTS aq.log (
  log_id int,
  first_seq bigint,
  last_seq bigint NOT NULL,
  epoch bigint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (log_id, first_seq)
);
ALTER TABLE aq.log ALTER data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS aq.snapshot (
  log_id int,
  sequence bigint,
  epoch bigint,
  no int,
  data bytea NOT NULL,
  PRIMARY KEY (log_id, sequence, epoch, no)
);
ALTER TABLE aq.snapshot ALTER data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS aq.manifest (
  log_id int,
  sequence bigint,
  epoch bigint NOT NULL,
  pieces int NOT NULL,
  digest bytea NOT NULL,
  PRIMARY KEY (log_id, sequence)
);
"""
"""A snapshot is visible by its row in ``aq.manifest``, which comes last. The lock is for several
calls at once: without it PostgreSQL refuses all but one of them."""

CREATE_LOG = """
INSERT INTO aq.head (name, uuid, epoch, next_seq, watermark, trimmed_to)
VALUES (%(name)s, %(uuid)s, 0, 1, 0, 0) ON CONFLICT (name) DO NOTHING
"""

SET_SESSION = """
SET synchronous_commit = on;
SET client_min_messages = warning;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_session_timeout = 0;
SET tcp_keepalives_idle = 1;
SET tcp_keepalives_interval = 1;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 3000;
"""

"""A role may have any of them otherwise. The warnings are needed: a commit that stops waiting for
the standbys says so in one."""

STANDING = """
SELECT system_identifier, CASE WHEN pg_is_in_recovery() THEN 0
  ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int8 END,
  EXISTS (SELECT FROM pg_stat_replication)
FROM pg_control_system()
"""
"""The control file names the timeline of the last checkpoint only, which may be from before a
promotion."""

FIND_LOG = "SELECT log_id, uuid FROM aq.head WHERE name = %(name)s"

HEAD = """
SELECT uuid, epoch, next_seq, watermark, trimmed_to, holder, seen::text
FROM aq.head WHERE log_id = %(log)s
"""

# --- Terms ----------------------------------------------------------------------------------------

_IS_SAFE = """
(%(is_unsafe)s OR (current_setting('synchronous_standby_names') <> ''
  AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
  AND current_setting('fsync') = 'on'))
"""

_LEASE = f"make_interval(secs => {LEASE_SECONDS})"

LOCK = f"SELECT pg_try_advisory_lock({LOCK_CLASS}, %(log)s)"
UNLOCK = "SELECT pg_advisory_unlock_all()"
"""Each campaign of a session has taken the lock once more."""

END_THE_DEAD = f"""
SELECT pg_terminate_backend(l.pid) FROM aq.head h, pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE h.log_id = %(log)s AND l.locktype = 'advisory' AND l.classid = {LOCK_CLASS}
  AND l.objid = h.log_id AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((h.seen < clock_timestamp() - {_LEASE} OR h.seen::text = %(silent)s)
      AND NOT coalesce(
        a.query_start BETWEEN clock_timestamp() - {_LEASE} AND clock_timestamp(), false)
    OR h.epoch IN (%(resumed)s::bigint, %(resumed)s::bigint + %(step)s::bigint))
"""  # noqa: S608 -- of numbers
"""The system of a writer that was stopped goes on answering, so its session would live for ever.

A session that has just asked something is another candidate's, which has the lock for a moment. It
may be taking the log: one that ended it then would leave a term to the log that no writer has.
"""

CAMPAIGN = f"""
UPDATE aq.head SET epoch = coalesce(%(resumed)s::bigint, epoch) + %(step)s::bigint,
  holder = %(holder)s, seen = clock_timestamp()
WHERE log_id = %(log)s AND {_IS_SAFE} AND CASE WHEN %(resumed)s::bigint IS NULL
  THEN holder IS NULL OR epoch = %(own)s OR seen < clock_timestamp() - {_LEASE}
    OR seen::text = %(silent)s
  ELSE epoch IN (%(resumed)s::bigint, %(resumed)s::bigint + %(step)s::bigint) END
RETURNING epoch, next_seq
"""  # noqa: S608 -- of the texts above
"""It is the barrier, too: its answer from the standbys covers all that the log holds. So it leaves
the watermark alone, which readers could see before that, where the commit stops waiting.

The lock is not enough: it ends with its session, and does not go to another server with the log. So
a writer has its time, too. ``silent`` is what a candidate has seen for so long by its own clock.

The step is a campaign's own number. A campaign that lost its answer knows by it which epoch it has
made itself, and a server that was promoted without an epoch does not give the same one again.
"""

KEEP = f"""
UPDATE aq.head SET seen = clock_timestamp(), watermark = greatest(watermark, %(watermark)s)
WHERE log_id = %(log)s AND epoch = %(epoch)s AND next_seq > %(watermark)s AND {_IS_SAFE}
"""  # noqa: S608 -- of the text above
"""A server that lacks what was acknowledged matches none of the changes of a term."""

RESIGN = """
UPDATE aq.head SET epoch = epoch + 1, holder = NULL,
  watermark = greatest(watermark, %(watermark)s)
WHERE log_id = %(log)s AND epoch = %(epoch)s AND next_seq > %(watermark)s
"""

WHY_NOT = """
SELECT epoch, next_seq, holder, seen::text, current_setting('synchronous_standby_names'),
  current_setting('synchronous_commit'), current_setting('fsync')
FROM aq.head WHERE log_id = %(log)s
"""

# --- Groups ---------------------------------------------------------------------------------------

APPEND = f"""
WITH h AS (
  UPDATE aq.head SET next_seq = %(last)s::bigint + 1, seen = clock_timestamp(),
    watermark = greatest(watermark, %(watermark)s)
  WHERE log_id = %(log)s AND epoch = %(epoch)s AND next_seq = %(first)s
    AND next_seq > %(watermark)s AND {_IS_SAFE}
  RETURNING 1
)
INSERT INTO aq.log (log_id, first_seq, last_seq, epoch, data)
SELECT %(log)s, %(first)s, %(last)s, %(epoch)s, %(group)b FROM h
"""  # noqa: S608 -- of the text above

OUTCOME = "SELECT data FROM aq.log WHERE log_id = %(log)s AND first_seq = %(first)s"

FIND_FIRST = """
SELECT max(first_seq) FROM aq.log WHERE log_id = %(log)s AND first_seq <= %(first)s
"""

READ = """
SELECT first_seq, last_seq, data FROM aq.log
WHERE log_id = %(log)s AND first_seq >= %(first)s ORDER BY first_seq LIMIT %(count)s
"""

TRIM = """
UPDATE aq.head SET trimmed_to = greatest(trimmed_to, %(below)s::bigint - 1)
WHERE log_id = %(log)s AND epoch = %(epoch)s AND EXISTS
  (SELECT 1 FROM aq.manifest m WHERE m.log_id = %(log)s AND m.sequence >= %(below)s::bigint - 1)
"""

DROP_GROUPS = """
DELETE FROM aq.log WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM aq.log WHERE log_id = %(log)s AND last_seq < %(below)s
    AND last_seq <= (SELECT trimmed_to FROM aq.head WHERE log_id = %(log)s)
  ORDER BY first_seq LIMIT 1000))
"""
"""A server that was promoted wrongly may have neither the trim nor the snapshot for it: what it
has not trimmed itself stays, with the snapshots that reach so far."""

# --- Snapshots ------------------------------------------------------------------------------------

PUT_PIECE = """
INSERT INTO aq.snapshot (log_id, sequence, epoch, no, data)
SELECT %(log)s, %(sequence)s, %(epoch)s, %(number)s, %(piece)b
FROM aq.head WHERE log_id = %(log)s AND epoch = %(epoch)s AND next_seq > %(sequence)s
ON CONFLICT (log_id, sequence, epoch, no) DO UPDATE SET data = EXCLUDED.data
"""

PUT_MANIFEST = """
INSERT INTO aq.manifest (log_id, sequence, epoch, pieces, digest)
SELECT %(log)s, %(sequence)s, %(epoch)s, %(count)s, %(digest)b
FROM aq.head WHERE log_id = %(log)s AND epoch = %(epoch)s AND next_seq > %(sequence)s
FOR UPDATE
ON CONFLICT (log_id, sequence) DO UPDATE
SET epoch = EXCLUDED.epoch, pieces = EXCLUDED.pieces, digest = EXCLUDED.digest
"""

READ_MANIFESTS = """
SELECT sequence, epoch, pieces, digest FROM aq.manifest
WHERE log_id = %(log)s ORDER BY sequence DESC
"""

READ_PIECE = """
SELECT data FROM aq.snapshot
WHERE log_id = %(log)s AND sequence = %(sequence)s AND epoch = %(epoch)s AND no = %(number)s
"""

DROP_SNAPSHOTS = """
DELETE FROM aq.manifest WHERE log_id = %(log)s AND sequence < %(below)s::bigint - 1
  AND sequence < (SELECT trimmed_to FROM aq.head WHERE log_id = %(log)s)
"""

DROP_OLD_PIECES = """
DELETE FROM aq.snapshot s WHERE s.log_id = %(log)s AND s.epoch <= %(epoch)s
  AND s.sequence < (SELECT max(sequence) FROM aq.manifest WHERE log_id = %(log)s)
  AND NOT EXISTS (SELECT 1 FROM aq.manifest m
    WHERE m.log_id = s.log_id AND m.sequence = s.sequence AND m.epoch = s.epoch)
"""
"""What snapshots have left that were dropped, replaced, or never finished; newer ones may be on
their way."""

# --- What the engine is ---------------------------------------------------------------------------

SETTINGS = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
  current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
  current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery()
"""

STANDBYS = "SELECT application_name, state, sync_state FROM pg_stat_replication ORDER BY 1"
