# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage in a SQLite database, by RelStorage, for the processes of one host: opened, made, packed and watched."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import sqlite3
import urllib.parse

import relstorage.config
import ZODB.POSException
import ZODB.serialize
from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.options import Options
from relstorage.storage import RelStorage

from pyams_zodb_tools import _catalog, _kinds, _zconfig
from pyams_zodb_tools._errors import Failure, Misconfigured, NoSpace, Refused, reason
from pyams_zodb_tools._relational import Relational, read_content
from pyams_zodb_tools._text import human

_MAIN = "main.sqlite3"
_NUMBERS = "oids.sqlite3"
_FILES = (_MAIN, f"{_MAIN}-wal", f"{_MAIN}-shm", _NUMBERS)
_RANGE = 16  # numbers of objects that RelStorage hands out at a time
# Bytes for an object: 815 in the log and 193 in the database were measured with three references to each.
_WORKING = 1000


class Database(Relational):
    """A storage that processes of this host have open as files of one folder."""

    data_dir = ""
    blob_dir: str | None = None  # where blobs are and not only cached
    file = ""

    def folders(self) -> list[str]:
        """Return the folders of data and of blobs, none before the zconfig was read."""
        return [path for path in (self.data_dir, self.blob_dir) if path]

    def configure(self) -> None:
        # Whether the folder is there is told below, in a sentence.
        opener, name = _zconfig.storage(self.settings, self.storage, {"existing-dirpath": str})
        factory, adapter = relstorage.config.RelStorageFactory, relstorage.config.Sqlite3AdapterFactory
        if not isinstance(opener, factory) or not isinstance(opener.config.adapter, adapter):
            raise Misconfigured(f"{name}:1: is not a <relstorage> with <sqlite3>")
        self.section = opener.config
        self.data_dir = self.section.adapter.config.data_dir
        if not os.path.isabs(self.data_dir):
            raise Misconfigured(f"{name}:1: data-dir {self.data_dir!r} is not an absolute path")
        self.blob_dir = self.section.blob_dir if self.section.shared_blob_dir else None
        self.file = os.path.join(self.data_dir, _MAIN)

    def _adapter(self, read_only: bool) -> Sqlite3Adapter:
        options = Options.copy_valid_options(self.section)
        options.driver = "sqlite3"
        options.create_schema = options.pack_prepack_only = options.pack_skip_prepack = False
        options.read_only = read_only or options.read_only
        # Caches and folders of blobs are the application's. But of a shared folder a pack has to remove files.
        options.cache_local_dir, options.cache_local_mb = None, 1
        if read_only or not options.shared_blob_dir:
            options.blob_dir, options.shared_blob_dir = None, False
        pragmas = self.section.adapter.config.pragmas
        return Sqlite3Adapter(self.data_dir, pragmas=pragmas.pragmas if pragmas else {}, options=options)

    @contextlib.contextmanager
    def _session(self, adapter, read_only: bool = True):
        """A cursor of a connection of our own. SQLite would make the file where there is none."""
        connection, cursor = adapter.connmanager.open(read_only=read_only)
        try:
            yield cursor
        finally:
            adapter.connmanager.rollback_and_close(connection, cursor)

    @contextlib.contextmanager
    def _sentences(self, doing: str):
        """Turn what SQLite and RelStorage raise into a Failure."""
        try:
            yield
        except sqlite3.Error as error:
            raise Failure(f"{self.file} could not {doing}: {reason(error)}") from error
        except ZODB.POSException.POSError as error:
            raise Failure(f"RelStorage could not {doing}: {type(error).__name__}: {reason(error)}") from error

    def _tables(self, adapter, cursor) -> tuple[bool | None, list[str]]:
        """Return whether history is kept, None without tables of RelStorage, and which it would make or mend."""
        schema = adapter.schema
        there = {*schema.list_tables(cursor), *schema.list_views(cursor)}
        history = "current_object" in there if "object_state" in there else None
        if history not in (None, schema.keep_history):
            return history, []
        missing = _catalog.missing(schema, there)
        if history and schema._needs_transaction_empty_update(cursor):
            missing.append("transaction.is_empty")
        foreign = sorted(name for name in there if not name.startswith("sqlite_"))
        if history is None and foreign:
            raise Refused(f"{self.file} has the table {foreign[0]} and none of RelStorage's; give it another folder")
        return history, missing

    def _largest_behind(self, cursor) -> int:
        """Return the largest number of an object if such would be handed out anew, else 0.

        They are counted in a file of their own, which SQLite neither waits for nor keeps a log of: after a power cut it
        may be behind, and a copy of the database may lack it. A new object would be taken for one that is there.
        """
        cursor.execute("SELECT coalesce(max(zoid), 0) FROM object_state")
        (largest,) = cursor.fetchone()  # before the count, which only grows
        path = os.path.join(self.data_dir, _NUMBERS)
        ranges = 0
        if os.path.exists(path):
            try:
                uri = f"file:{urllib.parse.quote(path)}?mode=ro"
                with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
                    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'new_oid'").fetchone():
                        (ranges,) = database.execute("SELECT coalesce(max(zoid), 0) FROM new_oid").fetchone()
            except sqlite3.OperationalError:
                raise  # it is only busy
            except sqlite3.DatabaseError as error:
                raise Failure(
                    f"{path} cannot be read: {reason(error)}; stop the application, remove it, and run the role again"
                ) from error
        return largest if largest > ranges * _RANGE else 0

    def _check(self, adapter, cursor) -> list[str]:
        """Return which tables are missing. Raises Failure where there are none, or those of the other kind."""
        history, missing = self._tables(adapter, cursor)
        if history is None:
            raise Failure(f"{self.file} has no tables of RelStorage; run zodb-schema")
        if history != self.section.keep_history:
            raise Failure(self._other_history(history))
        return missing

    def _other_history(self, history: bool) -> str:
        kept, wanted = ("history-preserving", "false") if history else ("history-free", "true")
        return (
            f"the tables in {self.file} are {kept}, and keep-history is {wanted}; that is decided when tables are "
            "made, and the playbook pyams.zodb.migrate moves a site to a new database"
        )

    def _check_access(self) -> None:
        """Raise Failure unless the database is there, and all of it can be written by this account.

        A process of another one, root's above all, leaves files behind that the application fails at.
        """
        self._check_folder()
        try:
            os.stat(self.file)
        except FileNotFoundError:
            raise Failure(f"there is no {self.file}; run zodb-schema") from None
        except OSError as error:
            raise Failure(f"{self.file} cannot be looked at: {reason(error)}") from error
        for path in self.data_dir, *(os.path.join(self.data_dir, name) for name in _FILES), self.blob_dir:
            if path and os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
                account = pwd.getpwuid(os.geteuid()).pw_name
                raise Failure(f"{account} may not write {path}; give it to the application's account")

    def _check_folder(self) -> None:
        if not os.path.isdir(self.data_dir):
            raise Failure(f"there is no folder {self.data_dir}; make it, for the application's account alone")

    # zodb-health

    def reach(self) -> None:
        self._check_access()

    def look(self, finding) -> None:
        adapter = self._adapter(read_only=True)
        with self._sentences("be read"):
            with self._session(adapter) as cursor:
                missing = self._check(adapter, cursor)
                behind = self._largest_behind(cursor)
            content = read_content(adapter)
        finding.facts["size"] = self._size()
        finding.facts["schema_fits"] = not missing
        if missing:
            finding.problem(
                _kinds.WARNING,
                f"tables are not those of RelStorage {_catalog.RELEASE} ({', '.join(missing)}); run the role again",
            )
        if behind:
            finding.problem(
                _kinds.CRITICAL,
                f"{_NUMBERS} is behind the database, so that new objects would get the numbers of others; stop the "
                "application, and run the role again",
            )
        self.note_content(finding, *content)

    def _size(self) -> int:
        """Return the bytes of the database and of its log, which the last one to close it empties."""
        size = 0
        for name in _FILES[:2]:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(os.path.join(self.data_dir, name)).st_size
        return size

    def presented(self) -> tuple[str, bytes] | None:
        return None

    def look_at_certificates(self, finding, documents, folders) -> None:
        """Nothing: there is no server."""

    # zodb-pack

    def pack(self, record: dict) -> None:
        self.configure()
        self.check_use()
        with self._packable() as adapter:
            with self._session(adapter) as cursor:
                record["objects_before"] = self.count(cursor)
            record["size_before"] = self._size()
            with contextlib.closing(RelStorage(adapter, options=adapter.options)) as storage:
                storage.pack(self.until(), ZODB.serialize.referencesf)
            with self._session(adapter) as cursor:
                record["objects_after"] = self.count(cursor)
            record["size_after"] = self._size()

    @contextlib.contextmanager
    def _packable(self):
        """An adapter for a database that may be packed, and has the room for it."""
        self._check_access()
        if self.section.read_only:  # which keeps RelStorage from no pack
            raise Failure(f"the storage {self.storage.name!r} is read-only; nothing was packed")
        adapter = self._adapter(read_only=False)
        with self._sentences("be packed"):
            with self._session(adapter) as cursor:
                self._check(adapter, cursor)
                self._check_room(self.count(cursor))
            yield adapter

    def _check_room(self, objects: int) -> None:
        """Raise NoSpace unless the disk could hold what a pack writes before it frees anything.

        As long as anybody reads, nothing goes from the log into the database: every page may stand in both.
        """
        size, free = os.stat(self.file).st_size, shutil.disk_usage(self.data_dir).free
        needed = size + objects * _WORKING
        if free < needed:
            raise NoSpace(
                f"{self.data_dir} has {human(free)}, a pack may need {human(needed)} ({human(size)} for the log, the "
                "rest for the tables that it works with); nothing was packed"
            )

    def rehearse(self, prepack: bool) -> str:
        self.configure()
        with self._packable() as adapter:
            if not prepack:
                return self.would(adapter)
            with contextlib.closing(RelStorage(adapter, options=adapter.options)) as storage:
                storage.pack(self.until(), ZODB.serialize.referencesf, prepack_only=True)
            with self._session(adapter) as cursor:
                cursor.execute("SELECT count(*), coalesce(sum(NOT keep), 0) FROM pack_object")
                objects, removed = cursor.fetchone()
        return f"prepared; a pack would remove {removed:,} of {objects:,} objects"

    def place(self) -> str:
        return self.file or f"SQLite, of {self.storage.name}"

    def remarks(self, record: dict) -> list[tuple[str, str]]:
        counts = [
            "unknown" if record[key] is None else f"{record[key]:,}" for key in ("objects_before", "objects_after")
        ]
        return [("Objects", f"{counts[0]} before, {counts[1]} after; SQLite fills the room of those that went anew")]

    # zodb-schema

    def prepare(self, check: bool) -> tuple[str, list[str]]:
        """Make or mend tables; with `check`, change nothing. Return outcome and changes."""
        self.configure()
        self._check_folder()
        adapter = self._adapter(read_only=check)
        history, missing, behind = None, _catalog.missing(adapter.schema, set()), 0
        with self._sentences("be prepared"):
            if os.path.exists(self.file):
                with self._session(adapter) as cursor:
                    history, missing = self._tables(adapter, cursor)
                    behind = self._largest_behind(cursor) if history is not None else 0
            if history not in (None, self.section.keep_history):
                raise Refused(self._other_history(history))
            changes = [*missing, *([_NUMBERS] if behind else [])]
            outcome = "unchanged" if not changes else "created" if history is None else "renewed"
            if missing and not check:
                adapter.schema.prepare()
            if behind and not check:
                with contextlib.closing(adapter.oidallocator):
                    adapter.oidallocator.set_min_oid(None, behind)
        return outcome, changes
