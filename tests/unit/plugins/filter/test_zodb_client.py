# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role zodb_client lays and refuses, from entries as its argument spec completes them."""

from __future__ import annotations

import configparser
import pathlib

import pytest
import yaml
import ZConfig
import ZODB.config
from ansible_collections.pyams.zodb.plugins.filter.entries import entries
from ansible_collections.pyams.zodb.plugins.filter.zodb_client_layout import zodb_client_layout
from ansible_collections.pyams.zodb.plugins.filter.zodb_client_refusals import zodb_client_refusals
from ansible_collections.pyams.zodb.plugins.module_utils._client import KINDS, MAYBE
from ansible_collections.pyams.zodb.plugins.module_utils._client_packages import packages
from ansible_collections.pyams.zodb.plugins.module_utils._storage import documentation
from relstorage.adapters.replica import ReplicaSelector

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "zodb_client"
SETTINGS = {
    "group": "zodb",
    "manage_group": True,
    "config_dir": "/etc/zodb",
    "cache_dir": "/var/cache/zodb",
    "virtualenv": "",
    "install_packages": False,
    "wheelhouse": "",
    "user": "",
    "restart_units": [],
    "allow_untested_platform": False,
    "check_mode": False,
    "root": True,
}
ZEO = {"server": "zeo:8100"}
TLS = {"ca": "/etc/ca.pem", "cert": "/etc/client.crt", "key": "/etc/client.key"}
SITE = {"name": "site", "zeo": ZEO}
PG = {"dbname": "site", "user": "zodb", "host": ["db1"]}
WAITS = {"connect_timeout": 2, "tcp_user_timeout": 4000}
SEVERAL = {**PG, **WAITS, "host": ["db1", "db2", "db3"], "target_session_attrs": "read-write"}
KEEPALIVES = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3}
ORACLE = {"user": "zodb", "password": "swordfish", "dsn": "db1:1521/site"}
# A storage of each kind that is a server's, as a user would write it.
SERVERS = {
    "postgresql": PG,
    "newt": PG,
    "mysql": {"db": "site", "host": "db1"},
    "mariadb": {"db": "site", "host": "db1"},
    "oracle": ORACLE,
}


def complete(*given):
    return entries(list(given), ROLE, "zodb_client_storages")


def layout(*given, **settings):
    return zodb_client_layout(complete(*given), {**SETTINGS, **settings})


def content(plan, path):
    (found,) = [file["content"] for file in plan["files"] if file["path"] == path]
    return found


def test_the_spec_offers_what_the_storage_s_description_takes():
    """Word for word, but for what the role completes, who makes the tables, and where passwords and hosts are laid."""
    options = yaml.safe_load(ROLE.joinpath("meta", "argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    offered = options["zodb_client_storages"]["options"]
    expected = documentation()
    del expected["config_file"]
    assert set(KINDS) == set(expected)
    expected["zconfig"]["no_log"] = True
    del expected["zeo"]["options"]["storage"]["required"]
    for kind, spec in expected.items():
        if kind not in ("filestorage", "zconfig"):
            spec["description"] = offered[kind]["description"]
            _replace(spec["options"]["blob_dir"], " Without it there are none.", "")
        if kind in SERVERS:
            _replace(spec["options"]["create_schema"], " RelStorage does if absent.", "")
            spec["options"]["create_schema"]["default"] = False
            password = offered[kind]["options"]["password"]["description"]
            spec["options"]["password"].update(description=password, no_log=True)
        if kind in ("postgresql", "newt"):
            for option, value in KEEPALIVES.items():
                spec["options"][option]["description"] += f" {value} if absent and C(host) is a list."
            laid = "Laid by the role where C(host) is a list. The first"
            _replace(spec["options"]["replica_conf"], "The first", laid)
            del spec["options"]["revert_when_stale"]["default"]
            spec["options"]["revert_when_stale"]["description"] += " True if absent and C(host) is a list."
    assert {kind: offered[kind] for kind in expected} == expected


def _replace(option, old, new):
    option["description"] = option["description"].replace(old, new)


def test_the_defaults_of_the_role_are_those_of_the_spec():
    options = yaml.safe_load(ROLE.joinpath("meta", "argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    defaults = yaml.safe_load(ROLE.joinpath("defaults", "main.yml").read_text())
    assert list(defaults) == list(options)
    for name, value in defaults.items():
        default = options[name]["default"]
        if isinstance(value, str) and value.startswith("{{"):
            shown = f"'{default}'" if isinstance(default, str) else str(default).lower()
            assert value.endswith(f" | default({shown}) }}}}"), name
        else:
            assert value == default, name


def test_root_lays_what_the_group_reads():
    plan = layout(SITE)
    assert plan["folders"] == [
        {"path": "/etc/zodb", "mode": "0755", "owner": "root", "group": "root"},
        {"path": "/var/cache/zodb", "mode": "0755", "owner": "root", "group": "root"},
        {"path": "/etc/zodb/site", "mode": "0750", "owner": "root", "group": "zodb"},
        {"path": "/var/cache/zodb/site", "mode": "2770", "owner": "root", "group": "zodb"},
    ]
    assert {(file["mode"], file["owner"], file["group"]) for file in plan["files"]} == {("0640", "root", "zodb")}
    assert plan["opened"] == [['zodb_client_storages[0] "site"', "/etc/zodb/site/zodb.conf", "main"]]
    assert plan["absent"] == [f"/etc/zodb/site/{name}" for name in MAYBE]
    assert plan["caches"] == plan["certificates"] == plan["services"] == []


def test_an_ordinary_user_keeps_it_private():
    plan = layout(SITE, root=False)
    assert [(folder["mode"], folder["owner"], folder["group"]) for folder in plan["folders"]] == [
        (None, None, None),
        (None, None, None),
        ("0700", None, None),
        ("0700", None, None),
    ]
    assert {(file["mode"], file["owner"], file["group"]) for file in plan["files"]} == {("0600", None, None)}


def test_the_files_of_an_entry():
    plan = layout(SITE)
    head = '# Storage "site", from zodb_client_storages (role pyams.zodb.zodb_client).\n'
    head += "# The next run undoes a change made here.\n"
    assert {file["path"]: file["content"].replace(head, "") for file in plan["files"]} == {
        "/etc/zodb/site/storage.inc": (
            "# Included by zodb.conf and zope.conf. An application reads it when it starts.\n"
            "%import ZEO\n<clientstorage>\n  server zeo:8100\n  storage site\n  blob-dir /var/cache/zodb/site/blobs\n"
            "  shared-blob-dir false\n  blob-cache-size 1GB\n  cache-size 256MB\n  server-sync true\n  wait-timeout "
            "30\n"
            "  read-only false\n  read-only-fallback false\n</clientstorage>\n"
        ),
        "/etc/zodb/site/zodb.conf": (
            "# For ZODB.config, Pyramid and PyAMS: zodbconn.uri = zconfig:///etc/zodb/site/zodb.conf#main\n"
            "# An application reads it when it starts.\n"
            "<zodb main>\n  database-name main\n  pool-size 7\n  cache-size 30000\n  %include storage.inc\n</zodb>\n"
        ),
        "/etc/zodb/site/zope.conf": (
            "# For Zope's own zope.conf: %include /etc/zodb/site/zope.conf\n# An application reads it when it starts.\n"
            "<zodb_db main>\n  database-name main\n  pool-size 7\n  cache-size 30000\n  mount-point /\n"
            "  %include storage.inc\n</zodb_db>\n"
        ),
        "/etc/zodb/site/pack.conf": (
            "# For a packer: zodbpack /etc/zodb/site/pack.conf\n"
            "%import ZEO\n<clientstorage>\n  server zeo:8100\n  storage site\n  cache-size 256MB\n  server-sync true\n"
            "  wait-timeout 30\n  read-only false\n  read-only-fallback false\n</clientstorage>\n"
        ),
        "/etc/zodb/site/client.env": (
            "# For systemd: EnvironmentFile=/etc/zodb/site/client.env\n"
            "ZODB_URI=zconfig:///etc/zodb/site/zodb.conf#main\n"
        ),
    }


@pytest.mark.parametrize(
    ("zeo", "blob_dir", "makes"),
    [
        pytest.param({}, "/var/cache/zodb/site/blobs", True, id="its own cache"),
        pytest.param({"blob_dir": "/srv/cache"}, "/srv/cache", False, id="a cache elsewhere"),
        pytest.param({"blob_dir": "/srv/blobs", "shared_blob_dir": True}, "/srv/blobs", False, id="the server's blobs"),
    ],
)
def test_a_folder_is_made_for_the_cache_that_is_ours(zeo, blob_dir, makes):
    plan = layout({"name": "site", "zeo": {**ZEO, **zeo}})
    assert f"  blob-dir {blob_dir}\n" in content(plan, "/etc/zodb/site/storage.inc")
    assert any(folder["path"].startswith("/var/cache/zodb") for folder in plan["folders"]) == makes


def test_a_multi_database_is_read_from_the_files_as_they_lie(tmp_path):
    plan = layout(
        {
            "name": "site",
            "zconfig": "<mappingstorage/>",
            "pool_size": 3,
            "databases": [
                {"name": "Catalog", "storage": "catalog"},
                {"name": "users", "storage": "users", "mount_point": "/u"},
            ],
        },
        {"name": "catalog", "zconfig": "<mappingstorage/>", "pool_size": 9},
        {"name": "users", "filestorage": {"path": f"{tmp_path}/Data.fs"}, "connection_cache_size": 77},
        config_dir=str(tmp_path),
    )
    lay(plan)
    database = ZODB.config.databaseFromURL(f"{tmp_path}/site/zodb.conf")
    assert {name: one.getPoolSize() for name, one in database.databases.items()} == {
        "main": 3,
        "Catalog": 9,
        "users": 7,
    }
    assert database.databases["users"].getCacheSize() == 77
    assert database.database_name == "main"
    for one in database.databases.values():
        one.close()
    assert "mount-point /Catalog\n" in content(plan, f"{tmp_path}/site/zope.conf")
    assert "mount-point /u\n" in content(plan, f"{tmp_path}/site/zope.conf")
    schema = ZConfig.loadSchema(ZODB.config.s_schema_path)
    for name in ("site", "catalog", "users"):
        ZConfig.loadConfig(schema, f"{tmp_path}/{name}/storage.inc")
        ZConfig.loadConfig(schema, f"{tmp_path}/{name}/pack.conf")


def lay(plan):
    """Write the files of a layout as they are to lie, and make its folders."""
    for folder in plan["folders"]:
        pathlib.Path(folder["path"]).mkdir(parents=True, exist_ok=True)
    for file in plan["files"]:
        pathlib.Path(file["path"]).write_text(text_of(file))


def text_of(file):
    return file["content"] if "content" in file else file["secret_content"]


def names(plan, key):
    return [pathlib.Path(file["path"]).name for file in plan["files"] if key in file]


def read(file):
    """Return the section of a storage as ZODB's schema reads it from a file."""
    return ZConfig.loadConfig(ZConfig.loadSchema(ZODB.config.s_schema_path), str(file))[0].storage.config


@pytest.mark.parametrize("kind", ["postgresql", "mysql", "oracle", "sqlite"])
def test_a_database_of_relstorage_is_read_by_its_own_schema(tmp_path, kind):
    options = SERVERS.get(kind, {"data_dir": "/"})
    lay(layout({"name": "site", kind: options}, config_dir=f"{tmp_path}/etc", cache_dir=f"{tmp_path}/cache"))
    storage, packed = (read(tmp_path / "etc" / "site" / name) for name in ("storage.inc", "pack.conf"))
    assert (storage.blob_dir, storage.shared_blob_dir) == (f"{tmp_path}/cache/site/blobs", False)
    # RelStorage's own default is true.
    assert storage.create_schema == (kind == "sqlite")
    assert storage.cache_local_dir is packed.cache_local_dir is packed.blob_dir is None
    assert not packed.create_schema
    schema = ZODB.config.getDbSchema()
    (database,) = ZConfig.loadConfig(schema, f"{tmp_path}/etc/site/zodb.conf")[0].database
    assert database.config.storage.config.blob_dir == storage.blob_dir


def test_mariadb_differs_from_mysql_in_its_section():
    """Which is in a distribution of ours that is not here; the integration tests have it read."""
    laid = {}
    for kind in ("mysql", "mariadb"):
        plan = layout({"name": "site", kind: {**SERVERS[kind], "password": "swordfish"}})
        laid[kind] = {file["path"]: text_of(file) for file in plan["files"]}
    assert {
        path: text.replace("%import pyams_zodb_tools\n", "").replace("mariadb>", "mysql>")
        for path, text in laid["mariadb"].items()
    } == laid["mysql"]
    assert laid["mariadb"] != laid["mysql"]


@pytest.mark.parametrize("kind", ["postgresql", "mysql", "oracle"])
def test_an_application_may_make_the_tables_if_it_is_told_to(tmp_path, kind):
    lay(layout({"name": "site", kind: {**SERVERS[kind], "create_schema": True}}, config_dir=str(tmp_path)))
    assert read(tmp_path / "site" / "storage.inc").create_schema


@pytest.mark.parametrize(
    ("options", "makes"),
    [
        pytest.param({}, True, id="blobs"),
        pytest.param({"blob_dir": "/srv/cache"}, False, id="blobs elsewhere"),
        pytest.param({"blob_dir": "/srv/blobs", "shared_blob_dir": True}, False, id="shared blobs"),
        pytest.param(
            {"blob_dir": "/srv/cache", "cache_local_dir": "/var/cache/zodb/site/objects"}, True, id="objects, asked for"
        ),
    ],
)
def test_a_folder_is_made_for_the_caches_of_a_database(options, makes):
    plan = layout({"name": "site", "postgresql": {**PG, **options}})
    folders = [folder["path"] for folder in plan["folders"] if folder["path"].startswith("/var/cache")]
    assert folders == (["/var/cache/zodb", "/var/cache/zodb/site"] if makes else [])


def test_the_folder_of_sqlite_is_the_user_s():
    plan = layout({"name": "site", "sqlite": {"data_dir": "/srv/site", "blob_dir": "/srv/cache"}})
    assert [folder["path"] for folder in plan["folders"]] == ["/etc/zodb", "/etc/zodb/site"]


PASSWORDS = [
    "plain",
    "two words",
    "do$lar",
    "$$two ${x}",
    "it's",
    'dou"ble',
    "a=b",
    "# no comment",
    "%d",
    "[client]",
    "käse 🧀",
]


@pytest.mark.parametrize("password", [*PASSWORDS, "back\\slash\\", "co:lon", "\\:", "'\"", "*"])
def test_a_password_of_postgresql_is_libpq_s_alone(tmp_path, password):
    plan = layout({"name": "site", "postgresql": {**PG, "password": password}}, config_dir=str(tmp_path), user="app")
    lay(plan)
    (pgpass,) = [file for file in plan["files"] if "secret_content" in file]
    assert pgpass["path"] == f"{tmp_path}/site/pgpass"
    assert (pgpass["mode"], pgpass["owner"], pgpass["group"]) == ("0600", "app", "zodb")
    assert not [file for file in plan["files"] if password in file.get("content", "") and len(password) > 4]
    *_comments, line = pgpass["secret_content"].splitlines()
    assert line.startswith("*:*:*:*:")
    # libpq takes the character behind a backslash as it is, and ends the field at a colon.
    rest, found = line.removeprefix("*:*:*:*:"), ""
    while rest:
        assert rest[0] != ":"
        rest = rest[1:] if rest[0] == "\\" else rest
        found, rest = found + rest[0], rest[1:]
    assert found == password
    for name in ("storage.inc", "pack.conf"):
        dsn = read(tmp_path / "site" / name).adapter.config.dsn
        assert dsn == f"host='db1' dbname='site' user='zodb' passfile='{tmp_path}/site/pgpass'"
    assert f"{tmp_path}/site/pgpass" in plan["watched"]
    assert plan["absent"] == [f"{tmp_path}/site/{name}" for name in MAYBE if name != "pgpass"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_of_mysql_is_in_an_option_file(tmp_path, password):
    """Read as PyMySQL does. Where there is no backslash, MySQL's own reader takes off the outer quotes just so."""
    plan = layout({"name": "site", "mysql": {"db": "site", "password": password}}, config_dir=str(tmp_path), user="app")
    lay(plan)
    (file,) = [file for file in plan["files"] if "secret_content" in file]
    assert file["path"] == f"{tmp_path}/site/my.cnf"
    assert (file["mode"], file["owner"], file["group"]) == ("0640", "root", "zodb")
    options = configparser.RawConfigParser(allow_no_value=True)
    options.read(file["path"], encoding="utf-8")
    assert options.get("client", "password") in (f'"{password}"', f"'{password}'")
    for name in ("storage.inc", "pack.conf"):
        section = read(tmp_path / "site" / name).adapter.config
        assert (section.passwd, section.read_default_file) == (None, f"{tmp_path}/site/my.cnf")
    assert f"{tmp_path}/site/my.cnf" in plan["watched"]


def test_a_password_of_oracle_is_in_the_section(tmp_path):
    plan = layout({"name": "site", "oracle": {**ORACLE, "driver": "cx_Oracle"}}, config_dir=str(tmp_path))
    lay(plan)
    assert names(plan, "secret_content") == ["storage.inc", "pack.conf"]
    assert not [file for file in plan["files"] if "swordfish" in file.get("content", "")]
    for name in ("storage.inc", "pack.conf"):
        section = read(tmp_path / "site" / name).adapter.config
        assert (section.user, section.password, section.dsn, section.driver) == (*ORACLE.values(), "cx_Oracle")


def test_an_ordinary_user_has_the_password_too():
    plan = layout({"name": "site", "postgresql": {**PG, "password": "swordfish"}}, root=False, user="app")
    assert {(file["mode"], file["owner"], file["group"]) for file in plan["files"]} == {("0600", None, None)}


def test_a_file_of_the_user_s_stays_whatever_it_is_called():
    plan = layout(
        {"name": "site", "postgresql": {**PG, "passfile": "/etc/zodb/site//pgpass"}},
        {"name": "old", "state": "absent"},
        {"name": "other", "postgresql": {**PG, "passfile": "/etc/zodb/old/pgpass"}},
    )
    assert "/etc/zodb/site/pgpass" not in plan["absent"]
    assert "/etc/zodb/old/pgpass" not in plan["absent"]
    assert "/etc/zodb/old/my.cnf" in plan["absent"]
    assert names(plan, "secret_content") == []


TIMEOUTS = (
    "connect_timeout='2' keepalives_idle='2' keepalives_interval='1' keepalives_count='3' tcp_user_timeout='4000'"
)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        pytest.param({}, "db1,db2,db3", id="hosts"),
        pytest.param({"port": 5433}, "db1,db2,db3:5433", id="a port"),
        pytest.param({"host": ["db1:5433", "db2"]}, "db1,db2:5433,5432", id="a port of one"),
        pytest.param({"host": ["db1:5433", "10.0.0.2"], "port": 6000}, "db1,10.0.0.2:5433,6000", id="ports of all"),
        pytest.param({"host": ["/run/postgresql", "db2"]}, "/run/postgresql,db2", id="a socket"),
        pytest.param({"host": ["haproxy:5000"], "revert_when_stale": True}, "haproxy:5000", id="one, reverting"),
    ],
)
def test_hosts_have_a_file_of_one_line(tmp_path, given, line):
    options = {**SEVERAL, **KEEPALIVES, **given}
    plan = layout({"name": "site", "postgresql": options}, config_dir=str(tmp_path))
    lay(plan)
    file = tmp_path / "site" / "replicas.conf"
    # As RelStorage reads it.
    selector = ReplicaSelector(str(file), 0)
    assert (selector.current(), selector.next()) == (line, None)
    assert f"{file}" in plan["watched"]
    for name in ("storage.inc", "pack.conf"):
        section = read(tmp_path / "site" / name)
        assert (section.replica_conf, section.replica_timeout) == (str(file), 0)
        assert (section.revert_when_stale, section.name) == (True, "site")
        assert section.adapter.config.dsn == (f"dbname='site' user='zodb' {TIMEOUTS} target_session_attrs='read-write'")


def test_keepalives_are_added_where_there_are_several_hosts(tmp_path):
    given = {"keepalives_idle": 9}
    lay(layout({"name": "site", "postgresql": {**SEVERAL, **given}}, config_dir=str(tmp_path)))
    for name in ("storage.inc", "read-only.conf"):
        text = tmp_path.joinpath("site", name).read_text()
        assert TIMEOUTS.replace("keepalives_idle='2'", "keepalives_idle='9'") in text
    assert "keepalives" not in content(layout({"name": "site", "postgresql": PG}), "/etc/zodb/site/storage.inc")


def test_a_client_of_several_hosts_refuses_older_data_if_it_is_told_to(tmp_path):
    options = {**SEVERAL, "revert_when_stale": False, "name": "pyams"}
    lay(layout({"name": "site", "postgresql": options}, config_dir=str(tmp_path)))
    section = read(tmp_path / "site" / "storage.inc")
    assert (section.replica_conf, section.revert_when_stale) == (f"{tmp_path}/site/replicas.conf", False)
    assert section.name == "pyams"


@pytest.mark.parametrize("attrs", ["prefer-standby", "any"])
def test_hosts_that_are_not_written_to_stay_in_the_dsn(attrs):
    plan = layout({"name": "site", "postgresql": {**SEVERAL, "target_session_attrs": attrs}})
    assert "dsn host='db1,db2,db3' " in content(plan, "/etc/zodb/site/storage.inc")
    assert "/etc/zodb/site/replicas.conf" in plan["absent"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({**SEVERAL, "host": ["db1", "db2:5433"]}, id="several hosts"),
        pytest.param(
            {**PG, "host": None, "replica_conf": "/etc/zodb/replicas.conf", "target_session_attrs": "read-write"},
            id="replica_conf",
        ),
    ],
)
def test_readers_are_led_to_a_standby(tmp_path, given):
    options = {**given, "password": "swordfish", "create_schema": True}
    plan = layout({"name": "site", "postgresql": options}, config_dir=str(tmp_path), user="app")
    lay(plan)
    (database,) = ZConfig.loadConfig(ZODB.config.getDbSchema(), f"{tmp_path}/site/read-only.conf")[0].database
    section = database.config.storage.config
    assert (database.name, section.read_only, section.create_schema) == ("main", True, False)
    assert (section.replica_conf, section.revert_when_stale) == (given.get("replica_conf"), False)
    assert section.adapter.config.dsn.startswith("host='db1,db2' port='5432,5433' ") == bool(given["host"])
    assert "target_session_attrs='prefer-standby'" in section.adapter.config.dsn
    assert f"passfile='{tmp_path}/site/pgpass'" in section.adapter.config.dsn
    writer = read(tmp_path / "site" / "storage.inc")
    assert (writer.read_only, writer.create_schema) == (False, True)
    assert "target_session_attrs='read-write'" in writer.adapter.config.dsn
    assert f"passfile='{tmp_path}/site/pgpass'" in writer.adapter.config.dsn
    assert f"{tmp_path}/site/read-only.conf" in plan["watched"]


def test_newt_is_laid_as_postgresql():
    options = {**SEVERAL, "password": "swordfish"}
    laid = [layout({"name": "site", kind: options}, user="app") for kind in ("newt", "postgresql")]
    assert laid[0] == laid[1]
    assert {"read-only.conf", "replicas.conf", "pgpass"} <= set(names(laid[0], "path"))


def test_raw_zconfig_is_kept_out_of_diffs():
    plan = layout({"name": "site", "zconfig": "<relstorage>\n  dsn password=secret\n</relstorage>"})
    assert names(plan, "secret_content") == ["storage.inc", "pack.conf"]
    assert not [file for file in plan["files"] if "secret" in file.get("content", "")]


def test_an_absent_entry_leaves_its_caches_and_needs_no_storage():
    plan = layout({"name": "old", "state": "absent"})
    assert plan["folders"] == plan["files"] == plan["opened"] == plan["watched"] == []
    assert plan["absent"] == [
        *(f"/etc/zodb/old/{name}" for name in ("storage.inc", "zodb.conf", "zope.conf", "pack.conf", "client.env")),
        *(f"/etc/zodb/old/{name}" for name in MAYBE),
        "/etc/zodb/old",
    ]
    assert plan["caches"] == ["/var/cache/zodb/old"]


def test_applications_are_held_against_what_they_read():
    plan = layout({"name": "site", "zeo": {**ZEO, "tls": TLS}}, restart_units=["app.service"])
    assert plan["certificates"] == [{"cert": "/etc/client.crt", "key": "/etc/client.key", "purpose": "client"}]
    assert plan["services"] == [{"unit": "app.service", "files": plan["watched"]}]
    assert plan["watched"] == [
        *(f"/etc/zodb/site/{name}" for name in ("storage.inc", "zodb.conf", "zope.conf", "client.env")),
        *TLS.values(),
    ]


def test_certificates_shared_by_entries_are_asked_for_once():
    plan = layout(*({"name": name, "zeo": {**ZEO, "tls": TLS}} for name in ("a", "b")))
    assert len(plan["certificates"]) == 1
    assert plan["watched"].count("/etc/client.key") == 1


def test_a_folder_with_blanks_is_quoted_where_a_shell_reads_it():
    plan = layout(SITE, config_dir="/home/zoé/my site")
    assert content(plan, "/home/zoé/my site/site/client.env").splitlines()[-1] == (
        "ZODB_URI='zconfig:///home/zoé/my site/site/zodb.conf#main'"
    )


CATALOG = {"name": "catalog", "zeo": ZEO}


@pytest.mark.parametrize(
    ("given", "settings", "sentences"),
    [
        pytest.param([SITE, CATALOG], {}, [], id="all is well"),
        pytest.param([{"name": "site", "state": "absent"}], {}, [], id="absent needs no storage"),
        pytest.param(
            [{"name": "Site", "zeo": ZEO}],
            {},
            [
                'zodb_client_storages[0] "Site": the name is none; begin with a lower-case letter, go on with letters, '
                "digits, _ or -, 32 characters at most.",
                'zodb_client_storages[0] "Site": zeo.storage "Site": no server can name one so, its configuration '
                "takes "
                "neither blanks nor parentheses and turns capitals into small letters; "
                "write the name as the server has it.",
            ],
            id="capital",
        ),
        pytest.param(
            [{"name": "../etc", "state": "absent"}],
            {},
            [
                'zodb_client_storages[0] "../etc": the name is none; begin with a lower-case letter, go on with '
                "letters, "
                "digits, _ or -, 32 characters at most."
            ],
            id="a path, to be removed",
        ),
        pytest.param(
            [{"name": "tls", "zeo": ZEO}],
            {},
            ['zodb_client_storages[0] "tls": the name is that of a folder of certificates; choose another.'],
            id="reserved",
        ),
        pytest.param(
            [SITE, {"name": "site", "state": "absent"}],
            {},
            ['zodb_client_storages[1] "site": the name is already that of zodb_client_storages[0]; choose another.'],
            id="name twice",
        ),
        pytest.param(
            [{"name": "site"}],
            {},
            [
                'zodb_client_storages[0] "site": no kind of storage is named; give one of zeo, filestorage, '
                "postgresql, newt, mysql, mariadb, oracle, sqlite, zconfig."
            ],
            id="no kind",
        ),
        pytest.param(
            [{"name": "site", "zeo": ZEO, "zconfig": "<mappingstorage/>"}],
            {},
            [
                'zodb_client_storages[0] "site": zeo and zconfig are named together; a storage has one kind, '
                "keep one of them."
            ],
            id="two kinds",
        ),
        pytest.param(
            [{"name": "site", "zeo": {**ZEO, "shared_blob_dir": True}}],
            {},
            [
                'zodb_client_storages[0] "site": zeo.shared_blob_dir is true, but blob_dir is missing; '
                "give the server's "
                "own folder of blobs."
            ],
            id="shared without blob_dir",
        ),
        pytest.param(
            [{**SITE, "pool_size": 0, "connection_cache_size": -1}],
            {},
            [
                'zodb_client_storages[0] "site": pool_size 0 is less than 1; give more.',
                'zodb_client_storages[0] "site": connection_cache_size -1 is less than 1; give more.',
            ],
            id="sizes",
        ),
        pytest.param(
            [{**SITE, "database_name": "1st"}],
            {},
            [
                'zodb_client_storages[0] "site": the database name "1st" is none; '
                "begin with a letter, go on with letters, "
                "digits, _, . or -."
            ],
            id="database name",
        ),
        pytest.param(
            [{**SITE, "databases": [{"name": "catalog", "storage": "catalog"}]}],
            {},
            [
                'zodb_client_storages[0] "site": the storage "catalog" of database "catalog" is no other entry that is '
                "present; add it to the list."
            ],
            id="database without storage",
        ),
        pytest.param(
            [{**SITE, "databases": [{"name": "Main", "storage": "catalog"}]}, CATALOG],
            {},
            ['zodb_client_storages[0] "site": two of its databases have the name "main"; give each its own.'],
            id="database twice",
        ),
        pytest.param(
            [{**SITE, "databases": [{"name": "x", "storage": "site"}]}],
            {},
            ['zodb_client_storages[0] "site": two of its databases have the storage "site"; give each its own.'],
            id="storage twice",
        ),
        pytest.param(
            [{**SITE, "databases": [{"name": "catalog", "storage": "catalog", "mount_point": "/"}]}, CATALOG],
            {},
            ['zodb_client_storages[0] "site": two of its databases have the mount point "/"; give each its own.'],
            id="mount point twice",
        ),
        pytest.param(
            [{**SITE, "mount_point": "news"}],
            {},
            [
                'zodb_client_storages[0] "site": the mount point "news" of database "main" is no path of Zope; '
                "begin it "
                "with /."
            ],
            id="mount point",
        ),
        pytest.param(
            [
                {"name": "a", "zeo": {**ZEO, "blob_dir": "/srv/blobs"}},
                {"name": "b", "zeo": {**ZEO, "blob_dir": "/srv//blobs/"}},
            ],
            {},
            [
                'zodb_client_storages[1] "b": zeo.blob_dir /srv/blobs is already that of "a"; '
                "blobs of two storages would "
                "be taken for each other, give each its own."
            ],
            id="blob_dir of two storages",
        ),
        pytest.param(
            [{"name": name, "zeo": {**ZEO, "storage": "pyams", "blob_dir": "/srv/blobs"}} for name in ("a", "b")],
            {},
            [],
            id="blob_dir of one storage, twice",
        ),
        pytest.param(
            [
                {"name": "a", "postgresql": {**PG, "blob_dir": "/srv/blobs"}},
                {"name": "b", "postgresql": {**PG, "dbname": "shop", "blob_dir": "/srv/blobs/"}},
            ],
            {},
            [
                'zodb_client_storages[1] "b": postgresql.blob_dir /srv/blobs is already that of "a"; blobs of two '
                "storages would be taken for each other, give each its own."
            ],
            id="blob_dir of two databases",
        ),
        pytest.param(
            [
                {"name": "a", "postgresql": {**PG, "blob_dir": "/srv/blobs"}},
                {"name": "b", "postgresql": {**PG, "host": ["DB1:5432"], "read_only": True, "blob_dir": "/srv/blobs"}},
            ],
            {},
            [],
            id="blob_dir of one database, twice",
        ),
        pytest.param(
            [
                {"name": "a", "sqlite": {"data_dir": "/srv/a", "blob_dir": "/srv/blobs"}},
                {"name": "b", "sqlite": {"data_dir": "/srv/a", "blob_dir": "/srv/blobs", "shared_blob_dir": True}},
            ],
            {},
            [
                'zodb_client_storages[1] "b": sqlite.blob_dir /srv/blobs is already that of "a"; blobs of two '
                "storages would be taken for each other, give each its own."
            ],
            id="blob_dir as a cache and not",
        ),
        *(
            pytest.param(
                [{"name": "site", "mysql": {"db": "site", "password": password}}],
                {},
                [
                    'zodb_client_storages[0] "site": mysql.password has a backslash, or quotes of both kinds, which '
                    "each driver reads otherwise from an option file; change it, or lay the file yourself and name it "
                    "in read_default_file."
                ],
                id=f"password {name}",
            )
            for name, password in (("with a backslash", "a\\b"), ("with both quotes", 'it\'s "x"'))
        ),
        pytest.param(
            [{"name": "site", "postgresql": {**PG, "password": "swordfish", "passfile": "/etc/pgpass"}}],
            {},
            ['zodb_client_storages[0] "site": postgresql.password and passfile are both given; keep one of them.'],
            id="password and passfile",
        ),
        pytest.param(
            [{"name": "site", "postgresql": {**PG, "password": "swordfish", "driver": "pg8000"}}],
            {},
            [
                'zodb_client_storages[0] "site": postgresql.driver is pg8000, which knows nothing of passfile; take it '
                "out, or take psycopg2."
            ],
            id="a driver without passfile",
        ),
        pytest.param(
            [{"name": "site", "postgresql": {**PG, "host": ["db1", "db2"], "target_session_attrs": "read-write"}}],
            {},
            [
                'zodb_client_storages[0] "site": postgresql.host is a list, but connect_timeout and tcp_user_timeout '
                "is missing, without which a silent host holds a client for minutes; give both, such as 2 (seconds) "
                "and 4000 (milliseconds)."
            ],
            id="hosts without timeouts",
        ),
        pytest.param(
            [{"name": "site", "postgresql": {**SEVERAL, "target_session_attrs": None}}],
            {},
            [
                'zodb_client_storages[0] "site": postgresql.host, a list, is given, but target_session_attrs is '
                "missing, without which a standby that answers first is taken; give read-write, or prefer-standby to "
                "those who only read."
            ],
            id="hosts without target_session_attrs",
        ),
        *(
            pytest.param(
                [{"name": "site", "newt": {**SEVERAL, "host": ["db1", host]}}],
                {},
                [
                    f'zodb_client_storages[0] "site": newt.host {host}: RelStorage takes no colons, blanks, quotes or '
                    "backslashes in a list of hosts; give the host by its name."
                ],
                id=f"hosts with {name}",
            )
            for name, host in (("an address of IPv6", "[fd00::2]:5433"), ("a blank", "/run/my postgresql"))
        ),
        pytest.param(
            [
                {"name": name, "postgresql": {**SEVERAL, "host": hosts, "blob_dir": "/srv/blobs"}}
                for name, hosts in (("a", ["db1", "db2"]), ("b", ["db2:5432", "db3"]))
            ],
            {},
            [],
            id="blob_dir of one database with several hosts, twice",
        ),
        pytest.param(
            [SITE],
            {"config_dir": "/etc/zodb#1", "cache_dir": "cache"},
            [
                "zodb_client_config_dir /etc/zodb#1: it is no absolute path, or holds a quote, a backslash or one of "
                "# ? % $ `, which do not stand in a URI as they are; choose another.",
                "zodb_client_cache_dir cache: it is no absolute path, or holds a quote, a backslash or one of "
                "# ? % $ `, which do not stand in a URI as they are; choose another.",
                'zodb_client_storages[0] "site": zeo.blob_dir cache/site/blobs is a relative path, which each process '
                "resolves from its own folder; write an absolute one.",
            ],
            id="folders",
        ),
        pytest.param(
            [SITE],
            {"cache_dir": "/etc/zodb"},
            ["zodb_client_cache_dir /etc/zodb: it is zodb_client_config_dir too; choose another."],
            id="one folder for both",
        ),
        pytest.param(
            [SITE],
            {"virtualenv": "venv"},
            ["zodb_client_virtualenv venv: it is a relative path; write an absolute one."],
            id="relative virtualenv",
        ),
        pytest.param(
            [SITE],
            {"install_packages": True, "wheelhouse": "wheels"},
            [
                "zodb_client_wheelhouse wheels: it is a relative path; write an absolute one.",
                "zodb_client_install_packages true: zodb_client_virtualenv does not say where to; name the "
                "application's.",
            ],
            id="packages for nowhere",
        ),
        pytest.param(
            [SITE],
            {"restart_units": ["app"]},
            ["zodb_client_restart_units app: it is no name of a unit; write it with its suffix, such as app.service."],
            id="unit without suffix",
        ),
    ],
)
def test_refused_on_any_host(given, settings, sentences):
    assert zodb_client_refusals(complete(*given), {**SETTINGS, **settings}) == sentences


HERE = {"exists": True, "owner": "root"}
GONE = {"exists": False, "owner": None}
GOOD = {"readable": True, "expired": False, "days_left": 90.0, "key_matches": True}


def host(paths=None, certificate=None, **more):
    known = dict.fromkeys([*TLS.values(), "/opt/app/bin/python"], HERE)
    return {
        "host": {"distribution": "debian", "version": "12", "systemd": True},
        "groups": {"zodb": {"exists": True}},
        "users": {"app": {"exists": True}, "nobody-knows": {"exists": False}},
        "paths": {**known, **(paths or {})},
        "certificates": {"/etc/client.crt": {**GOOD, **(certificate or {})}},
        **more,
    }


@pytest.mark.parametrize(
    ("settings", "found", "sentences"),
    [
        pytest.param({}, {}, [], id="all is well"),
        pytest.param(
            {},
            {"host": {"distribution": "alpine", "version": "3.22", "systemd": False}},
            [
                "zodb_client_allow_untested_platform: the host is alpine 3.22, tested are Debian 12 and 13; "
                "set it to true "
                "to go on."
            ],
            id="platform",
        ),
        pytest.param(
            {"allow_untested_platform": True},
            {"host": {"distribution": "alpine", "version": "3.22", "systemd": False}},
            [],
            id="platform allowed",
        ),
        pytest.param(
            {"restart_units": ["app.service"], "root": False},
            {},
            [
                "zodb_client_restart_units app.service: only root restarts units, and only where systemd runs; "
                "leave it out "
                "and restart the applications yourself."
            ],
            id="units of an ordinary user",
        ),
        pytest.param(
            {"manage_group": False},
            {"groups": {"zodb": {"exists": False}}},
            ["zodb_client_group zodb: there is no such group, and zodb_client_manage_group is false; create it."],
            id="no group",
        ),
        pytest.param({}, {"groups": {"zodb": {"exists": False}}}, [], id="a group to be created"),
        pytest.param(
            {"virtualenv": "/opt/app"},
            {"paths": {"/opt/app/bin/python": GONE}},
            [
                "zodb_client_virtualenv /opt/app: there is no bin/python in it; "
                "name the folder of a virtualenv, or leave "
                "it out."
            ],
            id="no virtualenv",
        ),
        pytest.param(
            {"virtualenv": "/opt/app", "check_mode": True},
            {"paths": {"/opt/app/bin/python": GONE}},
            [],
            id="no virtualenv yet",
        ),
        pytest.param(
            {"virtualenv": "/opt/app", "user": "nobody-knows"},
            {},
            ["zodb_client_user nobody-knows: there is no such account; create it, or name another."],
            id="no account",
        ),
        pytest.param(
            {"virtualenv": "/opt/app"},
            {"paths": {"/opt/app/bin/python": {"exists": True, "owner": "1234"}}},
            [
                "zodb_client_virtualenv /opt/app: it belongs to 1234, which is no account; name the one that the "
                "application runs as in zodb_client_user."
            ],
            id="a virtualenv of nobody",
        ),
        pytest.param(
            {"virtualenv": "/opt/app", "install_packages": True, "user": "app"},
            {"paths": {"/opt/app/bin/python": {"exists": True, "owner": "1234"}}},
            ["zodb_client_virtualenv /opt/app: it belongs to 1234, which is no account; give it to one."],
            id="packages for nobody",
        ),
        pytest.param(
            {"virtualenv": "/opt/app", "install_packages": True, "wheelhouse": "/no/wheels"},
            {"wheelhouse": {"exists": False, "files": []}},
            [
                "zodb_client_wheelhouse /no/wheels: it is no folder that can be read on this host; copy the wheels "
                "there, or leave it out."
            ],
            id="no wheelhouse",
        ),
        pytest.param(
            {},
            {"paths": {"/etc/ca.pem": GONE, "/etc/client.key": GONE}},
            [
                'zodb_client_storages[0] "site": zeo.tls.ca /etc/ca.pem: it is not on this host; lay it there first.',
                'zodb_client_storages[0] "site": zeo.tls.key /etc/client.key: it is not on this host; '
                "lay it there first.",
            ],
            id="no certificates",
        ),
        pytest.param({"check_mode": True}, {"paths": {"/etc/ca.pem": GONE}}, [], id="no certificates yet"),
        pytest.param(
            {},
            {"certificate": {"readable": False}},
            [
                'zodb_client_storages[0] "site": zeo.tls.cert /etc/client.crt: no certificate can be read from it; '
                "give a "
                "PEM file."
            ],
            id="no certificate in it",
        ),
        pytest.param(
            {},
            {"certificate": {"expired": True, "days_left": -3.2}},
            ['zodb_client_storages[0] "site": zeo.tls.cert /etc/client.crt: it ended 3 days ago; renew it.'],
            id="expired",
        ),
        pytest.param(
            {},
            {"certificate": {"key_matches": False}},
            [
                'zodb_client_storages[0] "site": zeo.tls.key /etc/client.key: it is not the key of /etc/client.crt; '
                "give the "
                "two that belong together."
            ],
            id="another key",
        ),
    ],
)
def test_refused_on_this_host(settings, found, sentences):
    given = complete({"name": "site", "zeo": {**ZEO, "tls": TLS}}, {"name": "old", "state": "absent"})
    assert zodb_client_refusals(given, {**SETTINGS, **settings}, host(**found)) == sentences


PACKAGES = {
    "virtualenv": "/opt/app",
    "release": "latest",
    "files": str(ROLE.parent / "zodb_common" / "files"),
    "me": "root",
    "owner": "app",
}


def missing(storages, installed, **settings):
    """Return what an application lacks for storages, given by kind and options."""
    given = complete(
        *({"name": f"s{number}", **storage} for number, storage in enumerate(storages)),
        {"name": "old", "state": "absent", "mysql": {"db": "x"}},
    )
    return packages(given, {**PACKAGES, **settings}, installed)


@pytest.mark.parametrize(
    ("storages", "there", "requirements"),
    [
        pytest.param([{"zeo": ZEO}], [], ["ZEO"], id="zeo"),
        pytest.param([{"filestorage": {"path": "/x"}}, {"zeo": ZEO}], ["zodb"], ["ZEO"], id="filestorage"),
        pytest.param([{"sqlite": {"data_dir": "/x"}}], [], ["RelStorage"], id="sqlite"),
        pytest.param([{"zconfig": "<mappingstorage/>"}], [], [], id="zconfig"),
        pytest.param([{"postgresql": PG}, {"newt": PG}], [], ["RelStorage", "psycopg2-binary"], id="postgresql"),
        pytest.param([{"postgresql": PG}], ["relstorage", "psycopg2"], [], id="postgresql, another driver"),
        pytest.param(
            [{"postgresql": {**PG, "driver": "gevent psycopg2"}}],
            ["relstorage", "pg8000"],
            ["psycopg2-binary"],
            id="postgresql, that driver",
        ),
        pytest.param([{"mysql": {"db": "x"}}], ["PyMySQL", "relstorage"], [], id="mysql"),
        pytest.param([{"mariadb": {"db": "x"}}], [], ["RelStorage", "PyMySQL[rsa]"], id="mariadb"),
        pytest.param(
            [{"mysql": {"db": "x", "driver": "MySQLdb"}}], ["pymysql", "relstorage"], ["mysqlclient"], id="mysqldb"
        ),
        pytest.param(
            [{"mysql": {"db": "x", "driver": "Py MySQL Connector/Python"}}],
            ["relstorage"],
            ["mysql-connector-python"],
            id="mysql's own driver",
        ),
        pytest.param([{"oracle": ORACLE}], ["cx_Oracle"], ["RelStorage"], id="oracle"),
    ],
)
def test_what_an_application_lacks(storages, there, requirements):
    found = missing(storages, dict.fromkeys([*there, "pip"], "1"))
    assert (found["requirements"], found["refusals"]) == (requirements, [])


def test_what_is_there_keeps_its_version_and_what_is_not_gets_that_of_the_lock():
    there = {"ZODB": "5.8", "zope.interface": "6.0", "app": "1+x"}
    lines = missing([{"postgresql": PG}], there)["constraints"].splitlines()
    assert {"zodb==5.8", "zope-interface==6.0", "app==1+x"} <= set(lines)
    assert len([line for line in lines if line.startswith("zodb==")]) == 1
    assert any(line.startswith("relstorage==") for line in lines)
    assert any(line.startswith("cffi==") and " ; " in line for line in lines)
    # A release that has no RelStorage does for ZEO.
    assert "zeo==6.1" in missing([{"zeo": ZEO}], {}, release="2025.09")["constraints"].splitlines()


@pytest.mark.parametrize(
    ("settings", "installed", "sentences"),
    [
        pytest.param({}, {"pip": "23.0.1"}, [], id="all is well"),
        pytest.param({}, None, [], id="no virtualenv yet"),
        pytest.param({"me": "app"}, {"pip": "23.0.1"}, [], id="one's own"),
        pytest.param({"me": "zodb"}, {"relstorage": "4.3.0", "psycopg2": "2.9"}, [], id="nothing is missing"),
        pytest.param(
            {"me": "zodb"},
            {"pip": "23.0.1"},
            [
                "zodb_client_virtualenv /opt/app: it lacks RelStorage and psycopg2-binary, and belongs to app; set "
                "become: true, or have that account install it."
            ],
            id="another's",
        ),
        pytest.param(
            {},
            {"RelStorage": "4.3.0"},
            [
                "zodb_client_virtualenv /opt/app: it lacks psycopg2-binary, and has no pip; install pip there, or "
                "those packages by what made it."
            ],
            id="no pip",
        ),
        pytest.param(
            {"release": "2025.09"},
            {},
            ["zodb_client_release 2025.09 has no packages for these storages; choose latest or 2026.11."],
            id="a release without RelStorage",
        ),
    ],
)
def test_packages_that_are_not_installed(settings, installed, sentences):
    assert missing([{"postgresql": PG}], installed, **settings)["refusals"] == sentences


@pytest.mark.parametrize(
    ("storage", "settings", "sentences"),
    [
        pytest.param(
            {"newt": {**PG, "password": "swordfish"}},
            {},
            [
                'zodb_client_storages[0] "site": newt.password is laid for the application\'s account alone, as '
                "PostgreSQL's client demands; name that account in zodb_client_user."
            ],
            id="a password of newt for nobody",
        ),
        pytest.param(
            {"postgresql": {**PG, "password": "swordfish"}},
            {},
            [
                'zodb_client_storages[0] "site": postgresql.password is laid for the application\'s account alone, as '
                "PostgreSQL's client demands; name that account in zodb_client_user."
            ],
            id="a password for nobody",
        ),
        pytest.param({"postgresql": {**PG, "password": "swordfish"}}, {"root": False}, [], id="one's own password"),
        pytest.param({"postgresql": {**PG, "password": "swordfish"}}, {"user": "app"}, [], id="the application's"),
        pytest.param(
            {"postgresql": {**PG, "password": "swordfish"}},
            {"user": "nobody-knows"},
            ["zodb_client_user nobody-knows: there is no such account; create it, or name another."],
            id="of no account",
        ),
        pytest.param(
            {"postgresql": {**PG, "password": "swordfish"}},
            {"user": "nobody-knows", "check_mode": True},
            [],
            id="of no account yet",
        ),
        pytest.param({"mysql": {"db": "site", "password": "swordfish"}}, {}, [], id="the group's password"),
        pytest.param(
            {"postgresql": {**PG, "passfile": "/no/pgpass", "sslmode": "verify-full", "sslrootcert": "/no/ca.pem"}},
            {},
            [
                'zodb_client_storages[0] "site": postgresql.passfile /no/pgpass: it is not on this host; lay it there '
                "first.",
                'zodb_client_storages[0] "site": postgresql.sslrootcert /no/ca.pem: it is not on this host; lay it '
                "there first.",
            ],
            id="no files",
        ),
        pytest.param(
            {"mariadb": {"db": "site", "read_default_file": "/no/my.cnf"}},
            {},
            [
                'zodb_client_storages[0] "site": mariadb.read_default_file /no/my.cnf: it is not on this host; lay it '
                "there first."
            ],
            id="no option file",
        ),
        pytest.param({"postgresql": {**PG, "passfile": "/no/pgpass"}}, {"check_mode": True}, [], id="no files yet"),
    ],
)
def test_a_database_refused_on_this_host(storage, settings, sentences):
    given = complete({"name": "site", **storage})
    found = host(paths=dict.fromkeys(("/no/pgpass", "/no/ca.pem", "/no/my.cnf"), GONE))
    assert zodb_client_refusals(given, {**SETTINGS, **settings}, found) == sentences
