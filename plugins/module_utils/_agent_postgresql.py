# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a RelStorage in PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import (
    AFTER_ALL,
    Refused,
    Unreachable,
    first_line,
    number,
)
from ansible_collections.pyams.zodb.plugins.module_utils._agent_relational import CURRENT, NEWT, Relational
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Digest

FENCE_PATIENCE = 30  # seconds to wait for commits that are under way
# Sessions of a PostgreSQL database, but the one that asks
SESSIONS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
    "AND pid <> pg_backend_pid()"
)
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # of PostgreSQL's binary format
LARGEST_HASHED = 64 << 20  # bytes of a blob that the server may hold in memory
BLOB_DIGESTS = """
SELECT zoid, tid, CASE
    WHEN COUNT(*) = 1 AND octet_length(lo_get(MIN(chunk), {0}, 1)) = 0 THEN sha256(lo_get(MIN(chunk))) END
FROM blob_chunk GROUP BY zoid, tid ORDER BY zoid, tid
"""


class Postgresql(Relational):
    """A RelStorage in PostgreSQL, where NewtDB may add the JSON of objects."""

    # 262144: for reading. The end of a large object is its length.
    BLOB_BYTES = "SELECT SUM(lo_lseek64(lo_open(chunk, 262144), 0, 2)) FROM blob_chunk"
    VERSION = "SHOW server_version"
    blob_digests = blob_digest_behind = None  # see blob_digest()
    held = None  # a connection and its cursor, see _before_writing()

    def _note_users(self, tables):
        if self.counts_others:
            self.others = self._sessions()
        if tables.intersection(NEWT):
            self.newt = self._newt_tables()
            self.updaters = self._updaters() if self.counts_others else None

    def close(self):
        super().close()
        if self.held:
            self.database.connmanager.rollback_and_close(*self.held)
            self.held = None

    def identity(self):
        return "postgresql {}".format(
            self.value(
                "SELECT system_identifier || '/' || oid || '/' || current_schema() "
                "FROM pg_control_system(), pg_database WHERE datname = current_database()"
            )
        )

    def _sessions(self):
        for _try in range(20):
            count = self.value("SELECT COUNT(*) " + SESSIONS)
            if not count:
                break
            time.sleep(0.1)  # a session that was just closed is seen for a moment
        return count

    def _updaters(self):
        """Return how many sessions of a PostgreSQL database are seen to be of a newt-updater that waits for changes."""
        return self.value(f"SELECT COUNT(*) {SESSIONS} AND query ~* '^listen newt_object_state_changed'")

    def _newt_tables(self):
        there = self.value(
            "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'r' "
            "AND relname IN ('newt', 'newt_follow_progress') AND relnamespace = current_schema()::regnamespace"
        )
        return tuple(table for table in NEWT if table in (there or "").split())

    def _before_writing(self):
        """Have newt-updater make the JSON of every object anew, and begin with it when this process has written.

        It goes on from its progress, and what is copied may have older transactions. So both are emptied before
        anything is written, for whatever may end this process. One that is started meanwhile waits until then to read
        its progress.
        """
        tables = self._newt_tables()
        if not tables:
            return
        self.held = connection, cursor = self.database.connmanager.open(application_name="pyams.zodb")
        try:
            cursor.execute(f"SET lock_timeout = '{FENCE_PATIENCE}s'; SET idle_in_transaction_session_timeout = 0")
            cursor.execute("TRUNCATE " + ", ".join(tables))
            connection.commit()
            if NEWT[1] in tables:
                cursor.execute(f"LOCK TABLE {NEWT[1]} IN ACCESS EXCLUSIVE MODE")
        except Exception as error:  # each driver has exceptions of its own
            raise Refused(f"the tables of NewtDB cannot be emptied: {first_line(error)}") from None
        if self._updaters():
            raise Refused("newt-updater has been started meanwhile; stop it, and run it again.")

    def json(self, exact):
        # Not what is locked by a copy, see _before_writing()
        can = (
            "SELECT has_table_privilege('{0}', 'SELECT') AND NOT EXISTS "
            "(SELECT FROM pg_locks WHERE relation = '{0}'::regclass AND mode = 'AccessExclusiveLock')"
        )
        readable = [table for table in self.newt if self.value(can.format(table))]
        if NEWT[0] not in readable:
            return None
        found = {"rows": None, "tid": None, "waiting": None}
        if exact:
            found["rows"] = self.value("SELECT COUNT(*) FROM newt")
        if NEWT[1] in readable:
            tid = self.value("SELECT MAX(tid) FROM newt_follow_progress WHERE id = 'newt.db.updater'") or 0
            found["tid"] = number(struct.pack(">Q", max(tid, 0)))
            if exact:
                kept, states = "SELECT COUNT(*) FROM current_object", "SELECT COUNT(*) FROM object_state"
                found["waiting"] = self.value((kept if self.keeps_history else states) + f" WHERE tid > {tid}")
        return found

    def clients(self):
        """Return who has a PostgreSQL database open, a line for each session."""
        lines = (
            "SELECT string_agg(usename || ' from ' || coalesce(host(client_addr), 'this host') || ', session ' || pid "
            "|| coalesce(', ' || nullif(application_name, ''), ''), E'\n' ORDER BY pid) "
        )
        return (self.value(lines + SESSIONS) or "").splitlines()

    def fences(self):
        """Return {table: whether it refuses to be written} of a PostgreSQL database."""

        def question(cursor):
            cursor.execute(
                "SELECT relname, EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'pyams_zodb_fence') "
                "FROM pg_class c WHERE relkind = 'r' AND relname IN ('object_state', 'transaction') "
                "AND relnamespace = current_schema()::regnamespace"
            )
            return dict(cursor.fetchall())

        return self.ask(question)

    def fence(self, tables, up):
        """Have tables of a PostgreSQL database refuse to be written, and end its other sessions; or take that back.

        default_transaction_read_only would not do: RelStorage begins what it writes by READ WRITE. A trigger holds for
        every role, and the lock that it takes waits for the commits that are under way.
        """
        from relstorage.adapters.connmanager import connection_callback

        @connection_callback(application_name="pyams.zodb")
        def callback(_connection, cursor):
            cursor.execute(f"SET LOCAL lock_timeout = '{FENCE_PATIENCE}s'")
            if up:
                cursor.execute(
                    "CREATE OR REPLACE FUNCTION pyams_zodb_fence() RETURNS trigger LANGUAGE plpgsql AS "
                    "'BEGIN RAISE EXCEPTION ''pyams.zodb: this storage is read-only, its site has moved''; END'"
                )
            for table in tables:
                cursor.execute(
                    f"CREATE TRIGGER pyams_zodb_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
                    "FOR EACH STATEMENT EXECUTE PROCEDURE pyams_zodb_fence()"
                    if up
                    else f"DROP TRIGGER pyams_zodb_fence ON {table}"
                )
            if up:  # what only reads would go on with what is old
                cursor.execute("SELECT pg_terminate_backend(pid) " + SESSIONS + " AND usename = current_user")

        self.database.connmanager.open_and_call(callback)

    def _makes_digests(self):
        # Since PostgreSQL 11; only psycopg2 hands on what a COPY sends.
        return self.database.driver.__name__ == "psycopg2" and int(self.value("SHOW server_version_num")) >= 110000

    def digests(self):
        if not self._makes_digests():
            return self.records()
        query = CURRENT[self.keeps_history].format("sha256(state)")
        self.blob_digests = iter(()) if self.shared else self._rows(BLOB_DIGESTS.format(LARGEST_HASHED))
        self.blob_digest_behind = None
        return ((oid, tid, Digest(digest)) for oid, tid, digest in self._rows(query))

    def blob_digest(self, oid, tid):
        if self.blob_digests is None:
            return None
        while self.blob_digest_behind is None or self.blob_digest_behind[0] < oid:
            self.blob_digest_behind = next(self.blob_digests, (AFTER_ALL, None, None))
        found, found_tid, digest = self.blob_digest_behind
        return Digest(digest) if (found, found_tid) == (oid, tid) and digest else None

    def _rows(self, query):
        """Yield the rows of a query, as bytes, while the server goes on with the next ones."""
        reading, writing = os.pipe()
        errors = []

        def send():
            with open(writing, "wb") as file:
                try:
                    self.ask(lambda cursor: cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH BINARY", file))
                except Exception as error:  # each driver has exceptions of its own
                    errors.append(error)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        with contextlib.suppress(struct.error), open(reading, "rb") as file:  # it may break off within a row
            yield from _copied_rows(file)
        sender.join()
        if errors:
            raise Unreachable(f"the database broke off: {first_line(errors[0])}")


def _copied_rows(file):
    """Yield the rows of a file in the binary format of PostgreSQL's COPY; fields are bytes, None for null."""
    file.read(len(COPY_HEADER))
    while True:
        (fields,) = struct.unpack(">h", file.read(2) or b"\xff\xff")  # nothing: it was broken off
        if fields < 0:
            return
        lengths = (struct.unpack(">i", file.read(4))[0] for _field in range(fields))
        yield tuple(None if length < 0 else file.read(length) for length in lengths)


class Rows:
    """Rows of fields as a file that PostgreSQL copies from, in its binary format; a field is bytes."""

    def __init__(self, rows):
        self.pieces = self._pieces(rows)
        self.rest = b""

    @staticmethod
    def _pieces(rows):
        yield COPY_HEADER
        for row in rows:
            yield struct.pack(">h", len(row)) + b"".join(struct.pack(">i", len(field)) + field for field in row)
        yield struct.pack(">h", -1)

    def read(self, size):
        pieces, length = [self.rest], len(self.rest)
        while length < size:
            piece = next(self.pieces, b"")
            if not piece:
                break
            pieces.append(piece)
            length += len(piece)
        whole = b"".join(pieces)
        self.rest = whole[size:]
        return whole[:size]
