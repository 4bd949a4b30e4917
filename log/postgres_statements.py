"""The statements of log/postgres_store.py: what each asks of the server, in the order it has to be asked.

The search path of the session names the schema. A log whose first records were archived has the table `base`
and the format that says so: an older Tidelog, which would take the missing records for a loss, refuses it.
"""

from __future__ import annotations

FORMAT_WHOLE, FORMAT_WITH_BASE = 1, 2

TABLES = f"""
CREATE TABLE log (
  seq bigint PRIMARY KEY CHECK (seq > 0), ts bigint NOT NULL, epoch bigint NOT NULL, kind smallint NOT NULL,
  format smallint NOT NULL, crc bigint NOT NULL, body bytea NOT NULL);
CREATE TABLE lost (LIKE log, lost_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE writer (id smallint PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL, format smallint NOT NULL);
INSERT INTO writer VALUES (1, 0, {FORMAT_WHOLE});
"""
PREPARE_SESSION = """
SELECT set_config('search_path', quote_ident(%s), false), set_config('lock_timeout', %s, false),
  set_config('synchronous_commit', current_setting('synchronous_commit'), false),
  current_setting('fsync'), pg_is_in_recovery()
"""  # what a session has set itself, no later change of the server's configuration turns off
HAS_SCHEMA = "SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL"
HAS_TABLES = "SELECT to_regclass('writer') IS NOT NULL"
LOCK_EPOCH = "SELECT epoch FROM writer WHERE id = 1 FOR UPDATE"
READ_EPOCH = "SELECT epoch FROM writer WHERE id = 1"
CLAIM = """
UPDATE writer SET epoch = greatest(epoch, (SELECT epoch FROM log ORDER BY seq DESC LIMIT 1)) + 1
WHERE id = 1 RETURNING epoch
"""
INSERT = """
INSERT INTO log SELECT * FROM unnest(
  %b::int8[], %b::int8[], %b::int8[], %b::int2[], %b::int2[], %b::int8[], %b::bytea[])
WHERE (SELECT epoch FROM writer WHERE id = 1) = %b
"""  # a fenced batch inserts nothing, so that its seqs, which others have taken by now, are no duplicates
GIVE_UP = """
WITH lost_rows AS (DELETE FROM log WHERE seq > %s RETURNING *) INSERT INTO lost SELECT * FROM lost_rows
"""
READ_SEQS = "SELECT seq, crc FROM log WHERE seq >= %s ORDER BY seq LIMIT %s"
READ_STEP = """
SELECT seq, ts, epoch, kind, crc, body FROM (
  SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS bytes_before
  FROM (SELECT * FROM log WHERE seq >= %s ORDER BY seq LIMIT %s) AS step) AS sized
WHERE bytes_before < %s ORDER BY seq
"""  # the sizes are read without the bodies: a step of large records costs the server nothing more
END_HOLDERS = """
SELECT pid, application_name, CASE WHEN application_name = %s THEN pg_terminate_backend(pid) END
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation = 'writer'::regclass AND granted AND mode <> 'AccessShareLock' AND pid <> pg_backend_pid()
"""
MAKE_BASE = """
CREATE TABLE IF NOT EXISTS base (
  id smallint PRIMARY KEY CHECK (id = 1), seq bigint NOT NULL, ts bigint NOT NULL, crc bigint NOT NULL)
"""
SET_BASE = """
INSERT INTO base VALUES (1, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, ts = excluded.ts, crc = excluded.crc
"""
SET_FORMAT = f"UPDATE writer SET format = {FORMAT_WITH_BASE} WHERE id = 1"
READ_FORMAT = "SELECT format FROM writer WHERE id = 1"
READ_BASE = "SELECT seq, ts, crc FROM base"
READ_END_AT = "SELECT seq, ts, crc FROM log WHERE seq = %s"
TRUNCATE = "DELETE FROM log WHERE seq <= %s"
