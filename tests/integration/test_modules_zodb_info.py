# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zodb_info, run by ansible-playbook on storages that ZODB itself made, some of them served at the same time."""

from __future__ import annotations

import os
import pickle
import shutil

import ansible_tasks
import pytest
import storages
import yaml
from ansible_collections.pyams.zodb.plugins.modules import zodb_info

FILLED = ("objects:a", "blob:a", "objects:b", "blob:b", "change:c", "rewrite:a", "delete:a-1", "objects:d", "undo:")


def task(storage, check=False, **options):
    options = {"virtualenv": str(storages.VIRTUALENV), "storage": storage, **options}
    return {"pyams.zodb.zodb_info": options, "check_mode": check}


def info(folder, storage, **options):
    """Return the facts, after the same in check mode: both have to agree."""
    results = ansible_tasks.run(folder, [task(storage, True, **options), task(storage, **options)])
    assert results[0] == results[1]
    assert results[1]["changed"] is False
    documented = yaml.safe_load(zodb_info.RETURN)
    if "msg" not in results[1]:
        assert set(documented) <= set(results[1])
        for key, about in documented.items():
            if "contains" in about and results[1][key]:
                assert set(results[1][key]) == set(about["contains"]), key
    return results[1]


@pytest.fixture
def filled(tmp_path):
    """Return a folder with a FileStorage: 42 objects in the end, 10 transactions, 3 revisions of 2 blobs."""
    folder = tmp_path / "filled"
    folder.mkdir()
    storages.work(storages.filestorage(folder), *FILLED)
    return folder


def test_a_filestorage(tmp_path, filled):
    last = storages.work(storages.filestorage(filled), "change:e")
    before = storages.fingerprint(filled)
    found = info(tmp_path, storages.filestorage(filled))
    assert found["reachable"] is found["exists"] is found["keeps_history"] is True
    assert (found["kind"], found["error"], found["last_tid"]) == ("filestorage", None, last)
    assert found["last_time"].startswith("20")
    # root, 40 of a and b (a deleted one stays until a pack), 2 blobs; those of d were undone
    assert (found["objects"], found["transactions"]) == (43, 11)
    assert found["blobs"] == {"count": 3, "bytes": 5000 + 5000 + 7000}
    assert found["bytes"] == (filled / "Data.fs").stat().st_size
    assert (found["index"], found["packed"], found["lock"]["held"]) == ("current", None, False)
    fast = info(tmp_path, storages.filestorage(filled), count="fast")
    assert (fast["objects"], fast["transactions"], fast["blobs"]["count"]) == (63, None, None)
    assert fast["last_tid"] == last
    assert storages.fingerprint(filled) == before


def test_a_filestorage_that_a_server_has_open(tmp_path, filled):
    with storages.served(filled) as server:
        last = storages.work(storages.zeo(filled), "objects:e")
        before = storages.fingerprint(filled)
        found = info(tmp_path, storages.filestorage(filled))
        assert (found["last_tid"], found["objects"], found["index"]) == (last, 63, "behind")
        assert (found["lock"]["held"], found["lock"]["pid"]) == (True, server.pid)
        asked = info(tmp_path, storages.zeo(filled))
        assert storages.fingerprint(filled) == before
        assert (asked["kind"], asked["location"], asked["keeps_history"]) == ("zeo", f"{filled}/Data.fs", True)
        for key in ("last_tid", "objects", "transactions"):
            assert asked[key] == found[key], key
        assert asked["blobs"] == {"count": 2, "bytes": None}
        shared = {**storages.zeo(filled)["zeo"], "shared_blob_dir": True, "blob_dir": f"{filled}/blobs"}
        assert info(tmp_path, {"zeo": shared})["blobs"] == found["blobs"]


@pytest.mark.parametrize("history", [False, True], ids=["history-free", "history-kept"])
def test_sqlite(tmp_path, filled, history):
    folder = tmp_path / "sqlite"
    folder.mkdir()
    # The script's history-free copy breaks off at a creation that was undone.
    storages.work(storages.filestorage(filled), "pack:")
    last = info(tmp_path, storages.filestorage(filled))["last_tid"]
    description = storages.sqlite(folder, keep_history=history)
    storages.copy(storages.filestorage(filled), description)
    before = storages.fingerprint(folder)
    found = info(tmp_path, description)
    assert (found["kind"], found["keeps_history"], found["last_tid"]) == ("sqlite", history, last)
    assert (found["objects"], found["blobs"]["count"], found["blobs"]["bytes"]) == (42, 2, 12000)
    assert found["versions"]["server"].startswith("3.")
    assert found["versions"]["driver"] == "sqlite3"
    # A description that is wrong about history does not matter to one who only looks.
    wrong = info(tmp_path, storages.sqlite(folder, keep_history=not history), count="fast")
    assert (wrong["keeps_history"], wrong["objects"]) == (history, 42)
    assert storages.fingerprint(folder) == before


@pytest.mark.parametrize("kind", ["postgresql", "postgresql_history"])
def test_postgresql(tmp_path, make_storage, kind):
    storage = make_storage(kind)
    missing = info(tmp_path, storage.description)
    assert (missing["reachable"], missing["exists"]) == (True, False)
    assert missing["error"] == "the database answers, but has none of RelStorage's tables."
    tables = "select count(*) from pg_class where relowner = 'zodb'::regrole"
    assert storage.server.psql(tables, storage.database) == "0"
    storage.fill(seed=20261125, objects=20, transactions=6)
    read = storage.read()
    shutil.rmtree(storage.blob_dir)  # a cache, which is not made again
    found = info(tmp_path, storage.description)
    assert (found["kind"], found["keeps_history"], found["objects"]) == ("postgresql", storage.history, read["objects"])
    assert found["last_tid"] == "0x" + read["last_tid"]
    assert found["transactions"] == (read["transactions"] if storage.history else None)
    if not storage.history:
        assert found["blobs"] == {"count": read["blobs"], "bytes": read["blob_bytes"]}
    assert found["versions"]["driver"] == "psycopg2"
    assert not storage.blob_dir.exists()
    # Over the port, where a password is asked for
    described = storage.described_with_password()
    assert info(tmp_path, described)["objects"] == read["objects"]
    wrong = info(tmp_path, {"postgresql": {**described["postgresql"], "password": "Wrong$ecret-12"}})
    assert (wrong["reachable"], wrong["exists"]) == (False, None)
    assert "password authentication failed" in wrong["error"]
    unknown = info(tmp_path, {"postgresql": {**storage.description["postgresql"], "dbname": "none"}})
    assert unknown["error"].endswith('database "none" does not exist')


def test_a_pack_is_seen(tmp_path, filled):
    storages.work(storages.filestorage(filled), "pack:", "change:e")
    found = info(tmp_path, storages.filestorage(filled))
    assert found["packed"] < found["last_tid"]
    assert found["packed_time"] < found["last_time"]


@pytest.mark.parametrize("kind", ["filestorage", "blobs", "sqlite", "folder of sqlite"])
def test_what_is_missing_is_not_made(tmp_path, kind):
    folder = tmp_path / "data"
    folder.mkdir()
    sentence = {
        "filestorage": f"there is no file {folder}/Data.fs.",
        "blobs": f"there is no folder of blobs {folder}/blobs.",
        "sqlite": f"there is no SQLite database main.sqlite3 in {folder}.",
        "folder of sqlite": f"there is no SQLite database main.sqlite3 in {folder}/none.",
    }[kind]
    if kind == "blobs":
        storages.work({"filestorage": {"path": f"{folder}/Data.fs"}}, "objects:a")
    description = {
        "sqlite": storages.sqlite(folder),
        "folder of sqlite": storages.sqlite(folder / "none"),
    }.get(kind, storages.filestorage(folder))
    before = storages.fingerprint(tmp_path)
    found = info(tmp_path, description)
    assert (found["reachable"], found["exists"], found["error"], found["last_tid"]) == (True, False, sentence, None)
    (tmp_path / "playbook.yml").unlink()
    assert storages.fingerprint(tmp_path) == before


def test_a_server_that_does_not_answer(tmp_path, filled):
    found = info(tmp_path, storages.zeo(tmp_path, wait_timeout=1))
    assert (found["reachable"], found["exists"]) == (False, None)
    assert found["error"] == (
        f"no answer from {tmp_path}/zeo.sock for the storage pyams; look whether the server runs, has a storage of "
        "that name, and accepts this client."
    )
    with storages.served(filled):
        assert info(tmp_path, storages.zeo(filled, wait_timeout=1, storage="other"))["reachable"] is False


def test_nothing_is_unpickled(tmp_path, filled):
    """An index that would run a program when it is unpickled is ignored, and so are the states of objects."""
    done = tmp_path / "done"

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {done}",)

    (filled / "Data.fs.index").write_bytes(pickle.dumps(Trap()))
    found = info(tmp_path, storages.filestorage(filled))
    assert (found["objects"], found["index"]) == (43, "unusable")
    assert not done.exists()


def test_a_file_of_zconfig_and_a_raw_text(tmp_path, filled):
    config = tmp_path / "zodb.conf"
    section = storages.text(storages.filestorage(filled))
    config.write_text(f"<zodb Main>\n{section}</zodb>\n" + section.replace("<filestorage>", "<filestorage source>"))
    for description in (
        {"config_file": {"path": str(config), "section": "main"}},
        {"config_file": {"path": str(config), "section": "source"}},
        {"zconfig": section},
    ):
        assert info(tmp_path, description)["objects"] == 43
    found = info(tmp_path, {"config_file": {"path": str(config), "section": "other"}})
    assert found["msg"] == f"{config} has no storage other; it has source, main."


def test_the_examples(tmp_path, make_storage):
    """Each task of the documentation, in one play, with the paths of this test."""
    storage = make_storage("zeo")
    last = storage.fill(seed=20261125, objects=20, transactions=6)["last_tid"]
    places = {
        "/opt/zodb/zeo-pyams": str(storages.VIRTUALENV),
        "/var/lib/zodb/pyams/pyams": str(storage.folder),
        "127.0.0.1:8100": f"127.0.0.1:{storage.server.port}",
    }
    text = zodb_info.EXAMPLES
    for there, here in places.items():
        text = text.replace(there, here)
    served, asked, compared = ansible_tasks.run(tmp_path, yaml.safe_load(text))
    assert served["last_tid"] == asked["last_tid"] == "0x" + last
    assert not compared.get("failed"), compared


def test_refusals(tmp_path, filled):
    old = tmp_path / "old.fs"
    old.write_bytes(b"FS21" + bytes(100))
    text = tmp_path / "text.fs"
    text.write_bytes(b"text, no storage")
    (tmp_path / "venv").mkdir()
    refused = {
        f"{old} is a FileStorage of Python 2; convert it with zodbupdate first.": {"filestorage": {"path": str(old)}},
        f"{text} is no FileStorage; it begins with b'text'.": {"filestorage": {"path": str(text)}},
        "<demostorage> is no storage that can be looked at without writing to it; name the storage below it: a "
        "filestorage, a ZEO client or a relstorage.": {"zconfig": "<demostorage>\n</demostorage>\n"},
    }
    for sentence, description in refused.items():
        assert info(tmp_path, description)["msg"] == sentence
    found = info(tmp_path, storages.filestorage(filled), virtualenv=str(tmp_path / "venv"))
    assert found["msg"] == (
        f"virtualenv {tmp_path}/venv has no bin/python that can be run; name the storage's virtualenv."
    )


def test_an_ordinary_user_is_told_what_it_may_not_read(tmp_path, account, filled):
    for at in (tmp_path, *tmp_path.parents):
        if at.stat().st_uid == os.geteuid():
            at.chmod(at.stat().st_mode | 0o055)
    filled.chmod(0o755)
    (filled / "Data.fs").chmod(0o600)
    (found,) = ansible_tasks.run(tmp_path, [task(storages.filestorage(filled))], user=account)
    assert found["msg"] == f"{filled}/Data.fs: permission denied."
