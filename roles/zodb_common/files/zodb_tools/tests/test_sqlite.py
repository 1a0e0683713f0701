# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-schema, zodb-pack and zodb-health of SQLite databases, while other processes have them open."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import pwd
import re
import sqlite3
import subprocess
import sys
import tempfile

import persistent.mapping
import pytest
import ZODB
import ZODB.blob
import ZODB.config
from real import SCRIPTS, called, on_small_disk, started, until, write_database_settings

from pyams_zodb_tools import _kinds
from pyams_zodb_tools._errors import Failure

HISTORY = ["keep-history false", "keep-history true"]
# A process that counts until it is told to stop, and says how far it came.
WRITER = """
import sys, threading, transaction, ZODB.config, ZODB.POSException
database = ZODB.DB(ZODB.config.storageFromString(sys.argv[1]))
root = database.open().root()
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), told.set()), daemon=True).start()
count = 0
while not told.is_set():
    transaction.begin()
    root[sys.argv[2]] = count + 1
    try:
        transaction.commit()
    except ZODB.POSException.ConflictError:  # the other one was first
        transaction.abort()
        continue
    count += 1
    if count == 1:
        print("begun", flush=True)
transaction.abort()
print(count)
database.close()
"""


class Site:
    """A storage in SQLite, with a shared folder of blobs."""

    def __init__(self, folder: pathlib.Path, more: str):
        self.folder, self.more = folder, more
        self.data, self.blobs = folder / "data", folder / "blobs"
        self.main = self.data / "main.sqlite3"
        for made in self.data, self.blobs:
            made.mkdir(mode=0o700)

    def section(self, more: str = "") -> str:
        return (
            f"%import relstorage\n<relstorage>\n{self.more}\n{more}\ncreate-schema false\nblob-dir {self.blobs}\n"
            f"shared-blob-dir true\n<sqlite3>\ndata-dir {self.data}\n</sqlite3>\n</relstorage>\n"
        )

    def settings(self, more: str = "", **changes) -> pathlib.Path:
        file = self.folder / "sqlite.toml"
        return write_database_settings(file, {"site": self.section(more)}, kind="sqlite", service="sqlite", **changes)

    @contextlib.contextmanager
    def open(self):
        opened = ZODB.DB(ZODB.config.storageFromString(self.section()))
        try:
            yield opened
        finally:
            opened.close()

    def fill(self, garbage: int = 50) -> None:
        """Commit objects that are kept, with a blob, and others with blobs that nothing refers to any more."""
        with self.open() as opened:
            with opened.transaction() as connection:
                connection.root()["kept"] = persistent.mapping.PersistentMapping(text="kept")
                connection.root()["blob"] = ZODB.blob.Blob(b"0" * 1000)
                connection.root()["lost"] = [persistent.mapping.PersistentMapping(n=n) for n in range(garbage)]
                connection.root()["lost blob"] = ZODB.blob.Blob(b"1" * 1000)
            with opened.transaction() as connection:
                del connection.root()["lost"], connection.root()["lost blob"]

    def blob_files(self) -> int:
        return len(list(self.blobs.rglob("*.blob")))

    def content(self) -> tuple:
        with self.open() as opened, opened.transaction() as connection, connection.root()["blob"].open() as blob:
            return connection.root()["kept"]["text"], blob.read()

    def record(self) -> dict:
        return json.loads((self.folder / "site.pack.json").read_text())


@pytest.fixture
def empty(tmp_path):
    """A storage whose folders are there, and nothing in them."""
    return Site(tmp_path, HISTORY[0])


@pytest.fixture(params=HISTORY)
def site(tmp_path, request):
    """A storage with something in it, of each history mode."""
    site = Site(tmp_path, request.param)
    assert said("zodb-schema", site.settings()) == "site: created"
    site.fill()
    return site


def said(script: str, *arguments, code: int = 0) -> str:
    """Return the one line of a command, after a look at the exit status."""
    result = called(script, *arguments)
    assert result.returncode == code, result.stdout + result.stderr
    (line,) = (result.stdout + result.stderr).splitlines()
    return line.removeprefix(f"{script}: ")


def test_tables_are_made_once_and_as_told(empty):
    file = empty.settings()
    assert said("zodb-health", file, code=2).startswith(
        f"CRITICAL sqlite/site: there is no {empty.main}; run zodb-schema; "
    )
    assert said("zodb-pack", file, code=1) == f"site: there is no {empty.main}; run zodb-schema"
    assert said("zodb-schema", "--check", file) == "site: would be created"
    assert list(empty.data.iterdir()) == []
    assert said("zodb-schema", file) == "site: created"
    assert said("zodb-schema", file) == "site: unchanged"
    assert said("zodb-health", file).startswith("OK sqlite/site: empty, nothing was committed yet; ")
    with contextlib.closing(sqlite3.connect(empty.main)) as database:
        database.execute("DROP TABLE object_ref")
    line = said("zodb-health", file, code=1)
    assert re.search(r"tables are not those of RelStorage [\d.]+ \(object_ref\); run the role again", line), line
    assert said("zodb-schema", file) == "site: renewed (object_ref)"
    assert said("zodb-health", file).startswith("OK ")
    empty.more = HISTORY[1]
    sentence = (
        f"the tables in {empty.main} are history-free, and keep-history is true; that is decided when tables are made, "
        "and the playbook pyams.zodb.migrate moves a site to a new database"
    )
    file = empty.settings()
    before = empty.main.read_bytes()
    assert said("zodb-schema", file, code=1) == f"site: {sentence}"
    assert said("zodb-pack", file, code=1) == f"site: {sentence}"
    assert sentence in said("zodb-health", file, code=2)
    assert empty.main.read_bytes() == before


def test_what_is_not_relstorages_is_refused_and_left(empty):
    file = empty.settings()
    with contextlib.closing(sqlite3.connect(empty.main)) as database:
        database.execute("CREATE TABLE shop (number INTEGER)")
    sentence = f"{empty.main} has the table shop and none of RelStorage's; give it another folder"
    assert said("zodb-schema", file, code=1) == f"site: {sentence}"
    assert said("zodb-pack", file, code=1) == f"site: {sentence}"
    empty.main.write_bytes(b"no database, but long enough to be read as one" * 100)
    assert said("zodb-schema", file, code=1) == f"site: {empty.main} could not be prepared: file is not a database"
    assert f"{empty.main} could not be read: file is not a database" in said("zodb-health", file, code=2)
    empty.main.unlink()
    empty.data.rmdir()
    sentence = f"there is no folder {empty.data}; make it, for the application's account alone"
    assert said("zodb-schema", file, code=1) == f"site: {sentence}"
    assert sentence in said("zodb-health", file, code=2)
    assert not empty.data.exists()
    other = empty.section().replace("sqlite3", "postgresql").replace(f"data-dir {empty.data}", "dsn dbname=x")
    write_database_settings(file, {"site": other}, kind="sqlite")
    name = f"{file}: storages[0].zconfig"
    assert said("zodb-schema", file, code=2) == f"site: {name}:1: is not a <relstorage> with <sqlite3>"


def test_numbers_of_objects_are_not_given_twice(site):
    """Without its file, as a copy of the database alone; with one that a power cut left behind; with a broken one."""
    file = site.settings()
    numbers = site.data / "oids.sqlite3"

    def add():
        with site.open() as opened, opened.transaction() as connection:
            connection.root()["new"] = persistent.mapping.PersistentMapping(text="new")

    assert said("zodb-schema", file) == "site: unchanged"
    early = numbers.read_bytes()
    with site.open() as opened, opened.transaction() as connection:
        connection.root()["more"] = [persistent.mapping.PersistentMapping(n=n) for n in range(100)]
    for behind in None, early:
        numbers.write_bytes(behind) if behind else numbers.unlink()
        assert "oids.sqlite3 is behind the database, so that new objects would get" in said("zodb-health", file, code=2)
        if not behind:
            with pytest.raises(ValueError, match="A different object already has the same oid"):
                add()
        assert said("zodb-schema", "--check", file) == "site: would be renewed (oids.sqlite3)"
        assert said("zodb-schema", file) == "site: renewed (oids.sqlite3)"
        assert said("zodb-schema", file) == "site: unchanged"
        assert said("zodb-health", file).startswith("OK ")
        add()
    with site.open() as opened, opened.transaction() as connection:
        assert [found["n"] for found in connection.root()["more"]] == list(range(100))
    numbers.write_bytes(b"torn" * 3000)
    sentence = (
        f"{numbers} cannot be read: file is not a database; stop the application, remove it, and run the role again"
    )
    assert said("zodb-schema", file, code=1) == f"site: {sentence}"
    assert sentence in said("zodb-health", file, code=2)


def test_garbage_goes_the_rest_stays_and_a_report_says_so(site, mailbox):
    box = mailbox()
    file = site.settings(server=box.name, report=["admin@example.org"])
    kept = site.content()
    assert site.blob_files() == 2
    line = said("zodb-pack", file)
    assert re.fullmatch(r"site: packed, 54 objects became 3 in \d s", line), line
    assert (site.content(), site.blob_files()) == (kept, 1)
    found = site.record()
    assert (found["objects_before"], found["objects_after"], found["report"]) == (54, 3, "sent")
    assert min(found["size_before"], found["size_after"]) >= 40_000
    ((_sender, _recipients, message),) = box.messages
    lines = message.get_content().splitlines()
    assert f"Data:         {site.main}" in lines
    assert "Objects:      54 before, 3 after; SQLite fills the room of those that went anew" in lines
    health = said("zodb-health", site.settings(pack_expected_days=9))
    assert re.match(r"OK sqlite/site: last commit \d.*; packed 0 hours ago \| size=\d+B ", health), health


def test_days_are_kept_and_trials_remove_nothing(site):
    file = site.settings(pack_days=1)
    nothing = "site: nothing is older than the days that are kept; nothing was written"
    assert said("zodb-pack", "--dry-run", file) == nothing
    file = site.settings()
    assert said("zodb-pack", "--dry-run", file).startswith("site: a pack would look at what was committed until ")
    assert said("zodb-pack", "--prepack", file) == "site: prepared; a pack would remove 51 of 54 objects"
    assert site.blob_files() == 2
    assert not (site.folder / "site.pack.json").exists()


def test_what_holds_a_pack_off(site):
    with open(site.folder / "site.pack-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert said("zodb-pack", site.settings(), code=3).endswith("; nothing was packed")
    read_only = "site: the storage 'site' is read-only; nothing was packed"
    assert said("zodb-pack", site.settings("read-only true"), code=1) == read_only
    if site.more == HISTORY[0]:
        assert said("zodb-pack", site.settings("pack-gc false"), code=2) == (
            "site: a history-free storage is packed by garbage collection alone, and pack-gc is false; nothing was "
            "packed"
        )
    assert site.blob_files() == 2


def test_processes_write_while_it_is_packed_and_watched(site):
    """Each has a number of its own beside that of the other, so that most of their commits conflict."""
    file = site.settings()
    with contextlib.ExitStack() as stack:
        writers = []
        for name in ("first", "second"):
            words = [sys.executable, "-c", WRITER, site.section(), name]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            writers.append(stack.enter_context(subprocess.Popen(words, **pipes)))
        for writer in writers:
            assert writer.stdout.readline() == "begun\n"
        assert said("zodb-pack", file).startswith("site: packed, ")
        assert said("zodb-health", file).startswith("OK sqlite/site: last commit ")
        counts = [int(writer.communicate("")[0]) for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0]
    assert min(counts) > 1
    with site.open() as opened, opened.transaction() as connection:
        assert [connection.root()[name] for name in ("first", "second")] == counts
    assert (site.content(), site.blob_files()) == (("kept", b"0" * 1000), 1)


def test_a_stopped_pack_is_one_that_failed(site):
    """A writer that does not end keeps it waiting."""
    file = site.settings()
    with contextlib.closing(sqlite3.connect(site.main, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with started("zodb-pack", file) as process:
            lock = site.folder / "site.pack-lock"
            until(lambda: lock.exists() and said("zodb-pack", file, code=3))
            process.terminate()
            database.execute("ROLLBACK")
            assert process.wait(40) == 1
    assert site.record()["outcome"] == "failed"
    assert said("zodb-pack", file).startswith("site: packed, 54 objects became 3 ")


def test_a_disk_too_small(site):
    saved = site.folder / "saved"
    saved.write_bytes(site.main.read_bytes())
    script = f"cp {saved} {site.main}; {SCRIPTS}/zodb-pack {site.settings()}"
    result = on_small_disk(site.data, "200k", script)
    assert result.returncode == 4, result.stderr
    assert re.search(
        rf"site: {site.data} has \d+\.0 KB, a pack may need \d+\.\d KB \(\d+\.\d KB for the log, the rest for the "
        r"tables that it works with\); nothing was packed\n$",
        result.stderr,
    )
    assert site.record()["outcome"] == "no space"


def test_a_folder_of_another_account_is_told():
    """Root would be let in, and so it goes on as nobody. Whoever else runs the tests has no such account to take."""
    with tempfile.TemporaryDirectory(prefix="zodb-tools-") as folder:
        site = Site(pathlib.Path(folder), HISTORY[0])
        file = site.settings()
        assert said("zodb-schema", file) == "site: created"
        (kind,) = _kinds.load([str(file)])
        kind.configure()
        site.folder.chmod(0o755)
        site.data.chmod(0o555)
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        child = os.fork()
        if not child:
            os.setuid(account.pw_uid)
            try:
                kind.reach()
            except Failure as failure:
                told = f"{account.pw_name} may not write {site.data}; give it to the application's account"
                os._exit(str(failure) != told)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        site.data.chmod(0o700)
