# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kind sqlite of _storage.py."""

from __future__ import annotations

import os.path
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_relstorage import relstorage
from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import Option, Refused, write_section


def _rules(sqlite: dict[str, Any]) -> None:
    data, blobs = (sqlite[name] and os.path.normpath(sqlite[name]) for name in ("data_dir", "blob_dir"))
    if data == blobs:
        raise Refused(f"sqlite.blob_dir {blobs} is the data_dir too; blobs need a folder of their own.")


def _inner(sqlite: dict[str, Any]) -> str:
    return write_section("sqlite3", None, [("driver", sqlite["driver"]), ("data-dir", sqlite["data_dir"])])


SQLITE = relstorage(
    "sqlite",
    "A folder with an SQLite database of RelStorage, for the processes of one host.",
    {
        "data_dir": Option(
            "path",
            "Absolute path of the folder, on a local file system. It must be there, and is this storage's alone.",
            required=True,
        ),
        "driver": Option("str", "Python module of RelStorage, such as V(sqlite3). The first that is there if absent."),
    },
    inner=_inner,
    place=lambda sqlite: [f"sqlite://{os.path.normpath(sqlite['data_dir'])}"],
    rules=_rules,
    replicas=False,
    leaves_out=("cache_local_dir",),
    gone={"cache_local_dir": "is ignored by RelStorage, since SQLite has its own files; leave it out."},
)
