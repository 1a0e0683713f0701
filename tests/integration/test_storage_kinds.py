# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed of conversions itself: each kind of storage is made, filled and read, and no planted fault is missed.

Needs root, for accounts and mounts.
"""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import time

import pytest
from storage_kinds import HERE, KINDS
from storage_servers import PYTHON, VIRTUALENV, listens, until

SEED = 20261101
SMALL = {"seed": SEED, "objects": 20, "transactions": 6}
FAULTS = {"state": "states", "tid": "tids", "missing": "missing", "extra": "extra", "blob": "blobs"}
# What zodbconvert can copy to a storage without history
NO_UNDONE = {**SMALL, "undo_creation": False}


def copy(source, destination, *options):
    """Copy with RelStorage's own script, of which nothing is proven here."""
    configuration = destination.folder / "convert.conf"
    configuration.write_text(source.zconfig("source") + destination.zconfig("destination"))
    command = [VIRTUALENV / "bin" / "zodbconvert", *options, configuration]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("blobs", ["own", "shared", None])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_filled_and_read(make_storage, kind, blobs):
    storage = make_storage(kind, blobs=blobs)
    sizes = [0, 1, 70_000, 1_500_000] if blobs else []
    done = storage.fill(**SMALL, blobs=sizes)
    found = storage.read()
    assert (found["last_tid"], found["missing_blobs"]) == (done["last_tid"], [])
    assert (found["blobs"], found["blob_bytes"]) == (len(sizes), sum(sizes))
    # The root, what holds the objects together, the last that got lost, and all that got lost before.
    assert found["objects"] >= done["objects"] + done["blobs"] + 3
    assert done["undone"] == ((3 if blobs else 2) if storage.history else 0)
    if storage.history:
        # ZODB's own first transaction makes the root.
        assert found["transactions"] == done["transactions"] + 1
        assert found["revisions"] > found["objects"]
    else:
        assert found["revisions"] == found["objects"]
    assert storage.differences(storage) == {}


@pytest.mark.parametrize("kind", ["filestorage", "sqlite", "postgresql_history"])
def test_a_seed_makes_the_same_again(make_storage, kind):
    one, other = make_storage(kind), make_storage(kind)
    assert one.fill(**SMALL)["seed"] == other.fill(**SMALL)["seed"] == SEED
    found = [
        {name: value for name, value in storage.read().items() if name not in ("digest", "last_tid")}
        for storage in (one, other)
    ]
    assert found[0] == found[1]
    differing = one.differences(other)
    assert differing.pop("tids")
    differing.pop("transactions", None)
    assert differing == {}
    assert make_storage(kind).fill(objects=1, transactions=0, blobs=[])["seed"] >= 0


@pytest.mark.parametrize("kind", ["filestorage", "zeo", "sqlite_history", "postgresql"])
def test_a_packed_source_has_less(make_storage, kind):
    storage, packed = make_storage(kind), make_storage(kind)
    storage.fill(**SMALL, undo=False, undo_creation=False)
    packed.fill(**SMALL, undo=False, undo_creation=False, packed=True)
    assert packed.read()["objects"] < storage.read()["objects"]
    assert packed.read()["missing_blobs"] == []


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("filestorage", "sqlite_history"),
        ("filestorage", "postgresql_history"),
        ("postgresql_history", "filestorage"),
        ("sqlite_history", "postgresql_history"),
        ("zeo_tls", "filestorage"),
        ("sqlite", "postgresql"),
        ("postgresql", "sqlite"),
    ],
)
def test_a_copy_is_equal(make_storage, kind, other):
    source, destination = make_storage(kind), make_storage(other)
    source.fill(**SMALL)
    copy(source, destination)
    assert source.differences(destination) == {}
    if source.history and destination.history:
        assert source.read()["digest"] == destination.read()["digest"]


@pytest.mark.parametrize("blobs", ["own", "shared"])
def test_what_zodbconvert_loses_on_the_way_to_zeo_is_found(make_storage, blobs):
    """It ends with 0 there, and without a word it copies no blob: ZEO's client is given to BaseStorage.copy()."""
    source, destination = make_storage("sqlite"), make_storage("zeo", blobs=blobs)
    source.fill(**SMALL)
    copy(source, destination)
    differing = source.differences(destination)
    assert (list(differing), len(differing["blobs"])) == (["blobs"], 4)


def test_only_what_is_current_counts_where_one_side_has_no_history(make_storage):
    source, destination = make_storage("postgresql_history"), make_storage("sqlite")
    source.fill(**SMALL)
    copy(source, destination)
    assert source.differences(destination) == destination.differences(source) == {}
    assert source.read()["revisions"] > destination.read()["revisions"]


@pytest.mark.parametrize(
    ("kind", "blobs"),
    [
        ("filestorage", "own"),
        ("sqlite", "own"),
        ("sqlite_history", "shared"),
        ("postgresql", "shared"),
        ("postgresql", "own"),
        ("postgresql_history", "own"),
    ],
)
def test_a_planted_fault_is_found(make_storage, kind, blobs):
    source = make_storage("filestorage")
    source.fill(**NO_UNDONE)
    for fault, key in FAULTS.items():
        destination = make_storage(kind, blobs=blobs)
        copy(source, destination)
        oids = destination.plant(fault)
        differing = source.differences(destination)
        assert bool(differing.pop("transactions", None)) is destination.history, fault
        assert differing == {key: oids}, fault


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(
            "update transaction set description = 'x' where tid = (select max(tid) from transaction)", id="note"
        ),
        pytest.param("update transaction set username = 'x' where tid = (select max(tid) from transaction)", id="user"),
        pytest.param(
            "update transaction set extension = null where tid = "
            "(select max(tid) from transaction where length(extension) > 0)",
            id="extension",
        ),
        pytest.param(
            "update object_state set state = state || '\\x00' where tid = (select min(tid) from object_state)",
            id="old state",
        ),
    ],
)
def test_a_planted_fault_in_the_history_is_found(make_storage, sql):
    source, destination = make_storage("filestorage"), make_storage("postgresql_history")
    source.fill(**SMALL)
    copy(source, destination)
    destination.server.psql(sql, destination.database)
    assert len(source.differences(destination)["transactions"]) == 1


def test_a_blob_that_both_sides_lack_differs(make_storage):
    storage = make_storage("filestorage")
    storage.fill(**SMALL)
    shutil.rmtree(storage.blob_dir)
    assert len(storage.differences(storage)["blobs"]) == len(storage.read()["missing_blobs"]) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_reading_what_is_not_there_makes_nothing(make_storage, kind):
    storage = make_storage(kind, blobs=None)
    before = sorted(storage.folder.rglob("*"))
    found = storage.read()
    assert (found["objects"], found["transactions"], found["last_tid"]) == (0, 0, None)
    assert sorted(storage.folder.rglob("*")) == before
    if storage.database:
        assert storage.server.psql("select count(*) from pg_tables where tableowner = 'zodb'", storage.database) == "0"


@pytest.mark.parametrize("kind", KINDS)
def test_a_storage_can_be_somebody_s(make_storage, account, kind):
    storage = make_storage(kind, account=account)
    storage.fill(**SMALL)
    owners = {
        pwd.getpwuid(path.lstat().st_uid).pw_name for path in storage.folder.rglob("*") if "conf" not in path.suffix
    }
    assert owners - {"root"} == {account}
    assert storage.read()["missing_blobs"] == []


def test_servers_fall_and_come_back(make_storage):
    for kind in ("zeo", "postgresql"):
        storage = make_storage(kind)
        storage.fill(**SMALL)
        before = storage.read()
        storage.server.stop(9)
        assert not storage.server.process
        storage.server.start()
        assert storage.read() == before
        storage.fill(seed=SEED + 1, objects=3, transactions=1)
        assert storage.read()["objects"] > before["objects"]


ABANDONED = """
import os, pathlib, signal
from storage_servers import Certificates, PostgreSQL, Zeo
folder = pathlib.Path(os.environ["FOLDER"])
for name in ("certificates", "postgresql", "zeo"):
    folder.joinpath(name).mkdir()
postgresql = PostgreSQL(folder / "postgresql", Certificates(folder / "certificates"))
zeo = Zeo(folder / "zeo")
zeo.start()
print(postgresql.port, zeo.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_servers_end_with_tests_that_are_killed(open_folder):
    done = subprocess.run(
        [PYTHON, "-c", ABANDONED],
        env={"PYTHONPATH": str(HERE), "FOLDER": str(open_folder())},
        capture_output=True,
        text=True,
        check=False,
    )
    ports = [int(port) for port in done.stdout.split()]
    assert len(ports) == 2, done.stderr
    until(lambda: not any(listens(port) for port in ports), lambda: f"they still listen: {ports}")


def test_a_password_is_asked_for_at_the_port(make_storage):
    storage = make_storage("postgresql")
    script = "import psycopg2, sys; psycopg2.connect(host='127.0.0.1', user='zodb', **eval(sys.argv[1])).close()"
    where = {"port": storage.server.port, "dbname": storage.database}
    password = storage.described_with_password()["postgresql"]["password"]
    for given, code in (({"password": password}, 0), ({"password": "wrong"}, 1), ({}, 1)):
        done = subprocess.run(
            [PYTHON, "-c", script, repr({**where, **given})], env={"HOME": "/"}, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr


@pytest.mark.parametrize("kind", ["zeo", "postgresql", "sqlite_history"])
def test_what_a_writer_was_acknowledged_is_there(make_storage, kind):
    storage = make_storage(kind)
    with storage.written(rate=50) as ledger:
        time.sleep(1)
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert len(lines) == ledger.count() >= 15
    assert any(line["blob"] for line in lines)
    assert ledger.lost(storage) == {}
    lines[3]["oid"] = "00000000000fffff"
    lines[4]["state"] = "of another"
    lines[5]["tid"] = lines[6]["tid"]
    ledger.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ledger.lost(storage) == {
        "missing": ["00000000000fffff"],
        "tids": [lines[5]["oid"]],
        "states": [lines[4]["oid"]],
    }


def test_a_disk_is_full_soon(make_storage):
    storage = make_storage("filestorage", disk=4)
    with pytest.raises(AssertionError, match="No space left on device"):
        storage.fill(objects=3000, payload=2000)
