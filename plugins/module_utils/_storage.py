# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the description of a storage, its rules, and the ZConfig text that it becomes.

A description is a dictionary with one key, the kind, and that kind's options: ``{"filestorage": {"path": ...}}``.
The kind ``zconfig`` has a text in their place. ``KINDS``, at the end of this file, is the whole table: a new kind is
one entry there. Pure functions, no Ansible: the same description serves modules, filters and roles.
"""

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
    addresses (one or several), or dict, which then has options.
    """

    type: str
    description: str
    default: Any = None
    required: bool = False
    options: dict[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One way to say where the objects are.

    options: by name; empty for the kind that is one text. rules: raises Refused for options that do not go together.
    render: options, section name or None -> ZConfig. pack: options -> those that a packer opens the storage with.
    files: options -> files that are read when the storage is opened. gone: options that other tools have and we refuse,
    with the reason.
    """

    description: str
    render: Callable[[Any, str | None], str]
    options: dict[str, Option] = field(default_factory=dict)
    rules: Callable[[Any], Any] = lambda options: options
    pack: Callable[[Any], Any] = lambda options: options
    files: Callable[[Any], list[str]] = lambda options: []
    gone: dict[str, str] = field(default_factory=dict)


def normalise(description: Any) -> dict[str, Any]:
    """Return a description complete and typed: ``{kind: options}``, every option present, null where it has no value.

    description: as the user wrote it, numbers and booleans possibly as text, options possibly null.
    Raises Refused. Its own result comes back unchanged.
    """
    kind = _kind_of(description)
    value = description[kind]
    known = KINDS[kind]
    if not known.options:
        return {kind: known.rules(value)}
    return {kind: known.rules(_complete(known.options, value, kind, known.gone))}


def render(description: Any, name: str | None = None) -> str:
    """Return the storage's ZConfig section, ready to stand in a file of its own.

    name: of the section, as in ``<clientstorage source>``; most readers need none. Raises Refused.
    """
    ((kind, options),) = normalise(description).items()
    if name is not None and not _SECTION_NAME.fullmatch(name):
        raise Refused(f"section name {_show(name)}: ZConfig takes no blanks and no parentheses in it; choose another.")
    return KINDS[kind].render(options, name)


def render_pack(description: Any) -> str:
    """Return the section that a packer such as zodbpack opens: the storage without what only an application needs."""
    ((kind, options),) = normalise(description).items()
    return KINDS[kind].render(KINDS[kind].pack(options), None)


def render_database(
    storage: str, name: str, section: str = "zodb", pool_size: int = 7, cache_size: int = 30000, mount_point: str = "/"
) -> str:
    """Return one ``<zodb NAME>`` or, for Zope, ``<zodb_db NAME>`` section.

    storage: what stands inside: the text of render(), or a line such as ``%include storage.inc``. name: the database's
    name, also in the section's head, where ZConfig turns it into lower case. pool_size: connections; cache_size:
    objects per connection; mount_point: of zodb_db alone, Zope's path. Raises Refused.
    """
    if section not in DATABASE_SECTIONS:
        raise Refused("section {} is none of {}.".format(_show(section), ", ".join(DATABASE_SECTIONS)))
    if not DATABASE_NAME.fullmatch(name):
        raise Refused(f"database name {_show(name)}: begin with a letter, go on with letters, digits, _, . or -.")
    lines = [
        # zodburi takes the name from this key only, and "unnamed" without it.
        ("database-name", name),
        ("pool-size", pool_size),
        ("cache-size", cache_size),
        ("mount-point", _text("mount_point", mount_point) if section == "zodb_db" else None),
    ]
    return _section(section, name, lines, storage)


def argument_spec() -> dict[str, dict[str, Any]]:
    """Return Ansible's argument spec of a description: one option per kind, with everything below it."""
    return {name: _spec_of_kind(kind) for name, kind in KINDS.items()}


def files_of(description: Any) -> list[str]:
    """Return the files that an application reads once, when it opens the storage: certificates and keys."""
    ((kind, options),) = normalise(description).items()
    return KINDS[kind].files(options)


DATABASE_SECTIONS = ("zodb", "zodb_db")
DATABASE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_SECTION_NAME = re.compile(r"[^\s()<>/]+")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_UNITS = {"": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def _kind_of(description: Any) -> str:
    kinds = ", ".join(KINDS)
    if not isinstance(description, dict):
        raise Refused(
            f"a storage is a dictionary of one kind and its options, not of type {type(description).__name__}; "
            f"the kinds are {kinds}."
        )
    named = [kind for kind, value in description.items() if value is not None]
    unknown = [kind for kind in named if kind not in KINDS]
    if unknown:
        raise Refused(f"{_show(unknown[0])} is no kind of storage; the kinds are {kinds}.")
    if not named:
        raise Refused(f"no kind of storage is named; give one of {kinds}.")
    if len(named) > 1:
        raise Refused("{} are named together; a storage has one kind, keep one of them.".format(" and ".join(named)))
    return named[0]


def _complete(options: dict[str, Option], values: Any, where: str, gone: dict[str, str]) -> dict[str, Any]:
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
            result[name] = _complete(option.options, value, place, {})
        else:
            result[name] = _TYPES[option.type](place, value)
    return result


def _bool(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise Refused(f"{where} {_show(value)} is neither true nor false.")


def _int(where: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*", value):
        return int(value)
    raise Refused(f"{where} {_show(value)} is not a whole number.")


def _text(where: str, value: Any) -> str:
    """Return a text that survives in one ZConfig line, which ends at a line feed and loses the blanks around it."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Refused(f"{where} is of type {type(value).__name__}, not a text; write one.")
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", text):
        raise Refused(
            f"{where} holds a line end or another control character; a ZConfig value is one line, take it out."
        )
    if text != text.strip() or not text:
        raise Refused(
            f"{where} {_show(text)} is empty or has blanks around it, which ZConfig would drop; take them out."
        )
    return text


def _path(where: str, value: Any) -> str:
    path = _text(where, value)
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
        raise Refused(f"{where} {_show(value)} is no size; write a whole number of bytes, or one with KB, MB or GB.")
    if int(match[1]) * _UNITS[match[2]] < _UNITS["MB"]:
        raise Refused(
            f"{where} {text} is less than 1 MB; a number without a unit is bytes, write KB, MB or GB behind it."
        )
    return text


def _addresses(where: str, value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise Refused(f"{where} is an empty list; give the address of at least one server.")
    found = [_address(where, one) for one in values]
    twice = [one for index, one in enumerate(found) if one in found[:index]]
    if twice:
        raise Refused(f"{where} {twice[0]} is named twice; keep it once.")
    return found


def _address(where: str, value: Any) -> str:
    """Return a server's address as ZConfig reads it: host:port, [IPv6]:port, or a socket's path."""
    text = _text(where, value)
    if "/" in text:
        return _path(where, text)
    if text.count(":") > 1 and not text.startswith("["):
        raise Refused(f"{where} {text}: the port of an IPv6 address cannot be told from it; write [address]:port.")
    host, colon, port = text.rpartition(":")
    if not colon:
        if not port.isdigit():
            raise Refused(f"{where} {text} has no port; write {text}:8100, or the absolute path of a socket.")
        host = "127.0.0.1"
    if not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
        raise Refused(f"{where} {text}: the port is no number from 1 to 65535.")
    if host.startswith("["):
        try:
            version = ipaddress.IPv6Address(host[1:].rstrip("]"))
        except ValueError:
            raise Refused(f"{where} {text}: {host} is no IPv6 address.") from None
        wildcard = int(version) == 0
    elif not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", host):
        raise Refused(f"{where} {text}: {_show(host)} is neither a host name nor an address.")
    else:
        wildcard = not host.strip("0.")
    if wildcard:
        raise Refused(f"{where} {text} is where a server listens, not where a client finds it; write its host name.")
    return f"{host}:{int(port)}"


_TYPES: dict[str, Callable[[str, Any], Any]] = {
    "bool": _bool,
    "int": _int,
    "str": _text,
    "path": _path,
    "size": _size,
    "addresses": _addresses,
}


def _spec_of_kind(kind: Kind) -> dict[str, Any]:
    if not kind.options:
        return {"description": kind.description, "type": "str", "no_log": True}
    options = {name: _spec_of_option(option) for name, option in kind.options.items()}
    return {"description": kind.description, "type": "dict", "options": options}


def _spec_of_option(option: Option) -> dict[str, Any]:
    spec: dict[str, Any] = {"description": option.description}
    if option.type == "addresses":
        spec.update(type="list", elements="str")
    else:
        spec["type"] = {"size": "str"}.get(option.type, option.type)
    if option.required:
        spec["required"] = True
    if option.default is not None:
        spec["default"] = option.default
    if option.options:
        spec["options"] = {name: _spec_of_option(inner) for name, inner in option.options.items()}
    return spec


def _show(value: Any) -> str:
    """Return a value as it is quoted in a sentence: short, on one line."""
    text = str(value)
    return '"%s"' % (text if len(text) <= 60 and text.isprintable() else "{}...".format(re.sub(r"\s+", " ", text)[:60]))


def _section(kind: str, name: str | None, lines: list[tuple[str, Any]], inner: str = "") -> str:
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


def _zconfig_keys(options: dict[str, Any], *left_out: str) -> list[tuple[str, Any]]:
    return [(name.replace("_", "-"), value) for name, value in options.items() if name not in left_out]


def _zeo_rules(zeo: dict[str, Any]) -> dict[str, Any]:
    if not re.fullmatch(r"[^\s()A-Z]+", zeo["storage"]):
        raise Refused(
            "zeo.storage {}: no server can name one so, its configuration takes neither blanks nor parentheses and "
            "turns capitals into small letters; write the name as the server has it.".format(_show(zeo["storage"]))
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
        ssl = _section("ssl", None, lines)
    return "%import ZEO\n" + _section("clientstorage", name, _zconfig_keys(zeo, "tls"), ssl)


def _zeo_pack(zeo: dict[str, Any]) -> dict[str, Any]:
    # A packer run by root would leave folders of root in the application's cache of blobs, and it needs no blob.
    return {**zeo, "blob_dir": None, "shared_blob_dir": None, "blob_cache_size": None}


def _zeo_files(zeo: dict[str, Any]) -> list[str]:
    return [zeo["tls"][name] for name in ("ca", "cert", "key") if zeo["tls"][name]] if zeo["tls"] else []


def _filestorage_rules(filestorage: dict[str, Any]) -> dict[str, Any]:
    path, blobs = (filestorage[name] and os.path.normpath(filestorage[name]) for name in ("path", "blob_dir"))
    if path == blobs:
        raise Refused(f"filestorage.blob_dir {blobs} is the path of the storage too; blobs need a folder of their own.")
    return filestorage


def _filestorage_section(filestorage: dict[str, Any], name: str | None) -> str:
    return _section("filestorage", name, _zconfig_keys(filestorage))


def _zconfig_rules(text: Any) -> str:
    """Return raw ZConfig with Unix line ends and no margin, if it is one storage section, after %import lines or none.

    ZConfig itself is not on the controller. What can be told without it is told: where sections begin and end, that
    there is one, and that it is not a database. Sentences name lines, never what they hold, which may be a password.
    """
    if not isinstance(text, str):
        raise Refused(f"zconfig is of type {type(text).__name__}, not a text; give the storage's section.")
    lines = [line.rstrip() for line in re.split(r"\r\n|\r|\n", text)]
    open_sections: list[str] = []
    top = []
    for number, line in enumerate(lines, 1):
        line, where = line.strip(), f"zconfig, line {number}:"
        if not line or line.startswith("#"):
            continue
        if line.startswith("%"):
            if open_sections or not re.fullmatch(r"%import\s+[\w.]+", line):
                raise Refused(f"{where} of directives, only %import before the section is allowed; write it out.")
            if top:
                raise Refused(f"{where} %import stands behind the section; move it before.")
        elif line.startswith("</"):
            if not re.fullmatch(r"</[^\s()<>]+\s*>", line):
                raise Refused(f"{where} the end of a section is malformed; write </type>.")
            ended = line[2:-1].strip().lower()
            if not open_sections:
                raise Refused(f"{where} </{ended}> ends a section that was not begun; take it out.")
            begun = open_sections.pop()
            if ended != begun:
                raise Refused(f"{where} </{ended}> stands where </{begun}> belongs; end the inner section first.")
        elif line.startswith("<"):
            match = _SECTION_START.fullmatch(line)
            if not match:
                raise Refused(f"{where} the start of a section is malformed; write <type> or <type name>.")
            begun = match["type"].lower()
            if not open_sections:
                top.append(begun)
            if not match["empty"]:
                open_sections.append(begun)
        elif not open_sections:
            raise Refused(f"{where} it stands outside the storage's section; move it inside.")
    if open_sections:
        raise Refused(f"zconfig: <{open_sections[-1]}> is not ended; add </{open_sections[-1]}>.")
    if len(top) != 1:
        raise Refused(f"zconfig holds {len(top)} sections; give the one section of the storage.")
    if top[0] in (*DATABASE_SECTIONS, "zeo", "runner", "eventlog", "logger"):
        raise Refused(f"zconfig holds a <{top[0]}> section; give the storage's section alone.")
    return textwrap.dedent("\n".join(lines)).strip("\n") + "\n"


_SECTION_START = re.compile(r"<(?P<type>[^\s()<>/]+)(?:\s+(?P<name>[^\s()<>/]+))?\s*(?P<empty>/?)>")


def _zconfig_section(text: str, name: str | None) -> str:
    if name is None:
        return text
    return re.sub(
        rf"^([ \t]*){_SECTION_START.pattern}",
        lambda match: "{}<{} {}{}>".format(match[1], match["type"], name, match["empty"]),
        text,
        count=1,
        flags=re.MULTILINE,
    )


_ONE_PROCESS = (
    "would be a cache in a fixed file, which the second process of an application finds locked; leave it out."
)
_NO_PASSWORDS = "is gone since ZEO 5, which ignores it; give tls, a certificate per client replaces the passwords."

KINDS: dict[str, Kind] = {
    "zeo": Kind(
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
            "read_only_fallback": Option(
                "bool", "Take a server that cannot be written to while there is no other.", False
            ),
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
                    "check_hostname": Option(
                        "bool", "Verify that the server's certificate is one of the host's.", True
                    ),
                    "server_hostname": Option(
                        "str", "Name to look for in the server's certificate. The host of C(server) if absent."
                    ),
                },
            ),
        },
        rules=_zeo_rules,
        render=_zeo_section,
        pack=_zeo_pack,
        files=_zeo_files,
        gone={
            "client": _ONE_PROCESS,
            "var": _ONE_PROCESS,
            "cache_path": _ONE_PROCESS,
            "username": _NO_PASSWORDS,
            "password": _NO_PASSWORDS,
            "realm": _NO_PASSWORDS,
        },
    ),
    "filestorage": Kind(
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
        gone={
            "create": "would empty the storage each time it is opened; leave it out, a missing file is made without it."
        },
    ),
    "zconfig": Kind(
        description=(
            "Any other storage, as its own ZConfig section, with C(%import) lines before it. Checked for its shape; "
            "ZConfig itself reads it where it is opened."
        ),
        rules=_zconfig_rules,
        render=_zconfig_section,
    ),
}
