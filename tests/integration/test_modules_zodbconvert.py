# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zodbconvert, run by ansible-playbook or alone on storages of every kind, proven by a comparison without its code."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import ansible_tasks
import pytest
import storage_kinds
import yaml
from ansible_collections.pyams.zodb.plugins.module_utils import _agent_run
from ansible_collections.pyams.zodb.plugins.modules import zodbconvert
from conversions import MORE, SMALL, equal, fingerprint
from storage_servers import PYTHON, VIRTUALENV, until

INTERRUPTIONS = 200 if os.environ.get("SOAK") else 20
LARGE = 1_000_000 if os.environ.get("SOAK") else 100_000  # objects of 2 KB

# Writes a transaction up to its last step, prints its id, and takes that step when its input ends.
UNFINISHED = """
import sys
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
storage = FileStorage(sys.argv[1], blob_dir=sys.argv[2])
meta = TransactionMetaData()
state, tid = storage.load(b"\\0" * 8)
storage.tpc_begin(meta)
storage.store(b"\\0" * 8, tid, state, "", meta)
storage.tpc_vote(meta)
print(storage._tid.hex(), flush=True)
sys.stdin.read()
getattr(storage, sys.argv[3])(meta)
storage.close()
"""
NO_OBJECTS = """
import sys
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
storage = FileStorage(sys.argv[1])
meta = TransactionMetaData(description="nothing")
storage.tpc_begin(meta)
storage.tpc_vote(meta)
storage.tpc_finish(meta)
storage.close()
"""
# Undoes the last transaction.
UNDO = """
import sys
import transaction, ZODB, ZODB.config
database = ZODB.DB(ZODB.config.storageFromString(sys.argv[1]))
database.undo(database.undoLog(0, 1)[0]["id"])
transaction.commit()
database.close()
"""
# Opens the storage of a ZConfig text as the agent does, and tells when its input ends what it takes for its end.
OPENED = """
import sys
from ansible_collections.pyams.zodb.plugins.module_utils import _agent_common, _agent_zconfig
with _agent_zconfig.storage({"text": sys.argv[1]}) as storage:
    print("open", flush=True)
    sys.stdin.read()
    print(_agent_common.number(storage.last()))
"""
# Commits, forty times a second, until its input ends, and a hundred times at least; then prints how often. A busy
# machine copies hardly more than a hundred a second into a database that keeps history, and would never be done.
WRITER = """
import os, select, sys, time
import transaction, ZODB, ZODB.blob, ZODB.config
from persistent.mapping import PersistentMapping
database = ZODB.DB(ZODB.config.storageFromString(sys.argv[1]))
root = database.open().root()
root["shelf"] = PersistentMapping()
transaction.commit()
number, began = 0, time.monotonic()
while number <= 100 or not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    time.sleep(max(0, began + number / 40 - time.monotonic()))
    shelf = root["shelf"]
    if number % 3 == 0:
        shelf[number % 50] = PersistentMapping(number=number)
    elif number % 50 == 1:
        shelf["blob"] = ZODB.blob.Blob(os.urandom(3000))
    elif shelf.keys() - {"blob"}:
        next(value for key, value in shelf.items() if key != "blob")["number"] = number
    transaction.commit()
    if number == 1:
        print("begun", flush=True)
print(number)
database.close()
"""
# Has a storage open until its input ends.
HOLDER = """
import sys, ZODB, ZODB.config
database = ZODB.DB(ZODB.config.storageFromString(sys.argv[1]))
database.open().root()
print("open", flush=True)
sys.stdin.read()
database.close()
"""


@pytest.mark.parametrize("kind", storage_kinds.KINDS)
def test_check_mode_touches_nothing(make_storage, converter, kind):
    blobs = None if kind.startswith("zeo") else "own"
    source, destination = make_storage("filestorage", blobs=blobs), make_storage(kind, blobs=blobs)
    source.fill(**SMALL, **({} if blobs else {"blobs": []}))
    for state in ("empty", "behind"):
        before = fingerprint(source, destination, converter)
        checked = converter.direct(source, destination, True, log_path=f"{converter.folder}/log")
        (converter.folder / "arguments.json").unlink()
        assert fingerprint(source, destination, converter) == before
        assert (checked["changed"], checked["state"]) == (True, state)
        if not blobs:
            break
        assert converter.direct(source, destination)["changed"]
        (converter.folder / "arguments.json").unlink()
        source.fill(**MORE)


@pytest.mark.parametrize(
    ("kind", "other"),
    [pytest.param(*pair, id="-".join(pair)) for pair in itertools.product(storage_kinds.KINDS, repeat=2)],
)
def test_each_pair(make_storage, converter, kind, other):
    """A full copy, then what was added since; over the wire to ZEO once, and without blobs. By Ansible once a kind."""
    to_zeo = other.startswith("zeo")
    source = make_storage(kind, blobs=None if to_zeo else "own")
    destination = make_storage(other, blobs=None if to_zeo else "own")
    blobs = {"blobs": []} if to_zeo else {}
    source.fill(**SMALL, **blobs)
    done = converter.twice(source, destination, by_ansible=kind == other)
    bulk = other == "postgresql" or kind == other == "filestorage"
    assert (done["state"], done["method"]) == ("empty", "bulk" if bulk else "zodbconvert")
    assert equal(source, destination)
    source.fill(**MORE, **blobs)
    if to_zeo:
        assert converter.direct(source, destination)["msg"].endswith(
            "holds data, and clients would not learn of what is written over the wire; stop the server and name its "
            "file as filestorage."
        )
        return
    done = converter.twice(source, destination, by_ansible=kind == other)
    assert (done["state"], done["method"]) == ("behind", "catch_up")
    assert equal(source, destination)


def seeded():
    """Return the seed of what is random here, printed when a test fails."""
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(10**6)
    print("SEED", seed)
    return seed


@pytest.mark.parametrize("kind", ["filestorage", "sqlite", "postgresql"])
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "without a mark"])
def test_an_old_layout_of_blobs(make_storage, converter, kind, marked):
    """A folder for each object side by side, called lawn; ZODB takes one without a mark for such a one."""
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(seed=1, objects=1, transactions=0, blobs=[])
    (source.blob_dir / ".layout").write_text("lawn")
    last = source.fill(**SMALL)
    assert {len(path.relative_to(source.blob_dir).parts) for path in source.blob_dir.rglob("*.blob")} == {2}
    if not marked:
        (source.blob_dir / ".layout").unlink()
    before = fingerprint(source)
    done = converter.direct(source, destination)
    assert (done.get("msg"), done["blobs"] >= last["blobs"], done["verified"]) == (None, True, "full")
    assert fingerprint(source) == before
    assert equal(source, destination)
    source.fill(**MORE)
    assert converter.direct(source, destination)["state"] == "behind"
    assert equal(source, destination)


def test_a_transaction_that_is_not_finished_is_not_copied(make_storage, converter):
    """A FileStorage beside its writer: ZODB takes such a one for the last transaction."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    for end, more in (("tpc_abort", False), ("tpc_finish", True)):
        command = [PYTHON, "-c", UNFINISHED, f"{source.folder}/Data.fs", f"{source.blob_dir}", end]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            unfinished = "0x" + writer.stdout.readline().strip()
            done = converter.direct(source, destination)
            assert done["source_last_tid"] < unfinished
            writer.communicate("")
        done = converter.direct(source, destination)
        assert done["changed"] is more
        assert (done["source_last_tid"] == unfinished) is more
        assert equal(source, destination)


def test_a_file_ends_where_it_ended_when_it_was_opened(make_storage):
    """Its objects are read as they were then, so what its writer adds meanwhile must not count as copied."""
    source = make_storage("filestorage")
    last = source.fill(**SMALL)["last_tid"]
    command = [PYTHON, "-c", OPENED, source.zconfig()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "open\n"
        assert source.fill(**MORE)["last_tid"] > last
        assert reader.communicate("")[0] == f"0x{last}\n"


def test_a_file_into_which_nothing_was_written_yet(make_storage, converter):
    """What is left by one who was killed right when it made the destination."""
    source, destination = make_storage("filestorage"), make_storage("filestorage")
    source.fill(**SMALL)
    (destination.folder / "Data.fs").touch()
    assert converter.direct(source, destination)["state"] == "empty"
    assert equal(source, destination)


def test_an_undo_on_a_source_with_history(make_storage, converter):
    source, destination = make_storage("sqlite_history"), make_storage("postgresql")
    source.fill(**SMALL, undo=False, undo_creation=False)
    assert converter.direct(source, destination)["changed"]
    source.fill(seed=5, objects=1, transactions=0, blobs=[100])  # changes, undoes and undoes a creation
    assert converter.direct(source, destination)["state"] == "behind"
    assert equal(source, destination)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql_history", "filestorage"])
def test_a_destination_that_was_written_to(make_storage, converter, kind):
    """Where a proven copy is, the site has moved; without a proof nobody can tell."""
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    last = destination.fill(**MORE)["last_tid"]
    done = converter.direct(source, destination)
    assert (done["changed"], done["state"], done["destination_last_tid"]) == (False, "switched", "0x" + last)
    refused = converter.direct(source, destination, state_dir=f"{converter.folder}/other")
    assert (refused["failed"], refused["state"]) == (True, "foreign")
    assert re.search(
        r": \d+ of its [\d,]+ objects are newer than anything in the source \(0x[0-9a-f]{16}.*\), nothing was copied; "
        "empty it, or name its last tid in clear",
        refused["msg"],
    )
    source.fill(**MORE)
    assert converter.direct(source, destination)["state"] == "foreign"  # both went on


@pytest.mark.parametrize("kind", ["sqlite", "sqlite_history", "filestorage"])
def test_a_sibling_of_the_source(make_storage, converter, kind):
    """The same up to some transaction, then another site."""
    source, sibling, destination = (make_storage(one) for one in ("filestorage", "filestorage", kind))
    source.fill(**SMALL)
    shutil.copytree(source.folder, sibling.folder, dirs_exist_ok=True)
    source.fill(**MORE)
    assert converter.direct(source, destination)["changed"]
    before = fingerprint(destination)
    for _again in range(2):
        sibling.fill(seed=7, objects=3, transactions=2)
        refused = converter.direct(sibling, destination)
        assert (refused["failed"], refused["state"]) == (True, "foreign")
    assert fingerprint(destination) == before


def test_a_source_that_was_packed_since(make_storage, converter):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    source.fill(seed=8, objects=3, transactions=2, packed=True, undo=False, undo_creation=False)
    refused = converter.direct(source, destination)
    assert re.search(r"objects are not in the source \(", refused["msg"])
    kept = converter.direct(source, destination, extra="keep")
    assert (kept["changed"], kept["state"], kept["extra"] > 0) == (True, "behind", True)
    assert list(source.differences(destination)) == ["extra"]
    again = converter.direct(source, destination, extra="keep")
    assert (again["changed"], again["state"], again["extra"]) == (False, "extra", kept["extra"])
    assert converter.direct(source, destination)["failed"]


@pytest.mark.parametrize("kind", ["sqlite", "filestorage", "sqlite_history"])
def test_a_record_beside_a_restored_or_removed_destination(make_storage, converter, kind):
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    saved = converter.folder / "saved"
    shutil.copytree(destination.folder, saved)
    source.fill(**MORE)
    assert converter.direct(source, destination)["state"] == "behind"
    for restored, state in ((saved, "behind"), (None, "empty")):
        shutil.rmtree(destination.folder)
        if restored:
            shutil.copytree(saved, destination.folder)
        else:
            (destination.folder / "data").mkdir(parents=True)
        done = converter.direct(source, destination)
        assert (done.get("changed"), done.get("state")) == (True, state)
        assert equal(source, destination)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("recorded", [True, False], ids=["with its record", "without"])
def test_a_cut_off_copy_without_history(make_storage, converter, kind, recorded):
    """Such a copy goes by object id, and commits once a minute: what is there says nothing of what is not."""
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    cut = "delete from object_state where zoid > 12"
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(f"{destination.folder}/data/main.sqlite3")) as database:
            database.execute("pragma foreign_keys = on")
            database.execute(cut)
            database.commit()
    else:
        destination.server.psql(cut, destination.database)
    if recorded:
        (record,) = (converter.folder / "records").glob("*.json")
        record.write_text(record.read_text().replace('"proven"', '"copying"'))
    else:
        shutil.rmtree(converter.folder / "records")
    source.fill(**MORE)
    done = converter.direct(source, destination)
    assert (done.get("changed"), done.get("state")) == (True, "behind")
    assert equal(source, destination)


def test_transactions_of_the_future(make_storage, converter):
    source, destination = make_storage("filestorage"), make_storage("sqlite_history")
    source.fill(**SMALL, clock=86400)
    done = converter.direct(source, destination)
    assert done["changed"]
    assert re.search(
        r"the source's last transaction is of \S+Z, which is yet to come; look at the clocks.", str(done["warnings"])
    )
    source.fill(**MORE)
    assert converter.direct(source, destination)["state"] == "behind"
    assert equal(source, destination)


@pytest.mark.parametrize("kind", ["filestorage", "sqlite", "postgresql", "postgresql_history"])
def test_clear_is_a_transaction_id(make_storage, converter, kind):
    source, destination = make_storage("sqlite"), make_storage(kind)
    source.fill(**SMALL)
    last = "0x" + destination.fill(seed=3, objects=3)["last_tid"]
    refused = converter.direct(source, destination)
    assert refused["failed"]
    other = "0x" + "0" * 15 + "1"
    refused = converter.direct(source, destination, clear=other)
    assert refused["msg"].endswith(f" Now clear names {other}, but its last tid is {last}.")
    done = converter.twice(source, destination, clear=last)
    assert done["state"] == "foreign"
    assert equal(source, destination)
    # The site goes on with the destination, and the playbook is run again.
    destination.fill(**MORE)
    assert converter.direct(source, destination, clear=last)["state"] == "switched"


IMITATIONS = {
    "a state": ("update object_state set state = set_byte(state, length(state) - 2, 1) where zoid = 5", "different"),
    "a tid": ("update object_state set tid = tid - 1 where zoid = 5", "unknown"),
    "a tid to come": ("update object_state set tid = tid + (1::bigint << 40) where zoid = 5", "newer"),
    "an object more": (
        "insert into object_state select 99999, tid, state_size, state from object_state where zoid = 5",
        "extra",
    ),
    "a blob cut": (
        "set role zodb; update blob_chunk set chunk = lo_from_bytea(0, substr(lo_get(chunk), 2)) where zoid = "
        "(select zoid from blob_chunk order by length(lo_get(chunk)) desc limit 1)",
        "blobs",
    ),
    "a blob gone": ("delete from blob_chunk where zoid = (select max(zoid) from blob_chunk)", "blobs"),
}
FOREIGN = {
    "different": "have another content under the same transaction id",
    "unknown": "have a revision that was never in the source",
    "newer": "are newer than anything in the source",
    "extra": "are not in the source",
    "blobs": "have another blob than the source, or none",
}


@pytest.mark.parametrize("what", IMITATIONS)
def test_an_imitation_is_refused(make_storage, converter, what):
    """One thing is wrong in a copy of which there is no record."""
    source, destination = make_storage("filestorage"), make_storage("postgresql")
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    sql, kind = IMITATIONS[what]
    destination.server.psql(sql, destination.database)
    refused = converter.direct(source, destination, state_dir=f"{converter.folder}/other")
    assert re.search(
        rf": 1 of its \d+ objects {FOREIGN[kind]} \(0x[0-9a-f]{{16}}\), nothing was copied; ", refused["msg"]
    )
    if what == "a state":
        # Of the same length, which the fast comparison does not see; it says how far it looked.
        fast = converter.direct(source, destination, state_dir=f"{converter.folder}/other", verify="fast")
        assert (fast["state"], fast["verified"]) == ("equal", "fast")
        assert converter.direct(source, destination, state_dir=f"{converter.folder}/other")["failed"]


@pytest.mark.parametrize("fault", ["state", "tid", "missing", "extra", "blob"])
@pytest.mark.parametrize("kind", ["filestorage", "sqlite_history"])
def test_an_imitation_with_history_is_refused(make_storage, converter, kind, fault):
    """Revision by revision, of two storages that keep history."""
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL, undo_creation=False)
    assert converter.direct(source, destination)["changed"]
    planted = destination.plant(fault)
    before = destination.read()
    refused = converter.direct(source, destination, state_dir=f"{converter.folder}/other")
    assert refused.get("failed"), refused
    assert re.search(r"objects (have|are) |lacks the source's transaction", refused["msg"])
    if fault in ("state", "missing", "blob"):
        assert f"0x{planted[0]}" in refused["msg"]
    assert destination.read() == before


def test_a_blob_that_the_account_may_not_read_is_named(make_storage, converter):
    source, destination = make_storage("postgresql"), make_storage("filestorage")
    source.fill(**SMALL)
    sql = "select format('alter large object %s owner to admin', chunk) from blob_chunk order by zoid desc limit 1"
    source.server.psql(source.server.psql(sql, source.database), source.database)
    assert re.fullmatch(
        r"the blob of object 0x[0-9a-f]{16}, transaction 0x[0-9a-f]{16}, cannot be read: ERROR:  permission denied for "
        r"large object \d+",
        converter.direct(source, destination)["msg"],
    )


def test_the_source_itself_is_no_destination(make_storage, converter):
    source, other = make_storage("zeo"), make_storage("filestorage")
    source.fill(**SMALL)
    file = source.folder / "Data.fs"
    (other.folder / "link.fs").symlink_to(file)
    (other.folder / "hard.fs").hardlink_to(file)
    for path in (file, other.folder / "link.fs", other.folder / "hard.fs"):
        other.description = {"filestorage": {"path": str(path), "blob_dir": f"{other.folder}/blobs"}}
        refused = converter.direct(source, other)
        assert refused["msg"] == f"destination {path} is the source itself; name another storage."


def test_no_two_storages_share_a_folder_of_blobs(make_storage, converter):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    link = destination.folder / "link"
    link.symlink_to(source.blob_dir)
    for blobs in (source.blob_dir, link, source.blob_dir / "inner"):
        destination.description["sqlite"].update(blob_dir=str(blobs), shared_blob_dir=True)
        assert converter.direct(source, destination)["msg"] == (
            f"destination {destination.folder}/data: its blob_dir {blobs} is also the source's, or one lies in the "
            "other; each storage needs a folder of its own."
        )


def test_a_missing_blob_is_named_before_the_copy(make_storage, converter):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    (blob,) = (path for path in source.blob_dir.rglob("*.blob") if path.stat().st_size == 70_000)
    blob.unlink()
    before = fingerprint(source, destination)
    refused = converter.direct(source, destination)
    assert re.fullmatch(
        rf"source {source.folder}/Data.fs: the blob of object 0x[0-9a-f]{{16}}, transaction {blob.name[:18]}, is "
        "missing or cannot be read; nothing was copied, mend that first.",
        refused["msg"],
    )
    assert fingerprint(source, destination) == before


@pytest.mark.parametrize("kind", ["filestorage", "sqlite"])
def test_a_disk_that_is_too_small(make_storage, converter, kind):
    """Told before the copy; and where it fills up all the same, the next run ends right."""
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL)
    mounted = destination.folder if kind == "filestorage" else destination.folder / "data"
    if kind == "sqlite":
        destination.description["sqlite"].update(blob_dir=f"{destination.folder}/cache")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", mounted], check=True)
    try:
        before = fingerprint(source)
        refused = converter.direct(source, destination)
        assert re.fullmatch(
            rf"destination \S+: [0-9,]+ MB are needed at {mounted}\S*, and [01] MB are free.", refused["msg"]
        )
        assert fingerprint(source) == before
        subprocess.run(["mount", "-o", "remount,size=5M", mounted], check=True)
        with open(mounted / "filler", "wb") as filler:
            filler.write(bytes(2_500_000))
        converter.direct(source, destination)
        subprocess.run(["mount", "-o", "remount,size=50M", mounted], check=True)
        done = converter.direct(source, destination)
        assert not done.get("failed"), done["msg"]
        assert equal(source, destination)
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.parametrize("kind", ["filestorage", "sqlite", "postgresql"])
def test_a_destination_that_is_open_elsewhere(make_storage, converter, kind):
    source, destination = make_storage("sqlite"), make_storage(kind)
    source.fill(**SMALL)
    destination.fill(seed=1, objects=1)
    last = destination.read()["last_tid"]
    command = [PYTHON, "-c", HOLDER, destination.zconfig()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline()
        refused = converter.direct(source, destination, clear=last)
        assert re.search("is open in process [0-9]+|other sessions have the database open", refused["msg"])
        holder.communicate("")
    assert converter.direct(source, destination, clear=last)["changed"]
    assert equal(source, destination)


def test_another_run_is_not_disturbed(make_storage, converter):
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    source.fill(**MORE)
    (lock,) = (converter.folder / "records").glob("*.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert converter.direct(source, destination)["msg"] == (
            f"destination {destination.folder}/data: another run is copying into it; wait until that ends."
        )
    assert converter.direct(source, destination)["changed"]


def test_packs_are_held_off(make_storage, converter, account):
    """Where root copies, those who pack must be able to take the lock afterwards."""
    source, destination = make_storage("filestorage", account=account), make_storage("sqlite")
    source.fill(**SMALL)
    lock = source.folder / "Data.fs.pack-lock"
    assert converter.direct(source, destination, check=True, pack_lock=str(lock))["changed"]
    assert not lock.exists()
    assert converter.direct(source, destination, pack_lock=str(lock))["changed"]
    assert (lock.owner(), lock.stat().st_mode & 0o777) == (account, 0o600)
    source.fill(**MORE)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert converter.direct(source, destination, pack_lock=str(lock))["msg"] == (
            f"pack_lock {lock} is held, the source is being packed; wait until that ends, and run it again."
        )
    assert converter.direct(source, destination, pack_lock=str(lock))["changed"]


def test_what_was_written_since_is_copied_back(make_storage, converter):
    """The record of the copy proves the way back, also out of a storage that keeps no history."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    assert converter.direct(source, destination)["changed"]
    destination.fill(**MORE)
    done = converter.direct(destination, source)
    assert (done.get("msg"), done["state"], done["method"]) == (None, "behind", "catch_up")
    assert destination.differences(source) == {}
    source.fill(**MORE)
    assert converter.direct(source, destination)["state"] == "behind"
    assert equal(source, destination)


def test_a_password_is_nowhere(make_storage, converter):
    source, destination = make_storage("filestorage"), make_storage("postgresql")
    source.fill(**SMALL, undo_creation=False)
    destination.description = destination.described_with_password()
    log = converter.folder / "log"
    done = converter.direct(source, destination, log_path=str(log), method="zodbconvert")
    assert done["changed"]
    assert done["method"] == "zodbconvert"
    assert log.stat().st_mode & 0o077 == 0
    password = destination.server.QUOTED
    wrong = {"postgresql": {**destination.description["postgresql"], "password": "Wrong$ecret-12"}}
    refused = converter.direct(source, destination, destination=wrong, log_path=str(log))
    assert "the database does not answer" in refused["msg"]
    seen = (
        json.dumps([done, refused])
        + log.read_text()
        + "".join(path.read_text() for path in (converter.folder / "records").iterdir())
    )
    assert password not in seen
    assert "$ecret" not in seen


@pytest.mark.parametrize("kind", ["sqlite_history", "filestorage"])
def test_a_transaction_without_objects_is_copied_too(make_storage, converter, kind):
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL)
    for state_dir in ("records", "other"):  # by the record, and by a comparison
        assert converter.direct(source, destination)["changed"]
        subprocess.run([PYTHON, "-c", NO_OBJECTS, f"{source.folder}/Data.fs"], check=True)
        options = {"state_dir": f"{converter.folder}/{state_dir}"}
        checked = converter.direct(source, destination, True, **options)
        done = converter.direct(source, destination, **options)
        assert checked["state"] == done["state"] == "behind"
        assert [checked["transactions"], done["transactions"], done["objects"]] == [1, 1, 0]
        assert equal(source, destination)
        source.fill(seed=4, objects=1, transactions=0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "sqlite_history", "filestorage"])
def test_the_creation_of_what_was_copied_is_undone(make_storage, converter, kind):
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL)
    source.fill(seed=4, objects=5, transactions=0, blobs=[100], undo=False, undo_creation=False)
    source.fill(seed=5, objects=5, transactions=0, blobs=[], undo=False, undo_creation=False)
    assert converter.direct(source, destination)["changed"]
    before = source.read()["objects"]
    subprocess.run([PYTHON, "-c", UNDO, source.zconfig()], check=True)
    assert source.read()["objects"] < before - 5
    source.fill(**MORE)
    assert converter.direct(source, destination)["state"] == "behind"
    assert equal(source, destination)
    assert converter.direct(source, destination, state_dir=f"{converter.folder}/other")["state"] == "equal"


def test_a_source_that_has_another_past_than_the_record(make_storage, converter):
    """The same file, set back to before the record's transaction, and gone on from there."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    saved = (source.folder / "Data.fs").read_bytes()
    source.fill(**MORE)
    assert converter.direct(source, destination)["changed"]
    (source.folder / "Data.fs.index").unlink()
    (source.folder / "Data.fs").write_bytes(saved)  # the same file as before, by its number
    source.fill(seed=9, objects=20, transactions=6)
    assert converter.direct(source, destination)["state"] == "foreign"


def test_the_examples(make_storage, converter):
    """Each task of the documentation, with the paths of this test."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    paths = {
        "/opt/zodb/relstorage": str(VIRTUALENV),
        "/var/lib/zodb/pyams/pyams": str(source.folder),
        "/var/lib/zodb/sqlite": f"{destination.folder}/data",
        "/var/cache/zodb/blobs": f"{destination.folder}/blobs",
    }
    text = zodbconvert.EXAMPLES
    for there, here in paths.items():
        text = text.replace(there, here)
    for task in yaml.safe_load(text):
        # The record goes into the folder of root's records otherwise.
        task["pyams.zodb.zodbconvert"]["state_dir"] = str(converter.folder / "records")
        (done,) = converter.run({key: value for key, value in task.items() if key != "register"})
        assert done.get("msg") is None
    assert equal(source, destination)


# The sample of the old PyAMS documentation, with the closing tags and <postgresql> that it lost in print.
SAMPLE = """\
%import relstorage
<zeoclient source>
    server zeo-server.mydomain:8100
    storage pyams
    blob-dir /var/local/env/pyams/var/db/blobs
    shared-blob-dir false
</zeoclient>
<relstorage destination>
    keep-history false
    blob-dir /var/local/env/pyams/var/rs/blobs
    shared-blob-dir false
    <postgresql>
        dsn host='postgresql.mydomain' dbname='pyams_rs' user='pyams' password='pyams-sample'
    </postgresql>
</relstorage>
"""


def test_the_old_sample_file(make_storage, converter):
    """As it is, but for the names of the hosts. Its folders of blobs are caches, which are not there and not made."""
    source, destination = make_storage("zeo"), make_storage("postgresql")
    source.fill(**SMALL)
    server = destination.server
    server.psql("create role pyams login password 'pyams-sample'")
    server.psql(f"alter database {destination.database} rename to pyams_rs")
    server.psql("alter database pyams_rs owner to pyams")
    destination.location["dsn"] = destination.location["dsn"].replace(destination.database, "pyams_rs")
    destination.database = "pyams_rs"
    sample = converter.folder / "zodbconvert.conf"
    sample.write_text(
        SAMPLE.replace("zeo-server.mydomain:8100", f"127.0.0.1:{source.server.port}").replace(
            "'postgresql.mydomain'", f"'127.0.0.1' port='{server.port}'"
        )
    )
    for storage, name in ((source, "source"), (destination, "destination")):
        storage.description = {"config_file": {"path": str(sample), "section": name}}
    try:
        done = converter.twice(source, destination)
        assert "pyams-sample" not in json.dumps(done)
        assert equal(source, destination)
        source.fill(**MORE)
        assert converter.twice(source, destination)["state"] == "behind"
        assert equal(source, destination)
    finally:
        server.drop_database("pyams_rs")
        server.psql("drop role pyams")


@pytest.mark.parametrize("opened", ["zeo", "filestorage"])
@pytest.mark.parametrize("kind", ["sqlite", "sqlite_history"])
def test_creations_that_were_undone(make_storage, converter, kind, opened):
    """At which the script alone breaks off, when it copies to a storage without history."""
    source, destination = make_storage(opened), make_storage(kind)
    source.fill(**SMALL, undo_creation=True)
    done = converter.direct(source, destination)
    assert (done.get("msg"), done["method"]) == (None, "zodbconvert")
    assert equal(source, destination)


@pytest.mark.parametrize("kind", ["sqlite", "filestorage", "postgresql", "postgresql_history"])
@pytest.mark.parametrize("opened", ["zeo", "filestorage"])
def test_a_writer_goes_on_meanwhile(make_storage, converter, kind, opened):
    """Nothing is lost when the last catch-up comes after the last commit; the source by its server, or its file."""
    source, destination = make_storage("zeo"), make_storage(kind)
    source.fill(**SMALL)
    by_server, by_file = source.description, {"filestorage": {"path": f"{source.folder}/Data.fs"}}
    by_file["filestorage"]["blob_dir"] = f"{source.folder}/blobs"
    source.description = by_server if opened == "zeo" else by_file
    command = [PYTHON, "-c", WRITER, source.zconfig()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "begun\n"
        for state in ("empty", "behind", "behind"):
            done = converter.direct(source, destination)
            assert (done.get("msg"), done.get("changed"), done.get("state")) == (None, True, state)
        commits = int(writer.communicate("")[0])
    done = converter.direct(source, destination)
    assert (done.get("msg"), done.get("changed")) == (None, True)
    assert equal(source, destination)
    assert commits > 100


@pytest.mark.parametrize("kind", ["filestorage", "zeo", "sqlite", "postgresql", "postgresql_history"])
@pytest.mark.parametrize("method", ["bulk", "zodbconvert"])
def test_both_ways_into_postgresql_are_equal(make_storage, converter, kind, method):
    """In one transaction and by the script; then an application works with it, and packs it."""
    source, destination = make_storage(kind), make_storage("postgresql")
    source.fill(**SMALL, undo_creation=method == "bulk", blobs=[0, 1, 70_000, 9_500_000])
    done = converter.direct(source, destination, method=method)
    assert (done.get("msg"), done["method"], done["verified"]) == (None, method, "full")
    assert equal(source, destination)
    before = destination.read()["objects"]
    filled = destination.fill(seed=99, objects=50, transactions=2, packed=True, blobs=[10])
    # What the new objects replace would be missing now.
    assert destination.read()["objects"] >= before + filled["objects"]
    left = source.differences(destination).keys()
    assert left <= {"extra", "tids", "states", "missing"}
    lost = set(source.differences(destination).get("missing", []))
    assert len(lost) <= 6  # the garbage of six transactions
    large_objects = destination.server.psql(
        "select count(*) from pg_largeobject_metadata m where not exists "
        "(select 1 from blob_chunk where chunk = m.oid)",
        destination.database,
    )
    assert large_objects == "0"


def test_both_ways_into_a_file_are_equal(make_storage, converter):
    """By the script, and as the file that it is; then an application works with it."""
    source, script, copy = (make_storage("filestorage") for _storage in range(3))
    source.fill(**SMALL, packed=True, blobs=[0, 1, 70_000, 9_500_000])
    for destination, method in ((script, "zodbconvert"), (copy, "bulk")):
        done = converter.direct(source, destination, method=method)
        assert (done.get("msg"), done["method"], done["verified"]) == (None, method, "full")
        assert equal(source, destination)
    for name in ("Data.fs", "Data.fs.index"):
        assert (source.folder / name).read_bytes() == (copy.folder / name).read_bytes()
    blobs = {path.stat().st_mode for path in (copy.folder / "blobs").rglob("*.blob")}
    assert blobs == {path.stat().st_mode for path in (script.folder / "blobs").rglob("*.blob")}
    copy.fill(seed=99, objects=50, transactions=2, blobs=[10])
    assert source.differences(copy).keys() <= {"extra", "tids", "states", "transactions"}


def test_a_file_that_is_copied_need_not_be_read_through_to_be_opened(make_storage):
    """Its index is the source's, before anybody has opened it."""
    source, copy = make_storage("filestorage"), make_storage("filestorage")
    source.fill(**SMALL)
    storages = [source.description, copy.description]
    agent = _agent_run.Agent(str(VIRTUALENV), storages)
    agent.ask("bulk", **dict(zip(("source", "destination"), map(_agent_run.place, storages), strict=True)))
    assert agent.stop() == 0
    indexes = [(storage.folder / "Data.fs.index").read_bytes() for storage in (source, copy)]
    assert indexes[0] == indexes[1]


@pytest.mark.parametrize("calls", range(2))
def test_sigterm_while_no_agent_runs_is_answered(make_storage, converter, calls):
    """Before the agent is there, and when it has ended; the next run ends right."""
    source, destination = make_storage("filestorage"), make_storage("sqlite")
    source.fill(**SMALL)
    process = converter.start(source, destination)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    caught = re.compile(r"^SigCgt:\s+([0-9a-f]+)$", re.MULTILINE)
    status = pathlib.Path(f"/proc/{process.pid}/status")
    while not int(caught.search(status.read_text())[1], 16) >> signal.SIGTERM - 1 & 1:
        assert process.poll() is None
    for _call in range(calls):
        while not children.read_text() and time.monotonic() < deadline:
            pass
        while children.read_text():
            pass
    process.terminate()
    assert time.monotonic() < deadline
    answer = ansible_tasks.result_of(process)
    assert answer.get("changed") or answer["msg"] == "ended by SIGTERM; run it again."
    for _try in range(50):
        done = converter.direct(source, destination)
        if "is open in process" not in done.get("msg", ""):
            break
        time.sleep(0.2)  # what was ended is ending
    assert not done.get("failed"), done["msg"]
    assert equal(source, destination)


def processes():
    """Return the user's number of each process."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.stat().st_uid
    return found


@pytest.mark.parametrize("kind", ["filestorage", "sqlite", "sqlite_history"])
def test_in_the_background_and_as_the_owner(make_storage, converter, account, kind):
    """With async and poll, become, and the folder for records of that account."""
    source, destination = make_storage("filestorage", account=account), make_storage(kind, account=account)
    source.fill(**SMALL)
    task = converter.task(source, destination)
    del task["pyams.zodb.zodbconvert"]["state_dir"]
    records = pathlib.Path(pwd.getpwnam(account).pw_dir, ".local/state/pyams.zodb")
    before = set(records.glob("*"))
    started, again = ansible_tasks.run(converter.folder, [{**task, "async": 100, "poll": 1}, task], user=account)
    assert (started.get("msg"), started["changed"], started["finished"], again["changed"]) == (None, True, True, False)
    assert equal(source, destination)
    made = {*destination.folder.rglob("*"), *records.glob("*")} - before
    assert len(made) > 5
    assert {path.owner() for path in made} == {account}
    # Ansible looks every five seconds whether what it has put there has ended, and then it ends itself.
    uid = pwd.getpwnam(account).pw_uid
    until(lambda: uid not in processes().values(), lambda: str(processes()))


@pytest.mark.parametrize("number", range(INTERRUPTIONS))
def test_an_interrupted_copy_ends_right(make_storage, converter, number):
    """Killed at a random instant of a full copy or of a catch-up, and run again."""
    chance = random.Random(seeded() + number)
    kind = ("sqlite", "filestorage", "postgresql", "sqlite_history", "postgresql_history")[number % 5]
    source, destination = make_storage("filestorage"), make_storage(kind)
    source.fill(**SMALL, undo_creation=bool(number % 2))
    if chance.random() < 0.5:
        assert converter.direct(source, destination)["changed"]
        source.fill(**MORE)
    began = time.monotonic()
    converter.direct(source, destination, check=True)
    whole = 3 * (time.monotonic() - began)
    for sign in (signal.SIGKILL, signal.SIGTERM):
        process = converter.start(source, destination)
        time.sleep(chance.random() * whole)
        process.send_signal(sign)
        process.communicate()
    for _try in range(50):
        done = converter.direct(source, destination)
        if not re.search("another run|is open in process|other sessions|changed while", done.get("msg", "")):
            break
        time.sleep(0.2)  # what was killed is ending
    assert not done.get("failed"), done["msg"]
    assert equal(source, destination)
    again = converter.direct(source, destination)
    assert (again["changed"], again["state"]) == (False, "equal")


@pytest.fixture(scope="module")
def large(open_folder):
    """A FileStorage with many objects."""
    storage = storage_kinds.make("filestorage", open_folder() / "large")
    storage.fill(seed=1, objects=LARGE, payload=2000, blobs=[100], undo_creation=False)
    return storage


@pytest.mark.parametrize("kind", ["postgresql", "sqlite", "filestorage"])
def test_a_large_storage_takes_little_memory(make_storage, converter, large, kind):
    """A full copy, a comparison and a catch-up, each with the whole proof."""
    destination = make_storage(kind)
    sizes = {}
    for work in ("copy", "comparison"):
        _seconds, sizes[work], done = converter.measured(large, destination, state_dir=f"{converter.folder}/{work}")
        assert (done.get("msg"), done["verified"]) == (None, "full")
    large.fill(seed=len(kind), objects=LARGE // 10, transactions=0, payload=2000, blobs=[], undo=False)
    _seconds, sizes["catch-up"], done = converter.measured(large, destination, state_dir=f"{converter.folder}/copy")
    assert (done.get("msg"), done["state"]) == (None, "behind")
    print(f"MiB of the largest process at {LARGE:,} objects: {sizes}")
    assert max(sizes.values()) < 300, sizes
