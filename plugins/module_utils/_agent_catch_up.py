# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): copies what a destination lacks from a transaction on."""

from __future__ import annotations

import os

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Refused, number, raw
from ansible_collections.pyams.zodb.plugins.module_utils._agent_compare import compare, compare_copied
from ansible_collections.pyams.zodb.plugins.module_utils._agent_locks import check_pack_locks
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import blob_of, copy_of, status_of
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zconfig import storage


class Tail:
    """What a source has from a transaction on, and a destination has not."""

    CHUNK = 100_000  # objects in one transaction of the destination, each some 300 bytes of this process's memory

    def __init__(self, source, destination, start, until):
        self.source, self.destination, self.until = source, destination, until
        if destination.keeps_history:
            # Transactions are appended, so nothing before the destination's last one can be mended.
            start = destination.last()
        self.start = start
        self.repeated = {}
        self.done = {"transactions": 0, "objects": 0, "blobs": 0, "bytes": 0, "dropped": 0}
        self.copied = []

    def count(self):
        """Return the numbers without copying."""
        from ZODB.blob import is_blob_record

        for records, _end in self._chunks():
            for record in records:
                blob = is_blob_record(record.data)
                self._add(record, self.source.blob_size(record.oid, record.tid) if blob else None)
        return self.done

    def copy(self, drop):
        """Copy. drop: revisions that the destination cannot keep."""
        from ZODB.Connection import TransactionMetaData

        for records, transaction in self._chunks():
            if self.done["dropped"] and self.source.keeps_history and not drop:
                raise Refused(
                    "history: the source has older revisions of what was changed, and the destination keeps none; "
                    "set it to drop, and they stay behind."
                )
            meta = transaction if self.destination.keeps_history else TransactionMetaData()
            self._commit(meta, transaction, records)
        return self.done

    def _chunks(self):
        """Yield (records, the transaction to commit them in): one by one, or the newest revisions of many."""
        if self.destination.keeps_history:
            for transaction in self.source.iterator(self.start, self.until):
                if transaction.tid > self.start:
                    self.done["transactions"] += 1
                    yield transaction, transaction
            return
        from ZODB.utils import p64, u64

        start = self.start
        while start <= self.until:
            newest, last = {}, None
            # A ZEO server writes the record of a blob twice into one transaction; the last one counts.
            self.repeated = {}
            for last in self.source.iterator(start, self.until):
                for record in last:
                    before = newest.get(record.oid)
                    if before == record.tid:
                        self.repeated[record.oid] = self.repeated.get(record.oid, 0) + 1
                        continue
                    self.repeated.pop(record.oid, None)
                    self.done["dropped"] += before is not None
                    newest[record.oid] = record.tid
                if len(newest) >= self.CHUNK:
                    break
            if last is None:
                return
            there = {}
            oids = sorted(newest)
            for at in range(0, len(oids), 1000):
                there.update(self.destination.tids(oids[at : at + 1000]))
            newest = {oid: tid for oid, tid in newest.items() if there.get(oid) != tid}
            self.done["transactions"] = None
            if newest:
                yield (
                    (
                        record
                        for transaction in self.source.iterator(start, last.tid)
                        for record in transaction
                        if newest.get(record.oid) == record.tid and self._counts(record, there)
                    ),
                    last,
                )
            start = p64(u64(last.tid) + 1)

    def _counts(self, record, there):
        if self.repeated.get(record.oid):
            self.repeated[record.oid] -= 1
            return False
        # An object that was made and undone within the tail: the destination has never had it.
        return record.data is not None or record.oid in there

    def _commit(self, meta, transaction, records):
        writing = self.destination.storage
        writing.tpc_begin(meta, transaction.tid, status_of(transaction) if meta is transaction else " ")
        try:
            for record in records:
                self._restore(record, meta)
            writing.tpc_vote(meta)
            writing.tpc_finish(meta)
        except BaseException:
            writing.tpc_abort(meta)
            raise

    def _restore(self, record, meta):
        from ZODB.blob import is_blob_record

        writing = self.destination.storage
        if not is_blob_record(record.data):
            self._add(record, None)
            writing.restore(record.oid, record.tid, record.data, "", record.data_txn, meta)
            return
        with blob_of(self.source, record.oid, record.tid) as path:
            self._add(record, os.path.getsize(path))
            with copy_of(path, self.destination) as copy:
                writing.restoreBlob(record.oid, record.tid, record.data, copy, record.data_txn, meta)

    def _add(self, record, blob_size):
        self.copied.append(record.oid)
        self.done["objects"] += 1
        self.done["bytes"] += len(record.data or b"")
        if blob_size is not None:
            self.done["blobs"] += 1
            self.done["bytes"] += blob_size


def catch_up(request):
    """Copy what the destination lacks from a transaction on, then prove it.

    request: source, destination, start (id, included), drop (revisions), verify (none, fast, full), whole (prove
    everything, not only what was copied).
    """
    with storage(request["source"]) as source:
        until, inode = source.last(), source.inode()
        writing = storage(request["destination"])
        try:
            writing.open_for_writing()
            tail = Tail(source, writing, raw(request["start"]), until)
            done = tail.copy(request["drop"])
        finally:
            writing.close()
        with storage(request["destination"]) as destination:
            found = None
            if request["verify"] != "none":
                full = request["verify"] == "full"
                if request["whole"]:
                    found = compare(source, destination, full, until)
                elif source.keeps_history and destination.keeps_history:
                    found = compare(source, destination, full, until, tail.start)
                else:
                    found = compare_copied(source, destination, tail.copied, full, until)
            check_pack_locks()
            return {
                **done,
                "found": found and found.answer(),
                "packed": source.inode() != inode,
                "source": {"last_tid": number(until), "objects": source.count(), "inode": inode},
                "destination": {"last_tid": number(destination.last()), "objects": destination.count()},
            }
