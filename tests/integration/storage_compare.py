# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_compare.py LOCATION [LOCATION]: what one storage holds, or what differs between two, as JSON.

LOCATION, JSON: reader "file" (path of Data.fs), "sqlite" (path of main.sqlite3), "postgresql" (dsn), "mysql" (where:
host, port, db, user, password), or "ledger" (path of what storage_writer.py wrote); history, whether revisions are
kept; blob_dir, where blobs are files, null where they are in the database or there are none.

Data.fs is read by ZODB's FileIterator past any lock, databases by their own drivers, blobs as files or large objects.
Nothing is unpickled but extensions of transactions. Of two, everything has to be equal: objects, their tids, states
and blobs, and where both keep history every transaction with its user, description, extension and records. The answer
has a key for each thing that differs, with what it is about, and is empty if nothing does. A blob that is in neither
differs too. Runs by the virtualenv's Python, knows nothing of the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys

import psycopg2
import pymysql
import zodbpickle.fastpickle as pickle
from ZODB.blob import FilesystemHelper, is_blob_record
from ZODB.FileStorage import FileIterator

MISSING = "missing"


class Content:
    """What a storage holds.

    transactions: by tid, (user, description, extension, records by oid), those of a storage without history have no
    metadata. current: by oid, (tid, digest of the state, digest of the blob or null).
    """

    def __init__(self, location):
        self.history = location["history"]
        self.transactions: dict[str, tuple] = {}
        self.current: dict[str, tuple] = {}
        self.blob_sizes: dict[tuple, int] = {}
        self.files = location["blob_dir"] and FilesystemHelper(location["blob_dir"])
        getattr(self, f"_{location['reader']}")(location)

    def _file(self, location):
        if not os.path.exists(location["path"]):
            return
        for found in FileIterator(location["path"]):
            meta = (found.user, found.description, found.extension)
            self._transaction(found.tid, *meta)
            for record in found:
                self._record(record.oid, record.tid, record.data, {})

    def _ledger(self, location):
        with open(location["path"], encoding="utf-8") as file:
            for line in file:
                found = json.loads(line)
                self.current[found["oid"]] = (found["tid"], found["state"], found["blob"])
                self.transactions[found["tid"]] = (None, None, None, {found["oid"]: (found["state"], found["blob"])})
                self.blob_sizes[found["oid"]] = 0

    def _sqlite(self, location):
        if os.path.exists(location["path"]):
            database = sqlite3.connect(f"file:{location['path']}?mode=ro", uri=True)
            if database.execute("select 1 from sqlite_master where name = 'object_state'").fetchall():
                self._database(database.cursor, "chunk")
            database.close()

    def _postgresql(self, location):
        database = psycopg2.connect(location["dsn"])
        database.set_session(isolation_level="REPEATABLE READ", readonly=True)
        cursor = database.cursor()
        cursor.execute("select to_regclass('object_state')")
        if cursor.fetchone()[0]:
            self._database(lambda: database.cursor("rows"), "lo_get(chunk)")
        database.close()

    def _mysql(self, location):
        database = pymysql.connect(**location["where"], init_command="set sql_mode = 'ANSI_QUOTES'")
        cursor = database.cursor()
        cursor.execute("show tables like 'object_state'")
        if cursor.fetchall():
            self._database(database.cursor, "chunk")
        database.close()

    def _database(self, cursor, chunk):
        """Read the tables of RelStorage. cursor: makes one that does not hold everything; chunk: of a blob, in SQL."""

        def rows(query):
            one = cursor()
            one.execute(query)
            yield from one
            one.close()

        # Without history a blob has no tid of its own.
        query = "select zoid, tid, CHUNK from blob_chunk order by zoid, 2, chunk_num".replace("CHUNK", chunk)
        blobs: dict[tuple, tuple] = {}
        for oid, blob_tid, data in rows(query if self.history else query.replace("tid", "0")):
            digest, size = blobs.get((oid, blob_tid), (hashlib.sha256(), 0))
            digest.update(data)
            blobs[oid, blob_tid] = (digest, size + len(data))
        if self.history:
            query = 'select tid, username, description, extension from "transaction" where tid > 0 order by tid'
            for number, *meta in rows(query):
                self._transaction(_id(number), *(bytes(value or b"") for value in meta))
        for oid, number, state in rows("select zoid, tid, state from object_state order by tid, zoid"):
            self._transactions_of_none(_id(number))
            data = None if state is None else bytes(state)
            self._record(_id(oid), _id(number), data, blobs.get((oid, number if self.history else 0)))
        if self.history:
            named = {
                (_id(oid).hex(), _id(number).hex()) for oid, number in rows("select zoid, tid from current_object")
            }
            known = {(oid, found[0]) for oid, found in self.current.items()}
            gone = {(oid, number) for oid, number in named if oid not in self.current}
            assert named - gone == known, "the table current_object is not what object_state says"

    def _transactions_of_none(self, tid):
        if not self.history:
            self.transactions.setdefault(tid.hex(), (None, None, None, {}))

    def _transaction(self, tid, user, description, extension):
        if isinstance(extension, bytes):
            extension = pickle.loads(extension) if extension else {}
        self.transactions[tid.hex()] = (user, description, extension, {})

    def _record(self, oid, tid, data, blob):
        """Note a record. blob: (hash, size) of what a database has, null for none, empty where blobs are files."""
        state = None if data is None else hashlib.sha256(data).hexdigest()
        found = None
        if data is not None and is_blob_record(data):
            digest, size = blob or self._blob_file(oid, tid)
            found = digest.hexdigest() if digest else MISSING
            self.blob_sizes[oid.hex()] = size
        self.transactions[tid.hex()][3][oid.hex()] = (state, found)
        if state is None:
            self.current.pop(oid.hex(), None)
        else:
            self.current[oid.hex()] = (tid.hex(), state, found)

    def _blob_file(self, oid, tid):
        path = self.files and self.files.getBlobFilename(oid, tid)
        if not path or not os.path.isfile(path):
            return None, 0
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest, os.path.getsize(path)

    def summary(self):
        """Return figures, and one digest of everything."""
        blobs = {oid: self.blob_sizes[oid] for oid, (_tid, _state, blob) in self.current.items() if blob}
        everything = [
            (tid, user, description, sorted((extension or {}).items()), sorted(records.items()))
            for tid, (user, description, extension, records) in sorted(self.transactions.items())
        ]
        return {
            "objects": len(self.current),
            "blobs": len(blobs),
            "blob_bytes": sum(blobs.values()),
            "missing_blobs": sorted(oid for oid, found in self.current.items() if found[2] == MISSING),
            "revisions": sum(len(found[3]) for found in self.transactions.values()),
            "transactions": len(self.transactions),
            "last_tid": max(self.transactions, default=None),
            "digest": hashlib.sha256(repr(everything).encode()).hexdigest(),
        }


def _id(number):
    return number.to_bytes(8, "big")


def differences(one, other):
    """Return what differs, see above."""
    both = sorted(one.current.keys() & other.current.keys())
    found = {
        "missing": sorted(one.current.keys() - other.current.keys()),
        "extra": sorted(other.current.keys() - one.current.keys()),
        "tids": [oid for oid in both if one.current[oid][0] != other.current[oid][0]],
        "states": [oid for oid in both if one.current[oid][1] != other.current[oid][1]],
        "blobs": [
            oid
            for oid in both
            if one.current[oid][2] != other.current[oid][2] or MISSING in (one.current[oid][2], other.current[oid][2])
        ],
    }
    if one.history and other.history:
        tids = sorted(one.transactions.keys() | other.transactions.keys())
        found["transactions"] = [tid for tid in tids if one.transactions.get(tid) != other.transactions.get(tid)]
    return {name: values for name, values in found.items() if values}


if __name__ == "__main__":
    contents = [Content(json.loads(argument)) for argument in sys.argv[1:]]
    print(json.dumps(contents[0].summary() if len(contents) == 1 else differences(*contents)))
