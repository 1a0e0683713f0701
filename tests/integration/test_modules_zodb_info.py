# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zodb_info, run by ansible-playbook or alone on storages that ZODB itself made, some served at the same time."""

from __future__ import annotations

import os
import pickle
import shutil

import ansible_tasks
import pytest
import yaml
from ansible_collections.pyams.zodb.plugins.modules import zodb_info
from conversions import MORE, SMALL, fingerprint
from storage_servers import VIRTUALENV


def task(storage, check=False, **options):
    options = {"virtualenv": str(VIRTUALENV), "storage": storage, **options}
    return {"pyams.zodb.zodb_info": options, "check_mode": check}


def info(folder, storage, **options):
    """Return the facts, after the same in check mode: both have to agree."""
    results = [
        ansible_tasks.result_of(
            ansible_tasks.start_module(folder, zodb_info, task(storage, **options)["pyams.zodb.zodb_info"], check)
        )
        for check in (True, False)
    ]
    # PostgreSQL counts its own housekeeping as the database's.
    assert {**results[0], "bytes": None} == {**results[1], "bytes": None}
    assert results[1].get("changed", False) is False  # where it refuses, Ansible adds that
    documented = yaml.safe_load(zodb_info.RETURN)
    if "msg" not in results[1]:
        assert set(documented) <= set(results[1])
        for key, about in documented.items():
            if "contains" in about and results[1][key]:
                assert set(results[1][key]) == set(about["contains"]), key
    return results[1]


@pytest.fixture
def filled(make_storage):
    """A FileStorage with objects, blobs, undone changes and a creation that was undone."""
    storage = make_storage("filestorage")
    storage.fill(**SMALL)
    return storage


def kept(folder):
    """Return number and size of the blobs in a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*.blob")]
    return {"count": len(sizes), "bytes": sum(sizes)}


def test_a_filestorage(tmp_path, filled):
    read, before = filled.read(), fingerprint(filled)
    found = info(tmp_path, filled.description)
    assert found["reachable"] is found["exists"] is found["keeps_history"] is True
    assert (found["kind"], found["error"], found["last_tid"]) == ("filestorage", None, "0x" + read["last_tid"])
    assert found["last_time"].startswith("20")
    assert (found["objects"], found["transactions"]) == (read["objects"], read["transactions"])
    assert found["blobs"] == kept(filled.blob_dir)
    assert found["bytes"] == (filled.folder / "Data.fs").stat().st_size
    assert (found["index"], found["packed"], found["lock"]["held"]) == ("current", None, False)
    fast = info(tmp_path, filled.description, count="fast")
    # With the object whose creation was undone
    assert (fast["objects"], fast["transactions"], fast["blobs"]["count"]) == (read["objects"] + 1, None, None)
    assert fast["last_tid"] == found["last_tid"]
    assert fingerprint(filled) == before


@pytest.mark.parametrize("kind", ["filestorage", "zeo", "sqlite", "postgresql_history"])
def test_references_to_what_is_not_there(tmp_path, make_storage, kind):
    storage = make_storage(kind)
    storage.fill(**SMALL, undo_creation=False)
    assert info(tmp_path, storage.description)["dangling"] is None
    assert info(tmp_path, storage.description, references=True)["dangling"] == {"count": 0, "first": []}
    if kind == "zeo":
        return
    (lost,) = storage.plant("missing")
    dangling = info(tmp_path, storage.description, references=True)["dangling"]
    assert (dangling["count"], [one["oid"] for one in dangling["first"]]) == (1, ["0x" + lost])
    assert dangling["first"][0]["referrer"] != "0x" + lost


def test_a_filestorage_that_a_server_has_open(tmp_path, make_storage):
    storage = make_storage("zeo")
    storage.fill(**SMALL)
    storage.server.stop()
    storage.server.start()
    last = storage.fill(**MORE)["last_tid"]
    read, before = storage.read(), fingerprint(storage)
    file = {"filestorage": {"path": f"{storage.folder}/Data.fs", "blob_dir": f"{storage.folder}/blobs"}}
    found = info(tmp_path, file)
    assert (found["last_tid"], found["objects"], found["index"]) == ("0x" + last, read["objects"], "behind")
    assert (found["lock"]["held"], found["lock"]["pid"]) == (True, storage.server.process.pid)
    asked = info(tmp_path, storage.description)
    assert fingerprint(storage) == before
    assert (asked["kind"], asked["location"], asked["keeps_history"]) == ("zeo", f"{storage.folder}/Data.fs", True)
    for key in ("last_tid", "objects", "transactions"):
        assert asked[key] == found[key], key
    assert asked["blobs"] == {"count": read["blobs"], "bytes": None}
    shared = {**storage.description["zeo"], "shared_blob_dir": True, "blob_dir": f"{storage.folder}/blobs"}
    assert info(tmp_path, {"zeo": shared})["blobs"] == found["blobs"] == kept(storage.folder / "blobs")


@pytest.mark.parametrize("kind", ["sqlite", "sqlite_history"])
def test_sqlite(tmp_path, make_storage, kind):
    storage = make_storage(kind)
    storage.fill(**SMALL)
    read, before = storage.read(), fingerprint(storage)
    found = info(tmp_path, storage.description)
    told = (found["kind"], found["keeps_history"], found["last_tid"])
    assert told == ("sqlite", storage.history, "0x" + read["last_tid"])
    assert found["objects"] == read["objects"]
    if not storage.history:
        assert found["blobs"] == {"count": read["blobs"], "bytes": read["blob_bytes"]}
    assert found["versions"]["server"].startswith("3.")
    assert found["versions"]["driver"] == "sqlite3"
    # A description that is wrong about history does not matter to one who only looks.
    wrong = {"sqlite": {**storage.description["sqlite"], "keep_history": not storage.history}}
    assert info(tmp_path, wrong)["objects"] == read["objects"]
    assert info(tmp_path, wrong, count="fast")["keeps_history"] is storage.history
    assert fingerprint(storage) == before


@pytest.mark.parametrize("kind", ["postgresql", "postgresql_history"])
def test_postgresql(tmp_path, make_storage, kind):
    storage = make_storage(kind)
    missing = info(tmp_path, storage.description)
    assert (missing["reachable"], missing["exists"]) == (True, False)
    assert missing["error"] == "the database answers, but has none of RelStorage's tables."
    tables = "select count(*) from pg_class where relowner = 'zodb'::regrole"
    assert storage.server.psql(tables, storage.database) == "0"
    storage.fill(**SMALL)
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
    filled.fill(seed=5, objects=3, transactions=2, packed=True)
    found = info(tmp_path, filled.description)
    assert found["packed"] < found["last_tid"]
    assert found["packed_time"] < found["last_time"]


@pytest.mark.parametrize("kind", ["filestorage", "blobs", "sqlite", "folder of sqlite"])
def test_what_is_missing_is_not_made(tmp_path, make_storage, kind):
    storage = make_storage("sqlite" if "sqlite" in kind else "filestorage", blobs=None)
    folder, description = storage.folder, storage.description
    if kind == "blobs":
        storage.fill(**SMALL, blobs=[])
        description = {"filestorage": {**description["filestorage"], "blob_dir": f"{folder}/blobs"}}
    elif kind == "folder of sqlite":
        description = {"sqlite": {**description["sqlite"], "data_dir": f"{folder}/none"}}
    sentence = {
        "filestorage": f"there is no file {folder}/Data.fs.",
        "blobs": f"there is no folder of blobs {folder}/blobs.",
        "sqlite": f"there is no SQLite database main.sqlite3 in {folder}/data.",
        "folder of sqlite": f"there is no SQLite database main.sqlite3 in {folder}/none.",
    }[kind]
    before, paths = fingerprint(storage), set(folder.rglob("*"))
    found = info(tmp_path, description)
    assert (found["reachable"], found["exists"], found["error"], found["last_tid"]) == (True, False, sentence, None)
    assert (fingerprint(storage), set(folder.rglob("*"))) == (before, paths)


def test_a_server_that_does_not_answer(tmp_path, make_storage):
    storage = make_storage("zeo")
    hasty = {**storage.description["zeo"], "wait_timeout": 1}
    assert info(tmp_path, {"zeo": {**hasty, "storage": "other"}})["reachable"] is False
    storage.server.stop()
    found = info(tmp_path, {"zeo": hasty})
    assert (found["reachable"], found["exists"]) == (False, None)
    assert found["error"] == (
        f"no answer from {hasty['server']} for the storage pyams; look whether the server runs, has a storage of "
        "that name, and accepts this client."
    )


def test_nothing_is_unpickled(tmp_path, filled):
    """An index that would run a program when it is unpickled is ignored, and so are the states of objects."""
    done = tmp_path / "done"

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {done}",)

    (filled.folder / "Data.fs.index").write_bytes(pickle.dumps(Trap()))
    found = info(tmp_path, filled.description)
    assert (found["objects"], found["index"]) == (filled.read()["objects"], "unusable")
    assert not done.exists()


def test_a_file_of_zconfig_and_a_raw_text(tmp_path, filled):
    config = tmp_path / "zodb.conf"
    config.write_text(f"<zodb Main>\n{filled.zconfig()}</zodb>\n{filled.zconfig('source')}")
    objects = filled.read()["objects"]
    for description in (
        {"config_file": {"path": str(config), "section": "main"}},
        {"config_file": {"path": str(config), "section": "source"}},
        {"zconfig": filled.zconfig()},
    ):
        assert info(tmp_path, description)["objects"] == objects
    found = info(tmp_path, {"config_file": {"path": str(config), "section": "other"}})
    assert found["msg"] == f"{config} has no storage other; it has source, main."


def test_the_examples(tmp_path, make_storage):
    """Each task of the documentation, in one play, with the paths of this test."""
    storage = make_storage("zeo")
    last = storage.fill(**SMALL)["last_tid"]
    places = {
        "/opt/zodb/zeo-pyams": str(VIRTUALENV),
        "/var/lib/zodb/pyams/pyams": str(storage.folder),
        "127.0.0.1:8100": f"127.0.0.1:{storage.server.port}",
    }
    text = zodb_info.EXAMPLES
    for there, here in places.items():
        text = text.replace(there, here)
    served, asked, read, compared = ansible_tasks.run(tmp_path, yaml.safe_load(text))
    assert served["last_tid"] == asked["last_tid"] == "0x" + last
    assert read["dangling"]["count"] == 0
    assert not compared.get("failed"), compared


def test_an_ordinary_user_is_told_what_it_may_not_read(tmp_path, account, filled):
    (filled.folder / "Data.fs").chmod(0o600)
    (found,) = ansible_tasks.run(tmp_path, [task(filled.description)], user=account)
    assert found["msg"] == f"{filled.folder}/Data.fs: permission denied."
