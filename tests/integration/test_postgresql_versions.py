# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role relstorage_postgres, its tools and the modules with PostgreSQL 10 and 18; with SOAK, with all in between.

What each version makes its own way: who may act for a role, how a password is kept, whether the server can hash.
"""

from __future__ import annotations

import itertools
import os
import subprocess

import pytest
from ansible_collections.pyams.zodb.plugins.modules import zodb_fence, zodb_info
from ansible_tasks import changed, result_of, start_module
from conversions import MORE, SMALL, equal
from postgres_sites import (
    CLOSE,
    DATABASE,
    DBA,
    JOIN,
    KEEP,
    LAY,
    LAY_CLIENT,
    LOCAL,
    ROLE,
    SCHEMA,
    catalog,
    include,
    install,
    run,
    sites,
)
from storage_servers import PYTHON, VIRTUALENV, PostgreSQL, as_user, own

VERSIONS = range(10, 19) if os.environ.get("SOAK") else (10, 18)
NAMES = ("site", "past", "shop", "begun")
ENTRY = {"client": {"host": "127.0.0.1"}, "pack": {**LOCAL["pack"], "days": 0}}
# Leaves the root and two blobs, and garbage: 50 objects and a blob. Where it can, undoes the second revision of a blob.
CHANGES = """
import sys, transaction, ZODB.config
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob

database = ZODB.config.databaseFromURL(sys.argv[1])
with database.transaction() as connection:
    root = connection.root()
    root["kept"], root["lost"], root["many"] = Blob(b"first"), Blob(b"lost"), [PersistentMapping() for _n in range(50)]
    root["large"] = Blob(b"x" * 3_000_000)
with database.transaction() as connection:
    with connection.root()["kept"].open("w") as file:
        file.write(b"second")
if database.supportsUndo():
    database.undo(database.undoLog(0, 1)[0]["id"])
    transaction.commit()
with database.transaction() as connection:
    del connection.root()["lost"], connection.root()["many"]
    print(connection.root()["kept"].open().read().decode())
database.close()
"""


@pytest.fixture(scope="module", params=VERSIONS)
def postgresql(request, open_folder, certificates):
    """A throw-away server of a version, for make_storage too."""
    server = PostgreSQL(open_folder(), certificates, version=request.param)
    server.version = request.param
    yield server
    server.stop()


@pytest.fixture(scope="module")
def deployed(postgresql, open_folder, account, certificates):
    """Run the role twice; return the sites, what was said, and what there was after each run.

    Root makes one storage with history and one without by main, the user others by database and client.
    """
    found = sites(postgresql, open_folder, account, certificates)
    mine = [{"name": "site", **ENTRY}, {"name": "past", "keep_history": True, **ENTRY}]
    other = [{"name": name, "password": PostgreSQL.QUOTED, **ENTRY} for name in ("shop", "begun")]
    # As by a run that got no further than the account.
    postgresql.psql(f"set role {DBA}; create role begun login")
    plays = [
        found.root.play([include(mine)]),
        found.user.play([include(other, "database"), include(other, "client")]),
    ]
    for site in (found.root, found.user):
        install(site.top / "venv")
        own(site.top / "venv", site.account)
    found.said, found.states = [], []
    for _time in range(2):
        found.said.append([changed(text) for text in run(plays)])
        found.states.append([found.root.snapshot(), found.user.snapshot(), catalog(postgresql, *NAMES)])
    return found


def test_a_second_run_changes_nothing(deployed):
    made = [ROLE, DATABASE, CLOSE, SCHEMA, LAY_CLIENT]
    assert deployed.said[0] == [[KEEP, LAY, *made], [LAY, ROLE, JOIN, *made[1:]]]
    assert deployed.said[1] == [[], []]
    assert deployed.states[0] == deployed.states[1]
    assert deployed.server.psql("show server_version_num")[:2] == str(deployed.server.version)
    md5 = "select count(*) from pg_authid where rolcanlogin and rolname <> 'admin' and rolpassword !~ '^SCRAM-SHA-256'"
    assert deployed.server.psql(md5) == "0"


@pytest.mark.parametrize(
    ("who", "name", "blob"),
    [("root", "site", "second"), ("root", "past", "first"), ("user", "shop", "second"), ("user", "begun", "second")],
)
def test_an_application_writes_and_a_pack_takes_what_is_garbage(deployed, who, name, blob):
    site = getattr(deployed, who)
    command = [PYTHON, "-I", "-c", CHANGES, site.etc / name / "zodb.conf"]
    assert subprocess.check_output(command, text=True, **as_user(deployed.account)) == f"{blob}\n"
    code, line = site.tool("zodb-pack", name)
    assert (code, f"{name}: packed, 54 objects became 3 in " in line) == (0, True), line
    assert deployed.server.psql("select count(*) from pg_largeobject_metadata", name) == "2"
    code, line = site.tool("zodb-health", name)
    assert (code, "packed 0 hours ago" in line) == (0, True), line
    assert site.tool("zodb-schema", name) == (0, f"{name}: unchanged")


def asked(folder, module, storage, **options):
    """Return the result of a module that looks at a storage."""
    arguments = {"virtualenv": str(VIRTUALENV), "storage": storage.description, **options}
    found = result_of(start_module(folder, module, arguments))
    assert "msg" not in found, found
    return found


def test_a_file_is_copied_there_and_back(make_storage, converter, postgresql, tmp_path):
    """By a database with history and one without; what is added since too. What is fenced takes no writes."""
    chain = [make_storage(kind) for kind in ("filestorage", "postgresql_history", "postgresql", "filestorage")]
    for state, more in (("empty", SMALL), ("behind", MORE)):
        chain[0].fill(**more)
        for source, destination in itertools.pairwise(chain):
            done = converter.direct(source, destination)
            assert (done.get("msg"), done["state"], done["verified"]) == (None, state, "full")
            assert equal(source, destination)
    free = chain[2]
    found, read = asked(tmp_path, zodb_info, free), free.read()
    assert (found["objects"], found["last_tid"]) == (read["objects"], "0x" + read["last_tid"])
    assert found["blobs"] == {"count": read["blobs"], "bytes": read["blob_bytes"]}
    assert found["versions"]["server"].startswith(f"{postgresql.version}.")
    assert asked(tmp_path, zodb_fence, free, read_only=True)["read_only"] is True
    with pytest.raises(AssertionError, match="this storage is read-only, its site has moved"):
        free.fill(**MORE)
    assert asked(tmp_path, zodb_fence, free, read_only=False)["read_only"] is False
    free.fill(**MORE)
