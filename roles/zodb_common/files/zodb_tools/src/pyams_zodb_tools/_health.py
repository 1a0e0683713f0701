# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-health FILE.toml... [--storage NAME] [--json] [--wait [SECONDS]]: the state of storages, as Nagios asks it.

A real client opens each storage, reads its last transaction and the bytes of its root object, commits nothing and
unpickles nothing. Watched as well: the days left of certificates and CRLs, the disk, the last pack. Of a ZEO server,
whether it still goes by older certificates than the files hold, and for how long the commit lock is held. Of a
database, whether its connections run out, a transaction goes on for long, a standby falls behind, and tables and stored
procedures are those of the RelStorage installed here.

One line for each storage, "STATUS SERVICE/STORAGE: text | performance data", or with --json a list of objects.
With --wait, a server that is still starting gets so many seconds to listen, start_timeout of the file if none is given;
one that ends again and again meanwhile is not waited for any longer.

Exit status, of several storages the worst in this order: 2 CRITICAL, 3 UNKNOWN (also wrong usage or configuration),
1 WARNING, 0 OK.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import shutil
import sys
import time

from pyams_zodb_tools import _certificates, _kinds, _pack, _service, _settings
from pyams_zodb_tools._errors import Failure, Misconfigured, NotListening, reason
from pyams_zodb_tools._kinds import CRITICAL, OK, UNKNOWN, WARNING
from pyams_zodb_tools._text import days, human

_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_BADNESS = (OK, WARNING, UNKNOWN, CRITICAL)
_POLL = 0.5  # seconds between two looks for a server that is starting
_ENDS = 3  # so often it may end meanwhile
_DAY = 86400


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(UNKNOWN, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = _Parser(prog="zodb-health", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+", metavar="FILE.toml")
    parser.add_argument("--storage", metavar="NAME", help="look at this one only")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--wait", nargs="?", type=float, const=-1, default=0, metavar="SECONDS", help="for its start")
    options = parser.parse_args(_with_wait(sys.argv[1:] if arguments is None else arguments))
    logging.getLogger().addHandler(logging.NullHandler())  # what is logged as a traceback, our sentences say
    findings = []
    for found in _kinds.load(options.files, options.storage):
        if isinstance(found, Misconfigured):
            findings.append(Finding(None, None))
            findings[-1].problem(UNKNOWN, str(found))
            continue
        wait = found.settings.start_timeout if options.wait < 0 else options.wait
        findings.append(Finding(found.settings, found.storage))
        findings[-1].look(found, time.monotonic() + wait)
    if options.json:
        print(json.dumps([finding.facts for finding in findings], indent=2))
    else:
        print("\n".join(map(str, findings)))
    return max((finding.facts["code"] for finding in findings), key=_BADNESS.index)


def _with_wait(arguments: list[str]) -> list[str]:
    """Let --wait stand before a file: argparse would take the file for its seconds."""
    return [
        "--wait=-1" if argument == "--wait" and not following.replace(".", "", 1).isdecimal() else argument
        for argument, following in zip(arguments, [*arguments[1:], ""], strict=True)
    ]


class Finding:
    """What was found about one storage; `facts` is the object that --json prints, its keys always there."""

    def __init__(self, settings: _settings.Settings | None, storage: _settings.Storage | None):
        self.settings = settings
        self.storage = storage
        self.facts = {
            "service": settings and settings.service,
            "storage": storage and storage.name,
            "status": "OK",
            "code": OK,
            "problems": [],  # sentences, the worst first
            "last_commit": None,  # seconds since the epoch; null for an empty storage
            "empty": None,
            "size": None,  # bytes
            "clients": None,
            "waiting": None,  # transactions that wait for the commit lock
            "locked": None,  # seconds since the commit lock was taken; null while it is free
            "connections": None,  # in use, of whatever comes closest to its limit: the server, the database, the role
            "max_connections": None,  # that limit
            "longest_transaction": None,  # seconds, of the sessions in the database that may be seen
            "standby": None,  # whether the server is one
            "lag": None,  # seconds that a standby is behind
            "standbys": [],  # of this server: name, state, lag (seconds); null where they may not be seen
            "schema_fits": None,  # whether tables and stored procedures are those of this RelStorage
            "disks": [],  # path, free (bytes), free_percent
            "certificates": [],  # path, name, crl, ends (seconds since the epoch, null: never), days_left
            "restart_needed": None,
            "last_pack": None,  # what PATH.pack.json holds
        }
        self._problems = []

    def problem(self, code: int, sentence: str) -> None:
        self._problems.append((code, " ".join(sentence.split())))
        self._problems.sort(key=lambda problem: -_BADNESS.index(problem[0]))
        self.facts["code"] = self._problems[0][0]
        self.facts["status"] = _NAMES[self.facts["code"]]
        self.facts["problems"] = [sentence for _code, sentence in self._problems]

    def look(self, kind: _kinds.Kind, deadline: float) -> None:
        try:
            kind.configure()
            self._reach(kind, deadline)
            kind.look(self)
        except Misconfigured as error:
            self.problem(UNKNOWN, str(error))
        except Failure as failure:
            self.problem(CRITICAL, str(failure))
        self._look_at_certificates(kind)
        self._look_at_disks(kind)
        self._look_at_pack()

    def _reach(self, kind: _kinds.Kind, deadline: float) -> None:
        starts = set()
        while True:
            try:
                return kind.reach()
            except NotListening:
                if time.monotonic() + _POLL > deadline:
                    raise
            starts |= {_service.start(self.settings)} - {None}
            if len(starts) > _ENDS:
                service = self.settings.service.removesuffix(".service")
                raise Failure(f"{service} starts and ends again, {_ENDS} times while it was waited for; read its log")
            time.sleep(_POLL)

    def _look_at_certificates(self, kind: _kinds.Kind) -> None:
        settings, now = self.settings, time.time()
        documents, folders = [], set()
        for path in settings.certificates:
            try:
                documents += _certificates.read(path)
            except Failure as failure:
                self.problem(CRITICAL, str(failure))
                continue
            if os.path.isdir(path):
                folders.add(path)
        kind.look_at_certificates(self, documents, folders)
        where, presented = kind.presented() or ("", None)
        if presented and presented not in [document.der for document in documents]:
            documents.append(_certificates.parse(where, False, presented))
        for document in {document.der: document for document in documents}.values():
            left = document.days_left(now)
            self.facts["certificates"].append(
                {
                    "path": document.path,
                    "name": document.name,
                    "crl": document.crl,
                    "ends": document.ends,
                    "days_left": None if left is None else round(left, 2),
                }
            )
            warn = settings.crl_days if document.crl else settings.certificate_days
            if left is not None and left < 0:
                refused = ", so that the server refuses everybody" if document.crl else ""
                self.problem(CRITICAL, f"{document} expired {days(-left)} ago{refused}")
            elif left is not None and left < warn:
                critical = not document.crl and left < warn / 3
                self.problem(CRITICAL if critical else WARNING, f"{document} expires in {days(left)}")
            if document.begins > now:
                self.problem(CRITICAL, f"{document} is valid only in {days((document.begins - now) / _DAY)}")

    def _look_at_disks(self, kind: _kinds.Kind) -> None:
        devices = set()
        for path in kind.folders():
            try:
                device, usage = os.stat(path).st_dev, shutil.disk_usage(path)
            except OSError as error:
                self.problem(UNKNOWN, f"the free space of {path} cannot be read: {reason(error)}")
                continue
            if device in devices:
                continue
            devices.add(device)
            percent = 100 * usage.free / ((usage.used + usage.free) or 1)  # as df counts, without what is root's
            self.facts["disks"].append({"path": path, "free": usage.free, "free_percent": round(percent, 2)})
            limit = self.storage.disk_warning
            if percent < limit:
                code = CRITICAL if percent < limit / 2 else WARNING
                self.problem(code, f"only {percent:.1f}% of the disk of {path} is free, {human(usage.free)}")

    def _look_at_pack(self) -> None:
        expected = self.storage.pack_expected_days * _DAY
        try:
            self.facts["last_pack"] = record = _pack.read_record(self.storage.path)
        except Failure as failure:
            self.problem(WARNING, str(failure))
            return
        if not expected or self.facts["standby"]:  # whose primary packs
            return
        if record and record.get("error"):
            self.problem(WARNING, f"the last pack failed: {record['error']}")
        elif record and record.get("report") not in (None, "sent"):
            self.problem(WARNING, f"of the last pack, {record['report']}")
        packed = record and record.get("last_success")
        since = packed or os.stat(self.settings.file).st_mtime  # never packed: since packs were configured
        if time.time() - since > expected:
            when = f"{days((time.time() - packed) / _DAY)} ago" if packed else "never"
            self.problem(WARNING, f"the last successful pack was {when}, one is due every {days(expected / _DAY)}")

    def __str__(self) -> str:
        facts = self.facts
        names = "/".join(filter(None, ((facts["service"] or "zodb-health").removesuffix(".service"), facts["storage"])))
        text = "; ".join([*facts["problems"], *self._summary()]).replace("|", "/")
        measured = " ".join(self._measured())
        return f"{facts['status']} {names}: {text}" + (f" | {measured}" if measured else "")

    def _summary(self):
        facts = self.facts
        if facts["empty"]:
            yield "empty, nothing was committed yet"
        if facts["last_commit"] is not None:
            moment = datetime.datetime.fromtimestamp(facts["last_commit"], datetime.UTC)
            yield f"last commit {moment:%Y-%m-%d %H:%M:%S} UTC, {human(facts['size'])}"
        if facts["standby"]:
            yield "standby" if facts["lag"] is None else f"standby {facts['lag']:.0f} s behind"
        if facts["connections"] is not None:
            yield f"{facts['connections']} of {facts['max_connections']} connections"
        for disk in facts["disks"]:
            yield f"disk {disk['free_percent']:.0f}% free"
        for crl, name in (False, "certificates"), (True, "CRL"):
            left = self._least_days(crl)
            if left is not None:
                yield f"{name} {left:.0f} days left"
        if (facts["last_pack"] or {}).get("last_success"):
            yield f"packed {days((time.time() - facts['last_pack']['last_success']) / _DAY)} ago"

    def _measured(self):
        facts, settings = self.facts, self.settings
        if facts["size"] is not None:
            yield f"size={facts['size']}B"
        if facts["last_commit"] is not None:
            yield f"commit_age={max(0, time.time() - facts['last_commit']):.0f}s"
        if facts["clients"] is not None:
            yield f"clients={facts['clients']}"
        if facts["waiting"] is not None:
            yield f"waiting={facts['waiting']}"
        if facts["connections"] is not None:
            yield f"connections={facts['connections']};;;0;{facts['max_connections']}"
        if facts["longest_transaction"] is not None:
            yield f"longest_transaction={facts['longest_transaction']:.0f}s"
        if facts["lag"] is not None:
            yield f"lag={facts['lag']:.0f}s"
        for label, disk in zip(("disk_free", "blob_disk_free"), facts["disks"], strict=False):
            limit = self.storage.disk_warning
            yield f"{label}={disk['free_percent']}%;{limit}:;{limit / 2:g}:;0;100"
        left = self._least_days(False)
        if left is not None:
            yield f"certificate_days={left};{settings.certificate_days}:;{settings.certificate_days / 3:.4g}:"
        left = self._least_days(True)
        if left is not None:
            yield f"crl_days={left};{settings.crl_days}:;0:"
        if (facts["last_pack"] or {}).get("last_success"):
            expected = self.storage.pack_expected_days * _DAY
            yield f"pack_age={time.time() - facts['last_pack']['last_success']:.0f}s;{expected or ''}".rstrip(";")

    def _least_days(self, crl: bool) -> float | None:
        found = [entry["days_left"] for entry in self.facts["certificates"] if entry["crl"] == crl]
        return min((left for left in found if left is not None), default=None)
