# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-pack of databases, against a real PostgreSQL and with a real mailbox."""

from __future__ import annotations

import contextlib
import fcntl
import json
import pathlib
import re
import threading
import time

import psycopg2
import pytest
from real import SCRIPTS, called, on_small_disk, started, until

HISTORY = ["keep-history false", "keep-history true"]
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = "
FENCE = """
create function pyams_zodb_fence() returns trigger language plpgsql as $$ begin raise exception 'moved'; end $$;
create trigger pyams_zodb_fence before insert or update or delete on object_state
    for each statement execute procedure pyams_zodb_fence()
"""


@pytest.fixture
def made(postgresql, database):
    """Return a function that makes a database with garbage in it, and returns its name and the TOML file."""

    def make(more: str = "keep-history false", garbage: int = 50, **changes) -> tuple[str, pathlib.Path]:
        name = postgresql.make_database()
        file = database(name, more=more, **changes)
        assert called("zodb-schema", file).returncode == 0
        postgresql.fill(name, garbage, more)
        return name, file

    return make


def packed(file: pathlib.Path, *options: str, code: int = 0) -> str:
    """Return the one sentence on standard error, after a look at the exit status."""
    result = called("zodb-pack", *options, file)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    (line,) = result.stderr.splitlines()
    return line.removeprefix("zodb-pack: ")


def record(file: pathlib.Path, name: str) -> dict:
    return json.loads(file.with_name(f"{name}.pack.json").read_text())


@pytest.fixture
def connection(postgresql):
    """Return a function that opens a session of the owner."""
    with contextlib.ExitStack() as stack:

        def connect(name: str):
            dsn = f"host={postgresql.folder} port={postgresql.port} dbname={name} user={postgresql.ROLE}"
            return stack.enter_context(contextlib.closing(psycopg2.connect(dsn)))

        yield connect


@pytest.mark.parametrize("more", HISTORY)
def test_garbage_goes_the_rest_stays_and_a_report_says_so(postgresql, made, mailbox, more):
    box = mailbox()
    begin = time.time()
    name, file = made(more, server=box.name, report=["admin@example.org"], data_directory=str(postgresql.data))
    line = packed(file)
    assert re.fullmatch(rf"{name}: packed, 53 objects became 3 in \d s", line), line
    assert postgresql.psql("select count(*) from object_state", name) == "3"
    with postgresql.open(name, more) as opened, opened.transaction() as connection:
        assert connection.root()["kept"]["text"] == "kept"
        with connection.root()["blob"].open() as blob:
            assert blob.read() == b"0" * 1000

    found = record(file, name)
    assert begin <= found.pop("started") <= found["finished"] <= time.time()
    assert found.pop("last_success") == found.pop("finished")
    sizes = [found.pop(key) for key in ("disk_free", "size_before", "size_after")]
    assert min(sizes) > 5_000_000
    assert found == {
        "storage": name,
        "outcome": "packed",
        "error": None,
        "days": 0,
        "objects_before": 53,
        "objects_after": 3,
        "report": "sent",
    }
    ((_sender, _recipients, message),) = box.messages
    lines = message.get_content().splitlines()
    assert lines[0].endswith(f", storage {line}.")
    assert f"Data:         database {name} on {postgresql.label}" in lines
    assert "Objects:      53 before, 3 after; PostgreSQL fills the room of those that went anew" in lines
    assert "Data.fs" not in message.get_content()
    assert postgresql.QUOTED not in message.get_content() + json.dumps(found)


def test_days_are_kept_and_trials_remove_nothing(postgresql, made):
    name, file = made(pack_days=1)
    assert packed(file, "--dry-run") == f"{name}: nothing is older than the days that are kept; nothing was written"
    file.write_text(file.read_text().replace("pack_days = 1", "pack_days = 0"))
    line = packed(file, "--dry-run")
    now = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"{name}: a pack would look at what was committed until {now} UTC; nothing was written", line)
    assert postgresql.psql("select count(*) from pack_object", name) == "0"
    assert packed(file, "--prepack") == f"{name}: prepared; a pack would remove 50 of 53 objects"
    assert postgresql.psql("select count(*) from object_state", name) == "53"
    assert not file.with_name(f"{name}.pack.json").exists()
    assert packed(file).startswith(f"{name}: packed, 53 objects became 3 in ")


def test_locks(made, connection):
    name, file = made()
    session = connection(name)
    with session.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(-2)")
    sentence = f"{name}: another session holds RelStorage's pack lock in the database {name}; nothing was packed"
    for options in [], ["--prepack"], ["--dry-run"]:
        assert packed(file, *options, code=3) == sentence
    session.close()
    with open(file.with_name(f"{name}.pack-lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for options in [], ["--dry-run"]:
            assert "; nothing was packed" in packed(file, *options, code=3)
    assert not file.with_name(f"{name}.pack.json").exists()
    assert packed(file).startswith(f"{name}: packed, 53 objects became 3 in ")


def test_while_clients_commit(postgresql, made):
    name, file = made()
    stop, committed = threading.Event(), []

    def write(opened):
        while not stop.is_set():
            with opened.transaction() as connection:
                connection.root()["count"] = len(committed)
            committed.append(True)

    with postgresql.open(name) as opened:
        writer = threading.Thread(target=write, args=(opened,))
        writer.start()
        try:
            assert packed(file).startswith(f"{name}: packed, 53 objects became 3 in ")
        finally:
            stop.set()
            writer.join()
        with opened.transaction() as connection:
            assert connection.root()["count"] == len(committed) - 1 > 0


def test_one_that_is_stopped_says_so_and_the_next_removes_the_rest(postgresql, made, connection):
    name, file = made()
    session = connection(name)
    with session.cursor() as cursor:
        cursor.execute("lock table object_state in share mode")  # the pack waits for it
    waits = WAITING + repr(name)
    with started("zodb-pack", file) as process:
        until(lambda: postgresql.psql(waits) == "1")
        process.terminate()
        _output, errors = process.communicate(timeout=5)
    sentence = "zodb-pack was stopped; what the pack removed so far stays removed, and the next one removes the rest"
    assert (process.returncode, errors) == (1, f"zodb-pack: {name}: {sentence}\n")
    until(lambda: postgresql.psql(waits) == "0")  # its statement was cancelled too
    assert record(file, name)["error"] == sentence
    session.close()
    assert packed(file).startswith(f"{name}: packed, 53 objects became 3 in ")


def test_a_server_that_is_killed_in_the_middle(own, database):
    name = own.make_database()
    file = database(name, sections={name: own.section(name)})
    assert called("zodb-schema", file).returncode == 0
    own.fill(name)
    dsn = f"host={own.folder} port={own.port} dbname={name} user={own.ROLE}"
    with contextlib.closing(psycopg2.connect(dsn)) as session, session.cursor() as cursor:
        cursor.execute("lock table object_state in share mode")
        with started("zodb-pack", file) as process:
            until(lambda: own.psql(WAITING + repr(name)) == "1")
            own.stop()
            _output, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors.startswith(f"zodb-pack: {name}: {own.label}: the connection to the server was lost (")
    assert len(errors.splitlines()) == 1
    assert record(file, name)["outcome"] == "failed"
    own.start()
    assert packed(file).startswith(f"{name}: packed, 53 objects became 3 in ")


REFUSED = {
    "fenced": (FENCE, "", 1, "the database {name} is read-only, its site has moved; nothing was packed"),
    "owner": (
        "alter table object_ref owner to admin",
        "",
        1,
        "object_ref in the database {name} belongs to the role admin, not to zodb",
    ),
    "history": (
        "",
        "keep-history true",
        1,
        "the tables in the database {name} are history-free, and keep-history is true; that is decided when tables are "
        "made, and the playbook pyams.zodb.migrate moves a site to a new database",
    ),
    "nothing to do": (
        "",
        "keep-history false\npack-gc false",
        2,
        "a history-free storage is packed by garbage collection alone, and pack-gc is false; nothing was packed",
    ),
    "read-only": ("", "keep-history false\nread-only true", 1, "the storage '{name}' is read-only; nothing was packed"),
}


@pytest.mark.parametrize(("sql", "more", "code", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused(postgresql, made, database, sql, more, code, sentence):
    name, file = made()
    if sql:
        postgresql.psql(sql, name)
    file = database(name, more=more)
    assert packed(file, code=code) == f"{name}: {sentence.format(name=name)}"
    assert postgresql.psql("select count(*) from object_state", name) == "53"
    assert record(file, name)["outcome"] == {1: "failed", 2: "misconfigured"}[code]


def test_a_database_without_tables(postgresql, database):
    name = postgresql.make_database()
    sentence = f"the database {name} on {postgresql.label} has no tables of RelStorage; run zodb-schema"
    assert packed(database(name), code=1) == f"{name}: {sentence}"


def test_no_connection(postgresql, database, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:*:not-the-password\n")
    wrong.chmod(0o600)
    none = tmp_path / "none"
    none.touch(0o600)
    section = postgresql.section("gone")
    sections = {
        "password": section.replace(str(postgresql.passfile), str(wrong)),
        "passfile": section.replace(str(postgresql.passfile), str(none)),
        "database": section,
        "port": section.replace(f"port={postgresql.port}", "port=1"),
        "socket": section.replace("host=127.0.0.1", f"host={tmp_path}"),
        "both": section.replace("host=127.0.0.1", f"host={tmp_path},127.0.0.1"),
        "tls": section.replace("dbname=", "sslmode=require dbname="),
    }
    result = called("zodb-pack", database(sections=sections))
    where = f"the server on {postgresql.label}"
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"zodb-pack: password: {where} refuses the password of the role zodb",
        f"zodb-pack: passfile: {where} asks for a password, and the passfile holds none for the role zodb",
        f"zodb-pack: database: {where} has no database gone",
        "zodb-pack: port: nobody listens on 127.0.0.1:1",
        f"zodb-pack: socket: nobody listens on {tmp_path}:{postgresql.port}",
        f"zodb-pack: both: the server on {tmp_path}:{postgresql.port}, {postgresql.label} has no database gone",
        f"zodb-pack: tls: cannot connect to {where}: server does not support SSL, but SSL was required",
    ]


def test_a_disk_too_small(made, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    _name, file = made(data_directory=str(folder))
    result = on_small_disk(folder, "8m", f"{SCRIPTS}/zodb-pack {file}")
    assert result.returncode == 4
    assert re.search(
        rf": {folder} has 8.0 MB, a pack may need 64\.\d MB \(64.0 MB of max_wal_size, the rest for the tables that it "
        r"works with\); nothing was packed\n$",
        result.stderr,
    )


def test_trials_are_for_databases(serve, settings):
    server = serve("pyams")
    result = called("zodb-pack", "--dry-run", settings(server))
    sentence = "zodb-pack: pyams: --dry-run is for databases, and this storage is one of a ZEO server\n"
    assert (result.returncode, result.stderr) == (2, sentence)
