# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TOML file that the commands are given, checked, and the account that it names."""

from __future__ import annotations

import dataclasses
import os
import pwd
import tomllib
import types
import typing

from pyams_zodb_tools._errors import Misconfigured, reason


@dataclasses.dataclass(frozen=True)
class Mail:
    server: str
    sender: str
    report: list[str]

    def address(self) -> tuple[str, int]:
        """Return host and port of the SMTP server; the port is 25 where none is named."""
        host, colon, port = self.server.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = self.server, "25"
        if not port.isdecimal() or not 0 < int(port) < 65536 or not host:
            raise ValueError(f"{self.server!r} is not host:port")
        return host.strip("[]"), int(port)


@dataclasses.dataclass(frozen=True)
class Storage:
    name: str
    zconfig: str
    path: str
    pack_days: int
    pack_expected_days: int
    disk_warning: int
    kind: str = "zeo"
    blob_dir: str | None = None  # of ZEO
    data_directory: str | None = None  # of a database


@dataclasses.dataclass(frozen=True)
class Settings:
    service: str
    title: str
    start_timeout: int
    certificates: list[str]
    certificate_days: int
    crl_days: int
    mail: Mail
    storages: list[Storage]
    file: str = ""  # where they come from; not a key
    user: str | None = None
    transaction_timeout: int | None = None  # of ZEO
    zdaemon: str | None = None  # the file of the daemon manager that runs the server, where it is not systemd

    def only(self, name: str | None) -> list[Storage]:
        """Return all storages, or the one of that name. Raises Misconfigured where there is none."""
        found = [storage for storage in self.storages if name in (None, storage.name)]
        if not found:
            known = ", ".join(storage.name for storage in self.storages)
            raise Misconfigured(f"{self.file}: there is no storage {name!r}, only {known}")
        return found


_KINDS = ("zeo", "relstorage", "sqlite")
_ONLY = {"zeo": "blob_dir", "relstorage": "data_directory"}  # what is for a storage of one kind alone
_NAMES = {str: "a text", int: "a whole number of at least 0", list: "a list of texts"}


def load(file: str) -> Settings:
    """Return the settings of a file. Raises Misconfigured with the file, the key and what is wrong."""
    try:
        with open(file, "rb") as source:
            table = tomllib.load(source)
    except OSError as error:
        raise Misconfigured(f"{file}: cannot be read: {reason(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file}: is not TOML: {reason(error)}") from error
    settings = _build(Settings, table, file, "", {"file": file})
    names = [storage.name for storage in settings.storages]
    if not names:
        raise Misconfigured(f"{file}: names no storages")
    for index, storage in enumerate(settings.storages):
        if names.index(storage.name) != index:
            raise Misconfigured(f"{file}: storages[{index}].name {storage.name!r} is there twice")
        if storage.kind not in _KINDS:
            raise Misconfigured(f"{file}: storages[{index}].kind {storage.kind!r} is none of {', '.join(_KINDS)}")
        for kind, key in _ONLY.items():
            if kind != storage.kind and getattr(storage, key) is not None:
                raise Misconfigured(f"{file}: storages[{index}].{key} is not for a storage of the kind {storage.kind}")
        if storage.kind == "zeo" and settings.transaction_timeout is None:
            raise Misconfigured(f"{file}: transaction_timeout is missing")
        for key in "path", "blob_dir", "data_directory":
            path = getattr(storage, key)
            if path is not None and not os.path.isabs(path):
                raise Misconfigured(f"{file}: storages[{index}].{key} {path!r} is not an absolute path")
    try:
        settings.mail.address()
    except ValueError as error:
        raise Misconfigured(f"{file}: mail.server {error}") from error
    return settings


def _build(cls, table: typing.Any, file: str, where: str, given: typing.Mapping = types.MappingProxyType({})):
    """Make an object of the dataclass cls from a TOML table: every key known, there, and of its type."""
    if not isinstance(table, dict):
        raise Misconfigured(f"{file}: {where.rstrip('.')} is not a table")
    types_of = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.name not in given}
    for key in table:
        if key not in fields:
            raise Misconfigured(f"{file}: {where}{key} is not a known key")
    values = dict(given)
    for key, field in fields.items():
        if key in table:
            values[key] = _convert(types_of[key], table[key], file, where + key)
        elif field.default is dataclasses.MISSING:
            raise Misconfigured(f"{file}: {where}{key} is missing")
    return cls(**values)


def _convert(type_: typing.Any, value: typing.Any, file: str, where: str):
    if isinstance(type_, types.UnionType):  # str | None: TOML has no null, so a key that is there has a value
        type_ = typing.get_args(type_)[0]
    if dataclasses.is_dataclass(type_):
        return _build(type_, value, file, where + ".")
    plain = typing.get_origin(type_) or type_
    fits = isinstance(value, plain) and not isinstance(value, bool) and (plain is not int or value >= 0)
    if fits and plain is list:
        (item,) = typing.get_args(type_)
        if dataclasses.is_dataclass(item):
            return [_build(item, entry, file, f"{where}[{index}].") for index, entry in enumerate(value)]
        fits = all(isinstance(entry, item) for entry in value)
    if not fits:
        tables = plain is list and dataclasses.is_dataclass(typing.get_args(type_)[0])
        raise Misconfigured(f"{file}: {where} is not {'a list of tables' if tables else _NAMES[plain]}")
    if not where.endswith(".zconfig"):
        for text in value if plain is list else [value]:
            if isinstance(text, str) and not text.isprintable():
                raise Misconfigured(f"{file}: {where} holds control characters")
    return value


def become(settings: Settings) -> None:
    """Go on as the account that the settings name, for good, if this is root."""
    if os.geteuid() != 0 or settings.user is None:
        return
    try:
        account = pwd.getpwnam(settings.user)
    except KeyError:
        raise Misconfigured(f"{settings.file}: user {settings.user!r} is not an account of this host") from None
    os.umask(0o077)
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = account.pw_dir
