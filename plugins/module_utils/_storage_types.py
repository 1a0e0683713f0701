# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what the kinds of _storage.py are made of: options, their types, and a section's text."""

from __future__ import annotations

import ipaddress
import os.path
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """What is wrong with a description and what to do, in one sentence that begins with the option."""


@dataclass(frozen=True)
class Option:
    """One option of a kind.

    type: bool, int, str, path (absolute, on the host that opens the storage), size (bytes, or with KB, MB, GB),
    addresses (one or several of ZEO), host (a name or an address), hosts (one or several, each with a port or not),
    port, secret (a str that is never shown), or dict, which then has options.
    choices: the only values of a str. instead: of a secret, what to give where the text becomes a file.
    """

    type: str
    description: str
    default: Any = None
    required: bool = False
    options: dict[str, Option] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    instead: str = ""


@dataclass(frozen=True)
class Kind:
    """One way to say where the objects are.

    options: by name; empty for the kind that is one text. rules: raises Refused for options that do not go together.
    render: options, section name or None -> ZConfig. read, pack: options -> those with which the storage is opened by
    one who only reads, and by a packer. files: options -> files that are read when the storage is opened. places:
    options -> where the storage is, see identities(). secrets: options -> secrets that are no options of their own.
    gone: options that other tools have and we refuse, with the reason.
    """

    description: str
    render: Callable[[Any, str | None], str]
    options: dict[str, Option] = field(default_factory=dict)
    rules: Callable[[Any], Any] = lambda options: options
    read: Callable[[Any], Any] = lambda options: options
    pack: Callable[[Any], Any] = lambda options: options
    files: Callable[[Any], list[str]] = lambda options: []
    places: Callable[[Any], list[str]] = lambda options: []
    secrets: Callable[[Any], list[str]] = lambda options: []
    gone: dict[str, str] = field(default_factory=dict)


def complete(options: dict[str, Option], values: Any, where: str, gone: dict[str, str]) -> dict[str, Any]:
    known = ", ".join(options)
    if not isinstance(values, dict):
        raise Refused(f"{where} is of type {type(values).__name__}, not a dictionary; its options are {known}.")
    for name in values:
        if name in gone:
            raise Refused(f"{where}.{name} {gone[name]}")
        if name not in options:
            raise Refused(f"{where}.{name} is not supported; the options of {where} are {known}.")
    result = {}
    for name, option in options.items():
        value, place = values.get(name), f"{where}.{name}"
        if value is None and option.required:
            raise Refused(f"{place} is missing; give it.")
        if value is None:
            value = option.default
        if value is None:
            result[name] = None
        elif option.type == "dict":
            result[name] = complete(option.options, value, place, {})
        else:
            result[name] = _TYPES[option.type](place, value)
            if option.choices and result[name] not in option.choices:
                raise Refused("{} {} is none of {}.".format(place, show(result[name]), ", ".join(option.choices)))
    return result


def _bool(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise Refused(f"{where} {show(value)} is neither true nor false.")


def _int(where: str, value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\s*\d+\s*", str(value)):
        raise Refused(f"{where} {show(value)} is not a whole number.")
    return int(value)


def one_line(where: str, value: Any) -> str:
    """Return a text that survives in one ZConfig line, which ends at a line feed and loses the blanks around it."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Refused(f"{where} is of type {type(value).__name__}, not a text; write one.")
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", text):
        raise Refused(
            f"{where} holds a line end or another control character; a ZConfig value is one line, take it out."
        )
    if re.search(r"[\ud800-\udfff]", text):
        raise Refused(f"{where} holds bytes that are no UTF-8, which ZConfig cannot read; take them out.")
    if text != text.strip() or not text:
        raise Refused(
            f"{where} {show(text)} is empty or has blanks around it, which ZConfig would drop; take them out."
        )
    return text


def _path(where: str, value: Any) -> str:
    path = one_line(where, value)
    if not os.path.isabs(path):
        raise Refused(
            f"{where} {path} is a relative path, which each process resolves from its own folder; "
            "write an absolute one."
        )
    return path


def _size(where: str, value: Any) -> str:
    text = re.sub(r"\s", "", str(value)).upper()
    match = re.fullmatch(r"(\d+)(|KB|MB|GB)", text)
    if not match or isinstance(value, bool):
        raise Refused(f"{where} {show(value)} is no size; write a whole number of bytes, or one with KB, MB or GB.")
    if int(match[1]) * _UNITS[match[2]] < _UNITS["MB"]:
        raise Refused(
            f"{where} {text} is less than 1 MB; a number without a unit is bytes, write KB, MB or GB behind it."
        )
    return text


def _secret(where: str, value: Any) -> str:
    """Return a password, or refuse it without showing it."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not text or text != text.strip():
        raise Refused(f"{where} is empty, has blanks around it, or is no text; write it as a text without them.")
    return one_line(where, text)


def _addresses(where: str, value: Any) -> list[str]:
    return _several(where, value, _address, "give the address of at least one server")


def _hosts(where: str, value: Any) -> list[str]:
    return _several(where, value, _host_and_port, "name at least one host")


def _several(where: str, value: Any, check: Callable[[str, Any], str], advice: str) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise Refused(f"{where} is an empty list; {advice}.")
    found = [check(where, one) for one in values]
    twice = [one for index, one in enumerate(found) if one in found[:index]]
    if twice:
        raise Refused(f"{where} {twice[0]} is named twice; keep it once.")
    return found


def _address(where: str, value: Any) -> str:
    """Return a server's address as ZConfig reads it: host:port, [IPv6]:port, or a socket's path."""
    text = one_line(where, value)
    if "/" in text:
        return _path(where, text)
    if text.count(":") > 1 and not text.startswith("["):
        raise Refused(f"{where} {text}: the port of an IPv6 address cannot be told from it; write [address]:port.")
    host, colon, port = text.rpartition(":")
    if not colon:
        if not port.isdigit():
            raise Refused(f"{where} {text} has no port; write {text}:8100, or the absolute path of a socket.")
        host = "127.0.0.1"
    if not _is_port(port):
        raise Refused(f"{where} {text}: the port is no number from 1 to 65535.")
    _reachable(where, text, host)
    return f"{host}:{int(port)}"


def _host_and_port(where: str, value: Any) -> str:
    """Return where a database server is: a name, an address, either with a port, or the folder of its socket."""
    text = one_line(where, value)
    if "/" in text:
        return _path(where, text)
    match = re.fullmatch(r"(?P<host>\[[^]]*\]|[^:]*):(?P<port>[^:]*)", text)
    if not match:
        return _host(where, text)
    if not _is_port(match["port"]):
        raise Refused(f"{where} {text}: the port is no number from 1 to 65535.")
    _reachable(where, text, match["host"])
    return f"{match['host']}:{int(match['port'])}"


def _host(where: str, value: Any) -> str:
    """Return a name or an address; one of IPv6 in brackets."""
    text = one_line(where, value)
    if text.count(":") == 1:
        raise Refused(f"{where} {text}: the port has an option of its own; write it there.")
    host = f"[{text}]" if ":" in text and not text.startswith("[") else text
    _reachable(where, text, host)
    return host


def _port(where: str, value: Any) -> int:
    if not _is_port(str(value)):
        raise Refused(f"{where} {show(value)} is no number from 1 to 65535.")
    return int(value)


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and 0 < int(text) < 65536


def _reachable(where: str, text: str, host: str) -> None:
    """Refuse a host, one of IPv6 in brackets, that is no name, no address, or none that a client can connect to."""
    if host.startswith("["):
        try:
            version = ipaddress.IPv6Address(host[1:].rstrip("]"))
        except ValueError:
            raise Refused(f"{where} {text}: {host} is no IPv6 address.") from None
        wildcard = int(version) == 0
    elif not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", host):
        raise Refused(f"{where} {text}: {show(host)} is neither a host name nor an address.")
    else:
        wildcard = not host.strip("0.")
    if wildcard:
        raise Refused(f"{where} {text} is where a server listens, not where a client finds it; write its host name.")


DATABASE_SECTIONS = ("zodb", "zodb_db")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_UNITS = {"": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_TYPES: dict[str, Callable[[str, Any], Any]] = {
    "bool": _bool,
    "int": _int,
    "str": one_line,
    "path": _path,
    "size": _size,
    "addresses": _addresses,
    "host": _host,
    "hosts": _hosts,
    "port": _port,
    "secret": _secret,
}


def show(value: Any) -> str:
    """Return a value as it is quoted in a sentence: short, on one line."""
    text = str(value)
    return '"%s"' % (text if len(text) <= 60 and text.isprintable() else "{}...".format(re.sub(r"\s+", " ", text)[:60]))


def write_section(kind: str, name: str | None, lines: list[tuple[str, Any]], inner: str = "") -> str:
    """Return one ZConfig section. lines: key and value, a null value is left out, a list gives one line each."""
    text = "<{}>\n".format(" ".join(filter(None, [kind, name])))
    for key, value in lines:
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                # ZConfig replaces $name and ${name} in a value, also in a path.
                text += "  {} {}\n".format(
                    key, str(one).lower() if isinstance(one, bool) else str(one).replace("$", "$$")
                )
    return text + textwrap.indent(inner.rstrip("\n") + "\n" if inner else "", "  ") + f"</{kind}>\n"


def keys(options: dict[str, Any], *left_out: str) -> list[tuple[str, Any]]:
    """Return options as lines of a section, whose keys are their names with hyphens."""
    return [(name.replace("_", "-"), value) for name, value in options.items() if name not in left_out]


def local(host: str) -> str:
    """Return a host, host and port, or a socket's path, with one name for this machine's own address."""
    if host.startswith("/"):
        return host
    return re.sub(r"^(127\.\d+\.\d+\.\d+|\[::1\]|localhost\.localdomain)(?=:|$)", "localhost", host.lower())


def required_together(where: str, options: dict[str, Any], name: str, *others: str) -> None:
    """Refuse an option that is given without all of the others."""
    missing = [other for other in others if options[other] is None]
    if options[name] is not None and missing:
        raise Refused("{}.{} is given, but {} is missing; give both.".format(where, name, " and ".join(missing)))
