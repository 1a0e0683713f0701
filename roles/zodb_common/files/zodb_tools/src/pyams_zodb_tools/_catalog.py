# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the catalogs of a PostgreSQL database say of RelStorage's tables and stored procedures in it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re

RELEASE = importlib.metadata.version("RelStorage")
_MARK = "pyams.zodb: procedures of RelStorage "  # the comment on object_state, as zodb-schema writes it

_LOOK = """
SELECT current_user, current_database(), pg_encoding_to_char(encoding), current_schema(),
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE),
       pg_is_in_recovery(), obj_description(to_regclass('object_state'), 'pg_class'),
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('object_state') AND tgname = 'pyams_zodb_fence')
FROM pg_database WHERE datname = current_database()
"""
# Tables, sequences and views of the schema, and whether this role may do what their owner may.
_RELATIONS = """
SELECT relname, pg_get_userbyid(relowner), pg_has_role(relowner, 'USAGE')
FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'S', 'v')
"""
_PROCEDURES = """
SELECT proname, pg_get_userbyid(proowner), pg_has_role(proowner, 'USAGE')
FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
"""
# Tables of anybody but PostgreSQL and its extensions.
_TABLES = """
SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_(toast|temp)'
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY nspname = 'public' DESC, nspname, relname
"""


@dataclasses.dataclass(frozen=True)
class Catalog:
    """A database, as a session of ours sees it."""

    role: str
    database: str
    encoding: str
    schema: str | None  # that in which the role looks first; None where it may look into none
    may_create: bool  # in that schema
    standby: bool
    release: str | None  # of the RelStorage that zodb-schema wrote the procedures with; None for another program
    fenced: bool  # by zodb_fence of the collection
    tables: list[tuple[str, str]]  # all of the database, with their schemas
    foreign: list[tuple[str, str]]  # what is RelStorage's, but of an owner who is not this role
    keeps_history: bool | None  # None: there are no tables of RelStorage
    pending: list[str]  # what RelStorage would make or renew, were it to prepare the schema

    def is_newer(self) -> bool:
        """Return whether a later RelStorage than this wrote the procedures."""
        return self.release is not None and _version(self.release) > _version(RELEASE)


def read(adapter, cursor) -> Catalog:
    """Return what an open cursor sees. The adapter's installer decides what there should be."""
    cursor.execute(_LOOK)
    role, database, encoding, schema, may_create, standby, mark, fenced = cursor.fetchone()
    relations = {}
    foreign = []
    if schema is not None:
        cursor.execute(_RELATIONS)
        relations = {name: (owner, mine) for name, owner, mine in cursor.fetchall()}
    cursor.execute(_TABLES)
    tables = cursor.fetchall()
    keeps_history = "current_object" in relations if "object_state" in relations else None
    pending = []
    if keeps_history in (None, adapter.keep_history):
        pending = _pending(adapter.schema, cursor, set(relations))
    if keeps_history is not None:
        names = {*adapter.schema.all_tables, *adapter.schema.all_views, "zoid_seq"}
        foreign = [(name, owner) for name, (owner, mine) in sorted(relations.items()) if name in names and not mine]
        cursor.execute(_PROCEDURES)
        procedures = sorted(row for row in cursor.fetchall() if row[0] in adapter.schema.procedures)
        foreign += [(name, owner) for name, owner, mine in procedures if not mine]
    release = mark.removeprefix(_MARK) if mark and mark.startswith(_MARK) else None
    return Catalog(
        role, database, encoding, schema, may_create, standby, release, fenced, tables, foreign, keeps_history, pending
    )


def write_release(cursor) -> None:
    """Leave word which RelStorage the procedures are of: their own checksums do not tell older from newer ones."""
    cursor.execute(f"COMMENT ON TABLE object_state IS '{_MARK}{RELEASE}'")


class _Recorder:
    """A cursor that executes nothing."""

    def __init__(self):
        self.statements = []

    def execute(self, statement, *_parameters):
        self.statements.append(statement)


def missing(installer, there: set[str]) -> list[str]:
    """Return the tables and views that RelStorage's installer would make; its methods alone know which a mode has."""
    found = []
    for name in [*installer.all_tables, *installer.all_views]:
        recorder = _Recorder()
        if name not in there:
            getattr(installer, f"_create_{name}")(recorder)
        if recorder.statements:
            found.append(name)
    return found


def _pending(installer, cursor, there: set[str]) -> list[str]:
    """Return what RelStorage's installer would make or renew."""
    if "zoid_seq" in there:
        there.add("new_oid")  # a table elsewhere, here that sequence
    found = ["zoid_seq" if name == "new_oid" else name for name in missing(installer, there)]
    if installer.keep_history and "transaction" in there and installer._needs_transaction_empty_update(cursor):
        found.append("transaction.is_empty")
    installed = installer.list_procedures(cursor)
    found += sorted(f"{name}()" for name, wanted in installer.procedures.items() if installed.get(name) != wanted)
    if "blob_chunk_delete" not in installer.list_triggers(cursor):
        found.append("blob_chunk_delete")
    return found


def _version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
