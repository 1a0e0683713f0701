# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a RelStorage, whichever its database."""

from __future__ import annotations

import contextlib
import struct

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import (
    Missing,
    Refused,
    Unreachable,
    first_line,
)
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Length, Storage, nothing_made

# Tables that NewtDB adds to a PostgreSQL database: the JSON of objects, and up to where newt-updater has made it
NEWT = ("newt", "newt_follow_progress")
READ_CACHE = 1  # MB of RelStorage's cache: everything is read once
# The current objects, by whether history is kept, and what stands for the state of each
OBJECTS = {
    False: "FROM object_state WHERE state IS NOT NULL",
    True: "FROM current_object JOIN object_state USING (zoid, tid) WHERE state IS NOT NULL",
}
CURRENT = {kept: f"SELECT zoid, tid, {{0}} {objects} ORDER BY zoid" for kept, objects in OBJECTS.items()}


class Relational(Storage):
    """A RelStorage, over any database."""

    TRANSACTIONS = "SELECT COUNT(*) FROM transaction WHERE tid <> 0"
    PACKED = "SELECT MAX(tid) FROM transaction WHERE packed = TRUE AND tid <> 0"
    BLOB_BYTES = "SELECT SUM(LENGTH(chunk)) FROM blob_chunk"
    VERSION = None  # a query for that of the server

    def __init__(self, found):
        super().__init__(found)
        self.adapter = self.config.adapter
        self.kind = self.adapter.config.getSectionType()
        self.shared = bool(self.config.shared_blob_dir)
        self.keeps_history = bool(self.config.keep_history)

    def open(self):
        config = self.config
        wanted = bool(config.keep_history)
        config.read_only, config.create_schema = True, False
        config.cache_local_dir = config.cache_servers = None
        config.cache_local_mb = READ_CACHE
        self.database = self.new_database()
        try:
            tables = self.ask(self.database.schema.list_tables)
        except Exception as error:  # each driver has exceptions of its own
            raise Unreachable(f"the database does not answer: {first_line(error)}") from None
        tables = {table.lower() for table in tables}
        self._note_users(tables)  # before this process has more sessions
        if "object_state" not in tables:
            # Some of RelStorage's may have been made by one who was killed.
            tables = {table for table in tables if not table.startswith(("pg_", "sql_", "sqlite_"))}
            others = sorted(tables.difference(self.database.schema.all_tables, NEWT))
            about = f", and others ({', '.join(others[:3])}); give it a database of its own." if others else "."
            raise Missing("the database answers, but has none of RelStorage's tables" + about, partly=bool(others))
        self.keeps_history = config.keep_history = "current_object" in tables
        self.history_differs = self.keeps_history != wanted
        self.database = self.new_database()
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
        self.database = self.new_database()
        self._before_writing()
        self.storage = self.section.open()

    def _note_users(self, tables):
        """Set others, updaters and newt, where they can be told."""

    def _before_writing(self):
        """Do what has to be done in the database before it is written."""

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

    def new_database(self):
        """Return RelStorage's adapter of the database, by the configuration as it is now. Raises Refused."""
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
        return f"{self.kind} {self.adapter.config.dsn}"

    def objects(self, exact):
        if not exact:
            return len(self.storage)
        return self.value("SELECT COUNT(*) " + OBJECTS[self.keeps_history])

    def transactions(self):
        if not self.keeps_history:
            return None, None
        count, packed = self.value(self.TRANSACTIONS), self.value(self.PACKED)
        return count, struct.pack(">Q", packed) if packed else None

    def blobs(self):
        if self.blob_dir and self.shared:
            return super().blobs()
        count = self.value("SELECT COUNT(*) FROM (SELECT DISTINCT zoid, tid FROM blob_chunk) blobs")
        return count, int(self.value(self.BLOB_BYTES) or 0)

    def count(self):
        # Not only those with a state, so that an index alone answers it.
        kept = "SELECT COUNT(*) FROM current_object"
        return self.value(kept if self.keeps_history else "SELECT COUNT(*) FROM object_state")

    def records(self):
        return self._all(self._records())

    def lengths(self):
        return self._all(self._lengths())

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

    def _records(self):
        return super().records()

    def _lengths(self):
        from ZODB.utils import p64

        with self.storage._load_connection.server_side_cursor() as cursor:
            cursor.execute(CURRENT[self.keeps_history].format("LENGTH(state)"))
            for oid, tid, length in cursor:
                yield p64(oid), p64(tid), Length(length)

    def versions(self):
        return {"server": self.value(self.VERSION) if self.VERSION else None, "driver": self.database.driver.__name__}
