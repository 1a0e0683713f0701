#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodb_fence
short_description: Tell who has a ZODB storage open, and keep everybody from writing to it
version_added: "0.2.0"
description:
  - For the role P(pyams.zodb.migrate#role). Nobody can write to a fenced storage, whatever the role in the database, or
    pack it. It can be read.
  - The fence is a trigger on RelStorage's tables, C(pyams_zodb_fence), which is put up when the commits that are under
    way have ended. The other sessions of the same role are then ended, so that nobody goes on with what is old.
  - A ZEO server is stopped, which takes no longer than its process needs to end. To serve the storage again, read-only,
    there is C(read_only) of its entry in the role P(pyams.zodb.zeo_server#role).
  - Storages of other kinds are looked at only.
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
    description: Whether a database is to be fenced. Nothing is changed if absent.
    type: bool
  server_stop:
    description: >-
      For a ZEO server of this host, the command that stops it, as a list. Waited for until the process that listens has
      ended, or else until the command has. It is an error if somebody listens then.
    type: list
    elements: str
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

- name: Stop a ZEO server, and learn whom that cuts off
  pyams.zodb.zodb_fence:
    virtualenv: /opt/zodb/relstorage
    storage:
      zeo:
        server: [127.0.0.1:8100]
        storage: pyams
    server_stop: [systemctl, stop, zeo-pyams.service]
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
from ansible_collections.pyams.zodb.plugins.module_utils import (
    _agent_run,
    _host,
    _storage,
    _zeo_stop,
)

ARGUMENTS = {
    "storage": {"type": "dict", "required": True, "options": _storage.argument_spec()},
    "virtualenv": {"type": "path", "required": True},
    "read_only": {"type": "bool"},
    "server_stop": {"type": "list", "elements": "str"},
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
    description, read_only, command = (module.params[name] for name in ("storage", "read_only", "server_stop"))
    try:
        ((kind, options),) = _storage.normalise(description).items()
        if command and kind != "zeo":
            raise _storage.Refused(
                f"server_stop is given for a storage of the kind {kind}; only a ZEO server is stopped."
            )
        if kind in ("postgresql", "newt") or read_only is not None:
            agent = _agent_run.Agent(module.params["virtualenv"], [description])
            place = _agent_run.place(description)
            found = agent.ask("fence", storage=place, up=read_only, do=not module.check_mode)
        else:
            found = {"changed": False, "read_only": None, "clients": look(kind, options)}
            if command and module.check_mode:
                found["changed"] = bool(_zeo_stop.sockets(options["server"]))
            elif command:
                found["changed"] = _zeo_stop.stop(options["server"], command)
    except (_storage.Refused, _agent_run.Failed) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**found)


if __name__ == "__main__":
    main()
