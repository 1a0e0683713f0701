# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a RelStorage."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import threading
import time
import types

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import (
    AFTER_ALL,
    Missing,
    Refused,
    Unreachable,
    first_line,
    number,
)
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Digest, Length, Storage, nothing_made

FENCE_PATIENCE = 30  # seconds to wait for commits that are under way
# Sessions of a PostgreSQL database, but the one that asks
SESSIONS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
    "AND pid <> pg_backend_pid()"
)
# Tables that NewtDB adds to a PostgreSQL database: the JSON of objects, and up to where newt-updater has made it
NEWT = ("newt", "newt_follow_progress")
READ_CACHE = 1  # MB of RelStorage's cache: everything is read once
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # of PostgreSQL's binary format
LARGEST_HASHED = 64 << 20  # bytes of a blob that the server may hold in memory
# The current objects, by whether history is kept, and what stands for the state of each
OBJECTS = {
    False: "FROM object_state WHERE state IS NOT NULL",
    True: "FROM current_object JOIN object_state USING (zoid, tid) WHERE state IS NOT NULL",
}
CURRENT = {kept: f"SELECT zoid, tid, {{0}} {objects} ORDER BY zoid" for kept, objects in OBJECTS.items()}
# What a query of these has not handed out yet is lost, without an error, when the connection is asked something else.
MYSQL = ("mysql", "mariadb")
PAGE = 1000  # objects that are asked for at once there
PAGE_BYTES = 4 << 20  # of states, unless one alone has more
BLOB_DIGESTS = """
SELECT zoid, tid, CASE
    WHEN COUNT(*) = 1 AND octet_length(lo_get(MIN(chunk), {0}, 1)) = 0 THEN sha256(lo_get(MIN(chunk))) END
FROM blob_chunk GROUP BY zoid, tid ORDER BY zoid, tid
"""


class Relational(Storage):
    """A RelStorage, over any database."""

    def __init__(self, found):
        super().__init__(found)
        self.adapter = self.config.adapter
        named = self.adapter.config.getSectionType()
        self.kind = "sqlite" if named == "sqlite3" else named
        self.shared = bool(self.config.shared_blob_dir)
        if self.kind == "sqlite":
            self.path = os.path.abspath(self.adapter.config.data_dir)
        self.database = self.blob_digests = self.held = None
        self.keeps_history = bool(self.config.keep_history)

    def open(self):
        config = self.config
        wanted = bool(config.keep_history)
        config.read_only, config.create_schema = True, False
        config.cache_local_dir = config.cache_servers = None
        config.cache_local_mb = READ_CACHE
        if self.path and not os.path.isfile(os.path.join(self.path, "main.sqlite3")):
            raise Missing(f"there is no SQLite database main.sqlite3 in {self.path}.")
        self.database = self._database()
        try:
            tables = self.ask(self.database.schema.list_tables)
        except Exception as error:  # each driver has exceptions of its own
            raise Unreachable(f"the database does not answer: {first_line(error)}") from None
        tables = {table.lower() for table in tables}
        self.others = self.sessions() if self.counts_others else None  # before this process has more of them
        if tables.intersection(NEWT):
            self.newt = self._newt_tables()
            self.updaters = self._updaters() if self.counts_others else None
        if "object_state" not in tables:
            # Some of RelStorage's may have been made by one who was killed.
            tables = {table for table in tables if not table.startswith(("pg_", "sql_", "sqlite_"))}
            others = sorted(tables.difference(self.database.schema.all_tables, NEWT))
            about = f", and others ({', '.join(others[:3])}); give it a database of its own." if others else "."
            raise Missing("the database answers, but has none of RelStorage's tables" + about, partly=bool(others))
        self.keeps_history = config.keep_history = "current_object" in tables
        self.history_differs = self.keeps_history != wanted
        self.database = self._database()
        config.blob_dir, config.blob_cache_size = self._blob_folder(), None
        with nothing_made() if self.shared else contextlib.nullcontext():
            self.storage = self.section.open()

    def open_for_writing(self):
        config = self.config
        config.read_only, config.create_schema = False, True
        config.cache_local_dir = config.cache_servers = None
        config.cache_local_mb = READ_CACHE
        if not self.shared:
            config.blob_dir, config.blob_cache_size = self._blob_folder(), None
        if self.kind == "sqlite":
            # RelStorage has SQLite hold all of a transaction in memory, so that it locks nothing before its end.
            given = self.adapter.config.pragmas
            pragmas = {"cache_spill": 1, **(given.pragmas if given else {})}
            self.adapter.config.pragmas = types.SimpleNamespace(pragmas=pragmas)
        self.database = self._database()
        self._empty_newt()
        self.storage = self.section.open()

    def _empty_newt(self):
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

    def close(self):
        super().close()
        if self.held:
            self.database.connmanager.rollback_and_close(*self.held)
            self.held = None

    def temporary_folder(self):
        return self.storage.blobhelper.temporaryDirectory()

    def clear(self):
        self.storage.zap_all()
        self._clear_blobs()

    def revisions(self):
        return self.value("SELECT COUNT(*) FROM object_state")

    def tids(self, oids):
        from ZODB.utils import p64, u64

        numbers = [u64(oid) for oid in oids]
        found = self.ask(lambda cursor: dict(self.database.mover.current_object_tids(cursor, numbers)))
        return {p64(oid): p64(tid) for oid, tid in found.items()}

    def _database(self):
        from relstorage.adapters.interfaces import DriverNotAvailableError
        from relstorage.options import Options

        self.config.driver = self.adapter.config.driver
        options = Options.copy_valid_options(self.config)
        options.adapter = self.adapter
        try:
            return self.adapter.create(options)
        except (ImportError, DriverNotAvailableError):
            wanted = self.config.driver or "auto"
            raise Refused(f"the virtualenv has no driver for the database ({wanted}); install one there.") from None

    def ask(self, question):
        """Return question(cursor), in a read-only transaction."""
        from relstorage.adapters.connmanager import connection_callback

        @connection_callback(read_only=True, application_name="pyams.zodb")
        def callback(_connection, cursor):
            return question(cursor)

        return self.database.connmanager.open_and_call(callback)

    def value(self, query):
        """Return the first column of a query's first row, None if there is no such row."""

        def question(cursor):
            cursor.execute(query)
            rows = cursor.fetchall()
            return rows[0][0] if rows else None

        return self.ask(question)

    def identity(self):
        if self.kind == "sqlite":
            return f"sqlite {os.path.realpath(self.path)}"
        if self.kind == "postgresql":
            return "postgresql {}".format(
                self.value(
                    "SELECT system_identifier || '/' || oid || '/' || current_schema() "
                    "FROM pg_control_system(), pg_database WHERE datname = current_database()"
                )
            )
        if self.kind in MYSQL:
            return "mysql {}".format(self.value("SELECT CONCAT(@@hostname, ':', @@port, '/', DATABASE())"))
        return f"{self.kind} {self.adapter.config.dsn}"

    def objects(self, exact):
        if not exact:
            return len(self.storage)
        return self.value("SELECT COUNT(*) " + OBJECTS[self.keeps_history])

    def transactions(self):
        if not self.keeps_history:
            return None, None
        # A word of SQL, which only SQLite wants to be quoted, and Oracle and MySQL do not.
        queries = (
            'SELECT COUNT(*) FROM "transaction" WHERE tid <> 0',
            'SELECT MAX(tid) FROM "transaction" WHERE packed = TRUE AND tid <> 0',
        )
        if self.kind != "sqlite":
            queries = [query.replace('"', "") for query in queries]
        if self.kind == "oracle":
            queries = [query.replace("TRUE", "'Y'") for query in queries]
        count, packed = (self.value(query) for query in queries)
        return count, struct.pack(">Q", packed) if packed else None

    def blobs(self):
        if self.blob_dir and self.shared:
            return super().blobs()
        count = self.value("SELECT COUNT(*) FROM (SELECT DISTINCT zoid, tid FROM blob_chunk) blobs")
        size = self.value(
            {
                # 262144: for reading. The end of a large object is its length.
                "postgresql": "SELECT SUM(lo_lseek64(lo_open(chunk, 262144), 0, 2)) FROM blob_chunk",
                "oracle": "SELECT SUM(DBMS_LOB.GETLENGTH(chunk)) FROM blob_chunk",
            }.get(self.kind, "SELECT SUM(LENGTH(chunk)) FROM blob_chunk")
        )
        return count, int(size or 0)

    def count(self):
        # Not only those with a state, so that an index alone answers it.
        kept = "SELECT COUNT(*) FROM current_object"
        return self.value(kept if self.keeps_history else "SELECT COUNT(*) FROM object_state")

    def _makes_digests(self):
        # Since PostgreSQL 11; only psycopg2 hands on what a COPY sends.
        return (
            self.kind == "postgresql"
            and self.database.driver.__name__ == "psycopg2"
            and int(self.value("SHOW server_version_num")) >= 110000
        )

    def digests(self):
        if not self._makes_digests():
            return self.records()
        query = CURRENT[self.keeps_history].format("sha256(state)")
        self.blob_digests = iter(()) if self.shared else self._rows(BLOB_DIGESTS.format(LARGEST_HASHED))
        self.blob_digest_behind = None
        return ((oid, tid, Digest(digest)) for oid, tid, digest in self._rows(query))

    def records(self):
        return self._all(self._mysql_records() if self.kind in MYSQL else super().records())

    def lengths(self):
        if self.kind == "oracle":  # whose LENGTH is one of characters
            return self.records()
        return self._all(self._mysql_lengths() if self.kind in MYSQL else self._lengths())

    def _all(self, records):
        """Yield one record for each current object. Raises Refused behind the last one if some have been left out.

        The connection that reads them counts them too, in the same transaction, so others may write meanwhile.
        """
        cursor = self.storage._load_connection.cursor  # whose first use begins the transaction
        seen = 0
        for record in records:
            seen += 1
            yield record
        cursor.execute("SELECT COUNT(*) " + OBJECTS[self.keeps_history])
        ((there,),) = cursor.fetchall()
        if seen != there:
            raise Refused(
                f"the database of the kind {self.kind} has {there} objects, and handed out {seen} of them; look at its "
                "log, and run it again."
            )

    def _loaded(self, query):
        """Return all rows of a query, asked by the connection that objects and blobs are read by."""
        cursor = self.storage._load_connection.cursor
        cursor.execute(query)
        return cursor.fetchall()

    def _lengths(self):
        from ZODB.utils import p64

        with self.storage._load_connection.server_side_cursor() as cursor:
            cursor.execute(CURRENT[self.keeps_history].format("LENGTH(state)"))
            for oid, tid, length in cursor:
                yield p64(oid), p64(tid), Length(length)

    def _mysql_pages(self, length):
        """Yield rows (zoid, tid, length of the state) of the current objects, page by page. length: in SQL."""
        query = f"SELECT zoid, tid, {length} {OBJECTS[self.keeps_history]} AND zoid >= {{}} ORDER BY zoid LIMIT {PAGE}"
        start = 0
        while page := self._loaded(query.format(start)):
            yield page
            start = page[-1][0] + 1

    def _mysql_lengths(self):
        from ZODB.utils import p64

        for page in self._mysql_pages("LENGTH(state)"):
            for oid, tid, length in page:
                yield p64(oid), p64(tid), Length(length)

    def _mysql_records(self):
        from ZODB.utils import p64

        query = f"SELECT zoid, tid, state {OBJECTS[self.keeps_history]} AND zoid BETWEEN {{}} AND {{}} ORDER BY zoid"
        for page in self._mysql_pages("state_size"):
            while page:
                sizes = itertools.accumulate(size for _oid, _tid, size in page)
                fit = sum(1 for size in sizes if size <= PAGE_BYTES) or 1
                for oid, tid, state in self._loaded(query.format(page[0][0], page[fit - 1][0])):
                    yield p64(oid), p64(tid), bytes(state)
                page = page[fit:]

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

    def sessions(self):
        if self.kind != "postgresql":
            return None
        for _try in range(20):
            count = self.value("SELECT COUNT(*) " + SESSIONS)
            if not count:
                break
            time.sleep(0.1)  # a session that was just closed is seen for a moment
        return count

    def _updaters(self):
        """Return how many sessions of a PostgreSQL database are seen to be of a newt-updater that waits for changes."""
        if self.kind != "postgresql":
            return None
        return self.value(f"SELECT COUNT(*) {SESSIONS} AND query ~* '^listen newt_object_state_changed'")

    def _newt_tables(self):
        if self.kind != "postgresql":
            return ()
        there = self.value(
            "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'r' "
            "AND relname IN ('newt', 'newt_follow_progress') AND relnamespace = current_schema()::regnamespace"
        )
        return tuple(table for table in NEWT if table in (there or "").split())

    def json(self, exact):
        # Not what is locked by a copy, see _empty_newt()
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

    def versions(self):
        query = {
            "postgresql": "SHOW server_version",
            "sqlite": "SELECT sqlite_version()",
            "mysql": "SELECT version()",
            "mariadb": "SELECT version()",
        }.get(self.kind)
        return {"server": self.value(query) if query else None, "driver": self.database.driver.__name__}


def _copied_rows(file):
    """Yield the rows of a file in the binary format of PostgreSQL's COPY; fields are bytes, None for null."""
    file.read(len(COPY_HEADER))
    while True:
        (fields,) = struct.unpack(">h", file.read(2) or b"\xff\xff")  # nothing: it was broken off
        if fields < 0:
            return
        lengths = (struct.unpack(">i", file.read(4))[0] for _field in range(fields))
        yield tuple(None if length < 0 else file.read(length) for length in lengths)
