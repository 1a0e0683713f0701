# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kind filestorage of _storage.py."""

from __future__ import annotations

import os.path
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import (
    Kind,
    Option,
    Refused,
    keys,
    write_section,
)


def _filestorage_rules(filestorage: dict[str, Any]) -> dict[str, Any]:
    path, blobs = (filestorage[name] and os.path.normpath(filestorage[name]) for name in ("path", "blob_dir"))
    if path == blobs:
        raise Refused(f"filestorage.blob_dir {blobs} is the path of the storage too; blobs need a folder of their own.")
    return filestorage


def _filestorage_section(filestorage: dict[str, Any], name: str | None) -> str:
    return write_section("filestorage", name, keys(filestorage))


def _filestorage_read(filestorage: dict[str, Any]) -> dict[str, Any]:
    return {**filestorage, "read_only": True}


def _filestorage_places(filestorage: dict[str, Any]) -> list[str]:
    return [f"file://{os.path.normpath(filestorage['path'])}"]


FILESTORAGE = Kind(
    description="A file, for one process at a time.",
    options={
        "path": Option(
            "path", "Absolute path of the file, often called C(Data.fs). Its folder must be there.", required=True
        ),
        "blob_dir": Option("path", "Absolute path of the folder of blobs. Without it there are none."),
        "read_only": Option("bool", "Never write. Several processes may then open it.", False),
        "pack_gc": Option("bool", "Collect garbage when packing.", True),
        "pack_keep_old": Option("bool", "Keep the file as it was before the pack, beside it as C(.old).", True),
        "quota": Option("size", "Size that the file may grow to, in bytes or with KB, MB, GB."),
    },
    rules=_filestorage_rules,
    render=_filestorage_section,
    read=_filestorage_read,
    places=_filestorage_places,
    gone={"create": "would empty the storage each time it is opened; leave it out, a missing file is made without it."},
)
