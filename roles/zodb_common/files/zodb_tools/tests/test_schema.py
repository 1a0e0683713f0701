# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-schema against a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import subprocess

import psycopg2
import pytest
import ZODB.config
from real import SCRIPTS, called

from pyams_zodb_tools import _kinds, _relstorage
from pyams_zodb_tools._errors import Failure

# All that RelStorage makes, and when it was made anew
LOOK = """
select relname, oid, xmin from pg_class where relnamespace = 'public'::regnamespace
union all select proname, oid, xmin from pg_proc where pronamespace = 'public'::regnamespace
union all select description, objoid, xmin from pg_description where description ~ 'pyams' order by 1
"""
HISTORY = ["keep-history false", "keep-history true"]


def schema(*arguments, code: int = 0) -> str:
    """Return what it prints, after a look at the exit status."""
    result = called("zodb-schema", *arguments)
    assert result.returncode == code, result.stderr
    return result.stderr if code else result.stdout


@pytest.mark.parametrize("more", HISTORY)
def test_check_and_deed_agree_and_the_second_time_nothing_is_done(postgresql, database, more):
    name = postgresql.make_database()
    file = database(name, more=more)
    assert schema("--check", file) == f"{name}: would be created\n"
    assert postgresql.psql(LOOK, name) == ""
    assert schema(file) == f"{name}: created\n"
    made = postgresql.psql(LOOK, name)
    postgresql.fill(name, more=more)
    assert schema("--check", file) == f"{name}: unchanged\n"
    assert schema(file) == f"{name}: unchanged\n"
    assert postgresql.psql(LOOK, name) == made


@pytest.mark.parametrize("more", HISTORY)
def test_what_differs_is_renewed_and_named(postgresql, database, more):
    name = postgresql.make_database()
    file = database(name, more=more)
    schema(file)
    made = [line.split("|")[0] for line in postgresql.psql(LOOK, name).splitlines()]
    postgresql.psql(
        "comment on function make_current_tid() is 'of another release'; drop table object_ref; "
        "drop function make_tid_for_epoch; drop trigger blob_chunk_delete on blob_chunk",
        name,
    )
    changes = ["object_ref", "make_current_tid()", "make_tid_for_epoch()", "blob_chunk_delete"]
    assert schema("--check", file) == f"{name}: would be renewed ({', '.join(changes)})\n"
    (result,) = json.loads(schema("--json", file))
    assert result == {
        "service": "postgresql@15-main.service",
        "storage": name,
        "outcome": "renewed",
        "changes": changes,
        "check": False,
        "error": None,
    }
    assert schema(file) == f"{name}: unchanged\n"
    assert [line.split("|")[0] for line in postgresql.psql(LOOK, name).splitlines()] == made


def test_it_makes_all_that_relstorage_makes_itself(postgresql, database):
    ours, theirs = postgresql.make_database(), postgresql.make_database()
    schema(database(ours))
    section = postgresql.section(theirs).replace("create-schema false", "create-schema true")
    ZODB.config.storageFromString(section).close()
    found = "select relname, relkind from pg_class where relnamespace = 'public'::regnamespace order by 1"
    procedures = "select proname, md5(prosrc) from pg_proc where pronamespace = 'public'::regnamespace order by 1"
    for query in (found, procedures):
        assert postgresql.psql(query, ours) == postgresql.psql(query, theirs)
    assert schema(database(theirs)) == f"{theirs}: unchanged\n"


def test_two_at_once_with_a_client_at_work(postgresql, database):
    name = postgresql.make_database()
    file = database(name)
    both = [
        subprocess.Popen([SCRIPTS / "zodb-schema", file], stdout=subprocess.PIPE, text=True) for _process in range(2)
    ]
    assert sorted(process.communicate(timeout=30)[0] for process in both) == [
        f"{name}: created\n",
        f"{name}: unchanged\n",
    ]
    with postgresql.open(name) as opened:
        with opened.transaction() as connection:
            connection.root()["before"] = 1
        postgresql.psql("comment on function make_current_tid() is 'of another release'", name)
        both = [
            subprocess.Popen([SCRIPTS / "zodb-schema", file], stdout=subprocess.PIPE, text=True)
            for _process in range(2)
        ]
        for number in range(100):
            with opened.transaction() as connection:
                connection.root()["count"] = number
        printed = sorted(process.communicate(timeout=30)[0] for process in both)
        assert printed == [f"{name}: renewed (make_current_tid())\n", f"{name}: unchanged\n"]
        with opened.transaction() as connection:
            assert (connection.root()["before"], connection.root()["count"]) == (1, 99)


def test_an_old_table_of_history_is_mended(postgresql, database):
    name = postgresql.make_database()
    file = database(name, more="keep-history true")
    schema(file)
    postgresql.psql("alter table transaction rename column is_empty to empty", name)
    assert schema(file) == f"{name}: renewed (transaction.is_empty)\n"
    assert schema(file) == f"{name}: unchanged\n"


REFUSED = {
    "history": (
        "keep-history true",
        "",
        "the tables in the database {name} are history-free, and keep-history is true; that is decided when tables are "
        "made, and the playbook pyams.zodb.migrate moves a site to a new database",
    ),
    "owner": (
        "",
        "create role other; alter table object_ref owner to other",
        "object_ref in the database {name} belongs to the role other, not to zodb; make all of RelStorage's belong to "
        "the one who packs",
    ),
    "owner of a procedure": (
        "",
        "alter function make_current_tid() owner to admin",
        "make_current_tid in the database {name} belongs to the role admin, not to zodb; make all of RelStorage's "
        "belong to the one who packs",
    ),
    "newer": (
        "",
        "comment on table object_state is 'pyams.zodb: procedures of RelStorage 4.10.0'; "
        "comment on function make_current_tid() is 'newer'",
        "the procedures in the database {name} on {where} are of RelStorage 4.10.0, later than 4.3.0 here; install "
        "that release or a later one",
    ),
}


@pytest.mark.parametrize(("more", "sql", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused_with_tables(postgresql, database, more, sql, sentence):
    name = postgresql.make_database()
    schema(database(name))
    postgresql.psql(sql, name)
    made = postgresql.psql(LOOK, name)
    file = database(name, more=more)
    expected = f"zodb-schema: {name}: {sentence.format(name=name, where=postgresql.label)}\n"
    assert schema(file, "--check", code=1) == schema(file, code=1) == expected
    assert postgresql.psql(LOOK, name) == made


def test_refused_databases(postgresql, database):
    foreign, latin, elsewhere, barred, path = (
        postgresql.make_database(),
        postgresql.make_database("template template0 encoding 'LATIN1' locale 'C'"),
        postgresql.make_database(),
        postgresql.make_database(),
        postgresql.make_database(),
    )
    postgresql.psql("create table public.customers (id int)", foreign)
    postgresql.psql("create schema other; create table other.object_state (zoid bigint)", elsewhere)
    postgresql.psql(f"alter schema public owner to admin; alter database {barred} owner to admin", barred)
    postgresql.psql(f"create schema zodb authorization zodb; alter database {path} set search_path to zodb", path)
    lines = schema(database(foreign, latin, elsewhere, barred, path), code=1).splitlines()
    where = f"on {postgresql.label}"
    assert lines == [
        f"zodb-schema: {foreign}: the database {foreign} {where} has the table public.customers and none of "
        "RelStorage's; give it an empty one",
        f"zodb-schema: {latin}: the database {latin} {where} is encoded in LATIN1; make one in UTF8",
        f"zodb-schema: {elsewhere}: the database {elsewhere} {where} has the table other.object_state and none of "
        "RelStorage's; give it an empty one",
        f"zodb-schema: {barred}: zodb may make nothing in the schema public of the database {barred} {where}; let it "
        "own the database",
        f"zodb-schema: {path}: the database {path} {where} shows zodb no schema public, where RelStorage looks; mend "
        "its search_path",
    ]


def test_newer_but_the_same_procedures_are_fine(postgresql, database):
    name = postgresql.make_database()
    schema(database(name))
    postgresql.psql("comment on table object_state is 'pyams.zodb: procedures of RelStorage 4.10.0'", name)
    assert schema(database(name)) == f"{name}: unchanged\n"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            lambda text: text.replace("dbname=", "password=secret dbname="),
            "dsn holds a password; move it to a passfile",
            id="password",
        ),
        pytest.param(
            lambda text: text.replace("dbname=", "password=two secret dbname="),
            "dsn is not as libpq reads it; quote values that hold blanks",
            id="a password with a blank",
        ),
        pytest.param(
            lambda text: "<filestorage>\npath /x\n</filestorage>\n",
            "is not a <relstorage> with <postgresql>",
            id="kind",
        ),
        pytest.param(
            lambda text: text.replace("/pgpass", "/nowhere"),
            "dsn: passfile {folder}/nowhere cannot be read: No such file or directory",
            id="passfile",
        ),
    ],
)
def test_misconfigured(postgresql, database, change, sentence):
    file = database("site", sections={"site": change(postgresql.section("site"))})
    errors = schema(file, code=2)
    sentence = sentence.format(folder=postgresql.folder)
    assert errors == f"zodb-schema: site: {file}: storages[0].zconfig:1: {sentence}\n"
    assert "secret" not in errors


def test_a_passfile_that_libpq_would_ignore(postgresql, database, tmp_path):
    passfile = tmp_path / "open"
    passfile.write_text(postgresql.passfile.read_text())
    passfile.chmod(0o640)
    section = postgresql.section("site").replace(str(postgresql.passfile), str(passfile))
    file = database("site", sections={"site": section})
    sentence = f"dsn: passfile {passfile} is open to others, so that libpq ignores it; set mode 0600"
    assert schema(file, code=2) == f"zodb-schema: site: {file}: storages[0].zconfig:1: {sentence}\n"


def test_a_storage_of_zeo(serve, settings):
    sentence = "zodb-schema: pyams: zodb-schema is for databases, and this storage is one of a ZEO server\n"
    assert schema(settings(serve("pyams")), code=2) == sentence


def test_locks_that_others_keep_are_not_waited_for_for_ever(postgresql, database, monkeypatch):
    monkeypatch.setattr(_relstorage, "_LOCK_TIMEOUT", 1)
    name = postgresql.make_database()
    schema(database(name))
    postgresql.psql("drop trigger blob_chunk_delete on blob_chunk", name)
    (found,) = _kinds.load([str(database(name))])
    with contextlib.closing(
        psycopg2.connect(f"host={postgresql.folder} port={postgresql.port} dbname={name} user=admin")
    ) as other:
        other.cursor().execute("lock table blob_chunk in row exclusive mode")
        with pytest.raises(Failure) as caught:
            found.prepare(check=False)
    expected = f"another session kept what it had locked in the database {name} for 1 s; nothing was changed"
    assert str(caught.value) == expected
