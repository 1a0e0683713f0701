# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Linux, systemd and zdaemon tell of a host: their texts, and this machine's own sockets, locks and processes."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _host

# Of a little-endian machine; what follows the inode is left out.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1FA4 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 69213 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 632 1
   2: 0100007F:1FA4 0100007F:8F02 01 00000000:00000000 00:00000000 00000000   998        0 70001 1
"""
TCP6 = f"""\
  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: {"0" * 32}:1F90 {"0" * 32}:0000 0A 0:0 00:00000000 0 0 0 811 1
   1: {"0" * 24}01000000:1FA4 {"0" * 32}:0000 0A 0:0 00:00000000 0 0 0 812 1
   2: {"0" * 16}FFFF00000100007F:1FA5 {"0" * 32}:0000 0A 0:0 00:00000000 0 0 0 813 1
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
000000003ebb9b72: 00000002 00000000 00010000 0001 01 33432 /run/zeo-pyams/zeo.sock
000000003d2095c7: 00000003 00000000 00000000 0001 03 33740 /run/zeo-pyams/zeo.sock
000000007f0e43dd: 00000002 00000000 00010000 0001 01 35571
0000000011112222: 00000002 00000000 00010000 0001 01 35572 /srv/with space/sock
"""
LOCKS = """\
1: FLOCK  ADVISORY  WRITE 25445 00:52:1507435 0 EOF
1: -> FLOCK  ADVISORY  WRITE 25446 00:52:1507435 0 EOF
2: POSIX  ADVISORY  READ  813 fe:00:2294041 1073741826 1073742335
3: OFDLCK ADVISORY  WRITE -1 fd:0a:7 0 EOF
"""
MOUNTS = """\
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
30 22 0:41 / /srv rw,noatime master:1 - nfs4 nas:/srv rw,vers=4.2
31 22 0:52 / /mnt/my\\040disk rw - xfs /dev/vdb rw
32 31 0:53 / /mnt/my\\040disk rw - tmpfs tmpfs rw
"""


def ip(text):
    return ipaddress.ip_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("127.0.0.1:8100", ("127.0.0.1", 8100), id="host and port"),
        pytest.param("8100", ("127.0.0.1", 8100), id="port"),
        pytest.param(":8100", ("", 8100), id="any"),
        pytest.param("[::1]:8100", ("::1", 8100), id="IPv6"),
        pytest.param("zeo.example.org:1", ("zeo.example.org", 1), id="name"),
        pytest.param("/run/x:1", ("unix", "/run/x:1"), id="unix socket"),
    ],
)
def test_listen_address(text, expected):
    assert _host.listen_address(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("localhost", "localhost has no port from 1 to 65535; write it as host:port", id="no port"),
        pytest.param("h:0", "h:0 has no port from 1 to 65535; write it as host:port", id="port 0"),
        pytest.param("h:65536", "h:65536 has no port from 1 to 65535; write it as host:port", id="port too large"),
        pytest.param("h:٣", "h:٣ has no port from 1 to 65535; write it as host:port", id="digits of another script"),
        pytest.param("::1:8100", "::1:8100 is ambiguous; write an IPv6 address as [::1]:8100", id="bare IPv6"),
        pytest.param("", " has no port from 1 to 65535; write it as host:port", id="empty"),
    ],
)
def test_a_listen_address_that_is_none(text, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        _host.listen_address(text)


def test_listening_tcp():
    assert _host.listening_tcp(TCP) == [(ip("127.0.0.1"), 8100, 69213), (ip("0.0.0.0"), 22, 632)]
    assert _host.listening_tcp(TCP6) == [(ip("::"), 8080, 811), (ip("::1"), 8100, 812), (ip("127.0.0.1"), 8101, 813)]
    assert _host.listening_tcp("") == []


def test_connected_tcp():
    assert _host.connected_tcp(TCP) == [(8100, ip("127.0.0.1"), 36610)]
    assert _host.connected_tcp(TCP6) == []


def test_listening_unix():
    assert _host.listening_unix(UNIX) == {"/run/zeo-pyams/zeo.sock": 33432, "/srv/with space/sock": 35572}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param("127.0.0.1", "127.0.0.1", True, id="same"),
        pytest.param("127.0.0.1", "127.0.0.2", False, id="another"),
        pytest.param("127.0.0.1", "0.0.0.0", True, id="any IPv4"),
        pytest.param("127.0.0.1", "::", True, id="any IPv6 takes IPv4 too"),
        pytest.param("::1", "0.0.0.0", False, id="any IPv4 takes no IPv6"),
        pytest.param("::1", "::", True, id="IPv6 and any"),
        pytest.param("::1", "127.0.0.1", False, id="two loopbacks"),
        pytest.param("::", "0.0.0.0", True, id="any and any"),
    ],
)
def test_conflict(one, other, expected):
    assert _host.conflict(ip(one), ip(other)) is expected
    assert _host.conflict(ip(other), ip(one)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0::/system.slice/zeo-pyams.service\n", "zeo-pyams.service", id="version 2"),
        pytest.param("0::/system.slice/zeo-pyams.service/payload\n", "zeo-pyams.service", id="below the unit"),
        pytest.param(
            "5:devices:/system.slice/other.service\n1:name=systemd:/system.slice/zeo-pyams.service\n0::/\n",
            "zeo-pyams.service",
            id="version 1",
        ),
        pytest.param(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/zeo.service\n", "zeo.service", id="of a user"
        ),
        pytest.param("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope", id="session"),
        pytest.param("9:name=systemd:/\n0::/\n", None, id="none"),
        pytest.param("", None, id="gone"),
    ],
)
def test_unit_of(text, expected):
    assert _host.unit_of(text) == expected


def test_locks():
    assert _host.locks(LOCKS) == [(25445, 0, 0x52, 1507435), (813, 0xFE, 0, 2294041), (-1, 0xFD, 10, 7)]


def test_start_ticks():
    fields = " ".join(str(number) for number in range(3, 53))
    assert _host.start_ticks(f"4711 (a) S (b c) {fields}\n") == 22


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("program running; pid=123\n", 123, id="running"),
        pytest.param("daemon manager not running\n", None, id="not started"),
        pytest.param("daemon manager running; daemon process not running\n", None, id="crashed"),
    ],
)
def test_zdaemon_pid(text, expected):
    assert _host.zdaemon_pid(text) == expected


def test_properties():
    assert _host.properties("LoadState=loaded\nMainPID=1\nX=a=b\n\nLoadState=not-found\nMainPID=0\n") == [
        {"LoadState": "loaded", "MainPID": "1", "X": "a=b"},
        {"LoadState": "not-found", "MainPID": "0"},
    ]


def test_timestamp():
    assert _host.timestamp("Mon 2025-11-24 23:18:03.123456 UTC") == 1764026283.123456
    assert [_host.timestamp(text) for text in ("", "n/a", None, "Mon 2025-11-24 23:18:03 UTC")] == [None] * 4


def test_os_release():
    text = "# a comment\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian GNU/Linux 12 (a=b)'\n\n"
    assert _host.os_release(text) == {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (a=b)"}
    assert _host.os_release("") == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["/usr/sbin/nginx", "-g", "x"], "/usr/sbin/nginx", id="program"),
        pytest.param(
            ["/opt/bin/python3.11", "-I", "/opt/bin/runzeo", "-C", "x"],
            "/opt/bin/python3.11 /opt/bin/runzeo",
            id="script",
        ),
        pytest.param(["python3", "-c", "password = 'x'"], "python3", id="program text is left out"),
        pytest.param([], "kthreadd", id="no command"),
    ],
)
def test_program(words, expected):
    assert _host.program("".join(word + "\0" for word in words), "kthreadd") == expected


def test_who_listens_is_found():
    with socket.socket() as loopback, socket.socket(socket.AF_INET6) as any_address:
        loopback.bind(("127.0.0.1", 0))
        loopback.listen()
        any_address.bind(("::", 0))
        any_address.listen()
        port, any_port = loopback.getsockname()[1], any_address.getsockname()[1]
        tcp, unix = _host.listeners()
        taken = [f"127.0.0.1:{port}", str(port), f":{port}", f"localhost:{port}", f"[::1]:{any_port}", str(any_port)]
        found = {address: _host.occupant(address, tcp, unix) for address in taken}
        assert [error for _inode, error in found.values()] == [None] * len(taken)
        pids = _host.holders({inode for inode, _error in found.values()})
        assert {address: pids.get(inode) for address, (inode, _error) in found.items()} == dict.fromkeys(
            taken, os.getpid()
        )
        for address in (f"[::1]:{port}", f"127.0.0.2:{port}"):
            assert _host.occupant(address, tcp, unix) == (None, None)
    assert _host.occupant(f"127.0.0.1:{port}", *_host.listeners()) == (None, None)
    assert _host.occupant("no host:1", tcp, unix) == (
        None,
        "no host:1 names a host that cannot be resolved; write its IP address",
    )
    assert _host.holders(set()) == {}


def test_a_unix_socket_is_in_use_while_someone_listens(tmp_path):
    path = tmp_path / "sock"
    (tmp_path / "link").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert _host.occupant(str(path), *_host.listeners()) == (None, None)
        server.listen()
        inode, error = _host.occupant(str(tmp_path / "link/sock"), *_host.listeners())
        assert (_host.holders({inode}), error) == ({inode: os.getpid()}, None)
    assert path.exists()
    assert _host.occupant(str(path), *_host.listeners()) == (None, None)


HOLDER = """
import sys
import ZODB.FileStorage
storage = ZODB.FileStorage.FileStorage(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
storage.close()
"""


def test_who_holds_a_filestorage_is_found_and_not_disturbed(tmp_path):
    path = str(tmp_path / "Data.fs")
    assert _host.lock_holder(path + ".lock") == (False, None)
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "open\n"
        assert _host.lock_holder(path + ".lock") == (True, holder.pid)
        about = _host.process(holder.pid)
        assert (about["pid"], about["program"]) == (holder.pid, sys.executable)
        holder.communicate("")
    assert os.path.exists(path + ".lock")
    assert _host.lock_holder(path + ".lock") == (False, None)
    assert _host.process(None) == {"pid": None, "program": None, "unit": None}


def test_when_a_process_started_is_known_to_some_hundredths():
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as process:
        after = time.time()
        started = _host.process_start(process.pid)
        process.terminate()
    assert before - 0.02 <= started <= after
    assert _host.process_start(process.pid) is None


def test_dates():
    assert _host.earliest(None, 3.0, 2.0) == 2.0
    assert _host.earliest(None, None) is None
    assert _host.monotonic(0) is None
    assert abs(_host.monotonic(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6) - time.time()) < 0.01


def test_newest(tmp_path):
    for number, name in enumerate(("old", "new", "target", "dir")):
        (tmp_path / name).mkdir() if name == "dir" else (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 100 * (number + 1)))
    for name, target, date in (("to-file", "target", 50), ("to-folder", "dir", 60), ("dangling", "none", 70)):
        (tmp_path / name).symlink_to(target)
        os.utime(tmp_path / name, (0, date), follow_symlinks=False)

    def newest(*names):
        date, path = _host.newest([str(tmp_path / name) for name in names])
        return date, path and os.path.basename(path)

    assert newest() == newest("none", "old/below") == (None, None)
    assert newest("old", "none", "new") == (200, "new")
    assert newest("old", "to-file") == (300, "to-file")
    assert newest("to-folder") == (60, "to-folder")
    assert newest("dangling") == (70, "dangling")
    assert newest("dir") == (400, "dir")


def test_free_space_of_what_is_to_come(tmp_path):
    status = os.statvfs(tmp_path)
    for path in (tmp_path, tmp_path / "not/there"):
        assert abs(_host.free(str(path)) - status.f_bavail * status.f_frsize) < 1e9
    assert _host.text(str(tmp_path / "not")) == ""
    assert _host.full_name()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/", "ext4", id="root"),
        pytest.param("/srv", "nfs4", id="mounted there"),
        pytest.param("/srv/zodb/site", "nfs4", id="below"),
        pytest.param("/srv2", "ext4", id="a longer name beside it"),
        pytest.param("/mnt/my disk/site", "tmpfs", id="a blank, and one over another"),
    ],
)
def test_the_file_system_that_a_path_lies_on(path, expected):
    assert _host.mount_type(MOUNTS, path) == expected


def test_the_file_system_of_what_is_to_come():
    (of_proc,) = {_host.file_system(path) for path in ("/proc", "/proc/not/there")}
    assert of_proc == "proc"
    assert _host.mount_type("", "/") is None


def test_a_sqlite_database_is_read_and_nothing_is_made(tmp_path):
    """Of one that nobody has open, then of one whose newest table stands in the log alone."""
    path = tmp_path / "odd ?name.sqlite3"

    def told(**about):
        return {"tables": None, "blobs": None, "error": None, "pids": [], **about}

    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE first (number INTEGER)")
    database.close()
    assert _host.sqlite_database(str(path)) == told(tables=["first"], blobs=False)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE blob_chunk (number INTEGER)")
    assert _host.sqlite_database(str(path)) == told(tables=["blob_chunk", "first"], blobs=False)
    database.execute("INSERT INTO blob_chunk VALUES (1)")
    database.commit()
    assert _host.sqlite_database(str(path)) == told(tables=["blob_chunk", "first"], blobs=True)
    database.close()
    path.write_text("no database, and long enough to be read as one" * 100)
    assert _host.sqlite_database(str(path)) == told(error="file is not a database")
    assert _host.sqlite_database(str(tmp_path / "none")) == told(error="unable to open database file")
