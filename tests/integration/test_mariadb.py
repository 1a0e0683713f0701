# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zodbconvert from a MariaDB and into one, with blobs, which its driver reads otherwise than those of others do."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _agent_run
from conversions import MORE, SMALL, equal
from storage_servers import PYTHON

# Reads a storage's records as RelStorage does for any database, and blobs meanwhile.
READ = """
import sys
from ansible_collections.pyams.zodb.plugins.module_utils import _agent_mysql, _agent_zconfig
del _agent_mysql.Mysql._records
with _agent_zconfig.storage({"text": sys.argv[1]}) as storage:
    for oid, tid, _state in storage.records():
        storage.blob(oid, tid)
"""


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("mariadb", "filestorage"),
        ("mariadb", "postgresql"),
        ("mariadb", "mariadb"),
        ("mariadb_history", "filestorage"),
        ("mariadb_history", "sqlite"),
        ("mariadb_history", "postgresql_history"),
    ],
)
def test_there_and_back(make_storage, converter, kind, other):
    """A full copy, then what was added since, and all of it back; nothing is done twice."""
    source, destination, back = make_storage(kind), make_storage(other), make_storage(kind)
    source.fill(**SMALL, blobs=[100] * 20)
    for state in ("empty", "behind"):
        done, again = (converter.direct(source, destination) for _run in range(2))
        assert done.get("msg") is None, done["log"]
        assert (done["state"], done["changed"], done["verified"]) == (state, True, "full")
        assert (again["state"], again["changed"]) == ("equal", False)
        assert equal(source, destination)
        source.fill(**MORE)
    assert converter.direct(destination, back)["verified"] == "full"
    assert equal(destination, back)


def test_a_database_that_hands_out_less_is_refused(make_storage):
    source = make_storage("mariadb")
    source.fill(**SMALL)
    text = _agent_run.place(source.description)["text"]
    done = subprocess.run([PYTHON, "-c", READ, text], capture_output=True, text=True, check=False)
    there = source.read()["objects"]
    assert f"Refused: the database of the kind mariadb has {there} objects, and handed out " in done.stderr
