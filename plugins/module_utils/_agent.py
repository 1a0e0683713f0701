# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what the modules run under the Python of the storage's virtualenv.

The source of this file travels inside the module (see _agent_run.py) and is run by ``python -I -c``: it imports
the standard library, and what the virtualenv has only inside its functions. One request as JSON on standard input, one
answer as a line of JSON on standard output; what is logged goes to standard error.

A storage is known by its ZConfig text alone. To read one, nothing is created, written or locked, and no state of an
object is unpickled. Transaction and object ids are texts of 16 hexadecimal digits behind 0x.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import struct
import sys
import tempfile
import time

# One storage, or a file as zodbconvert, a ZEO server or an application reads it, without its other parts.
SCHEMA = """
<schema>
  <import package="ZODB"/>
  <multisection type="ZODB.storage" name="*" attribute="storages"/>
  <multisection type="ZODB.database" name="*" attribute="databases"/>
</schema>
"""
NOTHING = b"\0" * 8
HEADER = struct.Struct(">8sQcHHH")  # of a transaction in a FileStorage: tid, length, status, three lengths of texts
ZEO_PATIENCE = 30  # seconds to wait for a server, at most
READ_CACHE = 1  # MB of RelStorage's cache: everything is read once


class Refused(Exception):
    """What is wrong and what to do, in one sentence."""


class Missing(Refused):
    """The file, folder or schema is not there: an empty storage could be made in its place."""


class Unreachable(Refused):
    """What holds the storage does not answer, or does not let us look."""


def number(value):
    """Return an id of eight bytes as text."""
    return "0x" + value.hex()


def raw(text):
    """Return an id written as text as its eight bytes."""
    return bytes.fromhex(text[2:])


def section(place):
    """Return the storage's section as ZConfig reads it; nothing is opened.

    place: text, a ZConfig text with one storage; or file and section, its name in a file.
    """
    import ZConfig.datatypes
    import ZConfig.loader

    # RelStorage's schema asks for existing folders; which one is missing is ours to say.
    registry = ZConfig.datatypes.Registry({**ZConfig.datatypes.stock_datatypes, "existing-dirpath": str})
    schema = ZConfig.loader.SchemaLoader(registry).loadFile(io.StringIO(SCHEMA))
    try:
        if "text" in place:
            found, _handlers = ZConfig.loadConfigFile(schema, io.StringIO(place["text"]))
            return found.storages[0]
        found, _handlers = ZConfig.loadConfig(schema, place["file"])
    except ImportError as error:
        raise Refused(f"the virtualenv lacks a package that the storage needs ({error}); install it there.") from None
    except ZConfig.ConfigurationError as error:
        raise Refused(f"ZConfig does not accept it: {_first_line(error)}") from None
    except OSError as error:  # the file itself; certificates are read with the section
        raise Unreachable(f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}.") from None
    name = place["section"].lower()
    known = {one.name: one for one in found.storages}
    known.update((one.name, one.config.storage) for one in found.databases)
    if name not in known:
        names = ", ".join(filter(None, known)) or "none"
        raise Refused(f"{place['file']} has no storage {name}; it has {names}.")
    return known[name]


class Storage:
    """A storage that is opened for reading: nothing is made, written or locked, objects are never unpickled.

    Blobs of a folder that belongs to the storage are read where they lie. Those of a ZEO server or a database are
    fetched one at a time into a private folder, not into the application's cache.
    """

    kind = None
    path = None  # of the file or folder that holds the objects
    shared = True  # blob_dir is where blobs are kept, not a cache of them
    keeps_history = None

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

    def transactions(self):
        """Return (number of transactions, id of the last one that a pack looked at), None for what is not known."""
        raise NotImplementedError

    def blobs(self):
        """Return (number, bytes) of the blobs in every revision that is kept, None for what is not known."""
        if not (self.blob_dir and self.shared):
            return None, None
        files = [
            os.path.join(folder, name)
            for folder, _folders, names in os.walk(self.blob_dir)
            for name in names
            if name.endswith(".blob")
        ]
        return len(files), sum(os.path.getsize(file) for file in files)

    def versions(self):
        """Return versions of what is behind the storage, beside those of the Python packages."""
        return {}

    def records(self):
        """Yield (oid, tid, state) of each current object, by oid, without those whose creation was undone."""
        from ZODB.POSException import POSKeyError
        from ZODB.utils import p64, u64

        at = None
        while True:
            try:
                oid, tid, state, at = self.storage.record_iternext(at)
            except POSKeyError as error:  # a creation that was undone: the storage names it, and goes on behind it
                at = p64(u64(error.args[0]) + 1)
                continue
            except (StopIteration, ValueError):  # an empty storage, or nothing behind the last undone one
                return
            if state is not None:
                yield oid, tid, state
            if at is None:
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
        except (POSKeyError, Unsupported, OSError):
            return None
        return path if path and os.access(path, os.R_OK) else None

    def release(self, path):
        if self.private and path.startswith(self.private):
            with contextlib.suppress(OSError):
                os.remove(path)

    def _blob_folder(self):
        """Return the folder to open the storage with: its own, which has to be there, or a private one."""
        if not self.blob_dir:
            return None
        if self.shared:
            if not os.path.isdir(self.blob_dir):
                raise Missing(f"there is no folder of blobs {self.blob_dir}.")
            return self.blob_dir
        self.private = self.private or tempfile.mkdtemp(prefix="zodb-")
        return self.private


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

        if not os.path.isfile(self.path):
            raise Missing(f"there is no file {self.path}.")
        with _nothing_made(), _nothing_unpickled():
            try:
                self.storage = FileStorage(self.path, read_only=True, blob_dir=self._blob_folder())
            except FileStorageFormatError:
                raise Refused(_format(self.path)) from None
        self.opened = self.inode()

    def inode(self):
        """Return what a pack changes: it puts another file in the place of this one."""
        status = os.stat(self.path)
        return [status.st_dev, status.st_ino]

    def identity(self):
        return f"filestorage {os.path.realpath(self.path)}"

    def last(self):
        # lastTransaction() of a file that is opened beside a server may name a transaction that is not finished.
        return next(reversed(self.storage.lastInvalidations(1)), (NOTHING,))[0]

    def iterator(self, start=None, stop=None):
        # From a start, ZODB looks for the last transaction first, and gives up where one is being written.
        for _try in range(100):
            try:
                return super().iterator(start, stop)
            except (ValueError, AttributeError):
                time.sleep(0.02)
        return super().iterator(start, stop)

    def objects(self, exact):
        if not exact:
            return len(self.storage)
        headers = (self.storage._read_data_header(at) for at in self.storage._index.values())
        return sum(1 for header in headers if header.plen or header.back)

    def transactions(self):
        count, packed, at, end = 0, None, 4, self.storage._pos
        with open(self.path, "rb") as file:
            while at < end:
                file.seek(at)
                tid, length, status, *_texts = HEADER.unpack(file.read(HEADER.size))
                count += 1
                packed = tid if status == b"p" else packed
                at += length + 8
        return count, packed

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


class Zeo(Storage):
    """A storage of a ZEO server."""

    kind = "zeo"

    def __init__(self, found):
        super().__init__(found)
        self.shared = bool(self.config.shared_blob_dir)

    def open(self):
        from ZEO.Exceptions import ClientDisconnected

        config = self.config
        config.read_only, config.read_only_fallback = True, False
        config.blob_dir, config.blob_cache_size = self._blob_folder(), None
        for name in ("cache_path", "client", "var"):
            if hasattr(config, name):
                setattr(config, name, None)
        if hasattr(config, "wait_timeout"):
            config.wait_timeout = min(config.wait_timeout or ZEO_PATIENCE, ZEO_PATIENCE)
        try:
            self.storage = self.section.open()
        except ClientDisconnected:
            raise Unreachable(
                f"no answer from {self._servers()} for the storage {config.storage}; look whether the server runs, "
                "has a storage of that name, and accepts this client."
            ) from None
        self.keeps_history = bool(self.storage.supportsUndo())
        served = self.storage._info.get("name") or ""
        self.path = served if os.path.isabs(served) and os.path.exists(served) else None

    def _servers(self):
        addresses = [server.address for server in self.config.server]
        return ", ".join(one if isinstance(one, str) else "{}:{}".format(*one[:2]) for one in addresses)

    def identity(self):
        return f"zeo {self._servers()} {self.config.storage}"

    def transactions(self):
        if not self.keeps_history:
            return None, None
        count, packed = 0, None
        for transaction in self.iterator():
            count += 1
            packed = transaction.tid if _status(transaction) == "p" else packed
        return count, packed

    def blobs(self):
        if self.shared:
            return super().blobs()
        from ZODB.blob import is_blob_record

        return sum(1 for _oid, _tid, state in self.records() if is_blob_record(state)), None


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
        self.database = None

    def open(self):
        config = self.config
        self.wanted_history = bool(config.keep_history)
        config.read_only, config.create_schema = True, False
        config.cache_local_dir = config.cache_servers = None
        config.cache_local_mb = READ_CACHE
        if self.path and not os.path.isfile(os.path.join(self.path, "main.sqlite3")):
            raise Missing(f"there is no SQLite database main.sqlite3 in {self.path}.")
        self.database = self._database()
        try:
            tables = self.ask(self.database.schema.list_tables)
        except Exception as error:  # each driver has exceptions of its own
            raise Unreachable(f"the database does not answer: {_first_line(error)}") from None
        tables = {table.lower() for table in tables}
        if "object_state" not in tables:
            raise Missing("the database answers, but has none of RelStorage's tables.")
        self.keeps_history = config.keep_history = "current_object" in tables
        self.database = self._database()
        config.blob_dir, config.blob_cache_size = self._blob_folder(), None
        with _nothing_made() if self.shared else contextlib.nullcontext():
            self.storage = self.section.open()

    def _database(self):
        from relstorage.options import Options

        self.config.driver = self.adapter.config.driver
        options = Options.copy_valid_options(self.config)
        options.adapter = self.adapter
        try:
            return self.adapter.create(options)
        except ImportError as error:
            raise Refused(f"the virtualenv has no driver for the database: {_first_line(error)}") from None

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
        if self.kind in ("mysql", "mariadb"):
            return "mysql {}".format(self.value("SELECT CONCAT(@@hostname, ':', @@port, '/', DATABASE())"))
        return f"{self.kind} {self.adapter.config.dsn}"

    def objects(self, exact):
        if not exact:
            return len(self.storage)
        if self.keeps_history:
            return self.value(
                "SELECT COUNT(*) FROM current_object JOIN object_state USING (zoid, tid) WHERE state IS NOT NULL"
            )
        return self.value("SELECT COUNT(*) FROM object_state WHERE state IS NOT NULL")

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

    def _sessions(self):
        """Return how many other sessions of clients have the database open, None if that cannot be told."""
        if self.kind != "postgresql":
            return None
        return self.value(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def versions(self):
        query = {
            "postgresql": "SHOW server_version",
            "sqlite": "SELECT sqlite_version()",
            "mysql": "SELECT version()",
            "mariadb": "SELECT version()",
        }.get(self.kind)
        return {"server": self.value(query) if query else None, "driver": self.database.driver.__name__}


def storage(place):
    """Return a storage by its place (see section), to be opened by ``with``."""
    found = section(place)
    module = type(found).__module__ + "." + type(found).__name__
    known = {
        "ZODB.config.FileStorage": File,
        "ZODB.config.ZEOClient": Zeo,
        "ZEO.zconfig.ClientStorageConfig": Zeo,
        "relstorage.config.RelStorageFactory": Relational,
    }
    if module not in known:
        raise Refused(
            f"<{found.config.getSectionType()}> is no storage that can be looked at without writing to it; name the "
            "storage below it: a filestorage, a ZEO client or a relstorage."
        )
    return known[module](found)


@contextlib.contextmanager
def _nothing_made():
    """Keep ZODB from making a folder of blobs, its folder for temporary files, or its layout's mark."""
    from ZODB.blob import FilesystemHelper

    create, FilesystemHelper.create = FilesystemHelper.create, lambda helper: None
    try:
        yield
    finally:
        FilesystemHelper.create = create


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


def _first_line(error):
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _status(transaction):
    """Return a transaction's status as text: ZEO hands out bytes."""
    status = transaction.status
    return status.decode() if isinstance(status, bytes) else status


def _versions():
    import importlib.metadata
    import platform

    found = {"python": platform.python_version()}
    for name in ("ZODB", "ZEO", "RelStorage"):
        try:
            found[name.lower()] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name.lower()] = None
    return found


def info(request):
    """Answer with the facts of one storage. request: storage (see section), exact."""
    answer = dict.fromkeys(FACTS)
    answer["versions"] = {**_versions(), "server": None, "driver": None}
    try:
        one = storage(request["storage"])
        answer.update(kind=one.kind, path=one.path, blob_dir=one.blob_dir)
        with one:
            answer.update(_facts(one, request["exact"]), reachable=True, exists=True)
    except Missing as error:
        answer.update(error=str(error), reachable=True, exists=False)
    except Unreachable as error:
        answer.update(error=str(error), reachable=False)
    return answer


FACTS = (
    *("kind", "reachable", "exists", "error", "path", "blob_dir", "last_tid", "objects", "bytes", "keeps_history"),
    *("transactions", "packed", "blobs", "blob_bytes", "index", "versions"),
)


def _facts(one, exact):
    count, packed = one.transactions() if exact else (None, None)
    blobs, size = one.blobs() if exact else (None, None)
    return {
        "path": one.path,
        "last_tid": number(one.last()),
        "objects": one.objects(exact),
        "bytes": one.storage.getSize(),
        "keeps_history": one.keeps_history,
        "transactions": count,
        "packed": number(packed) if packed else None,
        "blobs": blobs,
        "blob_bytes": size,
        "index": one.index() if one.kind == "filestorage" else None,
        "versions": {**_versions(), "server": None, "driver": None, **one.versions()},
    }


OPERATIONS = {"info": info}


def main():
    # What a package prints must not get into the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Terminated, it still removes what it made.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit("terminated"))
    request = json.load(sys.stdin)
    try:
        answer = OPERATIONS[request["operation"]](request)
    except Refused as refusal:
        answer = {"refused": str(refusal)}
    except ImportError as error:
        answer = {"refused": f"the virtualenv lacks a package that the storage needs ({error}); install it there."}
    except PermissionError as error:
        answer = {"refused": f"{error.filename}: {error.strerror.lower()}."}
    answers.write(json.dumps(answer) + "\n")
    answers.close()


if __name__ == "__main__":
    main()
