#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodbconvert
short_description: Copy a ZODB storage into another one, and prove it
version_added: "0.2.0"
description:
  - Copies any ZODB storage into any other by RelStorage's C(zodbconvert), and later what was added since. Looks at
    both sides first, and does only what cannot lose an object; whatever else it finds is refused.
  - A destination that is V(empty) gets a full copy; one that is V(behind) what it lacks; one that is V(equal) nothing.
    One that was proven and then got newer commits has V(switched), which means that the site has moved there, and gets
    nothing. Any other is V(foreign) and is refused.
  - It can be interrupted at any time and run again. A copy that was cut off is known by its content, never continued
    from its last transaction, where C(zodbconvert --incremental) would lose objects.
  - The source is opened read-only. It may be in use, as a FileStorage may be by its ZEO server. It must not be packed
    meanwhile, see O(pack_lock).
  - While anything is copied, RelStorage refuses each pack and each undo of a source or destination in PostgreSQL,
    MySQL or MariaDB, from whichever host, with C(A pack or undo operation is in progress), since its pack lock is
    held. Refused while another session has that. The lock of a standby does not hold off packs of its primary, SQLite
    has none, and Oracle's is not taken.
  - Nobody else may have the destination open. A storage of a ZEO server is written over the wire only as long as it is
    empty; stop the server and name its file as C(filestorage) instead.
  - A destination with the tables of NewtDB has them emptied before anything is copied, whichever kind it is described
    as, since C(newt-updater) looks only at what is newer than all that it has seen. It makes the JSON of every object
    anew when it is started next. A run that has nothing to copy leaves them.
  - Caches that applications keep of an older content of the destination, those of blobs and C(cache_local_dir), have
    to be deleted before they open it.
requirements:
  - a virtualenv with Python 3.11 or newer, RelStorage 4, and the packages that open both storages
extends_documentation_fragment:
  - pyams.zodb.description.source
  - pyams.zodb.description.destination
  - pyams.zodb.description.virtualenv
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Looks at both sides and tells what it would copy. Writes nothing, not even a log.
  diff_mode:
    support: full
    details: Shows the destination's last transaction and number of objects before and after.
  platform:
    platforms: posix
    support: full
    details: The holder of a lock comes from Linux's C(/proc).
options:
  mode:
    description:
      - V(full) makes a first copy where the destination is empty, and adds what is missing otherwise.
      - V(incremental) refuses an empty destination.
    type: str
    choices: [full, incremental]
    default: full
  method:
    description:
      - How a full copy is done. V(zodbconvert) is RelStorage's script. V(bulk) loads an empty PostgreSQL database
        without history in one transaction, and copies a FileStorage into another as the file that it is; both are
        several times faster, and all or nothing.
      - V(auto) takes V(bulk) where that can be done, and the script for all others. RV(method) tells.
    type: str
    choices: [auto, zodbconvert, bulk]
    default: auto
  verify:
    description:
      - V(full) compares every object, transaction id, state and blob of what was copied, and of a whole destination
        for which there is no fitting record.
      - V(fast) compares ids and lengths. It does not see a state or a blob of the same length, nor blobs that only a
        server or a database has.
      - V(none) proves nothing, and so the next run has to compare both sides.
    type: str
    choices: [none, fast, full]
    default: full
  history:
    description:
      - V(drop) allows that older revisions stay behind, when the destination keeps none. V(keep) refuses that.
    type: str
    choices: [keep, drop]
    default: keep
  extra:
    description:
      - V(keep) leaves objects in the destination which an earlier run copied and the source has packed away since.
        V(refuse) takes them for foreign.
    type: str
    choices: [keep, refuse]
    default: refuse
  clear:
    description:
      - Last transaction id of a destination that is to be emptied first, as M(pyams.zodb.zodb_info) prints it. Named
        so, a playbook that is run again cannot empty the site that it made.
      - Without effect where nothing is to be copied, or the destination is empty.
    type: str
  pack_lock:
    description:
      - Path of a file that is locked (C(flock)) while anything is copied, so that packs of the source are held off.
        That of the role P(pyams.zodb.zeo_server#role) is C(Data.fs.pack-lock), that of
        P(pyams.zodb.relstorage_sqlite#role) C(NAME.pack-lock) beside the database. Made if missing. Refused while
        another job has it.
    type: path
  state_dir:
    description:
      - Path of the folder for records, which make it fast to see that there is nothing to do. They hold no secrets.
        Made if missing, with mode 0700.
    type: path
    default: ~/.local/state/pyams.zodb
  log_path:
    description:
      - Path of a file that progress is appended to while a copy runs. Made if missing, with mode 0600.
    type: path
seealso:
  - module: pyams.zodb.zodb_info
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Copy a FileStorage, which its server may have open, into a database
  pyams.zodb.zodbconvert:
    virtualenv: /opt/zodb/relstorage
    source:
      filestorage:
        path: /var/lib/zodb/pyams/pyams/Data.fs
        blob_dir: /var/lib/zodb/pyams/pyams/blobs
    destination:
      sqlite:
        data_dir: /var/lib/zodb/sqlite
        blob_dir: /var/cache/zodb/blobs
        keep_history: false
    history: drop
  register: copied

- name: Empty it and copy again, once
  pyams.zodb.zodbconvert:
    virtualenv: /opt/zodb/relstorage
    source:
      filestorage:
        path: /var/lib/zodb/pyams/pyams/Data.fs
        blob_dir: /var/lib/zodb/pyams/pyams/blobs
    destination:
      sqlite:
        data_dir: /var/lib/zodb/sqlite
        blob_dir: /var/cache/zodb/blobs
        keep_history: false
    history: drop
    clear: "0x040d3e96076b6299"
"""

RETURN = r"""
state:
  description: >-
    How the destination was found: V(empty), V(behind), V(equal), V(switched), V(extra) (equal, but for objects that
    the source has no more, with O(extra=keep)) or V(foreign). Null if it could not be told.
  returned: always
  type: str
  sample: behind
why:
  description: What that was told by, in a sentence. Null if it could not be told.
  returned: always
  type: str
  sample: a comparison of both sides found no difference.
proven:
  description: >-
    Id of the source's last transaction up to which the destination is proven, at the end, by a record. Null if there is
    no record that fits.
  returned: always
  type: str
  sample: "0x040d3e96076b6299"
method:
  description: >-
    How it was copied: V(zodbconvert), by RelStorage's script; V(bulk), all at once; or V(catch_up), by our own
    copy of what is newer than a transaction. Null if there is nothing to do.
  returned: always
  type: str
  sample: zodbconvert
method_why:
  description: Why so, in a sentence. Null if there is nothing to do.
  returned: always
  type: str
  sample: RelStorage's script copies this pair.
transactions:
  description: >-
    Transactions copied by this run; in check mode, those a run would copy. 0 if there is nothing to do. Null for a
    destination without history, which gets objects, not transactions.
  returned: always
  type: int
  sample: 4546
objects:
  description: >-
    Objects copied by this run; in check mode, those a run would copy. Every revision counts if the destination keeps
    history.
  returned: always
  type: int
  sample: 85012
blobs:
  description: Blobs among them.
  returned: always
  type: int
  sample: 2000
bytes:
  description: Size of their states and blobs.
  returned: always
  type: int
  sample: 184549376
revisions_left:
  description: Older revisions that stay behind in a full copy with O(history=drop). Null if that was not counted.
  returned: always
  type: int
  sample: 41000
extra:
  description: Objects of the destination that the source has packed away, with O(extra=keep).
  returned: always
  type: int
  sample: 0
duration:
  description: Seconds that it took to copy and to prove. 0 in check mode.
  returned: always
  type: float
  sample: 41.2
rate:
  description: Objects copied per second, with the proof. Null if none were.
  returned: always
  type: float
  sample: 2063.4
source_last_tid:
  description: Id of the last transaction of the source that is in the destination now, or would be after a run.
  returned: always
  type: str
  sample: "0x040d3e96076b6299"
destination_last_tid:
  description: Id of the destination's last transaction, at the end. Zero for an empty one.
  returned: always
  type: str
  sample: "0x040d3e96076b6299"
verified:
  description: >-
    How far the destination was proven to be equal, by this run or by the record of an earlier one: V(none), V(fast) or
    V(full). V(none) in check mode, if there is something to do.
  returned: always
  type: str
  sample: full
log:
  description: The last lines that were logged. Passwords are masked.
  returned: always
  type: list
  elements: str
  sample: ["2026-11-25 03:46:59,527 [relstorage.storage.copy] INFO   Copied transactions: 38/38"]
"""

import hashlib
import json
import os
import signal
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyams.zodb.plugins.module_utils import (
    _agent_copy,
    _agent_run,
    _conversion,
    _files,
    _host,
    _storage,
    _tid,
)
from ansible_collections.pyams.zodb.plugins.module_utils._storage import Refused

STORAGE = {"type": "dict", "required": True, "options": _storage.argument_spec()}
ARGUMENTS = {
    "source": STORAGE,
    "destination": STORAGE,
    "virtualenv": {"type": "path", "required": True},
    "mode": {"type": "str", "choices": ["full", "incremental"], "default": "full"},
    "method": {"type": "str", "choices": ["auto", "zodbconvert", "bulk"], "default": "auto"},
    "verify": {"type": "str", "choices": ["none", "fast", "full"], "default": "full"},
    "history": {"type": "str", "choices": ["keep", "drop"], "default": "keep"},
    "extra": {"type": "str", "choices": ["keep", "refuse"], "default": "refuse"},
    "clear": {"type": "str"},
    "pack_lock": {"type": "path"},
    "state_dir": {"type": "path", "default": "~/.local/state/pyams.zodb"},
    "log_path": {"type": "path"},
}
CLOCK = 60  # seconds that the clock of another host may go before
JSON_ANEW = (
    "destination {}: a copy empties NewtDB's tables newt and newt_follow_progress; start newt-updater when it has "
    "ended, which makes the JSON of every object anew."
)
ROOM = 1.1  # times the bytes to copy, for indexes and headers


class Conversion:
    """One copy between two storages. Only act() writes into them."""

    def __init__(self, params, check_mode):
        self.params = params
        self.check_mode = check_mode
        self.places = dict.fromkeys(("source", "destination"))
        self.agent = self.sides = self.decision = self.record_path = self.record = self.method = None
        self.keep_extra = params["extra"] == "keep"
        self.pending = self.wipes = False
        self.extra = 0
        self.copied = {"transactions": 0, "objects": 0, "blobs": 0, "bytes": 0}
        self.revisions_left = None
        self.duration = 0.0
        self.verified = "none"
        self.proven = None
        self.state = self.why = self.method_why = None

    def probe(self):
        """Set what is to be done. Raises Refused where no copy is safe."""
        self._check_own_files()
        for role in self.places:
            try:
                self.places[role] = _agent_run.place(self.params[role])
            except Refused as refusal:
                raise Refused(f"{role}: {refusal}") from None
        clear = self.params["clear"] and _tid.parse("clear", self.params["clear"])
        descriptions = [self.params[role] for role in self.places]
        self.agent = _agent_run.Agent(self.params["virtualenv"], descriptions, self._log)
        self.sides = self.agent.ask("inspect", **self.places, others=True)
        for role, side in self.sides.items():
            side["name"] = self._name(role)
            side["error"] = side["error"] and self.agent.mask(side["error"])
        source, destination = self.sides["source"], self.sides["destination"]
        _conversion.check_sides(source, destination)
        self.record_path = self._record_path()
        self.record = self._read_record()
        self._decide(source, destination, clear)
        self.state, self.why = self.decision.state, self.decision.why
        if not self.wipes:
            _conversion.check_plan(self.decision, source, destination, self.params)
        if self.wipes or self.state == "empty":
            self._plan_full_copy(source, destination)
        self.pending = self.wipes or self.state in ("empty", "behind")
        if self.pending:
            if not self.method:
                self.method, self.method_why = "catch_up", "only what is newer is missing."
            self._check_place(destination)

    def _decide(self, source, destination, clear):
        """Set the decision, by the record or by a comparison, and whether the destination is emptied first."""
        emptied = clear == destination["last_tid"] and clear != _tid.NONE
        verify = self.params["verify"]
        decision = _conversion.by_record(source, destination, self.record, verify, self.keep_extra)
        if decision is None or (decision.start and not self._look("known", tid=decision.start)["known"]):
            self._decide_by_comparison(source, destination, clear, emptied)
            return
        self.decision = decision
        if decision.proven and self.record["verified"] != "none":
            self.proven = self.record["end"]
        if decision.state in ("equal", "extra"):
            self.verified, self.extra = self.record["verified"], self.record["extra"]
        elif decision.state == "behind":
            self.wipes = emptied
            if self.check_mode and not emptied:
                self._plan(self._look("tail", start=decision.start))

    def _decide_by_comparison(self, source, destination, clear, emptied):
        full = self.params["verify"] == "full"
        found = self._look("compare", full=full)
        try:
            self.decision = _conversion.by_comparison(source, destination, self.record, found, self.keep_extra)
            self.extra = found["extra"]
        except Refused as refusal:
            self.state, self.why = "foreign", str(refusal)
            if clear and not emptied:
                last = destination["last_tid"]
                raise Refused(f"{refusal} Now clear names {clear}, but its last tid is {last}.") from None
            if not emptied:
                raise
            self.decision = _conversion.Decision("foreign", str(refusal))
        self.wipes = emptied and self.decision.state in ("foreign", "behind", "switched")
        if self.wipes:
            return
        if self.decision.state == "behind":
            self._plan({**found, "objects": found["missing"] + found["stale"], "blobs": found["blobs_to_copy"]})
        else:
            self.verified = "full" if full else "fast"
            if self.decision.state in ("equal", "extra") and not self.check_mode:
                self._write_record("proven", start=source["last_tid"])

    def _plan(self, counts):
        self.copied = {key: counts[key] for key in self.copied}
        if not self.sides["destination"]["keeps_history"]:
            self.copied["transactions"] = None

    def _plan_full_copy(self, source, destination):
        survey = self._look("survey", keep_history=destination["keeps_history"])
        _conversion.check_survey(survey, source, destination, self.params)
        self.method, self.method_why = _conversion.method_of(source, destination, self.params["method"])
        self.revisions_left = survey.get("revisions_left")
        self._plan({**survey, "bytes": survey["bytes"] + survey["blob_bytes"]})
        self._check_room(survey, destination)
        if destination["blob_dir"] and destination["shared"]:
            self._check_blob_dir(destination)

    def _check_blob_dir(self, destination):
        """Refuse a folder with what is not the destination's: ZODB empties it for a new storage, and so does clear."""
        folder = destination["blob_dir"]
        for at, _folders, names in os.walk(folder):
            temporary = os.path.relpath(at, folder).split(os.sep)[0] == "tmp"
            for name in names:
                if name.endswith(".blob"):
                    its_own = self.wipes or self.record is not None
                else:
                    its_own = temporary or (at == folder and name in (".layout", ".removed"))
                if not its_own:
                    raise Refused(
                        f"destination {destination['name']} is {'to be emptied' if self.wipes else 'empty'}, but there "
                        f"are files in its blob_dir {folder} ({name}); if they are nobody's, remove them, else name "
                        "another folder."
                    )

    def _look(self, what, **more):
        return self.agent.ask("look", do=what, **self.places, **more)

    def _name(self, role):
        side = self.sides[role]
        places = _storage.identities(self.params[role])
        return side["path"] if side["kind"] in ("filestorage", "sqlite") else places[0] if places else side["kind"]

    def _check_own_files(self):
        """Refuse a state_dir or log_path that could not be written: a proof that cannot be kept comes too late."""
        log_path = self.params["log_path"]
        if log_path and os.path.isdir(log_path):
            raise Refused(f"log_path {log_path} is a folder; name a file.")
        if log_path and not os.path.isdir(os.path.dirname(log_path)):
            raise Refused(f"log_path {log_path}: there is no folder {os.path.dirname(log_path)}; make it.")
        for option in ("state_dir", "log_path"):
            there = path = self.params[option]
            while there and not os.path.lexists(there):
                there = os.path.dirname(there)
            if option == "state_dir" and not os.path.isdir(there):
                raise Refused(f"state_dir {path}: {there} is no folder; name another one.")
            if there and not os.access(there, os.W_OK):
                user = _files.user_name(os.geteuid())
                raise Refused(f"{option} {path}: {there} cannot be written by {user}; name another one.")

    def _check_place(self, destination):
        """Refuse a destination that somebody else has open, or where the running user must not leave files."""
        path, name = destination["path"], destination["name"]
        if destination["kind"] == "filestorage":
            held, pid = _host.lock_holder(path + ".lock")
            if held:
                which = _host.named(pid) if pid else "another process"
                raise Refused(f"destination {name} is open in {which}; stop that first.")
            folders = [os.path.dirname(path)]
        elif destination["kind"] == "sqlite":
            users = _host.sqlite_lockers(path)
            if users:
                raise Refused(f"destination {name} is open in process {users[0]}; stop that first.")
            folders = [path]
        else:
            folders = []
        if destination["updaters"]:
            raise Refused(
                f"destination {name}: newt-updater has the database open, and would not see all that is copied; "
                "stop it first."
            )
        if destination["others"]:
            raise Refused(
                f"destination {name}: {destination['others']} other sessions have the database open; stop what uses "
                "it first."
            )
        for folder in folders:
            if not os.path.isdir(folder):
                raise Refused(f"destination {name}: there is no folder {folder}; make it, owned by whom it is for.")
        if destination["blob_dir"] and destination["shared"] and destination["kind"] != "zeo":
            folders.append(destination["blob_dir"])
        for folder in folders:
            self._check_folder(name, folder)

    @staticmethod
    def _check_folder(name, folder):
        there = folder
        while not os.path.exists(there):
            there = os.path.dirname(there)
        owner = os.stat(there).st_uid
        if os.geteuid() == 0 and owner != 0:
            user = _files.user_name(owner)
            raise Refused(
                f"destination {name}: {there} belongs to {user}, and root would leave files there that {user} cannot "
                f"write; run this with become_user {user}."
            )
        if not os.access(there, os.W_OK | os.X_OK):
            raise Refused(f"destination {name}: {there} cannot be written by {_files.user_name(os.geteuid())}.")

    @staticmethod
    def _check_room(survey, destination):
        parts = []
        if destination["kind"] in ("filestorage", "sqlite"):
            partial = destination["path"] + _agent_copy.FileBulk.PARTIAL  # of a killed copy, which is written over
            there = os.path.getsize(partial) if os.path.isfile(partial) else 0
            parts.append((destination["path"], survey["bytes"] * ROOM - there))
        if destination["kind"] == "sqlite" and not destination["shared"]:
            parts.append((destination["path"], survey["blob_bytes"] * ROOM))
        elif destination["blob_dir"] and destination["shared"]:
            parts.append((destination["blob_dir"], survey["blob_bytes"]))
        wanted = {}
        for path, size in parts:
            device = _host.device(path)
            first, sum_of = wanted.get(device, (path, 0))
            wanted[device] = (first, sum_of + size)
        for path, size in wanted.values():
            free = _host.free(path)
            if free is not None and free < size:
                raise Refused(
                    f"destination {destination['name']}: {size / 1e6:,.0f} MB are needed at {path}, and "
                    f"{free / 1e6:,.0f} MB are free."
                )

    def act(self):
        """Carry it out and prove it. Raises Refused and Failed; a next run then goes on or starts over."""
        os.makedirs(self.params["state_dir"], mode=0o700, exist_ok=True)
        self._lock()
        self._unchanged()
        began = time.monotonic()
        self._copy()
        self.duration = time.monotonic() - began

    def _copy(self):
        source, destination = self.sides["source"], self.sides["destination"]
        start = self.decision.start
        self._write_record("copying", start=start or source["last_tid"])
        if self.wipes:
            self.agent.ask("clear", destination=self.places["destination"], last_tid=destination["last_tid"])
        planned, self.copied = self.copied, dict.fromkeys(self.copied, 0)
        if self.method != "catch_up":
            self.agent.ask(self.method, **self.places)
            self.copied, start = planned, source["last_tid"]
        done = self.agent.ask(
            "catch_up",
            **self.places,
            start=start or _tid.NONE,
            drop=self.params["history"] == "drop",
            verify=self.params["verify"],
            whole=not self.decision.proven,
        )
        for key in self.copied:
            keeps_none = key == "transactions" and not destination["keeps_history"]
            self.copied[key] = None if keeps_none else self.copied[key] + done[key]
        packed = done["packed"] or done["source"]["inode"] != source["inode"]
        source.update(done["source"])
        destination.update(done["destination"])
        if packed:
            raise Refused(f"source {source['name']} was packed during the copy; hold packs, and run it again.")
        if done["found"]:
            _conversion.check_proof(done["found"], destination, self.keep_extra)
            if not self.decision.proven:
                self.extra = done["found"]["extra"]
        self.verified = self.params["verify"]
        self._write_record("proven", start=start or source["last_tid"])

    def close(self):
        """Wait until the agent has ended, and with it its locks."""
        if self.agent:
            self.agent.stop()

    def result(self):
        """Return the documented keys."""
        sides = self.sides or {}
        tids = {role: sides.get(role, {}).get("last_tid") for role in self.places}
        return {
            "state": self.state,
            "why": self.why,
            "proven": self.proven,
            "method": self.method,
            "method_why": self.method_why,
            **self.copied,
            "revisions_left": self.revisions_left,
            "extra": self.extra,
            "duration": round(self.duration, 3),
            "rate": round(self.copied["objects"] / self.duration, 1) if self.duration else None,
            "source_last_tid": tids["source"],
            "destination_last_tid": tids["destination"],
            "verified": self.verified,
            "log": list(self.agent.lines) if self.agent else [],
        }

    def _record_path(self, *roles):
        both = "\n".join(self.sides[role]["identity"] for role in roles or ("source", "destination"))
        return os.path.join(self.params["state_dir"], hashlib.sha256(both.encode()).hexdigest()[:32] + ".json")

    def _read_record(self):
        own, opposite = self._load(self.record_path), self._load(self._record_path("destination", "source"))
        return _conversion.newest(own, opposite and _conversion.turned(opposite))

    @staticmethod
    def _load(path):
        try:
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.get("version") == _conversion.VERSION else None

    def _write_record(self, phase, start):
        source, destination = self.sides["source"], self.sides["destination"]
        record = {
            "version": _conversion.VERSION,
            "phase": phase,
            "source": source["identity"],
            "destination": destination["identity"],
            "start": start,
            "end": source["last_tid"],
            "verified": self.verified,
            "extra": self.extra,
            "source_inode": source["inode"],
            "source_objects": source["objects"],
            "destination_last": destination["last_tid"],
            "destination_objects": destination["objects"],
        }
        os.makedirs(self.params["state_dir"], mode=0o700, exist_ok=True)
        temporary = f"{self.record_path}.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.record_path)
        self.proven = record["end"] if phase == "proven" and self.verified != "none" else None

    def _lock(self):
        """Keep other runs away from the destination, and packs from both sides as whoever packs them would."""
        destination = self.sides["destination"]
        name = hashlib.sha256(destination["identity"].encode()).hexdigest()[:32] + ".lock"
        if not self.agent.ask("lock", path=os.path.join(self.params["state_dir"], name))["locked"]:
            raise Refused(f"destination {destination['name']}: another run is copying into it; wait until that ends.")
        path = self.params["pack_lock"]
        try:
            locked = not path or self.agent.ask("lock", path=path)["locked"]
        except _agent_run.Failed as error:
            raise Refused(f"pack_lock cannot be opened: {error}") from None
        if not locked:
            raise Refused(
                f"pack_lock {path} is held, the source is being packed; wait until that ends, and run it again."
            )
        held = self.agent.ask("hold_packs", **self.places)["held"]
        if held:
            raise Refused(
                f"{held} {self.sides[held]['name']}: another session holds RelStorage's pack lock, to pack, to undo or "
                "to copy; wait until that ends, and run it again."
            )

    def _unchanged(self):
        """Refuse what another run has changed since this one looked."""
        now = self.agent.ask("inspect", **self.places, others=False)  # one of them is ours, which holds packs off
        for role, side in self.sides.items():
            # A source may go on.
            keys = ("identity", "inode") if role == "source" else ("identity", "last_tid", "objects")
            if any(now[role].get(key) != side[key] for key in keys):
                raise Refused(f"{role} {side['name']} changed while it was looked at; run it again.")

    def _log(self, line):
        if self.params["log_path"] and not self.check_mode:
            handle = os.open(self.params["log_path"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(handle, "a", encoding="utf-8") as file:
                file.write(line + "\n")


def _end(*_signal):
    raise _agent_run.Failed("ended by SIGTERM; run it again.")


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    conversion = Conversion(module.params, module.check_mode)
    try:
        signal.signal(signal.SIGTERM, _end)  # also while no agent runs
        conversion.probe()
        before = _shown(conversion.sides["destination"])
        if conversion.pending and conversion.sides["destination"]["newt"]:
            module.warn(JSON_ANEW.format(conversion.sides["destination"]["name"]))
        if conversion.pending and not module.check_mode:
            conversion.act()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is done is told
    except (Refused, _agent_run.Failed) as refusal:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        conversion.close()
        module.fail_json(msg=str(refusal), **conversion.result())
    conversion.close()
    ahead = _tid.time_of(conversion.sides["source"]["last_tid"]) or ""
    if ahead > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + CLOCK)):
        module.warn(f"the source's last transaction is of {ahead}, which is yet to come; look at the clocks.")
    result = conversion.result()
    if module.check_mode and conversion.pending:
        after = {"last_tid": result["source_last_tid"], "objects": None}
    else:
        after = _shown(conversion.sides["destination"])
    module.exit_json(changed=conversion.pending, diff={"before": before, "after": after}, **result)


def _shown(side):
    return {"last_tid": side["last_tid"], "objects": side["objects"]}


if __name__ == "__main__":
    main()
