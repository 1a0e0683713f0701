# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-health of databases, against a real PostgreSQL, killed, frozen, full, and with a standby."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pickle
import pwd
import re
import signal
import tempfile
import time

import psycopg2
import pytest
import ZODB.config
from real import PostgreSQL, called, started, until
from ZODB.Connection import TransactionMetaData

from pyams_zodb_tools import _kinds, _relstorage
from pyams_zodb_tools._errors import Failure
from pyams_zodb_tools._health import Finding


@pytest.fixture
def made(postgresql, database):
    """Return the name of a database with something in it, and its TOML file."""
    name = postgresql.make_database()
    file = database(name)
    assert called("zodb-schema", file).returncode == 0
    postgresql.fill(name)
    return name, file


def health(*arguments, code: int) -> list[dict]:
    """Return what --json prints, after a look at the exit status."""
    result = called("zodb-health", "--json", *arguments)
    assert (result.returncode, result.stderr) == (code, ""), result.stdout
    return json.loads(result.stdout)


def session(server: PostgreSQL, name: str, user: str = PostgreSQL.ROLE):
    """Return an open session of a role."""
    return contextlib.closing(psycopg2.connect(f"host={server.folder} port={server.port} dbname={name} user={user}"))


def test_a_database_in_use(postgresql, made, database):
    name, _file = made
    with postgresql.open(name), session(postgresql, name):
        result = called("zodb-health", database(name, data_directory=str(postgresql.data)))
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(
        rf"OK postgresql@15-main/{name}: last commit \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC, [\d.]+ MB; "
        r"\d of 97 connections; disk \d+% free \| size=\d+B commit_age=\d+s clients=[2-5] connections=\d;;;0;97 "
        r"disk_free=[\d.]+%;0:;0:;0;100\n",
        result.stdout,
    ), result.stdout
    assert postgresql.QUOTED not in result.stdout


def test_json_has_the_same_keys_as_for_zeo(postgresql, made, serve, settings):
    name, file = made
    server = serve("pyams")
    found, zeo = health(file, settings(server), code=0)
    assert found.keys() == zeo.keys()
    assert (found["storage"], found["status"], found["problems"], found["empty"]) == (name, "OK", [], False)
    assert abs(found["last_commit"] - time.time()) < 60
    assert found["size"] == int(postgresql.psql(f"select pg_database_size('{name}')"))
    keys = ("standby", "lag", "standbys", "schema_fits", "max_connections", "waiting", "locked", "disks", "last_pack")
    assert [found[key] for key in keys] == [False, None, [], True, 97, None, None, [], None]
    assert [zeo[key] for key in keys[:5]] == [None, None, [], None, None]
    assert (zeo["connections"], zeo["longest_transaction"]) == (None, None)


def test_nothing_is_made_and_nothing_unpickled(postgresql, database, tmp_path):
    name = postgresql.make_database()
    file = database(name)
    sentence = f"the database {name} on {postgresql.label} has no tables of RelStorage; run zodb-schema"
    assert health(file, code=2)[0]["problems"] == [sentence]
    assert postgresql.psql("select count(*) from pg_class where relnamespace = 'public'::regnamespace", name) == "0"
    assert called("zodb-schema", file).returncode == 0
    (empty,) = health(file, code=0)
    assert (empty["empty"], empty["last_commit"]) == (True, None)
    trap = tmp_path / "trapped"

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    storage = ZODB.config.storageFromString(postgresql.section(name))
    for oid, problems in ((1, ["there are transactions, but no root object"]), (0, [])):
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        storage.store(oid.to_bytes(8, "big"), bytes(8), pickle.dumps(Trap()), "", meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
        (found,) = health(file, code=2 if problems else 0)
        assert found["problems"] == problems
    storage.close()
    assert not trap.exists()


def test_the_last_pack_is_watched(made):
    name, file = made
    file.write_text(file.read_text().replace("pack_expected_days = 0", "pack_expected_days = 7"))
    assert health(file, code=0)[0]["last_pack"] is None
    assert called("zodb-pack", file).returncode == 0
    (found,) = health(file, code=0)
    assert (found["last_pack"]["storage"], found["last_pack"]["objects_after"]) == (name, 3)


def test_procedures_of_another_release(postgresql, made):
    name, file = made
    postgresql.psql("comment on function make_current_tid() is 'other'; drop function lock_and_choose_tid()", name)
    (found,) = health(file, code=1)
    assert found["schema_fits"] is False
    assert found["problems"] == [
        "tables or stored procedures are not those of RelStorage 4.3.0 (lock_and_choose_tid(), make_current_tid()); "
        "run the role again"
    ]
    assert called("zodb-schema", file).returncode == 0
    assert health(file, code=0)[0]["schema_fits"] is True


def test_the_other_history_mode(postgresql, made, database):
    name, _file = made
    (found,) = health(database(name, more="keep-history true"), code=2)
    assert found["problems"][0].startswith(
        f"the tables in the database {name} are history-free, and keep-history is true;"
    )


def test_connections_that_run_out(postgresql, made):
    name, file = made
    postgresql.psql(f"alter database {name} connection limit 5")
    with contextlib.ExitStack() as stack:
        for _session in range(3):
            stack.enter_context(session(postgresql, name))
        (found,) = health(file, code=1)
        assert (found["connections"], found["max_connections"], found["clients"]) == (4, 5, 3)
        assert found["problems"] == ["the database has 4 of its 5 connections in use"]
        for _session in range(2):
            stack.enter_context(session(postgresql, name))
        (found,) = health(file, code=2)
        sentence = f'FATAL: too many connections for database "{name}"'
        assert found["problems"] == [f"cannot connect to the server on {postgresql.label}: {sentence}"]


def test_a_transaction_that_goes_on_for_long(postgresql, made, monkeypatch):
    name, file = made
    monkeypatch.setattr(_relstorage, "_LONGEST", 0.2)
    with session(postgresql, name) as other, other.cursor() as cursor:
        cursor.execute("set application_name = 'reporting'; select 1")
        time.sleep(0.3)
        (kind,) = _kinds.load([str(file)])
        finding = Finding(kind.settings, kind.storage)
        finding.look(kind, 0)
        pid = other.info.backend_pid
    assert finding.facts["longest_transaction"] >= 0.3
    sentence = f"the session {pid} (reporting) is in one transaction for 0 minutes, which holds vacuum back"
    assert finding.facts["problems"] == [sentence]


def test_a_standby_and_its_primary(own, database):
    name = own.make_database()
    assert called("zodb-schema", database(name, sections={name: own.section(name)})).returncode == 0
    own.fill(name)
    standby = own.copy()
    try:
        sections = {"primary": own.section(name), "standby": standby.section(name)}
        file = database(sections=sections)
        primary, copied = until(lambda: [one for one in [health(file, code=0)] if one[1]["lag"] == 0])[0]
        assert (primary["standby"], primary["lag"], copied["standby"]) == (False, None, True)
        assert (copied["last_commit"], copied["standbys"]) == (primary["last_commit"], [])
        assert primary["standbys"] == [{"name": "copy", "state": None, "lag": None}]  # its state is a monitor's to see
        own.psql("grant pg_monitor to zodb")
        (primary,) = health(file, "--storage", "primary", code=0)
        assert primary["standbys"][0]["state"] == "streaming"
        sentence = f"the server on {standby.label} is a standby, which "
        packed, prepared = (called(f"zodb-{job}", "--storage", "standby", file) for job in ("pack", "schema"))
        assert (packed.returncode, packed.stderr) == (0, f"zodb-pack: standby: {sentence}gets what its primary packs\n")
        assert (prepared.returncode, prepared.stderr) == (
            1,
            f"zodb-schema: standby: {sentence}is read-only; prepare its primary\n",
        )
        own.psql("select pg_create_physical_replication_slot('away')")
        (kept,) = health(file, "--storage", "primary", code=1)
        assert kept["problems"] == ["no standby is connected to the slot away, which keeps the log for it"]
        own.psql("select pg_drop_replication_slot('away')")
        own.stop()
        (alone,) = health(file, "--storage", "standby", code=0)
        assert alone["lag"] > 0
    finally:
        standby.stop()


def test_a_server_that_starts_is_waited_for_and_one_that_hangs_is_not(own, database, monkeypatch):
    name = own.make_database()
    file = database(name, sections={name: own.section(name)})
    assert called("zodb-schema", file).returncode == 0
    own.stop()
    (found,) = health(file, code=2)
    assert found["problems"] == [f"nobody listens on {own.label}"]
    with started("zodb-health", "--json", "--wait", "15", file) as process:
        time.sleep(1)
        assert process.poll() is None
        own.start()
        output, _errors = process.communicate(timeout=20)
    assert (process.returncode, json.loads(output)[0]["problems"]) == (0, [])
    monkeypatch.setattr(_relstorage, "_ANSWER_TIMEOUT", 1)
    (kind,) = _kinds.load([str(file)])
    kind.configure()
    own.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Failure, match=r"^the server does not answer a client within 1 s$"):
            kind.reach()
    finally:
        own.process.send_signal(signal.SIGCONT)


def test_a_server_that_says_it_is_starting_is_waited_for(own, database):
    name = own.make_database()
    file = database(name, sections={name: own.section(name)})
    assert called("zodb-schema", file).returncode == 0
    own.stop(signal.SIGINT)
    busy = own.folder / "busy"
    busy.touch()
    own.data.joinpath("recovery.signal").touch()
    own.settings["restore_command"] = f"while [ -e {busy} ]; do sleep 0.1; done; false"
    own.launch()
    sentence = f"the server on {own.label} is starting up"
    until(lambda: sentence in health(file, code=2)[0]["problems"])
    with started("zodb-health", "--json", "--wait", "15", file) as process:
        time.sleep(1)
        assert process.poll() is None
        busy.unlink()
        output, _errors = process.communicate(timeout=20)
    assert (process.returncode, json.loads(output)[0]["problems"]) == (0, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_room_of_a_folder_that_may_not_be_entered(database):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        pathlib.Path(folder).chmod(0o755)
        closed = pathlib.Path(folder, "closed")
        closed.joinpath("main").mkdir(parents=True)
        closed.chmod(0o700)
        (kind,) = _kinds.load([str(database("site", data_directory=str(closed / "main")))])
        assert kind.folders() == [str(closed / "main")]
        child = os.fork()
        if not child:
            os.setuid(pwd.getpwnam("nobody").pw_uid)
            os._exit(kind.folders() != [str(closed)])
        assert os.waitpid(child, 0)[1] == 0
