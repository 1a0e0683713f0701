# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_plant.py LOCATION FAULT: makes a storage look right and be wrong, past ZODB where that can be done.

LOCATION: as of storage_compare.py. FAULT, of the current revision of one object:
state    one byte of it is another
tid      it is from a transaction that comes right after its own
missing  it is not there
extra    there is one more, with the state and the transaction of another
blob     the last byte of its blob is cut off

Prints the oid as JSON, of tid in a FileStorage those of the whole transaction. Nothing may have the storage open. Runs
by the virtualenv's Python, knows nothing of the collection.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys

import psycopg2
from ZODB.blob import FilesystemHelper, is_blob_record
from ZODB.FileStorage import FileIterator, FileStorage
from ZODB.utils import p64, u64


def flipped(state):
    return state[:-1] + bytes([state[-1] ^ 1])


def cut(path):
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 1)


def in_file(location, fault):
    """Plant a fault into Data.fs, by writing it anew; the file of a blob is cut where it is."""
    current, blobs = {}, {}
    for found in FileIterator(location["path"]):
        for record in found:
            current[record.oid] = record.tid if record.data else b""
            if record.data and is_blob_record(record.data):
                blobs[record.oid] = record.tid
    plain = [oid for oid in current if oid not in blobs]
    chosen = max(plain, key=lambda oid: (current[oid], oid))
    if fault == "blob":
        paths = {oid: FilesystemHelper(location["blob_dir"]).getBlobFilename(oid, tid) for oid, tid in blobs.items()}
        chosen = max(paths, key=lambda oid: os.path.getsize(paths[oid]))
        cut(paths[chosen])
        return [chosen]
    new = FileStorage(location["path"] + ".new", create=True)
    touched = [chosen]
    for found in FileIterator(location["path"]):
        moved = fault == "tid" and found.tid == current[chosen]
        new.tpc_begin(found, p64(u64(found.tid) + 1) if moved else found.tid, found.status)
        for record in found:
            data = record.data
            if fault == "missing" and record.oid == chosen:
                continue
            if (record.oid, record.tid) == (chosen, current[chosen]):
                if fault == "state":
                    data = flipped(data)
                if fault == "extra":
                    touched = [p64(u64(max(current)) + 1000)]
                    new.restore(touched[0], record.tid, data, "", None, found)
            if moved:
                touched.append(record.oid)
            new.restore(record.oid, p64(u64(record.tid) + 1) if moved else record.tid, data, "", None, found)
        new.tpc_vote(found)
        new.tpc_finish(found)
    new.close()
    for end in ("", ".index"):
        os.replace(location["path"] + ".new" + end, location["path"] + end)
    return sorted(set(touched))


class Tables:
    """The tables of RelStorage, of either kind and either driver."""

    def __init__(self, location):
        self.location, self.history = location, location["history"]
        self.sqlite = location["reader"] == "sqlite"
        connect = sqlite3.connect if self.sqlite else psycopg2.connect
        self.database = connect(location["path"] if self.sqlite else location["dsn"])
        self.cursor = self.database.cursor()

    def run(self, sql, *values):
        self.cursor.execute(sql if self.sqlite else sql.replace("?", "%s"), values)
        return self.cursor

    def plant(self, fault):
        """Plant a fault, return the oid."""
        blobs = "select zoid from blob_chunk"
        rows = self.run("select zoid, tid, state from object_state where state is not null").fetchall()
        if fault == "blob":
            oid = self._cut_blob()
        else:
            known = {oid for (oid,) in self.run(blobs)}
            files = {oid for oid, _tid, state in rows if is_blob_record(bytes(state))}
            oid, tid, state = max(row for row in rows if row[0] not in known | files)
            oid = getattr(self, fault)(oid, tid, bytes(state))
        self.database.commit()
        self.database.close()
        return [p64(oid)]

    def state(self, oid, tid, state):
        self.run("update object_state set state = ? where zoid = ? and tid = ?", flipped(state), oid, tid)
        return oid

    def tid(self, oid, tid, _state):
        if self.history:
            self._transaction(tid)
            self.run("delete from current_object where zoid = ?", oid)
        self.run("update object_state set tid = ? where zoid = ? and tid = ?", tid + 1, oid, tid)
        if self.history:
            self.run("insert into current_object (zoid, tid) values (?, ?)", oid, tid + 1)
        return oid

    def missing(self, oid, _tid, _state):
        if self.history:
            self.run("delete from current_object where zoid = ?", oid)
        self.run("delete from object_state where zoid = ?", oid)
        return oid

    def extra(self, oid, tid, state):
        new = oid + 1000
        if self.history:
            row = "insert into object_state (zoid, tid, prev_tid, state_size, state) values (?, ?, 0, ?, ?)"
            self.run(row, new, tid, len(state), state)
            self.run("insert into current_object (zoid, tid) values (?, ?)", new, tid)
        else:
            row = "insert into object_state (zoid, tid, state_size, state) values (?, ?, ?, ?)"
            self.run(row, new, tid, len(state), state)
        return new

    def _transaction(self, tid):
        self.run(
            'insert into "transaction" (tid, username, description, extension) '
            'select tid + 1, username, description, extension from "transaction" where tid = ?',
            tid,
        )

    def _cut_blob(self):
        rows = self.run("select zoid, max(tid) from object_state where state is not null group by zoid").fetchall()
        current = dict(rows)
        if self.location["blob_dir"]:
            files = FilesystemHelper(self.location["blob_dir"])
            paths = {oid: files.getBlobFilename(p64(oid), p64(tid)) for oid, tid in current.items()}
            oid = max((oid for oid in paths if os.path.exists(paths[oid])), key=lambda oid: os.path.getsize(paths[oid]))
            cut(paths[oid])
            return oid
        query = "select zoid, chunk_num, CHUNK, TID from blob_chunk".replace("TID", "tid" if self.history else "0")
        chunks = self.run(query.replace("CHUNK", "chunk" if self.sqlite else "lo_get(chunk)")).fetchall()
        oid, number, data, tid = max(
            (row for row in chunks if not self.history or row[3] == current[row[0]]),
            key=lambda row: (row[1], len(row[2])),
        )
        change = "update blob_chunk set chunk = NEW where zoid = ? and chunk_num = ?"
        change = change.replace("NEW", "?" if self.sqlite else "lo_from_bytea(0, ?)")
        if self.history:
            self.run(change + " and tid = ?", bytes(data)[:-1], oid, number, tid)
        else:
            self.run(change, bytes(data)[:-1], oid, number)
        return oid


def main(location, fault):
    """Plant a fault; return the oids."""
    oids = in_file(location, fault) if location["reader"] == "file" else Tables(location).plant(fault)
    return [oid.hex() for oid in oids]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), sys.argv[2])))
