# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kinds postgresql and newt of _storage.py. Their options are libpq's, which become one DSN.

An application opens a database of NewtDB, whose JSON is made by a process of its own, as any other of PostgreSQL.
"""

from __future__ import annotations

import functools
import os.path
import re
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_relstorage import relstorage
from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import (
    Option,
    Refused,
    local,
    required_together,
    write_section,
)

PORT = 5432
# What let clients and standbys go on by themselves after every cut, see the README of zodb_client. Without the first,
# one waits for the answer of a host that was cut off until the kernel asks it, after two hours.
KEEPALIVES = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3}
TIMEOUTS = {"connect_timeout": 2, **KEEPALIVES, "tcp_user_timeout": 4000}
_VERIFYING = ("verify-ca", "verify-full")
_WAITS = ("connect_timeout", "tcp_user_timeout")
_ONE_DSN = "is made of host, port, dbname, user and the other options of libpq; give those, or the section as zconfig."


def dsn(postgresql: dict[str, Any]) -> str:
    """Return the options that are libpq's as one DSN, each value quoted for libpq."""
    values = {name: postgresql[name] for name in _LIBPQ}
    values["host"], values["port"] = _hosts_and_ports(postgresql)
    return " ".join(f"{name}={_quoted(value)}" for name, value in values.items() if value is not None)


def one_replica(kind: str, postgresql: dict[str, Any]) -> str:
    """Return all hosts as one line of a replica_conf, which libpq gets as several. Raises Refused.

    RelStorage splits the line at its one colon and puts both parts into the DSN as they are.
    """
    for host in postgresql["host"]:
        if re.search(r"[\s:'\\]", _split(host)[0]):
            raise Refused(
                f"{kind}.host {host}: RelStorage takes no colons, blanks, quotes or backslashes in a list of hosts; "
                "give the host by its name."
            )
    return ":".join(str(value) for value in _hosts_and_ports(postgresql) if value is not None)


def _hosts_and_ports(postgresql: dict[str, Any]) -> tuple[str | None, int | str | None]:
    hosts = [_split(host) for host in postgresql["host"] or []]
    port = postgresql["port"]
    if any(own for _host, own in hosts):
        port = ",".join(own or str(port or PORT) for _host, own in hosts)
    return ",".join(host for host, _own in hosts) or None, port


def _quoted(value: Any) -> str:
    text = str(int(value)) if isinstance(value, bool) else str(value)
    return "'{}'".format(re.sub(r"(['\\])", r"\\\1", text))


def _split(host: str) -> tuple[str, str | None]:
    """Return host and port as libpq takes them, which wants an address of IPv6 without brackets."""
    if host.startswith("/"):
        return host, None
    match = re.fullmatch(r"\[?(?P<host>[^]]*?)\]?(?::(?P<port>\d+))?", host)
    return (match["host"], match["port"]) if match else (host, None)


def _rules(kind: str, postgresql: dict[str, Any]) -> None:
    hosts = postgresql["host"] or []
    if not postgresql["dbname"] and not postgresql["service"]:
        raise Refused(f"{kind}.dbname is missing; give it, or a service that does.")
    if postgresql["password"] and postgresql["passfile"]:
        raise Refused(f"{kind}.password and passfile are both given; keep one of them.")
    several = len(hosts) > 1
    missing = [name for name in _WAITS if not postgresql[name]]
    if several and missing:
        raise Refused(
            f"{kind}.host is a list, but {' and '.join(missing)} is missing, without which a silent host holds a "
            "client for minutes; give both, such as 2 (seconds) and 4000 (milliseconds)."
        )
    if (several or postgresql["replica_conf"]) and not postgresql["target_session_attrs"]:
        raise Refused(
            "{}.{} is given, but target_session_attrs is missing, without which a standby that answers first "
            "is taken; give read-write, or prefer-standby to those who only read.".format(
                kind, "replica_conf" if postgresql["replica_conf"] else "host, a list,"
            )
        )
    if several and postgresql["replica_conf"]:
        raise Refused(f"{kind}.host is a list, and replica_conf is given too; name the hosts in one of them.")
    _tls_rules(kind, postgresql)
    _driver_rules(kind, postgresql)


def _tls_rules(kind: str, postgresql: dict[str, Any]) -> None:
    mode = postgresql["sslmode"]
    sockets = [host for host in postgresql["host"] or [] if host.startswith("/")]
    if mode in _VERIFYING and sockets:
        raise Refused(
            f"{kind}.host {sockets[0]} is a socket, over which PostgreSQL does not speak TLS; take sslmode out."
        )
    if mode in _VERIFYING and not postgresql["sslrootcert"]:
        raise Refused(
            f"{kind}.sslmode is {mode}, but sslrootcert is missing; give the certificate of the authority that it "
            "verifies with."
        )
    if postgresql["sslrootcert"] and mode not in _VERIFYING:
        raise Refused(f"{kind}.sslrootcert is given, but sslmode does not verify with it; set sslmode to verify-full.")
    required_together(kind, postgresql, "sslcert", "sslkey")
    required_together(kind, postgresql, "sslkey", "sslcert")


def _driver_rules(kind: str, postgresql: dict[str, Any]) -> None:
    """RelStorage itself takes the DSN apart for pg8000, at its blanks and without libpq's quoting."""
    if "pg8000" not in (postgresql["driver"] or ""):
        return
    given = [name for name in _LIBPQ if postgresql[name] is not None and name not in _PG8000]
    if given or len(postgresql["host"] or []) > 1:
        raise Refused(
            "{}.driver is {}, which knows nothing of {}; take it out, or take psycopg2.".format(
                kind, postgresql["driver"], given[0] if given else "several hosts"
            )
        )
    values = {**postgresql, "host": "".join(postgresql["host"] or [])}
    odd = [name for name in _PG8000 if re.search(r"[\s='\"\\]", str(values[name]))]
    if odd:
        raise Refused(
            "{}.{} has a blank, an equals sign, a quote or a backslash, which RelStorage does not hand on to "
            "{}; change it, or take psycopg2.".format(kind, odd[0], postgresql["driver"])
        )


def _inner(postgresql: dict[str, Any]) -> str:
    return write_section("postgresql", None, [("driver", postgresql["driver"]), ("dsn", dsn(postgresql))])


def _places(postgresql: dict[str, Any]) -> list[str]:
    if postgresql["service"]:
        return [f"postgresql://service/{postgresql['service']}/{postgresql['dbname'] or ''}"]
    if postgresql["replica_conf"] and not postgresql["host"]:
        return [f"postgresql://replicas{os.path.normpath(postgresql['replica_conf'])}/{postgresql['dbname']}"]
    found = []
    for given in postgresql["host"] or ["localhost"]:
        _host, own_port = _split(given)
        address = given if own_port else f"{given}:{postgresql['port'] or PORT}"
        found.append(f"postgresql://{local(address)}/{postgresql['dbname']}")
    return found


def _files(postgresql: dict[str, Any]) -> list[str]:
    return [postgresql[name] for name in ("passfile", "sslrootcert", "sslcert", "sslkey") if postgresql[name]]


# In the order of the DSN
_LIBPQ = {
    "host": Option(
        "hosts",
        "Where the server is: a name, an address, either with its port or not, or the absolute path of the folder of "
        "its socket. Several are tried until one fits C(target_session_attrs). The socket of this machine if absent.",
    ),
    "port": Option("port", "Port of hosts that are given without one. 5432 if absent."),
    "dbname": Option("str", "Name of the database, which holds this storage and nothing else."),
    "user": Option("str", "Role to log in as. The account of the process if absent."),
    "password": Option(
        "secret",
        "Its password, for modules alone. No file is made of it.",
        instead="give a passfile, which holds it",
    ),
    "passfile": Option("path", "Absolute path of a file with the password, as C(~/.pgpass)."),
    "service": Option("str", "Section of C(pg_service.conf) that has the options which are not given here."),
    "sslmode": Option(
        "str",
        "TLS. V(verify-full) is the one that protects.",
        choices=("disable", "allow", "prefer", "require", *_VERIFYING),
    ),
    "sslrootcert": Option("path", "Absolute path of the certificate of the authority that signed the server's, PEM."),
    "sslcert": Option("path", "Absolute path of this client's certificate, PEM."),
    "sslkey": Option("path", "Absolute path of its key, PEM, which nobody else may read."),
    "connect_timeout": Option("int", "Seconds to wait for a connection to one host. As long as it takes if absent."),
    "keepalives_idle": Option("int", "Seconds without traffic until the server is asked whether it is there."),
    "keepalives_interval": Option("int", "Seconds between such questions."),
    "keepalives_count": Option("int", "Unanswered questions until the connection is given up."),
    "tcp_user_timeout": Option("int", "Milliseconds that sent data may be unanswered."),
    "target_session_attrs": Option(
        "str",
        "What a host has to be, to be taken.",
        choices=("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    ),
    "application_name": Option("str", "Names this client in C(pg_stat_activity). RelStorage's own name if absent."),
}
_PG8000 = ("host", "port", "dbname", "user", "password")


def _kind(kind: str, description: str) -> Any:
    driver = Option("str", "Python module of RelStorage, such as V(psycopg2). The first that is there if absent.")
    return relstorage(
        kind,
        description,
        {**_LIBPQ, "driver": driver},
        inner=_inner,
        place=_places,
        rules=functools.partial(_rules, kind),
        files=_files,
        gone={
            "dsn": _ONE_DSN,
            "hosts": "is called host, which takes one or several.",
            "database": "is called dbname, as libpq has it.",
        },
    )


POSTGRESQL = _kind("postgresql", "A PostgreSQL database of RelStorage.")
NEWT = _kind(
    "newt",
    "A PostgreSQL database of RelStorage to which NewtDB's C(newt-updater) adds a copy of each object as JSON. An "
    "application opens it as one of the kind C(postgresql).",
)
