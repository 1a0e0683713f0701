# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what the kinds of _storage.py that are databases of RelStorage have in common.

A ``<relstorage>`` section has RelStorage's own keys and, inside, the section of the database. The kind's options are
both, in one dictionary; what RelStorage has and is not here can be said by the kind zconfig.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import (
    Kind,
    Option,
    Refused,
    keys,
    write_section,
)

_OPTIONS = {
    "keep_history": Option(
        "bool", "Keep the revisions of objects until a pack, for undo. Decided once, when the storage is made.", False
    ),
    "blob_dir": Option(
        "path",
        "Absolute path of the folder of blobs. Without it there are none. A cache of what is in the database, unless "
        "C(shared_blob_dir).",
    ),
    "shared_blob_dir": Option(
        "bool", "Blobs are in C(blob_dir) alone, which every process shares, and not in the database.", False
    ),
    "blob_cache_size": Option(
        "size", "Size that the folder of cached blobs is held at, in bytes or with KB, MB, GB.", "1GB"
    ),
    "cache_local_mb": Option("int", "Size of the cache of each process, in MB.", 100),
    "cache_local_dir": Option(
        "path", "Absolute path of a folder that the caches are kept in from one start of the application to the next."
    ),
    "commit_lock_timeout": Option("int", "Seconds to wait for the lock of a commit. 30 if absent."),
    "create_schema": Option(
        "bool",
        "Make the tables where they are missing and renew the stored procedures, each time the storage is opened. "
        "RelStorage does if absent.",
    ),
    "pack_gc": Option("bool", "Collect garbage when packing.", True),
    "read_only": Option("bool", "Never write.", False),
    "name": Option("str", "Name of the storage in the application's log. What identifies the database if absent."),
}
_REPLICAS = {
    "replica_conf": Option(
        "path",
        "Absolute path of a file with a host, or C(host:port), per line. The first that answers is used, in place of "
        "C(host).",
    ),
    "replica_timeout": Option(
        "int", "Seconds until a client of another line tries the first again; 0 means never, which is safe.", 0
    ),
    "revert_when_stale": Option(
        "bool",
        "Go on with the older data of a database that lost commits in a fail-over, rather than refuse it.",
        False,
    ),
}
# The one key that has no hyphens
_REVERT = "revert_when_stale"
_LAG = (
    "reads from a standby that lags, so that most commits conflict; leave it out, and let readers have a storage of "
    "their own, with read_only."
)


def relstorage(
    kind: str,
    description: str,
    database: dict[str, Option],
    inner: Callable[[dict[str, Any]], str],
    place: Callable[[dict[str, Any]], list[str]],
    rules: Callable[[dict[str, Any]], None] = lambda options: None,
    files: Callable[[dict[str, Any]], list[str]] = lambda options: [],
    replicas: bool = True,
    imports: tuple[str, ...] = (),
    leaves_out: tuple[str, ...] = (),
    gone: dict[str, str] | None = None,
) -> Kind:
    """Return the kind of storage that is a database of RelStorage.

    database: options of the database, see Option. inner: options -> the database's section. place: options -> where it
    is, also its default name. rules: refuses. files: those that the database's client reads. replicas: whether
    RelStorage can go from one host to another. imports: further packages with sections. leaves_out: options of
    RelStorage without a meaning here. gone: as in Kind.
    """
    general = {name: option for name, option in _OPTIONS.items() if name not in leaves_out}
    general.update(_REPLICAS if replicas else {})

    def check(options: dict[str, Any]) -> dict[str, Any]:
        _rules(kind, options)
        rules(options)
        return options

    def render(options: dict[str, Any], name: str | None) -> str:
        own = {key: options[key] for key in general}
        # RelStorage's own default is the DSN without the words that begin with "password", so with a part of one.
        own["name"] = options["name"] or place(options)[0]
        if not options["blob_dir"]:
            own.update(shared_blob_dir=None, blob_cache_size=None)
        if not options.get("replica_conf"):
            own.update((key, None) for key in _REPLICAS)
        revert = own.pop(_REVERT, None)
        text = write_section("relstorage", name, [*keys(own), (_REVERT, revert)], inner(options))
        return "".join(f"%import {package}\n" for package in ("relstorage", *imports)) + text

    return Kind(
        description=description,
        options={**database, **general},
        rules=check,
        render=render,
        read=_read,
        pack=_pack,
        files=lambda options: [*filter(None, [options.get("replica_conf")]), *files(options)],
        places=place,
        gone={"ro_replica_conf": _LAG, **(gone or {})},
    )


def _rules(kind: str, options: dict[str, Any]) -> None:
    blobs, cache = (options.get(name) and os.path.normpath(options[name]) for name in ("blob_dir", "cache_local_dir"))
    if options["shared_blob_dir"] and not blobs:
        raise Refused(f"{kind}.shared_blob_dir is true, but blob_dir is missing; give the folder that is shared.")
    if cache and cache == blobs:
        raise Refused(f"{kind}.cache_local_dir {cache} is the folder of blobs too; give it a folder of its own.")
    if options.get(_REVERT) and not options["replica_conf"]:
        raise Refused(f"{kind}.{_REVERT} is true, but RelStorage only reverts with a replica_conf; give one.")


def _read(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "read_only": True, "create_schema": False}


def _pack(options: dict[str, Any]) -> dict[str, Any]:
    # A packer run by root would leave folders of root in the application's caches; shared blobs it has to remove.
    own = {**options, "create_schema": False}
    if "cache_local_dir" in own:
        own["cache_local_dir"] = None
    return own if options["shared_blob_dir"] else {**own, "blob_dir": None}
