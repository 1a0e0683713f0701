# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input to the real role, on a host where everything that it finds is real: a sentence says why, nothing changes.

Two runs of ansible-playbook go through all cases, an ordinary user's and root's. Where the role refuses nothing
it goes on, and falls over a wire that is drawn right behind its preflight.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import hashlib
import ipaddress
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time

import ansible_tasks
import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _host, _virtualenv
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ENTRY = 'zeo_server_instances[0] "pyams": '
OWN = {
    "ca": "<top>/pki/ca.pem",
    "cert": "<top>/pki/zeo.pem",
    "key": "<top>/pki/zeo.key",
    "tools_cert": "<top>/pki/tools.pem",
    "tools_key": "<top>/pki/tools.key",
}


def one(**keys):
    """Return one entry as the role's variable, on a port that is free."""
    return {"instances": [{"name": "pyams", "address": "<free>", **keys}]}


def data(folder, **keys):
    """Return one entry whose storage lies in a folder of the stage."""
    return one(storages=[{"name": "pyams", "path": f"<top>/{folder}/Data.fs", **keys}])


# Words in <> stand for what the stage makes: its folder, ports, and how a process is named.
ORDINARY = [
    # The argument spec's own messages, of which the role needs no rule
    pytest.param(one(adress=8100), ["zeo_server_instances.adress. Supported parameters include:"], id="unknown key"),
    pytest.param(
        one(pack={"dayz": 1}),
        ["zeo_server_instances.pack.dayz. Supported parameters include:"],
        id="unknown key deep in it",
    ),
    pytest.param(
        one(transaction_timeout="soon"),
        ["argument 'transaction_timeout' is of type str found in 'zeo_server_instances'", "unable to convert to int"],
        id="wrong type",
    ),
    pytest.param(one(log="syslog"), ["value of log must be one of: journal, file, got: syslog"], id="wrong choice"),
    pytest.param({"instances": [{"address": 8100}]}, ["missing required arguments: name"], id="no name"),
    # What is wrong on any host
    pytest.param(
        {"instances": [{"name": "PyAMS"}]},
        [
            'zeo_server_instances[0] "PyAMS": name PyAMS cannot name units and folders; begin with a '
            "small letter, go on "
            "with small letters, digits, _ or -, 32 at most, such as pyams."
        ],
        id="bad name",
    ),
    pytest.param(
        {"instances": [{"name": "pyams"}, {"name": "pyams", "address": 8101}]},
        [
            'zeo_server_instances[1] "pyams": name pyams is already that of zeo_server_instances[0]; '
            "give each entry its own."
        ],
        id="name twice",
    ),
    pytest.param(
        {"instances": [{"name": "pyams", "address": 8100}, {"name": "blog", "address": "8100"}]},
        [
            'zeo_server_instances[1] "blog": address 127.0.0.1:8100 is already that of "pyams"; '
            "give each instance its own port."
        ],
        id="port as number and as text",
    ),
    pytest.param(
        one(address="127.0.0.1:99999"),
        [ENTRY + "address 127.0.0.1:99999 has no port from 1 to 65535; write 127.0.0.1:8100."],
        id="bad port",
    ),
    pytest.param(
        one(address="0.0.0.0:8100"),
        [
            ENTRY + "address 0.0.0.0:8100 lets anyone who reaches it run code in the server; set tls, or listen on "
            "127.0.0.1, or say allow_unauthenticated."
        ],
        id="network without TLS",
    ),
    pytest.param(
        one(storages=[{"name": "a", "path": "<top>/a/Data.fs"}, {"name": "b", "path": "<top>/a/Data.fs"}]),
        [ENTRY + "storages[1].path <top>/a/Data.fs is already that of storages[0]; give each storage its own."],
        id="path of two storages",
    ),
    pytest.param(
        one(storages=[{"name": "a", "path": "<top>/a/1.fs"}, {"name": "b", "path": "<top>/a/2.fs"}]),
        [
            ENTRY + "storages[1].blob_dir <top>/a/blobs is already that of storages[0]; give each its own, for a pack "
            "deletes blobs that it does not know."
        ],
        id="blob_dir of two storages",
    ),
    pytest.param(
        {**one(), "log_dir": "logs"},
        ["zeo_server_log_dir logs is a relative path; write it from / on."],
        id="relative log folder",
    ),
    pytest.param(
        {**one(), "release": "0.1.4"},
        ["zeo_server_release 0.1.4 does not ship with this collection; choose latest, <releases>."],
        id="release of the scaffold",
    ),
    pytest.param(
        {**one(), "pyams_release": "0.1.4", "zeo_server_port": 8100},
        [
            "zeo_server_port: nothing reads this variable of the old scaffold; say address in an entry of "
            "zeo_server_instances instead.",
            "pyams_release: nothing reads this variable of the old scaffold; say zeo_server_release instead.",
        ],
        id="variables of the scaffold",
    ),
    pytest.param(
        one(authentication_database="etc/auth.db"),
        [
            ENTRY + "authentication_database is gone since ZEO 5; set tls, one certificate per client replaces "
            "the passwords."
        ],
        id="passwords of ZEO 4",
    ),
    pytest.param(
        one(tls={**OWN, "ca": "SIGNED"}),
        [
            ENTRY + "tls.ca SIGNED ends the server or shuts everybody out, whatever ZEO's documentation says; "
            "give a PEM file of the authorities."
        ],
        id="SIGNED",
    ),
    pytest.param(
        {**one(tls=OWN), "tasks_from": "main"},
        [
            ENTRY + "tls lacks client_cert and client_key, which the clients' files name; give both, or run "
            "tasks_from=server alone."
        ],
        id="no certificate for clients",
    ),
    pytest.param(
        {**one(address="127.0.0.1"), "tasks_from": "client"},
        [ENTRY + "address 127.0.0.1 has no port; write 127.0.0.1:8100."],
        id="no port, told to a client",
    ),
    pytest.param(
        one(zconfig="</zeo>"),
        [ENTRY + "zconfig, line 1, closes <zeo> or a section that it did not open; give lines of <zeo> alone."],
        id="raw lines that end the section",
    ),
    pytest.param(
        {**one(), "extra_packages": ["git+https://bob:s3cret-s3cret@example.org/site.git"]},
        [
            "zeo_server_extra_packages[0] holds a password, which every user of the host could read; put "
            "it into root's "
            "~/.netrc."
        ],
        id="password in a requirement",
    ),
    # What is wrong on this host
    pytest.param(
        {**one(), "allow_untested_platform": False},
        [
            "zeo_server_allow_untested_platform false: this host is ubuntu 24.04, and Debian 12 and 13 are tested; "
            "set it to true to go on at your own risk."
        ],
        id="platform",
    ),
    pytest.param(
        {**one(), "python": "<top>/no/python3"},
        ["zeo_server_python <top>/no/python3 is not there or does not run; install it, or name another Python."],
        id="no Python",
    ),
    pytest.param(
        {**one(), "config_dir": "/etc/zodb-refused", "venv_dir": "/opt/zodb-refused"},
        [
            "zeo_server_config_dir /etc/zodb-refused: /etc is not writable for <user>, who runs the task; "
            "set become: true, or name a folder of your own.",
            "zeo_server_venv_dir /opt/zodb-refused: /opt is not writable for <user>, who runs the task; "
            "set become: true, or name a folder of your own.",
        ],
        id="folders of root's",
    ),
    pytest.param(
        {**one(), "run_dir": "<top>/" + "r" * 80},
        [
            f"{ENTRY}name pyams makes <top>/{'r' * 80}/zeo-pyams.zdsock, <length> bytes, the socket of "
            "zdaemon, and Linux "
            "takes 99; set zeo_server_run_dir to a shorter path."
        ],
        id="folder too long for zdaemon's socket",
    ),
    pytest.param(
        {**one(), "venv_dir": "<top>/small/venv"},
        [
            "zeo_server_venv_dir <top>/small/venv has 20 MB free, and a virtualenv takes 300 MB; make room, "
            "or name a folder on another disk."
        ],
        id="no space for a virtualenv",
    ),
    pytest.param(
        data("small"),
        [
            ENTRY + "storages[0].path <top>/small/Data.fs has 20 MB free, and a new storage needs 100 MB; make room, "
            "or choose another disk."
        ],
        id="no space for a storage",
    ),
    pytest.param(
        {**one(), "wheelhouse": "<top>/no/wheels"},
        [
            "zeo_server_wheelhouse <top>/no/wheels is no folder that can be read on this host; copy the wheels there, "
            "or leave it out."
        ],
        id="no wheelhouse",
    ),
    pytest.param(
        {**one(), "wheelhouse": "<top>/wheels"},
        [
            "zeo_server_wheelhouse <top>/wheels lacks 2 of the packages to install, for Python <python>: <lacking>; "
            "add them with pip download."
        ],
        id="wheelhouse that lacks packages",
    ),
    pytest.param(
        one(address="<held>"),
        [ENTRY + "address 127.0.0.1:<held> is held by <listener>; stop that, or choose another address."],
        id="port held",
    ),
    pytest.param(
        one(address="0.0.0.0:<held>", allow_unauthenticated=True),
        [ENTRY + "address 0.0.0.0:<held> is held by <listener>; stop that, or choose another address."],
        id="port held on one of all addresses",
    ),
    pytest.param(
        one(address="<hidden>"),
        [
            ENTRY + "address 127.0.0.1:<hidden> is held by a process that cannot be seen from here; stop that, "
            "or choose another address."
        ],
        id="port held by root",
    ),
    pytest.param(
        one(address="zeo.invalid:8100", tls={"clients": []}),
        [ENTRY + "address zeo.invalid:8100 names a host that cannot be resolved; write its IP address."],
        id="host that does not resolve",
    ),
    pytest.param(
        one(address="<top>/python2/Data.fs"),
        [ENTRY + "address <top>/python2/Data.fs is a file already, and no socket; choose another path."],
        id="socket that is a file",
    ),
    pytest.param(
        one(address="<top>/no/zeo.sock"),
        [ENTRY + "address <top>/no/zeo.sock lies in a folder that is not there; use <top>/run, which the role makes."],
        id="socket in no folder",
    ),
    pytest.param(
        data("python2"),
        [
            ENTRY + "storages[0].path <top>/python2/Data.fs was written by Python 2 (FS21), which no ZODB of today "
            "opens; "
            "convert a copy with zodbupdate first, see https://zodbupdate.readthedocs.io/."
        ],
        id="data of Python 2",
    ),
    pytest.param(
        data("text"),
        [
            ENTRY + "storages[0].path <top>/text/Data.fs is no FileStorage, it does not begin with FS30; name another "
            "file."
        ],
        id="no data",
    ),
    pytest.param(
        data("given"),
        [
            ENTRY + "storages[0].path <top>/given/Data.fs belongs to nobody:nogroup, and the server runs as <user>; "
            "run as nobody, or have it given to <user>."
        ],
        id="data of another user",
    ),
    pytest.param(
        data("owned"),
        [
            ENTRY
            + "storages[0].path <top>/owned/Data.fs lies in <top>/owned (nobody:nogroup 0755), where <user> may not "
            "write; give it a folder of its own, such as <top>/owned/zodb/Data.fs."
        ],
        id="data in a folder of another user",
    ),
    pytest.param(
        data("hidden"),
        [
            ENTRY + "storages[0].path <top>/hidden/Data.fs cannot be read, permission denied; "
            "give <user> the permission.",
            ENTRY + "storages[0].path <top>/hidden/Data.fs belongs to root:root, and the server runs as <user>; "
            "run as root, or have it given to <user>.",
        ],
        id="data that cannot be read",
    ),
    pytest.param(
        data("locked"),
        [
            ENTRY + "storages[0].path <top>/locked/Data.fs is locked by <locker>; stop that, "
            "or take its tree over with adopt."
        ],
        id="data locked by a server",
    ),
    pytest.param(
        one(state="absent", remove_data=True, storages=[{"name": "pyams", "path": "<top>/locked/Data.fs"}]),
        [ENTRY + "storages[0].path <top>/locked/Data.fs is locked by <locker>; stop that first."],
        id="data to be removed, locked by a server",
    ),
    pytest.param(
        data("link"),
        [
            ENTRY + "storages[0].path <top>/link/Data.fs is a link to <top>/good/Data.fs, which a pack would "
            "replace by the "
            "packed file; name the file itself."
        ],
        id="data that are a link",
    ),
    pytest.param(
        one(storages=[{"name": "pyams", "path": "<top>/good"}]),
        [ENTRY + "storages[0].path <top>/good is a folder; name the file in it, such as <top>/good/Data.fs."],
        id="data that are a folder",
    ),
    pytest.param(
        data("text/Data.fs/deeper"),
        [
            ENTRY + "storages[0].path <top>/text/Data.fs/deeper/Data.fs lies below <top>/text/Data.fs, "
            "which is no folder; choose another."
        ],
        id="data below a file",
    ),
    pytest.param(
        data("closed/in"),
        [
            ENTRY + "storages[0].path <top>/closed/in/Data.fs lies in <top>/closed (root:root 0700), which <user> "
            "may not "
            "enter; open it with chmod o+x, or choose another."
        ],
        id="data behind a closed door",
    ),
    pytest.param(
        data("good", blob_dir="<top>/text/Data.fs"),
        [ENTRY + "storages[0].blob_dir <top>/text/Data.fs is a file; name a folder."],
        id="blobs that are a file",
    ),
    pytest.param(
        data("good", blob_dir="<top>/owned"),
        [
            ENTRY + "storages[0].blob_dir <top>/owned belongs to nobody:nogroup, and the server runs as <user>; "
            "run as nobody, or have it given to <user>."
        ],
        id="blobs of another user",
    ),
    pytest.param(
        {**one(), "config_dir": "<top>/moved"},
        [
            ENTRY + "storages[0].path <top>/data/pyams/pyams/Data.fs is not there, and pyams was served from "
            "<top>/good/Data.fs; stop the server and move the data first, or name the old place."
        ],
        id="data that were not moved",
    ),
    pytest.param(
        one(tls={**OWN, "cert": "<top>/pki/expired.pem"}),
        [ENTRY + "tls.cert <top>/pki/expired.pem expired on 2020-01-02; renew it."],
        id="certificate expired",
    ),
    pytest.param(
        one(tls={**OWN, "cert": "<top>/pki/other.pem"}),
        [
            ENTRY + "tls.cert <top>/pki/other.pem does not belong to the key <top>/pki/zeo.key; give the "
            "certificate and "
            "the key of one pair."
        ],
        id="certificate of another key",
    ),
    pytest.param(
        one(tls={**OWN, "tools_cert": "<top>/pki/strange.pem"}),
        [
            ENTRY + "tls.tools_cert <top>/pki/strange.pem is not accepted by <top>/pki/ca.pem, <unknown issuer>; "
            "sign it with that authority, or name its own."
        ],
        id="certificate of another authority",
    ),
    pytest.param(
        one(tls={**OWN, "key": "<top>/pki/no.key"}),
        [ENTRY + "tls.key <top>/pki/no.key is not there; put it there, readable for <user> alone."],
        id="key missing",
    ),
    pytest.param(
        one(tls={**OWN, "ca": "<top>/pki"}),
        [
            ENTRY + "tls.ca <top>/pki is a folder, in which ZEO ignores CRLs; "
            "give one PEM file with authorities and CRLs."
        ],
        id="authorities in a folder",
    ),
    pytest.param(
        one(tls={**OWN, "ca": "<top>/text/Data.fs"}),
        [
            ENTRY + "tls.ca <top>/text/Data.fs is not to be read as a certificate, there is no certificate in it; give "
            "a PEM file."
        ],
        id="authorities that are none",
    ),
    pytest.param(
        one(tls={**OWN, "tools_key": "<top>/pki/open.key"}),
        [
            ENTRY + "tls.tools_key <top>/pki/open.key can be read by everybody (<user>:<user> 0644); "
            "chmod it to 0640 or 0600."
        ],
        id="key for everybody",
    ),
    pytest.param(
        one(adopt="<top>/no/tree"),
        [
            ENTRY + "adopt <top>/no/tree is no folder on this host; name the one that holds etc and var of the old "
            "server."
        ],
        id="no tree",
    ),
    pytest.param(
        {"instances": [{"name": "blog", "address": "<free>", "adopt": "<top>/tree"}]},
        [
            'zeo_server_instances[0] "blog": adopt <top>/tree has no etc/blog-zeo.conf that can be read; '
            "name the entry as the tree's project_slug."
        ],
        id="tree of another name",
    ),
    pytest.param(
        one(adopt="<top>/tree"),
        [
            ENTRY + "address 127.0.0.1:<free> is not that of <top>/tree/etc/pyams-zeo.conf, which its clients know: "
            "127.0.0.1:<old>; say address: 127.0.0.1:<old>, and change it after the adoption."
        ],
        id="tree with another address",
    ),
    pytest.param(
        one(address="<old>", adopt="<top>/tree", storages=[{"name": "site"}]),
        [
            ENTRY + "storages lacks pyams, which <top>/tree/etc/pyams-zeo.conf serves; write storages: [{name: "
            "pyams}].",
            ENTRY + "storages[0].name site is not served by <top>/tree/etc/pyams-zeo.conf; "
            "take it out until the tree is adopted.",
        ],
        id="tree with another storage",
    ),
    pytest.param(
        one(address="<old>", storages=[{"name": "pyams", "path": "<top>/tree/var/Data.fs"}]),
        [
            ENTRY + "address 127.0.0.1:<old> is held by a process that cannot be seen from here; stop that, "
            "or choose another address.",
            ENTRY + "storages[0].path <top>/tree/var/Data.fs is locked by <old daemon>; stop that, "
            "or take its tree over with adopt.",
        ],
        id="tree that is served and not adopted",
    ),
]
ROOT = [
    pytest.param(
        {**one(), "service_manager": "systemd"},
        [
            "zeo_server_service_manager systemd: systemd does not run this host; choose zdaemon, or auto.",
            ENTRY + "storages[0].path <top>/data/pyams/pyams/Data.fs lies in a folder for temporary files, of "
            "which the unit "
            "has its own; put data elsewhere.",
        ],
        id="no systemd",
    ),
    pytest.param(
        {**one(), "user": "root"},
        [
            "zeo_server_user root would give whoever reaches a server the whole host; name an account of its own, "
            "such as zodb."
        ],
        id="root as the server's user",
    ),
    pytest.param(
        {**one(), "user": "zodb-nobody", "group": "zodb-nobody", "manage_user": False},
        [
            "zeo_server_user zodb-nobody is not there, and zeo_server_manage_user is false; create it, "
            "or set that to true.",
            "zeo_server_group zodb-nobody is not there, and zeo_server_manage_user is false; "
            "create it, or set that to true.",
        ],
        id="account missing",
    ),
    pytest.param(
        {**one(), "group": "zodb-nobody"},
        [
            "zeo_server_group zodb-nobody is not there, and the user <user> has another group (number <gid>); "
            "set zeo_server_group to that one, or create zodb-nobody."
        ],
        id="group missing",
    ),
    pytest.param(
        data("given"),
        [
            ENTRY + "storages[0].path <top>/given/Data.fs belongs to nobody:nogroup, and the server runs as <user>; "
            "set zeo_server_user: nobody, or give it to <user> with chown."
        ],
        id="data of another user, told to root",
    ),
    pytest.param(
        one(tls={**OWN, "key": "<top>/pki/root.key"}),
        [
            ENTRY + "tls.key <top>/pki/root.key is not readable for <user> (root:root 0600); "
            "change its group or its mode."
        ],
        id="key of root's",
    ),
    pytest.param(
        {"instances": [{"name": "foreign", "address": "<free>"}]},
        [
            'zeo_server_instances[0] "foreign": name foreign is that of /etc/init.d/zeo-foreign, which '
            "this role did not "
            "write; choose another name, or name the tree that it serves in adopt."
        ],
        id="init script of somebody else",
    ),
    pytest.param(
        {"instances": [{"name": "foreign", "state": "absent"}]},
        [
            'zeo_server_instances[0] "foreign": name foreign is that of /etc/init.d/zeo-foreign, which '
            "this role did not "
            "write; choose another name, or name the tree that it serves in adopt."
        ],
        id="init script of somebody else, to be absent",
    ),
]
ACCEPTED = [
    pytest.param(one(), id="nothing said"),
    pytest.param(data("good"), id="data that are there"),
    pytest.param(one(tls=OWN), id="certificates in order"),
    pytest.param(one(address="<old>", adopt="<top>/tree"), id="tree whose server runs"),
    pytest.param({**one(), "wheelhouse": "<top>/all-wheels"}, id="wheelhouse with everything"),
]


# The first variables that the role reads when it goes on.
WIRE = "went past the preflight"
DRAWN = ("__zeo_server_account_missing", "__zeo_server_virtualenv_missing")


class Stage:
    """A folder with every condition of the cases, and the processes that hold ports and data."""

    def __init__(self, account):
        self.account = account
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="zodb-"))
        self.ended = []
        self.words = {"user": account, "top": str(self.top), "python": ansible_python()}
        self.words["gid"] = id_of(account, "-g")
        self.words["length"] = str(len(f"{self.top}/{'r' * 80}/zeo-pyams.zdsock"))
        try:
            self.files()
            self.certificates()
            self.wheels()
            self.servers()
        except BaseException:
            self.end()
            raise

    def file(self, path, content="", mode=0o600):
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else self.filled(content).encode())
        file.chmod(mode)
        return file

    def filled(self, text):
        for word, value in self.words.items():
            text = text.replace(f"<{word}>", value)
        return text

    def files(self):
        self.file("python2/Data.fs", b"FS21" + bytes(100))
        self.file("text/Data.fs", "No objects here, only words.\n")
        self.file("good/Data.fs", b"FS30")
        self.file("given/Data.fs", b"FS30", 0o644)
        self.file("hidden/Data.fs", b"FS30")
        self.file("closed/in/there", "")
        self.file("os-release", "ID=ubuntu\nVERSION_ID=24.04\n", 0o644)
        self.file(
            "moved/zeo-pyams.conf",
            "# role pyams.zodb.zeo_server\n<filestorage pyams>\n  path <top>/good/Data.fs\n</filestorage>\n",
        )
        for folder in ("small", "link", "owned"):
            (self.top / folder).mkdir()
        (self.top / "link/Data.fs").symlink_to(self.top / "good/Data.fs")

    def certificates(self):
        (self.top / "pki").mkdir()
        authority = Certificate("authority")
        usage = {"zeo": ExtendedKeyUsageOID.SERVER_AUTH, "tools": ExtendedKeyUsageOID.CLIENT_AUTH}
        made = {name: Certificate(name, authority, purpose) for name, purpose in usage.items()}
        strange = Certificate("tools", Certificate("stranger"), usage["tools"], key=made["tools"].key)
        other = Certificate("zeo", authority, usage["zeo"])
        expired = Certificate("zeo", authority, usage["zeo"], made["zeo"].key, datetime.datetime(2020, 1, 1))
        made.update(ca=authority, strange=strange, other=other, expired=expired)
        for name, certificate in made.items():
            self.file(f"pki/{name}.pem", certificate.pem)
        self.file("pki/zeo.key", made["zeo"].private)
        self.file("pki/tools.key", made["tools"].private)
        self.file("pki/open.key", made["tools"].private, 0o644)
        self.file("pki/root.key", made["zeo"].private)
        issuer = subprocess.run(
            ["openssl", "verify", "-CAfile", self.top / "pki/ca.pem", self.top / "pki/strange.pem"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.words["unknown issuer"] = re.search(r"lookup: (.*)", issuer.stderr)[1]

    def wheels(self):
        """Lay wheels of every package of the newest lock by name, all of them and all but two."""
        about = _virtualenv.describe(str(ansible_tasks.ROOT / "roles/zodb_common/files"), "zeo", "latest", [], "/opt")
        pins = about["pins"]
        names = [f"{pin['name'].replace('-', '_')}-{pin['version']}-py3-none-any.whl" for pin in pins]
        for folder, there in (("all-wheels", names), ("wheels", names[2:])):
            for name in there:
                self.file(f"{folder}/{name}")
        self.words["lacking"] = ", ".join(f"{pin['name']}=={pin['version']}" for pin in pins[:2])
        *others, last = about["releases"]
        self.words["releases"] = f"{', '.join(others)} or {last}" if others else last

    def servers(self):
        """Start a server under zdaemon as the old scaffold did, one by itself, and listeners of the "
        "user and of root."""
        programs = pathlib.Path(sys.executable).parent
        self.words["old"], self.words["free"] = (str(free_port()) for _port in range(2))
        storage = "<filestorage pyams>\n  path <top>/{0}/Data.fs\n  blob-dir <top>/{0}/blobs\n</filestorage>\n"
        self.file("tree/etc/pyams-zeo.conf", "<zeo>\n  address 127.0.0.1:<old>\n</zeo>\n" + storage.format("tree/var"))
        zdaemon = self.file(
            "tree/etc/pyams-zdaemon.conf",
            f"<runner>\n  program {programs}/runzeo -C <top>/tree/etc/pyams-zeo.conf\n  socket-name <top>/tree/zdsock\n"
            "  directory <top>/tree/var\n  daemon true\n</runner>\n",
        )
        alone = self.file(
            "locked/zeo.conf",
            "<zeo>\n  address <top>/locked/zeo.sock\n  pid-filename <top>/locked/zeo.pid\n</zeo>\n"
            + storage.format("locked"),
        )
        for folder in ("tree/var/blobs", "locked/blobs"):
            (self.top / folder).mkdir(parents=True)
        control = [str(programs / "zdaemon"), "-C", str(zdaemon)]
        self.ended.append(lambda: subprocess.run([*control, "stop"], check=False, capture_output=True))
        subprocess.run([*control, "start"], check=True, capture_output=True)
        self.start([str(programs / "runzeo"), "-C", str(alone)])
        self.words["old daemon"] = process(lock_holder(self.top / "tree/var/Data.fs"))
        self.words["locker"] = process(lock_holder(self.top / "locked/Data.fs"))
        subprocess.run(["chown", "-hR", f"{self.account}:{self.account}", str(self.top)], check=True)
        subprocess.run(["chown", "-R", "nobody:nogroup", str(self.top / "owned")], check=True)
        subprocess.run(["chown", "nobody:nogroup", str(self.top / "given/Data.fs")], check=True)
        for path in ("hidden/Data.fs", "closed", "pki/root.key"):
            os.chown(self.top / path, 0, 0)
        (self.top / "closed").chmod(0o700)
        self.top.chmod(0o755)
        listen = (
            "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
            "sys.stdin.read()"
        )
        as_user = ["setpriv", f"--reuid={self.account}", f"--regid={self.account}", "--clear-groups"]
        for word, by in (("held", as_user), ("hidden", [])):
            listener = self.start([*by, "/usr/bin/python3", "-c", listen])
            self.words[word] = listener.stdout.readline().strip()
            if by:
                self.words["listener"] = process(listener.pid, words=1)

    def start(self, command):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        started = subprocess.Popen(command, **pipes, text=True)

        def end():
            started.terminate()
            started.communicate(timeout=30)

        self.ended.append(end)
        return started

    def end(self):
        for end in reversed(self.ended):
            end()
        shutil.rmtree(self.top)

    def variables(self, settings):
        """Return the role's variables for a case: everything in folders of the stage."""
        folders = {f"{name}_dir": f"<top>/{name}" for name in ("data", "log", "cache", "run", "venv")}
        common = {"config_dir": "<top>/etc", **folders, "python": "/usr/bin/python3", "allow_untested_platform": True}
        account = {"user": self.account, "group": self.account, "client_group": self.account}
        given = {"service_manager": "zdaemon", **common, **account, **settings}
        old = ("pyams_release", "zeo_server_port")
        given.pop("tasks_from", None)
        named = {name if name in old else f"zeo_server_{name}": value for name, value in given.items()}
        return json.loads(self.filled(json.dumps(named)))

    def play(self, cases, user=None):
        """Return a play that runs the role once for each case, and tells what stopped it."""
        tasks = [self.task(case.values[0], case.id) for case in cases]
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        if user:
            play.update(become=True, become_user=user, become_method="ansible.builtin.su")
        return play

    def task(self, settings, case):
        told = {"case": case, "by": "{{ ansible_failed_task.name }}", "message": "{{ ansible_failed_result.msg }}"}
        role = {"name": "pyams.zodb.zeo_server", "tasks_from": settings.get("tasks_from", "server")}
        return {
            "name": case,
            "block": [{"ansible.builtin.include_role": role, "vars": self.variables(settings)}],
            "rescue": [{"ansible.builtin.debug": {"msg": told}}],
        }

    def run(self, plays, callback="ansible.posix.json"):
        """Run plays where this host looks like another one, where a disk is small and an init script is somebody's.

        All of this is in a mount namespace, and ends with the run.
        """
        playbook = pathlib.Path(tempfile.mkstemp(prefix="zodb-", suffix=".json")[1])
        playbook.write_text(json.dumps(plays))
        mounts = (
            'mount -t tmpfs -o size=20m,uid=$2 tmpfs "$1/small" && mount --bind "$1/os-release" /etc/os-release && '
            "mount -t tmpfs tmpfs /etc/init.d && echo '#!/bin/sh' >/etc/init.d/zeo-foreign && mkdir -p /run/systemd && "
            'mount -t tmpfs tmpfs /run/systemd && shift 2 && exec "$@"'
        )
        wire = json.dumps(dict.fromkeys(DRAWN, "{{ undef(hint='%s') }}" % WIRE))
        prefix = ["unshare", "--mount", "sh", "-c", mounts, "sh", str(self.top), id_of(self.account, "-u")]
        try:
            return subprocess.run(
                [*prefix, *ansible_tasks.command(playbook, "--extra-vars", wire)],
                env=ansible_tasks.environment(ANSIBLE_STDOUT_CALLBACK=callback),
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            playbook.unlink()

    def told(self, done):
        """Return what the tasks of a run told, by case."""
        try:
            plays = json.loads(done.stdout)["plays"]
        except ValueError:
            raise AssertionError(done.stdout + done.stderr) from None
        told = [task["hosts"]["localhost"].get("msg") for play in plays for task in play["tasks"]]
        return {one["case"]: one for one in told if isinstance(one, dict) and "case" in one}

    def snapshot(self):
        """Return everything there is in the folder: path -> owner, permissions, dates and content."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            about = path.lstat()
            content = os.readlink(path) if path.is_symlink() else None
            if stat.S_ISREG(about.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (about.st_uid, about.st_gid, oct(about.st_mode), about.st_mtime_ns, content)
        return found


class Certificate:
    """A certificate with all that ZEO's strict verification wants, signed by an authority or by itself."""

    def __init__(self, name, authority=None, purpose=None, key=None, start=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = authority or self
        start = start or datetime.datetime.now() - datetime.timedelta(days=1)
        end = start + datetime.timedelta(days=1 if start.year == 2020 else 100)
        public = self.key.public_key()
        builder = x509.CertificateBuilder(issuer.name, self.name, public, x509.random_serial_number(), start, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=not authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        signer = issuer.key.public_key()
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        uses = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        uses["digital_signature" if authority else "key_cert_sign"] = True
        builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
        if authority:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        pem = serialization.Encoding.PEM
        self.pem = builder.sign(issuer.key, hashes.SHA256()).public_bytes(pem)
        format_ = serialization.PrivateFormat.PKCS8
        self.private = self.key.private_bytes(pem, format_, serialization.NoEncryption())


def ansible_python():
    """Return the version of the Python that the role is to use."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def id_of(account, kind):
    return subprocess.run(["id", kind, account], capture_output=True, text=True, check=True).stdout.strip()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def lock_holder(path):
    """Return the process that has locked a FileStorage, as soon as one has: it writes itself into the lock."""
    lock = pathlib.Path(f"{path}.lock")
    for _attempt in range(300):
        if lock.exists() and lock.read_text().strip():
            return int(lock.read_text())
        time.sleep(0.1)
    raise AssertionError(f"nobody locked {path}")


def process(pid, words=2):
    """Return how a sentence names a process: by the first words of its command, and its unit if it is in one."""
    folder = pathlib.Path(f"/proc/{pid}")
    command = " ".join((folder / "cmdline").read_text().split("\0")[:words])
    return f"process {pid} ({', '.join(filter(None, [command, _host.unit_of((folder / 'cgroup').read_text())]))})"


@pytest.fixture(scope="module")
def stage(account):
    """Make the stage, and end everything on it."""
    stage = Stage(account)
    yield stage
    stage.end()


@pytest.fixture(scope="module")
def ran(stage):
    """Run all cases, in two runs at once; return what came of them, and the folder before and after."""
    halves = [[*ORDINARY, *ACCEPTED][half::2] for half in range(2)]
    plays = [[stage.play(half, stage.account), stage.play(root)] for half, root in zip(halves, (ROOT[::2], ROOT[1::2]))]
    before = stage.snapshot()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = list(pool.map(stage.run, plays))
    told = {case: words for run in done for case, words in stage.told(run).items()}
    totals = [json.loads(run.stdout)["stats"]["localhost"] for run in done]
    return {
        "codes": [run.returncode for run in done],
        "totals": totals,
        "told": told,
        "before": before,
        "after": stage.snapshot(),
    }


@pytest.mark.parametrize(("settings", "sentences"), [*ORDINARY, *ROOT])
def test_refused_with_a_sentence(stage, ran, settings, sentences, request):
    told = ran["told"][request.node.callspec.id]
    wanted = [stage.filled(sentence) for sentence in sentences]
    if "| Refuse what is wrong" in told["by"] and wanted[0].endswith("."):
        assert told["message"].split("\n") == wanted
    else:
        # The argument spec has a message of its own around these words.
        assert [words for words in wanted if words not in told["message"]] == []
    assert "s3cret" not in told["message"]


@pytest.mark.parametrize("settings", ACCEPTED)
def test_what_is_right_is_accepted(ran, settings, request):
    assert WIRE in ran["told"][request.node.callspec.id]["message"]


def test_nothing_changed(ran):
    assert ran["after"] == ran["before"]
    assert ran["codes"] == [0, 0]
    assert [(total["changed"], total["failures"], total["unreachable"]) for total in ran["totals"]] == [(0, 0, 0)] * 2
    assert sum(total["rescued"] for total in ran["totals"]) == len(ORDINARY) + len(ACCEPTED) + len(ROOT)


def test_a_refusal_ends_the_play(stage):
    play = stage.play([])
    (refused,) = stage.task(one(address="nowhere"), "alone")["block"]
    play["tasks"] = [refused, {"ansible.builtin.debug": {"msg": "went on"}}]
    done = stage.run([play], callback="default")
    assert done.returncode == 2
    assert ENTRY + "address nowhere has no port; write nowhere:8100." in done.stdout
    assert "went on" not in done.stdout
