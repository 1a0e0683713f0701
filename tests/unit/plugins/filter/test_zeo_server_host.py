# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a host from serving ZEO, told by dictionaries of the shape of zodb_host_info's result."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.pyams.zodb.plugins.filter.zeo_server_questions import zeo_server_questions as questions
from ansible_collections.pyams.zodb.plugins.filter.zeo_server_refusals import zeo_server_refusals as refusals
from zeo_entries import (
    MB,
    OWN,
    PYAMS,
    ROOT,
    SENTENCE,
    SETTINGS,
    both,
    entries,
    one,
    own,
    storage,
    there,
    virgin,
)

DATA = "/var/lib/zodb/pyams/pyams/Data.fs"
BLOBS = "/var/lib/zodb/pyams/pyams/blobs"
GONE = {"exists": False, "type": None, "owner": None, "group": None, "mode": None}
ALICE = {"host": {"euid": 1000, "user": "alice"}}
FOLDERS = ("/etc/zodb", "/var/lib/zodb", "/var/log/zodb", "/run/zodb", "/opt/zodb", "/var/cache/zodb")
MINE = {"paths": {path: there("directory", "alice", "alice", "0755") for path in FOLDERS}}
DAY = 86400
TODAY = 1_796_000_000  # 2026-11-30
CERTIFICATE = {"exists": True, "readable": True, "expired": False, "days_left": 300.0}
CERTIFICATE.update(not_before=TODAY - 65 * DAY, not_after=TODAY + 300 * DAY)
NONE = {"readable": False, "expired": None, "days_left": None, "not_before": None, "not_after": None, "trusted": None}
CERTS = {
    "paths": {
        "/etc/pki": there("directory", mode="0755", **ROOT),
        **{path: there(owner="root") for path in OWN.values()},
    },
    "certificates": {
        OWN["cert"]: {**CERTIFICATE, "key_matches": True, "trusted": True},
        OWN["tools_cert"]: {**CERTIFICATE, "key_matches": True, "trusted": True},
        OWN["ca"]: CERTIFICATE,
    },
}
MARK = "# ZEO server (role pyams.zodb.zeo_server).\n"
CONF = f"""{MARK}
<zeo>
  address 127.0.0.1:8100
</zeo>
<filestorage pyams>
  path /old/Data.fs
  blob-dir /old/blobs
</filestorage>
"""
NOTE = "/etc/zodb/zeo-pyams.pyams.moved"
OLD = "/srv/pyams/etc/pyams-zeo.conf"
OLDDATA = "/srv/pyams/var/Data.fs"
OLDRUN = "/srv/pyams/bin/python /srv/pyams/bin/runzeo"
OLDTEXT = """%define INSTANCE /srv/pyams
<zeo>
  address 8100
</zeo>
<filestorage pyams>
  path $INSTANCE/var/Data.fs
  blob-dir $INSTANCE/var/blobs
</filestorage>
"""
LOCK = (
    ("zeo", "6.2", None),
    ("zc-lockfile", "4.0", None),
    ("persistent", "6.9", None),
    ("zodb", "6.4", None),
    ("cffi", "2.1.1", "platform_python_implementation == 'CPython'"),
    ("tomli", "2.0", "python_full_version < '3.11'"),
)
PIN = {
    "pins": [dict(zip(("name", "version", "marker"), pin)) for pin in LOCK],
    "wheelhouse": "/srv/wheels",
}
WHEELS = [
    "ZEO-6.2-py3-none-any.whl",
    "zc_lockfile-4.0-py3-none-any.whl",
    "persistent-6.9-cp311-cp311-manylinux_2_17_x86_64.whl",
    "zodb-6.4.tar.gz",
    "cffi-2.1.1-cp38-abi3-manylinux_2_17_x86_64.whl",
]


def data(magic="FS30", owner="zodb", group="zodb", size=4096, path=DATA, **more):
    """Return a host with a FileStorage."""
    about = {"exists": True, "magic": magic, "size": size, "owner": owner, "group": group, **more}
    return {"paths": {path: there(owner=owner, group=group, mode="0600")}, "file_storages": {path: about}}


def locked(program, unit=None, pid=4711):
    """Return who holds the lock of a FileStorage."""
    return {"locked": True, "lock_pid": pid, "lock_program": program, "lock_unit": unit}


def held(address="127.0.0.1:8100", pid=4711, program=None, unit=None):
    """Return a host where something listens."""
    return {"listens": {address: {"in_use": True, "pid": pid, "program": program, "unit": unit}}}


def note(phase):
    """Return what the role migrate leaves."""
    return json.dumps({"phase": phase, "to": "postgresql", "since": "2026-11-27 03:30 UTC", "source_last_tid": None})


def cert(name, **about):
    """Return a host with certificates, of which one is not as it should be."""
    return both(CERTS, {"certificates": {OWN[name]: about}})


def tree(text=OLDTEXT, **about):
    """Return a host with a tree of the old scaffold."""
    folders = {
        path: there("directory", mode="0755") for path in ("/srv/pyams", "/srv/pyams/var", "/srv/pyams/var/blobs")
    }
    old = {"paths": {**folders, "/srv/pyams/etc/pyams-zdaemon.conf": there()}, "read": {OLD: text}}
    return both(old, data(path=OLDDATA, **about))


@pytest.mark.parametrize(
    ("written", "settings", "changes", "sentences"),
    [
        pytest.param(
            one(),
            {},
            {"host": {"distribution": "ubuntu", "version": "24.04"}},
            [
                (
                    "zeo_server_allow_untested_platform false: this host is ubuntu 24.04, and Debian 12 and 13 are "
                    "tested; set it to true to go on at your own risk."
                )
            ],
            id="platform",
        ),
        pytest.param(
            one(),
            {},
            {"host": {"distribution": None, "version": None}},
            [
                (
                    "zeo_server_allow_untested_platform false: this host is of an unknown platform, and Debian 12 "
                    "and 13 are tested; set it to true to go on at your own risk."
                )
            ],
            id="platform without a name",
        ),
        pytest.param(
            one(),
            {"service_manager": "systemd"},
            {"host": {"systemd": False}},
            ["zeo_server_service_manager systemd: systemd does not run this host; choose zdaemon, or auto."],
            id="systemd that does not run",
        ),
        pytest.param(
            one(),
            {"service_manager": "systemd"},
            both(ALICE, MINE),
            [
                (
                    "zeo_server_service_manager systemd: only root can install units, and the task runs as alice; "
                    "set become: true, or choose zdaemon."
                )
            ],
            id="systemd as an ordinary user",
        ),
        pytest.param(
            one(),
            {"python": "/usr/bin/python3.9"},
            {"python": {"path": "/usr/bin/python3.9", "exists": False, "version": None, "venv": False}},
            [
                (
                    "zeo_server_python /usr/bin/python3.9 is not there or does not run; install it, or name another "
                    "Python."
                )
            ],
            id="Python missing",
        ),
        pytest.param(
            one(),
            {},
            {"python": {"version": "3.9"}},
            [
                (
                    "zeo_server_python /usr/bin/python3 is Python 3.9, and the packages are locked for 3.11, 3.12 "
                    "and 3.13; name another Python."
                )
            ],
            id="Python too old",
        ),
        pytest.param(
            one(),
            {},
            {"python": {"version": "3.14"}},
            [
                (
                    "zeo_server_python /usr/bin/python3 is Python 3.14, and the packages are locked for 3.11, 3.12 "
                    "and 3.13; name another Python."
                )
            ],
            id="Python too new",
        ),
        pytest.param(
            one(),
            {},
            both(ALICE, MINE, {"python": {"venv": False}}),
            [
                (
                    "zeo_server_python /usr/bin/python3 cannot make virtualenvs, its modules venv and ensurepip are "
                    "missing; install them (Debian: python3-venv), or name another Python."
                )
            ],
            id="Python without venv as an ordinary user",
        ),
        pytest.param(
            one(),
            {"python": "/opt/py/bin/python3"},
            {"python": {"path": "/opt/py/bin/python3", "venv": False}},
            [
                (
                    "zeo_server_python /opt/py/bin/python3 cannot make virtualenvs, its modules venv and ensurepip "
                    "are missing; install them (Debian: python3-venv), or name another Python."
                )
            ],
            id="Python without venv that is not Debian's",
        ),
        pytest.param(
            one(),
            {"manage_user": False, "client_group": "web"},
            {
                "users": {"zodb": {"exists": False, "uid": None, "gid": None}},
                "groups": {"zodb": {"exists": False, "gid": None}, "web": {"exists": False, "gid": None}},
            },
            [
                (
                    "zeo_server_user zodb is not there, and zeo_server_manage_user is false; create it, or set that "
                    "to true."
                ),
                (
                    "zeo_server_group zodb is not there, and zeo_server_manage_user is false; create it, or set "
                    "that to true."
                ),
                (
                    "zeo_server_client_group web is not there, and zeo_server_manage_user is false; create it, or "
                    "set that to true."
                ),
            ],
            id="account missing",
        ),
        pytest.param(
            one(),
            {"user": "zeo"},
            {"users": {"zeo": {"exists": True, "gid": 105}}, "groups": {"zodb": {"exists": False, "gid": None}}},
            [
                (
                    "zeo_server_group zodb is not there, and the user zeo has another group (number 105); set "
                    "zeo_server_group to that one, or create zodb."
                )
            ],
            id="group of an account that is there",
        ),
        pytest.param(
            one(),
            {},
            both(ALICE, {"paths": {"/etc/zodb": there("directory", mode="0755", **ROOT)}}),
            [
                (
                    "zeo_server_config_dir /etc/zodb: /etc/zodb is not writable for alice, who runs the task; set "
                    "become: true, or name a folder of your own."
                ),
                (
                    "zeo_server_data_dir /var/lib/zodb: /var/lib is not writable for alice, who runs the task; set "
                    "become: true, or name a folder of your own."
                ),
                (
                    "zeo_server_log_dir /var/log/zodb: /var/log is not writable for alice, who runs the task; set "
                    "become: true, or name a folder of your own."
                ),
                (
                    "zeo_server_run_dir /run/zodb: /run is not writable for alice, who runs the task; set become: "
                    "true, or name a folder of your own."
                ),
                (
                    "zeo_server_venv_dir /opt/zodb: /opt is not writable for alice, who runs the task; set become: "
                    "true, or name a folder of your own."
                ),
            ],
            id="folders of root's",
        ),
        pytest.param(
            one(),
            {},
            {"paths": {"/opt/zodb": {"free": 120 * MB}}},
            [
                (
                    "zeo_server_venv_dir /opt/zodb has 120 MB free, and a virtualenv takes 300 MB; make room, or "
                    "name a folder on another disk."
                )
            ],
            id="space for a virtualenv",
        ),
        pytest.param(
            one(),
            {},
            {"paths": {DATA: {"free": 99 * MB}}},
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs has 99 MB free, and a new storage needs 100 "
                    "MB; make room, or choose another disk."
                )
            ],
            id="space for a storage",
        ),
        pytest.param(
            one(),
            PIN,
            {"wheelhouse": {"exists": False, "files": []}},
            [
                (
                    "zeo_server_wheelhouse /srv/wheels is no folder that can be read on this host; copy the wheels "
                    "there, or leave it out."
                )
            ],
            id="wheelhouse missing",
        ),
        pytest.param(
            one(),
            PIN,
            {"wheelhouse": {"exists": True, "files": []}},
            [
                (
                    "zeo_server_wheelhouse /srv/wheels lacks 5 of the packages to install, for Python 3.11: "
                    "zeo==6.2, zc-lockfile==4.0, persistent==6.9 and 2 more; add them with pip download."
                )
            ],
            id="wheelhouse empty",
        ),
        pytest.param(
            one(),
            {**PIN, "extra_packages": ["my_site[web]>=2"]},
            {"wheelhouse": {"exists": True, "files": WHEELS}, "python": {"version": "3.13"}},
            [
                (
                    "zeo_server_wheelhouse /srv/wheels lacks 2 of the packages to install, for Python 3.13: "
                    "persistent==6.9, my_site[web]>=2; add them with pip download."
                )
            ],
            id="wheelhouse of another Python",
        ),
        pytest.param(
            one(),
            {},
            {"read": {"/etc/systemd/system/zeo-pyams.service": "[Unit]\nDescription=PyAMS\n"}},
            [
                PYAMS
                + (
                    "name pyams is that of /etc/systemd/system/zeo-pyams.service, which this role did not write; "
                    "choose another name, or name the tree that it serves in adopt."
                )
            ],
            id="unit of somebody else",
        ),
        pytest.param(
            one(state="absent"),
            {},
            {"read": {"/etc/init.d/zeo-pyams": "#!/bin/sh\n"}},
            [
                PYAMS
                + (
                    "name pyams is that of /etc/init.d/zeo-pyams, which this role did not write; choose another "
                    "name, or name the tree that it serves in adopt."
                )
            ],
            id="init script of somebody else",
        ),
        pytest.param(
            one(state="absent", adopt="/srv/pyams"),
            {},
            {"read": {"/etc/init.d/zeo-pyams": "#!/bin/sh\n"}},
            [
                PYAMS
                + (
                    "name pyams is that of /etc/init.d/zeo-pyams, which this role did not write; take the entry out, "
                    "for the tree was never adopted."
                )
            ],
            id="tree that was never adopted, to be absent",
        ),
        pytest.param(
            one(),
            {},
            held(program="/usr/sbin/nginx", unit="nginx.service"),
            [
                PYAMS
                + (
                    "address 127.0.0.1:8100 is held by process 4711 (/usr/sbin/nginx, nginx.service); stop that, or "
                    "choose another address."
                )
            ],
            id="port held",
        ),
        pytest.param(
            one(),
            {},
            held(program="/opt/zodb/zeo-blog/bin/python /opt/zodb/zeo-blog/bin/runzeo", unit="zeo-blog.service"),
            [
                PYAMS
                + (
                    "address 127.0.0.1:8100 is held by process 4711 (/opt/zodb/zeo-blog/bin/python "
                    "/opt/zodb/zeo-blog/bin/runzeo, zeo-blog.service); stop that, or choose another address."
                )
            ],
            id="port held by another entry's server",
        ),
        pytest.param(
            one(),
            {},
            both(ALICE, MINE, held(pid=None)),
            [
                PYAMS
                + (
                    "address 127.0.0.1:8100 is held by a process that cannot be seen from here; stop that, or "
                    "choose another address."
                )
            ],
            id="port held by a hidden process",
        ),
        *(
            pytest.param(
                one(),
                {},
                {"read": {NOTE: text}},
                [
                    PYAMS
                    + (
                        f"storages[0] pyams: its site {where}, says {NOTE}, and would be written in two places; set "
                        "read_only to true, or move it back by pyams.zodb.migrate with migrate_phase=rollback."
                    )
                ],
                id=f"a note that its site {where}",
            )
            for text, where in (
                (note("moved"), "has moved to postgresql on 2026-11-27 03:30 UTC"),
                (note("switching"), "is on its way to postgresql"),
                (note("returning"), "is on its way back from postgresql"),
                ("cut off", "has moved"),
            )
        ),
        pytest.param(
            one(storages=[{"name": "pyams", "read_only": True}]),
            {"client": True},
            {"read": {NOTE: note("moved")}},
            [
                PYAMS
                + (
                    f"storages[0] pyams: its site has moved to postgresql on 2026-11-27 03:30 UTC, says {NOTE}, and "
                    "would be led back by its clients' files; include the role with tasks_from: server, or move it "
                    "back by pyams.zodb.migrate with migrate_phase=rollback."
                )
            ],
            id="the clients' files of a storage that its site has left",
        ),
        pytest.param(
            one(address="zeo.example.org:8100", tls={"clients": []}),
            {},
            {
                "listens": {
                    "zeo.example.org:8100": {
                        "error": "zeo.example.org:8100 names a host that cannot be resolved; write its IP address"
                    }
                }
            },
            [PYAMS + "address zeo.example.org:8100 names a host that cannot be resolved; write its IP address."],
            id="address of no host",
        ),
        pytest.param(
            one(address="/run/zeo-pyams/zeo.sock"),
            {},
            {"paths": {"/run/zeo-pyams/zeo.sock": there()}},
            [PYAMS + "address /run/zeo-pyams/zeo.sock is a file already, and no socket; choose another path."],
            id="socket that is a file",
        ),
        pytest.param(
            one(address="/srv/sockets/zeo.sock"),
            {},
            {},
            [
                PYAMS
                + (
                    "address /srv/sockets/zeo.sock lies in a folder that is not there; use /run/zeo-pyams, which "
                    "the role makes."
                )
            ],
            id="socket in no folder",
        ),
        pytest.param(
            one(address="/srv/sockets/zeo.sock"),
            {},
            {"paths": {"/srv/sockets": there("directory", mode="0755", **ROOT)}},
            [
                PYAMS
                + (
                    "address /srv/sockets/zeo.sock lies in a folder that zodb may not write (root:root 0755); use "
                    "/run/zeo-pyams, which the role makes."
                )
            ],
            id="socket in a folder of root's",
        ),
        pytest.param(
            one(),
            {"service_manager": "zdaemon", "run_dir": "/srv/" + "a" * 80},
            {},
            [
                PYAMS
                + (
                    f"name pyams makes /srv/{'a' * 80}/zeo-pyams.zdsock, 102 bytes, "
                    "the socket of zdaemon, and Linux takes 99; set zeo_server_run_dir to a shorter path."
                )
            ],
            id="socket of zdaemon too long",
        ),
        pytest.param(
            one(),
            {},
            data("FS21"),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs was written by Python 2 (FS21), which no "
                    "ZODB of today opens; convert a copy with zodbupdate first, see "
                    "https://zodbupdate.readthedocs.io/."
                )
            ],
            id="data of Python 2",
        ),
        pytest.param(
            one(),
            {},
            {"folders": {"/var/lib/zodb/pyams/pyams/blobs": [".layout", "0x00", "tmp"]}},
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is not there, and storages[0].blob_dir "
                    "/var/lib/zodb/pyams/pyams/blobs holds blobs; put the file back, or move the blobs away."
                )
            ],
            id="blobs without their data",
        ),
        pytest.param(
            one(),
            {},
            data("PK34"),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is no FileStorage, it does not begin with "
                    "FS30; name another file."
                )
            ],
            id="data that are no FileStorage",
        ),
        pytest.param(
            one(),
            {},
            data(None),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is no FileStorage, it does not begin with "
                    "FS30; name another file."
                )
            ],
            id="data that are text",
        ),
        pytest.param(
            one(),
            {},
            data(None, error=DATA + ": permission denied"),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs cannot be read, permission denied; give "
                    "zodb the permission."
                )
            ],
            id="data that cannot be read",
        ),
        pytest.param(
            one(),
            {},
            data(owner="zeo", group="www-data"),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs belongs to zeo:www-data, and the server "
                    "runs as zodb; set zeo_server_user: zeo, or give it to zodb with chown."
                )
            ],
            id="data of another user",
        ),
        pytest.param(
            one(),
            {},
            data(owner="root", group="root"),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs belongs to root:root, and the server runs "
                    "as zodb; give it to zodb with chown."
                )
            ],
            id="data of root",
        ),
        pytest.param(
            one(),
            {},
            data(owner="1234", group="1234"),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs belongs to 1234:1234, and the server runs "
                    "as zodb; give it to zodb with chown."
                )
            ],
            id="data of a deleted user",
        ),
        pytest.param(
            one(),
            {},
            both(ALICE, MINE, data(owner="bob", group="bob")),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs belongs to bob:bob, and the server runs as "
                    "alice; run as bob, or have it given to alice."
                )
            ],
            id="data of another user than the one who runs",
        ),
        pytest.param(
            one(),
            {},
            data(**locked("/usr/bin/python3 /srv/env/bin/runzeo")),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is locked by process 4711 (/usr/bin/python3 "
                    "/srv/env/bin/runzeo); stop that, or take its tree over with adopt."
                )
            ],
            id="data locked by another server",
        ),
        pytest.param(
            one(),
            {},
            data(**locked(None, pid=None)),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is locked by a process that cannot be seen "
                    "from here; stop that, or take its tree over with adopt."
                )
            ],
            id="data locked by a hidden process",
        ),
        pytest.param(
            one(),
            {},
            data(**locked("/opt/zodb/zeo-blog/bin/python /opt/zodb/zeo-blog/bin/runzeo", "zeo-blog.service")),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is locked by process 4711 "
                    "(/opt/zodb/zeo-blog/bin/python /opt/zodb/zeo-blog/bin/runzeo, zeo-blog.service); stop that, or "
                    "take its tree over with adopt."
                )
            ],
            id="data locked by another unit",
        ),
        pytest.param(
            one(state="absent", remove_data=True),
            {},
            data(**locked("/usr/bin/python3 /srv/env/bin/runzeo")),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is locked by process 4711 (/usr/bin/python3 "
                    "/srv/env/bin/runzeo); stop that first."
                )
            ],
            id="data to be removed, locked by another",
        ),
        pytest.param(
            one(),
            {},
            both(data(), {"paths": {DATA: {"type": "link", "target": "/mnt/disk/Data.fs"}}}),
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is a link to /mnt/disk/Data.fs, which a "
                    "pack would replace by the packed file; name the file itself."
                )
            ],
            id="data that are a link",
        ),
        pytest.param(
            storage(path="/srv/zodb/pyams"),
            {},
            {"paths": {"/srv/zodb/pyams": there("directory")}},
            [
                PYAMS
                + (
                    "storages[0].path /srv/zodb/pyams is a folder; name the file in it, such as "
                    "/srv/zodb/pyams/Data.fs."
                )
            ],
            id="data that are a folder",
        ),
        pytest.param(
            storage(path="/srv/zodb/pyams/Data.fs"),
            {},
            {"paths": {"/srv/zodb": there(mode="0644")}},
            [
                PYAMS
                + ("storages[0].path /srv/zodb/pyams/Data.fs lies below /srv/zodb, which is no folder; choose another.")
            ],
            id="data below a file",
        ),
        pytest.param(
            storage(path="/home/alice/zodb/Data.fs"),
            {},
            {"paths": {"/home/alice": there("directory", "alice", "alice", "0700")}},
            [
                PYAMS
                + (
                    "storages[0].path /home/alice/zodb/Data.fs lies in /home/alice (alice:alice 0700), which zodb "
                    "may not enter; open it with chmod o+x, or choose another."
                )
            ],
            id="data in a folder that is closed",
        ),
        pytest.param(
            storage(path="/srv/Data.fs"),
            {},
            {},
            [
                PYAMS
                + (
                    "storages[0].path /srv/Data.fs lies in /srv (root:root 0755), where zodb may not write; give it a "
                    "folder of its own, such as /srv/zodb/Data.fs."
                )
            ],
            id="data in a folder of root",
        ),
        pytest.param(
            storage(path="/tmp/zodb/Data.fs", blob_dir="/srv/zodb/blobs"),
            {},
            {},
            [
                PYAMS
                + (
                    "storages[0].path /tmp/zodb/Data.fs lies in a folder for temporary files, of which the unit has "
                    "its own; put data elsewhere."
                )
            ],
            id="data in /tmp",
        ),
        pytest.param(
            one(),
            {},
            {"paths": {BLOBS: there()}},
            [PYAMS + "storages[0].blob_dir /var/lib/zodb/pyams/pyams/blobs is a file; name a folder."],
            id="blobs that are a file",
        ),
        pytest.param(
            one(),
            {},
            {"paths": {BLOBS: there("directory", "zeo", "zeo", "0755")}},
            [
                PYAMS
                + (
                    "storages[0].blob_dir /var/lib/zodb/pyams/pyams/blobs belongs to zeo:zeo, and the server runs "
                    "as zodb; set zeo_server_user: zeo, or give it to zodb with chown."
                )
            ],
            id="blobs of another user",
        ),
        pytest.param(
            one(),
            {},
            {"read": {"/etc/zodb/zeo-pyams.conf": CONF}},
            [
                PYAMS
                + (
                    "storages[0].path /var/lib/zodb/pyams/pyams/Data.fs is not there, and pyams was served from "
                    "/old/Data.fs; stop the server and move the data first, or name the old place."
                ),
                PYAMS
                + (
                    "storages[0].blob_dir /var/lib/zodb/pyams/pyams/blobs is not there, and pyams was served from "
                    "/old/blobs; stop the server and move the data first, or name the old place."
                ),
            ],
            id="data moved",
        ),
        pytest.param(
            own(),
            {},
            both(
                CERTS,
                {
                    "paths": {OWN["cert"]: GONE},
                    "certificates": {
                        OWN["cert"]: {
                            "exists": False,
                            "readable": False,
                            "error": OWN["cert"] + ": no such file or directory",
                            "key_matches": None,
                            "trusted": None,
                        }
                    },
                },
            ),
            [PYAMS + "tls.cert /etc/pki/zeo.pem is not there; put it there, readable for zodb."],
            id="certificate missing",
        ),
        pytest.param(
            own(),
            {},
            cert(
                "cert",
                expired=True,
                days_left=-3.0,
                not_after=TODAY - 3 * DAY,
                trusted=False,
                error=f"{OWN['cert']}: not accepted by {OWN['ca']}: certificate has expired",
            ),
            [PYAMS + "tls.cert /etc/pki/zeo.pem expired on 2026-11-27; renew it."],
            id="certificate expired",
        ),
        pytest.param(
            own(),
            {},
            cert(
                "tools_cert",
                not_before=TODAY + DAY,
                trusted=False,
                error=f"{OWN['tools_cert']}: not accepted by {OWN['ca']}: certificate is not yet valid",
            ),
            [PYAMS + "tls.tools_cert /etc/pki/tools.pem is valid only from 2026-12-01 on; renew it."],
            id="certificate not yet valid",
        ),
        pytest.param(
            own(),
            {},
            cert("cert", key_matches=False, error=f"{OWN['key']}: not the key of {OWN['cert']}", trusted=None),
            [
                PYAMS
                + (
                    "tls.cert /etc/pki/zeo.pem does not belong to the key /etc/pki/zeo.key; give the certificate "
                    "and the key of one pair."
                )
            ],
            id="certificate of another key",
        ),
        pytest.param(
            own(),
            {},
            cert(
                "tools_cert",
                trusted=False,
                error=f"{OWN['tools_cert']}: not accepted by {OWN['ca']}: unable to get local issuer certificate",
            ),
            [
                PYAMS
                + (
                    "tls.tools_cert /etc/pki/tools.pem is not accepted by /etc/pki/ca.pem, unable to get local "
                    "issuer certificate; sign it with that authority, or name its own."
                )
            ],
            id="certificate of another authority",
        ),
        pytest.param(
            own(),
            {},
            cert(
                "tools_cert",
                trusted=False,
                error=f"{OWN['tools_cert']}: not accepted by {OWN['ca']}: CRL has expired",
            ),
            [
                PYAMS
                + (
                    "tls.tools_cert /etc/pki/tools.pem is not accepted by /etc/pki/ca.pem, CRL has expired; put a "
                    "current CRL of each authority into it."
                )
            ],
            id="CRL that is over",
        ),
        pytest.param(
            own(),
            {},
            both(
                cert("ca", **NONE, error=OWN["ca"] + ": there is no certificate in it"),
                {
                    "certificates": {
                        OWN["cert"]: {"trusted": None, "error": OWN["ca"] + ": there is no certificate in it"}
                    }
                },
            ),
            [
                PYAMS + "tls.ca /etc/pki/ca.pem is not to be read as a certificate, there is no certificate in it; "
                "give a PEM file."
            ],
            id="authority that is none",
        ),
        pytest.param(
            own(),
            {},
            both(
                cert("ca", expired=True, days_left=-1.0, not_after=TODAY - DAY),
                {"certificates": {OWN["cert"]: {"trusted": False, "error": "not accepted: certificate has expired"}}},
            ),
            [PYAMS + "tls.ca /etc/pki/ca.pem expired on 2026-11-29; renew it."],
            id="authority that expired",
        ),
        pytest.param(
            own(),
            {},
            cert("cert", **NONE, key_matches=None, error=OWN["cert"] + ": is a directory"),
            [
                PYAMS
                + "tls.cert /etc/pki/zeo.pem is not to be read as a certificate, is a directory; give a PEM file.",
            ],
            id="certificate that is none",
        ),
        pytest.param(
            own(),
            {},
            cert("cert", trusted=None, error=f"{OWN['cert']}: cannot be tried with {OWN['ca']}: EE_KEY_TOO_SMALL"),
            [PYAMS + "tls.cert /etc/pki/zeo.pem cannot be used, EE_KEY_TOO_SMALL; make it anew."],
            id="certificate that is too weak",
        ),
        pytest.param(
            own(),
            {},
            both(CERTS, {"paths": {OWN["ca"]: there("directory", mode="0755", **ROOT)}}),
            [
                PYAMS
                + (
                    "tls.ca /etc/pki/ca.pem is a folder, in which ZEO ignores CRLs; give one PEM file with "
                    "authorities and CRLs."
                )
            ],
            id="authority in a folder",
        ),
        pytest.param(
            own(),
            {},
            both(
                cert("cert", key_matches=None, trusted=None, error=OWN["key"] + ": no such file or directory"),
                {"paths": {OWN["key"]: GONE}},
            ),
            [PYAMS + "tls.key /etc/pki/zeo.key is not there; put it there, readable for zodb alone."],
            id="key missing",
        ),
        pytest.param(
            own(),
            {},
            cert("cert", key_matches=None, trusted=None, error=OWN["key"] + ": the key is encrypted"),
            [
                PYAMS
                + (
                    "tls.key /etc/pki/zeo.key cannot be used, the key is encrypted; give the key of "
                    "/etc/pki/zeo.pem, in PEM and without a password."
                )
            ],
            id="key encrypted",
        ),
        pytest.param(
            own(),
            {},
            both(CERTS, {"paths": {OWN["key"]: there(mode="0600", **ROOT)}}),
            [
                PYAMS
                + ("tls.key /etc/pki/zeo.key is not readable for zodb (root:root 0600); change its group or its mode.")
            ],
            id="key of root's",
        ),
        pytest.param(
            own(),
            {},
            both(CERTS, {"paths": {OWN["tools_key"]: there(mode="0644", **ROOT)}}),
            [
                PYAMS
                + (
                    "tls.tools_key /etc/pki/tools.key can be read by everybody (root:root 0644); chmod it to 0640 "
                    "or 0600."
                )
            ],
            id="key for everybody",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            {},
            [
                PYAMS
                + ("adopt /srv/pyams is no folder on this host; name the one that holds etc and var of the old server.")
            ],
            id="tree missing",
        ),
        pytest.param(
            [{"name": "blog", "adopt": "/srv/pyams"}],
            {},
            both(tree(), {"paths": {"/srv/pyams/etc/blog-zdaemon.conf": {}}}),
            [
                (
                    'zeo_server_instances[0] "blog": adopt /srv/pyams has no etc/blog-zeo.conf that can be read; '
                    "name the entry as the tree's project_slug."
                )
            ],
            id="tree of another name",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            tree(OLDTEXT.replace("8100", "8200")),
            [
                PYAMS
                + (
                    "address 127.0.0.1:8100 is not that of /srv/pyams/etc/pyams-zeo.conf, which its clients know: "
                    "8200; say address: 8200, and change it after the adoption."
                )
            ],
            id="tree of another port",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            tree(OLDTEXT.replace("<filestorage pyams>", "<filestorage site>")),
            [
                PYAMS
                + ("storages lacks site, which /srv/pyams/etc/pyams-zeo.conf serves; write storages: [{name: site}]."),
                PYAMS
                + (
                    "storages[0].name pyams is not served by /srv/pyams/etc/pyams-zeo.conf; take it out until the "
                    "tree is adopted."
                ),
            ],
            id="tree of another storage",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            tree(OLDTEXT.replace("$INSTANCE/var", "/data/zodb")),
            [
                PYAMS
                + (
                    "storages[0].path /srv/pyams/var/Data.fs is not that of /srv/pyams/etc/pyams-zeo.conf, "
                    "/data/zodb/Data.fs; name that one."
                ),
                PYAMS
                + (
                    "storages[0].blob_dir /srv/pyams/var/blobs is not that of /srv/pyams/etc/pyams-zeo.conf, "
                    "/data/zodb/blobs; name that one."
                ),
            ],
            id="tree whose data are elsewhere",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            both(
                tree(),
                {"file_storages": {OLDDATA: {"exists": False, "magic": None, "owner": None}}, "paths": {OLDDATA: GONE}},
            ),
            [
                PYAMS
                + (
                    "storages[0].path /srv/pyams/var/Data.fs is not there, though /srv/pyams/etc/pyams-zeo.conf "
                    "names it; put the data back, or leave adopt out."
                )
            ],
            id="tree whose data are gone",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            both(tree(**locked(OLDRUN)), held(program=OLDRUN), {"paths": {"/srv/pyams/etc/pyams-zdaemon.conf": GONE}}),
            [
                PYAMS
                + (
                    "adopt /srv/pyams has a server that runs and no etc/pyams-zdaemon.conf to stop it with; stop it "
                    "yourself, then run this again."
                )
            ],
            id="tree that cannot be stopped",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            tree(**locked("/srv/pyams/bin/python /srv/pyams/bin/zodbconvert")),
            [
                PYAMS
                + (
                    "storages[0].path /srv/pyams/var/Data.fs is locked by process 4711 (/srv/pyams/bin/python "
                    "/srv/pyams/bin/zodbconvert); stop that first."
                )
            ],
            id="tree whose data another program has",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            tree(magic="FS21"),
            [
                PYAMS
                + (
                    "storages[0].path /srv/pyams/var/Data.fs was written by Python 2 (FS21), which no ZODB of today "
                    "opens; convert a copy with zodbupdate first, see https://zodbupdate.readthedocs.io/."
                )
            ],
            id="tree of Python 2",
        ),
    ],
)
def test_refusals(written, settings, changes, sentences):
    found = judged(written, settings, changes)
    assert found == sentences
    assert [sentence for sentence in found if not SENTENCE.fullmatch(sentence)] == []


@pytest.mark.parametrize(
    ("written", "settings", "changes"),
    [
        pytest.param(one(), {}, {}, id="a virgin host"),
        pytest.param(
            one(),
            {"allow_untested_platform": True},
            {"host": {"distribution": "ubuntu", "version": "24.04"}},
            id="an untested platform, allowed",
        ),
        pytest.param(one(), {"user": "root2"}, both(ALICE, MINE), id="an ordinary user, whose folders are his"),
        pytest.param(
            one(),
            {},
            both(
                data(**locked("/opt/zodb/zeo-2026.11-py3.11-0123456789/bin/python3 /opt/zodb/zeo-pyams/bin/runzeo")),
                held(unit="zeo-pyams.service"),
                {"read": {"/etc/zodb/zeo-pyams.conf": MARK, "/etc/systemd/system/zeo-pyams.service": MARK}},
            ),
            id="our own server",
        ),
        pytest.param(
            one(),
            {"service_manager": "zdaemon"},
            both(
                data(**locked("/opt/zodb/x/bin/python3 /opt/zodb/zeo-pyams/bin/runzeo")),
                held(program="/opt/zodb/x/bin/python3 /opt/zodb/zeo-pyams/bin/runzeo", unit="session-3.scope"),
            ),
            id="our own server under zdaemon",
        ),
        pytest.param(
            one(),
            {},
            {"read": {"/etc/zodb/zeo-pyams.conf": MARK, "/etc/systemd/system/zeo-pyams.service": "[Unit]\n"}},
            id="a unit of ours that was edited by hand",
        ),
        pytest.param(one(), {}, {"python": {"venv": False}}, id="Debian's Python without venv, root"),
        pytest.param(one(), {"manage_user": False}, {}, id="accounts that are there"),
        pytest.param(
            one(),
            {},
            both(
                data(),
                {
                    "paths": {
                        DATA: {"free": MB},
                        "/opt/zodb": {"free": MB},
                        "/opt/zodb/zeo-2026.11-py3.11-0123456789/.complete": there(),
                    }
                },
            ),
            id="a full disk under an old storage",
        ),
        pytest.param(one(), {}, data(None, size=0), id="an empty file"),
        pytest.param(
            one(),
            {**PIN, "extra_packages": ["zodb[test]>=6"]},
            {"wheelhouse": {"exists": True, "files": WHEELS}},
            id="a wheelhouse with everything",
        ),
        pytest.param(own(), {}, CERTS, id="certificates in order"),
        pytest.param(
            own(),
            {},
            both(CERTS, {"paths": {OWN["key"]: there(owner="root", group="ssl-cert", mode="0640")}}),
            id="a key for another group, which the account may be in",
        ),
        pytest.param(
            one(),
            {},
            {"paths": {BLOBS: there("link", mode="0777", target="/mnt/blobs", **ROOT)}},
            id="blobs behind a link",
        ),
        pytest.param(
            one(adopt="/srv/pyams"),
            {},
            both(
                tree(**locked(OLDRUN)),
                held(program=OLDRUN, unit="zeo-pyams.service"),
                {"read": {"/etc/init.d/zeo-pyams": "#!/bin/sh\n"}},
            ),
            id="a tree with its server running",
        ),
        pytest.param(
            [
                {"name": "old", "state": "absent"},
                {"name": "pyams", "storages": [{"name": "pyams", "path": "/srv/Data.fs", "blob_dir": "/srv/b"}]},
            ],
            {},
            both(
                data(path="/srv/Data.fs", **locked("python3 /opt/zodb/zeo-old/bin/runzeo", "zeo-old.service")),
                {"paths": {"/srv": there("directory", owner="zodb", mode="0755")}},
                held(unit="zeo-old.service"),
            ),
            id="a port and data that an entry leaves which is to be absent",
        ),
        pytest.param(
            one(),
            {},
            both(data(**locked("python3 /opt/zodb/zeo-pyams/bin/runzeo")), held(pid=None)),
            id="our own server, whose socket cannot be seen",
        ),
        pytest.param(
            one(storages=[{"name": "pyams", "read_only": True}]),
            {},
            both(
                data(),
                held(pid=None),
                {"read": {"/etc/zodb/zeo-pyams.conf": CONF.replace("/old/", "/var/lib/zodb/pyams/pyams/")}},
            ),
            id="our own server, read-only, whose socket cannot be seen",
        ),
        pytest.param(
            one(storages=[{"name": "pyams", "read_only": True}]),
            {},
            {"read": {NOTE: note("moved")}},
            id="a storage that its site has left, read-only",
        ),
        pytest.param(one(), {"moves": True}, {"read": {NOTE: note("moved")}}, id="the role migrate moves it back"),
        pytest.param(
            one(adopt="/srv/pyams", address="8200"),
            {},
            both(tree(), {"read": {"/etc/zodb/zeo-pyams.conf": MARK, OLD: None}}),
            id="a tree that is adopted",
        ),
        pytest.param(
            one(),
            {},
            both(
                data(), {"paths": {BLOBS: there("directory", mode="0700")}, "read": {"/etc/zodb/zeo-pyams.conf": CONF}}
            ),
            id="data that were moved by hand",
        ),
    ],
)
def test_what_is_right_is_not_refused(written, settings, changes):
    assert judged(written, settings, changes) == []


def judged(written, settings, changes):
    """Return the refusals on a host that has nothing but these changes."""
    completed, settings = entries(written), {**SETTINGS, **settings}
    host = both(virgin(questions(completed, settings)), changes)
    return refusals(completed, settings, host)


def test_what_is_wrong_on_any_host_comes_first_and_is_not_looked_for_there():
    written = [{"name": "pyams", "address": "localhost"}, {"name": "blog"}]
    assert judged(written, {}, held(program="/usr/sbin/nginx")) == [
        PYAMS + "address localhost has no port; write localhost:8100.",
        'zeo_server_instances[1] "blog": address 127.0.0.1:8100 is held by process 4711 (/usr/sbin/nginx); '
        "stop that, or choose another address.",
    ]


@pytest.mark.parametrize("part", ["paths", "listens", "file_storages", "certificates", "read", "users", "groups"])
def test_a_rule_is_not_passed_over_because_nobody_asked(part):
    completed = entries(own())
    host = both(virgin(questions(completed, SETTINGS)), CERTS)
    with pytest.raises(KeyError):
        refusals(completed, {**SETTINGS, "manage_user": False}, {**host, part: {}})


def shape(value):
    """Return the keys of a value at every depth; entries by path, name or address are of one shape."""
    return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else None


def test_the_real_module_answers_in_the_shape_that_these_tests_use(tmp_path):
    completed = entries([*one(address=str(tmp_path / "zeo.sock"), adopt=str(tmp_path)), {"name": "b", "tls": OWN}])
    asked = questions(completed, {**SETTINGS, "wheelhouse": str(tmp_path)})
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "adhoc",
            "localhost",
            "-m",
            "pyams.zodb.zodb_host_info",
            "-a",
            json.dumps(asked),
        ],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(collections())},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(run.stdout.partition("=>")[2])
    del answer["changed"]
    assert shape(answer) == shape(virgin(asked))
    assert {key for key in asked if asked[key]} <= set(answer)


def collections():
    """Return the folder of collections that this test found the collection in."""
    module = pathlib.Path(sys.modules[refusals.__module__].__file__)
    return next(parent.parent for parent in module.parents if parent.name == "ansible_collections")
