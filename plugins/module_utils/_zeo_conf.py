# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what a configuration of runzeo says. Pure functions from text to values.

ZConfig is not on the controller, and a file that the old scaffold left may hold keys that no ZEO reads any more.
"""

from __future__ import annotations

import posixpath
import re


def parse(text: str, folder: str) -> dict:
    """Return the address (null if none is said) and the storages by name, each with path and blob_dir (null if none).

    folder: absolute path that relative paths start at. What cannot be read is passed over.
    """
    defines: dict[str, str] = {}
    open_sections: list[tuple[str, str]] = []
    found: dict = {"address": None, "storages": {}}
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("%define"):
            name, value = [*line.split(None, 2), "", ""][1:3]
            defines[name.lower()] = _replace(value, defines)
        elif line.startswith("</"):
            open_sections[-1:] = []
        elif line.startswith("<") and not line.endswith("/>"):
            kind, name = [*line[1:].rstrip(">").lower().split(), "", ""][:2]
            open_sections.append((kind, name))
        elif line[:1] not in ("", "#", "<", "%"):
            key, value = [*line.split(None, 1), ""][:2]
            _note(found, open_sections, key.lower(), _replace(value.strip(), defines), folder)
    found["storages"] = {name: storage for name, storage in found["storages"].items() if storage["path"]}
    return found


def _note(found: dict, sections: list[tuple[str, str]], key: str, value: str, folder: str) -> None:
    kinds = [kind for kind, name in sections]
    if kinds == ["zeo"] and key == "address":
        found["address"] = value
    if kinds in (["filestorage"], ["blobstorage"], ["blobstorage", "filestorage"]) and key in ("path", "blob-dir"):
        # A storage without a name is served as 1.
        storage = found["storages"].setdefault(sections[0][1] or "1", {"path": None, "blob_dir": None})
        storage[key.replace("-", "_")] = posixpath.normpath(posixpath.join(folder, value)) if value else None


def _replace(text: str, defines: dict[str, str]) -> str:
    def value(match: re.Match) -> str:
        name = (match[1] or match[2] or "").lower()
        return defines.get(name, match[0]) if name else "$"

    return re.sub(r"\$(?:\$|\{(\w+)\}|(\w+))", value, text)
