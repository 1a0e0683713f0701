#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodb_info
short_description: Tell what is in a ZODB storage
version_added: "0.2.0"
description:
  - Tells of one storage which transaction is its last, how many objects, transactions and blobs it has, whether it
    keeps history, and of which versions the software is.
  - Works while the storage is in use, changes nothing and takes no lock. What is not there is reported as missing and
    never made. No object is unpickled, so the classes of the application are not needed.
  - A FileStorage whose index is not current is read from where the index ends, which takes a second for some 150 MB.
requirements:
  - a virtualenv with Python 3.11 or newer and the packages that open the storage
extends_documentation_fragment:
  - pyams.zodb.description.storage
  - pyams.zodb.description.virtualenv
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing, so it does the same in check mode.
  diff_mode:
    support: N/A
    details: Changes nothing.
  platform:
    platforms: posix
    support: full
    details: The holder of a FileStorage's lock comes from Linux's C(/proc).
options:
  count:
    description:
      - V(exact) counts, which reads the whole of some storages.
      - V(fast) tells of objects what the storage knows by itself, which for PostgreSQL and MySQL is the estimate of the
        query planner, and leaves RV(transactions), RV(packed) and RV(blobs) null.
    type: str
    choices: [exact, fast]
    default: exact
  references:
    description:
      - Whether to look for references to objects that are not there, RV(dangling). Reads every current object.
    type: bool
    default: false
seealso:
  - module: pyams.zodb.zodbconvert
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look at a FileStorage that a ZEO server may have open
  pyams.zodb.zodb_info:
    virtualenv: /opt/zodb/zeo-pyams
    storage:
      filestorage:
        path: /var/lib/zodb/pyams/pyams/Data.fs
        blob_dir: /var/lib/zodb/pyams/pyams/blobs
  register: served

- name: Ask the server itself, without counting
  pyams.zodb.zodb_info:
    virtualenv: /opt/zodb/zeo-pyams
    count: fast
    storage:
      zeo:
        server: 127.0.0.1:8100
        storage: pyams
  register: asked

- name: Look for references to objects that are not there
  pyams.zodb.zodb_info:
    virtualenv: /opt/zodb/zeo-pyams
    references: true
    storage:
      filestorage:
        path: /var/lib/zodb/pyams/pyams/Data.fs
  register: read

- name: Stop unless the server serves that file
  ansible.builtin.assert:
    that: asked.last_tid == served.last_tid
"""

RETURN = r"""
reachable:
  description: Whether what holds the storage answers and lets us look.
  returned: always
  type: bool
exists:
  description: Whether the storage is there. Null if it is not reachable.
  returned: always
  type: bool
error:
  description: What is missing or does not answer, in a sentence. Null if the storage is there.
  returned: always
  type: str
  sample: there is no file /var/lib/zodb/pyams/pyams/Data.fs.
kind:
  description: >-
    Of which kind the storage is, also if its section was given as C(zconfig). V(postgresql) for NewtDB too, see
    RV(json).
  returned: always
  type: str
  sample: filestorage
location:
  description: >-
    The file of a FileStorage, the folder of a SQLite database, or the file that a ZEO server of this host has open.
    Null for others.
  returned: always
  type: str
  sample: /var/lib/zodb/pyams/pyams/Data.fs
blob_dir:
  description: The folder of blobs, or of cached blobs, as described. Null without one.
  returned: always
  type: str
  sample: /var/lib/zodb/pyams/pyams/blobs
last_tid:
  description: Id of the last finished transaction. Zero for an empty storage, null if there is none.
  returned: always
  type: str
  sample: "0x040d3e96076b6299"
last_time:
  description: When that was committed, in UTC. Null for an empty storage.
  returned: always
  type: str
  sample: "2026-11-25T03:34:01.738Z"
objects:
  description: >-
    Number of objects, without those whose creation was undone. With O(count=fast) those may be among them, and
    databases give an estimate.
  returned: always
  type: int
  sample: 85012
bytes:
  description: >-
    Size of the file of a FileStorage, of the database otherwise; blobs that lie in files are not in it.
  returned: always
  type: int
  sample: 184549376
keeps_history:
  description: Whether it keeps old revisions until it is packed.
  returned: always
  type: bool
transactions:
  description: Number of transactions. Null for a storage without history, and with O(count=fast).
  returned: always
  type: int
  sample: 20044
packed:
  description: >-
    Id of the last transaction that a pack has looked at. Null if there was none, if the storage does not keep it, as
    one without history, and with O(count=fast).
  returned: always
  type: str
  sample: "0x040d3e7700000000"
packed_time:
  description: When that transaction was committed, in UTC.
  returned: always
  type: str
  sample: "2026-11-24T22:15:00.000Z"
blobs:
  description: Blobs in all revisions that are kept. Null values if they are not known, and with O(count=fast).
  returned: always
  type: dict
  contains:
    count:
      description: Their number. Of a ZEO server whose folder of blobs is not shared, those of current revisions.
      returned: always
      type: int
      sample: 2000
    bytes:
      description: Their size. Null for a ZEO server whose folder of blobs is not shared.
      returned: always
      type: int
      sample: 102400000
index:
  description: >-
    Of a FileStorage, the state of its saved index: V(current); V(behind), if the rest of the file is read at each
    start, as it is beside a running server; V(missing); or V(unusable).
  returned: always
  type: str
  sample: current
dangling:
  description: >-
    References to objects that are not there, at which an application would get a C(POSKeyError). Weak references and
    those to other databases are left out. Null without O(references).
  returned: always
  type: dict
  contains:
    count:
      description: Number of objects that are referred to and not there.
      returned: always
      type: int
      sample: 0
    first:
      description: >-
        The first five of them, each as C(oid) with the C(referrer), one of the objects that refer to it.
      returned: always
      type: list
      elements: dict
      sample: [{"oid": "0x0000000000000c01", "referrer": "0x00000000000000a4"}]
json:
  description: >-
    Of a PostgreSQL database with NewtDB's table C(newt), its copies of objects as JSON. Null for others, and where the
    table cannot be read.
  returned: always
  type: dict
  contains:
    rows:
      description: Their number. Objects without a useful JSON have none. Null with O(count=fast).
      returned: always
      type: int
      sample: 84020
    tid:
      description: >-
        Id of the last transaction that C(newt-updater) has seen. Zero if it is to begin, null if it has never run, and
        while M(pyams.zodb.zodbconvert) copies into the database.
      returned: always
      type: str
      sample: "0x040d3e96076b6299"
    waiting:
      description: Objects in later transactions. Null where RV(json.tid) is, and with O(count=fast).
      returned: always
      type: int
      sample: 0
lock:
  description: Who has a FileStorage open for writing. Null for others.
  returned: always
  type: dict
  contains:
    held:
      description: Whether its lock is held.
      returned: always
      type: bool
    pid:
      description: Number of the process, null if it cannot be seen.
      returned: always
      type: int
      sample: 1234
    program:
      description: What the process runs, null if it cannot be seen.
      returned: always
      type: str
      sample: /opt/zodb/zeo-pyams/bin/python3 /opt/zodb/zeo-pyams/bin/runzeo
    unit:
      description: Its systemd unit, null if it has none.
      returned: always
      type: str
      sample: zeo-pyams.service
versions:
  description: Versions of the software, null for what is not there.
  returned: always
  type: dict
  contains:
    python:
      description: Python of the virtualenv.
      returned: always
      type: str
      sample: 3.11.2
    zodb:
      description: ZODB of the virtualenv.
      returned: always
      type: str
      sample: "6.4"
    zeo:
      description: ZEO of the virtualenv.
      returned: always
      type: str
      sample: "6.2"
    relstorage:
      description: RelStorage of the virtualenv.
      returned: always
      type: str
      sample: 4.3.0
    server:
      description: The database.
      returned: always
      type: str
      sample: 15.18 (Debian 15.18-0+deb12u1)
    driver:
      description: Name of the database's driver.
      returned: always
      type: str
      sample: psycopg2
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyams.zodb.plugins.module_utils import (
    _agent_run,
    _host,
    _storage,
    _tid,
)

ARGUMENTS = {
    "storage": {"type": "dict", "required": True, "options": _storage.argument_spec()},
    "virtualenv": {"type": "path", "required": True},
    "count": {"type": "str", "choices": ["exact", "fast"], "default": "exact"},
    "references": {"type": "bool", "default": False},
}


def facts(params):
    """Return the documented result. Raises Refused and Failed."""
    agent = _agent_run.Agent(params["virtualenv"], [params["storage"]])
    found = agent.ask(
        "info",
        storage=_agent_run.place(params["storage"]),
        exact=params["count"] == "exact",
        references=params["references"],
    )
    found["error"] = found["error"] and agent.mask(found["error"])
    return {
        # A result called path would make Ansible add that file's owner and mode.
        **{key: value for key, value in found.items() if key not in ("blob_bytes", "path")},
        "location": found["path"],
        "last_time": _tid.time_of(found["last_tid"]),
        "packed_time": _tid.time_of(found["packed"]),
        "blobs": {"count": found["blobs"], "bytes": found["blob_bytes"]},
        "lock": _lock(found["path"]) if found["kind"] == "filestorage" else None,
    }


def _lock(path):
    held, pid = _host.lock_holder(path + ".lock")
    return {"held": held, **_host.process(pid)}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        found = facts(module.params)
    except (_storage.Refused, _agent_run.Failed) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
