# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of RelStorage: every text is read by ZConfig with RelStorage's own schema, which needs no driver."""

from __future__ import annotations

import io

import pytest
import relstorage.zodbpack
import ZConfig
import ZODB.config
from ansible_collections.pyams.zodb.plugins.module_utils._storage import (
    Refused,
    files_of,
    for_reading,
    normalise,
    render,
    render_pack,
    secrets_of,
)

WAITS = {"connect_timeout": 2, "tcp_user_timeout": 4000}
SEVERAL = {**WAITS, "target_session_attrs": "read-write"}
PASSWORDS = [
    "plain",
    "with blank",
    "do$lar",
    "$$two $(ENV) ${x}",
    "it's",
    'dou"ble',
    "back\\slash\\",
    "\\'",
    "a=b host=evil",
    "# no comment",
    "%define",
    "<sqlite3/>",
    "käse ∞ 🧀",
]


def pg(**options):
    return {"postgresql": {"dbname": "site", **options}}


def parsed(text):
    """Return the section of a storage as ZODB's schema reads it, with RelStorage's as the text imports it."""
    return ZConfig.loadConfigFile(ZODB.config.getStorageSchema(), io.StringIO(text))[0].storage.config


def libpq(dsn):
    """Return a DSN as libpq reads it: values in single quotes, where a backslash takes the next character as it is."""
    found, rest = {}, dsn
    while rest:
        name, _equals, rest = rest.partition("='")
        value = ""
        while not rest.startswith("'"):
            if rest.startswith("\\"):
                rest = rest[1:]
            value, rest = value + rest[0], rest[1:]
        found[name] = value
        assert rest == "'" or rest.startswith("' ")
        rest = rest[2:]
    return found


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        pytest.param(
            pg(),
            "%import relstorage\n<relstorage>\n  keep-history false\n  cache-local-mb 100\n  pack-gc true\n"
            "  read-only false\n  name postgresql://localhost:5432/site\n  <postgresql>\n    dsn dbname='site'\n"
            "  </postgresql>\n</relstorage>\n",
            id="postgresql, all defaults",
        ),
        pytest.param(
            {"sqlite": {"data_dir": "/srv/site", "blob_dir": "/srv/blobs", "keep_history": True}},
            "%import relstorage\n<relstorage>\n  keep-history true\n  blob-dir /srv/blobs\n  shared-blob-dir false\n"
            "  blob-cache-size 1GB\n  cache-local-mb 100\n  pack-gc true\n  read-only false\n"
            "  name sqlite:///srv/site\n  <sqlite3>\n    data-dir /srv/site\n  </sqlite3>\n</relstorage>\n",
            id="sqlite with blobs and history",
        ),
        pytest.param(
            {"mysql": {"db": "site", "host": "db1", "user": "u", "read_default_file": "/etc/my.cnf"}},
            "%import relstorage\n<relstorage>\n  keep-history false\n  cache-local-mb 100\n  pack-gc true\n"
            "  read-only false\n  name mysql://db1:3306/site\n  <mysql>\n    host db1\n    db site\n    user u\n"
            "    read_default_file /etc/my.cnf\n  </mysql>\n</relstorage>\n",
            id="mysql",
        ),
    ],
)
def test_render(description, expected):
    assert render(description) == expected


def test_relstorage_options_arrive():
    section = parsed(
        render(
            pg(
                keep_history="yes",
                blob_dir="/srv/b$lobs",
                shared_blob_dir=True,
                blob_cache_size="2 gb",
                cache_local_mb="256",
                cache_local_dir="/var/cache/site",
                commit_lock_timeout=60,
                create_schema=False,
                pack_gc="no",
                read_only=True,
                name="site $1",
                driver="psycopg2",
                replica_conf="/etc/replicas.conf",
                replica_timeout=30,
                revert_when_stale=True,
                target_session_attrs="any",
            )
        )
    )
    assert section.keep_history
    assert (section.blob_dir, section.shared_blob_dir, section.blob_cache_size) == ("/srv/b$lobs", True, 2 * 1024**3)
    assert (section.cache_local_mb, section.cache_local_dir) == (256, "/var/cache/site")
    assert (section.commit_lock_timeout, section.create_schema, section.pack_gc) == (60, False, False)
    assert (section.read_only, section.name, section.adapter.config.driver) == (True, "site $1", "psycopg2")
    assert (section.replica_conf, section.replica_timeout) == ("/etc/replicas.conf", 30)
    assert section.revert_when_stale


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_arrives_as_it_is(password):
    description = pg(user="o'x", password=password)
    section = parsed(render(description, secrets=True))
    assert libpq(section.adapter.config.dsn) == {"dbname": "site", "user": "o'x", "password": password}
    assert secrets_of(description) == [password]
    description = {"mysql": {"db": "site", "password": password}}
    assert parsed(render(description, secrets=True)).adapter.config.passwd == password
    assert secrets_of(description) == [password]
    description = {"oracle": {"user": "u", "dsn": "db1:1521/x", "password": password}}
    assert parsed(render(description, secrets=True)).adapter.config.password == password
    assert secrets_of(description) == [password]


def test_newt_is_opened_as_postgresql():
    options = {"dbname": "site", "user": "o'x", "host": ["db1", "::1"], **SEVERAL, "blob_dir": "/b", "passfile": "/p"}
    description = {"newt": options}
    text = render(description)
    assert parsed(text).adapter.config.getSectionType() == "postgresql"
    assert text == render(pg(**options))
    assert render_pack(description) == render_pack(pg(**options))
    assert render(for_reading(description)) == render(for_reading(pg(**options)))
    assert files_of(description) == ["/p"]
    assert secrets_of({"newt": {"dbname": "site", "password": "hunter2"}}) == ["hunter2"]


@pytest.mark.parametrize("kind", ["postgresql", "newt", "mysql", "mariadb", "oracle"])
def test_a_password_is_in_no_name(kind):
    """RelStorage names a storage by its DSN, less the words that begin with "password"."""
    given = {"dbname": "site"} if kind in ("postgresql", "newt") else {"db": "site"}
    given = {"user": "u", "dsn": "x"} if kind == "oracle" else given
    text = render({kind: {**given, "password": "first second"}}, secrets=True)
    (name,) = [line for line in text.splitlines() if line.startswith("  name ")]
    assert "second" not in name


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"host": "db1"}, {"host": "db1"}, id="name"),
        pytest.param({"host": "db1", "port": "5433"}, {"host": "db1", "port": "5433"}, id="name, port"),
        pytest.param({"host": "db1:5433"}, {"host": "db1", "port": "5433"}, id="name with port"),
        pytest.param({"host": "::1"}, {"host": "::1"}, id="IPv6"),
        pytest.param({"host": "[::1]"}, {"host": "::1"}, id="IPv6 in brackets"),
        pytest.param({"host": "[2001:db8::1]:5433"}, {"host": "2001:db8::1", "port": "5433"}, id="IPv6 with port"),
        pytest.param({"host": "/run/postgresql"}, {"host": "/run/postgresql"}, id="socket"),
        pytest.param(
            {"host": ["db1", "db2:5433"], "port": 6432, **SEVERAL},
            {"host": "db1,db2", "port": "6432,5433"},
            id="two, one with port",
        ),
        pytest.param({"host": ["db1", "db2"], "port": 6432, **SEVERAL}, {"host": "db1,db2", "port": "6432"}, id="two"),
        pytest.param(
            {"host": ["db1", "::1", "/run/pg", "[::2]:1"], **SEVERAL},
            {"host": "db1,::1,/run/pg,::2", "port": "5432,5432,5432,1"},
            id="four",
        ),
    ],
)
def test_hosts(options, expected):
    found = libpq(parsed(render(pg(**options))).adapter.config.dsn)
    assert {name: found.get(name) for name in ("host", "port")} == {"host": None, "port": None, **expected}


def test_libpq_options_arrive():
    options = {
        "user": "site user",
        "passfile": "/etc/zodb/pass file",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
        "sslcert": "/etc/c.pem",
        "sslkey": "/etc/c.key",
        "connect_timeout": 2,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 4000,
        "target_session_attrs": "read-write",
        "application_name": "web1 of 'site'",
    }
    dsn = libpq(parsed(render(pg(**options))).adapter.config.dsn)
    assert dsn == {"dbname": "site", **{name: str(value) for name, value in options.items()}}
    assert files_of(pg(**options)) == ["/etc/zodb/pass file", "/etc/ca.pem", "/etc/c.pem", "/etc/c.key"]
    assert libpq(parsed(render({"postgresql": {"service": "a$b"}})).adapter.config.dsn) == {"service": "a$b"}


def test_sqlite_opens(tmp_path):
    place = tmp_path / "da ta$"
    place.mkdir()
    storage = parsed(render({"sqlite": {"data_dir": str(place)}}))
    assert storage.adapter.config.data_dir == str(place)


def test_mysql_options_arrive():
    section = parsed(
        render(
            {
                "mysql": {
                    "unix_socket": "/run/my sql.sock",
                    "db": "si$te",
                    "user": "u",
                    "read_default_file": "/etc/my.cnf",
                    "read_default_group": "site",
                    "connect_timeout": 3,
                    "compress": True,
                    "driver": "PyMySQL",
                }
            }
        )
    ).adapter.config
    assert (section.unix_socket, section.db, section.user) == ("/run/my sql.sock", "si$te", "u")
    assert (section.read_default_file, section.read_default_group) == ("/etc/my.cnf", "site")
    assert (section.connect_timeout, section.compress, section.driver) == (3, True, "PyMySQL")
    assert parsed(render({"mysql": {"db": "x", "host": "::1"}})).adapter.config.host == "::1"


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(pg(host=["db1:1", "::1"], **SEVERAL, blob_dir="/b"), id="postgresql"),
        pytest.param(pg(host="db1:5433", user="u", password="p", driver="pg8000"), id="pg8000"),
        pytest.param({"newt": {"dbname": "site", "host": "db1"}}, id="newt"),
        pytest.param({"mysql": {"db": "x", "host": "::1", "port": "3307"}}, id="mysql"),
        pytest.param({"mariadb": {"db": "x", "password": "p"}}, id="mariadb"),
        pytest.param({"oracle": {"user": "x", "password": "p", "dsn": "d"}}, id="oracle"),
        pytest.param({"sqlite": {"data_dir": "/x"}}, id="sqlite"),
    ],
)
def test_what_is_normal_stays_as_it_is(description):
    once = normalise(description)
    assert normalise(once) == once
    assert normalise(for_reading(once)) == for_reading(description)
    ((_kind, options),) = for_reading(description).items()
    assert (options["read_only"], options["create_schema"]) == (True, False)


@pytest.mark.parametrize("shared", [False, True])
def test_a_packer_has_no_caches_and_makes_no_tables(shared):
    text = render_pack(pg(blob_dir="/b", shared_blob_dir=shared, cache_local_dir="/c", create_schema=True))
    schema = ZConfig.loadSchemaFile(io.StringIO(relstorage.zodbpack.schema_xml))
    ((storage,),) = [ZConfig.loadConfigFile(schema, io.StringIO(text))[0].storages]
    assert storage.config.blob_dir == ("/b" if shared else None)
    assert (storage.config.cache_local_dir, storage.config.create_schema) == (None, False)


CONTROL = "holds a line end or another control character; a ZConfig value is one line, take it out."


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        pytest.param(
            {"postgresql": {}}, "postgresql.dbname is missing; give it, or a service that does.", id="no dbname"
        ),
        pytest.param(
            pg(dsn="dbname=site password=hunter2"),
            "postgresql.dsn is made of host, port, dbname, user and the other options of libpq; give those, or the "
            "section as zconfig.",
            id="a whole DSN, not shown",
        ),
        pytest.param(pg(hosts=["db1"]), "postgresql.hosts is called host, which takes one or several.", id="hosts"),
        pytest.param(
            pg(password="hunter2"),
            "postgresql.password would stand in a file that the application reads; give a passfile, which holds it.",
            id="password in a file",
        ),
        pytest.param(
            {"mysql": {"db": "x", "password": "hunter2"}},
            "mysql.password would stand in a file that the application reads; give a read_default_file, whose section "
            "client holds it.",
            id="mysql, password in a file",
        ),
        pytest.param(
            {"oracle": {"user": "x", "dsn": "x", "password": "hunter2"}},
            "oracle.password would stand in a file that the application reads; write the section yourself, as zconfig.",
            id="oracle, password in a file",
        ),
        pytest.param(pg(password="hunter2\nread-only true"), f"postgresql.password {CONTROL}", id="password, line end"),
        pytest.param(
            pg(password=" hunter2"),
            "postgresql.password is empty, has blanks around it, or is no text; write it as a text without them.",
            id="password, blank, not shown",
        ),
        pytest.param(
            pg(password=["hunter2"]),
            "postgresql.password is empty, has blanks around it, or is no text; write it as a text without them.",
            id="password, no text",
        ),
        pytest.param(
            pg(password="hunter2", passfile="/p"),
            "postgresql.password and passfile are both given; keep one of them.",
            id="password twice",
        ),
        pytest.param(pg(user="a\0b"), f"postgresql.user {CONTROL}", id="control character"),
        pytest.param(
            pg(host="db 1"), 'postgresql.host db 1: "db 1" is neither a host name nor an address.', id="blank in host"
        ),
        pytest.param(
            pg(host="db1,db2"),
            'postgresql.host db1,db2: "db1,db2" is neither a host name nor an address.',
            id="comma in host",
        ),
        pytest.param(
            pg(host="db1:"), "postgresql.host db1:: the port is no number from 1 to 65535.", id="colon without port"
        ),
        pytest.param(pg(host="::g"), "postgresql.host ::g: [::g] is no IPv6 address.", id="no IPv6"),
        pytest.param(
            pg(host="0.0.0.0"),
            "postgresql.host 0.0.0.0 is where a server listens, not where a client finds it; write its host name.",
            id="any address",
        ),
        pytest.param(
            pg(host="run/postgresql"),
            "postgresql.host run/postgresql is a relative path, which each process resolves from its own folder; "
            "write an absolute one.",
            id="relative socket",
        ),
        pytest.param(pg(host=[]), "postgresql.host is an empty list; name at least one host.", id="no host"),
        pytest.param(
            pg(host=["db1", "db1"], **SEVERAL), "postgresql.host db1 is named twice; keep it once.", id="host twice"
        ),
        pytest.param(
            pg(port="postgres"), 'postgresql.port "postgres" is no number from 1 to 65535.', id="port, a word"
        ),
        pytest.param(pg(port=0), 'postgresql.port "0" is no number from 1 to 65535.', id="port 0"),
        pytest.param(
            pg(host=["db1", "db2"], target_session_attrs="read-write", connect_timeout=2),
            "postgresql.host is a list, but tcp_user_timeout is missing, without which a silent host holds a client "
            "for minutes; give both, such as 2 (seconds) and 4000 (milliseconds).",
            id="hosts without a timeout",
        ),
        pytest.param(
            pg(host=["db1", "db2"], **WAITS),
            "postgresql.host, a list, is given, but target_session_attrs is missing, without which a standby that "
            "answers first is taken; give read-write, or prefer-standby to those who only read.",
            id="hosts without target_session_attrs",
        ),
        pytest.param(
            pg(replica_conf="/r"),
            "postgresql.replica_conf is given, but target_session_attrs is missing, without which a standby that "
            "answers first is taken; give read-write, or prefer-standby to those who only read.",
            id="replica_conf without target_session_attrs",
        ),
        pytest.param(
            pg(host=["db1", "db2"], replica_conf="/r", **SEVERAL),
            "postgresql.host is a list, and replica_conf is given too; name the hosts in one of them.",
            id="hosts twice",
        ),
        pytest.param(
            pg(ro_replica_conf="/r"),
            "postgresql.ro_replica_conf reads from a standby that lags, so that most commits conflict; leave it out, "
            "and let readers have a storage of their own, with read_only.",
            id="ro_replica_conf",
        ),
        pytest.param(
            pg(revert_when_stale=True),
            "postgresql.revert_when_stale is true, but RelStorage only reverts with a replica_conf; give one.",
            id="revert without replica_conf",
        ),
        pytest.param(
            pg(target_session_attrs="master"),
            'postgresql.target_session_attrs "master" is none of any, read-write, read-only, primary, standby, '
            "prefer-standby.",
            id="no choice",
        ),
        pytest.param(
            pg(sslmode="verify-full"),
            "postgresql.sslmode is verify-full, but sslrootcert is missing; give the certificate of the authority that "
            "it verifies with.",
            id="nothing to verify with",
        ),
        pytest.param(
            pg(sslmode="require", sslrootcert="/ca"),
            "postgresql.sslrootcert is given, but sslmode does not verify with it; set sslmode to verify-full.",
            id="not verified",
        ),
        pytest.param(
            pg(sslmode="verify-ca", sslrootcert="/ca", host="/run/postgresql"),
            "postgresql.host /run/postgresql is a socket, over which PostgreSQL does not speak TLS; take sslmode out.",
            id="TLS over a socket",
        ),
        pytest.param(pg(sslcert="/c"), "postgresql.sslcert is given, but sslkey is missing; give both.", id="no key"),
        pytest.param(
            pg(driver="pg8000", sslmode="require"),
            "postgresql.driver is pg8000, which knows nothing of sslmode; take it out, or take psycopg2.",
            id="pg8000, TLS",
        ),
        pytest.param(
            pg(driver="pg8000", host=["a", "b"], **SEVERAL),
            "postgresql.driver is pg8000, which knows nothing of connect_timeout; take it out, or take psycopg2.",
            id="pg8000, hosts",
        ),
        pytest.param(
            pg(driver="gevent pg8000", password="a b"),
            "postgresql.password has a blank, an equals sign, a quote or a backslash, which RelStorage does not hand "
            "on to gevent pg8000; change it, or take psycopg2.",
            id="pg8000, quoting",
        ),
        pytest.param(
            pg(shared_blob_dir=True),
            "postgresql.shared_blob_dir is true, but blob_dir is missing; give the folder that is shared.",
            id="shared_blob_dir without blob_dir",
        ),
        pytest.param(
            pg(blob_dir="/c", cache_local_dir="/c/"),
            "postgresql.cache_local_dir /c is the folder of blobs too; give it a folder of its own.",
            id="cache in the blobs",
        ),
        pytest.param(pg(cache_local_mb=-1), 'postgresql.cache_local_mb "-1" is not a whole number.', id="negative"),
        pytest.param({"newt": {}}, "newt.dbname is missing; give it, or a service that does.", id="newt, no dbname"),
        pytest.param(
            {"newt": {"dbname": "site", "dsn": "dbname=site password=hunter2"}},
            "newt.dsn is made of host, port, dbname, user and the other options of libpq; give those, or the section "
            "as zconfig.",
            id="newt, dsn",
        ),
        pytest.param(
            {"newt": {"dbname": "site", "host": ["db1", "db2"], **WAITS}},
            "newt.host, a list, is given, but target_session_attrs is missing, without which a standby that answers "
            "first is taken; give read-write, or prefer-standby to those who only read.",
            id="newt, hosts",
        ),
        pytest.param(
            {"newt": {"dbname": "site", "driver": "pg8000", "sslmode": "require"}},
            "newt.driver is pg8000, which knows nothing of sslmode; take it out, or take psycopg2.",
            id="newt, pg8000",
        ),
        pytest.param({"sqlite": {}}, "sqlite.data_dir is missing; give it.", id="sqlite, no folder"),
        pytest.param(
            {"sqlite": {"data_dir": "/x", "blob_dir": "/x/"}},
            "sqlite.blob_dir /x is the data_dir too; blobs need a folder of their own.",
            id="sqlite, blobs in it",
        ),
        pytest.param(
            {"sqlite": {"data_dir": "/x", "cache_local_dir": "/y"}},
            "sqlite.cache_local_dir is ignored by RelStorage, since SQLite has its own files; leave it out.",
            id="sqlite, cache",
        ),
        pytest.param({"mysql": {}}, "mysql.db is missing; give it.", id="mysql, no db"),
        pytest.param(
            {"mysql": {"db": "x", "host": "db1:3306"}},
            "mysql.host db1:3306: the port has an option of its own; write it there.",
            id="mysql, port in host",
        ),
        pytest.param(
            {"mariadb": {"db": "x", "host": "db1", "unix_socket": "/s"}},
            "mariadb.unix_socket is given, and host or port too; keep one of them.",
            id="mariadb, socket and host",
        ),
        pytest.param(
            {"mariadb": {"db": "x", "passwd": "hunter2"}},
            "mariadb.passwd is called password, as in every kind.",
            id="mariadb, passwd",
        ),
        pytest.param(
            {"mysql": {"db": "x", "read_default_group": "g"}},
            "mysql.read_default_group is given, but read_default_file is missing; give both.",
            id="mysql, group of no file",
        ),
        pytest.param(
            {"mysql": {"db": "x", "password": "hunter2", "read_default_file": "/f"}},
            "mysql.password and read_default_file are both given; keep one of them.",
            id="mysql, password twice",
        ),
        pytest.param({"oracle": {"user": "x", "dsn": "x"}}, "oracle.password is missing; give it.", id="oracle"),
        pytest.param(
            {"config_file": {"path": "/etc/convert.conf", "section": "the source"}},
            'config_file.section "the source": ZConfig takes no blanks and no parentheses in the name of a section; '
            "write the name as it stands in the file.",
            id="config_file, section",
        ),
        pytest.param(
            {"config_file": {"path": "/etc/convert.conf", "section": "source"}},
            "config_file.path /etc/convert.conf is read by ZConfig, on the host where the storage is opened; nothing "
            "can be made of it here, give the section as zconfig.",
            id="config_file, no text",
        ),
    ],
)
def test_refused(description, sentence):
    with pytest.raises(Refused) as refusal:
        render(description)
    assert str(refusal.value) == sentence
