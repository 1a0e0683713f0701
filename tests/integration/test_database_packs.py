# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs of PostgreSQL databases beside zodbconvert, each by RelStorage's own zodbpack, which knows nothing of us."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import pytest
from ansible_tasks import result_of
from conversions import MORE, SMALL, equal
from storage_servers import PYTHON, VIRTUALENV, until

REFUSED = "A pack or undo operation is in progress"
# Makes the tables of the storage of a ZConfig text.
TABLES = """
import sys, ZODB.config
ZODB.config.storageFromString(sys.argv[1]).close()
"""
# Whoever writes an object waits as long as there is a table of the name held.
WAITING = """
create function wait_while_held() returns trigger language plpgsql as $$
begin
  while exists (select from pg_class where relname = 'held') loop
    perform pg_sleep(0.02);
  end loop;
  return null;
end $$;
create trigger wait_while_held before insert or update on object_state
  for each statement execute procedure wait_while_held();
"""
# Runs SQL in a transaction that lasts until its input ends.
SESSION = """
import sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
connection.cursor().execute(sys.argv[2])
print("done", flush=True)
sys.stdin.read()
"""
# Holds packs of the database of a ZConfig text off until its input ends, as the agent does, and asks every so often.
HOLDER = """
import sys
from ansible_collections.pyams.zodb.plugins.module_utils import _agent_locks
_agent_locks.PackLock.EVERY = float(sys.argv[2])
other = "<filestorage>\\npath /nowhere/Data.fs\\n</filestorage>"
print(_agent_locks.hold_packs({"source": {"text": sys.argv[1]}, "destination": {"text": other}}), flush=True)
sys.stdin.read()
"""

# Of a database, by its name: RelStorage's pack lock, and its sessions
HOLDERS = (
    "from pg_locks where locktype = 'advisory' and granted and (classid, objid) = (4294967295, 4294967294) "
    "and database = (select oid from pg_database where datname = '{}')"
)
SESSIONS = "select count(*) from pg_stat_activity where datname = '{}'"


@pytest.fixture
def empty(make_storage):
    """Return a function that makes an empty PostgreSQL database, with its tables, into which a copy can be held up."""

    def make(kind, **options):
        storage = make_storage(kind, **options)
        subprocess.run([PYTHON, "-c", TABLES, storage.zconfig()], check=True)
        storage.server.psql(WAITING, storage.database)
        return storage

    return make


@contextlib.contextmanager
def held(converter, source, destination, **options):
    """Have a copy that writes and gets no further; it goes on at the end."""
    destination.server.psql("create table held ()", destination.database)
    try:
        copying = converter.start(source, destination, **options)
        waits = SESSIONS.format(destination.database) + " and wait_event = 'PgSleep'"
        until(lambda: destination.server.psql(waits) == "1" or copying.poll() is not None, lambda: "it does not write")
        yield copying
    finally:
        destination.server.psql("drop table held", destination.database)


@contextlib.contextmanager
def session(storage, sql):
    """Have a session of the superuser in a transaction, which has run SQL."""
    command = [PYTHON, "-c", SESSION, storage.location["dsn"], sql]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "done\n"
        yield
        process.communicate("")


def start_pack(storage, log):
    configuration = storage.folder / "pack.conf"
    configuration.write_text(storage.zconfig())
    return subprocess.Popen([VIRTUALENV / "bin" / "zodbpack", "--days=-1", configuration], stdout=log, stderr=log)


def pack(storage):
    """Pack it to now, and return the status of zodbpack and what it logged."""
    path = storage.folder / "pack.log"
    with open(path, "w") as log:
        code = start_pack(storage, log).wait(60)
    return code, path.read_text()


@contextlib.contextmanager
def packing(storage):
    """Have a pack that has begun and gets no further; it goes on at the end."""
    with open(storage.folder / "pack.log", "w") as log:
        with session(storage, "lock table pack_object in access exclusive mode"):
            process = start_pack(storage, log)
            until(lambda: locked(storage), (storage.folder / "pack.log").read_text)
            yield
        assert process.wait(60) == 0


def locked(storage, server=None):
    """Return whether anybody has RelStorage's pack lock."""
    return (server or storage.server).psql("select count(*) " + HOLDERS.format(storage.database)) != "0"


@pytest.mark.parametrize(
    ("kind", "method"),
    [("postgresql", "bulk"), ("postgresql", "zodbconvert"), ("postgresql_history", "zodbconvert")],
)
def test_nobody_packs_either_side_meanwhile(make_storage, empty, converter, kind, method):
    """In a full copy, and when what was added since is copied."""
    source, destination = make_storage(kind), empty(kind)
    source.fill(**SMALL)
    for state in ("empty", "behind"):
        with held(converter, source, destination, method=method) as copying:
            assert locked(source)
            assert locked(destination)
            # Who opens a database while one transaction loads it waits until that has ended.
            for storage in (source, destination)[: 1 if (method, state) == ("bulk", "empty") else 2]:
                code, log = pack(storage)
                assert code == 1
                assert REFUSED in log
        done = result_of(copying)
        assert (done.get("msg"), done["state"], done["verified"]) == (None, state, "full")
        assert equal(source, destination)
        source.fill(**MORE)
    for storage in (source, destination):
        assert pack(storage)[0] == 0


@pytest.mark.parametrize("side", ["source", "destination"])
def test_no_copy_begins_beside_a_pack(make_storage, converter, side):
    """That of the destination begins when the module has looked at it, or its sessions would be seen."""
    source, destination = make_storage("postgresql"), make_storage("postgresql")
    source.fill(**SMALL)
    last = "0x" + destination.fill(seed=1, objects=3)["last_tid"]
    before = source.read(), destination.read()
    with contextlib.ExitStack() as looked, contextlib.ExitStack() as packs:
        if side == "destination":
            looked.enter_context(session(source, "lock table blob_chunk in access exclusive mode"))
        else:
            packs.enter_context(packing(source))
            assert converter.direct(source, destination, check=True, clear=last)["changed"]
        copying = converter.start(source, destination, clear=last)
        if side == "destination":
            waits = "select count(*) from pg_locks where not granted"
            until(lambda: source.server.psql(waits) != "0", lambda: "it does not look")
            packs.enter_context(packing(destination))
            looked.close()
        until(lambda: copying.poll() is not None, lambda: "it copies")
        assert re.fullmatch(
            rf"{side} \S+: another session holds RelStorage's pack lock, to pack, to undo or to copy; wait until that "
            "ends, and run it again.",
            result_of(copying)["msg"],
        )
        assert (source.read(), destination.read()) == before
        assert list((converter.folder / "records").glob("*.json")) == []
    done = converter.direct(source, destination, clear=last)
    assert (done.get("msg"), done["changed"]) == (None, True)
    assert list(source.differences(destination)) == []


@pytest.mark.parametrize("killed", ["module", "agent"])
def test_packs_go_on_when_a_copy_was_killed(make_storage, empty, converter, killed):
    source, destination = make_storage("postgresql"), empty("postgresql")
    source.fill(**SMALL)
    with held(converter, source, destination, method="zodbconvert") as copying:
        assert locked(source)
        assert locked(destination)
        (agent,) = pathlib.Path(f"/proc/{copying.pid}/task/{copying.pid}/children").read_text().split()
        os.kill(int(agent) if killed == "agent" else copying.pid, signal.SIGKILL)
        until(lambda: not locked(source) and not locked(destination), lambda: "they are still held off")
        assert pack(source)[0] == 0
    out, _err = copying.communicate()
    assert ("ended with -9 before it answered" in out) is (killed == "agent")
    sessions = SESSIONS.format(destination.database)
    until(lambda: destination.server.psql(sessions) == "0", lambda: "what was killed does not end")
    done = converter.direct(source, destination)
    assert (done.get("msg"), done["changed"], done["verified"]) == (None, True, "full")
    assert equal(source, destination)


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_copy_that_could_not_hold_packs_off_to_its_end_is_not_proven(make_storage, empty, converter, side):
    source, destination = make_storage("postgresql"), empty("postgresql")
    source.fill(**SMALL)
    with held(converter, source, destination) as copying:
        storage = source if side == "source" else destination
        storage.server.psql("select pg_terminate_backend(pid) " + HOLDERS.format(storage.database))
    refused = result_of(copying)
    assert refused["msg"] == f"{side}: the session that held packs off was ended meanwhile; run it again."
    assert refused["proven"] is None
    assert converter.direct(source, destination)["verified"] == "full"
    assert equal(source, destination)


@pytest.mark.parametrize(("every", "lasts"), [(0.1, True), (60, False)])
def test_a_session_that_holds_packs_off_is_kept_alive(make_storage, every, lasts):
    storage = make_storage("postgresql")
    storage.server.psql(f"alter database {storage.database} set idle_session_timeout = '2s'")
    command = [PYTHON, "-c", HOLDER, storage.zconfig(), str(every)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "{'held': None}\n"
        assert locked(storage)
        storage.server.psql("select pg_sleep(5)")
        assert locked(storage) is lasts
        holder.communicate("")
    until(lambda: not locked(storage), lambda: "it is still locked")


def test_an_account_that_may_only_read_holds_packs_off(make_storage, empty, converter):
    source, destination = make_storage("postgresql", blobs=None), empty("postgresql", blobs=None)
    source.fill(**SMALL, blobs=[])
    psql = source.server.psql
    psql("create role reader login; grant select on all tables in schema public to reader", source.database)
    source.description["postgresql"]["user"] = "reader"
    try:
        with held(converter, source, destination) as copying:
            code, log = pack(source)
            assert code == 1
            assert REFUSED in log
        done = result_of(copying)
        assert (done.get("msg"), done["verified"]) == (None, "full")
        assert equal(source, destination)
    finally:
        psql("drop owned by reader; drop role reader", source.database)


def test_a_standby_is_copied(make_storage, empty, converter, postgresql, open_folder):
    """Its lock is not that of its primary."""
    source, destination = make_storage("postgresql"), empty("postgresql")
    source.fill(**SMALL)
    with contextlib.ExitStack() as stack:
        standby = postgresql.standby(open_folder())
        stack.callback(standby.stop)
        last = postgresql.psql("select pg_current_wal_lsn()")
        until(lambda: standby.psql(f"select pg_last_wal_replay_lsn() >= '{last}'") == "t", standby.log.read_text)
        source.description["postgresql"].update(host=str(standby.socket_dir), port=standby.port)
        with held(converter, source, destination) as copying:
            assert locked(source, standby)
            assert not locked(source)
        done = result_of(copying)
        assert (done.get("msg"), done["verified"]) == (None, "full")
        assert equal(source, destination)
