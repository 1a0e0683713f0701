#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodb_host_info
short_description: Look at a host before and after serving ZODB storages
version_added: "0.1.0"
description:
  - Answers in one task what a role asks of a host, such as which users exist, which ports are taken and by what,
    whether a service is older than its configuration, who holds a FileStorage, and whether a certificate fits its key.
  - Changes nothing, opens no storage and takes no lock. What is not there is reported as not there, never an error.
  - An ordinary user sees other users' processes in part only. What cannot be seen is null.
extends_documentation_fragment:
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
    details: Sockets, locks and process times come from Linux's C(/proc).
options:
  users:
    description: Names of users.
    type: list
    elements: str
    default: []
  groups:
    description: Names of groups.
    type: list
    elements: str
    default: []
  python:
    description: Path or name of a Python interpreter.
    type: str
  paths:
    description: Files, folders or links. Links are not followed.
    type: list
    elements: path
    default: []
  folders:
    description: Folders to list.
    type: list
    elements: path
    default: []
  listens:
    description: >-
      Addresses where something may listen. Each is C(host:port), C([IPv6]:port), C(:port) for any address,
      a port alone for 127.0.0.1, or the absolute path of a unix socket.
    type: list
    elements: str
    default: []
  services:
    description: Services of systemd, or programs under zdaemon.
    type: list
    elements: dict
    default: []
    suboptions:
      unit:
        description: >-
          Name of the unit, with its suffix.
          With O(services[].zdaemon), only the name under which the result is returned.
        type: str
        required: true
      files:
        description: Files that the service reads when it starts. What is not there is left out of account.
        type: list
        elements: path
      zdaemon:
        description: The command, as a list, that prints zdaemon's status. If absent, systemd is asked.
        type: list
        elements: str
  file_storages:
    description: Data files of FileStorages (C(Data.fs)).
    type: list
    elements: path
    default: []
  sqlite_databases:
    description: Files of SQLite databases.
    type: list
    elements: path
    default: []
  certificates:
    description: TLS certificates in PEM files. Of a file with several, the first is meant.
    type: list
    elements: dict
    default: []
    suboptions:
      cert:
        description: Path of the certificate.
        type: path
        required: true
      key:
        description: Path of its private key, which is read and not returned.
        type: path
      ca:
        description: >-
          Path of a file, or a folder after C(openssl rehash), with the authorities or pinned certificates that are to
          accept it.
        type: path
      purpose:
        description: What the certificate is for.
        type: str
        choices: [server, client]
        default: server
  wheelhouse:
    description: Path of a folder with Python distributions.
    type: path
  read:
    description: Text files to return the content of, up to 64 KiB each. Not for secrets.
    type: list
    elements: path
    default: []
seealso:
  - module: pyams.zodb.zodb_files
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look before the server is set up
  pyams.zodb.zodb_host_info:
    users: [zodb]
    python: /usr/bin/python3
    listens: ["127.0.0.1:8100"]
    file_storages: [/var/lib/zodb/pyams/pyams/Data.fs]
  register: host

- name: Ask which services have to be restarted
  pyams.zodb.zodb_host_info:
    services:
      - unit: zeo-pyams.service
        files: [/etc/zodb/zeo-pyams.conf, /etc/systemd/system/zeo-pyams.service, /opt/zodb/zeo-pyams]
  register: look

- name: Restart them
  ansible.builtin.systemd_service:
    name: "{{ item.key }}"
    state: restarted
  loop: "{{ look.services | dict2items | selectattr('value.outdated') }}"
  loop_control:
    label: "{{ item.key }}"
"""

RETURN = r"""
host:
  description: The host and the running user.
  returned: always
  type: dict
  contains:
    euid:
      description: Effective user id of the task.
      returned: always
      type: int
      sample: 0
    user:
      description: Name of that user.
      returned: always
      type: str
      sample: root
    hostname:
      description: The host's name.
      returned: always
      type: str
      sample: zeo1
    fqdn:
      description: Its full name, or C(hostname) if no resolver tells one within 2 seconds.
      returned: always
      type: str
      sample: zeo1.example.org
    systemd:
      description: Whether systemd runs the host.
      returned: always
      type: bool
    distribution:
      description: C(ID) of C(/etc/os-release), null without one.
      returned: always
      type: str
      sample: debian
    version:
      description: C(VERSION_ID) of C(/etc/os-release), null without one.
      returned: always
      type: str
      sample: "12"
    memory:
      description: Bytes of memory.
      returned: always
      type: int
      sample: 25278341120
    python_version:
      description: Python that ran this module.
      returned: always
      type: str
      sample: 3.11.2
users:
  description: By name, what is known of each user; all null but C(exists) for one that is not there.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether there is one.
      returned: always
      type: bool
    uid:
      description: Number.
      returned: always
      type: int
      sample: 998
    gid:
      description: Number of its group.
      returned: always
      type: int
      sample: 998
    home:
      description: Home folder.
      returned: always
      type: str
      sample: /var/lib/zodb
    shell:
      description: Shell.
      returned: always
      type: str
      sample: /usr/sbin/nologin
groups:
  description: By name, what is known of each group.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether there is one.
      returned: always
      type: bool
    gid:
      description: Number, null if there is none.
      returned: always
      type: int
      sample: 998
python:
  description: The interpreter of O(python); null without that option.
  returned: always
  type: dict
  contains:
    path:
      description: Its path, as found; what was given if there is none.
      returned: always
      type: str
      sample: /usr/bin/python3
    exists:
      description: Whether it is there and runs.
      returned: always
      type: bool
    version:
      description: Major and minor version, null if it does not run.
      returned: always
      type: str
      sample: "3.11"
    venv:
      description: Whether it can make virtualenvs with pip (C(import ensurepip, venv) works).
      returned: always
      type: bool
paths:
  description: By path, what is there. All keys are null but C(exists), C(free) and C(file_system) if nothing is.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether anything is there.
      returned: always
      type: bool
    type:
      description: One of C(file), C(directory), C(link), C(other).
      returned: always
      type: str
      sample: file
    owner:
      description: Name of the owner.
      returned: always
      type: str
      sample: root
    group:
      description: Name of the group.
      returned: always
      type: str
      sample: zodb
    uid:
      description: Number of the owner.
      returned: always
      type: int
      sample: 0
    gid:
      description: Number of the group.
      returned: always
      type: int
      sample: 998
    mode:
      description: Permissions.
      returned: always
      type: str
      sample: "0640"
    size:
      description: Bytes.
      returned: always
      type: int
      sample: 812
    mtime:
      description: Last change, in seconds since the epoch.
      returned: always
      type: float
      sample: 1732490000.25
    target:
      description: What a link says, else null.
      returned: always
      type: str
    free:
      description: Bytes an ordinary user can still write on the file system that it is on, or would be on.
      returned: always
      type: int
      sample: 41943040000
    file_system:
      description: Type of that file system, null if it cannot be told.
      returned: always
      type: str
      sample: ext4
folders:
  description: By path, the sorted names of everything in the folder; null if there is no such folder.
  returned: always
  type: dict
  sample: {/etc/zodb/tls/zeo-pyams-clients: [5d3f1a70.0, app1.pem]}
listens:
  description: By address as given, what listens there.
  returned: always
  type: dict
  contains:
    in_use:
      description: Whether something listens there that would keep another server off.
      returned: always
      type: bool
    pid:
      description: Its process, null if there is none or it cannot be seen.
      returned: always
      type: int
      sample: 4711
    program:
      description: Its program, and script if that is an interpreter; null as for C(pid).
      returned: always
      type: str
      sample: /opt/zodb/zeo-pyams/bin/python /opt/zodb/zeo-pyams/bin/runzeo
    unit:
      description: Its unit of systemd, null as for C(pid), or if it is in none.
      returned: always
      type: str
      sample: zeo-pyams.service
    error:
      description: What is wrong with the address, else null.
      returned: always
      type: str
services:
  description: By unit as given, its state.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether systemd knows the unit; with zdaemon, whether the command's program is there.
      returned: always
      type: bool
    active:
      description: Whether it is active.
      returned: always
      type: bool
    state:
      description: >-
        systemd's C(ActiveState), for example C(active), C(inactive), C(failed), C(activating); null if the
        unit is unknown.
      returned: always
      type: str
    enabled:
      description: Whether it starts with the host; null if that is not systemd's to say.
      returned: always
      type: bool
    main_pid:
      description: Its process, null if there is none.
      returned: always
      type: int
      sample: 4711
    started:
      description: >-
        When its process started, or the unit if it has none, in seconds since the epoch; null if neither
        runs.
      returned: always
      type: float
      sample: 1732490000.25
    newest:
      description: Date of the newest of its files, in seconds since the epoch; null if none is there.
      returned: always
      type: float
      sample: 1732490000.25
    newest_file:
      description: The newest of its files, null if none is there.
      returned: always
      type: str
      sample: /etc/zodb/zeo-pyams.conf
    outdated:
      description: Whether it runs since before the newest of its files.
      returned: always
      type: bool
    needs_reload:
      description: Whether its unit file changed since systemd read it.
      returned: always
      type: bool
file_storages:
  description: By path, what is known of each FileStorage.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether the data file is there.
      returned: always
      type: bool
    magic:
      description: >-
        Its first four characters: C(FS30), or C(FS21) of Python 2; null if they cannot be read, or are no
        text.
      returned: always
      type: str
      sample: FS30
    size:
      description: Bytes, null if it is not there.
      returned: always
      type: int
      sample: 1048576
    owner:
      description: Name of the owner, null if it is not there.
      returned: always
      type: str
      sample: zodb
    group:
      description: Name of the group, null if it is not there.
      returned: always
      type: str
      sample: zodb
    locked:
      description: Whether a process holds its lock.
      returned: always
      type: bool
    lock_pid:
      description: That process, null if there is none or it cannot be seen.
      returned: always
      type: int
      sample: 4711
    lock_program:
      description: Its program, as in C(listens).
      returned: always
      type: str
    lock_unit:
      description: Its unit, as in C(listens).
      returned: always
      type: str
    error:
      description: Why it cannot be read, else null.
      returned: always
      type: str
sqlite_databases:
  description: By path, what is known of each SQLite database.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether the file is there.
      returned: always
      type: bool
    tables:
      description: Names of its tables, sorted; null if it is not there or cannot be read.
      returned: always
      type: list
      elements: str
      sample: [blob_chunk, object_state]
    blobs:
      description: Whether RelStorage has blobs in it; null likewise.
      returned: always
      type: bool
    error:
      description: Why it cannot be read, else null.
      returned: always
      type: str
      sample: file is not a database
    pids:
      description: Processes that have it open, as far as they can be seen.
      returned: always
      type: list
      elements: int
      sample: [4711]
certificates:
  description: By path of the certificate, what is known of each.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether the file is there.
      returned: always
      type: bool
    readable:
      description: Whether a certificate could be read from it.
      returned: always
      type: bool
    not_before:
      description: Start of its validity, in seconds since the epoch; null if not readable.
      returned: always
      type: int
      sample: 1732490000
    not_after:
      description: End of its validity, likewise.
      returned: always
      type: int
      sample: 1764026000
    names:
      description: DNS names and IP addresses that it is for; null if not readable.
      returned: always
      type: list
      elements: str
      sample: [zeo1.example.org, 10.0.0.5]
    expired:
      description: Whether that is over; null if not readable.
      returned: always
      type: bool
    days_left:
      description: Days until then, negative afterwards; null if not readable.
      returned: always
      type: float
      sample: 364.9
    key_matches:
      description: >-
        Whether the key is the certificate's; null without O(certificates[].key), or if either cannot be read.
      returned: always
      type: bool
    trusted:
      description: >-
        Whether O(certificates[].ca) accepts it today, by the rules that ZEO has for TLS; null without that or
        a matching key.
      returned: always
      type: bool
    error:
      description: The first thing that is wrong, else null.
      returned: always
      type: str
wheelhouse:
  description: The folder of O(wheelhouse); null without that option.
  returned: always
  type: dict
  contains:
    exists:
      description: Whether the folder is there and can be read.
      returned: always
      type: bool
    files:
      description: Names of the files in it, sorted.
      returned: always
      type: list
      elements: str
read:
  description: >-
    By path, the content of each file; null if it is not there, not readable, not UTF-8, or larger than 64 KiB.
  returned: always
  type: dict
  sample: {/etc/zodb/zeo-pyams.toml: "service = ..."}
"""

import grp
import os
import platform
import pwd
import shutil
import socket
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyams.zodb.plugins.module_utils import _certificate, _files, _host

SERVICE = {
    "unit": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "path"},
    "zdaemon": {"type": "list", "elements": "str"},
}
CERTIFICATE = {
    "cert": {"type": "path", "required": True},
    "key": {"type": "path", "no_log": False},
    "ca": {"type": "path"},
    "purpose": {"type": "str", "choices": ["server", "client"], "default": "server"},
}
ARGUMENTS = {
    "users": {"type": "list", "elements": "str", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "str"},
    "paths": {"type": "list", "elements": "path", "default": []},
    "folders": {"type": "list", "elements": "path", "default": []},
    "listens": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "list", "elements": "dict", "default": [], "options": SERVICE},
    "file_storages": {"type": "list", "elements": "path", "default": []},
    "sqlite_databases": {"type": "list", "elements": "path", "default": []},
    "certificates": {"type": "list", "elements": "dict", "default": [], "options": CERTIFICATE},
    "wheelhouse": {"type": "path"},
    "read": {"type": "list", "elements": "path", "default": []},
}

LARGEST_READ = 64 * 1024  # bytes
CLOCK_SLACK = 0.01  # seconds; the kernel dates a file by its last tick, up to 10 ms ago
PROPERTIES = (
    "LoadState,ActiveState,UnitFileState,MainPID,NeedDaemonReload,"
    "ExecMainStartTimestamp,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic"
)
# Unit files that nobody can enable or disable as they are
NOT_TO_ENABLE = ("static", "generated", "indirect", "transient")


class Host:
    """What one host answers. Each method answers for one option, and raises nothing for what is not there."""

    def __init__(self, module):
        self.module = module

    def result(self):
        params = {key: value if value is not None else [] for key, value in self.module.params.items()}
        return {
            "changed": False,
            "host": self.host(),
            "users": {name: self.user(name) for name in params["users"]},
            "groups": {name: self.group(name) for name in params["groups"]},
            "python": self.python(params["python"]) if params["python"] else None,
            "paths": {path: self.path(path) for path in params["paths"]},
            "folders": {path: self.folder(path) for path in params["folders"]},
            "listens": self.listens(params["listens"]),
            "services": self.services(params["services"]),
            "file_storages": {path: self.file_storage(path) for path in params["file_storages"]},
            "sqlite_databases": {path: self.sqlite_database(path) for path in params["sqlite_databases"]},
            "certificates": {entry["cert"]: _certificate.look(**entry) for entry in params["certificates"]},
            "wheelhouse": self.wheelhouse(params["wheelhouse"]) if params["wheelhouse"] else None,
            "read": {path: self.read(path) for path in params["read"]},
        }

    def host(self):
        release = _host.os_release(_host.text("/etc/os-release"))
        return {
            "euid": os.geteuid(),
            "user": _files.user_name(os.geteuid()),
            "hostname": socket.gethostname(),
            "fqdn": _host.full_name(),
            "systemd": os.path.isdir("/run/systemd/system"),
            "distribution": release.get("ID"),
            "version": release.get("VERSION_ID"),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "python_version": platform.python_version(),
        }

    def user(self, name):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            return {"exists": False, "uid": None, "gid": None, "home": None, "shell": None}
        return {"exists": True, "uid": user.pw_uid, "gid": user.pw_gid, "home": user.pw_dir, "shell": user.pw_shell}

    def group(self, name):
        try:
            return {"exists": True, "gid": grp.getgrnam(name).gr_gid}
        except KeyError:
            return {"exists": False, "gid": None}

    def python(self, name):
        path = shutil.which(name)
        answer = {"path": path or name, "exists": False, "version": None, "venv": False}
        if path:
            # Debian takes ensurepip out of its Python, and without it venv makes no virtualenv with pip.
            script = "import sys; print('%d.%d' % sys.version_info[:2], flush=True); import ensurepip, venv"
            code, out, _err = self._run([path, "-I", "-c", script])
            if out.strip():
                answer.update(exists=True, version=out.strip(), venv=code == 0)
        return answer

    def path(self, path):
        answer = dict.fromkeys(("type", "owner", "group", "uid", "gid", "mode", "size", "mtime", "target"))
        answer.update(exists=False, free=_host.free(path), file_system=_host.file_system(path))
        try:
            status = os.lstat(path)
            target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            return answer
        answer.update(
            exists=True,
            type=_files.kind(status),
            owner=_files.user_name(status.st_uid),
            group=_files.group_name(status.st_gid),
            uid=status.st_uid,
            gid=status.st_gid,
            mode=f"{stat.S_IMODE(status.st_mode):04o}",
            size=status.st_size,
            mtime=status.st_mtime,
            target=target,
        )
        return answer

    def listens(self, addresses):
        if not addresses:
            return {}
        tcp, unix = _host.listeners()
        found = {address: _host.occupant(address, tcp, unix) for address in addresses}
        pids = _host.holders({inode for inode, _error in found.values() if inode is not None})
        return {
            address: {"in_use": inode is not None, "error": error, **_host.process(pids.get(inode))}
            for address, (inode, error) in found.items()
        }

    def services(self, services):
        units = [service["unit"] for service in services if not service["zdaemon"]]
        known = dict(zip(units, self._systemd(units)))
        answer = {}
        for service in services:
            about = {
                "exists": False,
                "active": False,
                "state": None,
                "enabled": False,
                "main_pid": None,
                "started": None,
                "needs_reload": False,
            }
            if service["zdaemon"]:
                self._zdaemon(about, service["zdaemon"])
            else:
                self._unit(about, known.get(service["unit"], {}))
            newest, newest_file = _host.newest(service["files"] or [])
            about.update(newest=newest, newest_file=newest_file)
            about["outdated"] = None not in (about["started"], newest) and newest > about["started"] - CLOCK_SLACK
            answer[service["unit"]] = about
        return answer

    def _systemd(self, units):
        """Return systemd's properties of the units, in their order."""
        if not units or not os.path.isdir("/run/systemd/system"):
            return []
        command = ["systemctl", "show", f"--property={PROPERTIES}", "--timestamp=us+utc", "--", *units]
        _code, out, err = self._run(command)
        if not out.strip():
            self.module.warn(f"systemctl does not tell the state of the services: {err.strip()}")
        return _host.properties(out)

    def _unit(self, about, known):
        if known.get("LoadState", "not-found") == "not-found":
            return
        file_state = known.get("UnitFileState", "")
        pid = int(known.get("MainPID", 0)) or None
        about.update(
            exists=True,
            active=known["ActiveState"] in ("active", "reloading"),
            state=known["ActiveState"],
            enabled=None if file_state in NOT_TO_ENABLE else file_state in ("enabled", "enabled-runtime"),
            main_pid=pid,
            needs_reload=known.get("NeedDaemonReload") == "yes",
        )
        if pid:
            written = _host.timestamp(known.get("ExecMainStartTimestamp"))
            about["started"] = _host.earliest(_host.process_start(pid), written)
        elif about["active"]:
            written = _host.timestamp(known.get("ActiveEnterTimestamp"))
            counted = _host.monotonic(int(known.get("ActiveEnterTimestampMonotonic", 0)))
            about["started"] = _host.earliest(counted, written)

    def _zdaemon(self, about, command):
        about["enabled"] = None
        if shutil.which(command[0]):
            pid = _host.zdaemon_pid(self._run(command)[1])
            started = _host.process_start(pid) if pid else None
            about.update(exists=True, state="inactive")
            if started:
                about.update(active=True, state="active", main_pid=pid, started=started)

    def file_storage(self, path):
        answer = {"exists": False, "magic": None, "size": None, "owner": None, "group": None, "error": None}
        try:
            status = os.stat(path)
            answer.update(
                exists=True,
                size=status.st_size,
                owner=_files.user_name(status.st_uid),
                group=_files.group_name(status.st_gid),
            )
            with open(path, "rb") as file:
                magic = file.read(4)
            answer["magic"] = magic.decode("ascii") if len(magic) == 4 and magic.isalnum() else None
        except FileNotFoundError:
            pass
        except OSError as error:
            answer["error"] = f"{path}: {_files.reason(error)}"
        answer["locked"], pid = _host.lock_holder(path + ".lock")
        answer.update((f"lock_{key}", value) for key, value in _host.process(pid).items())
        return answer

    def sqlite_database(self, path):
        if not os.path.exists(path):
            return {"exists": False, "tables": None, "blobs": None, "error": None, "pids": []}
        return {"exists": True, **_host.sqlite_database(path)}

    def folder(self, path):
        try:
            return sorted(os.listdir(path))
        except OSError:
            return None

    def wheelhouse(self, path):
        try:
            with os.scandir(path) as entries:
                return {"exists": True, "files": sorted(entry.name for entry in entries if entry.is_file())}
        except OSError:
            return {"exists": False, "files": []}

    def read(self, path):
        try:
            with open(path, "rb") as file:
                content = file.read(LARGEST_READ + 1)
            return content.decode() if len(content) <= LARGEST_READ else None
        except (OSError, UnicodeDecodeError):
            return None

    def _run(self, command):
        """Return (code, out, err) of a command, which is given 20 seconds. That it fails is no error of ours."""
        try:
            return self.module.run_command(
                ["timeout", "20", *command],
                environ_update={"LC_ALL": "C"},
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as error:
            return 1, "", _files.reason(error)


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.exit_json(**Host(module).result())


if __name__ == "__main__":
    main()
