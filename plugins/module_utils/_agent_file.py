# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a FileStorage."""

from __future__ import annotations

import contextlib
import os
import struct

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import AFTER_ALL, NOTHING, Missing, Refused
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Storage, nothing_made

HEADER = struct.Struct(">8sQcHHH")  # of a transaction in a FileStorage: tid, length, status, three lengths of texts
# Of an object's record there: oid, tid, where its last record is, where its transaction is, of a version, length
RECORD = struct.Struct(">8s8sQQHQ")
PIECE = 2048  # bytes that are read for a record at first
WINDOW = 1 << 18  # bytes of a file that are read along its transactions


class File(Storage):
    """A FileStorage, which a server may have open at the same time."""

    kind = "filestorage"
    keeps_history = True

    def __init__(self, found):
        super().__init__(found)
        self.path = os.path.abspath(self.config.path)

    def open(self):
        from ZODB.FileStorage import FileStorage
        from ZODB.FileStorage.FileStorage import FileStorageFormatError

        if not os.path.exists(self.path):
            raise Missing(f"there is no file {self.path}.")
        if not os.path.isfile(self.path):
            raise Refused(f"{self.path} is no file; name that of a FileStorage.")
        if not os.path.getsize(self.path):  # made by one who was killed right then
            raise Missing(f"the file {self.path} is empty.")
        with nothing_made(), _nothing_unpickled():
            try:
                self.storage = FileStorage(self.path, read_only=True, blob_dir=self._blob_folder())
            except FileStorageFormatError:
                raise Refused(_format(self.path)) from None

    def inode(self):
        # A pack puts another file in the place of this one.
        status = os.stat(self.path)
        return [status.st_dev, status.st_ino]

    def identity(self):
        return f"filestorage {os.path.realpath(self.path)}"

    def last(self):
        # Of a file that a server writes, lastTransaction() may name a transaction that is not finished, and
        # lastInvalidations() one that came after the file was opened; objects are read as they were then.
        end = self.storage._pos
        if end <= 4:
            return NOTHING
        return self.storage._read_txn_header(end - 8 - self.storage._read_num(end - 8)).tid

    def records(self):
        # Three times as fast as record_iternext(), which looks each object up by its id.
        file = self.storage._file.fileno()
        for oid, at in self.storage._index.iteritems():
            piece = os.pread(file, PIECE, at)
            there, tid, _before, _transaction, _version, length = RECORD.unpack_from(piece)
            if there != oid:
                raise Refused(f"{self.path} is damaged: at byte {at} there is not what its index says; look at it.")
            state = piece[RECORD.size : RECORD.size + length]
            if len(state) < length:
                state = os.pread(file, length, at + RECORD.size)
            if not state:  # the record of an undo names the one that it brought back
                (back,) = struct.unpack_from(">Q", piece, RECORD.size)
                state = back and self.storage._loadBack_impl(oid, back, fail=False)[0]
            if state:
                yield oid, tid, state

    def feed(self):
        super().feed()
        self.storage.iterator = self.iterator

    def iterator(self, start=None, stop=None):
        return FileTransactions(self, start, stop)

    def objects(self, exact):
        if not exact:
            return len(self.storage)
        headers = (self.storage._read_data_header(at) for at in self.storage._index.itervalues())
        return sum(1 for header in headers if header.plen or header.back)

    def open_for_writing(self):
        from zc.lockfile import LockError
        from ZODB.FileStorage import FileStorage

        try:
            empty = os.path.exists(self.path) and not os.path.getsize(self.path)
            self.storage = FileStorage(self.path, create=empty, blob_dir=self.blob_dir)
        except LockError:
            raise Refused(f"{self.path} is open for writing in another process; stop that first.") from None

    def clear(self):
        self.storage.close()
        self.storage.cleanup()
        self.storage = None
        self._clear_blobs()

    def index(self):
        """Return how far the saved index is: missing, unusable, behind (the rest is read at each start), current."""
        from ZODB.fsIndex import fsIndex

        if not os.path.exists(self.path + ".index"):
            return "missing"
        with _nothing_unpickled():
            try:
                at = fsIndex.load(self.path + ".index")["pos"]
            except Exception:
                return "unusable"
        size = self.storage.getSize()
        return "current" if at == size else "behind" if at < size else "unusable"


class FileTransactions:
    """The finished transactions of a FileStorage between two ids, as its own iterator() returns them.

    end: the byte to stop at, if not behind the last one.
    Three times as fast, since it reads the file along and not record by record; and it begins at the end of a file that
    is being written, where the other gives up.
    """

    def __init__(self, file, start=None, stop=None, end=None):
        self.file, self.storage = file, file.storage
        self.handle, self.end = self.storage._file.fileno(), end or self.storage._pos
        self.window, self.begin = b"", 0
        self.stop = stop or AFTER_ALL
        self.at = self._behind(start) if start else 4

    def _behind(self, start):
        """Return where the first transaction from start on begins, looked for from the end."""
        at = self.end
        while at > 4:
            before = at - 8 - self.storage._read_num(at - 8)
            if os.pread(self.handle, 8, before) < start:
                break
            at = before
        return at

    def _offset(self, at, size):
        """Return where in self.window the bytes of the file from at on are."""
        offset = at - self.begin
        if offset < 0 or offset + size > len(self.window):
            self.begin, self.window, offset = at, os.pread(self.handle, max(size, WINDOW), at), 0
            if len(self.window) < size:
                raise self._damaged(at)
        return offset

    def _damaged(self, at):
        return Refused(f"{self.file.path} is damaged: at byte {at} there is no record as its place says; look at it.")

    def __iter__(self):
        from ZODB.BaseStorage import TransactionRecord

        class Transaction(TransactionRecord):
            def __iter__(self):
                return self.records

        while self.at < self.end:
            at = self.at
            offset = self._offset(at, HEADER.size)
            tid, length, status, *lengths = HEADER.unpack_from(self.window, offset)
            if tid > self.stop:
                return
            head, behind = HEADER.size + sum(lengths), at + length
            if length < head or behind + 8 > self.end:
                raise self._damaged(at)
            offset = self._offset(at, head) + HEADER.size
            user, description, extension = (
                self.window[offset + sum(lengths[:n]) : offset + sum(lengths[: n + 1])] for n in range(3)
            )
            self.at = behind + 8
            one = Transaction(tid, status.decode(), user, description, extension)
            one.records = self._records(at, at + head, behind)
            yield one

    def _records(self, transaction, at, behind):
        from ZODB.BaseStorage import DataRecord

        size, unpack = RECORD.size, RECORD.unpack_from
        while at < behind:
            offset = self._offset(at, size)
            oid, tid, _before, its_transaction, _version, length = unpack(self.window, offset)
            if its_transaction != transaction or at + size + (length or 8) > behind:
                raise self._damaged(at)
            if length:
                if offset + size + length > len(self.window):
                    offset = self._offset(at, size + length)
                at += size + length
                yield DataRecord(oid, tid, self.window[offset + size : offset + size + length], None)
                continue
            begin = self._offset(at, size + 8) + size
            (back,) = struct.unpack_from(">Q", self.window, begin)
            at += size + 8
            if back:  # an undo brought back what is there
                state = self.storage._loadBack_impl(oid, back, fail=False)[0]
                yield DataRecord(oid, tid, state, self.storage.getTxnFromData(oid, back))
            else:  # an undo of its creation
                yield DataRecord(oid, tid, None, None)


@contextlib.contextmanager
def _nothing_unpickled():
    """Let an index be read that holds numbers and texts, and no other."""
    import ZODB.fsIndex

    class Plain(ZODB.fsIndex.Unpickler):
        def find_class(self, module, name):
            raise ValueError(f"{module}.{name} in an index")

        find_global = find_class

    unpickler, ZODB.fsIndex.Unpickler = ZODB.fsIndex.Unpickler, Plain
    try:
        yield
    finally:
        ZODB.fsIndex.Unpickler = unpickler


def _format(path):
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic in (b"FS21", b"FS20"):
        return f"{path} is a FileStorage of Python 2; convert it with zodbupdate first."
    return f"{path} is no FileStorage; it begins with {magic!r}."
