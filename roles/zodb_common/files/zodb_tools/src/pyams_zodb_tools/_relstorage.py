# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage in a database of PostgreSQL, by RelStorage: how it is opened, made, packed and watched."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading

import psycopg2
import psycopg2.extensions
import relstorage.config
import ZODB.POSException
import ZODB.serialize
from relstorage.adapters.interfaces import UnableToAcquirePackUndoLockError
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage

from pyams_zodb_tools import _catalog, _kinds, _zconfig
from pyams_zodb_tools._errors import Failure, Locked, Misconfigured, NoSpace, NothingToDo, NotListening, Refused, reason
from pyams_zodb_tools._relational import Relational, read_content
from pyams_zodb_tools._text import human

_NAME = "pyams.zodb"  # of our sessions, in pg_stat_activity
_CONNECT_TIMEOUT = 10  # seconds, where the DSN names none: libpq would wait for ever
_ANSWER_TIMEOUT = 30  # seconds that a server has to answer zodb-health
_LOCK_TIMEOUT = 60  # seconds that zodb-schema waits for others
_SCHEMA_LOCK = (0x70796D73, 0x7A6F6462)  # of two numbers: RelStorage's own locks are of one
_FAILED = re.compile(r'connection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)? failed: ')
_STARTING = ("starting up", "not yet accepting connections", "in recovery mode", "shutting down")
# Bytes for an object: 340 were measured with one reference to each (a row of pack_object, written twice when it is
# visited, and of object_refs_added), and 86 for each further one in object_ref. Three references are more than usual.
_WORKING = 600
_LONGEST = 3600  # seconds of a transaction
_FULL = 0.8  # of the connections
_BEHIND = 60  # seconds of a standby
_CLIENTS = 4  # that ask for their sessions; two of them meet at one pooler, where up to three take turns at an address

# Of two servers, as of two containers, the pids may be the same.
_SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_SERVER = """
SELECT pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND coalesce(backend_type, 'client backend') = 'client backend'),
       pg_is_in_recovery(),
       CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            THEN 0 ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float END,
       EXISTS (SELECT FROM pg_stat_wal_receiver)
"""
# Used and allowed, of the server, the database and the role. Of others' sessions one sees no kind, but whose they are.
_CONNECTIONS = """
WITH sessions AS (
    SELECT datname, usename FROM pg_stat_activity
    WHERE usesysid IS NOT NULL AND datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
)
SELECT 'the server', (SELECT count(*) FROM sessions),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', TRUE)::int, 0)
UNION ALL
SELECT 'the database', (SELECT count(*) FROM sessions WHERE datname = current_database()), datconnlimit
FROM pg_database WHERE datname = current_database() AND datconnlimit > 0
UNION ALL
SELECT 'the role', (SELECT count(*) FROM sessions WHERE usename = current_user), rolconnlimit
FROM pg_roles WHERE rolname = current_user AND rolconnlimit > 0
"""
_TRANSACTION = """
SELECT extract(epoch FROM clock_timestamp() - xact_start)::float, pid, application_name
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
ORDER BY xact_start LIMIT 1
"""
# state and replay_lag are null for those who may not see them.
_SLOTS = """
SELECT slot_name FROM pg_replication_slots WHERE NOT active AND NOT pg_is_in_recovery() ORDER BY slot_name
"""
_STANDBYS = """
SELECT application_name, state, extract(epoch FROM replay_lag)::float FROM pg_stat_replication ORDER BY application_name
"""


class Database(Relational):
    """A storage in a database of its own."""

    dsn = ""
    where = "the server"
    user: str | None = None
    database: str | None = None
    found: dict | None = None  # of the server, for zodb-health
    catalog: _catalog.Catalog | None = None

    def folders(self) -> list[str]:
        """Return the data directory, or the nearest folder above it that this account may look at."""
        path = self.storage.data_directory
        while path:
            try:
                os.statvfs(path)
            except PermissionError:
                path = os.path.dirname(path)
                continue
            except OSError:
                pass  # whoever asks for its room will be told
            return [path]
        return []

    def configure(self) -> None:
        opener, name = _zconfig.storage(self.settings, self.storage)
        factory, adapter = relstorage.config.RelStorageFactory, relstorage.config.PostgreSQLAdapterFactory
        if not isinstance(opener, factory) or not isinstance(opener.config.adapter, adapter):
            raise Misconfigured(f"{name}:1: is not a <relstorage> with <postgresql>")
        self.section = opener.config
        try:
            parameters = psycopg2.extensions.parse_dsn(self.section.adapter.config.dsn)
        except psycopg2.ProgrammingError:  # which quotes from it
            raise Misconfigured(f"{name}:1: dsn is not as libpq reads it; quote values that hold blanks") from None
        if "password" in parameters:
            raise Misconfigured(f"{name}:1: dsn holds a password; move it to a passfile")
        if "passfile" in parameters:
            _check_passfile(name, parameters["passfile"])
        self.where = _label(parameters)
        self.user, self.database = parameters.get("user"), parameters.get("dbname")
        self.dsn = psycopg2.extensions.make_dsn(**{"connect_timeout": _CONNECT_TIMEOUT, **parameters})

    def _adapter(self, read_only: bool, opened=None) -> PostgreSQLAdapter:
        """Return what opens sessions; opened(connection, cursor) is called with each."""
        options = Options.copy_valid_options(self.section)
        options.driver = "psycopg2"
        options.create_schema = options.pack_prepack_only = options.pack_skip_prepack = False
        options.read_only = read_only or options.read_only
        # Caches and folders of blobs are the application's. But of a shared folder a pack has to remove files.
        options.cache_local_dir, options.cache_local_mb = None, 1
        if read_only or not options.shared_blob_dir:
            options.blob_dir, options.shared_blob_dir = None, False
        adapter = PostgreSQLAdapter(dsn=self.dsn, options=options)
        open_ = adapter.connmanager.open

        def noted(*arguments, **keywords):
            connection, cursor = open_(*arguments, **keywords)
            opened(connection, cursor)
            return connection, cursor

        if opened:
            adapter.connmanager.open = noted
        return adapter

    @contextlib.contextmanager
    def _session(self, adapter: PostgreSQLAdapter, read_only: bool = True):
        """A cursor of a session of our own."""
        try:
            connection, cursor = adapter.connmanager.open(read_only=read_only, application_name=_NAME)
        except psycopg2.OperationalError as error:
            raise self._refusal(error) from None
        self.user, self.database = connection.info.user, connection.info.dbname
        try:
            yield cursor
        finally:
            adapter.connmanager.rollback_and_close(connection, cursor)

    def _check_sessions(self) -> None:
        """Raise Refused for a pooler whose clients have a session of the server for one transaction at a time.

        They get the one that another has just left, or the next in turn. So of a few clients, who ask after each other
        and keep nothing meanwhile, two have the same session, or one has two, which can be with none of one's own.
        """
        adapter, cursors, seen = self._adapter(read_only=True), [], set()
        with self._sentences("tell sessions apart"), contextlib.ExitStack() as stack:
            while len(cursors) < _CLIENTS:
                cursors.append(stack.enter_context(self._session(adapter)))
                connection = cursors[-1].connection
                connection.autocommit = True  # poolers of statements know no BEGIN
                for client, cursor in enumerate(cursors):
                    cursor.execute(_SESSION)
                    session = cursor.fetchone()
                    seen.add((client, session))
                if connection.info.backend_pid == session[0]:  # no pooler knows it at the login
                    return
                if not len(cursors) == len(seen) == len({session for _client, session in seen}):
                    raise Refused(
                        f"the server on {self.where} is reached through a pooler that gives a client another session "
                        "for each transaction, as PgBouncer does with pool_mode = transaction, and RelStorage keeps "
                        "locks, prepared statements and temporary tables in one; set pool_mode = session, or name the "
                        "server itself"
                    )

    def _refusal(self, error: psycopg2.OperationalError) -> Failure:
        """Return why there is no connection. libpq says it once for each host, and never the password."""
        text, where = reason(error), self.where
        role = f"the role {self.user}" if self.user else "this role"
        for state in _STARTING:
            if f"the database system is {state}" in text:
                return NotListening(f"the server on {where} is {state}")
        reasons = _FAILED.split(text)[1:] or [text]
        if all(one.startswith(("Connection refused", "No such file or directory")) for one in reasons):
            return NotListening(f"nobody listens on {where}")
        if "password authentication failed" in text:
            return Failure(f"the server on {where} refuses the password of {role}")
        if "no password supplied" in text:
            return Failure(f"the server on {where} asks for a password, and the passfile holds none for {role}")
        if re.search(r'database "[^"]*" does not exist', text):
            return Failure(f"the server on {where} has no database {self.database}")
        return Failure(f"cannot connect to the server on {where}: {'; '.join(one.strip() for one in reasons)}")

    @contextlib.contextmanager
    def _sentences(self, doing: str):
        """Turn what drivers and RelStorage raise into a Failure."""
        try:
            yield
        except psycopg2.errors.LockNotAvailable:
            raise Failure(
                f"another session kept what it had locked in the database {self.database} for {_LOCK_TIMEOUT} s; "
                "nothing was changed"
            ) from None
        except psycopg2.Error as error:
            if error.pgcode is None or error.pgcode.startswith("57P"):
                raise Failure(f"{self.where}: the connection to the server was lost ({reason(error)})") from error
            raise Failure(f"the server on {self.where} could not {doing}: {error.diag.message_primary}") from error
        except ZODB.POSException.POSError as error:
            raise Failure(f"RelStorage could not {doing}: {type(error).__name__}: {reason(error)}") from error

    def _check_catalog(self, catalog: _catalog.Catalog) -> None:
        if catalog.keeps_history is None:
            raise Failure(
                f"the database {catalog.database} on {self.where} has no tables of RelStorage; run zodb-schema"
            )
        if catalog.keeps_history != self.section.keep_history:
            raise Failure(self._other_history(catalog))

    def _other_history(self, catalog: _catalog.Catalog) -> str:
        kept, wanted = ("history-preserving", "false") if catalog.keeps_history else ("history-free", "true")
        return (
            f"the tables in the database {catalog.database} are {kept}, and keep-history is {wanted}; that is decided "
            "when tables are made, and the playbook pyams.zodb.migrate moves a site to a new database"
        )

    # zodb-health

    def reach(self) -> None:
        self.found, self.catalog = _aside(self._ask, _ANSWER_TIMEOUT)

    def _ask(self) -> tuple[dict, _catalog.Catalog]:
        adapter = self._adapter(read_only=True)
        with self._sentences("answer"), self._session(adapter) as cursor:
            cursor.execute(_SERVER)
            found = dict(zip(("size", "clients", "standby", "lag", "receives"), cursor.fetchone(), strict=True))
            cursor.execute(_CONNECTIONS)
            found["limits"] = cursor.fetchall()
            cursor.execute(_TRANSACTION)
            found["transaction"] = cursor.fetchone()
            cursor.execute(_STANDBYS)
            found["standbys"] = cursor.fetchall()
            cursor.execute(_SLOTS)
            found["slots"] = [slot for (slot,) in cursor.fetchall()]
            catalog = _catalog.read(adapter, cursor)
        self._check_sessions()  # at last, for sessions that were just closed are counted for a moment
        return found, catalog

    def look(self, finding) -> None:
        self._look_at_server(finding)
        self._check_catalog(self.catalog)
        finding.facts["schema_fits"] = not self.catalog.pending
        if self.catalog.pending:
            finding.problem(
                _kinds.WARNING,
                f"tables or stored procedures are not those of RelStorage {_catalog.RELEASE} "
                f"({_some(self.catalog.pending)}); run the role again",
            )
        self.note_content(finding, *_aside(self._read, _ANSWER_TIMEOUT))

    def _read(self) -> tuple[bytes, bytes | None]:
        adapter = self._adapter(read_only=True)
        with self._sentences("be read"):
            return read_content(adapter)

    def _look_at_server(self, finding) -> None:
        found, facts = self.found, finding.facts
        facts["size"], facts["clients"] = found["size"], found["clients"]
        whose, facts["connections"], facts["max_connections"] = max(
            found["limits"], key=lambda limit: limit[1] / max(limit[2], 1)
        )
        if facts["connections"] >= _FULL * facts["max_connections"]:
            finding.problem(
                _kinds.WARNING,
                f"{whose} has {facts['connections']} of its {facts['max_connections']} connections in use",
            )
        if found["transaction"]:
            age, pid, name = found["transaction"]
            facts["longest_transaction"] = round(max(0, age), 1)
            if age > _LONGEST:
                finding.problem(
                    _kinds.WARNING,
                    f"the session {pid} ({name or 'without a name'}) is in one transaction for {age / 60:.0f} minutes, "
                    "which holds vacuum back",
                )
        facts["standby"], facts["lag"] = found["standby"], found["lag"]
        if found["standby"] and (found["lag"] or 0) > _BEHIND:
            silent = "" if found["receives"] else ", and receives nothing from its primary"
            finding.problem(_kinds.WARNING, f"the standby is {found['lag']:.0f} s behind its primary{silent}")
        for name, state, lag in found["standbys"]:
            facts["standbys"].append({"name": name, "state": state, "lag": lag})
            if (lag or 0) > _BEHIND:
                finding.problem(_kinds.WARNING, f"the standby {name} is {lag:.0f} s behind")
        for slot in found["slots"]:
            finding.problem(_kinds.WARNING, f"no standby is connected to the slot {slot}, which keeps the log for it")

    def presented(self) -> tuple[str, bytes] | None:
        return None  # libpq does not show it

    def look_at_certificates(self, finding, documents, folders) -> None:
        """Nothing but their dates: whether the server was reloaded since, it does not tell."""

    # zodb-pack

    def pack(self, record: dict) -> None:
        self.configure()
        self.check_use()
        connections = []
        adapter = self._adapter(False, lambda connection, _cursor: connections.append(connection))
        try:
            _aside(lambda: self._pack(adapter, record))
        except KeyboardInterrupt:
            for connection in connections:
                with contextlib.suppress(psycopg2.Error):
                    connection.cancel()
            raise

    def _pack(self, adapter: PostgreSQLAdapter, record: dict) -> None:
        with self._sentences("pack"):
            with self._session(adapter) as cursor:
                self._check_packable(adapter, cursor)
                record["size_before"], record["objects_before"] = self._measure(cursor)
                self._check_room(cursor, record["objects_before"])
            with self._opened(adapter) as storage:
                storage.pack(self.until(), ZODB.serialize.referencesf)
            with self._session(adapter) as cursor:
                record["size_after"], record["objects_after"] = self._measure(cursor)

    def rehearse(self, prepack: bool) -> str:
        self.configure()
        return _aside(self._prepack if prepack else self._dry_run)

    def _prepack(self) -> str:
        adapter = self._adapter(read_only=False)
        with self._sentences("prepare a pack"):
            with self._session(adapter) as cursor:
                self._check_packable(adapter, cursor)
                self._check_room(cursor, self._measure(cursor)[1])
            with self._opened(adapter) as storage:
                storage.pack(self.until(), ZODB.serialize.referencesf, prepack_only=True)
            with self._session(adapter) as cursor:
                cursor.execute("SELECT count(*), count(*) FILTER (WHERE NOT keep) FROM pack_object")
                objects, removed = cursor.fetchone()
        return f"prepared; a pack would remove {removed:,} of {objects:,} objects"

    def _dry_run(self) -> str:
        adapter = self._adapter(read_only=False)
        with self._sentences("be asked"), self._session(adapter) as cursor:
            self._check_packable(adapter, cursor)
            self._check_room(cursor, self._measure(cursor)[1])
            try:
                adapter.locker.hold_pack_lock(cursor)
            except UnableToAcquirePackUndoLockError:
                raise self._locked() from None
            adapter.locker.release_pack_lock(cursor)
            return self.would(adapter)

    @contextlib.contextmanager
    def _opened(self, adapter: PostgreSQLAdapter):
        storage = RelStorage(adapter, options=adapter.options)
        try:
            yield storage
        except UnableToAcquirePackUndoLockError:
            raise self._locked() from None
        finally:
            storage.close()

    def _locked(self) -> Locked:
        return Locked(
            f"another session holds RelStorage's pack lock in the database {self.database}; nothing was packed"
        )

    def _check_packable(self, adapter: PostgreSQLAdapter, cursor) -> None:
        self._check_sessions()
        catalog = _catalog.read(adapter, cursor)
        self._check_catalog(catalog)
        if self.section.read_only:  # which keeps RelStorage from no pack
            raise Failure(f"the storage {self.storage.name!r} is read-only; nothing was packed")
        if catalog.standby:
            raise NothingToDo(f"the server on {self.where} is a standby, which gets what its primary packs")
        if catalog.fenced:
            raise Failure(f"the database {catalog.database} is read-only, its site has moved; nothing was packed")
        if catalog.foreign:
            raise Failure(self._foreign(catalog))

    def _foreign(self, catalog: _catalog.Catalog) -> str:
        name, owner = catalog.foreign[0]
        return f"{name} in the database {catalog.database} belongs to the role {owner}, not to {catalog.role}"

    def _check_room(self, cursor, objects: int) -> None:
        """Raise NoSpace unless the disk of the data directory could hold what a pack writes before it frees anything.

        That is the WAL, which grows up to max_wal_size (how much of it is there already, a superuser alone sees), and
        the tables that RelStorage works with. Rows that a pack removes take no more room, and give none back either.
        """
        folders = self.folders()
        if not folders:
            return
        cursor.execute("SELECT pg_size_bytes(current_setting('max_wal_size'))")
        (wal,) = cursor.fetchone()
        needed = wal + objects * _WORKING
        try:
            free = shutil.disk_usage(folders[0]).free
        except OSError as error:
            raise Failure(f"the free space of {folders[0]} cannot be read: {reason(error)}") from error
        if free < needed:
            raise NoSpace(
                f"{folders[0]} has {human(free)}, a pack may need {human(needed)} ({human(wal)} of max_wal_size, the "
                "rest for the tables that it works with); nothing was packed"
            )

    def _measure(self, cursor) -> tuple[int, int]:
        cursor.execute("SELECT pg_database_size(current_database())")
        return cursor.fetchone()[0], self.count(cursor)

    def place(self) -> str:
        return f"database {self.database or 'unknown'} on {self.where}"

    def remarks(self, record: dict) -> list[tuple[str, str]]:
        counts = [
            "unknown" if record[key] is None else f"{record[key]:,}" for key in ("objects_before", "objects_after")
        ]
        return [
            ("Objects", f"{counts[0]} before, {counts[1]} after; PostgreSQL fills the room of those that went anew")
        ]

    # zodb-schema

    def prepare(self, check: bool) -> tuple[str, list[str]]:
        """Make or renew tables and stored procedures; with `check`, change nothing. Return outcome and changes."""
        self.configure()
        self._check_sessions()
        adapter = self._adapter(check, _set_patience)
        with self._sentences("prepare the schema"), self._session(adapter) as cursor:
            if not check:  # held until the session ends
                cursor.execute("SELECT pg_advisory_lock(%s, %s)", _SCHEMA_LOCK)
            catalog = _catalog.read(adapter, cursor)
            pending = catalog.pending + self._chunks(cursor, catalog)
            self._refuse(catalog, pending)
            outcome = "unchanged" if not pending else "created" if catalog.keeps_history is None else "renewed"
            if check or not pending:
                return outcome, pending
            cursor.connection.rollback()  # what was read is locked against being altered
            adapter.schema.prepare()
            left = _catalog.read(adapter, cursor).pending
            if left:
                raise Failure(f"RelStorage made all that was missing, and still {_some(left)} is not as it should be")
        with self._sentences("prepare the schema"), self._session(adapter, read_only=False) as cursor:
            _catalog.write_release(cursor)
            cursor.connection.commit()
        return outcome, pending

    def _chunks(self, cursor, catalog: _catalog.Catalog) -> list[str]:
        """Return what else RelStorage does when it prepares: it merges the pieces that old releases cut blobs into."""
        if catalog.keeps_history is None or "blob_chunk" in catalog.pending:
            return []
        cursor.execute("SELECT EXISTS (SELECT FROM blob_chunk WHERE chunk_num > 0)")
        return ["blob_chunk.chunk"] if cursor.fetchone()[0] else []

    def _refuse(self, catalog: _catalog.Catalog, pending: list[str]) -> None:
        name = f"the database {catalog.database} on {self.where}"
        if catalog.standby:
            raise Refused(f"the server on {self.where} is a standby, which is read-only; prepare its primary")
        if catalog.encoding != "UTF8":
            raise Refused(f"{name} is encoded in {catalog.encoding}; make one in UTF8")
        if catalog.schema != "public":
            raise Refused(f"{name} shows {catalog.role} no schema public, where RelStorage looks; mend its search_path")
        if catalog.keeps_history is None and catalog.tables:
            schema, table = catalog.tables[0]
            raise Refused(f"{name} has the table {schema}.{table} and none of RelStorage's; give it an empty one")
        if catalog.keeps_history not in (None, self.section.keep_history):
            raise Refused(self._other_history(catalog))
        if catalog.foreign:
            raise Refused(f"{self._foreign(catalog)}; make all of RelStorage's belong to the one who packs")
        if pending and catalog.is_newer():
            raise Refused(
                f"the procedures in {name} are of RelStorage {catalog.release}, later than {_catalog.RELEASE} here; "
                "install that release or a later one"
            )
        if pending and not catalog.may_create:
            raise Refused(f"{catalog.role} may make nothing in the schema public of {name}; let it own the database")


def _check_passfile(name: str, path: str) -> None:
    """Raise Misconfigured for a passfile that libpq would pass over."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise Misconfigured(f"{name}:1: dsn: passfile {path} cannot be read: {reason(error)}") from error
    if mode & 0o077:
        raise Misconfigured(
            f"{name}:1: dsn: passfile {path} is open to others, so that libpq ignores it; set mode 0600"
        )


def _set_patience(connection, cursor) -> None:
    """Have a session wait for locks for a time only: whoever comes after it, clients too, would wait as long."""
    cursor.execute("SET lock_timeout = %s", (f"{_LOCK_TIMEOUT}s",))
    connection.commit()


def _label(parameters: dict[str, str]) -> str:
    """Return where the server is, as one writes it."""
    hosts = parameters.get("host") or parameters.get("hostaddr")
    if not hosts:
        return f"service {parameters['service']}" if "service" in parameters else "the socket of this host"
    hosts, ports = hosts.split(","), (parameters.get("port") or "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports * len(hosts)
    return ", ".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _aside(work, seconds: float | None = None):
    """Return what work() does, done in a thread: no signal gets through to the one that waits within libpq.

    Raises Failure after so many seconds, and leaves it to itself.
    """
    result, errors = [], []

    def run():
        try:
            result.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Failure(f"the server does not answer a client within {seconds} s")
    if errors:
        raise errors[0]
    return result[0]
