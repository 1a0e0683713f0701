# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open storages as their application would, without writing a byte: the check of the role zodb_client.

    python -I - PLACE ZODB_CONF DATABASE [PLACE ZODB_CONF DATABASE...] < open_storages.py

The Python is the application's own, so nothing but ZODB and what the storage needs can be relied on. Of each database
the storage is opened read-only, without making tables, and without its folders of caches, which would be made under the
account of the check. What the application itself makes when it starts, a file or tables, is not missed.
Prints a sentence for each storage that does not open, with PLACE before it. Exit status 0 if all do, else 1.
"""

from __future__ import annotations

import getpass
import grp
import importlib.metadata
import logging
import os
import re
import sys

# Sections of which opening one that is read-only writes nothing: the others have an option for it.
HARMLESS = ("mappingstorage", "demostorage", "zlibstorage", "postgresql", "mysql", "mariadb", "oracle", "sqlite3")
DRIVERS = {"postgresql": "psycopg2-binary", "mysql": "mysqlclient", "mariadb": "mysqlclient", "oracle": "cx_Oracle"}
MARK = "pyams.zodb: procedures of RelStorage "  # how zodb-schema begins its comment on a table
CLIENTS = 4  # that ask for their sessions of PostgreSQL, see own_sessions()
SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
PATIENCE = "10"  # seconds for a host of PostgreSQL, where the DSN names no connect_timeout


class UnusableError(Exception):
    """Why a storage cannot be used, and what to do."""


class Memory(logging.Handler):
    """The messages of ZEO's client: its own exception says no more than that the time is over."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        """Keep a message."""
        self.lines.append(record.getMessage())


def check(path, name):
    """Open the storage of a database. path: of the zodb.conf; name: of the database's section. Raises UnusableError."""
    readable(path)
    import ZConfig
    import ZODB.config

    try:
        databases = ZConfig.loadConfig(ZODB.config.getDbSchema(), path)[0].database
    except ZConfig.ConfigurationError as error:
        missing = re.match(r"could not load package (\S+): No module named ", str(error))
        if missing:
            raise UnusableError(
                f"there is no package {missing[1]} in {sys.prefix}; install it there, or mend the entry"
            ) from error
        raise UnusableError(f"{one_line(error)}; install what it names, or mend the entry") from error
    except OSError as error:
        # The schema loads certificate and key.
        raise UnusableError(
            f"a file of tls cannot be loaded: {one_line(error)}; give the right one to a group of {me()}"
        ) from error
    storages = [database.config.storage for database in databases if database.name == name]
    if not storages:
        raise UnusableError(f"{path} has no database {name}; run the role again")
    parts = sections(storages[0])
    makes_tables = any(getattr(part, "create_schema", False) for part in parts)
    if not all(tame(part) for part in parts):
        return  # What cannot be opened without writing is not opened.
    if any(missing_file(part, makes_tables) for part in parts):
        return
    memory = Memory()
    logger = logging.getLogger("ZEO")
    logger.addHandler(memory)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        for part in parts:
            own_sessions(part)
        storage = storages[0].open()
    except UnusableError:
        raise
    except Exception as error:
        databases = [part for part in parts if hasattr(part, "keep_history")]
        if not databases:
            raise UnusableError(reason(storages[0], error, memory.lines)) from error
        if makes_tables and no_tables(storages[0], databases, error):
            return
        raise UnusableError(database_reason(storages[0], databases, error)) from error
    try:
        storage.lastTransaction()
        release = None if makes_tables else release_of_procedures(storage)
    finally:
        storage.close()
    if release:
        raise UnusableError(
            f"the database's stored procedures are of RelStorage {release}, and that in {sys.prefix} is newer and has "
            f"others; install RelStorage=={release} there, or have a newer release prepare the database"
        )


def readable(path):
    """Refuse a zodb.conf that this account cannot read."""
    if not os.access(path, os.R_OK):
        group = grp.getgrgid(os.stat(os.path.dirname(path)).st_gid).gr_name
        raise UnusableError(
            f"{path} cannot be read by {me()}; make it a member of the group {group}, or name the application's "
            "account in zodb_client_user"
        )


def sections(factory):
    """Return a storage's configuration and those of the storages inside it."""
    found = [factory.config]
    for name in factory.config.getSectionAttributes():
        value = getattr(factory.config, name)
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "config") and hasattr(inner.config, "getSectionAttributes"):
                found += sections(inner)
    return found


def tame(section):
    """Make one configuration harmless. Return whether it is."""
    blobs = getattr(section, "blob_dir", None)
    if blobs and not getattr(section, "read_only", True):
        folder = blobs if os.path.isdir(blobs) else os.path.dirname(blobs)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise UnusableError(
                f"{folder} cannot be written by {me()}; make it a member of the folder's group, or name the "
                "application's account in zodb_client_user"
            )
    for name, value in (
        ("blob_dir", None),
        ("shared_blob_dir", False),
        ("cache_local_dir", None),
        ("create_schema", False),
        ("read_only", True),
    ):
        if hasattr(section, name):
            setattr(section, name, value)
    return hasattr(section, "read_only") or section.getSectionType() in HARMLESS


def missing_file(section, makes_tables):
    """Return whether it is a FileStorage or an SQLite database that the application will make at its first start."""
    kind = section.getSectionType()
    if kind == "filestorage":
        path = section.path
    elif kind == "sqlite3":
        path = os.path.join(section.data_dir, "main.sqlite3")
        if not os.path.isdir(section.data_dir):
            raise UnusableError(f"there is no folder {section.data_dir}; make it and give it to {me()}")
        if os.path.exists(path) and not os.access(section.data_dir, os.R_OK | os.W_OK | os.X_OK):
            raise UnusableError(
                f"{section.data_dir} cannot be written by {me()}, as SQLite wants even of who only reads; give the "
                "folder to that account"
            )
        if not os.path.exists(path) and not makes_tables:
            raise UnusableError(f"{path} is not there, and create_schema is false; set it to true")
    else:
        return False
    if os.path.exists(path):
        return False
    if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise UnusableError(f"{path} is not there and {me()} cannot write its folder; give the folder to that account")
    return True


def own_sessions(section):
    """Refuse a pooler whose clients have a session of PostgreSQL for one transaction at a time.

    They get the one that another has just left, or the next in turn. So of a few clients, who ask after each other and
    keep nothing meanwhile, two have the same session, or one has two. zodb-schema and its like find it in the same way.
    """
    adapter = getattr(section, "adapter", None)
    if not adapter or adapter.config.getSectionType() != "postgresql":
        return
    from relstorage.options import Options

    section.driver = adapter.config.driver
    options = Options.copy_valid_options(section)
    options.adapter = adapter
    manager = adapter.create(options).connmanager
    clients, seen = [], set()
    try:
        while len(clients) < CLIENTS:
            clients.append(manager.open(application_name="pyams.zodb"))
            connection = clients[-1][0]
            connection.autocommit = True
            for number, (_connection, cursor) in enumerate(clients):
                cursor.execute(SESSION)
                session = tuple(cursor.fetchone())
                seen.add((number, session))
            # pg8000 does not tell which session the server named at the login. No pooler knows it then.
            if hasattr(connection, "get_backend_pid") and connection.get_backend_pid() == session[0]:
                return
            if not len(clients) == len(seen) == len({session for _number, session in seen}):
                raise UnusableError(
                    "the database is reached through a pooler that gives a client another session for each "
                    "transaction, as PgBouncer does with pool_mode = transaction, and RelStorage keeps locks, prepared "
                    "statements and temporary tables in one; set pool_mode = session, or name the server itself"
                )
    finally:
        for client in clients:
            manager.close(*client)


def release_of_procedures(storage):
    """Return the RelStorage that wrote a PostgreSQL database's procedures, if this one is newer and has others.

    The role relstorage_postgres leaves word of it in a comment; of other databases nothing can be said.
    """
    adapter = getattr(storage, "_adapter", None)
    if not type(adapter).__module__.startswith("relstorage.adapters.postgresql."):
        return None
    connection, cursor = adapter.connmanager.open()
    try:
        cursor.execute("SELECT obj_description(to_regclass('object_state'), 'pg_class')")
        left = re.fullmatch(re.escape(MARK) + "([0-9.]+)", cursor.fetchone()[0] or "")
        installed = adapter.schema.list_procedures(cursor)
    finally:
        adapter.connmanager.close(connection, cursor)
    if not left or numbers(left[1]) >= numbers(importlib.metadata.version("RelStorage")):
        return None
    return left[1] if any(installed.get(name) != one for name, one in adapter.schema.procedures.items()) else None


def numbers(version):
    """Return a version as something that can be compared."""
    return [int(number) for number in re.findall("[0-9]+", version)]


def no_tables(factory, databases, error):
    """Return whether RelStorage failed for want of its tables.

    It finds that a table is missing of one that keeps no history; of one that does, it takes an empty database for one
    that keeps none.
    """
    if "a history-preserving adapter can not connect" in str(error):
        kept = [(part, part.keep_history) for part in databases]
        try:
            for part, _value in kept:
                part.keep_history = False
            factory.open().close()
        except Exception as another:
            error = another
        finally:
            for part, value in kept:
                part.keep_history = value
    return "please create the blob_chunk tables" in str(error)


def database_reason(factory, databases, error):
    """Return why a storage with a database of RelStorage did not open."""
    if no_tables(factory, databases, error):
        return (
            "the database has no tables of RelStorage; have them made where it is served, or set create_schema to true"
        )
    if "Schema mismatch" in str(error):
        if "to a history-preserving database" in str(error):
            return "the database keeps history, which was decided when it was made; set keep_history to true"
        return "the database keeps no history, which was decided when it was made; set keep_history to false"
    if "DriverNotAvailableError" in [kind.__name__ for kind in type(error).__mro__]:
        adapter = databases[0].adapter.config
        kind = adapter.getSectionType()
        driver = DRIVERS.get(kind) if adapter.driver in (None, "auto") else adapter.driver
        return f"there is no driver for {kind} in {sys.prefix}; install {driver} there"
    return f"the database cannot be opened: {one_line(error).rstrip('.?')}; start it, or correct the entry"


def reason(factory, error, lines):
    """Return why a storage did not open. lines: what ZEO's client said meanwhile."""
    if type(error).__name__ != "ClientDisconnected":
        return f"{type(error).__name__}: {one_line(error)}"
    config = factory.config
    where = "the server at " + ", ".join(
        server.address if isinstance(server.address, str) else ":".join(map(str, server.address))
        for server in config.server
    )
    said = "\n".join(lines)
    unknown = re.search(r"unknown storage: ([^'\"]*)", said)
    if unknown:
        return f'{where} has no storage "{unknown[1]}"; write the name as the server has it'
    failed = re.findall(r"^Connection to .* failed, (.*)$", said, re.MULTILINE)
    if failed:
        why = re.sub(r"^\[(SSL: )?[^]]*\] | \(_ssl\.c:\d+\)$", "", failed[-1])
        return f"{where} cannot be reached: {why}; start it, or correct server and tls"
    if config.ssl:
        return f"{where} closes the connection; let it know this client's certificate"
    return f"{where} does not speak ZEO to this client; give tls if it wants that"


def me():
    """Return the account that this runs as."""
    return getpass.getuser()


def one_line(error):
    """Return an exception's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def sentence(place, path, name):
    """Return what is wrong with one storage, or nothing."""
    try:
        check(path, name)
    except UnusableError as error:
        return f"{place}: {error}."
    except ImportError as error:
        return f"{place}: {one_line(error)} in {sys.prefix}; install what the storage needs, such as ZEO."
    return ""


def main(arguments):
    """Check every storage, print what is wrong, return the exit status."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", PATIENCE)
    checked = [sentence(*three) for three in zip(arguments[::3], arguments[1::3], arguments[2::3])]
    wrong = [line for line in checked if line]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
