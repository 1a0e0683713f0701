#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodb_postgres_member
short_description: Tell what a PostgreSQL server is in its group, and have it take up or leave its place there
version_added: "0.2.0"
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Looks after one of Debian's clusters, of a group in which one
    server is the primary and the others are its standbys.
  - Without O(act) it tells what the server is, and changes nothing.
  - A server never becomes primary by itself, and it is never started by this module.
requirements:
  - Debian's C(postgresql-common), which the module does not miss on a host that has no PostgreSQL yet
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing and tells whether something would be changed.
  diff_mode:
    support: none
  platform:
    platforms: debian
    support: full
options:
  version:
    description: Major version of PostgreSQL. If absent, the one that has such a cluster.
    type: str
  cluster:
    description: Name of the cluster, as Debian's C(pg_lsclusters) has it.
    type: str
    default: main
  port:
    description: Its port.
    type: int
    default: 5432
  act:
    description:
      - >-
        V(fence) stops the server and disables it in C(start.conf), so that neither a boot nor C(pg_ctlcluster) starts
        it.
      - V(promote) makes a standby the primary. A primary stays what it is.
      - >-
        V(follow) makes the data those of a standby, which has to be started then. A cluster that was never started
        gets a copy of the primary's, by C(pg_basebackup). A server that was a primary is stopped, and goes back with
        C(pg_rewind) to where the other has left it: what it alone has is lost. So does a standby that gets no log; one
        that gets it stays what it is.
      - V(forget) drops O(slot) on a primary, as soon as no standby is connected by it any more.
    type: str
    choices: [fence, promote, follow, forget]
  since:
    description: >-
      For O(act=fence), where in the log of transactions to look for later commits, as RV(server.received) of the
      standby.
    type: str
  needs:
    description: For O(act=promote), the end of a commit that the standby has to have received, as RV(commits).
    type: str
  accept_loss:
    description: For O(act=promote), go on without it.
    type: bool
    default: false
  slots:
    description: For O(act=promote), physical replication slots that the new primary is to have.
    type: list
    elements: str
    default: []
  source:
    description: For O(act=follow), how to reach the primary, as libpq's connection string, with a passfile.
    type: str
  slot:
    description: >-
      For O(act=follow), the slot on the primary that holds its log of transactions for this standby. For
      O(act=forget), the one of a standby that has left.
    type: str
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Ask what the server is
  pyams.zodb.zodb_postgres_member:
    version: "17"
  register: asked

- name: Fence a primary, and learn which commits the standby does not have
  pyams.zodb.zodb_postgres_member:
    version: "17"
    act: fence
    since: 0/3000148

- name: Make a standby the primary
  pyams.zodb.zodb_postgres_member:
    version: "17"
    act: promote
    needs: 0/30001A8
    slots: [zodb_db1]
"""

RETURN = r"""
server:
  description: What the server is. After O(act), what it has become.
  returned: always
  type: dict
  contains:
    there:
      description: Whether there is such a cluster.
      type: bool
    started:
      description: Whether it was ever started. Null if it is not there.
      type: bool
    enabled:
      description: Whether it starts with the host. Null if it is not there.
      type: bool
    member:
      description: Whether it is configured to follow the others of its group. Null if it is not there.
      type: bool
    up:
      description: Whether the server answers.
      type: bool
    unit:
      description: Its unit of systemd. Null if it is not there.
      type: str
    folder:
      description: Folder of its configuration. Null if it is not there.
      type: str
    why:
      description: What was said instead of an answer. Empty if it answers.
      type: str
    standby:
      description: Whether it follows another server. Null if it is not there.
      type: bool
    received:
      description: Up to where a standby has the log of transactions. Null for others, and if it does not answer.
      type: str
    streaming:
      description: Whether a standby gets the log of its primary, on the timeline of that. Null if it does not answer.
      type: bool
    standbys:
      description: Names of the standbys that are connected with a primary. Null if it does not answer.
      type: list
      elements: str
    synchronous:
      description: The standbys that its commits wait for, as it goes by now. Null if it does not answer.
      type: str
    slots:
      description: Names of its physical replication slots. Null if it does not answer.
      type: list
      elements: str
  sample: {there: true, started: true, enabled: true, member: true, up: true, standby: false, standbys: [zodb_db2]}
commits:
  description: With O(since), where the commits end that come after it.
  returned: with O(act=fence)
  type: list
  elements: str
  sample: [0/30001A8]
lost:
  description: Whether O(needs) was not there.
  returned: with O(act=promote)
  type: bool
"""

import glob
import json
import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyams.zodb.plugins.module_utils import _lsn

ARGUMENTS = {
    "version": {"type": "str"},
    "cluster": {"type": "str", "default": "main"},
    "port": {"type": "int", "default": 5432},
    "act": {"type": "str", "choices": ["fence", "promote", "follow", "forget"]},
    "since": {"type": "str"},
    "needs": {"type": "str"},
    "accept_loss": {"type": "bool", "default": False},
    "slots": {"type": "list", "elements": "str", "default": []},
    "source": {"type": "str"},
    "slot": {"type": "str"},
}
SOCKETS = "/var/run/postgresql"
ANSWER = 10  # seconds that a server has to answer
# Seconds that it has to stop: one whose synchronous standby is gone hangs, and loses nothing if it is killed.
PATIENCE = 15
PROMOTION = 60  # seconds that a standby has to become primary
PARTING = 15  # seconds until a primary has noticed that a standby is gone: its wal_sender_timeout is 10
# One that cannot follow its primary to a later timeline connects again and again, and gets the earlier one to its end.
QUERY = """\
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'received', CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END,
  'streaming', EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND received_tli >= (
    SELECT coalesce(max(('x' || left(name, 8))::bit(32)::int), 1) FROM pg_ls_waldir() WHERE name LIKE '%.history')),
  'standbys', (SELECT coalesce(json_agg(application_name ORDER BY application_name), '[]') FROM pg_stat_replication
    WHERE state = 'streaming'),
  'synchronous', current_setting('synchronous_standby_names'),
  'slots', (SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots
    WHERE slot_type = 'physical'))"""
SLOT = "SELECT to_json(slot_name) FROM pg_create_physical_replication_slot(:'slot', TRUE)"
PROMOTE = "SELECT to_json(pg_promote(TRUE, :wait))"
DROP = """\
SELECT to_json(count(pg_drop_replication_slot(slot_name)) > 0) FROM pg_replication_slots
  WHERE slot_name = :'slot' AND NOT active"""
UNKNOWN = dict.fromkeys(("received", "streaming", "standbys", "synchronous", "slots"))


def commits(text):
    """Return where the commits end in what pg_waldump prints."""
    found = re.findall(
        r"^rmgr: Transaction +len \(rec/tot\): *\d+/ *(\d+),.* lsn: (\S+),.* desc: COMMIT", text, re.MULTILINE
    )
    return [_lsn.text(_lsn.end(_lsn.place(begin), int(length))) for length, begin in found]


class Member:
    """A cluster of Debian's."""

    def __init__(self, module):
        given = module.params
        self.module, self.cluster = module, given["cluster"]
        self.version = given["version"] or self.only_version()
        self.port = given["port"]
        self.folder = f"/etc/postgresql/{self.version}/{self.cluster}"
        self.unit = f"postgresql@{self.version}-{self.cluster}.service"
        self.where = f"the server {self.version}/{self.cluster}"

    # What it is

    def look(self):
        """Return what the server is, see RETURN."""
        if not os.path.exists(f"{self.folder}/postgresql.conf"):
            found = dict.fromkeys(("started", "enabled", "member", "standby", "unit", "folder"))
            return {"there": False, "up": False, "why": "", **found, **UNKNOWN}
        answer, why = self.ask()
        data = self.data()
        found = {
            "there": True,
            "started": os.path.exists(f"{data}/postmaster.opts"),
            "enabled": self.start_conf() == "auto",
            "member": os.path.exists(f"{self.folder}/conf.d/zodb-standby.conf"),
            "up": answer is not None,
            "why": why,
            "unit": self.unit,
            "folder": self.folder,
            "standby": os.path.exists(f"{data}/standby.signal"),
        }
        return {**found, **(answer or UNKNOWN)}

    def only_version(self):
        """Return the version of which there is a cluster of the name."""
        found = sorted(path.split("/")[3] for path in glob.glob(f"/etc/postgresql/*/{self.cluster}/postgresql.conf"))
        if len(found) != 1:
            versions = " and ".join(found) or "no version"
            self.fail(f"there is a cluster {self.cluster} of {versions} of PostgreSQL; say which version.")
        return found[0]

    def ask(self, query=QUERY, seconds=ANSWER, **values):
        """Return what the server answers, as JSON, and why it does not. values: of psql's variables in the query."""
        variables = [word for name, value in values.items() for word in ("-v", f"{name}={value}")]
        psql = ["psql", "-XAtq", "-h", SOCKETS, "-p", str(self.port), "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
        code, out, err = self.as_owner(["timeout", str(seconds), *psql, *variables], check=False, data=query)
        if code == 0:
            return json.loads(out), ""
        return None, "it does not answer" if code == 124 else " ".join(err.split()).rpartition("failed: ")[2]

    def data(self):
        """Return the folder of the data."""
        with open(f"{self.folder}/postgresql.conf", encoding="utf-8", errors="replace") as file:
            found = re.findall(r"^\s*data_directory\s*=?\s*'([^']*)'", file.read(), re.MULTILINE)
        return found[-1] if found else f"/var/lib/postgresql/{self.version}/{self.cluster}"

    def tool(self, name):
        """Return the path of a command of this version."""
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"

    def run(self, command, check=True, **options):
        """Run a command; where it has to succeed, end the module with its last words if it fails."""
        code, out, err = self.module.run_command(command, cwd="/", **options)
        if check and code:
            words = (err.strip() or out.strip()).splitlines()
            self.fail(f"{self.where}: {os.path.basename(command[0])} failed: {words[-1] if words else code}.")
        return code, out, err

    def as_owner(self, command, **options):
        """Run a command as the account that the data belong to."""
        return self.run(["runuser", "-u", "postgres", "--", *command], **options)

    def control(self, name):
        """Return what a server's control file has by this name; also of one that does not run."""
        command = [self.tool("pg_controldata"), "-D", self.data()]
        _code, out, _err = self.as_owner(command, environ_update={"LC_ALL": "C"})
        return re.search(rf"^{name}: +(.*)", out, re.MULTILINE)[1]

    def fail(self, sentence):
        """End the module with a sentence."""
        self.module.fail_json(msg=sentence)

    # Whether it starts

    def start_conf(self):
        """Return the word of start.conf: auto, manual or disabled."""
        try:
            with open(f"{self.folder}/start.conf", encoding="utf-8") as file:
                words = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        except FileNotFoundError:
            words = []
        return words[-1] if words else "auto"

    def set_start_conf(self, word):
        """Write another word there, and have systemd's generator read it."""
        path = f"{self.folder}/start.conf"
        text = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text = file.read()
        kept = "".join(line for line in text.splitlines(keepends=True) if not line.strip() or line.startswith("#"))
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(f"{kept}{word}\n")
            os.fchmod(file.fileno(), 0o644)
        self.module.set_owner_if_different(path + ".new", "postgres", False)
        self.module.set_group_if_different(path + ".new", "postgres", False)
        os.replace(path + ".new", path)
        self.run(["systemctl", "daemon-reload"])

    def runs(self):
        """Return whether a postmaster holds the data."""
        code, _out, _err = self.as_owner([self.tool("pg_ctl"), "-D", self.data(), "status"], check=False)
        return code == 0

    def stop(self):
        """Stop the server, and wait for it. Clean first, so that its standbys get all that it has."""
        self.run(["timeout", str(PATIENCE), "systemctl", "stop", self.unit], check=False)
        if self.runs():
            self.as_owner([self.tool("pg_ctl"), "-D", self.data(), "-m", "immediate", "-w", "stop"], check=False)
        if self.runs():
            self.fail(f"{self.where} does not stop; kill it, then run this again.")
        self.run(["systemctl", "stop", self.unit], check=False)

    # The acts; each returns whether something was to be changed, and further results.

    def fence(self, found):
        since = self.module.params["since"]
        changed = found["there"] and (self.start_conf() != "disabled" or self.runs())
        if changed and not self.module.check_mode:
            self.set_start_conf("disabled")
            self.stop()
        result = {"commits": []}
        # Of one that still runs in check mode, nobody can tell yet what it hands out when it stops.
        if since and found["there"] and not self.runs():
            result["commits"] = self.commits_since(since)
        return changed, result

    def commits_since(self, since):
        """Return where the commits end in the log of transactions from a place on. At its end pg_waldump fails."""
        where = ["-p", f"{self.data()}/pg_wal", "-t", self.control("Latest checkpoint's TimeLineID"), "-s", since]
        return commits(self.as_owner([self.tool("pg_waldump"), *where, "-r", "Transaction"], check=False)[1])

    def promote(self, found):
        given = self.module.params
        if not found["up"]:
            self.fail(
                f"{self.where} cannot be promoted, {found['why'] or 'it is not there'}; start it, or promote another."
            )
        needs = given["needs"]
        lost = bool(needs and found["standby"] and _lsn.place(found["received"]) < _lsn.place(needs))
        if lost and not given["accept_loss"]:
            self.fail(
                f"{self.where} has the log of transactions up to {found['received']}, and the last commit of its "
                f"primary ends at {needs}; start that one again, or lose what is between with accept_loss=true."
            )
        missing = [slot for slot in given["slots"] if slot not in found["slots"]]
        if not self.module.check_mode:
            if found["standby"] and not self.ask(PROMOTE, PROMOTION + ANSWER, wait=PROMOTION)[0]:
                self.fail(f"{self.where} did not become primary within {PROMOTION} s; look into its log.")
            for slot in missing:
                answer, why = self.ask(SLOT, slot=slot)
                if answer is None:
                    self.fail(f"{self.where} is the primary, but could not make the slot {slot}: {why}.")
        return found["standby"] or bool(missing), {"lost": lost}

    def forget(self, found):
        slot = self.module.params["slot"]
        changed = slot in (found["slots"] or [])
        if changed and not self.module.check_mode:
            self.drop(slot)
        return changed, {}

    def drop(self, slot):
        """Drop a slot as soon as nobody is connected by it."""
        end = time.monotonic() + PARTING
        while True:
            dropped, why = self.ask(DROP, slot=slot)
            if dropped:
                return
            if why:
                self.fail(f"{self.where} could not drop the slot {slot}: {why}.")
            if time.monotonic() > end:
                self.fail(f"{self.where} still sends its log to the standby of the slot {slot}; stop that first.")
            time.sleep(0.5)

    def follow(self, found):
        if not found["there"]:
            self.fail(f"{self.where} is not there; make it with pg_createcluster.")
        if found["standby"] and found["streaming"]:
            return False, {}
        if self.module.check_mode:
            return True, {}
        if found["started"]:
            self.rewind()
        else:
            self.copy()
        self.set_start_conf("auto")
        return True, {}

    def copy(self):
        """Put a copy of the primary's data in the place of data that no server has ever used."""
        data, source = self.data(), self.module.params["source"]
        half = data + ".zodb-copy"  # what a copy that was cut off has left
        self.as_owner(["rm", "-rf", "--", half])
        command = [self.tool("pg_basebackup"), "-D", half, "-X", "stream", "-c", "fast", "-d", source]
        self.as_owner([*command, "-S", self.module.params["slot"]])
        self.signal(half)
        if self.runs() or os.path.exists(f"{data}/postmaster.opts"):
            self.fail(f"{self.where} was started meanwhile; remove it with pg_dropcluster --stop, then run this again.")
        self.as_owner(["rm", "-rf", "--", data])
        os.rename(half, data)

    def rewind(self):
        """Take back what the primary does not have. A server that did not stop by itself has to come to rest first."""
        data = self.data()
        self.stop()
        conf = f"{self.folder}/postgresql.conf"
        if self.control("Database cluster state") not in ("shut down", "shut down in recovery"):
            # Alone, without a socket: no client can reach it.
            self.as_owner(
                [self.tool("postgres"), "--single", "-F", "-D", data, "-c", f"config_file={conf}", "template1"], data=""
            )
        command = [self.tool("pg_rewind"), "--target-pgdata", data, "--source-server", self.module.params["source"]]
        code, out, err = self.as_owner(command, check=False)
        if code:
            self.fail(
                f"{self.where} cannot go back to where the primary has left it: "
                f"{(err or out).strip().splitlines()[-1]}; "
                f"remove it with pg_dropcluster {self.version} {self.cluster}, then let it be copied anew with "
                "tasks_from=replication."
            )
        for slot in os.listdir(f"{data}/pg_replslot"):  # of its time as primary: they would hold the log for ever
            self.as_owner(["rm", "-rf", "--", f"{data}/pg_replslot/{slot}"])
        self.signal(data)

    def signal(self, data):
        """Have the server that starts from this folder be a standby."""
        self.as_owner(["touch", f"{data}/standby.signal"])


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("act", "follow", ("source", "slot")), ("act", "forget", ("slot",))],
    )
    member = Member(module)
    found, act = member.look(), module.params["act"]
    changed, further = getattr(member, act)(found) if act else (False, {})
    if changed and not module.check_mode:
        found = member.look()
    module.exit_json(changed=changed, server=found, **further)


if __name__ == "__main__":
    main()
