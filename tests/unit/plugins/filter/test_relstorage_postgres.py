# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of relstorage_postgres_storages: what they become, and what any host, or one and its server, has against."""

from __future__ import annotations

import copy
import pathlib
import re

import pytest
from ansible_collections.pyams.zodb.plugins.filter.entries import entries as _entries
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_clients import (
    relstorage_postgres_clients as clients,
)
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_complete import (
    relstorage_postgres_complete as complete,
)
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_plan import relstorage_postgres_plan as plan
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_questions import (
    relstorage_postgres_questions as questions,
)
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_refusals import (
    relstorage_postgres_refusals as refusals,
)

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "relstorage_postgres"
LOGIN = {
    "host": None,
    "port": 5432,
    "user": "postgres",
    "account": None,
    "passfile": None,
    "service": None,
    "sslmode": "prefer",
    "sslrootcert": None,
}
SETTINGS = {
    "server": "install",
    "version": "",
    "cluster": "main",
    "listen": ["localhost"],
    "port": 5432,
    "shared_buffers": "",
    "settings": {},
    "tls_cert": "",
    "tls_key": "",
    "tls_ca": "",
    "login": LOGIN,
    "host": "",
    "members": [],
    "synchronous": False,
    "slot_size": "10GB",
    "rejoin": False,
    "inventory_hostname": "db",
    "check_mode": False,
    "now": "20261127120000000000",
    "client_user": "pyams",
    "user": "zodb",
    "group": "zodb",
    "manage_user": True,
    "client_group": "zodb",
    "config_dir": "/etc/zodb",
    "data_dir": "/var/lib/zodb",
    "cache_dir": "/var/cache/zodb",
    "venv_dir": "/opt/zodb",
    "python": "/usr/bin/python3",
    "release": "latest",
    "releases": ["2026.11"],
    "pins": [],
    "extra_packages": [],
    "wheelhouse": "",
    "mail_server": "localhost:25",
    "mail_sender": "",
    "client": True,
    "allow_untested_platform": False,
}
EXISTING = {"server": "existing"}
TLS = {"tls_cert": "/etc/pki/pg.pem", "tls_key": "/etc/pki/pg.key", "tls_ca": "/etc/pki/ca.pem"}
NETWORK = {"listen": ["localhost", "10.0.0.1"], "host": "db.example.org", **TLS}
MB = 1024 * 1024
GB = 1024 * MB
HERE = 'relstorage_postgres_storages[0] "site": '
# STYLE: variable and value, what is wrong, what to do.
SENTENCE = re.compile(r'(relstorage_postgres_storages\[\d+\] "[^"]*": |relstorage_postgres_\w+|the )[^!]+; [^!]+\.')


def entries(written):
    """Return entries as the role's own spec completes them."""
    return _entries(written, str(ROLE), "relstorage_postgres_storages")


def one(**keys):
    return [{"name": "site", **keys}]


def refused(written, changed=None, host=None, server=None, tables=None):
    settings = {**SETTINGS, **(changed or {}), "login": {**LOGIN, **(changed or {}).get("login", {})}}
    found = refusals(entries(written), settings, host, server, tables)
    assert [sentence for sentence in found if not SENTENCE.fullmatch(sentence)] == []
    return found


def virgin(changed=None, **parts):
    """Return a Debian 12 of 8 GB without PostgreSQL, for whatever is asked of it; parts: replaced in it, key by key."""
    settings = {**SETTINGS, **(changed or {}), "login": {**LOGIN, **(changed or {}).get("login", {})}}
    asked = questions(entries(one()), settings)
    gone = {"exists": False, "type": None, "owner": None, "group": None, "mode": None, "mtime": None, "free": 50 * GB}
    folder = {**gone, "exists": True, "type": "directory", "owner": "root", "group": "root", "mode": "0755"}
    nobody = {"in_use": False, "error": None, "pid": None, "program": None, "unit": None}
    host = {
        "host": {
            "euid": 0,
            "user": "root",
            "systemd": True,
            "distribution": "debian",
            "version": "12",
            "memory": 8 * GB,
            "hostname": "db",
            "fqdn": "db.example.org",
        },
        "users": {user: {"exists": False, "gid": None} for user in asked["users"]},
        "groups": {group: {"exists": False} for group in asked["groups"]},
        "python": {"path": "/usr/bin/python3", "exists": True, "version": "3.11", "venv": True},
        "paths": {path: folder if path in ("/", "/etc", "/opt", "/var") else gone for path in asked["paths"]},
        "listens": dict.fromkeys(asked["listens"], nobody),
        "certificates": {
            one["cert"]: {"readable": True, "expired": False, "days_left": 90.0, "key_matches": True}
            for one in asked["certificates"]
        },
        "wheelhouse": None,
        "read": dict.fromkeys(asked["read"]),
    }
    for key, value in parts.items():
        host[key] = {**host[key], **value} if isinstance(value, dict) else value
    return host


def there(**more):
    info = {"exists": True, "type": "file", "owner": "root", "group": "root", "mode": "0644", "mtime": 100.0}
    return {**info, "free": 50 * GB, **more}


CLUSTER = {"/etc/postgresql/15/main/postgresql.conf": there()}
LISTENS = {"127.0.0.1:5432": {"in_use": True, "error": None, "pid": 7, "program": "postgres", "unit": None}}
OURS = {"127.0.0.1:5432": {**LISTENS["127.0.0.1:5432"], "unit": "postgresql@15-main.service"}}


def answered(**more):
    """Return what a PostgreSQL 15 without any of ours answers."""
    answer = {
        "version": 150018,
        "settings": {"config_file": "/etc/postgresql/15/main/postgresql.conf", "max_connections": "100"},
        "pending": [],
        "loaded": 200.0,
        "standby": False,
        "read_only": False,
        "slots": [],
        "standbys": [],
        "super": True,
        "may": True,
        "roles": {"postgres": True},
        "databases": {"postgres": {"owner": "postgres", "encoding": "UTF8"}},
    }
    return {**answer, **more}


def test_a_name_alone_is_a_complete_entry():
    (storage,) = complete(entries(one()), SETTINGS)
    assert (storage["title"], storage["dbname"], storage["user"]) == ("site", "site", "site")
    assert (storage["link"], storage["passfile"]) == ("/opt/zodb/relstorage-site", "/etc/zodb/relstorage-site.pgpass")
    assert storage["units"] == ["pack-relstorage-site.timer", "pack-relstorage-site.service"]
    assert (storage["pack_expected_days"], storage["has_password"]) == (9, False)
    assert refused(one()) == []


def test_no_password_is_in_a_completed_entry():
    (storage,) = complete(entries(one(password="correct horse")), SETTINGS)
    assert storage["has_password"]
    assert "correct" not in repr(storage)


def test_the_tools_own_section():
    (storage,) = complete(entries(one(keep_history=True, pack={"gc": False, "batch_timeout": 5})), SETTINGS)
    lines = [line.strip() for line in storage["asked"].splitlines()]
    assert {"keep-history true", "create-schema false", "pack-gc false", "pack-batch-timeout 5"} <= set(lines)
    assert (
        "dsn host='127.0.0.1' port='5432' dbname='site' user='site' passfile='/etc/zodb/relstorage-site.pgpass' "
        "connect_timeout='10'" in lines
    )


@pytest.mark.parametrize(
    ("written", "changed", "expected"),
    [
        pytest.param(one(), {}, {"host": ["/var/run/postgresql"], "port": 5432}, id="this host"),
        pytest.param(
            one(),
            NETWORK,
            {
                "host": ["db.example.org"],
                "sslmode": "verify-full",
                "sslrootcert": "/etc/pki/ca.pem",
                "connect_timeout": 2,
                "tcp_user_timeout": 4000,
            },
            id="over a network",
        ),
        pytest.param(
            one(client={"host": "10.0.0.9", "port": 6432}),
            NETWORK,
            {"host": ["10.0.0.9"], "port": 6432},
            id="elsewhere",
        ),
        pytest.param(
            one(),
            {**EXISTING, "tls_ca": "/etc/pki/ca.pem", "login": {**LOGIN, "host": "pg.example.org", "port": 5433}},
            {"host": ["pg.example.org"], "port": 5433, "sslmode": "verify-full"},
            id="existing server",
        ),
        pytest.param(one(keep_history=True), {}, {"keep_history": True, "create_schema": False}, id="history"),
    ],
)
def test_what_a_client_gets(written, changed, expected):
    settings = {**SETTINGS, **changed}
    (entry,) = clients(complete(entries(written), settings), settings, {"site": "secret of the site"})
    assert {key: entry["postgresql"][key] for key in expected} == expected
    assert (entry["name"], entry["postgresql"]["password"]) == ("site", "secret of the site")


@pytest.mark.parametrize(
    ("written", "changed", "expected"),
    [
        pytest.param([{"name": "Site"}], {}, "name Site cannot name units and folders; begin", id="name"),
        pytest.param(one() + one(), {}, "name site is that of an entry before; give each entry its own.", id="twice"),
        pytest.param(one(dbname='si"te'), {}, 'dbname si"te would have to be quoted wherever databases', id="quote"),
        pytest.param(one(user="o'brien"), {}, "user o'brien would have to be quoted wherever roles", id="role's quote"),
        pytest.param(one(dbname="template1"), {}, "dbname template1 is PostgreSQL's own database; choose", id="own db"),
        pytest.param(
            one(user="postgres"), {}, "user postgres is a role of the server's own; choose another.", id="own role"
        ),
        pytest.param(
            [*one(), {"name": "blog", "dbname": "site", "user": "blog"}],
            {},
            'dbname site is already that of "site"; a database takes one storage.',
            id="two storages in one database",
        ),
        pytest.param(
            [*one(), {"name": "blog", "user": "site"}],
            {},
            'user site is already that of "site"; give each database its own role.',
            id="one role for two",
        ),
        pytest.param(one(remove_data=True), {}, "remove_data true contradicts state present; say", id="removal"),
        pytest.param(one(password="short"), {}, "password has 5 characters; give 12 or more.", id="short password"),
        pytest.param(
            one(password="not\nprintable at all"), {}, "password holds what is no printable ASCII", id="odd password"
        ),
        pytest.param(one(clients=["10.0.0.5/24"]), NETWORK, "clients 10.0.0.5/24 is no address and no", id="network"),
        pytest.param(
            one(clients=["10.0.0.5"]),
            {},
            "clients 10.0.0.5 could not reach a server that listens on localhost; add an address to "
            "relstorage_postgres_listen.",
            id="clients of a server that nobody reaches",
        ),
        pytest.param(one(clients=["10.0.0.5"]), EXISTING, "clients is for a server that the role installs", id="hba"),
        pytest.param(one(pack={"schedule": "0 3 * * 0"}), {}, "pack.schedule ", id="schedule"),
        pytest.param(one(pack={"days": -1}), {}, "pack.days -1 would keep what is yet to come; write 0", id="days"),
        pytest.param(one(pack={"gc": False}), {}, "pack.gc false leaves a pack nothing to do where", id="idle pack"),
        pytest.param(one(pack={"batch_timeout": 0}), {}, "pack.batch_timeout 0 is no time in seconds;", id="batch"),
        pytest.param(one(pack={"report": ["me"]}), {}, "pack.report[0] me is no mail address; write", id="report"),
        pytest.param(one(client={"pool_size": 0}), {}, "client.pool_size 0 is too small to work with;", id="pool"),
        pytest.param(one(client={"blob_cache_size": "1 TB"}), {}, "client.blob_cache_size ", id="size"),
        pytest.param(
            one(),
            {**NETWORK, "tls_ca": ""},
            "client.host db.example.org is reached over a network, and relstorage_postgres_tls_ca is empty, by which "
            "clients know the server; name that certificate.",
            id="clients cannot verify",
        ),
    ],
)
def test_refused_of_an_entry_on_any_host(written, changed, expected):
    (sentence,) = refused(written, changed)
    assert re.sub(r'^relstorage_postgres_storages\[\d+\] "[^"]*": ', "", sentence).startswith(expected)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(
            {"version": "9.6"}, "relstorage_postgres_version 9.6 is no major version of PostgreSQL;", id="9.6"
        ),
        pytest.param({"cluster": "Ma-in"}, "relstorage_postgres_cluster Ma-in is no name of a cluster;", id="cluster"),
        pytest.param({"port": 70000}, "relstorage_postgres_port 70000 is no port; write one", id="port"),
        pytest.param({"listen": []}, "relstorage_postgres_listen is empty", id="listens nowhere"),
        pytest.param(
            {**NETWORK, "listen": ["10.0.0.1"]}, "relstorage_postgres_listen 10.0.0.1 lacks localhost", id="tools"
        ),
        pytest.param({"tls_cert": "/x.pem"}, "relstorage_postgres_tls_cert /x.pem is of no use without", id="no key"),
        pytest.param({"tls_ca": "ca.pem"}, "relstorage_postgres_tls_ca ca.pem is a relative path;", id="relative"),
        pytest.param({"shared_buffers": "lots"}, "relstorage_postgres_shared_buffers lots is no size;", id="buffers"),
        pytest.param(
            {"settings": {"port": 1}},
            "relstorage_postgres_settings port has a variable of its own; write relstorage_postgres_port instead.",
            id="setting of ours",
        ),
        pytest.param({"settings": {"Work mem": 1}}, 'relstorage_postgres_settings "Work mem" is no name', id="setting"),
        pytest.param(
            {"settings": {"work_mem": ["4MB"]}}, "relstorage_postgres_settings work_mem is neither text", id="list"
        ),
        pytest.param({"login": {"host": "db"}}, "relstorage_postgres_login is for a server that is there;", id="login"),
        pytest.param(
            {**EXISTING, "login": {"sslmode": "verify-full"}},
            "relstorage_postgres_login.sslmode verify-full verifies with sslrootcert, which is missing; give it.",
            id="nothing to verify with",
        ),
        pytest.param(
            {**EXISTING, "tls_ca": "/ca.pem", "login": {"host": "db.example.org"}},
            "relstorage_postgres_login.host db.example.org is reached over a network, where sslmode prefer believes "
            "whoever answers; set verify-full, and sslrootcert.",
            id="unverified",
        ),
        pytest.param({"client_user": "a b"}, 'relstorage_postgres_client_user "a b" is no name', id="account"),
        pytest.param({"release": "2020.01"}, "relstorage_postgres_release 2020.01 does not ship", id="release"),
    ],
)
def test_refused_of_the_settings(changed, expected):
    (sentence,) = refused(one(), changed)
    assert sentence.startswith(expected)


@pytest.mark.parametrize(
    ("changed", "parts", "expected"),
    [
        pytest.param(
            {"version": "15"},
            {"host": {"version": "11"}},
            "relstorage_postgres_allow_untested_platform false",
            id="platform",
        ),
        pytest.param(
            {}, {"host": {"systemd": False}}, "relstorage_postgres_server install takes systemd", id="no systemd"
        ),
        pytest.param(
            {"cluster": "second"},
            {},
            "relstorage_postgres_cluster second is not there, and the role only makes main; make it with "
            "pg_createcluster 15 second.",
            id="cluster to be made",
        ),
        pytest.param(
            {},
            {"paths": {**CLUSTER, "/etc/postgresql/17/main/postgresql.conf": there()}},
            "relstorage_postgres_cluster main is there for PostgreSQL 15 and 17; say which in "
            "relstorage_postgres_version.",
            id="two clusters",
        ),
        pytest.param(
            {},
            {"listens": {"127.0.0.1:5432": {**LISTENS["127.0.0.1:5432"], "unit": "other.service"}}},
            "relstorage_postgres_port 5432 is held by other.service; stop that, or choose another port.",
            id="port held",
        ),
        pytest.param(
            {}, {"listens": LISTENS}, "relstorage_postgres_port 5432 is held by process 7;", id="held, unseen"
        ),
        pytest.param({}, {"paths": {"/etc": there(free=99 * MB)}}, "the disk of this host has 99 MB free", id="disk"),
        pytest.param(NETWORK, {}, "relstorage_postgres_tls_cert /etc/pki/pg.pem is not there; put it", id="no cert"),
        pytest.param(
            NETWORK,
            {
                "paths": {"/etc/pki/pg.pem": there(), "/etc/pki/pg.key": there()},
                "certificates": {"/etc/pki/pg.pem": {"readable": True, "expired": False, "key_matches": False}},
            },
            "relstorage_postgres_tls_key /etc/pki/pg.key is not the key of /etc/pki/pg.pem; give the right one.",
            id="another key",
        ),
        pytest.param(
            {**EXISTING, "login": {"passfile": "/etc/zodb/admin.pgpass"}},
            {},
            "relstorage_postgres_login.passfile /etc/zodb/admin.pgpass is not there; write",
            id="no passfile",
        ),
        pytest.param(
            {**EXISTING, "login": {"passfile": "/etc/zodb/admin.pgpass"}},
            {"paths": {"/etc/zodb/admin.pgpass": there(mode="0640")}},
            "relstorage_postgres_login.passfile /etc/zodb/admin.pgpass can be read by others, so that libpq ignores",
            id="open passfile",
        ),
        pytest.param(
            {"client_user": ""}, {}, HERE + "its password is laid for the application's account", id="account"
        ),
        pytest.param(
            EXISTING, {"host": {"systemd": False}}, HERE + "pack.enabled true takes root and systemd", id="no timer"
        ),
        pytest.param(
            {},
            {"read": {"/etc/zodb/relstorage-site.toml": "  keep-history true\n"}},
            HERE
            + "dbname site keeps history, which was decided when it was made; set keep_history to true, or move to "
            "a new database with the playbook pyams.zodb.migrate.",
            id="history mode changed",
        ),
    ],
)
def test_refused_on_a_host(changed, parts, expected):
    (sentence,) = refused(one(), changed, virgin(changed, **parts))
    assert sentence.startswith(expected)


@pytest.mark.parametrize(
    ("written", "answer", "tables", "expected"),
    [
        pytest.param(
            one(), {"version": 90624}, None, "the server is PostgreSQL 9.6, and RelStorage takes 10", id="old"
        ),
        pytest.param(
            one(), {"standby": True}, None, "the server is a standby, which takes no writes; run", id="standby"
        ),
        pytest.param(
            one(), {"read_only": True}, None, "the server takes no writes of postgres, for whom", id="read-only"
        ),
        pytest.param(one(), {"may": False}, None, "relstorage_postgres_login.user postgres may not make", id="rights"),
        pytest.param(
            one(),
            {"settings": {"config_file": "/etc/postgresql/15/other/postgresql.conf", "max_connections": "100"}},
            None,
            "relstorage_postgres_port 5432 is that of the server of /etc/postgresql/15/other/postgresql.conf, not of "
            "/etc/postgresql/15/main/postgresql.conf; name its cluster, or another port.",
            id="port of another cluster",
        ),
        pytest.param(
            one(),
            {"databases": {"site": {"owner": "bob", "encoding": "UTF8"}}},
            None,
            HERE + "dbname site belongs to bob already; name another database, or bob as user.",
            id="owner",
        ),
        pytest.param(
            one(),
            {"databases": {"site": {"owner": "site", "encoding": "SQL_ASCII"}}},
            None,
            HERE + "dbname site has the encoding SQL_ASCII, not UTF8; name another database.",
            id="encoding",
        ),
        pytest.param(
            one(password="correct horse"),
            {"roles": {"site": True}},
            None,
            HERE + "user site may do more than log in",
            id="mighty role",
        ),
        pytest.param(
            one(),
            {"roles": {"site": False}},
            None,
            HERE + "user site is there already, and its password is not known here; give it in password.",
            id="password of somebody's role",
        ),
        pytest.param(
            one(client={"pool_size": 60}),
            {},
            None,
            HERE
            + "client.pool_size 60 takes up to 120 connections per process, and the server has 97; make it smaller,"
            " or raise max_connections.",
            id="too few connections",
        ),
        pytest.param(
            one(),
            {},
            {"site": {"customers": "site"}},
            HERE + "dbname site holds tables of something else, such as customers; name another database.",
            id="not RelStorage's",
        ),
        pytest.param(
            one(),
            {},
            {"site": {"object_state": "site", "blob_chunk": "bob"}},
            HERE
            + "dbname site has the table blob_chunk of bob, whose stored procedures site could not renew; name bob "
            "as user, or give it to site.",
            id="table of another",
        ),
        pytest.param(
            one(keep_history=True),
            {},
            {"site": {"object_state": "site"}},
            HERE + "dbname site keeps no history, which was decided when it was made; set keep_history to false",
            id="history of an adopted one",
        ),
    ],
)
def test_refused_of_a_server(written, answer, tables, expected):
    host = virgin(paths=CLUSTER, listens=OURS)
    (sentence,) = refused(written, {}, host, answered(**answer), tables)
    assert sentence.startswith(expected)


def test_a_relstorage_that_is_there_is_adopted():
    answer = answered(databases={"site": {"owner": "site", "encoding": "UTF8"}}, roles={"site": False})
    host = virgin(paths=CLUSTER, listens=OURS)
    written = one(password="correct horse")
    assert refused(written, {}, host, answer, {"site": {"object_state": "site", "new_oid": "site"}}) == []
    assert plan(complete(entries(written), SETTINGS), SETTINGS, host, answer)["adopted"] == ["site"]


def test_nothing_is_known_of_the_files_of_a_server_that_is_there():
    answer = answered(settings={"max_connections": "100"})
    assert refused(one(), EXISTING, virgin(EXISTING), answer) == []
    old = {**answer, "version": 90624}
    assert refused(one(), EXISTING, virgin(EXISTING), old) == [
        "the server is PostgreSQL 9.6, and RelStorage takes 10 or newer; upgrade it."
    ]


def test_nothing_is_refused_on_a_virgin_host():
    assert refused(one(), {}, virgin()) == []
    assert refused(one(), {**EXISTING, "login": {"host": "/run/pg"}}, virgin(EXISTING)) == []


@pytest.mark.parametrize(
    ("changed", "parts", "expected"),
    [
        pytest.param(
            {},
            {},
            {
                "version": "15",
                "there": False,
                "up": False,
                "shared_buffers": "2048MB",
                "unit": "postgresql@15-main.service",
            },
            id="virgin Debian 12",
        ),
        pytest.param({}, {"host": {"version": "13"}}, {"version": "17"}, id="Debian 13"),
        pytest.param({}, {"paths": CLUSTER, "listens": OURS}, {"there": True, "up": True}, id="there"),
        pytest.param({"version": "16"}, {}, {"version": "16", "folder": "/etc/postgresql/16/main"}, id="version"),
        pytest.param({}, {"host": {"memory": 64 * GB}}, {"shared_buffers": "8192MB"}, id="large memory"),
        pytest.param({}, {"host": {"memory": 256 * MB}}, {"shared_buffers": "128MB"}, id="small memory"),
        pytest.param({"shared_buffers": "512 KB"}, {}, {"shared_buffers": "512kB"}, id="PostgreSQL's kilobytes"),
        pytest.param(EXISTING, {}, {"version": None, "folder": None, "there": True, "up": True}, id="existing"),
    ],
)
def test_plan(changed, parts, expected):
    settings = {**SETTINGS, **changed}
    found = plan(complete(entries(one()), settings), settings, virgin(changed, **parts))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("changed", "euid", "account", "params"),
    [
        pytest.param({}, 0, "postgres", {"host": "/var/run/postgresql", "port": 5432}, id="installed"),
        pytest.param(EXISTING, 0, "postgres", {"host": "/var/run/postgresql"}, id="existing, by its socket"),
        pytest.param({**EXISTING, "login": {"passfile": "/p"}}, 0, None, {"passfile": "/p"}, id="by password"),
        pytest.param({**EXISTING, "login": {"host": "db", "user": "admin"}}, 0, None, {"host": "db"}, id="network"),
        pytest.param({**EXISTING, "login": {"account": "dba"}}, 0, "dba", {}, id="another account"),
        pytest.param(EXISTING, 1000, None, {"host": "/var/run/postgresql"}, id="an ordinary user's own"),
    ],
)
def test_how_an_administrator_logs_in(changed, euid, account, params):
    settings = {**SETTINGS, **changed, "login": {**LOGIN, **changed.get("login", {})}}
    found = plan(complete(entries(one()), settings), settings, virgin(changed, host={"euid": euid}))["login"]
    assert found["account"] == account
    assert {key: found["params"][key] for key in params} == params


def test_files_that_the_server_has_not_read_yet():
    conf = {"/etc/postgresql/15/main/conf.d/zodb.conf": there(mtime=100.0)}
    host = virgin(paths={**CLUSTER, **conf}, listens=OURS)
    storages = complete(entries(one()), SETTINGS)
    assert plan(storages, SETTINGS, host, answered(loaded=200.0))["loaded"]
    assert not plan(storages, SETTINGS, host, answered(loaded=50.0))["loaded"]
    assert plan(storages, SETTINGS, host)["loaded"] is None


def test_questions_change_nothing():
    written = entries(one(password="correct horse"))
    before = copy.deepcopy(written)
    assert "correct" not in repr(questions(written, SETTINGS))
    assert written == before
