# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of storages, side by side: what the commands ask of each."""

from __future__ import annotations

import abc
import os

from pyams_zodb_tools import _settings
from pyams_zodb_tools._errors import Misconfigured

OK, WARNING, CRITICAL, UNKNOWN = range(4)  # as Nagios has them


def load(files: list[str], name: str | None = None) -> list[Kind | Misconfigured]:
    """Return the storages of the files, or the one of that name in each; in the place of what is wrong, the error.

    Goes on as the account that the files name; nothing is opened yet.
    """
    found, users = [], {}
    for file in files:
        try:
            settings = _settings.load(file)
            found += [_of(settings, storage) for storage in settings.only(name)]
            users[settings.user] = settings
        except Misconfigured as error:
            found.append(error)
    if os.geteuid() == 0 and len(users) > 1:
        return [Misconfigured("the files name different users; look at each file on its own")]
    try:
        for settings in users.values():
            _settings.become(settings)
    except Misconfigured as error:
        return [error]
    return found


def _of(settings: _settings.Settings, storage: _settings.Storage) -> Kind:
    """Return the storage as one of its kind.

    Each is imported where it is needed: the virtualenv of a ZEO server has no RelStorage. And while this is still root:
    Python may lie where only root reaches.
    """
    if storage.kind == "zeo":
        from pyams_zodb_tools._zeo import Served

        return Served(settings, storage)
    try:
        if storage.kind == "sqlite":
            from pyams_zodb_tools._sqlite import Database
        else:
            from pyams_zodb_tools._relstorage import Database
    except ImportError as error:
        raise Misconfigured(f"{settings.file}: the kind {storage.kind} needs what is not installed: {error}") from error
    return Database(settings, storage)


class Kind(abc.ABC):
    """A storage of a TOML file, as the commands know it."""

    STOPPED: str  # what becomes of a pack when zodb-pack is stopped

    def __init__(self, settings: _settings.Settings, storage: _settings.Storage):
        self.settings = settings
        self.storage = storage

    @abc.abstractmethod
    def folders(self) -> list[str]:
        """Return the folders whose disks the storage lies on, that of its data first."""

    @abc.abstractmethod
    def configure(self) -> None:
        """Read the zconfig. Raises Misconfigured with the line in it."""

    @abc.abstractmethod
    def reach(self) -> None:
        """Ask whether the storage is served, or there. Raises NotListening while no server is, or Failure."""

    @abc.abstractmethod
    def look(self, finding) -> None:
        """Open the storage that was reached, as a client that only reads, and note what is found."""

    @abc.abstractmethod
    def presented(self) -> tuple[str, bytes] | None:
        """Return who presented a certificate when it was reached, and that in DER; None for none that could be read."""

    @abc.abstractmethod
    def look_at_certificates(self, finding, documents, folders) -> None:
        """Note what the certificates in the files mean to a server of this kind. folders: those among the files."""

    @abc.abstractmethod
    def begin(self, record: dict) -> None:
        """Note in the record of a pack what is known before it."""

    @abc.abstractmethod
    def pack(self, record: dict) -> None:
        """Pack the storage, under its lock. Raises Failure."""

    @abc.abstractmethod
    def end(self, record: dict) -> None:
        """Note in the record of a pack what is known after it, whatever became of it."""

    @abc.abstractmethod
    def rehearse(self, prepack: bool) -> str:
        """Return what a pack would do, after its first stage if `prepack`, else without writing. Raises Failure."""

    @abc.abstractmethod
    def became(self, record: dict) -> str:
        """Return in a few words what a pack made of the storage."""

    @abc.abstractmethod
    def place(self) -> str:
        """Return where the data is, for a report."""

    @abc.abstractmethod
    def remarks(self, record: dict) -> list[tuple[str, str]]:
        """Return what a report says of a storage of this kind alone, as pairs of a name and a text."""

    @abc.abstractmethod
    def prepare(self, check: bool) -> tuple[str, list[str]]:
        """Make what the storage lies in, or with `check` tell what would be made. Return outcome and changes."""
