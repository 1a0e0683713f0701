# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-pack FILE.toml [--storage NAME] [--dry-run | --prepack]: packs storages, and reports by mail.

One storage after the other, also after one has failed. For each: the lock is taken, the disk must have room for what a
pack writes, the storage is packed (by its ZEO server, or by RelStorage in this process), the outcome is written to
PATH.pack.json and mailed.

The lock is a flock on PATH.pack-lock, PATH being that of the storage. Another job holds packs off with
`flock PATH.pack-lock COMMAND`; a pack that finds it held does not wait. Nor does it for RelStorage's own lock.

For databases, --prepack does the first stage of RelStorage's pack alone: it finds what would go, and removes nothing.
--dry-run writes nothing into the database: it looks whether a pack would begin. Neither is recorded or mailed.

Exit status, of several storages the first of this list: 2 wrong usage or configuration, 1 a pack failed, 4 not enough
disk, 3 another job holds the lock, 5 packed but a report could not be sent, 0 packed, or the server is a standby, whose
primary packs.
"""

from __future__ import annotations

import argparse
import contextlib
import email.message
import email.utils
import fcntl
import json
import logging
import os
import shutil
import signal
import smtplib
import socket
import sys
import time

from pyams_zodb_tools import _kinds, _settings
from pyams_zodb_tools._errors import Failure, Locked, Misconfigured, NoSpace, NothingToDo, reason
from pyams_zodb_tools._text import human

_STATUS = {Misconfigured: 2, NoSpace: 4, Locked: 3, NothingToDo: 0}
_PRECEDENCE = (2, 1, 4, 3, 5, 0)
_SMTP_TIMEOUT = 60  # seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="zodb-pack", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("file", metavar="FILE.toml")
    parser.add_argument("--storage", metavar="NAME", help="pack this one only")
    trial = parser.add_mutually_exclusive_group()
    trial.add_argument("--dry-run", action="store_true", help="check all that a pack needs, write nothing")
    trial.add_argument("--prepack", action="store_true", help="do the first stage alone, which removes nothing")
    options = parser.parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # what is logged as a traceback, our sentences say
    kinds = _kinds.load([options.file], options.storage)
    if isinstance(kinds[0], Misconfigured):  # and so it is alone
        _say(str(kinds[0]))
        return 2
    signal.signal(signal.SIGTERM, _stop)
    try:
        if options.dry_run or options.prepack:
            statuses = {rehearse(kind, options.prepack) for kind in kinds}
        else:
            statuses = {pack(kind) for kind in kinds}
    except KeyboardInterrupt:
        return 1
    return next(status for status in _PRECEDENCE if status in statuses)


def pack(kind: _kinds.Kind) -> int:
    """Pack one storage, record and report the outcome, and return the exit status for it."""
    settings, storage = kind.settings, kind.storage
    before = {}
    with contextlib.suppress(Failure):  # what is unreadable is written anew
        before = read_record(storage.path) or {}
    record = {
        "storage": storage.name,
        "outcome": "packed",  # or failed, misconfigured, no space
        "error": None,
        "started": time.time(),
        "finished": None,
        "days": storage.pack_days,
        "size_before": None,
        "size_after": None,
        "disk_free": None,
        "report": None,  # sent, or why it was not; None where nobody wants one
        "last_success": before.get("last_success"),
    }
    kind.begin(record)
    status, stopped = 0, None
    try:
        with held(storage.path):
            kind.pack(record)
    except NothingToDo as failure:
        _say(f"{storage.name}: {failure}")
        return 0
    except Failure as failure:
        status = _STATUS.get(type(failure), 1)
        record.update(outcome=_OUTCOMES.get(status), error=str(failure))
    except KeyboardInterrupt as error:
        status, stopped = 1, error
        record.update(outcome="failed", error=kind.STOPPED)
    record["finished"] = time.time()
    kind.end(record)
    with contextlib.suppress(OSError, IndexError):
        record["disk_free"] = shutil.disk_usage(kind.folders()[0]).free
    if status == 0:
        record["last_success"] = record["finished"]
    _say(f"{storage.name}: {_summary(kind, record)}")
    # A pack that another job held off says nothing of the storage: the record of the one before goes on to hold.
    kept = status == _STATUS[Locked]
    if not kept:
        _write_record(storage, record)
    if settings.mail.report:
        try:
            _send(settings, _report(kind, record))
            record["report"] = "sent"
        except (OSError, smtplib.SMTPException, ValueError) as error:
            record["report"] = f"the report could not be sent by {settings.mail.server}: {reason(error)}"
            _say(f"{storage.name}: {record['report']}")
            status = status or 5
        if not kept:
            _write_record(storage, record)
    if stopped:
        raise stopped
    return status


def rehearse(kind: _kinds.Kind, prepack: bool) -> int:
    """Say what a pack of one storage would do, and return the exit status for it. Nothing is recorded or mailed."""
    try:
        with held(kind.storage.path):
            sentence, status = kind.rehearse(prepack), 0
    except Failure as failure:
        sentence, status = str(failure), _STATUS.get(type(failure), 1)
    _say(f"{kind.storage.name}: {sentence}")
    return status


_OUTCOMES = {1: "failed", 2: "misconfigured", 4: "no space"}


def read_record(path: str) -> dict | None:
    """Return what the last pack of the storage recorded, None before the first. Raises Failure if it is unreadable."""
    try:
        with open(path + ".pack.json", encoding="utf-8") as source:
            return dict(json.load(source))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Failure(f"{path}.pack.json cannot be read: {reason(error)}") from error


@contextlib.contextmanager
def held(path: str):
    """Hold the pack lock of a storage. Raises Locked where another job does."""
    lock = path + ".pack-lock"
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Failure(f"the lock {lock} cannot be opened: {reason(error)}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"{_holder(descriptor)} holds the lock {lock}; nothing was packed") from None
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    inode = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:  # "1: FLOCK  ADVISORY  WRITE 4242 fe:01:12345 0 EOF"
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rsplit(":", 1)[1]) == inode:
                with open(f"/proc/{int(fields[4])}/comm", encoding="utf-8", errors="replace") as name:
                    return f"process {fields[4]} ({name.read().strip()})"
    return "another job"


def _write_record(storage: _settings.Storage, record: dict) -> None:
    target = storage.path + ".pack.json"
    try:
        with open(target + ".new", "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target + ".new", target)
    except OSError as error:
        _say(f"{storage.name}: {target} cannot be written: {reason(error)}")


def _summary(kind: _kinds.Kind, record: dict) -> str:
    if record["error"]:
        return record["error"]
    return f"packed, {kind.became(record)} in {record['finished'] - record['started']:.0f} s"


def _report(kind: _kinds.Kind, record: dict) -> email.message.EmailMessage:
    settings, storage = kind.settings, kind.storage
    message = email.message.EmailMessage()
    outcome = "packed" if record["error"] is None else "NOT packed"
    message["Subject"] = f"{settings.title}: storage {storage.name} {outcome}"
    message["From"] = settings.mail.sender
    message["To"] = ", ".join(settings.mail.report)
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain=socket.getfqdn())
    message["Auto-Submitted"] = "auto-generated"
    rows = [
        ("Data", kind.place()),
        ("Size before", human(record["size_before"])),
        ("Size after", human(record["size_after"])),
        ("Duration", f"{record['finished'] - record['started']:.0f} s"),
        ("Undo kept", f"{storage.pack_days} day{'' if storage.pack_days == 1 else 's'}"),
        *kind.remarks(record),
        ("Disk free", human(record["disk_free"])),
    ]
    lines = [
        f"{settings.service} on {socket.getfqdn()}, storage {storage.name}: {_summary(kind, record)}.",
        "",
        *(f"{name + ':':<14}{text}" for name, text in rows),
    ]
    message.set_content("\n".join(lines) + "\n")
    return message


def _send(settings: _settings.Settings, message: email.message.EmailMessage) -> None:
    host, port = settings.mail.address()
    with smtplib.SMTP(host, port, timeout=_SMTP_TIMEOUT) as connection:
        refused = connection.send_message(message)
    if refused:
        raise smtplib.SMTPRecipientsRefused(refused)


def _stop(*_) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(f"zodb-pack: {' '.join(text.split())}", file=sys.stderr, flush=True)
