# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-checkconf KIND FILE...: parses configuration as the program that will read it would.

KIND is zeo (a file for runzeo), zdaemon, or client (<zodb> or <zodb_db> sections, or a bare storage section).
No storage is opened, nothing is created, no folder has to be there. What ZEO ignores in silence, or dies of later,
is refused too. Says nothing when all is well. Exit status: 0 good, 1 refused ("FILE:LINE: sentence" on standard
error, one for each file), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
import os
import pathlib
import sys

import ZConfig.datatypes
import ZODB.config

from pyams_zodb_tools import _zconfig
from pyams_zodb_tools._errors import Misconfigured, reason

_CLIENT = """<schema>
  <import package="ZODB"/>
  <sectiontype name="zodb_db" implements="ZODB.database" extends="zodb">
    <multikey name="mount-point" required="yes" attribute="mount_points"/>
    <key name="connection-class"/>
    <key name="container-class"/>
    {class_factory}
  </sectiontype>
  <multisection type="ZODB.database" name="*" attribute="databases"/>
  <multisection type="ZODB.storage" name="*" attribute="storages"/>
</schema>"""

# What looks at the disk, or for the application's classes: they are not here yet, or never.
_BLIND = {
    "existing-dirpath": os.path.expanduser,
    "existing-directory": os.path.expanduser,
    "existing-path": os.path.expanduser,
    "existing-file": os.path.expanduser,
    "zdaemon.zdoptions.existing_parent_dirpath": os.path.expanduser,
    "zdaemon.zdoptions.existing_parent_directory": os.path.expanduser,
    "ZEO.zconfig.server_ssl": lambda section: section,
    "ZEO.zconfig.client_ssl": lambda section: section,
    "ZODB.config.importable_name": str,
}

_GONE = "is gone since ZEO 5; <ssl> with a certificate for each client replaces the passwords"
_IGNORED = "is ignored since ZEO 5; <clientstorage> with <ssl> and a certificate replaces the passwords"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="zodb-checkconf", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("kind", choices=sorted(_KINDS), metavar="KIND", help="zeo, zdaemon or client")
    parser.add_argument("files", nargs="+", metavar="FILE")
    options = parser.parse_args(arguments)
    status = 0
    for file in options.files:
        try:
            _KINDS[options.kind](file)
        except Misconfigured as error:
            print(error, file=sys.stderr)
            status = 1
    return status


def _load(schema: str, file: str, **objections):
    try:
        with open(file, encoding="utf-8") as source:
            return _zconfig.load(_zconfig.schema(schema, _BLIND), source, os.path.abspath(file), **objections)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file}:1: cannot be read: {reason(error)}") from error


def _zeo(file: str) -> None:
    schema = importlib.resources.files("ZEO").joinpath("schema.xml").read_text(encoding="utf-8")
    configuration = _load(schema, file, rule=_zeo_rule, named=_zeo_name)
    names = [storage.name for storage in configuration.storages]
    if names.count(None) > 1 or (None in names and "1" in names):
        raise Misconfigured(f"{file}:1: more than one storage is served as '1', the name of one without a name")


def _zdaemon(file: str) -> None:
    _load(importlib.resources.files("zdaemon").joinpath("schema.xml").read_text(encoding="utf-8"), file)


def _client(file: str) -> None:
    zodb = ZODB.config.getDbSchema().gettype("zodb")
    class_factory = "" if "class-factory" in dict(zodb) else '<key name="class-factory"/>'  # ZODB's own since 6.4
    configuration = _load(_CLIENT.format(class_factory=class_factory), file, rule=_client_rule)
    if not configuration.databases and not configuration.storages:
        raise Misconfigured(f"{file}:1: holds neither a database nor a storage")


def _zeo_rule(section: str, key: str, value: str) -> str | None:
    """Return what is wrong with a value of runzeo's configuration that ZConfig lets pass."""
    if section == "zeo":
        if key.startswith("authentication-"):
            return f"{key} {_GONE}"
        if key == "monitor-address":
            return "monitor-address is gone since ZEO 5; zodb-health replaces it"
        if key == "address" and ZConfig.datatypes.SocketBindingAddress(value).address[1:] == (None,):
            return f"address {value} has no port, so that ZEO would take any that is free"
        if key == "msgpack" and ZConfig.datatypes.asBoolean(value) and not importlib.util.find_spec("msgpack"):
            return "msgpack needs the package msgpack, which is not in this virtualenv"
    if section == "ssl" and key == "authenticate":
        if value in ("", "-", "SIGNED", "DYNAMIC"):
            return f"authenticate {value}: ZEO dies of it or admits nobody; name a file, or a folder of certificates"
        return _crl_in_folder(value)
    return None


def _zeo_name(name: str = "") -> str | None:
    if name != name.lower():
        return f"storage {name} would be served as {name.lower()}, since ZConfig lowers names; write it in lower case"
    return None


def _client_rule(section: str, key: str, value: str) -> str | None:
    """Return what is wrong with a value of a client's configuration that ZConfig lets pass."""
    if section == "zeoclient" and key in ("username", "password", "realm"):
        return f"{key} {_IGNORED}"
    if section == "ssl" and key == "authenticate":
        if value in ("-", "SIGNED", "DYNAMIC"):
            return f"authenticate {value}: ZEO dies of it; name a file, or leave it out for the system's authorities"
        return _crl_in_folder(value)
    return None


def _crl_in_folder(folder: str) -> str | None:
    for path in sorted(pathlib.Path(folder).iterdir()) if os.path.isdir(folder) else ():
        if path.is_file() and b"-----BEGIN X509 CRL-----" in path.read_bytes():
            return f"authenticate {folder}: ZEO ignores the CRL {path.name} in it; put authority and CRL into one file"
    return None


_KINDS = {"zeo": _zeo, "zdaemon": _zdaemon, "client": _client}
