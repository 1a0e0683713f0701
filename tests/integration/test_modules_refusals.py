# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zodbconvert and zodb_info refuse, each with its sentence, before anything is touched on either side."""

from __future__ import annotations

import os
import shutil
import subprocess

import ansible_tasks
import pytest
from ansible_collections.pyams.zodb.plugins.modules import zodb_info
from conversions import SMALL, fingerprint
from storage_servers import VIRTUALENV, free_port

NO_TID = "0x0000000000000001"


def look(folder, storage, virtualenv=VIRTUALENV, **options):
    """Return the result of zodb_info."""
    arguments = {"virtualenv": str(virtualenv), "storage": storage, **options}
    return ansible_tasks.result_of(ansible_tasks.start_module(folder, zodb_info, arguments))


def virtualenv_without(folder, *names):
    """Make a virtualenv that has what the tests' has, without the packages that begin so."""
    made = folder / "-".join(("without", *names))
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", made], check=True)
    (there,) = VIRTUALENV.glob("lib/python3*/site-packages")
    (here,) = made.glob("lib/python3*/site-packages")
    for path in there.iterdir():
        if not path.name.lower().startswith(names):
            (here / path.name).symlink_to(path)
    return made


class Refusals:
    """Runs both modules on what is wrong, and notes where the answer is another one, or anything is touched."""

    def __init__(self, converter):
        self.converter = converter
        self.faults = {}
        self.asked = 0

    def convert(self, one, other, sentence, /, **options):
        """Expect a sentence of zodbconvert, a part of it at least, and both storages as they were."""
        before = fingerprint(one, other)
        for check in (True, False):
            result = self.converter.direct(one, other, check, **options)
            self._expect("zodbconvert", sentence, result)
        if fingerprint(one, other) != before:
            self.faults["touched", sentence] = result

    def look(self, storage, sentence, **options):
        """Expect a sentence of zodb_info, as what it refuses for or as the error that it tells."""
        self._expect("zodb_info", sentence, look(self.converter.folder, storage, **options))

    def _expect(self, module, sentence, result):
        self.asked += 1
        told = result.get("msg") or result.get("error") or str(result)
        if sentence not in told or "\n" in told:
            self.faults[module, sentence] = told


@pytest.fixture
def refusals(converter):
    made = Refusals(converter)
    yield made
    assert made.faults == {}, "\n".join(f"{key}: {told}" for key, told in made.faults.items())
    assert made.asked > 0


def test_descriptions(make_storage, refusals):
    """Told without a look at either side."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    file = source.description["filestorage"]
    database = {"host": "db.example.org", "dbname": "site", "user": "zodb"}
    rows = [
        ({}, "no kind of storage is named; give one of filestorage, zeo, "),
        ({"filestorage": file, "zconfig": "x"}, "filestorage and zconfig are named together; a storage has one kind,"),
        ({"filestorage": {"path": "Data.fs"}}, "filestorage.path Data.fs is a relative path, which each process"),
        ({"zconfig": "<filestorage>\npath /x\n"}, "zconfig: <filestorage> is not ended; add </filestorage>."),
        (
            {"zconfig": "<filestorage>\npath /x\n</file>\n"},
            "zconfig, line 3: </file> stands where </filestorage> belongs;",
        ),
        (
            {"zconfig": "<zodb>\n<filestorage>\npath /x\n</filestorage>\n</zodb>"},
            "zconfig holds a <zodb> section; give",
        ),
        (
            {"zconfig": "%include /etc/passwd\n<filestorage>\n</filestorage>"},
            "zconfig, line 1: of directives, only %import",
        ),
        ({"zconfig": "path /x"}, "zconfig, line 1: it stands outside the storage's section; move it inside."),
        (
            {"sqlite": {"data_dir": "/x", "shared_blob_dir": True}},
            "sqlite.shared_blob_dir is true, but blob_dir is missing; give the folder that is shared.",
        ),
        (
            {"postgresql": {**database, "password": "two\nlines"}},
            "postgresql.password holds a line end or another control character; a ZConfig value is one line, take",
        ),
        (
            {"postgresql": {**database, "password": "nul\0byte"}},
            "postgresql.password holds a line end or another control",
        ),
        ({"postgresql": {"host": ["a", "b"], "dbname": "site"}}, "postgresql.host is a list, but connect_timeout and"),
        (
            {"zeo": {"server": "0.0.0.0:8100", "storage": "pyams"}},
            "zeo.server 0.0.0.0:8100 is where a server listens, not",
        ),
        ({"zeo": {"server": "zeo.example.org", "storage": "pyams"}}, "zeo.server zeo.example.org has no port; write"),
        (
            {"config_file": {"path": "/x", "section": "a b"}},
            'config_file.section "a b": ZConfig takes no blanks and no',
        ),
    ]
    for description, sentence in rows:
        refusals.convert(source, destination, f"source: {sentence}", source=description)
        refusals.look(description, sentence)
    assert "two" not in str(refusals.faults)
    refusals.convert(source, destination, "destination: no kind of storage is named;", destination={})
    refusals.convert(
        source,
        destination,
        "clear yes: a transaction id is 0x and up to 16 hexadecimal digits; give it as",
        clear="yes",
    )


def test_sections_of_zconfig(make_storage, refusals, tmp_path):
    """What only ZConfig can tell, where the storage is."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    files = {
        "good": f"<zodb main>\n{source.zconfig()}</zodb>\n",
        "bad": "<filestorage source>\n  path /x\n",
        "bytes": b"\x80".decode("latin1"),
        "import": "%import no_such_package\n<filestorage source>\n  path /x\n</filestorage>\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="latin1")
    rows = [
        (
            {"zconfig": "<demostorage>\n</demostorage>"},
            "<demostorage> is no storage that can be looked at without writing",
        ),
        (
            {"zconfig": "<filestorage>\nno /x\n</filestorage>"},
            "ZConfig does not accept it: 'no' is not a known key name",
        ),
        ({"zconfig": "<filestorage>\n</filestorage>"}, "ZConfig does not accept it: no values for 'path'; 1 required"),
        ({"zconfig": "<nosuch>\n</nosuch>"}, "ZConfig does not accept it: unknown type name: 'nosuch'"),
        (
            {"config_file": {"path": f"{tmp_path}/good", "section": "other"}},
            f"{tmp_path}/good has no storage other; it has main.",
        ),
        (
            {"config_file": {"path": f"{tmp_path}/bad", "section": "source"}},
            "ZConfig does not accept it: unclosed sections",
        ),
        (
            {"config_file": {"path": f"{tmp_path}/import", "section": "source"}},
            "the virtualenv lacks a package that the storage needs (could not load package no_such_package: ",
        ),
        (
            {"config_file": {"path": f"{tmp_path}/bytes", "section": "source"}},
            f"{tmp_path}/bytes is no text in UTF-8; name a file of ZConfig.",
        ),
        (
            {"config_file": {"path": f"{tmp_path}/none", "section": "source"}},
            f"{tmp_path}/none: no such file or directory.",
        ),
        ({"config_file": {"path": str(tmp_path), "section": "source"}}, f"{tmp_path}: is a directory."),
    ]
    for description, sentence in rows:
        refusals.convert(source, destination, sentence, source=description)
        refusals.look(description, sentence)


def test_files_that_are_no_storage(make_storage, refusals, tmp_path):
    source, destination, database = make_storage("filestorage"), make_storage("sqlite"), make_storage("filestorage")
    source.fill(**SMALL)
    blobs = f"{source.folder}/blobs"
    contents = {"old": b"FS21" + bytes(100), "text": b"text, no storage", "empty": b"", "short": b"FS"}
    for name, content in contents.items():
        (database.folder / name).write_bytes(content)
    at = database.folder
    rows = [
        ("old", f"{at}/old is a FileStorage of Python 2; convert it with zodbupdate first."),
        ("text", f"{at}/text is no FileStorage; it begins with b'text'."),
        ("empty", f"the file {at}/empty is empty."),
        ("short", f"{at}/short is no FileStorage; it begins with b'FS'."),
        (".", f"{at} is no file; name that of a FileStorage."),
        ("none", f"there is no file {at}/none."),
    ]
    for name, sentence in rows:
        described = {"filestorage": {"path": os.path.normpath(at / name), "blob_dir": blobs}}
        refusals.convert(database, destination, sentence, source=described)
        refusals.look(described, sentence)
        if name not in ("empty", "none"):
            described["filestorage"]["blob_dir"] = f"{at}/blobs"
            refusals.convert(source, database, sentence, destination=described)
    described = {"filestorage": {"path": f"{source.folder}/Data.fs", "blob_dir": f"{at}/none"}}
    refusals.convert(source, destination, f"there is no folder of blobs {at}/none.", source=described)
    refusals.look(described, f"there is no folder of blobs {at}/none.")
    sqlite = destination.description["sqlite"]
    (destination.folder / "data" / "main.sqlite3").write_bytes(b"text, no database" * 100)
    refusals.convert(source, destination, "the database does not answer: file is not a database")
    refusals.look(destination.description, "the database does not answer: file is not a database")
    for data_dir in (f"{at}/none", f"{at}/text"):
        described = {"sqlite": {**sqlite, "data_dir": data_dir}}
        refusals.look(described, f"there is no SQLite database main.sqlite3 in {data_dir}.")
        refusals.convert(
            source,
            database,
            f"destination {data_dir}: there is no folder {data_dir}; make it, owned by whom it is for.",
            destination=described,
            history="drop",
        )
    there, served = (f"{source.folder}/Data.fs", make_storage("postgresql", blobs="shared"))
    sentence = f"destination {there}: there is no folder of blobs {at}/none."
    described = {"filestorage": {"path": there, "blob_dir": f"{at}/none"}}
    database.fill(**SMALL)
    refusals.convert(database, source, sentence, destination=described)
    served.fill(**SMALL)
    shutil.rmtree(served.blob_dir)
    refusals.convert(source, served, f": there is no folder of blobs {served.blob_dir}.")


def test_one_storage_under_two_names(make_storage, refusals):
    served, other = make_storage("zeo"), make_storage("filestorage")
    served.fill(**SMALL)
    file, link, hard = served.folder / "Data.fs", other.folder / "link.fs", other.folder / "hard.fs"
    link.symlink_to(file)
    hard.hardlink_to(file)
    for path in (file, link, hard):
        described = {"filestorage": {"path": str(path), "blob_dir": f"{other.folder}/blobs"}}
        sentence = f"destination {path} is the source itself; name another storage."
        refusals.convert(served, other, sentence, destination=described)
    database, moved = make_storage("sqlite"), make_storage("sqlite")
    database.fill(**SMALL)
    shutil.rmtree(moved.folder / "data")
    (moved.folder / "data").symlink_to(database.folder / "data")
    sentence = f"destination {moved.folder}/data is the source itself; name another storage."
    refusals.convert(database, moved, sentence)


def test_folders_of_blobs(make_storage, refusals):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    file, data = f"{source.folder}/Data.fs", f"{destination.folder}/data"
    sqlite = destination.description["sqlite"]
    link = destination.folder / "link"
    link.symlink_to(source.blob_dir)
    for blobs in (source.blob_dir, link, source.blob_dir / "inner", source.folder):
        refusals.convert(
            source,
            destination,
            f"destination {data}: its blob_dir {blobs} is also the source's, or one lies in the other; each",
            destination={"sqlite": {**sqlite, "blob_dir": str(blobs), "shared_blob_dir": True}},
        )
    refusals.convert(
        source,
        destination,
        f"source {file} has no blob_dir, and the source has 4 blobs; give one.",
        source={"filestorage": {"path": file}},
    )
    refusals.convert(
        source,
        destination,
        f"destination {data} has no blob_dir, and the source has 4 blobs; give one.",
        destination={"sqlite": {**sqlite, "blob_dir": None}},
    )
    somebodys = destination.folder / "somebodys"
    shutil.copytree(source.blob_dir, somebodys)
    shared = {"sqlite": {**sqlite, "blob_dir": str(somebodys), "shared_blob_dir": True}}
    sentence = f"destination {data} is empty, but there are files in its blob_dir {somebodys} (0x"
    refusals.convert(source, destination, sentence, destination=shared)
    # ZODB empties the folder when it makes a FileStorage.
    site = destination.folder / "site"
    site.mkdir()
    (site / "index.html").write_text("a page")
    there = {"filestorage": {"path": f"{destination.folder}/Data.fs", "blob_dir": str(site)}}
    sentence = (
        f"destination {destination.folder}/Data.fs is empty, but there are files in its blob_dir {site} (index.html); "
        "if they are nobody's, remove them, else name another folder."
    )
    refusals.convert(source, destination, sentence, destination=there)
    filled = make_storage("filestorage")
    last = "0x" + filled.fill(seed=3, objects=3)["last_tid"]
    (filled.blob_dir / "index.html").write_text("a page")
    sentence = f" is to be emptied, but there are files in its blob_dir {filled.blob_dir} (index.html); if they are"
    refusals.convert(source, filled, sentence, clear=last)
    cache = destination.folder / "cache"
    cache.mkdir()
    (cache / ".layout").write_text("zeocache")
    described = {"filestorage": {"path": file, "blob_dir": str(cache)}}
    sentence = f"{cache} is no storage's folder of blobs, its layout is zeocache; name the folder where they are kept."
    refusals.convert(source, destination, sentence, source=described)
    refusals.look(described, sentence)
    (blob,) = (path for path in source.blob_dir.rglob("*.blob") if path.stat().st_size == 70_000)
    blob.unlink()
    sentence = f", transaction {blob.name[:18]}, is missing or cannot be read; nothing was copied, mend that first."
    refusals.convert(source, destination, sentence)


def test_options_that_do_not_fit_what_is_found(make_storage, refusals):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    data = f"{destination.folder}/data"
    rows = [
        (
            {"mode": "incremental"},
            f"destination {data} is empty, and mode is incremental; set it to full for a first copy.",
        ),
        ({"history": "keep"}, f"destination {data} keeps no history, and "),
        (
            {"method": "bulk"},
            f"method bulk: destination {data} is neither a FileStorage as its source nor a PostgreSQL database without",
        ),
    ]
    for options, sentence in rows:
        refusals.convert(source, destination, sentence, **options)
    last = "0x" + destination.fill(seed=3, objects=3)["last_tid"]
    refusals.convert(source, destination, "objects are newer than anything in the source")
    refusals.convert(source, destination, f" Now clear names {NO_TID}, but its last tid is {last}.", clear=NO_TID)
    described = {"sqlite": {**destination.description["sqlite"], "keep_history": True}}
    sentence = f"{data}: keep_history is true, but the database keeps no history, which cannot be changed; say so."
    refusals.convert(source, destination, f"destination {sentence}", destination=described)
    empty = make_storage("filestorage")
    refusals.convert(destination, empty, f"source {sentence}", source=described)


def test_virtualenvs(make_storage, refusals, tmp_path):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    (tmp_path / "no-python").mkdir()
    zodb, relstorage = (virtualenv_without(tmp_path, name) for name in ("zodb", "relstorage"))
    rows = [
        ("/no/such", source, "virtualenv /no/such has no bin/python that can be run; name the storage's virtualenv."),
        (tmp_path / "no-python", source, f"virtualenv {tmp_path}/no-python has no bin/python that can be run;"),
        (zodb, source, "the virtualenv lacks a package that the storage needs (could not load package ZODB: "),
        (
            relstorage,
            destination,
            "the virtualenv lacks a package that the storage needs (could not load package relstorage: ",
        ),
    ]
    for virtualenv, storage, sentence in rows:
        refusals.convert(source, destination, sentence, virtualenv=str(virtualenv))
        refusals.look(storage.description, sentence, virtualenv=virtualenv)
    database = make_storage("postgresql")
    driverless = virtualenv_without(tmp_path, "psycopg2")
    sentence = "the virtualenv has no driver for the database (auto); install one there."
    refusals.convert(source, database, sentence, virtualenv=str(driverless))
    refusals.look(database.description, sentence, virtualenv=driverless)


def test_databases(make_storage, refusals, postgresql):
    source, destination = make_storage("filestorage"), make_storage("postgresql")
    source.fill(**SMALL)
    options = destination.described_with_password()["postgresql"]
    port = free_port()
    rows = [
        ({"password": "Wrong$ecret-12"}, "password authentication failed"),
        ({"port": port}, f'the database does not answer: connection to server at "127.0.0.1", port {port} failed: '),
        ({"dbname": "none"}, 'database "none" does not exist'),
        ({"user": "nobody"}, 'password authentication failed for user "nobody"'),
        (
            {"sslmode": "verify-full", "sslrootcert": "/no/such.pem"},
            'root certificate file "/no/such.pem" does not exist',
        ),
    ]
    for wrong, sentence in rows:
        described = {"postgresql": {**options, **wrong}}
        refusals.convert(source, destination, sentence, destination=described)
        refusals.convert(destination, make_storage("sqlite"), sentence, source=described)
        refusals.look(described, sentence)
    assert "ecret" not in str(refusals.faults)
    sentence = "the database answers, but has none of RelStorage's tables."
    refusals.convert(destination, make_storage("sqlite"), sentence)
    refusals.look(destination.description, sentence)
    destination.server.psql("set role zodb; create table customers (name text)", destination.database)
    refusals.convert(
        source,
        destination,
        ": the database answers, but has none of RelStorage's tables, and others (customers); give it a database",
    )
    database = make_storage("postgresql")
    database.fill(**SMALL)
    over_port = {"postgresql": {**database.described_with_password()["postgresql"], "keep_history": False}}
    refusals.convert(database, database, " is the source itself; name another storage.", destination=over_port)


def test_servers(make_storage, refusals, certificates):
    source, empty, filled = (make_storage(kind) for kind in ("filestorage", "zeo", "zeo"))
    source.fill(**SMALL)
    filled.fill(**SMALL)
    here = f"127.0.0.1:{free_port()}"
    zeo = {**empty.description["zeo"], "wait_timeout": 1}
    tls = {"ca": "/no/such.pem", "cert": str(certificates.client), "key": str(certificates.client_key)}
    rows = [
        (
            {"server": here},
            f"no answer from {here} for the storage pyams; look whether the server runs, has a storage of",
        ),
        ({"storage": "other"}, " for the storage other; look whether the server runs, has a storage of that name, and"),
        ({"tls": tls}, "no such file or directory"),
    ]
    for wrong, sentence in rows:
        described = {"zeo": {**zeo, **wrong}}
        refusals.convert(source, empty, sentence, destination=described)
        refusals.look(described, sentence)
    sentence = " cannot take blobs over the wire; stop the server and name its file as filestorage."
    refusals.convert(source, empty, sentence)
    refusals.convert(filled, empty, sentence)
    file = {"filestorage": {"path": f"{filled.folder}/Data.fs", "blob_dir": f"{filled.folder}/blobs"}}
    last = "0x" + filled.read()["last_tid"]
    other = make_storage("filestorage")
    other.fill(seed=4, objects=3)
    sentence = f"destination {filled.folder}/Data.fs is open in process "
    refusals.convert(other, filled, sentence, destination=file, clear=last)


def test_whom_it_runs_as(make_storage, refusals, account, tmp_path, open_folder):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    theirs = destination.folder / "theirs"
    theirs.mkdir()
    shutil.chown(theirs, account)
    sqlite = destination.description["sqlite"]
    refusals.convert(
        source,
        destination,
        f"destination {theirs}: {theirs} belongs to {account}, and root would leave files there that {account} ",
        destination={"sqlite": {**sqlite, "data_dir": str(theirs)}},
    )
    theirs.chmod(0o500)
    unread = open_folder() / "Data.fs"
    shutil.copy(source.folder / "Data.fs", unread)
    unread.chmod(0o600)
    subprocess.run(["chmod", "-R", "a+rX", source.folder], check=True)
    (blob,) = (path for path in source.blob_dir.rglob("*.blob") if path.stat().st_size == 70_000)
    file = {"path": str(unread), "blob_dir": f"{source.folder}/blobs"}
    writable = open_folder()
    shutil.chown(writable, account)
    theirs_to_write = {"sqlite": {**sqlite, "data_dir": str(writable), "blob_dir": f"{writable}/blobs"}}
    rows = [
        ({"source": {"filestorage": file}}, f"{unread}: permission denied."),
        (
            {"destination": {"sqlite": {**sqlite, "data_dir": str(theirs), "blob_dir": f"{writable}/blobs"}}},
            f"destination {theirs}: {theirs} cannot be written by {account}.",
        ),
        (
            {"state_dir": f"{theirs}/records"},
            f"state_dir {theirs}/records: {theirs} cannot be written by {account}; name another one.",
        ),
        (
            {"log_path": f"{theirs}/log"},
            f"log_path {theirs}/log: {theirs} cannot be written by {account}; name another one.",
        ),
    ]
    tasks = [
        refusals.converter.task(
            source, destination, **{"destination": theirs_to_write, "state_dir": f"{writable}/records", **options}
        )
        for options, _sentence in rows
    ]
    chmod = {"ansible.builtin.file": {"path": str(blob), "mode": "0600"}, "become": False}
    tasks += [
        chmod,
        refusals.converter.task(source, destination, destination=theirs_to_write, state_dir=f"{writable}/records"),
    ]
    rows += [
        (None, ""),
        (None, f", transaction {blob.name[:18]}, is missing or cannot be read; nothing was copied, mend"),
    ]
    before, mode = fingerprint(source, destination), blob.stat().st_mode
    results = ansible_tasks.run(tmp_path, tasks, user=account)
    blob.chmod(mode)
    for (_options, sentence), result in zip(rows, results, strict=True):
        assert sentence in result.get("msg", "")
    assert fingerprint(source, destination) == before
    assert list(writable.iterdir()) == []


def test_places_for_records_and_logs(make_storage, refusals, tmp_path):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    (tmp_path / "file").write_text("")
    rows = [
        (
            {"state_dir": f"{tmp_path}/file"},
            f"state_dir {tmp_path}/file: {tmp_path}/file is no folder; name another one.",
        ),
        (
            {"state_dir": f"{tmp_path}/file/records"},
            f"state_dir {tmp_path}/file/records: {tmp_path}/file is no folder; name another one.",
        ),
        (
            {"log_path": f"{tmp_path}/none/log"},
            f"log_path {tmp_path}/none/log: there is no folder {tmp_path}/none; make it.",
        ),
        ({"log_path": str(tmp_path)}, f"log_path {tmp_path} is a folder; name a file."),
    ]
    for options, sentence in rows:
        refusals.convert(source, destination, sentence, **options)


def test_too_little_room(make_storage, refusals):
    source, destination = make_storage("filestorage"), make_storage("sqlite", disk=1)
    source.fill(**SMALL)
    refusals.convert(source, destination, f" MB are needed at {destination.folder}/data, and ")
