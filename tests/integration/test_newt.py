# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of NewtDB. Its tables and triggers are made here as newt.db 0.9 makes them, since that does not run beside
RelStorage 4; who listens is a session of psql, as a newt-updater's looks.
"""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from ansible_collections.pyams.zodb.plugins.modules import zodb_info
from ansible_tasks import module_command, result_of
from conversions import MORE, SMALL, equal
from storage_servers import VIRTUALENV, until

TABLES = """
set role zodb;
create table newt (zoid bigint primary key, class_name text, ghost_pickle bytea, state jsonb);
create index newt_json_idx on newt using gin (state);
create table newt_follow_progress (id text primary key, tid bigint);
"""
TRIGGERS = """
set role zodb;
create function newt_notify_object_state_changed() returns trigger as $$
begin
  perform pg_notify('newt_object_state_changed', NEW.tid::text);
  return NEW;
end;
$$ language plpgsql;
create trigger newt_trigger_notify_object_state_changed after insert or update on object_state
  for each row execute procedure newt_notify_object_state_changed();
create function newt_delete_on_state_delete() returns trigger as $$
begin
  delete from newt where zoid = OLD.zoid;
  return old;
end;
$$ language plpgsql;
create trigger newt_delete_on_state_delete_trigger after delete on object_state
  for each row execute procedure newt_delete_on_state_delete();
"""
# What newt-updater does with each object, once: but for the JSON itself, which nobody reads here
UPDATE = """
set role zodb;
insert into newt select distinct zoid, 'x', ''::bytea, '{}'::jsonb from object_state
  where tid > (select coalesce(max(tid), -1) from newt_follow_progress);
delete from newt_follow_progress;
insert into newt_follow_progress select 'newt.db.updater', max(tid) from object_state;
"""
STALE = """
set role zodb;
insert into newt values (1, 'a.Stale', '', '{"old": 1}'), (987654321, 'b.Stale', '', '{}');
insert into newt_follow_progress values ('newt.db.updater', 9223372036854775807);
"""
BREAKING = """
create function break() returns trigger language plpgsql as $$
begin
  perform pg_sleep(5);
  raise exception 'broken off by the test';
end $$;
create trigger break before insert on object_state for each statement execute procedure break();
"""
TRIGGER_NAMES = "select string_agg(tgname, ' ' order by tgname) from pg_trigger where tgname like 'newt%'"


@pytest.fixture
def newt(make_storage, request):
    """Return an empty storage described as newt, whose database has NewtDB's two tables, and an sql() beside it."""
    storage = make_storage(getattr(request, "param", "postgresql"))
    storage.description = {"newt": storage.description["postgresql"]}
    storage.sql = lambda sql: storage.server.psql(sql, storage.database)
    storage.sql(TABLES)
    return storage


def rows(storage):
    """Return the numbers of rows of NewtDB's tables."""
    return storage.sql("select (select count(*) from newt), (select count(*) from newt_follow_progress)").split("\t")


def info(folder, storage, **options):
    arguments = {"virtualenv": str(VIRTUALENV), "storage": storage.description, **options}
    command = module_command(folder, zodb_info, arguments)
    return result_of(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


@contextlib.contextmanager
def listening(storage):
    """Have a session wait for changes as newt-updater does."""
    where = [f"--host={storage.server.socket_dir}", f"--port={storage.server.port}", f"--dbname={storage.database}"]
    psql = [storage.server.bin / "psql", *where, "--username=zodb", "--quiet", "--no-psqlrc"]
    with subprocess.Popen(psql, stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write("LISTEN newt_object_state_changed;\n")
        process.stdin.flush()
        seen = "select count(*) from pg_stat_activity where datname = current_database() and query ~ '^LISTEN'"
        until(lambda: storage.sql(seen) == "1", lambda: "nobody listens")
        yield
        process.communicate("")


@pytest.mark.parametrize(
    ("newt", "method"), [("postgresql", "bulk"), ("postgresql_history", "zodbconvert")], indirect=["newt"]
)
def test_what_was_in_newt_before_a_copy_is_gone(make_storage, converter, newt, tmp_path, method):
    source = make_storage("filestorage")
    source.fill(**SMALL, blobs=[0, 70_000])
    newt.sql(STALE)
    checked, done = (converter.direct(source, newt, check, method=method) for check in (True, False))
    assert (done.get("msg"), done["method"], done["verified"]) == (None, method, "full")
    assert "start newt-updater when it has ended" in str(done["warnings"])
    assert checked["warnings"] == done["warnings"]
    assert rows(newt) == ["0", "0"]
    assert equal(source, newt)
    found = info(tmp_path, newt)
    objects = int(newt.sql("select count(distinct zoid) from object_state"))
    assert found["json"] == {"rows": 0, "tid": "0x" + 16 * "0", "waiting": objects}
    newt.sql(TRIGGERS)
    newt.sql(UPDATE)
    there = rows(newt)
    assert there == [str(objects), "1"]
    assert info(tmp_path, newt)["json"] == {"rows": objects, "tid": found["last_tid"], "waiting": 0}
    again = converter.direct(source, newt)
    assert (again["changed"], again["state"], again.get("warnings")) == (False, "equal", None)
    assert rows(newt) == there
    # Whoever calls it postgresql means the same storage.
    newt.description = {"postgresql": newt.description["newt"]}
    source.fill(**MORE)
    caught_up = converter.direct(source, newt)
    assert (caught_up["state"], caught_up["method"], caught_up["verified"]) == ("behind", "catch_up", "full")
    assert rows(newt) == ["0", "0"]
    assert equal(source, newt)
    assert newt.sql(TRIGGER_NAMES).split() == [
        "newt_delete_on_state_delete_trigger",
        "newt_trigger_notify_object_state_changed",
    ]


@pytest.mark.parametrize("method", ["bulk", "zodbconvert"])
def test_a_newt_database_is_emptied_and_filled_again(make_storage, converter, newt, method):
    source, back = make_storage("postgresql"), make_storage("filestorage")
    source.fill(**SMALL, blobs=[10])
    newt.fill(seed=1, objects=7)
    newt.sql(TRIGGERS + UPDATE)
    done = converter.direct(source, newt, method=method, clear="0x" + newt.read()["last_tid"])
    assert (done.get("msg"), done["changed"], done["method"]) == (None, True, method)
    assert rows(newt) == ["0", "0"]
    assert equal(source, newt)
    newt.sql(UPDATE)
    there = rows(newt)
    back_again = converter.direct(newt, back)
    assert (back_again.get("msg"), back_again["verified"], back_again.get("warnings")) == (None, "full", None)
    assert newt.differences(back).keys() <= {"tids"}
    assert rows(newt) == there


def test_a_newt_updater_has_to_be_stopped(make_storage, converter, newt):
    source = make_storage("filestorage")
    source.fill(**SMALL)
    newt.sql(STALE)
    with listening(newt):
        refused = converter.direct(source, newt)
        assert "newt-updater has the database open, and would not see all that is copied; stop it" in refused["msg"]
        assert rows(newt) == ["2", "1"]
    assert converter.direct(source, newt)["changed"]


def test_a_newt_updater_that_is_started_meanwhile_waits_for_the_end(make_storage, converter, newt, tmp_path):
    """It would take what is there for all that there is up to its newest transaction. Then the copy breaks off."""
    source = make_storage("filestorage")
    source.fill(**SMALL)
    assert converter.direct(source, newt)["changed"]
    newt.sql(UPDATE)
    source.fill(**MORE)
    newt.sql(BREAKING)
    copying = converter.start(source, newt)
    locked = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and relation = "
    until(lambda: newt.sql(locked + "'newt_follow_progress'::regclass") == "1", lambda: "it does not begin")
    with pytest.raises(AssertionError, match="canceling statement due to lock timeout"):
        newt.sql("set lock_timeout = '100ms'; select tid from newt_follow_progress")
    assert info(tmp_path, newt)["json"] == {"rows": 0, "tid": None, "waiting": None}
    broken = result_of(copying)
    assert "broken off by the test" in str(broken), broken
    assert rows(newt) == ["0", "0"]
    newt.sql("drop function break() cascade")
    assert converter.direct(source, newt)["verified"] == "full"
    assert equal(source, newt)


def test_newt_tables_of_another_role(make_storage, converter, newt, tmp_path):
    source = make_storage("filestorage")
    source.fill(**SMALL)
    newt.sql("alter table newt owner to admin")
    refused = converter.direct(source, newt)
    assert "the tables of NewtDB cannot be emptied: permission denied for table newt" in refused["msg"]
    assert newt.sql("select to_regclass('object_state')") == ""
    newt.sql("grant truncate on newt to zodb")
    assert converter.direct(source, newt)["changed"]
    # Who may not read the JSON still gets all other facts.
    found = info(tmp_path, newt)
    assert (found["exists"], found["json"], found["last_tid"]) == (True, None, "0x" + newt.read()["last_tid"])
