# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role relstorage_postgres with Debian's PostgreSQL that is there, on the sites of postgres_sites.py."""

from __future__ import annotations

import contextlib
import json
import pathlib
import pwd
import stat
import tempfile
import threading
import types

import pytest
import storage_kinds
from ansible_tasks import changed
from postgres_sites import (
    CLOSE,
    DATABASE,
    DBA,
    DBA_PASSWORD,
    JOIN,
    KEEP,
    LAY,
    LAY_CLIENT,
    LOCAL,
    ROLE,
    SCHEMA,
    catalog,
    include,
    install,
    opened,
    run,
    sites,
)
from storage_servers import PgBouncer, PostgreSQL, free_port, own

CORE = "Nightingale-51"  # what is looked for, whatever is quoted around it
ODD = f'it\'s: a "{CORE}" \\1 $x @home #'
HERE = 'relstorage_postgres_storages[{}] "{}": '


class Watch:
    """Keeps the command lines of all processes, as often as it can look."""

    def __init__(self):
        self.seen = set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.over.set()
        self.thread.join()

    def look(self):
        while not self.over.wait(0.1):
            for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_text(errors="replace"))


@pytest.fixture(scope="module")
def stage(postgresql, open_folder, account, certificates):
    """Two sites, and what is on the server before them."""
    found = sites(postgresql, open_folder, account, certificates)
    found.old = storage_kinds.make("postgresql_history", open_folder() / "old", postgresql=postgresql)
    found.old.fill(seed=7, objects=40, transactions=4, blobs=[1000])
    yield found
    for database in ("site", "shop", found.old.database):
        postgresql.drop_database(database)
    postgresql.psql(f"drop role if exists site; drop role if exists shop; drop role {DBA}")


def plays(stage, password=ODD):
    """Return the plays of both, the user's with a password, root's with one that is made and one that was there.

    The clients of both connect to the port, which asks for the password.
    """
    old = {"name": "old", "dbname": stage.old.database, "user": PostgreSQL.ROLE, "password": PostgreSQL.QUOTED}
    mine = [
        include([{"name": "site", "client": {"host": "127.0.0.1"}, **LOCAL}]),
        include([{**old, "keep_history": True, **LOCAL}]),
    ]
    return [stage.root.play(mine), stage.user.play([include([{"name": "shop", "password": password, **LOCAL}])])]


def state(stage, *databases):
    """Return all that a run could have changed."""
    return [stage.root.snapshot(), stage.user.snapshot(), catalog(stage.server, stage.old.database, *databases)]


@pytest.fixture(scope="module")
def deployed(stage):
    """Foretell, do and repeat it; return what was said, and what there was between the runs."""
    root, user = plays(stage)
    install(stage.root.top / "venv")  # the user's host is a virgin one for check mode
    found = types.SimpleNamespace(before=state(stage), content=stage.old.read())
    found.check = run([{**root, "tasks": root["tasks"][:1]}, user], "--check", "--diff")
    found.checked = state(stage)
    install(stage.user.top / "venv")
    own(stage.user.top / "venv", stage.account)
    with Watch() as watch:
        found.first = run(plays(stage), "-vvv", "--diff")
    found.commands = watch.seen
    found.after = state(stage, "site", "shop")
    found.second = run(plays(stage))
    found.repeated = state(stage, "site", "shop")
    return found


def test_check_mode_foretells_a_first_run_and_changes_nothing(deployed):
    assert deployed.checked == deployed.before
    assert [changed(text) for text in deployed.check] == [
        [KEEP, LAY, ROLE, DATABASE, LAY_CLIENT],
        ["Virtualenv | Tell what a run would build", LAY, LAY_CLIENT],
    ]
    assert [changed(text) for text in deployed.first] == [
        [KEEP, LAY, ROLE, DATABASE, CLOSE, SCHEMA, LAY_CLIENT, LAY, CLOSE, LAY_CLIENT],
        [LAY, ROLE, JOIN, DATABASE, CLOSE, SCHEMA, LAY_CLIENT],
    ]


def test_a_second_run_changes_nothing(deployed):
    assert [changed(text) for text in deployed.second] == [[], []]
    assert deployed.repeated == deployed.after


def test_a_relstorage_that_was_there_is_as_it_was(stage, deployed):
    assert stage.old.read() == deployed.content
    assert deployed.after[2][1] == deployed.before[2][1]


def test_the_application_opens_what_was_laid(stage, deployed):
    for site, name in ((stage.root, "site"), (stage.user, "shop")):
        assert opened(site, name, stage.account, "first", name) == ["first", name]
        assert opened(site, name, stage.account) == ["first", name]
    rows = stage.server.psql("select datname, datdba::regrole, datacl from pg_database").splitlines()
    assert {"shop\tshop\t{shop=CTc/shop}", "site\tsite\t{site=CTc/site}"} <= set(rows)


def test_no_secret_is_to_be_seen(stage, deployed):
    made = (stage.root.etc / "relstorage-site.pgpass").read_text().strip().rpartition(":")[2]
    assert len(made) == 32
    secrets = [CORE, DBA_PASSWORD, "a $ecret", made]
    said = [*deployed.check, *deployed.first, *deployed.second, stage.server.log.read_text(), *deployed.commands]
    assert [secret for secret in secrets if any(secret in text for text in said)] == []
    assert [command for command in deployed.commands if "/bin/zodb-schema" in command]
    holders = {}
    for top in (stage.root.top, stage.user.top, pathlib.Path(pwd.getpwnam(stage.account).pw_dir)):
        for path in top.rglob("*"):
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
                holders[str(path.relative_to(top))] = oct(stat.S_IMODE(path.stat().st_mode))
    wanted = [
        f"etc/{path}" for name in ("site", "old", "shop") for path in (f"relstorage-{name}.pgpass", f"{name}/pgpass")
    ]
    assert holders == dict.fromkeys(["dba", *wanted], "0o600")


# Entries that the server has something against, each with the SQL that makes it so, and the sentence.
ENTRIES = {
    "owned": (
        {},
        "create database owned template template0",
        "dbname owned belongs to admin already; name another database, or admin as user.",
    ),
    "ascii": (
        {},
        "create role ascii login; create database ascii owner ascii encoding 'SQL_ASCII' template template0",
        "dbname ascii has the encoding SQL_ASCII, not UTF8; name another database.",
    ),
    "mighty": (
        {},
        "create role mighty login createdb",
        "user mighty may do more than log in, such as making databases; name another role, or take these rights "
        "from it.",
    ),
    "known": (
        {"password": None},
        "create role known login",
        "user known is there already, and its password is not known here; give it in password.",
    ),
    "crowd": (
        {"client": {"pool_size": 60}},
        "",
        "client.pool_size 60 takes up to 120 connections per process, and the server has 97; make it smaller, or "
        "raise max_connections.",
    ),
    "shoes": (
        {},
        "create role shoes login; create database shoes owner shoes template template0",
        "dbname shoes holds tables of something else, such as customers; name another database.",
    ),
    "mixed": (
        {},
        "create role mixed login; create database mixed owner mixed template template0",
        "dbname mixed has the table object_state of admin, whose stored procedures mixed could not renew; name admin "
        "as user, or give it to mixed.",
    ),
    "past": (
        {"dbname": "<old>", "user": PostgreSQL.ROLE},
        "",
        "dbname <old> keeps history, which was decided when it was made; set keep_history to true, or move to a new "
        "database with the playbook pyams.zodb.migrate.",
    ),
}
TABLES_OF = {"shoes": "create table customers (id int)", "mixed": "create table object_state (zoid int)"}
DATABASES = ("owned", "ascii", "shoes", "mixed")
# Of root, by the socket, or where it says TLS over that: the login, the entry, and the sentence.
LOGINS = {
    "wrong password": (
        {"TLS": True, "passfile": "<top>/wrong"},
        {},
        "the server on localhost, port <port>, does not let zodb_dba in, password authentication failed for user "
        '"zodb_dba"; start it, or correct relstorage_postgres_login.',
    ),
    "wrong port": (
        {"host": "127.0.0.1", "port": "<free>"},
        {},
        "the server on 127.0.0.1, port <free>, does not let admin in, Connection refused; start it, or correct "
        "relstorage_postgres_login.",
    ),
    "PgBouncer": (
        {"host": "127.0.0.1", "port": "<pooler>", "user": DBA, "passfile": "<passfile>"},
        {},
        "the server on 127.0.0.1, port <pooler>, does not let zodb_dba in, unsupported startup parameter: options; "
        "start it, or correct relstorage_postgres_login.",
    ),
    "stopped": (
        {"host": "<top>"},
        {},
        "the server on <top>, port <port>, does not let admin in, No such file or directory; start it, or correct "
        "relstorage_postgres_login.",
    ),
    "no such role": (
        {"user": "nobody"},
        {},
        'the server on <socket>, port <port>, does not let nobody in, role "nobody" does not exist; start it, or '
        "correct relstorage_postgres_login.",
    ),
    "certificate of another": (
        {"TLS": True, "sslrootcert": "<client>"},
        {},
        "the server on localhost, port <port>, does not let zodb_dba in, SSL error: certificate verify failed; start "
        "it, or correct relstorage_postgres_login.",
    ),
    "no certificate": (
        {"TLS": True, "sslrootcert": "<top>/no.pem"},
        {},
        'the server on localhost, port <port>, does not let zodb_dba in, root certificate file "<top>/no.pem" does not '
        "exist; start it, or correct relstorage_postgres_login.",
    ),
    "passfile for everybody": (
        {"TLS": True, "passfile": "<top>/open"},
        {},
        "relstorage_postgres_login.passfile <top>/open can be read by others, so that libpq ignores it; give it mode "
        "0600.",
    ),
    "no passfile": (
        {"TLS": True, "passfile": "<top>/no"},
        {},
        "relstorage_postgres_login.passfile <top>/no is not there; write the password into it, mode 0600.",
    ),
    "read-only": (
        {"user": "reader"},
        {},
        "the server takes no writes of reader, for whom default_transaction_read_only is on; set it to off.",
    ),
    "no rights": (
        {"user": "known"},
        {},
        "relstorage_postgres_login.user known may not make databases and roles; give it CREATEDB and CREATEROLE, or "
        "name another.",
    ),
    "pack without systemd": (
        {},
        {"pack": {"enabled": True}},
        HERE.format(0, "new") + "pack.enabled true takes root and systemd for its timer; set it to false, and run "
        "zodb-pack yourself.",
    ),
    "history of what was configured": (
        {},
        {"name": "site", "keep_history": True},
        HERE.format(0, "site") + "dbname site keeps no history, which was decided when it was made; set keep_history "
        "to false, or move to a new database with the playbook pyams.zodb.migrate.",
    ),
}


@pytest.fixture(scope="module")
def words(stage, deployed, open_folder):
    """Make what is wrong on the server, and return what stands for the words in <>."""
    server, top = stage.server, stage.root.top
    for _entry, sql, _sentence in ENTRIES.values():
        for statement in sql.split("; "):
            server.psql(statement)
    for database, sql in TABLES_OF.items():
        server.psql(sql if database == "mixed" else f"set role {database}; {sql}", database)
    server.psql("create role reader superuser login; alter role reader set default_transaction_read_only = on")
    for name, mode, text in (("wrong", 0o600, "not-the-one"), ("open", 0o644, DBA_PASSWORD)):
        (top / name).write_text(f"*:*:*:*:{text}\n")
        (top / name).chmod(mode)
    pooler = PgBouncer(server, open_folder(), "transaction")
    yield {
        "old": stage.old.database,
        "top": str(top),
        "socket": str(server.socket_dir),
        "port": str(server.port),
        "free": str(free_port()),
        "client": str(stage.certificates.client),
        "pooler": str(pooler.port),
        "passfile": stage.over_tls["passfile"],
    }
    pooler.stop()
    for name in ("wrong", "open"):
        (top / name).unlink()
    for database in DATABASES:
        server.drop_database(database)
    server.psql("drop role ascii, mighty, known, shoes, mixed, reader")


def filled(words, text):
    for word, value in words.items():
        text = text.replace(f"<{word}>", value)
    return text


@pytest.fixture(scope="module")
def refused(stage, words):
    """Run every case; return what each was told, by its name, and what there was before and after."""
    found = types.SimpleNamespace(before=state(stage, "site", *DATABASES), told={})
    cases = {
        "entries": ({}, [{"name": name, "password": ODD, **LOCAL, **keys} for name, (keys, *_more) in ENTRIES.items()])
    }
    for case, (login, keys, _sentence) in LOGINS.items():
        cases[case] = (login, [{"name": "new", **LOCAL, **keys}])
    tasks = []
    for case, (login, storages) in cases.items():
        over = {**stage.over_tls, **login} if login.get("TLS") else {**stage.root.login, **login}
        over.pop("TLS", None)
        told = {"case": case, "by": "{{ ansible_failed_task.name }}", "message": "{{ ansible_failed_result.msg }}"}
        task = include(storages, tasks_from="server", relstorage_postgres_login=over)
        rescue = [
            {
                "ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": f"<told>/{case}"},
                "vars": {"told": told},
            }
        ]
        tasks.append(json.loads(filled(words, json.dumps({"name": case, "block": [task], "rescue": rescue}))))
    with tempfile.TemporaryDirectory() as folder:
        tasks = json.loads(json.dumps(tasks).replace("<told>", folder))
        run([stage.root.play(tasks[half::2]) for half in range(2)])
        for path in pathlib.Path(folder).iterdir():
            found.told[path.name] = json.loads(path.read_text())
    found.after = state(stage, "site", *DATABASES)
    return found


def test_each_entry_is_refused_with_its_sentence(words, refused):
    told = refused.told["entries"]
    assert told["by"] == "Ask | Refuse what is wrong with the server"
    assert told["message"].split("\n") == [
        HERE.format(number, name) + filled(words, sentence)
        for number, (name, (_keys, _sql, sentence)) in enumerate(ENTRIES.items())
    ]


@pytest.mark.parametrize("case", LOGINS)
def test_each_login_is_refused_with_its_sentence(words, refused, case):
    assert refused.told[case]["message"] == filled(words, LOGINS[case][2])
    assert "not-the-one" not in json.dumps(refused.told[case])


def test_nothing_that_is_refused_changed_anything(refused):
    assert refused.after == refused.before


@pytest.fixture(scope="module")
def removed(stage, deployed):
    """Remove one storage with its data and one without, twice; meanwhile the user changes his password.

    And a stored procedure of his is as one that another release of RelStorage has left.
    """
    site = {"name": "site", "state": "absent", "remove_data": True}
    old = {"name": "old", "dbname": stage.old.database, "user": PostgreSQL.ROLE, "state": "absent"}
    found = types.SimpleNamespace(before=stage.old.read())
    procedures = "select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace order by 1 limit 1"
    procedure = stage.server.psql(procedures, database="shop")
    stage.server.psql(f"comment on function {procedure} is 'of another release'", database="shop")
    found.runs = run(
        [stage.root.play([include([site, old], tasks_from="server")] * 2), plays(stage, password="another: \\one")[1]]
    )
    return found


def test_what_is_absent_keeps_its_database_unless_told_otherwise(stage, removed):
    assert changed(removed.runs[0]) == [
        "Drop | Drop the database, as remove_data says",
        "Drop | Drop the account, as remove_data says",
        "Absent | Remove what was configured",
    ]
    assert stage.server.psql("select count(*) from pg_database where datname = 'site'") == "0"
    assert stage.server.psql("select count(*) from pg_roles where rolname = 'site'") == "0"
    assert stage.old.read() == removed.before
    assert [path.name for path in sorted(stage.root.etc.glob("relstorage-*"))] == ["relstorage-old.pgpass"]


def test_another_password_is_set_by_whoever_may_not_see_the_old_one(stage, removed):
    assert changed(removed.runs[1]) == [LAY, ROLE, SCHEMA, LAY_CLIENT]  # which tells the renewed procedure too
    assert opened(stage.user, "shop", stage.account, "second") == ["first", "second", "shop"]
