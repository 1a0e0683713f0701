# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-checkconf: the sentences of what it refuses, and that it touches nothing."""

from __future__ import annotations

import pathlib

import pytest
from real import command

ZEO = """\
<zeo>
  address 127.0.0.1:8100
  transaction-timeout 30
  <ssl>
    certificate /nowhere/server.crt
    key /nowhere/server.key
    authenticate /nowhere/clients
  </ssl>
</zeo>
<filestorage pyams>
  path /nowhere/Data.fs
  blob-dir /nowhere/blobs
</filestorage>
<eventlog>
  <logfile>
    path /nowhere/zeo.log
  </logfile>
</eventlog>
"""

ZDAEMON = """\
<runner>
  program /nowhere/runzeo -C /nowhere/zeo.conf
  socket-name /nowhere/zdsock
  directory /nowhere/run/pyams
  transcript /nowhere/zeo.log
  umask 077
</runner>
"""

CLIENT = """\
%import ZEO
<zodb main>
  <clientstorage>
    server localhost:8100
    storage pyams
    blob-dir /nowhere/blobs
    <ssl>
      certificate /nowhere/client.crt
      key /nowhere/client.key
      authenticate /nowhere/server.crt
    </ssl>
  </clientstorage>
  pool-size 7
</zodb>
"""

ZOPE = """\
<zodb_db main>
  <filestorage>
    path /nowhere/Data.fs
  </filestorage>
  mount-point /
  class-factory nowhere.to_be.found
</zodb_db>
"""

BARE = "%import ZEO\n<clientstorage>\n  server /nowhere/zeo.sock\n</clientstorage>\n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        pytest.param("zeo", ZEO, id="runzeo"),
        pytest.param("zeo", ZEO.replace("127.0.0.1:8100", "/nowhere/zeo.sock"), id="unix socket"),
        pytest.param("zdaemon", ZDAEMON, id="zdaemon"),
        pytest.param("client", CLIENT, id="ZODB"),
        pytest.param("client", ZOPE, id="Zope"),
        pytest.param("client", BARE, id="bare storage"),
        pytest.param(
            "client", CLIENT + CLIENT.replace("main", "other").replace("%import ZEO\n", ""), id="two databases"
        ),
    ],
)
def test_a_good_file_passes_in_silence_and_nothing_is_created(tmp_path, kind, text):
    file = tmp_path / "some file.conf"
    file.write_text(text.replace("/nowhere", str(tmp_path)))
    result = command("zodb-checkconf", kind, file)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["some file.conf"]


@pytest.mark.parametrize(
    ("kind", "text", "old", "new", "sentence"),
    [
        pytest.param(
            "zeo",
            ZEO,
            "transaction-timeout 30",
            "transaction-timeout soon",
            "3: transaction-timeout: invalid literal for int() with base 10: 'soon'",
            id="bad value",
        ),
        pytest.param(
            "client",
            CLIENT,
            "server localhost:8100",
            "server localhost:81000",
            "4: server: 81000 is above upper bound (65535)",
            id="bad value deep in sections",
        ),
        pytest.param(
            "zeo", ZEO, "transaction-timeout", "timeout", "3: 'timeout' is not a known key name", id="unknown key"
        ),
        pytest.param("zeo", ZEO, "<eventlog>", "<log>", "14: unknown type name: 'log'", id="unknown section"),
        pytest.param("zeo", ZEO, "</eventlog>\n", "", "17: unclosed sections not allowed", id="section without end"),
        pytest.param(
            "zeo", ZEO, "  address 127.0.0.1:8100\n", "", "8: no values for 'address'; 1 required", id="key missing"
        ),
        pytest.param(
            "zeo",
            ZEO,
            ZEO[ZEO.index("<filestorage") : ZEO.index("<eventlog")],
            "",
            "14: not enough values for section type 'zodb.storage'; 0 found, 1 required",
            id="no storage",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "<filestorage pyams>",
            "<filestorage PyAMS>",
            "10: storage PyAMS would be served as pyams, since ZConfig lowers names; write it in lower case",
            id="storage name in capitals",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "<filestorage pyams>",
            "<filestorage>\npath x\n</filestorage>\n<filestorage>",
            "1: more than one storage is served as '1', the name of one without a name",
            id="two storages without name",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "<filestorage pyams>",
            "<mappingstorage pyams>\n</mappingstorage>\n<filestorage pyams>",
            "15: section names must not be re-used within the same container:'pyams'",
            id="storage name twice",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "127.0.0.1:8100",
            "localhost",
            "2: address localhost has no port, so that ZEO would take any that is free",
            id="no port",
        ),
        *(
            pytest.param(
                "zeo",
                ZEO,
                "/nowhere/clients",
                value,
                f"7: authenticate {value}: ZEO dies of it or admits nobody; name a file, or a folder of certificates",
                id=f"authenticate {value or 'empty'}",
            )
            for value in ("SIGNED", "-", "DYNAMIC", "")
        ),
        pytest.param(
            "client",
            CLIENT,
            "/nowhere/server.crt",
            "SIGNED",
            "10: authenticate SIGNED: ZEO dies of it; name a file, or leave it out for the system's authorities",
            id="client's authenticate",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "transaction-timeout 30",
            "authentication-protocol digest",
            "3: authentication-protocol is gone since ZEO 5; <ssl> with a certificate for each client replaces "
            "the passwords",
            id="old passwords",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "transaction-timeout 30",
            "monitor-address 127.0.0.1:8101",
            "3: monitor-address is gone since ZEO 5; zodb-health replaces it",
            id="old monitor",
        ),
        pytest.param(
            "zeo",
            ZEO,
            "transaction-timeout 30",
            "msgpack true",
            "3: msgpack needs the package msgpack, which is not in this virtualenv",
            id="msgpack",
        ),
        pytest.param(
            "client",
            ZOPE,
            "<filestorage>\n    path /nowhere/Data.fs\n  </filestorage>",
            "<zeoclient>\n server x:1\n password secret\n</zeoclient>",
            "4: password is ignored since ZEO 5; <clientstorage> with <ssl> and a certificate replaces the passwords",
            id="client's old password",
        ),
        pytest.param(
            "client",
            BARE,
            "storage>\n  server /nowhere/zeo.sock",
            "storage>\n  server x:1\n  name pa$word",
            "4: name: $ stands before a name that is not defined; write $$ for a dollar sign",
            id="dollar, without what follows it",
        ),
        pytest.param(
            "client",
            BARE,
            "%import ZEO",
            "%import nowhere",
            "1: %import nowhere: there is no such package in this virtualenv, or it has no component.xml",
            id="import of what is not installed",
        ),
        pytest.param(
            "client", CLIENT, CLIENT, "# nothing\n", "1: holds neither a database nor a storage", id="empty client file"
        ),
        pytest.param(
            "zdaemon",
            ZDAEMON,
            "umask 077",
            "umask 0x9",
            "6: umask: invalid literal for int() with base 8: '0x9'",
            id="umask",
        ),
        pytest.param(
            "zdaemon", ZDAEMON, "program", "programme", "2: 'programme' is not a known key name", id="zdaemon's key"
        ),
    ],
)
def test_refused(tmp_path, kind, text, old, new, sentence):
    assert old in text
    file = tmp_path / "bad.conf"
    file.write_text(text.replace(old, new, 1))
    result = command("zodb-checkconf", kind, file)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"{file}:{sentence}\n")


def test_an_error_in_an_included_file_names_that_file(tmp_path):
    (tmp_path / "storage.inc").write_text("path /nowhere/Data.fs\nquota many\n")
    file = tmp_path / "zeo.conf"
    file.write_text("<zeo>\naddress 8100\n</zeo>\n<filestorage pyams>\n%include storage.inc\n</filestorage>\n")
    result = command("zodb-checkconf", "zeo", file)
    assert result.returncode == 1
    assert result.stderr == f"{tmp_path}/storage.inc:2: quota: invalid literal for int() with base 10: 'many'\n"


def test_a_missing_include_names_its_line(tmp_path):
    file = tmp_path / "zeo.conf"
    file.write_text("# one\n%include nowhere.inc\n")
    result = command("zodb-checkconf", "zeo", file)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{file}:2: error opening file {tmp_path}/nowhere.inc: ")


def test_a_crl_in_a_folder_is_refused_since_zeo_ignores_it(tmp_path, authority):
    clients = tmp_path / "clients"
    clients.mkdir()
    authority.pinned("app")[0].rename(clients / "app.pem")
    file = tmp_path / "zeo.conf"
    file.write_text(ZEO.replace("/nowhere/clients", str(clients)))
    assert command("zodb-checkconf", "zeo", file).returncode == 0
    authority.crl().rename(clients / "list.pem")
    result = command("zodb-checkconf", "zeo", file)
    assert result.stderr == (
        f"{file}:7: authenticate {clients}: ZEO ignores the CRL list.pem in it; put authority and CRL into one file\n"
    )


def test_every_bad_file_is_told(tmp_path):
    good, bad = tmp_path / "good.conf", tmp_path / "bad.conf"
    good.write_text(ZDAEMON)
    bad.write_text("<runner>\n</runner>\n")
    missing = tmp_path / "missing.conf"
    result = command("zodb-checkconf", "zdaemon", good, bad, missing)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"{bad}:2: no values for 'program'; 1 required",
        f"{missing}:1: cannot be read: No such file or directory",
    ]


def test_a_relative_file_is_found_with_its_includes(tmp_path):
    (tmp_path / "storage.inc").write_text("path /nowhere/Data.fs\n")
    (tmp_path / "zeo.conf").write_text(
        "<zeo>\naddress 8100\n</zeo>\n<filestorage pyams>\n%include storage.inc\n</filestorage>\n"
    )
    assert command("zodb-checkconf", "zeo", "zeo.conf", cwd=tmp_path).returncode == 0


def test_wrong_usage_is_2():
    assert command("zodb-checkconf", "sql", pathlib.Path("/dev/null")).returncode == 2
