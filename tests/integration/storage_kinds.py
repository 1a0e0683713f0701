# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storages of every kind for the tests, empty when they are made, to be filled, compared and looked at.

Nothing of the collection is used here: sections are written by hand, and what a storage holds is read past ZODB where
that can be done, so that a mistake of the collection cannot hide itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess

from storage_servers import PYTHON, MariaDB, PostgreSQL, Zeo, as_user, own, start, until

HERE = pathlib.Path(__file__).parent
KINDS = ("filestorage", "zeo", "zeo_tls", "sqlite", "sqlite_history", "postgresql", "postgresql_history")
MARIADB = ("mariadb", "mariadb_history")


@dataclasses.dataclass
class Storage:
    """A storage and what is known of it.

    description: as a user of the modules would write it. section: its ZConfig section, for {name} in whose head
    str.format puts a name. location: where storage_compare.py reads it. history: whether revisions are kept.
    account: whose it is, null for that of the tests. blob_dir: null without blobs. server: its own, where there is one.
    """

    kind: str
    folder: pathlib.Path
    description: dict
    section: str
    location: dict
    history: bool
    account: str | None = None
    blob_dir: pathlib.Path | None = None
    server: Zeo | PostgreSQL | MariaDB | None = None
    database: str | None = None

    def zconfig(self, name=""):
        """Return its section, with a name if one is given."""
        return self.section.replace("{name}", f" {name}" if name else "")

    def described_with_password(self):
        """Return the description of a PostgreSQL storage over its port, where a password is asked for."""
        ((kind, options),) = self.description.items()
        return {kind: {**options, "host": "127.0.0.1", "password": self.server.QUOTED}}

    def fill(self, **options):
        """Put data into it, see storage_generate.py for the options, and return what was put there."""
        configuration = self.folder / "fill.conf"
        configuration.write_text(self.zconfig())
        return run("storage_generate.py", configuration, json.dumps(options), account=self.account)

    @contextlib.contextmanager
    def written(self, rate=100):
        """Have a process commit so many times a second; what was acknowledged is a Ledger, complete at the end."""
        configuration = self.folder / "write.conf"
        configuration.write_text(self.zconfig())
        ledger = Ledger(self.folder / "ledger")
        ledger.path.touch()
        own(ledger.path, self.account)
        command = [PYTHON, "-c", (HERE / "storage_writer.py").read_text(), configuration, ledger.path, str(rate)]
        process = start(command, self.folder / "write.log", self.account, signal.SIGTERM)
        try:
            until(lambda: ledger.count() or process.poll() is not None, lambda: "the writer does not write")
            yield ledger
        finally:
            process.terminate()
            process.wait(30)
        assert process.returncode == 0, (self.folder / "write.log").read_text()

    def read(self):
        """Return what it holds, see storage_compare.py, read without changing it."""
        return run("storage_compare.py", json.dumps(self.location))

    def plant(self, fault):
        """Make it look right and be wrong, see storage_plant.py for the faults, and return the oids."""
        return run("storage_plant.py", json.dumps(self.location), fault, account=self.account)

    def differences(self, other):
        """Return what differs between this storage and another, see storage_compare.py; nothing if they are equal."""
        return run("storage_compare.py", json.dumps(self.location), json.dumps(other.location))


@dataclasses.dataclass
class Ledger:
    """What storage_writer.py was acknowledged. To be compared, where nothing but extra objects may differ."""

    path: pathlib.Path

    def count(self):
        return self.path.read_bytes().count(b"\n")

    def lost(self, storage):
        """Return what is not in a storage as it was acknowledged."""
        location = {"reader": "ledger", "path": str(self.path), "history": False, "blob_dir": None}
        differing = run("storage_compare.py", json.dumps(location), json.dumps(storage.location))
        differing.pop("extra", None)
        return differing


def run(script, *arguments, account=None):
    """Run a script of this folder by the virtualenv's Python, and return what it printed, as JSON."""
    done = subprocess.run(
        [PYTHON, "-", *arguments],
        input=(HERE / script).read_text(),  # an account may not get at this folder
        capture_output=True,
        text=True,
        check=False,
        **as_user(account),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make(kind, folder, postgresql=None, mariadb=None, certificates=None, blobs="own", account=None):
    """Return a new storage of one of KINDS or MARIADB. Its tables and files are made by whoever opens it first.

    folder: a new one for it, which account can reach. blobs: "own", "shared", or null for none. ZEO is started.
    mariadb_history has its tables, but no transaction.
    """
    folder.mkdir(mode=0o755)
    own(folder, account)
    blob_dir = folder / "blobs" if blobs else None
    common = {"folder": folder, "account": account, "blob_dir": blob_dir}
    if kind == "filestorage":
        description = {"path": f"{folder}/Data.fs"}
        lines = [f"path {folder}/Data.fs"]
        if blobs:
            description["blob_dir"] = str(blob_dir)
            lines.append(f"blob-dir {blob_dir}")
        return Storage(
            kind,
            description={"filestorage": description},
            section=_section("filestorage", lines),
            location=_file(folder, blob_dir),
            history=True,
            **common,
        )
    if kind.startswith("zeo"):
        return _zeo(kind, certificates if kind == "zeo_tls" else None, blobs, common)
    history = kind.endswith("_history")
    options: dict = {"keep_history": history}
    lines = [f"keep-history {str(history).lower()}"]
    if blobs:
        options.update(blob_dir=str(blob_dir), shared_blob_dir=blobs == "shared")
        lines += [f"blob-dir {blob_dir}", f"shared-blob-dir {str(blobs == 'shared').lower()}"]
    location = {"history": history, "blob_dir": str(blob_dir) if blobs == "shared" else None}
    if kind.startswith("sqlite"):
        data = folder / "data"
        data.mkdir()
        own(data, account)
        return Storage(
            kind,
            description={"sqlite": {"data_dir": str(data), **options}},
            section="%import relstorage\n" + _section("relstorage", lines, _section("sqlite3", [f"data-dir {data}"])),
            location={"reader": "sqlite", "path": f"{data}/main.sqlite3", **location},
            history=history,
            **common,
        )
    if kind in MARIADB:
        return _mariadb(kind, mariadb, options, lines, location, common)
    database = postgresql.make_database()
    where = {"host": str(postgresql.socket_dir), "port": postgresql.port, "dbname": database, "user": postgresql.ROLE}
    dsn = " ".join(f"{name}='{value}'" for name, value in where.items())
    return Storage(
        kind,
        description={"postgresql": {**where, **options}},
        section="%import relstorage\n" + _section("relstorage", lines, _section("postgresql", [f"dsn {dsn}"])),
        location={"reader": "postgresql", "dsn": dsn.replace(f"'{postgresql.ROLE}'", "'admin'"), **location},
        history=history,
        server=postgresql,
        database=database,
        **common,
    )


def _mariadb(kind, mariadb, options, lines, location, common):
    database = mariadb.make_database()
    where = {"host": "127.0.0.1", "port": mariadb.port, "db": database, "user": mariadb.ROLE}
    own_lines = [*(f"{name} {value}" for name, value in where.items()), f"passwd {mariadb.QUOTED}"]
    made = Storage(
        kind,
        description={"mariadb": {**where, "password": mariadb.QUOTED, **options}},
        section="%import relstorage\n%import pyams_zodb_tools\n"
        + _section("relstorage", lines, _section("mariadb", own_lines)),
        location={"reader": "mysql", "where": {**where, "password": mariadb.QUOTED}, **location},
        history=location["history"],
        server=mariadb,
        database=database,
        **common,
    )
    if made.history:
        subprocess.run([PYTHON, "-c", mariadb.WITH_HISTORY, made.zconfig()], check=True)
    return made


def _zeo(kind, certificates, blobs, common):
    folder = common["folder"]
    server = Zeo(folder, common["account"], certificates)
    server.start()
    cache = folder / "blobs" if blobs == "shared" else folder / "cache"
    description = {"server": f"127.0.0.1:{server.port}", "storage": server.STORAGE}
    lines = [f"server 127.0.0.1:{server.port}", f"storage {server.STORAGE}", "wait-timeout 10"]
    if blobs:
        description.update(blob_dir=str(cache), shared_blob_dir=blobs == "shared")
        lines += [f"blob-dir {cache}", f"shared-blob-dir {str(blobs == 'shared').lower()}"]
    ssl = ""
    if certificates:
        files = {"ca": certificates.server, "cert": certificates.client, "key": certificates.client_key}
        description["tls"] = {name: str(path) for name, path in files.items()}
        ssl = _section(
            "ssl", [f"certificate {files['cert']}", f"key {files['key']}", f"authenticate {files['ca']}"], named=False
        )
    return Storage(
        kind,
        description={"zeo": description},
        section="%import ZEO\n" + _section("clientstorage", lines, ssl),
        location=_file(folder, folder / "blobs"),
        history=True,
        server=server,
        **common,
    )


def _file(folder, blob_dir):
    return {
        "reader": "file",
        "path": f"{folder}/Data.fs",
        "history": True,
        "blob_dir": str(blob_dir) if blob_dir else None,
    }


def _section(kind, lines, inner="", named=True):
    head = "{name}" if named and kind not in ("sqlite3", "postgresql", "mariadb") else ""
    return f"<{kind}{head}>\n" + "".join(f"  {line}\n" for line in lines) + inner + f"</{kind}>\n"
