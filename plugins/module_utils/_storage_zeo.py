# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kind zeo of _storage.py."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import (
    Kind,
    Option,
    Refused,
    keys,
    local,
    show,
    write_section,
)


def _zeo_rules(zeo: dict[str, Any]) -> dict[str, Any]:
    if not re.fullmatch(r"[^\s()A-Z]+", zeo["storage"]):
        raise Refused(
            "zeo.storage {}: no server can name one so, its configuration takes neither blanks nor parentheses and "
            "turns capitals into small letters; write the name as the server has it.".format(show(zeo["storage"]))
        )
    if zeo["shared_blob_dir"] and not zeo["blob_dir"]:
        raise Refused("zeo.shared_blob_dir is true, but blob_dir is missing; give the server's own folder of blobs.")
    if zeo["read_only"] and zeo["read_only_fallback"]:
        raise Refused("zeo.read_only and read_only_fallback are both true; keep one of them.")
    if zeo["wait_timeout"] < 1:
        raise Refused(
            f"zeo.wait_timeout {zeo['wait_timeout']} is less than a second, which ZEO takes for its default of 30; "
            "give more."
        )
    tls = zeo["tls"]
    sockets = [server for server in zeo["server"] if "/" in server]
    if tls and sockets:
        raise Refused(f"zeo.server {sockets[0]} is a socket, over which ZEO's client cannot speak TLS; take tls out.")
    if tls and tls["server_hostname"] and not tls["check_hostname"]:
        raise Refused("zeo.tls.server_hostname is given, but check_hostname is false; it would not be looked at.")
    return zeo


def _zeo_section(zeo: dict[str, Any], name: str | None) -> str:
    tls = zeo["tls"]
    ssl = ""
    if tls:
        lines = [
            ("certificate", tls["cert"]),
            ("key", tls["key"]),
            ("authenticate", tls["ca"]),
            ("check-hostname", tls["check_hostname"]),
            ("server-hostname", tls["server_hostname"]),
        ]
        ssl = write_section("ssl", None, lines)
    return "%import ZEO\n" + write_section("clientstorage", name, keys(zeo, "tls"), ssl)


def _zeo_pack(zeo: dict[str, Any]) -> dict[str, Any]:
    # A packer run by root would leave folders of root in the application's cache of blobs, and it needs no blob.
    return {**zeo, "blob_dir": None, "shared_blob_dir": None, "blob_cache_size": None}


def _zeo_read(zeo: dict[str, Any]) -> dict[str, Any]:
    return {**zeo, "read_only": True, "read_only_fallback": False}


def _zeo_places(zeo: dict[str, Any]) -> list[str]:
    return [f"zeo://{local(server)}/{zeo['storage']}" for server in zeo["server"]]


def _zeo_files(zeo: dict[str, Any]) -> list[str]:
    return [zeo["tls"][name] for name in ("ca", "cert", "key") if zeo["tls"][name]] if zeo["tls"] else []


_ONE_PROCESS = (
    "would be a cache in a fixed file, which the second process of an application finds locked; leave it out."
)
_NO_PASSWORDS = "is gone since ZEO 5, which ignores it; give tls, a certificate per client replaces the passwords."

ZEO = Kind(
    description="A storage of a ZEO server.",
    options={
        "server": Option(
            "addresses",
            "Where the server is: V(host:port), V([IPv6]:port), a bare port (on 127.0.0.1), or the absolute path "
            "of its socket. Several are tried until one answers.",
            required=True,
        ),
        "storage": Option(
            "str",
            "Name of the storage as the server has it. With a wrong one a client waits in vain.",
            required=True,
        ),
        "blob_dir": Option(
            "path", "Absolute path of the folder of cached blobs, which the application must be able to write."
        ),
        "shared_blob_dir": Option(
            "bool",
            "C(blob_dir) is the server's own folder of blobs, on the same host or a shared file system.",
            False,
        ),
        "blob_cache_size": Option(
            "size", "Size that the folder of cached blobs is held at, in bytes or with KB, MB, GB.", "1GB"
        ),
        "cache_size": Option("size", "Size of the cache of each process, in bytes or with KB, MB, GB.", "256MB"),
        "server_sync": Option(
            "bool",
            "Ask the server at the begin of each transaction. Without it, what another process has just committed "
            "may not be seen yet.",
            True,
        ),
        "wait_timeout": Option("int", "Seconds to wait for a connection, at the start and after one was lost.", 30),
        "client_label": Option("str", "Names this client in the server's log."),
        "read_only": Option("bool", "Never write.", False),
        "read_only_fallback": Option("bool", "Take a server that cannot be written to while there is no other.", False),
        "tls": Option(
            "dict",
            "Mutual TLS.",
            options={
                "ca": Option(
                    "path",
                    "Absolute path of a PEM file, or of a folder hashed by C(openssl rehash), that the server's "
                    "certificate is verified with: its authority, or itself.",
                    required=True,
                ),
                "cert": Option("path", "Absolute path of this client's certificate, PEM.", required=True),
                "key": Option("path", "Absolute path of its key, PEM. In C(cert) if absent."),
                "check_hostname": Option("bool", "Verify that the server's certificate is one of the host's.", True),
                "server_hostname": Option(
                    "str", "Name to look for in the server's certificate. The host of C(server) if absent."
                ),
            },
        ),
    },
    rules=_zeo_rules,
    render=_zeo_section,
    read=_zeo_read,
    pack=_zeo_pack,
    files=_zeo_files,
    places=_zeo_places,
    gone={
        "client": _ONE_PROCESS,
        "var": _ONE_PROCESS,
        "cache_path": _ONE_PROCESS,
        "username": _NO_PASSWORDS,
        "password": _NO_PASSWORDS,
        "realm": _NO_PASSWORDS,
    },
)
