# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of zeo_server_instances: what they become, and what is wrong with them on any host."""

from __future__ import annotations

import pytest
import ZConfig
import ZODB.config
from ansible_collections.pyams.zodb.plugins.filter.zeo_server_complete import zeo_server_complete as complete
from ansible_collections.pyams.zodb.plugins.filter.zeo_server_refusals import zeo_server_refusals as refusals
from zeo_entries import OWN, PYAMS, SENTENCE, SETTINGS, entries, one, own, storage, two


def chosen(instance, expected):
    """Return the part of an instance that a test speaks of."""
    if isinstance(expected, dict):
        return {key: chosen(instance[key], value) for key, value in expected.items()}
    if isinstance(expected, list) and expected and isinstance(expected[0], dict):
        return [chosen(one, value) for one, value in zip(instance, expected)]
    return instance


ADOPTED = {"name": "pyams", "path": "/srv/pyams/var/Data.fs", "blob_dir": "/srv/pyams/var/blobs"}


@pytest.mark.parametrize(
    ("entry", "settings", "expected"),
    [
        pytest.param(
            {},
            {},
            {
                "title": "pyams",
                "address": "127.0.0.1:8100",
                "host": "127.0.0.1",
                "port": 8100,
                "socket": None,
                "loopback": True,
                "tls_managed": False,
                "adopt": None,
                "unit": "zeo-pyams.service",
                "conf": "/etc/zodb/zeo-pyams.conf",
                "log_file": None,
                "storages": [
                    {
                        "name": "pyams",
                        "path": "/var/lib/zodb/pyams/pyams/Data.fs",
                        "blob_dir": "/var/lib/zodb/pyams/pyams/blobs",
                    }
                ],
                "pack": {"enabled": True, "gc": True},
            },
            id="a name alone",
        ),
        pytest.param({"title": ""}, {}, {"title": "pyams"}, id="empty title"),
        pytest.param({"title": "PyAMS storage"}, {}, {"title": "PyAMS storage"}, id="title"),
        pytest.param({"address": 8101}, {}, {"address": "127.0.0.1:8101", "port": 8101}, id="port as a number"),
        pytest.param({"address": " 8101 "}, {}, {"address": "127.0.0.1:8101", "port": 8101}, id="port as a text"),
        pytest.param(
            {"address": "[0:0::1]:08100"},
            {},
            {"address": "[::1]:8100", "host": "::1", "port": 8100, "loopback": True},
            id="IPv6 in its short form",
        ),
        pytest.param(
            {"address": "LocalHost:8100"}, {}, {"address": "localhost:8100", "loopback": True}, id="host name"
        ),
        pytest.param({"address": "0.0.0.0:8100"}, {}, {"host": "0.0.0.0", "loopback": False}, id="wildcard"),
        pytest.param(
            {"address": "/run//zeo-pyams/zeo.sock"},
            {},
            {"address": "/run/zeo-pyams/zeo.sock", "socket": "/run/zeo-pyams/zeo.sock", "host": None, "port": None},
            id="socket",
        ),
        pytest.param({"address": "nonsense"}, {}, {"address": "nonsense", "port": None}, id="wrong address stays"),
        pytest.param({"tls": {"clients": []}}, {}, {"tls_managed": True}, id="managed TLS"),
        pytest.param(
            {"tls": OWN},
            {},
            {"tls_managed": False, "authenticate": "/etc/pki/ca.pem", "certificate": "/etc/pki/zeo.pem"},
            id="own TLS",
        ),
        pytest.param(
            {"storages": [{"name": "a"}, {"name": "b", "path": "/srv/b/Data.fs/"}]},
            {"data_dir": "/data/"},
            {
                "storages": [
                    {"name": "a", "path": "/data/pyams/a/Data.fs", "blob_dir": "/data/pyams/a/blobs"},
                    {"name": "b", "path": "/srv/b/Data.fs", "blob_dir": "/srv/b/blobs"},
                ],
                "pack": {"enabled": True, "gc": False},
            },
            id="two storages are packed without garbage collection",
        ),
        pytest.param(
            {"adopt": "/srv/pyams/"},
            {},
            {"adopt": "/srv/pyams", "storages": [ADOPTED], "pack": {"enabled": False, "gc": True}},
            id="an adopted tree is not packed",
        ),
        pytest.param(
            {"adopt": "/srv/pyams", "storages": [{"name": "site"}], "pack": {"enabled": True}},
            {},
            {"storages": [{**ADOPTED, "name": "site"}], "pack": {"enabled": True}},
            id="an adopted tree with a storage's name",
        ),
        pytest.param(
            {"storages": [{"name": "a"}, {"name": "b", "blob_dir": "/disk/b"}]},
            {},
            {"pack": {"keep_old": False}},
            id="old blobs are not kept where the server may not write",
        ),
        pytest.param(
            {"storages": [{"name": "a", "blob_dir": "/var/lib/zodb/pyams/a/disk/blobs"}]},
            {},
            {"pack": {"keep_old": True}},
            id="old blobs are kept below the storage's folder",
        ),
        pytest.param(
            {"storages": [{"name": "a", "read_only": True}]},
            {},
            {"pack": {"enabled": False}},
            id="read-only is not packed",
        ),
        pytest.param(
            {}, {"manager": "zdaemon"}, {"log_file": "/var/log/zodb/zeo-pyams.log"}, id="zdaemon logs to a file"
        ),
    ],
)
def test_complete(entry, settings, expected):
    (instance,) = complete(entries(one(**entry)), {**SETTINGS, **settings})
    assert chosen(instance, expected) == expected


FINE = [
    pytest.param([], {}, id="nothing"),
    pytest.param(one(), {}, id="a name alone"),
    pytest.param(one(address=8100), {}, id="port as a number"),
    pytest.param(one(address="8100"), {}, id="port as a text"),
    pytest.param(two({}, {}), {}, id="ports side by side"),
    pytest.param(two({"address": "127.0.0.1:8100"}, {"address": "127.0.0.2:8100"}), {}, id="one port on two addresses"),
    pytest.param(two({"state": "absent"}, {"address": 8100}), {}, id="a port that an absent entry had"),
    pytest.param(one(state="absent", address="x", tls={}), {}, id="an absent entry that says too little to be served"),
    pytest.param(one(address="/run/zeo-pyams/zeo.sock"), {}, id="a socket"),
    pytest.param(one(address="0.0.0.0:8100", tls={"clients": []}), {}, id="managed TLS on every address"),
    pytest.param(
        own(client_cert="/etc/pki/app.pem", client_key="/etc/pki/app.key"),
        {"client": True},
        id="own TLS where clients' files are laid",
    ),
    pytest.param(own(client_cert="/etc/pki/app.pem", client_key="/etc/pki/app.key"), {}, id="own TLS"),
    pytest.param(one(address="10.0.0.5:8100", allow_unauthenticated=True), {}, id="open on purpose"),
    pytest.param(one(address="[::1]:8100"), {}, id="IPv6 loopback"),
    pytest.param(one(storages=[{"name": "1"}]), {}, id="storage 1"),
    pytest.param(
        one(zconfig="msgpack true", storages=[{"name": "pyams", "zconfig": "quota 10GB\n# more"}]), {}, id="raw lines"
    ),
    pytest.param(one(pack={"cron": "*/15 3,4 1-7 jan-mar sun"}), {}, id="cron with names, lists and steps"),
    pytest.param(one(pack={"cron": "@weekly"}), {}, id="cron's word"),
    pytest.param(one(pack={"schedule": "weekly"}), {}, id="calendar word"),
    pytest.param(
        one(pack={"schedule": "Mon..Fri,Sun *-*-1..7 03:00/15:00 Europe/Paris"}), {}, id="calendar with everything"
    ),
    pytest.param(one(pack={"schedule": "Sun 03:00 UTC"}), {}, id="calendar with a zone"),
    pytest.param(one(), {"old_variables": ["project_name", "run_user"]}, id="a project_name of the play's own"),
    pytest.param(one(adopt="/home/zeo/env/zeo_server"), {}, id="an adopted tree"),
    pytest.param(
        [
            {"name": "old", "state": "absent"},
            {"name": "pyams", "storages": [{"name": "pyams", "path": "/var/lib/zodb/old/old/Data.fs"}]},
        ],
        {},
        id="an old entry's data under a new name",
    ),
    pytest.param(one(state="absent", remove_data=True), {}, id="remove_data of an absent one"),
    pytest.param(one(), {"python": "python3.12"}, id="bare Python name"),
]


@pytest.mark.parametrize(("written", "settings"), FINE)
def test_what_is_right_is_not_refused(written, settings):
    assert refusals(entries(written), {**SETTINGS, **settings}) == []


@pytest.mark.parametrize(("written", "settings"), FINE)
def test_complete_entries_stay_as_they_are(written, settings):
    once = complete(entries(written), {**SETTINGS, **settings})
    assert complete(once, {**SETTINGS, **settings}) == once


@pytest.mark.parametrize(
    ("written", "settings", "sentences"),
    [
        pytest.param(
            [{"name": "My Site"}],
            {},
            [
                (
                    'zeo_server_instances[0] "My Site": name "My Site" cannot name units and folders; begin with a '
                    "small letter, go on with small letters, digits, _ or -, 32 at most, such as my-site."
                )
            ],
            id="name with capitals and blanks",
        ),
        pytest.param(
            [{"name": "42"}],
            {},
            [
                (
                    'zeo_server_instances[0] "42": name 42 cannot name units and folders; begin with a small '
                    "letter, go on with small letters, digits, _ or -, 32 at most."
                )
            ],
            id="name of no letter",
        ),
        pytest.param(
            [{"name": "a" * 33}],
            {},
            [
                (
                    'zeo_server_instances[0] "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": name '
                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa cannot name units and folders; begin with a small letter, go "
                    "on with small letters, digits, _ or -, 32 at most, such as aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
                )
            ],
            id="name too long",
        ),
        pytest.param(
            [{"name": "../etc"}],
            {},
            [
                (
                    'zeo_server_instances[0] "../etc": name ../etc cannot name units and folders; begin with a '
                    "small letter, go on with small letters, digits, _ or -, 32 at most, such as etc."
                )
            ],
            id="name with a path",
        ),
        pytest.param(
            [{"name": "tls"}],
            {},
            [
                (
                    'zeo_server_instances[0] "tls": name tls is that of the folder of certificates, beside the '
                    "clients' folders; choose another."
                )
            ],
            id="name of the certificates' folder",
        ),
        pytest.param(
            [{"name": "pyams"}, {"name": "pyams", "address": "8101"}],
            {},
            [
                (
                    'zeo_server_instances[1] "pyams": name pyams is already that of zeo_server_instances[0]; give '
                    "each entry its own."
                )
            ],
            id="name used twice",
        ),
        pytest.param(
            [{"name": "pyams"}, {"name": "pyams-zdaemon", "address": "8101"}],
            {},
            [
                (
                    'zeo_server_instances[1] "pyams-zdaemon": name pyams-zdaemon makes files of the same names as '
                    '"pyams" does; choose another.'
                )
            ],
            id="name of another's files",
        ),
        pytest.param(
            [{"name": "pyams-zdaemon"}, {"name": "pyams", "address": "8101"}],
            {},
            [
                (
                    'zeo_server_instances[1] "pyams": name pyams makes files of the same names as "pyams-zdaemon" '
                    "does; choose another."
                )
            ],
            id="name whose files are another's",
        ),
        pytest.param(
            one(title="PyAMS\nExecStartPre=/bin/sh"),
            {},
            [
                PYAMS
                + (
                    'title "PyAMS\\nExecStartPre=/bin/sh" holds a line end or another control character; write it on '
                    "one line."
                )
            ],
            id="title of two lines",
        ),
        pytest.param(
            one(title="PyAMS\\"),
            {},
            [PYAMS + "title PyAMS\\ ends in a backslash, which would swallow the unit's next line; take it out."],
            id="title with a backslash",
        ),
        pytest.param(
            one(title="x" * 121),
            {},
            [PYAMS + (f"title {'x' * 121} has 121 characters; 120 are enough for the subject of a report.")],
            id="title without end",
        ),
        pytest.param(
            one(remove_data=True),
            {},
            [PYAMS + "remove_data true contradicts state present; say state: absent, or leave remove_data out."],
            id="remove_data of a present one",
        ),
        pytest.param(
            one(state="absent", remove_data=True, adopt="/srv/pyams"),
            {},
            [
                PYAMS
                + (
                    "remove_data true would delete data of the adopted tree /srv/pyams; leave it out, and delete "
                    "the tree by hand."
                )
            ],
            id="remove_data of an adopted tree",
        ),
        pytest.param(
            [
                {"name": "old", "state": "absent", "remove_data": True},
                {"name": "pyams", "storages": [{"name": "pyams", "path": "/var/lib/zodb/old/old/Data.fs"}]},
            ],
            {},
            [
                (
                    'zeo_server_instances[0] "old": remove_data true would delete /var/lib/zodb/old, where '
                    'storages[0].path of "pyams" is; leave remove_data out.'
                )
            ],
            id="remove_data where another's data are",
        ),
        pytest.param(
            [
                {
                    "name": "old",
                    "state": "absent",
                    "remove_data": True,
                    "storages": [{"name": "old", "blob_dir": "/srv"}],
                }
            ],
            {},
            [
                (
                    'zeo_server_instances[0] "old": storages[0].blob_dir /srv is a folder of the system; name one '
                    "of its own, such as /srv/blobs."
                )
            ],
            id="remove_data of the system",
        ),
        pytest.param(
            one(
                authentication_protocol="digest",
                authentication_database="/etc/zeo/auth.db",
                authentication_realm="PyAMS",
            ),
            {},
            [
                PYAMS
                + (
                    "authentication_protocol is gone since ZEO 5; set tls, one certificate per client replaces the "
                    "passwords."
                ),
                PYAMS
                + (
                    "authentication_database is gone since ZEO 5; set tls, one certificate per client replaces the "
                    "passwords."
                ),
                PYAMS
                + (
                    "authentication_realm is gone since ZEO 5; set tls, one certificate per client replaces the "
                    "passwords."
                ),
            ],
            id="authentication of ZEO 4",
        ),
        pytest.param(
            one(monitor_address=8101),
            {},
            [PYAMS + "monitor_address is gone since ZEO 5; take it out, the command zodb-health replaces it."],
            id="monitor of ZEO 4",
        ),
        pytest.param(
            two({}, {"address": 8100}),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": address 127.0.0.1:8100 is already that of "pyams"; give each '
                    "instance its own port."
                )
            ],
            id="address twice",
        ),
        pytest.param(
            two({"address": "8100"}, {"address": "127.0.0.1:8100"}),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": address 127.0.0.1:8100 is already that of "pyams"; give each '
                    "instance its own port."
                )
            ],
            id="address once as a number, once as a text",
        ),
        pytest.param(
            two({}, {"address": "localhost:8100"}),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": address localhost:8100 takes the port of "pyams", '
                    "127.0.0.1:8100; give each instance its own port."
                )
            ],
            id="address of localhost",
        ),
        pytest.param(
            two({}, {"address": "0.0.0.0:8100", "allow_unauthenticated": True}),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": address 0.0.0.0:8100 takes the port of "pyams", '
                    "127.0.0.1:8100; give each instance its own port."
                )
            ],
            id="address of a wildcard",
        ),
        pytest.param(
            two({"address": "/run/zodb/zeo.sock"}, {"address": "/run/zodb//zeo.sock"}),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": address /run/zodb/zeo.sock is already that of "pyams"; give '
                    "each instance its own socket."
                )
            ],
            id="address of a socket twice",
        ),
        pytest.param(
            one(address="localhost"),
            {},
            [PYAMS + "address localhost has no port; write localhost:8100."],
            id="address without a port",
        ),
        pytest.param(
            one(address=":8100"),
            {},
            [PYAMS + "address :8100 names no host; write 127.0.0.1:8100, or 0.0.0.0:8100 for every network."],
            id="address without a host",
        ),
        pytest.param(
            one(address="127.0.0.1:http"),
            {},
            [PYAMS + "address 127.0.0.1:http has no port from 1 to 65535; write 127.0.0.1:8100."],
            id="address with a named port",
        ),
        pytest.param(
            one(address=0),
            {},
            [PYAMS + "address 0 has no port from 1 to 65535; write 127.0.0.1:8100."],
            id="address with port 0",
        ),
        pytest.param(
            one(address="127.0.0.1:81000"),
            {},
            [PYAMS + "address 127.0.0.1:81000 has no port from 1 to 65535; write 127.0.0.1:8100."],
            id="address with a port too high",
        ),
        pytest.param(
            one(address=81),
            {},
            [
                PYAMS
                + (
                    "address 127.0.0.1:81 has a port below 1024, which is root's, and the server is not root; take "
                    "one from 1024 to 65535."
                )
            ],
            id="address with a port of root's",
        ),
        pytest.param(
            one(address="::1:8100"),
            {},
            [PYAMS + "address ::1:8100 does not tell its port from the rest; write an IPv6 address as [::1]:8100."],
            id="address of IPv6 without brackets",
        ),
        pytest.param(
            one(address="[localhost]:8100"),
            {},
            [PYAMS + "address [localhost]:8100 has no IPv6 address in its brackets; write one, such as [::1]:8100."],
            id="address with a name in brackets",
        ),
        pytest.param(
            one(address="127.0.0.256:8100"),
            {},
            [
                PYAMS
                + (
                    "address 127.0.0.256:8100 begins with neither a host name nor an IP address; write one before "
                    "the port."
                )
            ],
            id="address of no IPv4",
        ),
        pytest.param(
            one(address="zeo://localhost:8100"),
            {},
            [PYAMS + "address zeo://localhost:8100 is a URI; write host:port alone, such as 127.0.0.1:8100."],
            id="address as an URI",
        ),
        pytest.param(
            one(address=""),
            {},
            [PYAMS + 'address "" names no host; write 127.0.0.1:8100, or 0.0.0.0:8100 for every network.'],
            id="address empty",
        ),
        pytest.param(
            one(address="run/zeo.sock"),
            {},
            [PYAMS + "address run/zeo.sock is a relative path; write the path of a socket from / on."],
            id="address of a relative socket",
        ),
        pytest.param(
            one(address="/run/" + "a" * 100 + "/zeo.sock"),
            {},
            [
                PYAMS
                + (
                    f"address /run/{'a' * 100}/zeo.sock has 114 bytes, and Linux takes 107 for a socket; "
                    "choose a shorter path."
                )
            ],
            id="address of a socket too long",
        ),
        pytest.param(
            one(address="/run/zeo.sock"),
            {},
            [
                PYAMS
                + (
                    "address /run/zeo.sock has its socket in a folder of the system; give it one of its own, such "
                    "as /run/zeo-NAME/zeo.sock."
                )
            ],
            id="address of a socket in a system's folder",
        ),
        pytest.param(
            one(address="/run/zeo pyams/zeo.sock"),
            {},
            [
                PYAMS
                + (
                    'address "/run/zeo pyams/zeo.sock" holds " ", which units, scripts or ZConfig would read as '
                    "something else; use letters, digits and any of . _ - + @ : , = ~."
                )
            ],
            id="address of a socket with a blank",
        ),
        pytest.param(
            one(address="10.0.0.5:8100"),
            {},
            [
                PYAMS
                + (
                    "address 10.0.0.5:8100 lets anyone who reaches it run code in the server; set tls, or listen on "
                    "127.0.0.1, or say allow_unauthenticated."
                )
            ],
            id="network address without TLS",
        ),
        pytest.param(
            one(address="0.0.0.0:8100"),
            {},
            [
                PYAMS
                + (
                    "address 0.0.0.0:8100 lets anyone who reaches it run code in the server; set tls, or listen on "
                    "127.0.0.1, or say allow_unauthenticated."
                )
            ],
            id="every address without TLS",
        ),
        pytest.param(
            one(address="[::]:8100"),
            {},
            [
                PYAMS
                + (
                    "address [::]:8100 lets anyone who reaches it run code in the server; set tls, or listen on "
                    "127.0.0.1, or say allow_unauthenticated."
                )
            ],
            id="every IPv6 address without TLS",
        ),
        pytest.param(
            one(address="10.0.0.5:8100", allow_unauthenticated=True, tls={"clients": ["app1"]}),
            {},
            [
                PYAMS
                + (
                    "allow_unauthenticated true contradicts tls, which admits nobody without a certificate; keep "
                    "one of them."
                )
            ],
            id="TLS and allow_unauthenticated",
        ),
        pytest.param(
            one(address="/run/zodb/zeo.sock", tls={"clients": ["app1"]}),
            {},
            [
                PYAMS
                + (
                    "tls does not go with the socket /run/zodb/zeo.sock, which the client group's permission "
                    "guards; take tls out."
                )
            ],
            id="TLS over a socket",
        ),
        pytest.param(
            one(tls={}),
            {},
            [
                PYAMS
                + (
                    "tls names no certificate; give clients, for those that the role makes, or ca, cert, key, "
                    "tools_cert and tools_key."
                )
            ],
            id="TLS without anything",
        ),
        pytest.param(
            one(tls={"clients": ["app1"], "cert": "/etc/pki/zeo.pem"}),
            {},
            [
                PYAMS
                + (
                    "tls has clients, for certificates that the role makes, and cert of your own; keep one or the "
                    "other."
                )
            ],
            id="TLS managed and own",
        ),
        pytest.param(
            own(key=None),
            {},
            [
                PYAMS
                + (
                    "tls has ca, cert, tools_cert and tools_key, and lacks key; give all of ca, cert, key, "
                    "tools_cert and tools_key."
                )
            ],
            id="TLS own without a key",
        ),
        pytest.param(
            one(tls={"ca": "/etc/pki/ca.pem"}),
            {},
            [
                PYAMS
                + (
                    "tls has ca, and lacks cert, key, tools_cert and tools_key; give all of ca, cert, key, "
                    "tools_cert and tools_key."
                )
            ],
            id="TLS own with a CA alone",
        ),
        pytest.param(
            own(ca="SIGNED"),
            {},
            [
                PYAMS
                + (
                    "tls.ca SIGNED ends the server or shuts everybody out, whatever ZEO's documentation says; give "
                    "a PEM file of the authorities."
                )
            ],
            id="TLS with SIGNED",
        ),
        pytest.param(
            own(ca="-"),
            {},
            [
                PYAMS
                + (
                    "tls.ca - ends the server or shuts everybody out, whatever ZEO's documentation says; give a PEM "
                    "file of the authorities."
                )
            ],
            id="TLS with a dash",
        ),
        pytest.param(
            own(ca="/etc/ssl/certs/"),
            {},
            [
                PYAMS
                + (
                    "tls.ca /etc/ssl/certs/ is a folder, in which ZEO ignores CRLs; give one PEM file with "
                    "authorities and CRLs."
                )
            ],
            id="TLS with a folder",
        ),
        pytest.param(
            own(key="zeo.key"),
            {},
            [PYAMS + "tls.key zeo.key is a relative path; write it from / on."],
            id="TLS with a relative key",
        ),
        pytest.param(
            own(client_cert="/etc/pki/app.pem"),
            {},
            [PYAMS + "tls.client_cert /etc/pki/app.pem is of no use without tls.client_key; give both, or neither."],
            id="TLS with a client's certificate without its key",
        ),
        pytest.param(
            own(cert=OWN["tools_cert"]),
            {},
            [
                PYAMS + "tls.tools_cert /etc/pki/tools.pem has the key /etc/pki/zeo.key here, and /etc/pki/tools.key; "
                "give each certificate its one key."
            ],
            id="TLS certificate with two keys",
        ),
        pytest.param(
            two({"tls": OWN}, {"tls": {**OWN, "key": "/etc/pki/blog.key"}}),
            {},
            [
                'zeo_server_instances[1] "blog": tls.cert /etc/pki/zeo.pem has the key /etc/pki/zeo.key in "pyams", '
                "and /etc/pki/blog.key; give each certificate its one key."
            ],
            id="TLS certificate with another key elsewhere",
        ),
        pytest.param(
            own(),
            {"client": True},
            [
                PYAMS + "tls lacks client_cert and client_key, which the clients' files name; give both, or run "
                "tasks_from=server alone."
            ],
            id="TLS without a client's certificate where its files are laid",
        ),
        pytest.param(
            own(names=["zeo.example.org"]),
            {},
            [
                PYAMS
                + (
                    "tls.names zeo.example.org would go into a certificate that the role makes, and yours is made; "
                    "take it out."
                )
            ],
            id="TLS names of own certificates",
        ),
        pytest.param(
            one(tls={"clients": [], "names": ["https://zeo.example.org"]}),
            {},
            [
                PYAMS
                + (
                    "tls.names https://zeo.example.org is neither a DNS name nor an IP address; write one, without "
                    "port and protocol."
                )
            ],
            id="TLS names that are URLs",
        ),
        pytest.param(
            one(tls={"clients": ["app1", "app2", "app1"]}),
            {},
            [PYAMS + "tls.clients app1 is named 2 times; keep it once."],
            id="TLS client twice",
        ),
        pytest.param(
            one(tls={"clients": ["../app1"]}),
            {},
            [
                PYAMS
                + (
                    "tls.clients ../app1 cannot name a certificate's file; use the host's inventory name, of "
                    "letters, digits, ., _ and -."
                )
            ],
            id="TLS client with a path",
        ),
        pytest.param(
            one(tls={"clients": [], "days": 30, "renew_days": 30}),
            {},
            [
                PYAMS
                + (
                    "tls.days 30 is not more than tls.renew_days 30, so that every run would renew; make days the "
                    "larger one."
                )
            ],
            id="TLS days before renewal",
        ),
        pytest.param(
            one(tls={"clients": [], "days": 0}),
            {},
            [PYAMS + "tls.days 0 is no number of days; write 825 or another above 0."],
            id="TLS days of none",
        ),
        pytest.param(
            one(storages=[]),
            {},
            [PYAMS + "storages is an empty list; leave it out for one storage with the entry's name, or name one."],
            id="storages empty",
        ),
        pytest.param(
            one(storages=[{"name": "PyAMS"}]),
            {},
            [PYAMS + "storages[0].name PyAMS would be served as pyams, since ZConfig lowers names; write pyams."],
            id="storage name with capitals",
        ),
        pytest.param(
            one(storages=[{"name": "my site"}]),
            {},
            [
                PYAMS
                + (
                    'storages[0].name "my site" cannot name a storage and its files; use small letters, digits, _ '
                    "or -, a letter or digit first, 32 at most."
                )
            ],
            id="storage name with a blank",
        ),
        pytest.param(
            one(storages=[{"name": "1"}, {"name": "1"}]),
            {},
            [PYAMS + "storages[1].name 1 is already that of storages[0]; give each its own."],
            id="storage name twice",
        ),
        pytest.param(
            storage(path="var/Data.fs"),
            {},
            [PYAMS + "storages[0].path var/Data.fs is a relative path; write it from / on."],
            id="storage path relative",
        ),
        pytest.param(
            storage(path="/srv/my site/Data.fs"),
            {},
            [
                PYAMS
                + (
                    'storages[0].path "/srv/my site/Data.fs" holds " ", which units, scripts or ZConfig would read '
                    "as something else; use letters, digits and any of . _ - + @ : , = ~."
                )
            ],
            id="storage path with a blank",
        ),
        pytest.param(
            storage(path="/srv/$HOSTNAME/Data.fs"),
            {},
            [
                PYAMS
                + (
                    'storages[0].path /srv/$HOSTNAME/Data.fs holds "$", which units, scripts or ZConfig would read '
                    "as something else; use letters, digits and any of . _ - + @ : , = ~."
                )
            ],
            id="storage path with a dollar",
        ),
        pytest.param(
            storage(path="/srv/site/../Data.fs"),
            {},
            [PYAMS + "storages[0].path /srv/site/../Data.fs goes through ..; write where it leads."],
            id="storage path through ..",
        ),
        pytest.param(
            storage(path="/srv"),
            {},
            [PYAMS + "storages[0].path /srv is a folder of the system; name a file, such as /srv/zodb/Data.fs."],
            id="storage path of the system",
        ),
        pytest.param(
            two(
                {"storages": [{"name": "a", "path": "/srv/Data.fs"}]},
                {"storages": [{"name": "b", "path": "/srv/./Data.fs", "blob_dir": "/srv/b"}]},
            ),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": storages[0].path /srv/Data.fs is already that of "pyams"; give '
                    "each storage its own."
                )
            ],
            id="storage path used by two entries",
        ),
        pytest.param(
            one(storages=[{"name": "a", "path": "/srv/zodb/Data.fs"}, {"name": "b", "path": "/srv/zodb/Data.fs"}]),
            {},
            [PYAMS + "storages[1].path /srv/zodb/Data.fs is already that of storages[0]; give each storage its own."],
            id="storage path used by two storages",
        ),
        pytest.param(
            one(
                storages=[
                    {"name": "a", "path": "/srv/a/Data.fs"},
                    {"name": "b", "path": "/srv/a/Data.fs.old", "blob_dir": "/srv/b"},
                ]
            ),
            {},
            [
                PYAMS
                + (
                    "storages[1].path /srv/a/Data.fs.old and /srv/a/Data.fs of storages[0] overwrite each other, "
                    "since ZODB writes /srv/a/Data.fs.old beside /srv/a/Data.fs; rename one."
                )
            ],
            id="storage path that a pack writes",
        ),
        pytest.param(
            one(storages=[{"name": "a", "path": "/srv/zodb/a.fs"}, {"name": "b", "path": "/srv/zodb/b.fs"}]),
            {},
            [
                PYAMS
                + (
                    "storages[1].blob_dir /srv/zodb/blobs is already that of storages[0]; give each its own, for a "
                    "pack deletes blobs that it does not know."
                )
            ],
            id="blob_dir used by default twice",
        ),
        pytest.param(
            two(
                {"storages": [{"name": "a", "blob_dir": "/srv/blobs"}]},
                {"storages": [{"name": "b", "blob_dir": "/srv/blobs/"}]},
            ),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": storages[0].blob_dir /srv/blobs is already that of "pyams"; '
                    "give each its own, for a pack deletes blobs that it does not know."
                )
            ],
            id="blob_dir used by two entries",
        ),
        pytest.param(
            two(
                {"storages": [{"name": "a", "blob_dir": "/srv/blobs"}]},
                {"storages": [{"name": "b", "blob_dir": "/srv/blobs/b"}]},
            ),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": storages[0].blob_dir /srv/blobs/b and /srv/blobs of "pyams" '
                    "lie one in the other; put them side by side."
                )
            ],
            id="blob_dir in another's",
        ),
        pytest.param(
            two(
                {"storages": [{"name": "a", "blob_dir": "/srv/blobs"}]},
                {"storages": [{"name": "b", "blob_dir": "/srv/blobs.old"}]},
            ),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": storages[0].blob_dir /srv/blobs.old and /srv/blobs of "pyams" '
                    "overwrite each other when one of them is packed; rename one."
                )
            ],
            id="blob_dir that a pack writes",
        ),
        pytest.param(
            storage(path="/srv/zodb/Data.fs", blob_dir="/srv/zodb/Data.fs"),
            {},
            [
                PYAMS
                + (
                    "storages[0].blob_dir /srv/zodb/Data.fs is the path of the storage too; blobs need a folder of "
                    "their own, such as blobs beside it."
                )
            ],
            id="blob_dir that is the path",
        ),
        pytest.param(
            storage(path="/srv/zodb/Data.fs", blob_dir="/srv/zodb"),
            {},
            [
                PYAMS
                + (
                    "storages[0].path /srv/zodb/Data.fs lies in the storage's own blob_dir /srv/zodb; put it beside "
                    "that folder."
                )
            ],
            id="blob_dir around the path",
        ),
        pytest.param(
            two(
                {"storages": [{"name": "a", "path": "/srv/a/Data.fs", "blob_dir": "/data/a"}]},
                {"storages": [{"name": "b", "blob_dir": "/srv/a"}]},
            ),
            {},
            [
                (
                    'zeo_server_instances[1] "blog": storages[0].blob_dir /srv/a holds the path /srv/a/Data.fs of '
                    '"pyams"; put the blobs elsewhere.'
                )
            ],
            id="blob_dir around another's path",
        ),
        pytest.param(
            storage(path="/srv/z/Data.fs", blob_dir="/srv/zodb"),
            {"config_dir": "/srv/zodb/etc"},
            [
                PYAMS
                + (
                    "storages[0].blob_dir /srv/zodb holds zeo_server_config_dir /srv/zodb/etc; give the blobs a "
                    "folder of their own."
                )
            ],
            id="blob_dir around the configuration",
        ),
        pytest.param(
            storage(path="/srv/zodb/Data.fs", blob_dir="/home"),
            {},
            [PYAMS + "storages[0].blob_dir /home is a folder of the system; name one of its own, such as /home/blobs."],
            id="blob_dir of the system",
        ),
        pytest.param(
            storage(path="/opt/zodb/data/Data.fs", blob_dir="/srv/blobs"),
            {},
            [
                PYAMS
                + (
                    "storages[0].path /opt/zodb/data/Data.fs lies in zeo_server_venv_dir, where old things are "
                    "deleted; put data elsewhere."
                )
            ],
            id="storage in the folder of virtualenvs",
        ),
        pytest.param(
            one(zconfig="</zeo>\n<filestorage 2>"),
            {},
            [PYAMS + "zconfig, line 1, closes <zeo> or a section that it did not open; give lines of <zeo> alone."],
            id="zconfig that closes the section",
        ),
        pytest.param(
            one(zconfig="<ssl>\n  certificate /x"),
            {},
            [
                PYAMS + "zconfig, line 1, opens <ssl>, which has a name here; write tls instead.",
                PYAMS + "zconfig opens <ssl> and does not close it; end it with </ssl>.",
            ],
            id="zconfig that does not close",
        ),
        pytest.param(
            one(zconfig="<ssl>\n certificate /x\n</ssl>"),
            {},
            [PYAMS + "zconfig, line 1, opens <ssl>, which has a name here; write tls instead."],
            id="zconfig with TLS",
        ),
        pytest.param(
            one(zconfig="<eventlog>\n</eventlog>"),
            {},
            [PYAMS + "zconfig, line 1, opens <eventlog>, which <zeo> does not take; take it out."],
            id="zconfig with another section",
        ),
        pytest.param(
            one(zconfig="%include more.conf"),
            {},
            [PYAMS + "zconfig, line 1, includes a file, which nothing would check; write its lines here."],
            id="zconfig with an include",
        ),
        pytest.param(
            one(zconfig="# slow\nTransaction-Timeout 300"),
            {},
            [
                PYAMS
                + (
                    "zconfig, line 2, sets transaction-timeout, which has a name here; write transaction_timeout "
                    "instead."
                )
            ],
            id="zconfig with a key of ours",
        ),
        pytest.param(
            one(zconfig="pid-filename /tmp/zeo.pid"),
            {},
            [PYAMS + "zconfig, line 1, sets pid-filename, which the role itself needs; take it out."],
            id="zconfig with our pid file",
        ),
        pytest.param(
            one(zconfig="authentication-protocol digest"),
            {},
            [
                PYAMS
                + (
                    "zconfig, line 1, sets authentication-protocol, which is gone since ZEO 5; set tls, one "
                    "certificate per client replaces the passwords."
                )
            ],
            id="zconfig with authentication of ZEO 4",
        ),
        pytest.param(
            one(zconfig="monitor-address 8101"),
            {},
            [
                PYAMS
                + (
                    "zconfig, line 1, sets monitor-address, which is gone since ZEO 5; take it out, the command "
                    "zodb-health replaces it."
                )
            ],
            id="zconfig with a monitor",
        ),
        pytest.param(
            one(zconfig="<ssl"),
            {},
            [PYAMS + "zconfig, line 1, opens no section that ZConfig could read; write <type> or <type name>."],
            id="zconfig malformed",
        ),
        pytest.param(
            one(zconfig="<a>\n<b>\n</a>"),
            {},
            [
                PYAMS + "zconfig, line 1, opens <a>, which <zeo> does not take; take it out.",
                PYAMS + "zconfig, line 3, closes <a> before the section in it; close the inner one first.",
            ],
            id="zconfig crossed",
        ),
        pytest.param(
            storage(zconfig="create true"),
            {},
            [
                PYAMS
                + (
                    "storages[0].zconfig, line 1, sets create, which empties the storage at every start; take it "
                    "out, a missing file is made without it."
                )
            ],
            id="zconfig of a storage that empties it",
        ),
        pytest.param(
            storage(zconfig="pack-gc false"),
            {},
            [PYAMS + "storages[0].zconfig, line 1, sets pack-gc, which has a name here; write pack.gc instead."],
            id="zconfig of a storage with a key of ours",
        ),
        pytest.param(
            storage(zconfig="<blobstorage>\n</blobstorage>"),
            {},
            [
                PYAMS
                + ("storages[0].zconfig, line 1, opens <blobstorage>, which <filestorage> does not take; take it out.")
            ],
            id="zconfig of a storage with a section",
        ),
        pytest.param(
            one(transaction_timeout=0, start_timeout=-1),
            {},
            [
                PYAMS + "transaction_timeout 0 is no time in seconds; write a number above 0.",
                PYAMS + "start_timeout -1 is no time in seconds; write a number above 0.",
            ],
            id="timeouts",
        ),
        pytest.param(
            one(invalidation_queue_size=0, client={"pool_size": 0}),
            {},
            [
                PYAMS + "invalidation_queue_size 0 is too small to work with; write a number above 0.",
                PYAMS + "client.pool_size 0 is too small to work with; write a number above 0.",
            ],
            id="numbers",
        ),
        pytest.param(
            one(pack={"days": -1}),
            {},
            [PYAMS + "pack.days -1 would keep what is yet to come; write 0 to keep no history, or more."],
            id="pack days",
        ),
        pytest.param(
            one(pack={"schedule": ""}),
            {},
            [PYAMS + 'pack.schedule "" says no time; write it as systemd.time(7) tells, such as Sun 03:00.'],
            id="pack schedule empty",
        ),
        pytest.param(
            one(pack={"schedule": "0 3 * * 0"}),
            {},
            [
                PYAMS
                + (
                    "pack.schedule \"0 3 * * 0\" is crontab's form, for zdaemon's hosts in pack.cron; write it as "
                    "systemd.time(7) tells, such as Sun 03:00."
                )
            ],
            id="pack schedule of crontab",
        ),
        pytest.param(
            one(pack={"schedule": "every sunday"}),
            {},
            [
                PYAMS
                + (
                    'pack.schedule "every sunday" is no calendar expression; write it as systemd.time(7) tells, '
                    "such as Sun 03:00."
                )
            ],
            id="pack schedule of a human",
        ),
        pytest.param(
            one(pack={"schedule": "Sun 25:00"}),
            {},
            [
                PYAMS
                + (
                    'pack.schedule "Sun 25:00" is no calendar expression; write it as systemd.time(7) tells, such '
                    "as Sun 03:00."
                )
            ],
            id="pack schedule at hour 25",
        ),
        pytest.param(
            one(pack={"cron": "0 3 * *"}),
            {},
            [
                PYAMS
                + (
                    'pack.cron "0 3 * *" has not the five fields of crontab; write minute, hour, day, month and '
                    "weekday, such as 0 3 * * 0."
                )
            ],
            id="pack cron of four fields",
        ),
        pytest.param(
            one(pack={"cron": "0 24 * * 0"}),
            {},
            [
                PYAMS
                + (
                    'pack.cron "0 24 * * 0" has 24 as its hour, which goes from 0 to 23; write minute, hour, day, '
                    "month and weekday, such as 0 3 * * 0."
                )
            ],
            id="pack cron at hour 24",
        ),
        pytest.param(
            one(pack={"cron": "0 3 * * 0 root true"}),
            {},
            [
                PYAMS
                + (
                    'pack.cron "0 3 * * 0 root true" has not the five fields of crontab; write minute, hour, day, '
                    "month and weekday, such as 0 3 * * 0."
                )
            ],
            id="pack cron with a command",
        ),
        pytest.param(
            one(pack={"report": ["admin@example.org", "root"]}),
            {},
            [PYAMS + "pack.report[1] root is no mail address; write name@host, such as root@localhost."],
            id="pack report",
        ),
        pytest.param(
            one(storages=[{"name": "a", "blob_dir": "/srv/blobs/a"}], pack={"keep_old": True}),
            {},
            [
                PYAMS
                + (
                    "pack.keep_old true puts old blobs into /srv/blobs/a.old, in a folder where the server may not "
                    "write; set it to false, or put storages[0].blob_dir beside its path."
                )
            ],
            id="old blobs where the server may not write",
        ),
        pytest.param(
            one(storages=[{"name": "a"}, {"name": "b", "read_only": True}], pack={"enabled": True}),
            {},
            [
                PYAMS
                + (
                    "pack.enabled true does not go with storage b, which is read_only and refuses packs; set it to "
                    "false."
                )
            ],
            id="pack of what is read-only",
        ),
        pytest.param(
            one(adopt="env/zeo_server"),
            {},
            [PYAMS + "adopt env/zeo_server is a relative path; write it from / on."],
            id="adopt relative",
        ),
        pytest.param(
            one(adopt="/srv"),
            {},
            [
                PYAMS
                + ("adopt /srv is a folder of the system; name the one in it that has etc and var of the old server.")
            ],
            id="adopt of the system",
        ),
        pytest.param(
            two({"adopt": "/srv/pyams"}, {"adopt": "/srv/pyams/"}),
            {},
            [('zeo_server_instances[1] "blog": adopt /srv/pyams is already that of "pyams"; a tree has one server.')],
            id="adopt twice",
        ),
        pytest.param(
            one(client={"server": "zeo.example.org"}),
            {},
            [PYAMS + "client.server zeo.example.org has no port; write zeo.example.org:8100."],
            id="client server without a port",
        ),
        pytest.param(
            one(client={"server": "0.0.0.0:8100"}),
            {},
            [
                PYAMS
                + (
                    "client.server 0.0.0.0:8100 is where a server listens, not where a client finds it; write the "
                    "host's name."
                )
            ],
            id="client server that is a wildcard",
        ),
        pytest.param(
            one(client={"cache_size": "256 mega", "blob_cache_size": "100"}),
            {},
            [
                PYAMS
                + (
                    'client.cache_size "256 mega" is no size; write bytes, or a number with KB, MB or GB, such as '
                    "256MB."
                ),
                PYAMS
                + "client.blob_cache_size 100 is less than 1MB; put KB, MB or GB behind the number, such as 256MB.",
            ],
            id="client caches",
        ),
        pytest.param(
            [
                {"name": "a", "storages": [{"name": "b-c"}]},
                {"name": "a-b", "address": 8101, "storages": [{"name": "c"}]},
            ],
            {},
            [
                (
                    'zeo_server_instances[1] "a-b": storages[0].name c makes a-b-c the name of its clients\' folder, '
                    'as "a" does; rename one.'
                )
            ],
            id="client folders of one name",
        ),
        pytest.param(
            [{"name": "a-site-of-some-length", "storages": [{"name": "catalogue-of-it"}]}],
            {},
            [
                'zeo_server_instances[0] "a-site-of-some-length": storages[0].name catalogue-of-it makes '
                "a-site-of-some-length-catalogue-of-it the name of its clients' folder, which takes 32 characters at "
                "most; choose a shorter one."
            ],
            id="client folder of a long name",
        ),
        pytest.param(
            one(),
            {"log_dir": "logs"},
            ["zeo_server_log_dir logs is a relative path; write it from / on."],
            id="folder relative",
        ),
        pytest.param(
            one(),
            {"log_dir": "/var/log/"},
            [("zeo_server_log_dir /var/log is a folder of the system; name one of its own, such as /var/log/zodb.")],
            id="folder of the system",
        ),
        pytest.param(
            one(),
            {"data_dir": "/srv/zodb", "cache_dir": "/srv/zodb"},
            [
                (
                    "zeo_server_cache_dir /srv/zodb is zeo_server_data_dir too, which has other permissions; name a "
                    "folder for each."
                )
            ],
            id="folder used twice",
        ),
        pytest.param(
            one(),
            {"user": "root"},
            [
                (
                    "zeo_server_user root would give whoever reaches a server the whole host; name an account of "
                    "its own, such as zodb."
                )
            ],
            id="user root",
        ),
        pytest.param(
            one(),
            {"user": "zeo server", "client_group": "web team"},
            [
                (
                    'zeo_server_user "zeo server" is no name of an account; write letters, digits, _, . or -, such '
                    "as zodb."
                ),
                (
                    'zeo_server_client_group "web team" is no name of an account; write letters, digits, _, . or -, '
                    "such as zodb."
                ),
            ],
            id="user and group with blanks",
        ),
        pytest.param(
            one(),
            {"release": "0.1.4"},
            ["zeo_server_release 0.1.4 does not ship with this collection; choose latest, 2025.09 or 2026.11."],
            id="release of the scaffold",
        ),
        pytest.param(
            one(),
            {"python": "bin/python3"},
            ["zeo_server_python bin/python3 is a relative path; write it from / on."],
            id="python relative",
        ),
        pytest.param(
            one(),
            {"wheelhouse": "wheels"},
            ["zeo_server_wheelhouse wheels is a relative path; write it from / on."],
            id="wheelhouse relative",
        ),
        pytest.param(
            one(),
            {"extra_packages": ["site", "git+https://bob:s3cret-s3cret@example.org/site.git"]},
            [
                (
                    "zeo_server_extra_packages[1] holds a password, which every user of the host could read; put it "
                    "into root's ~/.netrc."
                )
            ],
            id="extra package with a password",
        ),
        pytest.param(
            one(),
            {"extra_packages": ["--index-url=https://example.org"]},
            [
                (
                    "zeo_server_extra_packages[0] --index-url=https://example.org is no requirement but an option "
                    "of pip; write a package's name, with a version or without."
                )
            ],
            id="extra package that is an option",
        ),
        pytest.param(
            one(),
            {"mail_server": "localhost"},
            ["zeo_server_mail_server localhost has no port; write localhost:25."],
            id="mail server without a port",
        ),
        pytest.param(
            one(),
            {"mail_server": "/usr/sbin/sendmail"},
            ["zeo_server_mail_server /usr/sbin/sendmail is a path; write host:port, such as localhost:25."],
            id="mail server that is a program",
        ),
        pytest.param(
            one(),
            {"mail_sender": "PyAMS"},
            ["zeo_server_mail_sender PyAMS is no mail address; write name@host, such as PyAMS@localhost."],
            id="mail sender",
        ),
        pytest.param(
            [],
            {
                "old_variables": [
                    "zeo_server_port",
                    "zeo_storage",
                    "zeo_pack_report",
                    "pyams_release",
                    "project_name",
                    "project_slug",
                    "eggs_directory",
                    "run_user",
                    "run_group",
                    "logs_directory",
                ]
            },
            [
                (
                    "zeo_server_port: nothing reads this variable of the old scaffold; say address in an entry of "
                    "zeo_server_instances instead."
                ),
                (
                    "zeo_storage: nothing reads this variable of the old scaffold; say storages in an entry of "
                    "zeo_server_instances instead."
                ),
                (
                    "zeo_pack_report: nothing reads this variable of the old scaffold; say pack.report in an entry "
                    "of zeo_server_instances instead."
                ),
                "pyams_release: nothing reads this variable of the old scaffold; say zeo_server_release instead.",
                (
                    "project_name: nothing reads this variable of the old scaffold; say title in an entry of "
                    "zeo_server_instances instead."
                ),
                (
                    "project_slug: nothing reads this variable of the old scaffold; say name in an entry of "
                    "zeo_server_instances instead."
                ),
                ("eggs_directory: nothing reads this variable of the old scaffold; say zeo_server_wheelhouse instead."),
                "run_user: nothing reads this variable of the old scaffold; say zeo_server_user instead.",
                "run_group: nothing reads this variable of the old scaffold; say zeo_server_group instead.",
                ("logs_directory: nothing reads this variable of the old scaffold; say zeo_server_log_dir instead."),
            ],
            id="old variables",
        ),
    ],
)
def test_refusals(written, settings, sentences):
    found = refusals(entries(written), {**SETTINGS, **settings})
    assert found == sentences
    assert [sentence for sentence in found if not SENTENCE.fullmatch(sentence)] == []


def test_all_entries_are_judged_in_their_order():
    written = [{"name": "pyams", "pack": {"days": -1}}, {"name": "pyams"}, {"name": "blog", "address": "x"}]
    assert refusals(entries(written), {**SETTINGS, "user": "root"}) == [
        "zeo_server_user root would give whoever reaches a server the whole host; "
        "name an account of its own, such as zodb.",
        PYAMS + "pack.days -1 would keep what is yet to come; write 0 to keep no history, or more.",
        'zeo_server_instances[1] "pyams": name pyams is already that of zeo_server_instances[0]; '
        "give each entry its own.",
        'zeo_server_instances[1] "pyams": address 127.0.0.1:8100 is already that of "pyams"; '
        "give each instance its own port.",
        'zeo_server_instances[2] "blog": address x has no port; write x:8100.',
    ]


def test_no_sentence_holds_a_value_of_raw_lines():
    written = one(
        zconfig="address s3cret\n<ssl s3cret>\npassword-function s3cret",
        storages=[{"name": "a", "zconfig": "create s3cret"}],
    )
    found = refusals(entries(written), SETTINGS)
    assert len(found) == 4
    assert "s3cret" not in "".join(found)


def test_zconfig_names_a_storage_as_we_demand(tmp_path):
    """The rule against capitals stands as long as ZConfig lowers the names of sections."""
    conf = tmp_path / "storage.conf"
    conf.write_text(f"<filestorage PyAMS>\n  path {tmp_path}/Data.fs\n</filestorage>\n")
    configuration, _handlers = ZConfig.loadConfig(ZODB.config.getStorageSchema(), str(conf))
    assert configuration.storage.name == "pyams"
