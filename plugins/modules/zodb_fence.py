#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodb_fence
short_description: Tell who has a ZODB storage open, and make one of PostgreSQL read-only
version_added: "0.2.0"
description:
  - For the role P(pyams.zodb.migrate#role). Nobody can write to a fenced storage, whatever the role in the database, or
    pack it. It can be read.
  - The fence is a trigger on RelStorage's tables, C(pyams_zodb_fence), which is put up when the commits that are under
    way have ended. The other sessions of the same role are then ended, so that nobody goes on with what is old.
  - Storages of other kinds are looked at only. A FileStorage of a ZEO server is fenced by C(read_only) of its entry in
    the role P(pyams.zodb.zeo_server#role).
requirements:
  - a virtualenv with Python 3.11 or newer, RelStorage 4 and the database's driver
extends_documentation_fragment:
  - pyams.zodb.description.storage
  - pyams.zodb.description.virtualenv
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing and tells what would be changed.
  diff_mode:
    support: none
  platform:
    platforms: posix
    support: full
    details: Connections to ZEO servers of the host and holders of locks come from Linux's C(/proc).
options:
  read_only:
    description: Whether the storage is to be fenced. Nothing is changed if absent.
    type: bool
seealso:
  - module: pyams.zodb.zodb_info
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Make a database read-only
  pyams.zodb.zodb_fence:
    virtualenv: /opt/zodb/relstorage
    storage:
      postgresql:
        dbname: pyams
    read_only: true
  register: fenced
"""

RETURN = r"""
read_only:
  description: Whether it is fenced afterwards. Null for other kinds than PostgreSQL.
  returned: always
  type: bool
clients:
  description: >-
    Who had it open: sessions of the database; connections to a ZEO server that runs on this host; the process that has
    a FileStorage open for writing, or SQLite's files.
  returned: always
  type: list
  elements: str
  sample: ["pyams from 10.0.0.7, session 4242, RS: Store"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyams.zodb.plugins.module_utils import _agent_run, _host, _storage

ARGUMENTS = {
    "storage": {"type": "dict", "required": True, "options": _storage.argument_spec()},
    "virtualenv": {"type": "path", "required": True},
    "read_only": {"type": "bool"},
}


def look(kind, options):
    """Return who has a storage open that is no database with sessions."""
    if kind == "zeo":
        return [client for server in options["server"] for client in _host.connected(server)]
    if kind == "filestorage":
        pids = [_host.lock_holder(options["path"] + ".lock")[1]]
    elif kind == "sqlite":
        pids = _host.sqlite_lockers(options["data_dir"])
    else:
        pids = []
    return [_host.named(pid) for pid in pids if pid]


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    description, read_only = module.params["storage"], module.params["read_only"]
    try:
        ((kind, options),) = _storage.normalise(description).items()
        if kind == "postgresql" or read_only is not None:
            agent = _agent_run.Agent(module.params["virtualenv"], [description])
            place = _agent_run.place(description)
            found = agent.ask("fence", storage=place, up=read_only, do=not module.check_mode)
        else:
            found = {"changed": False, "read_only": None, "clients": look(kind, options)}
    except (_storage.Refused, _agent_run.Failed) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**found)


if __name__ == "__main__":
    main()
