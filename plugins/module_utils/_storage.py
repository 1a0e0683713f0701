# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the description of a storage, its rules, and the ZConfig text that it becomes.

A description is a dictionary with one key, the kind, and that kind's options: ``{"filestorage": {"path": ...}}``.
The kind ``zconfig`` has a text in their place. ``KINDS`` is the whole table: a new kind is one entry there, made in a
file ``_storage_<kind>.py`` of what _storage_types.py has. Pure functions, no Ansible: the same description serves
modules, filters and roles.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils import _storage_secrets
from ansible_collections.pyams.zodb.plugins.module_utils._storage_config_file import CONFIG_FILE
from ansible_collections.pyams.zodb.plugins.module_utils._storage_filestorage import FILESTORAGE
from ansible_collections.pyams.zodb.plugins.module_utils._storage_mysql import MARIADB, MYSQL
from ansible_collections.pyams.zodb.plugins.module_utils._storage_oracle import ORACLE
from ansible_collections.pyams.zodb.plugins.module_utils._storage_postgresql import NEWT, POSTGRESQL
from ansible_collections.pyams.zodb.plugins.module_utils._storage_sqlite import SQLITE
from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import (
    DATABASE_SECTIONS,
    Kind,
    Option,
    Refused,
    complete,
    one_line,
    show,
    write_section,
)
from ansible_collections.pyams.zodb.plugins.module_utils._storage_zconfig import ZCONFIG
from ansible_collections.pyams.zodb.plugins.module_utils._storage_zeo import ZEO

KINDS: dict[str, Kind] = {
    "filestorage": FILESTORAGE,
    "zeo": ZEO,
    "postgresql": POSTGRESQL,
    "newt": NEWT,
    "mysql": MYSQL,
    "mariadb": MARIADB,
    "oracle": ORACLE,
    "sqlite": SQLITE,
    "zconfig": ZCONFIG,
    "config_file": CONFIG_FILE,
}


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
    return {kind: known.rules(complete(known.options, value, kind, known.gone))}


def render(description: Any, name: str | None = None, secrets: bool = False) -> str:
    """Return the storage's ZConfig section, ready to stand in a file of its own.

    name: of the section, as in ``<clientstorage source>``; most readers need none. secrets: write passwords too, for a
    text that becomes no file, or one that is kept secret. Raises Refused, also for a password without that, and for
    the kind config_file.
    """
    return _render(normalise(description), name, secrets)


def render_pack(description: Any, secrets: bool = False) -> str:
    """Return the section that a packer such as zodbpack opens: the storage without what only an application needs.

    secrets: as in render().
    """
    ((kind, options),) = normalise(description).items()
    return _render({kind: KINDS[kind].pack(options)}, None, secrets)


def render_database(
    storage: str, name: str, section: str = "zodb", pool_size: int = 7, cache_size: int = 30000, mount_point: str = "/"
) -> str:
    """Return one ``<zodb NAME>`` or, for Zope, ``<zodb_db NAME>`` section.

    storage: what stands inside: the text of render(), or a line such as ``%include storage.inc``. name: the database's
    name, also in the section's head, where ZConfig turns it into lower case. pool_size: connections; cache_size:
    objects per connection; mount_point: of zodb_db alone, Zope's path. Raises Refused.
    """
    if section not in DATABASE_SECTIONS:
        raise Refused("section {} is none of {}.".format(show(section), ", ".join(DATABASE_SECTIONS)))
    if not DATABASE_NAME.fullmatch(name):
        raise Refused(f"database name {show(name)}: begin with a letter, go on with letters, digits, _, . or -.")
    lines = [
        # zodburi takes the name from this key only, and "unnamed" without it.
        ("database-name", name),
        ("pool-size", pool_size),
        ("cache-size", cache_size),
        ("mount-point", one_line("mount_point", mount_point) if section == "zodb_db" else None),
    ]
    return write_section(section, name, lines, storage)


def for_reading(description: Any) -> dict[str, Any]:
    """Return the description with which one who only reads opens the storage, so that no table or file is made.

    But for SQLite, which makes an empty file where there is none, and for a folder of blobs that is missing. The kinds
    zconfig and config_file come back as they are: their text is only understood where the storage is opened.
    """
    ((kind, options),) = normalise(description).items()
    return {kind: KINDS[kind].read(options)}


def identities(description: Any) -> list[str]:
    """Return where the storage is, as far as its description tells and without secrets: one for each way to it.

    Two descriptions with one in common are of the same storage. Two without may be, too: through a link, by another
    name of the host, or past a server; that is for the host to find out.
    """
    ((kind, options),) = normalise(description).items()
    return KINDS[kind].places(options)


def files_of(description: Any) -> list[str]:
    """Return the files that an application reads once, when it opens the storage: certificates, keys, passwords."""
    ((kind, options),) = normalise(description).items()
    return KINDS[kind].files(options)


def secrets_of(description: Any) -> list[str]:
    """Return the passwords that a description holds, for mask()."""
    ((kind, options),) = normalise(description).items()
    return [*(options[name] for name in _secret_options(kind, options)), *KINDS[kind].secrets(options)]


mask = _storage_secrets.mask


def argument_spec() -> dict[str, dict[str, Any]]:
    """Return a description as AnsibleModule takes it: one option per kind, with everything below it."""
    return {name: _spec(kind, False) for name, kind in KINDS.items()}


def documentation() -> dict[str, dict[str, Any]]:
    """Return the same as the documentation of a module or a role has it: with descriptions, without no_log."""
    return {name: _spec(kind, True) for name, kind in KINDS.items()}


DATABASE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_SECTION_NAME = re.compile(r"[^\s()<>/]+")
# Ansible takes options with such names for secrets, unless it is told otherwise.
_LIKE_A_SECRET = re.compile(r"pass|key|secret|token", re.IGNORECASE)


def _render(description: dict[str, Any], name: str | None, secrets: bool) -> str:
    ((kind, options),) = description.items()
    if name is not None and not _SECTION_NAME.fullmatch(name):
        raise Refused(f"section name {show(name)}: ZConfig takes no blanks and no parentheses in it; choose another.")
    held = [] if secrets else _secret_options(kind, options)
    if held:
        raise Refused(
            f"{kind}.{held[0]} would stand in a file that the application reads; "
            f"{KINDS[kind].options[held[0]].instead}."
        )
    return KINDS[kind].render(options, name)


def _secret_options(kind: str, options: Any) -> list[str]:
    known = KINDS[kind].options
    return [name for name, option in known.items() if option.type == "secret" and options[name] is not None]


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
        raise Refused(f"{show(unknown[0])} is no kind of storage; the kinds are {kinds}.")
    if not named:
        raise Refused(f"no kind of storage is named; give one of {kinds}.")
    if len(named) > 1:
        raise Refused("{} are named together; a storage has one kind, keep one of them.".format(" and ".join(named)))
    return named[0]


def _spec(what: Kind | Option, documented: bool, name: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {"description": what.description} if documented else {}
    if isinstance(what, Kind):
        spec["type"] = "dict" if what.options else "str"
        secret = not what.options
    else:
        spec["type"] = _ANSIBLE_TYPES.get(what.type, what.type)
        if what.required:
            spec["required"] = True
        if what.default is not None:
            spec["default"] = what.default
        if what.choices:
            spec["choices"] = list(what.choices)
        secret = what.type == "secret"
    if spec["type"] == "list":
        spec["elements"] = "str"
    if not documented and (secret or _LIKE_A_SECRET.search(name)):
        spec["no_log"] = secret
    if what.options:
        spec["options"] = {inner: _spec(option, documented, inner) for inner, option in what.options.items()}
    return spec


_ANSIBLE_TYPES = {"addresses": "list", "hosts": "list", "host": "str", "port": "int", "size": "str", "secret": "str"}
