# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage of a ZEO server over a FileStorage: how it is packed and watched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time

import persistent.timestamp
import ZEO.Exceptions
import ZODB.POSException
import ZODB.utils

from pyams_zodb_tools import _kinds, _server, _service
from pyams_zodb_tools._errors import Failure, Misconfigured, NoSpace, reason
from pyams_zodb_tools._text import human

_LOCK_GRACE = 5  # seconds beyond transaction_timeout, in which a server takes the commit lock away


class Served(_kinds.Kind):
    """A storage of a ZEO server."""

    STOPPED = "zodb-pack was stopped; the server goes on with the pack that it began"

    how: _server.Client | None = None
    answer: _server.Answer | None = None

    def folders(self) -> list[str]:
        return [path for path in (os.path.dirname(self.storage.path), self.storage.blob_dir) if path]

    def configure(self) -> None:
        self.how = _server.client(self.settings, self.storage)

    def reach(self) -> None:
        self.answer = _server.reach(self.how, read_only=True)

    def look(self, finding) -> None:
        self._look_at_lock(finding, self.answer.storages[self.how.storage])
        with limit(self.how.timeout), _server.opened(self.how, self.answer, read_only=True) as client:
            last = client.lastTransaction()
            finding.facts["empty"] = last == ZODB.utils.z64
            finding.facts["size"] = client.getSize()
            if finding.facts["empty"]:
                return
            finding.facts["last_commit"] = persistent.timestamp.TimeStamp(last).timeTime()
            try:
                client.load(ZODB.utils.z64)
            except ZODB.POSException.POSKeyError:
                finding.problem(_kinds.CRITICAL, "there are transactions, but no root object")

    def _look_at_lock(self, finding, statistics: dict) -> None:
        finding.facts["clients"] = statistics.get("connections")
        finding.facts["waiting"] = waiting = statistics.get("waiting")
        if not statistics.get("lock_time"):
            return
        finding.facts["locked"] = locked = round(max(0, time.time() - statistics["lock_time"]), 1)
        allowed = self.settings.transaction_timeout
        if locked > allowed + _LOCK_GRACE:
            finding.problem(
                _kinds.CRITICAL,
                f"a client holds the commit lock for {locked:.0f} s, {allowed} s are allowed, and {waiting} others "
                f"wait; restart {self.settings.service}",
            )

    def presented(self) -> tuple[str, bytes] | None:
        if not self.answer or not self.answer.certificate:
            return None
        return f"of the server on {_server.label(self.answer.address)}", self.answer.certificate

    def look_at_certificates(self, finding, documents, folders) -> None:
        """Say which CRLs ZEO ignores, and whether the server still goes by other certificates than the files hold.

        It reads them when it starts. What it presents is seen on the wire; of authorities and CRLs, all that can be
        seen is that the file is younger than the process. A pinned folder may grow without a restart, and the
        certificate of these tools is not the server's.
        """
        below = tuple(os.path.join(folder, "") for folder in folders)
        for crl in [document for document in documents if document.crl and document.path.startswith(below)]:
            finding.problem(_kinds.CRITICAL, f"ZEO ignores the {crl}, in a folder; put authority and CRL into one file")
        if not self.presented() or not documents:
            return
        finding.facts["restart_needed"] = False
        service, certificate = self.settings.service, self.answer.certificate
        if certificate not in [document.der for document in documents]:
            finding.facts["restart_needed"] = True
            finding.problem(
                _kinds.WARNING, f"{service} still presents a certificate that is in none of the files; restart it"
            )
            return
        started = _service.started(service) or _told_start(self.answer)
        mine = os.path.realpath(self.how.tls.certificate)
        for path in self.settings.certificates:
            served = any(document.path == path and document.der == certificate for document in documents)
            if path in folders or served or os.path.realpath(path) == mine:
                continue
            with contextlib.suppress(OSError):
                changed = max(os.stat(path).st_mtime, os.lstat(path).st_mtime)
                if started and changed > started + 1:
                    finding.facts["restart_needed"] = True
                    finding.problem(
                        _kinds.WARNING, f"{path} is younger than {service}, which goes by the old one; restart it"
                    )

    def begin(self, record: dict) -> None:
        record["size_before"] = _size(self.storage.path)
        record["old_size"] = None  # of Data.fs.old, where the pack keeps it

    def pack(self, record: dict) -> None:
        _check_space(self.storage.path)
        self.configure()
        # A pack asks for no more than reading. But a storage that refuses writers is fenced off, and not packed either.
        answer = _server.reach(self.how, read_only=False)
        try:
            with _server.opened(self.how, answer, read_only=False) as client:
                client.pack(days=self.storage.pack_days, wait=True)
        except ZODB.POSException.ReadOnlyError as error:
            raise Failure(f"the storage {self.storage.name!r} is read-only; nothing was packed") from error
        except ZEO.Exceptions.ServerException as error:
            name, details = (*error.args, ())[:2]
            text = ", ".join(map(str, details)) if isinstance(details, tuple) else str(details)
            raise Failure(f"the server could not pack: {str(name).rpartition('.')[2]}: {text}") from error
        except ZODB.POSException.POSError as error:
            raise Failure(f"the server could not pack: {type(error).__name__}: {reason(error)}") from error

    def end(self, record: dict) -> None:
        record["size_after"] = _size(self.storage.path)
        record["old_size"] = _size(self.storage.path + ".old")

    def rehearse(self, prepack: bool) -> str:
        option = "--prepack" if prepack else "--dry-run"
        raise Misconfigured(f"{option} is for databases, and this storage is one of a ZEO server")

    def became(self, record: dict) -> str:
        return f"{human(record['size_before'])} became {human(record['size_after'])}"

    def place(self) -> str:
        return self.storage.path

    def remarks(self, record: dict) -> list[tuple[str, str]]:
        old = record["old_size"]
        return [("Data.fs.old", "not there" if old is None else human(old))]

    def prepare(self, check: bool) -> tuple[str, list[str]]:
        raise Misconfigured("zodb-schema is for databases, and this storage is one of a ZEO server")


@contextlib.contextmanager
def limit(seconds: int):
    """Give up after so many seconds: a ZEO client waits for ever for an answer of a server that it is connected to."""

    def give_up(*_):
        raise Failure(f"the server does not answer a client within {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(max(seconds, 1))
    try:
        yield
    finally:
        signal.alarm(0)


def _told_start(answer: _server.Answer) -> float | None:
    """Return when the server says it started: once its storages were open, which may be minutes after its process."""
    for statistics in answer.storages.values():
        with contextlib.suppress(KeyError, ValueError, OverflowError):
            return time.mktime(time.strptime(statistics["start"]))
    return None


def _check_space(path: str) -> None:
    """Raise NoSpace unless the file system could hold a second Data.fs.

    A FileStorage copies what it keeps into Data.fs.pack before it gives anything free; but first it removes the
    Data.fs.old of the pack before, and overwrites what a pack that was killed left.
    """
    size = _size(path)
    if size is None:
        raise Failure(f"{path} cannot be read, so that the room for the pack is unknown")
    needed = size + size // 20
    try:
        free = shutil.disk_usage(os.path.dirname(path)).free
    except OSError as error:
        raise Failure(f"the free space for {path} cannot be read: {reason(error)}") from error
    free += (_allocated(path + ".old") or 0) + (_allocated(path + ".pack") or 0)
    if free < needed:
        folder = os.path.dirname(path)
        raise NoSpace(f"{folder} has {human(free)} for the copy, a pack may need {human(needed)}; nothing was packed")


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _allocated(path: str) -> int | None:
    try:
        return os.stat(path).st_blocks * 512
    except OSError:
        return None
