# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zodb_client, run by ansible-playbook as root and as an ordinary user, and what applications get from it.

Needs root, for accounts and groups.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

import ansible_tasks
import pytest
import storage_servers

GROUP = f"zodb-clients-{os.getpid()}"
REMOTE = ("pyams.zodb.", "ansible.builtin.command", "ansible.builtin.group", "ansible.builtin.file")

# An application of two processes. Each opens the database by the URI of client.env and keeps it open.
PROCESS = """
import sys, os, time
import transaction, ZODB
from ZODB.blob import Blob
from zodburi import resolve_uri

mine, other = sys.argv[1:]
factory, options = resolve_uri(os.environ["ZODB_URI"])
database = ZODB.DB(factory(), **{name.replace("connection_", ""): value for name, value in options.items()})
print(database.database_name, flush=True)
sys.stdin.readline()
for attempt in range(100):
    try:
        with database.transaction() as connection:
            connection.root()[mine] = Blob(mine.encode())
        break
    except ZODB.POSException.ConflictError:
        pass
print("committed", flush=True)
for attempt in range(100):
    with database.transaction() as connection:
        if other in connection.root():
            print(connection.root()[other].open().read().decode(), flush=True)
            break
    time.sleep(0.1)
database.close()
"""

# What is Zope's in <zodb_db>, without Zope.
ZOPE = """
import io, sys
import ZConfig, ZODB.config

schema = ZConfig.loadSchemaFile(io.StringIO('''
<schema>
  <import package="ZODB"/>
  <sectiontype name="zodb_db" datatype="ZODB.config.ZODBDatabase" implements="ZODB.database" extends="zodb">
    <multikey name="mount-point" required="yes" attribute="mount_points"/>
  </sectiontype>
  <multisection type="ZODB.database" name="*" attribute="databases" required="yes"/>
</schema>
'''))
configuration = ZConfig.loadConfigFile(schema, io.StringIO("%include " + sys.argv[1]))[0]
database = ZODB.config.databaseFromConfig(configuration.databases)
with database.transaction() as connection:
    print(database.database_name, *sorted(database.databases), *sorted(connection.root()))
for one in list(database.databases.values()):
    one.close()
"""


@pytest.fixture
def place():
    """Return a folder that every account can enter; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="zodb-client-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def group():
    """Return the name of a group that is not there, and remove it afterwards."""
    yield GROUP
    subprocess.run(["groupdel", GROUP], check=False, capture_output=True)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def served(application, folder, ssl=""):
    """Serve the storage "pyams" of a folder. Yields host:port."""
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    configuration = folder / "zeo.conf"
    configuration.write_text(
        f"<zeo>\n  address {address}\n{ssl}</zeo>\n"
        f"<filestorage pyams>\n  path {folder}/Data.fs\n  blob-dir {folder}/blobs\n</filestorage>\n"
    )
    server = subprocess.Popen([application / "bin" / "runzeo", "-C", configuration], stderr=subprocess.DEVNULL)
    try:
        for _attempt in range(100):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address.split(":")):
                break
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def server(application, place):
    with served(application, place / "server") as address:
        yield address


class Role:
    """Runs of the role, whose folders are in one place."""

    def __init__(self, place, account=None, **variables):
        self.place = place
        self.play = {"hosts": "localhost", "gather_facts": False}
        if account:
            self.play.update(become=True, become_user=account, become_method="ansible.builtin.su")
        self.variables = {
            "zodb_config_dir": f"{place}/etc",
            "zodb_cache_dir": f"{place}/cache",
            "zodb_allow_untested_platform": True,
            **variables,
        }

    def start(self, storages, *arguments, callback="ansible.posix.json", **variables):
        """Run the play: one inclusion for each list of storages, or for the one list."""
        lists = storages if storages and isinstance(storages[0], list) else [storages]
        tasks = [
            {"ansible.builtin.include_role": {"name": "pyams.zodb.zodb_client"}, "vars": {"zodb_client_storages": one}}
            for one in lists
        ]
        playbook = self.place / "playbook.json"
        playbook.write_text(json.dumps([{**self.play, "vars": {**self.variables, **variables}, "tasks": tasks}]))
        return subprocess.run(
            ansible_tasks.command(playbook, *arguments),
            env=ansible_tasks.environment(ANSIBLE_STDOUT_CALLBACK=callback),
            capture_output=True,
            text=True,
            check=False,
        )

    def results(self, storages, *arguments, **variables):
        """Return the results of the role's tasks that were not skipped, in order, by (name, result)."""
        done = self.start(storages, *arguments, **variables)
        try:
            tasks = json.loads(done.stdout)["plays"][0]["tasks"]
        except (ValueError, LookupError):
            raise AssertionError(done.stdout + done.stderr) from None
        found = [(task["task"]["name"], task["hosts"]["localhost"]) for task in tasks if "localhost" in task["hosts"]]
        return [(name, result) for name, result in found if not result.get("skipped")]

    def changed(self, storages, *arguments, **variables):
        """Return the names of the tasks that changed something, without the role's; the run must succeed."""
        results = self.results(storages, *arguments, **variables)
        failures = [result["msg"] for _name, result in results if result.get("failed")]
        assert failures == []
        return [name.partition(" : ")[2] for name, result in results if result.get("changed")]

    def refusal(self, storages, *arguments, **variables):
        """Return the message of the run's last task, which must fail."""
        _name, result = self.results(storages, *arguments, **variables)[-1]
        assert result.get("failed"), result
        return result["msg"]


def seen(path):
    """Return owner, group and permissions of a path."""
    status = path.stat()
    owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    return owner, group, oct(stat.S_IMODE(status.st_mode))


def environment(file):
    """Return what a unit of systemd gets from an EnvironmentFile."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def as_account(account, *command):
    return ["/usr/sbin/runuser", "-u", account, "--", *map(str, command)]


def two_processes(application, account, file):
    """Run two processes of an application at once; return the words of each."""
    python = application / "bin" / "python"
    processes, lines = [], []
    for mine, other in (("first", "second"), ("second", "first")):
        process = subprocess.Popen(
            as_account(account, python, "-c", PROCESS, mine, other),
            env={**os.environ, **environment(file)},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        # It has it open now. The first makes the root object, which of two at once only one could.
        lines.append([process.stdout.readline()])
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process, said in zip(processes, lines):
        said += process.communicate(timeout=60)[0].splitlines(keepends=True)
    return ["".join(said).split() for said in lines]


LAY = "Configure | Lay folders and files"


def test_an_ordinary_user_opens_a_storage_in_two_processes(application, place, account, server):
    shutil.chown(place, account, account)
    role = Role(place, account, zodb_client_virtualenv=str(application))
    storages = [{"name": "pyams", "zeo": {"server": server, "wait_timeout": 5}}]

    assert role.changed(storages, "--check", "--diff") == [LAY]
    assert not place.joinpath("etc").exists()
    assert role.changed(storages) == [LAY]
    results = role.results(storages)
    assert [name for name, result in results if result.get("changed") or result.get("failed")] == []
    assert len([result for _name, result in results if result.get("action", "").startswith(REMOTE)]) == 3

    files = place / "etc" / "pyams"
    assert seen(files) == (account, account, "0o700")
    assert {seen(path) for path in files.iterdir()} == {(account, account, "0o600")}
    assert sorted(path.name for path in files.iterdir()) == [
        "client.env",
        "pack.conf",
        "storage.inc",
        "zodb.conf",
        "zope.conf",
    ]
    assert two_processes(application, account, files / "client.env") == [
        ["main", "committed", "second"],
        ["main", "committed", "first"],
    ]
    assert place.joinpath("cache", "pyams", "blobs").is_dir()
    python = application / "bin" / "python"
    zope = as_account(account, python, "-c", ZOPE, files / "zope.conf")
    assert subprocess.check_output(zope, text=True, cwd="/").split() == ["main", "main", "first", "second"]
    packer = as_account(account, application / "bin" / "zodbpack", files / "pack.conf")
    packed = subprocess.run(packer, capture_output=True, text=True, check=False, cwd="/")
    assert packed.returncode == 0, packed.stderr


def test_root_gives_the_files_to_a_group_that_it_creates(application, place, account, group, server):
    role = Role(place, zodb_application_group=group, zodb_client_virtualenv=str(application), zodb_client_user=account)
    storages = [{"name": "pyams", "zeo": {"server": server, "wait_timeout": 5}}]
    assert role.changed(storages, "--check", "--diff") == ["Configure | Create the group", LAY]
    assert not place.joinpath("etc").exists()
    assert role.refusal(storages) == (
        f'zodb_client_storages[0] "pyams": {place}/etc/pyams/zodb.conf cannot be read by {account}; '
        f"make it a member of "
        f"the group {group}, or name the application's account in zodb_client_user."
    )
    subprocess.run(["usermod", "--append", "--groups", group, account], check=True)
    assert role.changed(storages) == []

    assert seen(place / "etc") == ("root", "root", "0o755")
    assert seen(place / "etc" / "pyams") == ("root", group, "0o750")
    assert {seen(path) for path in place.joinpath("etc", "pyams").iterdir()} == {("root", group, "0o640")}
    assert seen(place / "cache" / "pyams") == ("root", group, "0o2770")
    # The check as well as root leave it to the application to make this one.
    assert not place.joinpath("cache", "pyams", "blobs").exists()
    assert two_processes(application, account, place / "etc" / "pyams" / "client.env") == [
        ["main", "committed", "second"],
        ["main", "committed", "first"],
    ]
    assert seen(place / "cache" / "pyams" / "blobs")[:2] == (account, group)
    assert role.changed(storages) == []


def test_a_file_edited_by_hand_is_repaired(place, account):
    role = Role(place, zodb_client_group=account)
    storages = [{"name": "site", "filestorage": {"path": f"{place}/Data.fs"}}]
    role.changed(storages)
    edited = place / "etc" / "site" / "storage.inc"
    good = edited.read_text()
    edited.write_text(good.replace("pack-gc true", "pack-gc false"))
    edited.chmod(0o666)
    diff = role.start(storages, "--check", "--diff", callback="ansible.builtin.default").stdout
    assert "-  pack-gc false\n+  pack-gc true\n" in diff
    assert role.changed(storages) == [LAY]
    assert (edited.read_text(), seen(edited)) == (good, ("root", account, "0o640"))


def test_absent_removes_the_files_and_on_demand_the_caches(place, account):
    role = Role(place, zodb_client_group=account)
    role.changed([{"name": name, "zeo": {"server": "8100"}} for name in ("old", "site")])
    cached = place / "cache" / "old" / "blobs" / "x"
    cached.parent.mkdir()
    cached.touch()
    storages = [{"name": "old", "state": "absent"}, {"name": "site", "zeo": {"server": "8100"}}]
    assert role.changed(storages, "--check") == [LAY]
    assert role.changed(storages) == [LAY]
    assert role.changed(storages) == []
    assert [path.name for path in place.joinpath("etc").iterdir()] == ["site"]
    assert cached.exists()
    remove = {"zodb_client_remove_caches": True}
    assert role.changed(storages, **remove) == ["Configure | Remove the caches of absent storages"]
    assert role.changed(storages, **remove) == []
    assert [path.name for path in place.joinpath("cache").iterdir()] == ["site"]


def test_two_inclusions_in_one_play_leave_each_other_alone(place, account):
    role = Role(place, zodb_client_group=account)
    lists = [
        [{"name": "a", "zeo": {"server": "8100"}}],
        [{"name": "b", "zconfig": "<mappingstorage/>"}, {"name": "c", "zeo": {"server": "8101", "storage": "a"}}],
    ]
    assert role.changed(lists, "--check") == [LAY, LAY]
    assert role.changed(lists) == [LAY, LAY]
    assert role.changed(lists) == []
    assert sorted(path.name for path in place.joinpath("etc").iterdir()) == ["a", "b", "c"]


def test_an_application_with_several_databases(application, place, account, server):
    shutil.chown(place, account, account)
    role = Role(place, account, zodb_client_virtualenv=str(application))
    storages = [
        {
            "name": "site",
            "zeo": {"server": server, "storage": "pyams"},
            "databases": [{"name": "catalog", "storage": "catalog"}],
        },
        {"name": "catalog", "filestorage": {"path": f"{place}/Catalog.fs"}},
    ]
    assert role.changed(storages) == [LAY]
    assert role.changed(storages) == []
    assert not place.joinpath("Catalog.fs").exists()
    zope = as_account(account, application / "bin" / "python", "-c", ZOPE, place / "etc" / "site" / "zope.conf")
    assert subprocess.check_output(zope, text=True, cwd="/").split() == ["main", "catalog", "main"]
    assert place.joinpath("Catalog.fs").exists()
    assert role.changed(storages) == []


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Return a folder with certificates and keys of a server and of two clients, each signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "stranger"):
        extensions = ["subjectAltName=DNS:localhost,IP:127.0.0.1", "extendedKeyUsage=serverAuth,clientAuth"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-days", "2", "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
            + [word for extension in extensions for word in ("-addext", extension)],
            check=True,
            capture_output=True,
        )
    return folder


def test_mutual_tls_and_the_sentence_of_each_that_does_not_open(application, place, account, pairs):
    """All of them in one run, since each waits for its time to be over."""
    ssl = (
        f"  <ssl>\n    certificate {pairs}/server.crt\n    key {pairs}/server.key\n"
        f"    authenticate {pairs}/client.crt\n  </ssl>\n"
    )
    tls = {
        "ca": f"{pairs}/server.crt",
        "cert": f"{pairs}/client.crt",
        "key": f"{pairs}/client.key",
    }
    stranger = {**tls, "cert": f"{pairs}/stranger.crt", "key": f"{pairs}/stranger.key"}
    role = Role(place, zodb_client_group=account, zodb_client_virtualenv=str(application))
    with (
        served(application, place / "server", ssl) as secure,
        served(application, place / "plain") as plain,
    ):
        nobody_there = ("127.0.0.1", free_port())
        nobody = "{}:{}".format(*nobody_there)

        def zeo(name, server, **options):
            return {"name": name, "zeo": {"server": server, "storage": "pyams", "wait_timeout": 1, **options}}

        good = [
            zeo("secure", secure, tls=tls),
            zeo("named", secure, tls={**tls, "server_hostname": "localhost"}),
            zeo("plain", plain),
            {"name": "fresh", "filestorage": {"path": f"{place}/fresh/Data.fs"}},
            {"name": "raw", "zconfig": "<demostorage>\n<mappingstorage base/>\n</demostorage>"},
        ]
        place.joinpath("fresh").mkdir()
        assert role.changed(good) == [LAY]
        assert role.changed(good) == []
        assert list(place.joinpath("fresh").iterdir()) == []
        correct = "start it, or correct server and tls"
        bad = {
            "nobody": (nobody, {}, f"cannot be reached: Connect call failed {nobody_there}; {correct}"),
            "wrong": (plain, {"storage": "site"}, 'has no storage "site"; write the name as the server has it'),
            "open": (secure, {}, "does not speak ZEO to this client; give tls if it wants that"),
            "strange": (secure, {"tls": stranger}, "closes the connection; let it know this client's certificate"),
            "host": (
                secure,
                {"tls": {**tls, "server_hostname": "zeo.example.org"}},
                "cannot be reached: certificate verify failed: Hostname mismatch, certificate is not valid for "
                f"'zeo.example.org'.; {correct}",
            ),
            "trust": (
                secure,
                {"tls": {**tls, "ca": f"{pairs}/client.crt"}},
                f"cannot be reached: certificate verify failed: self-signed certificate; {correct}",
            ),
            "closed": (plain, {"tls": tls}, f"cannot be reached: wrong version number; {correct}"),
        }
        storages = [zeo(name, server, **options) for name, (server, options, _reason) in bad.items()]
        assert role.refusal([*storages, zeo("last", plain)]).splitlines() == [
            f'zodb_client_storages[{index}] "{name}": the server at {server} {reason}.'
            for index, (name, (server, _options, reason)) in enumerate(bad.items())
        ]


def test_what_zconfig_refuses_is_said_by_the_check(application, place, account):
    role = Role(place, zodb_client_group=account, zodb_client_virtualenv=str(application))
    bad = {
        "folder": (
            {"filestorage": {"path": f"{place}/missing/Data.fs"}},
            f"The directory named as part of the path {place}/missing/Data.fs does not exist. (line 5, in "
            f"file://{place}/etc/folder/storage.inc); install what it names, or mend the entry",
        ),
        "package": (
            {"zconfig": "%import nowhere\n<nothing/>"},
            f"there is no package nowhere in {application}; install it there, or mend the entry",
        ),
        "value": (
            {"zconfig": "<filestorage>\npath /x\nquota much\n</filestorage>"},
            f"invalid literal for int() with base 10: 'much' (line 6, in file://{place}/etc/value/storage.inc); "
            "install what it names, or mend the entry",
        ),
    }
    assert role.refusal([{"name": name, **storage} for name, (storage, _reason) in bad.items()]).splitlines() == [
        f'zodb_client_storages[{index}] "{name}": {reason}.'
        for index, (name, (_storage, reason)) in enumerate(bad.items())
    ]


def test_the_application_lacks_zeo(place, account):
    bare = place / "bare"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", bare], check=True)
    role = Role(place, zodb_client_group=account, zodb_client_virtualenv=str(bare))
    assert role.refusal([{"name": "site", "zeo": {"server": "8100"}}]) == (
        f"zodb_client_storages[0] \"site\": No module named 'ZConfig' in {bare}; "
        f"install what the storage needs, such as ZEO."
    )


RELSTORAGE = storage_servers.VIRTUALENV  # of an application that has the drivers of PostgreSQL and MySQL

# An application that keeps one word, in a blob.
WORD = """
import sys
import ZODB.config
from ZODB.blob import Blob

database = ZODB.config.databaseFromURL(sys.argv[1])
with database.transaction() as connection:
    if sys.argv[2:]:
        connection.root()["word"] = Blob(sys.argv[2].encode())
    else:
        print(connection.root()["word"].open().read().decode())
database.close()
"""


def word(account, file, *new):
    """Have one process of an application write its word, or another one read it and return it."""
    command = as_account(account, RELSTORAGE / "bin" / "python", "-I", "-c", WORD, file, *new)
    return subprocess.check_output(command, text=True, cwd="/").strip()


ODD = 'it\'s: "käse" $x \\1 \\: #'  # a password of all that needs quoting anywhere


@pytest.fixture
def database(postgresql):
    """Return the options of a database whose owner has an odd password."""
    name, quoted = postgresql.make_database(), ODD.replace("'", "''")
    postgresql.psql(f"create role {name} login password '{quoted}'; alter database {name} owner to {name}")
    yield {"host": "127.0.0.1", "port": postgresql.port, "dbname": name, "user": name, "password": ODD}
    postgresql.drop_database(name)
    postgresql.psql(f"drop role {name}")


def test_an_application_logs_into_postgresql_by_the_password_that_was_laid(place, account, postgresql, database):
    role = Role(place, zodb_client_group=account, zodb_client_user=account, zodb_client_virtualenv=str(RELSTORAGE))
    tables = "select count(*) from pg_tables where schemaname = 'public'"

    def site(**options):
        return [{"name": "site", "postgresql": {**database, **options}}]

    assert role.changed(site(), "--check", "--diff") == [LAY]
    assert not place.joinpath("etc").exists()
    assert role.refusal(site()) == (
        'zodb_client_storages[0] "site": the database has no tables of RelStorage; have them made where it is served, '
        "or set create_schema to true."
    )
    assert role.refusal(site(keep_history=True)).endswith("or set create_schema to true.")
    # The check passes where the application is going to make them, and makes none itself, nor a folder.
    assert role.changed(site(create_schema=True)) == [LAY]
    assert postgresql.psql(tables, database["dbname"]) == "0"
    assert list(place.joinpath("cache", "site").iterdir()) == []

    files = place / "etc" / "site"
    word(account, files / "zodb.conf", "first")
    assert seen(place / "cache" / "site" / "blobs")[:2] == (account, account)
    assert role.changed(site()) == [LAY]
    assert role.changed(site()) == []
    assert word(account, files / "zodb.conf") == "first"
    assert seen(files / "pgpass") == (account, account, "0o600")
    others = {seen(path) for path in files.iterdir() if path.name != "pgpass"}
    assert others == {("root", account, "0o640")}
    assert [path.name for path in files.iterdir() if "käse" in path.read_text()] == ["pgpass"]
    packed = subprocess.run(
        [RELSTORAGE / "bin" / "zodbpack", files / "pack.conf"], capture_output=True, text=True, check=False
    )
    assert packed.returncode == 0, packed.stderr

    several = {"host": ["127.0.0.1", "localhost"], "target_session_attrs": "read-write"}
    assert role.changed(site(**several, connect_timeout=2, tcp_user_timeout=4000)) == [LAY]
    assert word(account, files / "zodb.conf") == "first"
    assert word(account, files / "read-only.conf") == "first"
    with pytest.raises(subprocess.CalledProcessError):
        word(account, files / "read-only.conf", "second")

    word_left = "comment on table object_state is 'pyams.zodb: procedures of RelStorage {}'"
    postgresql.psql(word_left.format("4.2.1"), database["dbname"])
    assert role.changed(site()) == [LAY]  # the procedures are the same
    postgresql.psql("comment on function lock_objects_and_detect_conflicts is 'of 4.2.1'", database["dbname"])
    assert role.refusal(site()) == (
        'zodb_client_storages[0] "site": the database\'s stored procedures are of RelStorage 4.2.1, and that in '
        f"{RELSTORAGE} is newer and has others; install RelStorage==4.2.1 there, or have a newer release prepare the "
        "database."
    )
    postgresql.psql(word_left.format("99.0"), database["dbname"])
    assert role.changed(site()) == []

    assert role.refusal(site(keep_history=True)) == (
        'zodb_client_storages[0] "site": the database keeps no history, which was decided when it was made; set '
        "keep_history to false."
    )
    wrong = role.refusal(site(password="not the one"))
    assert wrong.startswith('zodb_client_storages[0] "site": the database cannot be opened: ')
    assert f'password authentication failed for user "{database["user"]}"' in wrong
    assert "not the one" not in wrong
    assert not files.joinpath("read-only.conf").exists()


@pytest.fixture
def pooler(open_folder, postgresql):
    """Return a function that starts a PgBouncer before the server, in a pool_mode, and returns its port."""
    with contextlib.ExitStack() as stack:

        def start(mode):
            bouncer = storage_servers.PgBouncer(postgresql, open_folder(), mode)
            stack.callback(bouncer.stop)
            return bouncer.port

        yield start


def test_a_pooler_has_to_be_one_of_sessions(place, account, postgresql, database, pooler):
    role = Role(place, zodb_client_group=account, zodb_client_user=account, zodb_client_virtualenv=str(RELSTORAGE))
    tables = "select count(*) from pg_tables where schemaname = 'public'"

    def site(port):
        return [{"name": "site", "postgresql": {**database, "port": port, "create_schema": True}}]

    refusal = (
        'zodb_client_storages[0] "site": the database is reached through a pooler that gives a client another session '
        "for each transaction, as PgBouncer does with pool_mode = transaction, and RelStorage keeps locks, prepared "
        "statements and temporary tables in one; set pool_mode = session, or name the server itself."
    )
    for mode in ("transaction", "statement"):
        assert role.refusal(site(pooler(mode))) == refusal
    assert postgresql.psql(tables, database["dbname"]) == "0"

    sessions = site(pooler("session"))
    assert role.changed(sessions) == [LAY]
    files = place / "etc" / "site"
    word(account, files / "zodb.conf", "first")
    assert word(account, files / "zodb.conf") == "first"
    packed = subprocess.run(
        [RELSTORAGE / "bin" / "zodbpack", files / "pack.conf"], capture_output=True, text=True, check=False
    )
    assert packed.returncode == 0, packed.stderr
    assert role.changed(sessions) == []


# An application that stays. Each line is a word to keep, or none to tell the one that is kept; each answer is the word
# that it ends with, however often it has to begin anew meanwhile.
STAYING = """
import sys, time
import psycopg2, ZODB.config
from ZODB.blob import Blob
from ZODB.POSException import ConflictError

database = ZODB.config.databaseFromURL(sys.argv[1])
for line in sys.stdin:
    deadline = time.monotonic() + 20
    while True:
        try:
            with database.transaction() as connection:
                if line.strip():
                    connection.root()["word"] = Blob(line.strip().encode())
                    said = line.strip()
                else:
                    said = connection.root()["word"].open().read().decode()
            break
        except (psycopg2.Error, ConflictError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    print(said, flush=True)
database.close()
"""


class Staying:
    """Such an application. RelStorage says much while it has no server, more than a pipe holds."""

    def __init__(self, account, file, log):
        self.log = log
        command = as_account(account, RELSTORAGE / "bin" / "python", "-I", "-c", STAYING, file)
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def send(self, line=""):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self):
        said = self.process.stdout.readline().strip()
        assert said, self.log.read_text()
        return said

    def word(self, line=""):
        self.send(line)
        return self.answer()

    def close(self):
        self.process.communicate(timeout=60)


@pytest.fixture
def pair(open_folder, certificates):
    """Return a primary of PostgreSQL and its standby, which the test may stop."""
    with contextlib.ExitStack() as stack:
        primary = storage_servers.PostgreSQL(open_folder(), certificates)
        stack.callback(primary.stop)
        standby = primary.standby(open_folder())
        stack.callback(standby.stop)
        yield primary, standby


def test_an_application_follows_the_primary_and_a_reader_reads_from_the_standby(place, account, pair):
    """The standby is named first. What it had not got when the primary fell is lost, and the application knows."""
    primary, standby = pair
    name = primary.make_database()
    postgresql = {
        "host": [f"127.0.0.1:{server.port}" for server in (standby, primary)],
        "dbname": name,
        "user": primary.ROLE,
        "password": primary.QUOTED,
        "target_session_attrs": "read-write",
        "connect_timeout": 2,
        "tcp_user_timeout": 4000,
        "create_schema": True,
    }
    role = Role(place, zodb_client_group=account, zodb_client_user=account, zodb_client_virtualenv=str(RELSTORAGE))
    storages = [{"name": "site", "postgresql": postgresql}]
    assert role.changed(storages) == [LAY]
    files = place / "etc" / "site"
    *_comments, line = files.joinpath("replicas.conf").read_text().splitlines()
    assert line == f"127.0.0.1,127.0.0.1:{standby.port},{primary.port}"
    assert seen(files / "replicas.conf") == ("root", account, "0o640")

    def busy(server):
        """Return whether a server has connections of RelStorage."""
        return server.psql("select count(*) from pg_stat_activity where application_name like 'RS:%'") != "0"

    def caught_up():
        last = primary.psql("select pg_current_wal_lsn()")
        return standby.psql(f"select pg_last_wal_replay_lsn() >= '{last}'") == "t"

    with contextlib.closing(Staying(account, files / "zodb.conf", place / "application.log")) as application:
        assert application.word("first") == "first"
        assert (busy(primary), busy(standby)) == (True, False)
        storage_servers.until(caught_up, standby.log.read_text)
        with contextlib.closing(Staying(account, files / "read-only.conf", place / "reader.log")) as reader:
            assert reader.word() == "first"
            assert busy(standby)
        assert role.changed(storages) == []

        standby.stop()
        assert application.word("lost") == application.word() == "lost"
        primary.stop()
        application.send()
        standby.start()
        assert word(account, files / "read-only.conf") == "first"
        standby.psql("select pg_promote()")
        assert application.answer() == "first"
        assert application.word("second") == "second"
    assert word(account, files / "zodb.conf") == "second"
    assert role.changed(storages) == []


def test_a_password_that_is_dropped_goes_with_its_file(place, account):
    role = Role(place, zodb_client_group=account, zodb_client_user=account)
    postgresql = {"host": "db1", "dbname": "site"}
    own = place / "own"
    own.write_text("*:*:*:*:x\n")
    for storage, secret in (
        ({"mariadb": {"host": "db1", "db": "site", "password": "käse: $x"}}, {"my.cnf"}),
        ({"postgresql": {**postgresql, "passfile": str(own)}}, set()),
        ({"postgresql": {**postgresql, "password": ODD}}, {"pgpass"}),
    ):
        assert role.changed([{"name": "site", **storage}]) == [LAY]
        laid = {path.name for path in place.joinpath("etc", "site").iterdir()}
        assert laid & {"pgpass", "my.cnf"} == secret
    assert role.changed([{"name": "site", "state": "absent"}]) == [LAY]
    assert list(place.joinpath("etc").iterdir()) == []
    assert own.exists()


def test_what_mysql_s_option_file_says(place, account):
    """Read as a driver does; the other reader of such files, that of MySQL's own library, is not here."""
    role = Role(place, zodb_client_group=account)
    odd = "it's: käse $x #1 [client]"
    role.changed([{"name": "site", "mysql": {"host": "db1", "db": "site", "password": odd}}])
    laid = place / "etc" / "site" / "my.cnf"
    assert seen(laid) == ("root", account, "0o640")
    program = "import sys; from pymysql.optionfile import Parser; options = Parser(); options.read(sys.argv[1]); "
    program += "print(options.get('client', 'password'))"
    read = subprocess.check_output([RELSTORAGE / "bin" / "python", "-c", program, laid], text=True)
    assert read == f"{odd}\n"


def test_sqlite_is_made_by_the_application_and_not_by_the_check(place, account):
    role = Role(place, zodb_client_group=account, zodb_client_user=account, zodb_client_virtualenv=str(RELSTORAGE))
    data = place / "data"

    def site(**options):
        return [{"name": "site", "sqlite": {"data_dir": str(data), **options}}]

    where = 'zodb_client_storages[0] "site":'
    assert role.refusal(site()) == f"{where} there is no folder {data}; make it and give it to {account}."
    data.mkdir()
    path = data / "main.sqlite3"
    assert role.refusal(site()) == (
        f"{where} {path} is not there and {account} cannot write its folder; give the folder to that account."
    )
    shutil.chown(data, account, account)
    assert role.refusal(site(create_schema=False)) == (
        f"{where} {path} is not there, and create_schema is false; set it to true."
    )
    assert role.changed(site()) == [LAY]
    assert list(data.iterdir()) == list(place.joinpath("cache", "site").iterdir()) == []
    files = place / "etc" / "site"
    word(account, files / "zodb.conf", "first")
    before = sorted(data.iterdir())
    assert role.changed(site()) == []
    assert sorted(data.iterdir()) == before
    assert word(account, files / "zodb.conf") == "first"
    packer = as_account(account, RELSTORAGE / "bin" / "zodbpack", files / "pack.conf")
    packed = subprocess.run(packer, capture_output=True, text=True, check=False, cwd="/")
    assert packed.returncode == 0, packed.stderr
    assert word(account, files / "zodb.conf") == "first"
    assert role.refusal(site(keep_history=True)) == (
        f"{where} the database keeps no history, which was decided when it was made; set keep_history to false."
    )


def test_the_application_lacks_what_a_database_needs(application, place, account):
    role = Role(place, zodb_client_group=account, zodb_client_user=account)
    nobody = {"host": "127.0.0.1", "port": free_port()}
    storages = [
        {"name": "pg", "postgresql": {**nobody, "dbname": "site"}},
        {"name": "my", "mysql": {**nobody, "db": "site"}},
        {"name": "maria", "mariadb": {**nobody, "db": "site"}},
        {"name": "oracle", "oracle": {"user": "site", "password": "correct-horse", "dsn": "db1/site"}},
    ]
    where = [f'zodb_client_storages[{index}] "{storage["name"]}":' for index, storage in enumerate(storages)]
    assert role.refusal(storages, zodb_client_virtualenv=str(application)).splitlines() == [
        f"{where[0]} there is no driver for postgresql in {application}; install psycopg2-binary there.",
        f"{where[1]} there is no driver for mysql in {application}; install mysqlclient there.",
        f"{where[2]} there is no package pyams_zodb_tools in {application}; install it there, or mend the entry.",
        f"{where[3]} there is no driver for oracle in {application}; install cx_Oracle there.",
    ]
    # With the drivers it is the servers that are not there.
    said = role.refusal(storages, zodb_client_virtualenv=str(RELSTORAGE)).splitlines()
    for line, place_in_list in zip(said[:3], where):
        assert line.startswith(f"{place_in_list} the database cannot be opened: "), line
        assert line.endswith("; start it, or correct the entry."), line
    assert said[3:] == [f"{where[3]} there is no driver for oracle in {RELSTORAGE}; install cx_Oracle there."]


INSTALL = "Install | Install what is missing"
WHEELS = ansible_tasks.ROOT / ".cache" / "wheels"


@pytest.fixture
def older(place, account):
    """Return an application's virtualenv, of its account, with some packages of an older release."""
    folder = place / "older"
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-qq", "--no-index", "--find-links", WHEELS]
    subprocess.run(["/usr/bin/python3", "-m", "venv", folder], check=True)
    subprocess.run([*pip, "transaction==5.0", "zope.interface==7.2"], check=True)
    subprocess.run(["chown", "--recursive", "--no-dereference", f"{account}:", folder], check=True)
    return folder


def installed(virtualenv):
    """Return name and version of each package of a virtualenv, by the names of their folders."""
    found = [path.stem.rsplit("-", 1) for path in virtualenv.glob("lib/python3*/site-packages/*.dist-info")]
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in found}


def test_what_the_storages_need_is_installed_and_nothing_else_changes(place, account, older, postgresql, database):
    variables = {"zodb_client_install_packages": True, "zodb_wheelhouse": str(WHEELS)}
    role = Role(
        place, zodb_client_group=account, zodb_client_virtualenv=str(older), zodb_client_user=account, **variables
    )
    storages = [{"name": "site", "postgresql": {**database, "create_schema": True}}]
    before = installed(older)
    predicted = role.results(storages, "--check")
    changed = [(name.partition(" : ")[2], result.get("msg")) for name, result in predicted if result.get("changed")]
    assert changed == [
        ("Install | Tell what a run would install", f"RelStorage, psycopg2-binary would be installed into {older}"),
        (LAY, None),
    ]
    assert installed(older) == before

    assert role.changed(storages) == [INSTALL, LAY]
    after = installed(older)
    assert {name: after[name] for name in before} == before
    assert {"relstorage", "psycopg2-binary", "zodb"} <= {*after}
    assert after["transaction"] == "5.0"
    # Those of the lock, not the newest that goes.
    lock = ansible_tasks.ROOT.joinpath("roles", "zodb_common", "files", "locks", "relstorage-2026.11.txt").read_text()
    for name in after.keys() - before.keys():
        assert f"\n{name}=={after[name]} " in f"\n{lock}", name
    assert {pwd.getpwuid(path.lstat().st_uid).pw_name for path in older.rglob("*")} == {account}
    assert role.changed(storages, "--check") == role.changed(storages) == []
    # What is missing for a further storage, and only that.
    more = [*storages, {"name": "zeo", "zeo": {"server": f"127.0.0.1:{free_port()}", "wait_timeout": 1}}]
    assert "the server at 127.0.0.1:" in role.refusal(more)
    assert installed(older).keys() - after.keys() == {"zeo", "zdaemon"}


def test_a_package_that_does_not_go_with_what_is_there(place, account, older):
    role = Role(place, zodb_client_group=account, zodb_client_virtualenv=str(older), zodb_client_install_packages=True)
    storages = [{"name": "site", "sqlite": {"data_dir": "/srv"}}]
    (site_packages,) = older.glob("lib/python3*/site-packages")
    shutil.move(site_packages / "transaction-5.0.dist-info", site_packages / "transaction-2.1.dist-info")
    metadata = site_packages / "transaction-2.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("\nVersion: 5.0\n", "\nVersion: 2.1\n"))
    before = sorted(path for path in older.rglob("*") if path.suffix != ".pyc")
    where = f"zodb_client_virtualenv {older}:"
    assert role.refusal(storages, zodb_wheelhouse=str(WHEELS)) == (
        f"{where} RelStorage cannot be installed from {WHEELS} beside what is there: relstorage 4.3.0 depends on "
        "transaction>=2.4.0, transaction==2.1 has to be taken; mend that, or install them yourself."
    )
    empty = place / "empty"
    empty.mkdir()
    assert role.refusal(storages, zodb_wheelhouse=str(empty)) == (
        f"{where} RelStorage cannot be installed from {empty} beside what is there: RelStorage is wanted, "
        "relstorage==4.3.0 has to be taken; mend that, or install them yourself."
    )
    assert sorted(path for path in older.rglob("*") if path.suffix != ".pyc") == before
    assert not place.joinpath("etc").exists()


@pytest.mark.parametrize(
    ("storages", "variables", "message"),
    [
        pytest.param(
            [{"name": "site", "zeo": {"server": "8100", "tsl": {}}}],
            {},
            "Validation of arguments failed:\nzodb_client_storages.zeo.tsl. Supported parameters include: "
            "blob_cache_size, "
            "blob_dir, cache_size, client_label, read_only, read_only_fallback, server, server_sync, shared_blob_dir, "
            "storage, tls, wait_timeout.",
            id="unknown key",
        ),
        pytest.param(
            [{"name": "site", "zeo": {"server": "8100"}, "pool_size": "many"}],
            {},
            "Validation of arguments failed:\nargument 'pool_size' is of type str found in 'zodb_client_storages'. "
            "and we "
            "were unable to convert to int: \"'many'\" cannot be converted to an int",
            id="wrong type",
        ),
        pytest.param(
            [{"name": "site", "zeo": {"server": "zeo"}}, {"name": "site"}],
            {},
            'zodb_client_storages[0] "site": zeo.server zeo has no port; write zeo:8100, or the absolute path of a '
            "socket.\n"
            'zodb_client_storages[1] "site": the name is already that of zodb_client_storages[0]; choose another.\n'
            'zodb_client_storages[1] "site": no kind of storage is named; give one of zeo, filestorage, postgresql, '
            "newt, mysql, mariadb, oracle, sqlite, zconfig.",
            id="rules, all at once",
        ),
        pytest.param(
            [{"name": "site", "zeo": {"server": "8100", "tls": {"ca": "/no/ca.pem", "cert": "/no/cert.pem"}}}],
            {},
            'zodb_client_storages[0] "site": zeo.tls.ca /no/ca.pem: it is not on this host; lay it there first.\n'
            'zodb_client_storages[0] "site": zeo.tls.cert /no/cert.pem: it is not on this host; lay it there first.',
            id="no certificate",
        ),
        pytest.param(
            [{"name": "site", "postgresql": {"dbname": "site", "password": "correct-horse"}}],
            {},
            'zodb_client_storages[0] "site": postgresql.password is laid for the application\'s account alone, as '
            "PostgreSQL's client demands; name that account in zodb_client_user.",
            id="a password for nobody",
        ),
        pytest.param(
            [{"name": "site", "postgresql": {"dbname": "site", "passfile": "/no/pgpass"}}],
            {},
            'zodb_client_storages[0] "site": postgresql.passfile /no/pgpass: it is not on this host; lay it there '
            "first.",
            id="no passfile",
        ),
        pytest.param(
            [{"name": "site", "zeo": {"server": "8100"}}],
            {"zodb_client_virtualenv": "/no/venv"},
            "zodb_client_virtualenv /no/venv: there is no bin/python in it; "
            "name the folder of a virtualenv, or leave it "
            "out.",
            id="no virtualenv",
        ),
        pytest.param(
            [{"name": "site", "zeo": {"server": "8100"}}],
            {"zodb_client_group": "no-such-group", "zodb_client_manage_group": False},
            "zodb_client_group no-such-group: there is no such group, and zodb_client_manage_group is false; "
            "create it.",
            id="no group",
        ),
    ],
)
def test_refused_before_anything_changes(place, account, storages, variables, message):
    before = sorted(place.rglob("*"))
    assert Role(place, zodb_client_group=account).refusal(storages, **variables) == message
    assert [path for path in sorted(place.rglob("*")) if path.name != "playbook.json"] == before


@pytest.mark.parametrize(
    ("storage", "file"),
    [
        pytest.param(
            {"zconfig": "<relstorage>\n  password correct-horse-battery\n</relstorage>"}, "storage.inc", id="zconfig"
        ),
        pytest.param(
            {"postgresql": {"dbname": "site", "password": "correct-horse-battery"}}, "pgpass", id="postgresql"
        ),
        pytest.param({"mysql": {"db": "site", "password": "correct-horse-battery"}}, "my.cnf", id="mysql"),
        pytest.param({"mariadb": {"db": "site", "password": "correct-horse-battery"}}, "my.cnf", id="mariadb"),
        pytest.param(
            {"oracle": {"user": "site", "password": "correct-horse-battery", "dsn": "db1/site"}},
            "storage.inc",
            id="oracle",
        ),
    ],
)
def test_no_secret_is_shown(place, account, storage, file):
    role = Role(place, zodb_client_group=account, zodb_client_user=account)
    for arguments in (["--check"], [], []):
        done = role.start(
            [{"name": "site", **storage}], "--diff", "-vvv", *arguments, callback="ansible.builtin.default"
        )
        assert done.returncode == 0, done.stdout
        assert "correct-horse-battery" not in done.stdout + done.stderr
    assert "correct-horse-battery" in place.joinpath("etc", "site", file).read_text()


def test_templates_and_vaults_in_an_entry(place, account):
    """Ansible tags such values; what the filters make of them is plain text in a file."""
    place.joinpath("password").write_text("swordfish")
    vaulted = subprocess.check_output(
        [*ansible_vault(place), "--stdin-name", "vaulted"], input="web-1", text=True, stderr=subprocess.DEVNULL
    )
    playbook = place / "playbook.yml"
    playbook.write_text(
        textwrap.dedent(f"""\
        - hosts: localhost
          gather_facts: false
          vars:
            zodb_config_dir: {place}/etc
            zodb_cache_dir: {place}/cache
            zodb_allow_untested_platform: true
            zodb_client_group: {account}
            port: 8123
            zodb_client_storages:
              - name: "{{{{ 'si' ~ 'te' }}}}"
                pool_size: "{{{{ port - 8120 }}}}"
                zeo:
                  server: ["zeo:{{{{ port }}}}", "{{{{ port }}}}"]
                  client_label: "{{{{ vaulted }}}}"
        """)
        + textwrap.indent(vaulted, "    ")
        + "  tasks:\n    - ansible.builtin.include_role: {name: pyams.zodb.zodb_client}\n"
    )
    done = subprocess.run(
        ansible_tasks.command(playbook, "--vault-password-file", str(place / "password")),
        env=ansible_tasks.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DEPRECATION" not in done.stdout + done.stderr
    storage = place.joinpath("etc", "site", "storage.inc").read_text()
    assert "  server zeo:8123\n  server 127.0.0.1:8123\n" in storage
    assert "  client-label web-1\n" in storage
    assert "  pool-size 3\n" in place.joinpath("etc", "site", "zodb.conf").read_text()


def ansible_vault(place):
    command = Path(ansible_tasks.command("")[0]).with_name("ansible-vault")
    return [command, "encrypt_string", "--vault-password-file", place / "password"]
