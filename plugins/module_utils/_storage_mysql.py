# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kinds mysql and mariadb of _storage.py, which differ in the name of their section."""

from __future__ import annotations

import functools
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_relstorage import relstorage
from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import Option, Refused, local, write_section

PORT = 3306
_OPTIONS = {
    "host": Option("host", "Name or address of the server. The socket of this machine if absent."),
    "port": Option("port", "Its port. 3306 if absent."),
    "unix_socket": Option("path", "Absolute path of the server's socket, in place of C(host)."),
    "db": Option("str", "Name of the database, which holds this storage and nothing else.", required=True),
    "user": Option("str", "Account to log in as. That of C(read_default_file), or of the process, if absent."),
    "password": Option(
        "secret",
        "Its password, for modules alone. No file is made of it.",
        instead="give a read_default_file, whose section client holds it",
    ),
    "read_default_file": Option(
        "path", "Absolute path of an option file, whose section C(client) has the password and what TLS needs."
    ),
    "read_default_group": Option("str", "Section of that file to read in place of C(client)."),
    "connect_timeout": Option("int", "Seconds to wait for a connection."),
    "compress": Option("bool", "Compress what goes over the network."),
    "driver": Option("str", "Python module of RelStorage, such as V(PyMySQL). The first that is there if absent."),
}
# Where the section's key is not the option's name
_KEYS = {"password": "passwd"}


def _rules(kind: str, mysql: dict[str, Any]) -> None:
    if mysql["unix_socket"] and (mysql["host"] or mysql["port"]):
        raise Refused(f"{kind}.unix_socket is given, and host or port too; keep one of them.")
    if mysql["read_default_group"] and not mysql["read_default_file"]:
        raise Refused(f"{kind}.read_default_group is given, but read_default_file is missing; give both.")
    if mysql["password"] and mysql["read_default_file"]:
        raise Refused(f"{kind}.password and read_default_file are both given; keep one of them.")


def _inner(kind: str, mysql: dict[str, Any]) -> str:
    values = {**mysql, "host": mysql["host"] and mysql["host"].strip("[]")}
    return write_section(kind, None, [(_KEYS.get(name, name), values[name]) for name in _OPTIONS])


def _places(mysql: dict[str, Any]) -> list[str]:
    if mysql["unix_socket"]:
        return [f"mysql://{mysql['unix_socket']}/{mysql['db']}"]
    return [f"mysql://{local(mysql['host'] or 'localhost')}:{mysql['port'] or PORT}/{mysql['db']}"]


def _kind(kind: str, description: str, imports: tuple[str, ...] = ()) -> Any:
    return relstorage(
        kind,
        description,
        _OPTIONS,
        inner=functools.partial(_inner, kind),
        place=_places,
        rules=functools.partial(_rules, kind),
        files=lambda mysql: [mysql["read_default_file"]] if mysql["read_default_file"] else [],
        imports=imports,
        gone={
            "passwd": "is called password, as in every kind.",
            "dbname": "is called db, as RelStorage has it.",
            "database": "is called db, as RelStorage has it.",
        },
    )


MYSQL = _kind("mysql", "A MySQL database of RelStorage.")
MARIADB = _kind(
    "mariadb",
    "A MariaDB database of RelStorage. Its section comes with our own distribution, C(pyams-zodb-tools), since "
    "RelStorage alone does not work with MariaDB.",
    ("pyams_zodb_tools",),
)
