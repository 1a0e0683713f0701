# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): what storages of all kinds have in common."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import (
    NOTHING,
    Missing,
    Refused,
    first_line,
    number,
)

PRIVATE_FOLDERS = []  # for blobs that are fetched


class Digest(bytes):
    """The SHA-256 of a state or a blob, made by the server that has it."""


class Length(int):
    """The length of a state in bytes, told by the server that has it."""


class Storage:
    """A storage that is opened for reading: nothing is made, written or locked, objects are never unpickled.

    Blobs of a folder that belongs to the storage are read where they lie. Those of a ZEO server or a database are
    fetched one at a time into a private folder, not into the application's cache.
    """

    kind = None
    path = None  # of the file or folder that holds the objects
    shared = True  # blob_dir is where blobs are kept, not a cache of them
    database = None  # RelStorage's adapter of it
    keeps_history = None
    history_differs = False  # from what the description says
    counts_others = False  # whether others is wanted: a site's own sessions come and go, and would be waited for
    others = None  # sessions of the database, counted before the storage is opened
    updaters = None  # how many of them are a newt-updater
    newt = ()  # the tables of NewtDB that are there
    no_folder = None  # of blobs: a sentence, if it is missing

    def __init__(self, found):
        self.section = found
        self.config = found.config
        self.blob_dir = getattr(self.config, "blob_dir", None) and os.path.abspath(self.config.blob_dir)
        self.private = None
        self.storage = None

    def open(self):
        """Open it. Raises Missing."""
        raise NotImplementedError

    def close(self):
        if self.storage is not None:
            self.storage.close()
        if self.private:
            shutil.rmtree(self.private, ignore_errors=True)

    def __enter__(self):
        try:
            self.open()
            if self.no_folder:
                raise Missing(self.no_folder, partly=self.last() != NOTHING)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error):
        self.close()

    def last(self):
        """Return the id of the last finished transaction."""
        return self.storage.lastTransaction()

    def identity(self):
        """Return what two descriptions of the same storage have in common, as a text."""
        raise NotImplementedError

    def objects(self, exact):
        """Return the number of objects; if it need not be exact, what is cheap to know."""
        return sum(1 for _record in self.records()) if exact else len(self.storage)

    def count(self):
        """Return a number that is cheap to know and changes with the number of objects."""
        return len(self.storage)

    def inode(self):
        """Return what a pack changes, None if that cannot be told."""
        return

    def revisions(self):
        """Return how many revisions of objects are kept."""
        return sum(len({record.oid for record in transaction}) for transaction in self.iterator())

    def tids(self, oids):
        """Return {oid: tid} of the objects among some that are there."""
        found = {oid: self.current(oid)[1] for oid in oids}
        return {oid: tid for oid, tid in found.items() if tid}

    def current(self, oid):
        """Return (state, tid) of an object as it is now, (None, None) if it is not there."""
        from ZODB.POSException import POSKeyError
        from ZODB.utils import load_current

        try:
            return load_current(self.storage, oid)
        except (POSKeyError, KeyError):
            return None, None

    def open_for_writing(self):
        """Open it to be written, made if it is missing. What others have in use is not touched."""
        raise NotImplementedError

    def temporary_folder(self):
        """Return where a file lies that is handed over as a blob."""
        return self.storage.temporaryDirectory()

    def clear(self):
        """Take everything out of a storage that is opened for writing, and close it."""
        raise NotImplementedError

    def _clear_blobs(self):
        if self.blob_dir and self.shared and os.path.isdir(self.blob_dir):
            for name in os.listdir(self.blob_dir):
                path = os.path.join(self.blob_dir, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def transactions(self):
        """Return (number of transactions, id of the last one that a pack looked at), None for what is not known."""
        if not self.keeps_history:
            return None, None
        count, packed = 0, None
        for transaction in self.iterator():
            count += 1
            packed = transaction.tid if status_of(transaction) == "p" else packed
        return count, packed

    def blobs(self):
        """Return (number, bytes) of the blobs in every revision that is kept, None for what is not known."""
        if not (self.blob_dir and self.shared):
            return None, None
        files = list(blob_files(self.blob_dir))
        return len(files), sum(os.path.getsize(file) for file in files)

    def versions(self):
        """Return versions of what is behind the storage, beside those of the Python packages."""
        return {}

    def index(self):
        """Return the state of the saved index of a FileStorage, None for others."""
        return

    def json(self, _exact):
        """Return the facts of NewtDB's JSON, None where there is none to be read."""
        return

    def records(self):
        """Yield (oid, tid, state) of each current object, by oid, without those whose creation was undone."""
        from ZODB.POSException import POSKeyError
        from ZODB.utils import p64, u64

        at = None
        while True:
            try:
                oid, tid, state, at = self._record_behind(at)
            except POSKeyError as error:  # a creation that was undone: the storage names it, and goes on behind it
                at = p64(u64(error.args[0]) + 1)
                continue
            except (StopIteration, ValueError):  # an empty storage, or nothing behind the last undone one
                return
            if state is not None:
                yield oid, tid, state
            if at is None:
                return

    def _record_behind(self, at):
        return type(self.storage).record_iternext(self.storage, at)  # for the script, the instance has another

    def feed(self):
        """Have the script read what records() does: that is faster, and does not break off at what was undone."""
        self.storage.record_iternext = _one_by_one(self.records())

    def digests(self):
        """Return what records() does, with a Digest for each state where whoever keeps them can make it."""
        return self.records()

    def lengths(self):
        """Return what records() does, with a Length for each state where whoever keeps them can tell it."""
        return self.records()

    def blob_digest(self, _oid, _tid):
        """Return the Digest of a blob, None where only its file tells. By oid, each after the one before."""
        return

    def iterator(self, start=None, stop=None):
        """Return the transactions, by tid, both ends included."""
        return self.storage.iterator(start, stop)

    def revision(self, oid, tid):
        """Return the state that an object got in a transaction, None if that is not kept."""
        from ZODB.POSException import POSKeyError

        try:
            return self.storage.loadSerial(oid, tid)
        except (POSKeyError, KeyError):
            return None

    def blob(self, oid, tid):
        """Return the path of a blob's file, None if it cannot be read. Give it back by release()."""
        from ZODB.POSException import POSKeyError, Unsupported

        try:
            path = self.storage.loadBlob(oid, tid)
        except (POSKeyError, Unsupported, OSError, AssertionError):  # the last is RelStorage's, for a missing one
            return None
        except Exception as error:  # each driver has exceptions of its own, after which it reads nothing more
            raise Refused(
                f"the blob of object {number(oid)}, transaction {number(tid)}, cannot be read: {first_line(error)}"
            ) from None
        return path if path and os.access(path, os.R_OK) else None

    def release(self, path):
        if self.private and path.startswith(self.private):
            with contextlib.suppress(OSError):
                os.remove(path)

    def blob_size(self, oid, tid):
        """Return the bytes of a blob, None if it cannot be read."""
        path = self.blob(oid, tid)
        if path is None:
            return None
        size = os.path.getsize(path)
        self.release(path)
        return size

    def _blob_folder(self):
        """Return the folder to open the storage with: its own, None if that is not there, or a private one."""
        if not self.blob_dir:
            return None
        if self.shared:
            if os.path.isdir(self.blob_dir):
                self._check_layout()
                return self.blob_dir
            self.no_folder = f"there is no folder of blobs {self.blob_dir}."
            return None
        if not self.private:
            self.private = tempfile.mkdtemp(prefix="zodb-")
            PRIVATE_FOLDERS.append(self.private)
        return self.private

    def _check_layout(self):
        """Refuse a client's cache of blobs in place of the storage's own folder."""
        from ZODB.blob import LAYOUT_MARKER, LAYOUTS

        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.blob_dir, LAYOUT_MARKER)) as file:
            layout = file.read().strip()
            if layout not in LAYOUTS:
                raise Refused(
                    f"{self.blob_dir} is no storage's folder of blobs, its layout is {layout}; name the folder where "
                    "they are kept."
                )


def _one_by_one(records):
    """Return a record_iternext() of records."""
    ahead = []

    def record_iternext(at=None):
        oid, tid, state = ahead.pop() if at else next(records)
        ahead.extend(itertools.islice(records, 1))
        return oid, tid, state, bool(ahead)

    return record_iternext


def blob_files(folder):
    """Yield the paths of the blobs in a folder."""
    for path, _folders, names in os.walk(folder):
        yield from (os.path.join(path, name) for name in names if name.endswith(".blob"))


@contextlib.contextmanager
def blob_of(source, oid, tid):
    """Give the path of a blob's file that is to be copied. Raises Refused."""
    path = source.blob(oid, tid)
    if path is None:
        raise Refused(
            f"the blob of object {number(oid)}, transaction {number(tid)}, is missing from the source or cannot be "
            "read; mend that first."
        )
    try:
        yield path
    finally:
        source.release(path)


@contextlib.contextmanager
def copy_of(path, destination):
    """Give a copy of a blob's file, which the destination takes away."""
    handle, copy = tempfile.mkstemp(dir=destination.temporary_folder())
    os.close(handle)
    try:
        shutil.copyfile(path, copy)
        yield copy
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(copy)


@contextlib.contextmanager
def nothing_made():
    """Keep ZODB from making a folder of blobs, its folder for temporary files, or its layout's mark."""
    from ZODB.blob import FilesystemHelper

    create, FilesystemHelper.create = FilesystemHelper.create, lambda helper: None
    try:
        yield
    finally:
        FilesystemHelper.create = create


def status_of(transaction):
    """Return a transaction's status as text: ZEO hands out bytes."""
    status = transaction.status
    return status.decode() if isinstance(status, bytes) else status
