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
  - ansible.builtin.action_common_attributes.info_module
attributes:
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
        description: Name of the unit, with its suffix. With O(services[].zdaemon), only the name under which the result is returned.
        type: str
        required: true
      files:
        description: Files that the service reads when it starts. What is not there is left out of account.
        type: list
        elements: path
        default: []
      zdaemon:
        description: The command, as a list, that prints zdaemon's status. If absent, systemd is asked.
        type: list
        elements: str
  file_storages:
    description: Data files of FileStorages (C(Data.fs)).
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
        description: Path of a file, or a folder after C(openssl rehash), with the authorities or pinned certificates that are to accept it.
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
    euid: {description: Effective user id of the task., type: int, returned: always, sample: 0}
    user: {description: Name of that user., type: str, returned: always, sample: root}
    hostname: {description: The host's name., type: str, returned: always, sample: zeo1}
    fqdn: {description: "Its full name, or C(hostname) if no resolver tells one within 2 seconds.", type: str, returned: always, sample: zeo1.example.org}
    systemd: {description: Whether systemd runs the host., type: bool, returned: always}
    distribution: {description: "C(ID) of C(/etc/os-release), null without one.", type: str, returned: always, sample: debian}
    version: {description: "C(VERSION_ID) of C(/etc/os-release), null without one.", type: str, returned: always, sample: "12"}
    memory: {description: Bytes of memory., type: int, returned: always, sample: 25278341120}
    python_version: {description: Python that ran this module., type: str, returned: always, sample: 3.11.2}
users:
  description: By name, what is known of each user; all null but C(exists) for one that is not there.
  returned: always
  type: dict
  contains:
    exists: {description: Whether there is one., type: bool, returned: always}
    uid: {description: Number., type: int, returned: always, sample: 998}
    gid: {description: Number of its group., type: int, returned: always, sample: 998}
    home: {description: Home folder., type: str, returned: always, sample: /var/lib/zodb}
    shell: {description: Shell., type: str, returned: always, sample: /usr/sbin/nologin}
groups:
  description: By name, what is known of each group.
  returned: always
  type: dict
  contains:
    exists: {description: Whether there is one., type: bool, returned: always}
    gid: {description: "Number, null if there is none.", type: int, returned: always, sample: 998}
python:
  description: The interpreter of O(python); null without that option.
  returned: always
  type: dict
  contains:
    path: {description: "Its path, as found; what was given if there is none.", type: str, returned: always, sample: /usr/bin/python3}
    exists: {description: Whether it is there and runs., type: bool, returned: always}
    version: {description: "Major and minor version, null if it does not run.", type: str, returned: always, sample: "3.11"}
    venv: {description: "Whether it can make virtualenvs with pip (C(import ensurepip, venv) works).", type: bool, returned: always}
paths:
  description: By path, what is there. All keys are null but C(exists) and C(free) if nothing is.
  returned: always
  type: dict
  contains:
    exists: {description: Whether anything is there., type: bool, returned: always}
    type: {description: "One of C(file), C(directory), C(link), C(other).", type: str, returned: always, sample: file}
    owner: {description: Name of the owner., type: str, returned: always, sample: root}
    group: {description: Name of the group., type: str, returned: always, sample: zodb}
    uid: {description: Number of the owner., type: int, returned: always, sample: 0}
    gid: {description: Number of the group., type: int, returned: always, sample: 998}
    mode: {description: Permissions., type: str, returned: always, sample: "0640"}
    size: {description: Bytes., type: int, returned: always, sample: 812}
    mtime: {description: "Last change, in seconds since the epoch.", type: float, returned: always, sample: 1732490000.25}
    target: {description: "What a link says, else null.", type: str, returned: always}
    free: {description: "Bytes an ordinary user can still write on the file system that it is on, or would be on.", type: int, returned: always, sample: 41943040000}
listens:
  description: By address as given, what listens there.
  returned: always
  type: dict
  contains:
    in_use: {description: Whether something listens there that would keep another server off., type: bool, returned: always}
    pid: {description: "Its process, null if there is none or it cannot be seen.", type: int, returned: always, sample: 4711}
    program: {description: "Its program, and script if that is an interpreter; null as for C(pid).", type: str, returned: always, sample: /opt/zodb/zeo-pyams/bin/python /opt/zodb/zeo-pyams/bin/runzeo}
    unit: {description: "Its unit of systemd, null as for C(pid), or if it is in none.", type: str, returned: always, sample: zeo-pyams.service}
    error: {description: "What is wrong with the address, else null.", type: str, returned: always}
services:
  description: By unit as given, its state.
  returned: always
  type: dict
  contains:
    exists: {description: "Whether systemd knows the unit; with zdaemon, whether the command's program is there.", type: bool, returned: always}
    active: {description: Whether it is active., type: bool, returned: always}
    state: {description: "systemd's C(ActiveState), for example C(active), C(inactive), C(failed), C(activating); null if the unit is unknown.", type: str, returned: always}
    enabled: {description: "Whether it starts with the host; null if that is not systemd's to say.", type: bool, returned: always}
    main_pid: {description: "Its process, null if there is none.", type: int, returned: always, sample: 4711}
    started: {description: "When its process started, or the unit if it has none, in seconds since the epoch; null if neither runs.", type: float, returned: always, sample: 1732490000.25}
    newest: {description: "Date of the newest of its files, in seconds since the epoch; null if none is there.", type: float, returned: always, sample: 1732490000.25}
    newest_file: {description: "The newest of its files, null if none is there.", type: str, returned: always, sample: /etc/zodb/zeo-pyams.conf}
    outdated: {description: Whether it runs since before the newest of its files., type: bool, returned: always}
    needs_reload: {description: "Whether its unit file changed since systemd read it.", type: bool, returned: always}
file_storages:
  description: By path, what is known of each FileStorage.
  returned: always
  type: dict
  contains:
    exists: {description: Whether the data file is there., type: bool, returned: always}
    magic: {description: "Its first four characters: C(FS30), or C(FS21) of Python 2; null if they cannot be read, or are no text.", type: str, returned: always, sample: FS30}
    size: {description: "Bytes, null if it is not there.", type: int, returned: always, sample: 1048576}
    owner: {description: "Name of the owner, null if it is not there.", type: str, returned: always, sample: zodb}
    group: {description: "Name of the group, null if it is not there.", type: str, returned: always, sample: zodb}
    locked: {description: Whether a process holds its lock., type: bool, returned: always}
    lock_pid: {description: "That process, null if there is none or it cannot be seen.", type: int, returned: always, sample: 4711}
    lock_program: {description: "Its program, as in C(listens).", type: str, returned: always}
    lock_unit: {description: "Its unit, as in C(listens).", type: str, returned: always}
    error: {description: "Why it cannot be read, else null.", type: str, returned: always}
certificates:
  description: By path of the certificate, what is known of each.
  returned: always
  type: dict
  contains:
    exists: {description: Whether the file is there., type: bool, returned: always}
    readable: {description: Whether a certificate could be read from it., type: bool, returned: always}
    not_before: {description: "Start of its validity, in seconds since the epoch; null if not readable.", type: int, returned: always, sample: 1732490000}
    not_after: {description: "End of its validity, likewise.", type: int, returned: always, sample: 1764026000}
    expired: {description: "Whether that is over; null if not readable.", type: bool, returned: always}
    days_left: {description: "Days until then, negative afterwards; null if not readable.", type: float, returned: always, sample: 364.9}
    key_matches: {description: "Whether the key is the certificate's; null without O(certificates[].key), or if either cannot be read.", type: bool, returned: always}
    trusted: {description: "Whether O(certificates[].ca) accepts it today, by the rules that ZEO has for TLS; null without that or a matching key.", type: bool, returned: always}
    error: {description: "The first thing that is wrong, else null.", type: str, returned: always}
wheelhouse:
  description: The folder of O(wheelhouse); null without that option.
  returned: always
  type: dict
  contains:
    exists: {description: Whether the folder is there and can be read., type: bool, returned: always}
    files: {description: "Names of the files in it, sorted.", type: list, elements: str, returned: always}
read:
  description: By path, the content of each file; null if it is not there, not readable, not UTF-8, or larger than 64 KiB.
  returned: always
  type: dict
  sample: {/etc/zodb/zeo-pyams.toml: "service = ..."}
"""

import grp
import ipaddress
import os
import platform
import pwd
import shutil
import socket
import ssl
import stat
import threading
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyams.zodb.plugins.module_utils import _files, _host

SUBOPTIONS = {
    "services": {
        "unit": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "path", "default": []},
        "zdaemon": {"type": "list", "elements": "str"},
    },
    "certificates": {
        "cert": {"type": "path", "required": True},
        "key": {"type": "path", "no_log": False},
        "ca": {"type": "path"},
        "purpose": {"type": "str", "choices": ["server", "client"], "default": "server"},
    },
}
ARGUMENTS = {
    "users": {"type": "list", "elements": "str", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "str"},
    "paths": {"type": "list", "elements": "path", "default": []},
    "listens": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "list", "elements": "dict", "default": [], "options": SUBOPTIONS["services"]},
    "file_storages": {"type": "list", "elements": "path", "default": []},
    "certificates": {"type": "list", "elements": "dict", "default": [], "options": SUBOPTIONS["certificates"]},
    "wheelhouse": {"type": "path"},
    "read": {"type": "list", "elements": "path", "default": []},
}

LARGEST_READ = 64 * 1024  # bytes
CLOCK_SLACK = 0.01  # seconds; the kernel dates files by its last tick, up to 10 ms ago
PROPERTIES = (
    "LoadState,ActiveState,UnitFileState,MainPID,NeedDaemonReload,"
    "ExecMainStartTimestamp,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic"
)


class Host:
    """What one host answers. Each method answers for one option and raises nothing for what is not there."""

    def __init__(self, module):
        self.module = module

    # Who and what

    def host(self):
        release = _host.os_release(_text("/etc/os-release") or "")
        euid = os.geteuid()
        return {
            "euid": euid,
            "user": _files.user_name(euid),
            "hostname": socket.gethostname(),
            "fqdn": _fqdn(),
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
        if path is None:
            return answer
        # Debian takes ensurepip out of its Python, and venv is of no use without.
        code, out, err = self._run(
            [path, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2], flush=True); import ensurepip, venv"]
        )
        if out.strip():
            answer.update(exists=True, version=out.strip(), venv=code == 0)
        return answer

    def path(self, path):
        answer = dict.fromkeys(("type", "owner", "group", "uid", "gid", "mode", "size", "mtime", "target"))
        answer.update(exists=False, free=_free(path))
        try:
            status = os.lstat(path)
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
        )
        if answer["type"] == "link":
            answer["target"] = os.readlink(path)
        return answer

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

    # Who listens

    def listens(self, addresses):
        tcp = _host.listening_tcp(_text("/proc/net/tcp") or "") + _host.listening_tcp(_text("/proc/net/tcp6") or "")
        unix = {_real(path): inode for path, inode in _host.listening_unix(_text("/proc/net/unix") or "").items()}
        inodes, errors = {}, {}
        for address in addresses:
            try:
                inodes[address] = _listener(address, tcp, unix)
            except ValueError as error:
                errors[address] = str(error)
        pids = _socket_holders({inode for inode in inodes.values() if inode is not None})
        answer = {}
        for address in addresses:
            inode = inodes.get(address)
            answer[address] = {"in_use": inode is not None, "error": errors.get(address)}
            answer[address].update(_process(pids.get(inode)))
        return answer

    # Services

    def services(self, services):
        units = [service["unit"] for service in services if not service["zdaemon"]]
        known = dict(zip(units, self._systemd(units)))
        answer = {}
        for service in services:
            unit = service["unit"]
            about = self._zdaemon(service["zdaemon"]) if service["zdaemon"] else self._unit(known.get(unit))
            newest, newest_file = _newest(service["files"])
            about.update(newest=newest, newest_file=newest_file)
            about["outdated"] = None not in (about["started"], newest) and newest > about["started"] - CLOCK_SLACK
            answer[unit] = about
        return answer

    def _systemd(self, units):
        """Return systemd's properties of the units, in their order."""
        if not units or not os.path.isdir("/run/systemd/system") or not shutil.which("systemctl"):
            return []
        command = ["systemctl", "show", "--property", PROPERTIES, "--timestamp=us+utc", "--", *units]
        code, out, err = self._run(command)
        if not out.strip():
            self.module.warn(f"systemctl does not tell the state of services: {err.strip()}")
            return []
        return _host.properties(out)

    def _unit(self, about):
        answer = {
            "exists": False,
            "active": False,
            "state": None,
            "enabled": False,
            "main_pid": None,
            "started": None,
            "needs_reload": False,
        }
        if not about or about.get("LoadState", "not-found") == "not-found":
            return answer
        state, pid = about.get("ActiveState"), int(about.get("MainPID", 0)) or None
        active = state in ("active", "reloading")
        enabled = about.get("UnitFileState", "")
        answer.update(
            exists=True,
            active=active,
            state=state,
            enabled=None if enabled in ("static", "generated", "indirect", "transient") else enabled[:7] == "enabled",
            main_pid=pid,
            needs_reload=about.get("NeedDaemonReload") == "yes",
        )
        if pid:
            answer["started"] = _earliest(_process_start(pid), _host.timestamp(about.get("ExecMainStartTimestamp")))
        elif active:
            since = int(about.get("ActiveEnterTimestampMonotonic", 0)) / 1e6 or None
            answer["started"] = _earliest(
                since and since + time.time() - time.clock_gettime(time.CLOCK_MONOTONIC),
                _host.timestamp(about.get("ActiveEnterTimestamp")),
            )
        return answer

    def _zdaemon(self, command):
        answer = {
            "exists": shutil.which(command[0]) is not None,
            "active": False,
            "state": None,
            "enabled": None,
            "main_pid": None,
            "started": None,
            "needs_reload": False,
        }
        if answer["exists"]:
            pid = _host.zdaemon_pid(self._run(command)[1])
            started = _process_start(pid) if pid else None
            answer["state"] = "active" if started else "inactive"
            if started:
                answer.update(active=True, main_pid=pid, started=started)
        return answer

    # Storages

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
            if len(magic) == 4 and magic.isalnum():
                answer["magic"] = magic.decode("ascii")
        except FileNotFoundError:
            pass
        except OSError as error:
            answer["error"] = f"{path}: {_files.reason(error)}"
        locked, pid = _lock_holder(path + ".lock")
        answer["locked"] = locked
        answer.update(("lock_" + key, value) for key, value in _process(pid).items())
        return answer

    # Certificates

    def certificate(self, entry):
        cert, key, ca = entry["cert"], entry["key"], entry["ca"]
        answer = dict.fromkeys(("not_before", "not_after", "expired", "days_left", "key_matches", "trusted", "error"))
        answer.update(exists=os.path.exists(cert), readable=False)
        try:
            with open(cert, "rb"):
                pass
            # The one way in the standard library to a certificate's dates without a connection: get_ca_certs() leaves
            # out what is no authority's. Private, and in every CPython from 3.9 on.
            decoded = ssl._ssl._test_decode_cert(cert)
        except OSError as error:  # ssl.SSLError is one
            answer["error"] = f"{cert}: {_files.reason(error) if error.filename else 'no certificate in it'}"
            return answer
        before, after = (ssl.cert_time_to_seconds(decoded[end]) for end in ("notBefore", "notAfter"))
        now = time.time()
        answer.update(readable=True, not_before=before, not_after=after, expired=after <= now)
        answer["days_left"] = round((after - now) / 86400, 2)
        if answer["expired"]:
            answer["error"] = f"{cert}: expired on {time.strftime('%Y-%m-%d', time.gmtime(after))}"
        elif before > now:
            answer["error"] = f"{cert}: valid only from {time.strftime('%Y-%m-%d', time.gmtime(before))} on"
        if key:
            answer["key_matches"], error = _key_matches(cert, key)
            answer["error"] = answer["error"] or error
        if ca and answer["key_matches"]:
            answer["trusted"], error = _trusted(entry)
            answer["error"] = answer["error"] or error
        return answer

    def _run(self, command):
        """Return (code, out, err) of a command that is given 20 seconds; its failure is no error of ours."""
        try:
            return self.module.run_command(
                ["timeout", "20", *command] if shutil.which("timeout") else command,
                environ_update={"LC_ALL": "C"},
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as error:
            return 1, "", str(error)


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return None


def _real(path):
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _fqdn():
    """Return the full name; an unreachable resolver would keep socket.getfqdn() busy for 5 seconds or more."""
    found = []
    thread = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    thread.start()
    thread.join(2)
    return found[0] if found else socket.gethostname()


def _free(path):
    """Return the free bytes on the file system of a path, or of the nearest folder above it that is there."""
    at = os.path.realpath(path)
    while True:
        try:
            status = os.statvfs(at)
            return status.f_bavail * status.f_frsize
        except OSError:
            if at == "/":
                return None
            at = os.path.dirname(at)


def _newest(files):
    """Return (time, path) of the newest of some files; (None, None) if none is there.

    A link counts by its own date, so that switching it is seen, and by that of the file it leads to. A folder that it
    leads to does not count: writing a cache into a virtualenv dates its folder.
    """
    dates = []
    for path in files:
        try:
            status = os.lstat(path)
        except OSError:
            continue
        dates.append((status.st_mtime, path))
        if stat.S_ISLNK(status.st_mode) and os.path.isfile(path):
            dates.append((os.stat(path).st_mtime, path))
    return max(dates) if dates else (None, None)


def _process_start(pid):
    """Return when a process started, in seconds since the epoch by today's clock, None if it is gone.

    Ticks of 10 ms since the boot, rounded down, so never too late. CLOCK_BOOTTIME goes on while the host sleeps, as
    the process's date does, CLOCK_MONOTONIC does not; btime of /proc/stat has whole seconds.
    """
    text = _text(f"/proc/{pid}/stat")
    if text is None:
        return None
    since_boot = _host.start_ticks(text) / os.sysconf("SC_CLK_TCK")
    return since_boot + time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _earliest(*times):
    """Return the earliest of the dates that are known, None if none is.

    A service's start is told twice: as the clock showed it then, and as it would today. They differ where the clock
    was set in between, and a file's date may be of either clock. The earlier one cannot miss a file that was
    written after the start; at worst a service is restarted once in vain.
    """
    known = [moment for moment in times if moment is not None]
    return min(known) if known else None


def _process(pid):
    """Return what is known of a process, all null for None."""
    if pid is None:
        return {"pid": None, "program": None, "unit": None}
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096)
    except OSError:
        command = b""
    name = (_text(f"/proc/{pid}/comm") or "").strip() or None
    return {
        "pid": pid,
        "program": _host.program(command, name),
        "unit": _host.unit_of(_text(f"/proc/{pid}/cgroup") or ""),
    }


def _listener(address, tcp, unix):
    """Return the inode of a socket that listens where a server at an address would, None if there is none."""
    host, port = _host.listen_address(address)
    if host == "unix":
        return unix.get(_real(port))
    if host == "":
        wanted = [ipaddress.ip_address("::")]
    else:
        try:
            wanted = [ipaddress.ip_address(host)]
        except ValueError:
            try:
                wanted = [ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(host, port)]
            except (OSError, UnicodeError):
                raise ValueError(f"{address} names a host that this one cannot resolve; write its IP address")
    for ip, other_port, inode in tcp:
        if other_port == port and any(_host.conflict(one, ip) for one in wanted):
            return inode
    return None


def _descriptors():
    """Yield (pid, folder, descriptor, what it is open on) of every process that may be looked at."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{pid}/fd"
        try:
            for descriptor in os.listdir(folder):
                yield int(pid), folder, descriptor, os.readlink(os.path.join(folder, descriptor))
        except OSError:
            continue


def _socket_holders(inodes):
    """Return {inode: pid} of the processes that hold sockets. systemd, which may hold one for its service, comes last."""
    names = {f"socket:[{inode}]": inode for inode in inodes}
    holders = {}
    if names:
        for pid, folder, descriptor, target in _descriptors():
            if target in names and (names[target] not in holders or holders[names[target]] == 1):
                holders[names[target]] = pid
    return holders


def _lock_holder(path):
    """Return (locked, pid) of a lock file. zc.lockfile locks it by flock() and writes its pid into it.

    Trying the lock would take it, for an instant in which the server fails to start: so the kernel's list is read.
    Its device numbers differ from stat's on overlayfs and btrfs; there the pid in the file, or the open file, decides.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False, None
    written = (_text(path) or "").split()[:1]
    for pid, major, minor, inode in _host.locks(_text("/proc/locks") or ""):
        if inode != status.st_ino:
            continue
        if (major, minor) == (os.major(status.st_dev), os.minor(status.st_dev)) or written == [str(pid)]:
            return True, pid if os.path.isdir(f"/proc/{pid}") else None
    for pid, folder, descriptor, target in _descriptors():
        if os.path.basename(target) != os.path.basename(path):
            continue
        try:
            same = os.path.samestat(os.stat(os.path.join(folder, descriptor)), status)
        except OSError:
            continue
        if same and "\nlock:" in (_text(f"/proc/{pid}/fdinfo/{descriptor}") or ""):
            return True, pid
    return False, None


def _key_matches(cert, key):
    """Return (whether a key is a certificate's, the sentence if not); (None, sentence) if the key cannot be read."""
    try:
        with open(key, "rb") as file:
            text = file.read(LARGEST_READ)
    except OSError as error:
        return None, f"{key}: {_files.reason(error)}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        if b"ENCRYPTED" in text:
            return None, f"{key}: the key is encrypted"
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return False, f"{key}: not the key of {cert}"
        return None, f"{key}: no private key in it"
    return True, None


def _trusted(entry):
    """Return (whether an authority accepts a certificate, the sentence if not), by a TLS handshake in memory.

    The rules are those of ZEO.zconfig: strict, and with the revocation lists that are in the file.
    """
    ca, for_server = entry["ca"], entry["purpose"] == "server"
    judge_purpose = ssl.Purpose.SERVER_AUTH if for_server else ssl.Purpose.CLIENT_AUTH
    where = {"capath" if os.path.isdir(ca) else "cafile": ca}
    try:
        judge = ssl.create_default_context(judge_purpose, **where)
    except OSError as error:
        return None, f"{ca}: {_files.reason(error) if error.filename or error.errno == 2 else 'no certificate in it'}"
    judge.check_hostname = False
    judge.verify_mode = ssl.CERT_REQUIRED
    judge.verify_flags |= ssl.VERIFY_X509_STRICT
    if judge.cert_store_stats()["crl"]:
        judge.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    bearer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if for_server else ssl.PROTOCOL_TLS_CLIENT)
    bearer.check_hostname = False
    bearer.verify_mode = ssl.CERT_NONE
    bearer.load_cert_chain(entry["cert"], entry["key"])
    if not for_server:
        # A server needs a certificate of its own to ask for another; this one serves, as the bearer looks at none.
        judge.load_cert_chain(entry["cert"], entry["key"])
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    judging = judge.wrap_bio(one, other, server_side=not for_server)
    bearing = bearer.wrap_bio(other, one, server_side=for_server)
    for side in (judging, bearing) * 5:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return False, f"{entry['cert']}: not accepted by {ca}: {error.verify_message}"
        except ssl.SSLError as error:
            return None, f"{entry['cert']}: cannot be tried with {ca}: {error.reason}"
    return True, None


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    host = Host(module)
    module.exit_json(
        changed=False,
        host=host.host(),
        users={name: host.user(name) for name in params["users"]},
        groups={name: host.group(name) for name in params["groups"]},
        python=host.python(params["python"]) if params["python"] else None,
        paths={path: host.path(path) for path in params["paths"]},
        listens=host.listens(params["listens"]),
        services=host.services(params["services"]),
        file_storages={path: host.file_storage(path) for path in params["file_storages"]},
        certificates={entry["cert"]: host.certificate(entry) for entry in params["certificates"]},
        wheelhouse=host.wheelhouse(params["wheelhouse"]) if params["wheelhouse"] else None,
        read={path: host.read(path) for path in params["read"]},
    )


if __name__ == "__main__":
    main()
