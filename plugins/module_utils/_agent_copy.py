# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): full copies, and how a storage is emptied before."""

from __future__ import annotations

import contextlib
import os
import struct

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import NOTHING, Progress, Refused, number
from ansible_collections.pyams.zodb.plugins.module_utils._agent_postgresql import Rows
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import blob_of, copy_of
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zconfig import storage


def zodbconvert(request):
    """Run RelStorage's zodbconvert. request: source, destination."""
    import relstorage.zodbconvert

    destination = storage(request["destination"])
    with storage(request["source"]) as source:
        try:
            destination.open_for_writing()
            source.feed()
            relstorage.zodbconvert.open_storages = lambda _options: (source.storage, destination.storage)
            try:
                relstorage.zodbconvert.main(["zodbconvert", os.devnull])
            finally:  # it has closed both, also when it gives up
                source.storage = destination.storage = None
        except SystemExit as ended:
            raise Refused(f"zodbconvert: {ended}") from None
        finally:
            destination.close()
    return {}


class Bulk:
    """Loads a history-free PostgreSQL database that is empty, in one transaction: all or nothing."""

    LARGE = 8 << 20  # bytes; a larger blob is not held in memory
    PIECE = 256 << 10  # bytes that are handed to the driver at a time

    def __init__(self, source, destination):
        self.source, self.destination = source, destination
        self.blobs = []
        self.last_oid = NOTHING
        self.progress = Progress("loaded", source.count())

    def run(self, connection, cursor):
        cursor.execute("LOCK TABLE object_state IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SELECT COUNT(*) FROM (SELECT 1 FROM object_state LIMIT 1) found")
        if cursor.fetchone()[0]:
            raise Refused("the destination is no longer empty; run it again.")
        # Rows of a table that the same transaction has emptied can be written as if they were old: whoever reads them
        # next needs not look at each one's transaction, nor write that down.
        cursor.execute("TRUNCATE object_state, blob_chunk")
        self._copy(cursor, "object_state (zoid, tid, state_size, state)", self._states(), ", FREEZE")
        # A table that nothing stays in: PostgreSQL has no COPY into large objects.
        cursor.execute("CREATE TEMPORARY TABLE small_blob (zoid BIGINT, tid BIGINT, data BYTEA) ON COMMIT DROP")
        cursor.execute(
            "CREATE FUNCTION pg_temp.keep_small_blob() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
            "INSERT INTO blob_chunk (zoid, chunk_num, tid, chunk) "
            "VALUES (NEW.zoid, 0, NEW.tid, lo_from_bytea(0, NEW.data)); RETURN NULL; END'"
        )
        cursor.execute(
            "CREATE TRIGGER keep_small_blob BEFORE INSERT ON small_blob "
            "FOR EACH ROW EXECUTE PROCEDURE pg_temp.keep_small_blob()"
        )
        large = []
        self._copy(cursor, "small_blob", self._small_blobs(large))
        for oid, tid in large:
            with blob_of(self.source, oid, tid) as path:
                handed = connection.lobject(0, "wb", 0, path)
            cursor.execute(
                "INSERT INTO blob_chunk (zoid, chunk_num, tid, chunk) VALUES (%s, 0, %s, %s)",
                (int.from_bytes(oid, "big"), int.from_bytes(tid, "big"), handed.oid),
            )
        self.destination.database.oidallocator.set_min_oid(cursor, int.from_bytes(self.last_oid, "big"))

    def _copy(self, cursor, table, rows, more=""):
        cursor.copy_expert(f"COPY {table} FROM STDIN WITH (FORMAT binary{more})", Rows(rows), self.PIECE)

    def _states(self):
        from ZODB.blob import is_blob_record

        for oid, tid, state in self.source.records():
            self.progress.step()
            if is_blob_record(state):
                self.blobs.append((oid, tid))
            self.last_oid = oid
            yield oid, tid, struct.pack(">q", len(state)), state

    def _small_blobs(self, large):
        for oid, tid in self.blobs:
            with blob_of(self.source, oid, tid) as path:
                if os.path.getsize(path) > self.LARGE:
                    large.append((oid, tid))
                    continue
                with open(path, "rb") as file:
                    data = file.read()
            yield oid, tid, data


class FileBulk:
    """Copies a FileStorage as the file that it is: all or nothing, since it has another name until it is complete."""

    PARTIAL = ".copying"
    PIECE = 1 << 20  # bytes at a time

    def __init__(self, source, destination):
        self.source, self.destination = source, destination

    def run(self):
        if self.destination.last() != NOTHING:
            raise Refused("the destination is no longer empty; run it again.")
        path = self.destination.path
        try:
            self._blobs()
            self._file(path + self.PARTIAL)
            os.rename(path + self.PARTIAL, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path + self.PARTIAL)
            raise
        self.destination.close()  # which saves the index of nothing, as it would once more
        self.destination.storage = None
        self.source.storage._index.save(self.source.storage._pos, path + ".index")

    def _blobs(self):
        from ZODB.blob import is_blob_record, rename_or_copy_blob

        for transaction in self.source.iterator():
            for record in transaction:
                if not is_blob_record(record.data):
                    continue
                folder = self.destination.storage.fshelper
                folder.getPathForOID(record.oid, create=True)
                target = folder.getBlobFilename(record.oid, record.tid)
                with blob_of(self.source, record.oid, record.tid) as path, copy_of(path, self.destination) as copy:
                    rename_or_copy_blob(copy, target)

    def _file(self, path):
        end, handle = self.source.storage._pos, self.source.storage._file.fileno()
        progress = Progress("copied MB", end // self.PIECE)
        with open(path, "wb") as file:
            for at in range(0, end, self.PIECE):
                file.write(os.pread(handle, min(self.PIECE, end - at), at))
                progress.step()
            file.flush()
            os.fsync(file.fileno())


def bulk(request):
    """Load an empty history-free PostgreSQL database, or a FileStorage from another. request: source, destination."""
    destination = storage(request["destination"])
    if destination.kind == "filestorage":
        with storage(request["source"]) as source:
            try:
                destination.open_for_writing()
                FileBulk(source, destination).run()
            finally:
                destination.close()
        return {}
    try:
        destination.open_for_writing()  # makes the tables
    finally:
        destination.close()
    with storage(request["source"]) as source:
        destination.database.connmanager.open_and_call(Bulk(source, destination).run)
    destination.database.stats.large_database_change()  # ANALYZE
    return {}


def clear(request):
    """Take everything out of a storage whose last transaction is the one named. request: destination, last_tid."""
    one = storage(request["destination"])
    try:
        one.open_for_writing()
        last = number(one.storage.lastTransaction())
        if last != request["last_tid"]:
            raise Refused(f"clear {request['last_tid']}: the destination's last transaction is {last} now.")
        one.clear()
    finally:
        one.close()
    return {}
