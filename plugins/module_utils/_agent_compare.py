# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): how a destination differs from a source."""

from __future__ import annotations

import itertools
import os

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import NOTHING, Progress, number
from ansible_collections.pyams.zodb.plugins.module_utils._agent_file import WINDOW, FileTransactions
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Digest, Length


class Comparison:
    """How a destination differs from a source.

    Objects are counted; of two storages that keep history, revisions. Kinds: same; missing from the destination; stale
    there (the source has a newer revision); newer there than anything in the source; extra, not in the source, though
    not newer; unknown, a stale one that was never in the source; different, under the same transaction id; blobs that
    differ or are missing; later, committed to the source since it was opened. unchecked: stale ones of which a source
    without history cannot tell whether it ever had them.
    """

    KINDS = ("same", "missing", "stale", "newer", "extra", "unknown", "different", "blobs", "later", "unchecked")

    def __init__(self):
        self.counts = dict.fromkeys(self.KINDS, 0)
        self.transactions = self.size = self.blobs_missing = self.blob_bytes = 0
        self.examples = {}
        self.first = self.newer_first = self.extra_last = None

    def note(self, kind, oid, tid=None):
        self.counts[kind] += 1
        if kind != "same":
            examples = self.examples.setdefault(kind, [])
            if len(examples) < 5:
                examples.append(number(oid))
        if kind in ("missing", "stale"):
            self.begin(tid)
        elif kind == "newer":
            self.newer_first = min(filter(None, (self.newer_first, tid)))
        elif kind == "extra":
            self.extra_last = max(self.extra_last or tid, tid)

    def begin(self, tid):
        """Note a transaction that is to be copied; it may have no objects."""
        self.first = min(filter(None, (self.first, tid)))

    def lacks(self, source, oid, tid, state):
        """Note what is to be copied."""
        from ZODB.blob import is_blob_record

        self.size += len(state or b"")
        if is_blob_record(state):
            self.blobs_missing += 1
            self.blob_bytes += source.blob_size(oid, tid) or 0

    def answer(self):
        return {
            **self.counts,
            "transactions": self.transactions,
            "bytes": self.size + self.blob_bytes,
            "blobs_to_copy": self.blobs_missing,
            "examples": self.examples,
            "first": self.first and number(self.first),
            "newer_first": self.newer_first and number(self.newer_first),
            "extra_last": self.extra_last and number(self.extra_last),
        }


def compare(source, destination, full, until, after=None):
    """Return the Comparison of two opened storages. full: contents too, not only ids and lengths.

    until: id of the source's last transaction when it was opened. after: leave out transactions up to it; only of
    storages that keep history.
    """
    if source.keeps_history and destination.keeps_history:
        return _compare_histories(source, destination, full, until, after)
    return _compare_objects(source, destination, full, until)


def compare_copied(source, destination, oids, full, until):
    found = Comparison()
    for oid in sorted(set(oids)):
        state, tid = source.current(oid)
        there, there_tid = destination.current(oid)
        if state is None and there is None:
            found.note("same", oid)
        elif tid is not None and tid > until:
            found.note("later", oid)
        elif there is None:
            found.note("missing", oid, tid)
        elif state is None:
            found.note("extra", oid, there_tid)
        elif tid != there_tid:
            found.note("different", oid)
        else:
            _same(found, source, destination, oid, (tid, state), (there_tid, there), full)
    return found


def _compare_objects(source, destination, full, until):
    found = Comparison()
    packed = None
    progress = Progress("compared", source.count())
    there = destination.digests() if full else destination.lengths()
    for oid, one, other in _merged(source.records(), there):
        progress.step()
        if other is None:
            tid, state = one
            if tid > until:
                found.note("later", oid)
            else:
                found.note("missing", oid, tid)
                found.lacks(source, oid, tid, state)
        elif one is None:
            found.note("newer" if other[0] > until else "extra", oid, other[0])
        elif one[0] == other[0]:
            _same(found, source, destination, oid, one, other, full)
        elif one[0] < other[0]:
            found.note("newer", oid, other[0])
        else:
            if source.keeps_history:
                before = source.revision(oid, other[0])
                if before is None and packed is None:
                    packed = source.transactions()[1] or NOTHING
                if before is None and other[0] > packed:
                    found.note("unknown", oid)
                elif before is not None and not _equal(before, other[1], full):
                    found.note("different", oid)
            else:
                found.note("unchecked", oid)
            if one[0] > until:
                found.note("later", oid)
            else:
                found.note("stale", oid, one[0])
                found.lacks(source, oid, *one)
    return found


def _merged(ones, others):
    """Yield (key, what one has, what the other has) of two sorted runs of tuples that begin with the key."""
    one, other = next(ones, None), next(others, None)
    while one or other:
        if other is None or (one and one[0] < other[0]):
            yield one[0], one[1:], None
            one = next(ones, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1:]
            other = next(others, None)
        else:
            yield one[0], one[1:], other[1:]
            one, other = next(ones, None), next(others, None)


def _equal(one, other, full):
    if isinstance(other, Digest):
        return one is not None and _sha256([one]) == other
    if isinstance(other, Length):
        return one is None or len(one) == other
    return one == other if full or one is None or other is None else len(one) == len(other)


def _sha256(pieces):
    import hashlib

    made = hashlib.sha256()
    for piece in pieces:
        made.update(piece)
    return made.digest()


def _same(found, source, destination, oid, one, other, full):
    from ZODB.blob import is_blob_record

    tid, state = one
    if not _equal(state, other[1], full):
        found.note("different", oid)
    elif is_blob_record(state) and not _equal_blobs(source, destination, oid, tid, full):
        found.note("blobs", oid)
    else:
        found.note("same", oid)


def _equal_blobs(source, destination, oid, tid, full):
    if not full and not (source.shared and destination.shared):
        return True  # to ask for the length would fetch the blob
    one, other = source.blob(oid, tid), None
    try:
        digest = destination.blob_digest(oid, tid) if full else None
        if one and digest:
            return _sha256(pieces_of(one)) == digest
        other = destination.blob(oid, tid)
        if one is None or other is None or os.path.getsize(one) != os.path.getsize(other):
            return False
        if not full:
            return True
        return all(a == b for a, b in itertools.zip_longest(pieces_of(one), pieces_of(other)))
    finally:
        for storage_, path in ((source, one), (destination, other)):
            if path:
                storage_.release(path)


def pieces_of(path):
    """Yield what is in a file, piece by piece."""
    with open(path, "rb") as file:
        yield from iter(lambda: file.read(1 << 20), b"")


def _compare_histories(source, destination, full, until, after):
    found = Comparison()
    # ZEO takes the extension out of its pickle and puts it into another one.
    extension = "zeo" not in (source.kind, destination.kind)
    progress = Progress("compared", None)
    runs = [side.iterator(after) for side in (source, destination)]
    if after is None and source.kind == destination.kind == "filestorage":
        _compare_bytes(found, source, destination, full, *runs)
    runs = [((one.tid, one) for one in run) for run in runs]
    for tid, one, other in _merged(*runs):
        progress.step()
        if after and tid <= after:
            continue
        if other is None:
            kind = "later" if tid > until else "missing"
            if kind == "missing":
                found.transactions += 1
                found.begin(tid)
            for record in one[0]:
                found.note(kind, record.oid, tid)
                if kind == "missing":
                    found.lacks(source, record.oid, tid, record.data)
        elif one is None:
            for record in other[0]:
                found.note("newer" if tid > until else "extra", record.oid, tid)
        else:
            _compare_transactions(found, source, destination, one[0], other[0], full, extension)
    return found


def _compare_bytes(found, source, destination, full, one, other):
    """Compare what two FileStorages begin with where that is the same to the byte, as most copies are, and leave the
    rest to others. one, other: the FileTransactions of both, which then go on behind it.
    """
    from ZODB.blob import is_blob_record

    end = min(one.end, other.end)
    for at in range(0, end, WINDOW):
        size = min(WINDOW, end - at)
        if os.pread(one.handle, size, at) != os.pread(other.handle, size, at):
            return
    for transaction in FileTransactions(source, end=end):
        # A ZEO server writes the record of a blob twice into one transaction.
        blobs = {record.oid: is_blob_record(record.data) for record in transaction}
        wrong = [
            oid
            for oid, is_blob in blobs.items()
            if is_blob and not _equal_blobs(source, destination, oid, transaction.tid, full)
        ]
        for oid in wrong:
            found.note("blobs", oid)
        found.counts["same"] += len(blobs) - len(wrong)
    one.at = other.at = end


def _compare_transactions(found, source, destination, one, other, full, extension):
    blobs = set()
    ours, theirs = _digests(one, full, blobs), _digests(other, full)
    if _about(one, extension) != _about(other, extension):
        found.note("different", min(ours, default=NOTHING))
    differing = set()
    if ours != theirs:
        differing.update(oid for oid, _digest in ours.items() ^ theirs.items())
    for oid in sorted(differing):
        found.note("different" if oid in ours else "extra", oid, one.tid)
    wrong = [oid for oid in sorted(blobs - differing) if not _equal_blobs(source, destination, oid, one.tid, full)]
    for oid in wrong:
        found.note("blobs", oid)
    found.counts["same"] += len(ours.keys() - differing) - len(wrong)


def _digests(transaction, full, blobs=None):
    """Return {oid: what stands for its state, 0 if its creation was undone}. blobs: a set to put their oids into."""
    from ZODB.blob import is_blob_record

    digests = {}
    for record in transaction:
        state = record.data
        digests[record.oid] = 0 if state is None else _sha256([state]) if full else len(state)
        if blobs is not None and is_blob_record(state):
            blobs.add(record.oid)
    return digests


def _about(transaction, extension):
    texts = (transaction.user, transaction.description, transaction.extension_bytes if extension else b"")
    return [text.encode() if isinstance(text, str) else text for text in texts]
