# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zodb_host_info, run by ansible-playbook as root and as an ordinary user, or alone where it is asked again and again.

The test hosts of zeo_server's scenarios are asked what systemd tells.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import ansible_tasks
import pytest
import yaml
from ansible_collections.pyams.zodb.plugins.modules import zodb_host_info

HOLDER = """
import socket, sys
import ZODB.FileStorage
storage = ZODB.FileStorage.FileStorage(sys.argv[1] + "/Data.fs")
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[1] + "/zeo.sock")
unix.listen()
print(tcp.getsockname()[1], flush=True)
sys.stdin.read()
"""
SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
ZDAEMON = """
<runner>
  program sleep 600
  socket-name {folder}/zdsock
  directory {folder}
</runner>
"""


def task(check=False, **options):
    return {"pyams.zodb.zodb_host_info": options, "check_mode": check}


@pytest.fixture
def folder(open_folder):
    """Return a folder that everybody can enter and read."""
    return open_folder()


@pytest.fixture
def holder(folder):
    """Return a process of root that has a FileStorage open and listens, and its TCP port."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, int(process.stdout.readline())
        process.communicate("")


def test_every_answer_has_the_documented_keys(folder):
    """Of what is there, and of what is not, in check mode and out of it."""
    there = {
        "users": ["root"],
        "groups": ["root"],
        "python": "python3",
        "paths": ["/etc/passwd", "/etc"],
        "listens": ["127.0.0.1:1"],
        "services": [{"unit": "dbus.service", "files": ["/etc/passwd"]}, {"unit": "x", "zdaemon": ["/bin/true"]}],
        "file_storages": ["/etc/passwd"],
        "sqlite_databases": ["/etc/passwd"],
        "certificates": [{"cert": "/etc/ssl/certs/ca-certificates.crt"}],
        "folders": ["/etc"],
        "wheelhouse": "/etc",
        "read": ["/etc/hostname"],
    }
    absent = {
        "users": ["no-such"],
        "groups": ["no-such"],
        "python": "/no/such",
        "paths": ["/no/such"],
        "listens": ["no-such", "/no/such"],
        "services": [{"unit": "no-such.service", "files": ["/no/such"]}, {"unit": "x", "zdaemon": ["/no/such"]}],
        "file_storages": ["/no/such"],
        "sqlite_databases": ["/no/such"],
        "certificates": [{"cert": "/no/such", "key": "/no/such", "ca": "/no/such"}],
        "folders": ["/no/such"],
        "wheelhouse": "/no/such",
        "read": ["/no/such"],
    }
    documented = yaml.safe_load(zodb_host_info.RETURN)
    by_name = {"users", "groups", "paths", "listens", "services", "file_storages", "sqlite_databases", "certificates"}
    for result in ansible_tasks.run(folder, [task(**there), task(True, **absent), task()]):
        assert result.get("msg") is None
        assert result["changed"] is False
        assert set(documented) <= set(result)
        for key in documented:
            answers = list(result[key].values()) if key in by_name else [result[key]] if result[key] else []
            keys = {frozenset(answer) for answer in answers}
            assert keys <= {frozenset(documented[key].get("contains", answers[0] if answers else {}))}, key
    assert set(there) == set(zodb_host_info.ARGUMENTS) == set(absent)


def test_what_is_not_there_is_told(folder):
    (folder / "large").write_text("x" * 65_537)
    (folder / "fits").write_text("x" * 65_536)
    (folder / "latin").write_bytes(b"\xe9")
    (folder / "dir").mkdir()
    (folder / "dir/sub").mkdir()
    (folder / "dir/b.whl").write_text("")
    (folder / "dir/a.whl").write_text("")
    (folder / "link").symlink_to("nowhere")
    names = ("large", "fits", "latin", "dir", "none")
    result = ansible_tasks.run(
        folder,
        [
            task(
                users=["root", "no-such"],
                groups=["no-such"],
                python="/bin/true",
                wheelhouse=str(folder / "dir"),
                folders=[str(folder / "dir"), str(folder / "none")],
                read=[str(folder / name) for name in names],
                paths=[str(folder / "link"), str(folder / "none/below"), str(folder / "fits")],
                listens=["no port"],
                services=[{"unit": "no-such.service", "files": [str(folder / "fits")]}],
            )
        ],
    )[0]
    assert result["users"]["root"] == {"exists": True, "uid": 0, "gid": 0, "home": "/root", "shell": "/bin/bash"}
    assert result["users"]["no-such"] == {"exists": False, "uid": None, "gid": None, "home": None, "shell": None}
    assert result["groups"] == {"no-such": {"exists": False, "gid": None}}
    assert result["python"] == {"path": "/bin/true", "exists": False, "version": None, "venv": False}
    assert result["wheelhouse"] == {"exists": True, "files": ["a.whl", "b.whl"]}
    assert result["folders"] == {str(folder / "dir"): ["a.whl", "b.whl", "sub"], str(folder / "none"): None}
    assert [result["read"][str(folder / name)] for name in names] == [None, "x" * 65_536, None, None, None]
    link, none, fits = (result["paths"][str(folder / name)] for name in ("link", "none/below", "fits"))
    assert (link["exists"], link["type"], link["target"]) == (True, "link", "nowhere")
    assert (none["exists"], none["type"], none["free"] > 0) == (False, None, True)
    assert (fits["type"], fits["owner"], fits["mode"], fits["size"]) == ("file", "root", "0644", 65_536)
    assert fits["mtime"] == (folder / "fits").stat().st_mtime
    assert result["listens"]["no port"] == {
        "in_use": False,
        "pid": None,
        "program": None,
        "unit": None,
        "error": "no port has no port from 1 to 65535; write it as host:port",
    }
    service = result["services"]["no-such.service"]
    assert (service["exists"], service["active"], service["outdated"]) == (False, False, False)
    assert service["newest_file"] == str(folder / "fits")


def test_who_listens_and_who_holds_a_storage(folder, holder, account):
    """Root sees it; an ordinary user sees that somebody does, and who holds the lock, as the kernel tells everybody."""
    process, port = holder
    (folder / "python-2.fs").write_bytes(b"FS21" + bytes(8))
    (folder / "other").write_bytes(b"\0\1\2\3")
    storages = [str(folder / name) for name in ("Data.fs", "python-2.fs", "other", "none")]
    listens = [f"127.0.0.1:{port}", f":{port}", f"[::1]:{port}", str(folder / "zeo.sock")]
    options = {"file_storages": storages, "listens": listens}
    (folder / "Data.fs").chmod(0o600)
    seen = ansible_tasks.run(folder, [task(**options)])[0]
    assert [about["in_use"] for about in map(seen["listens"].get, listens)] == [True, True, False, True]
    assert [about["pid"] for about in map(seen["listens"].get, listens)] == [
        process.pid,
        process.pid,
        None,
        process.pid,
    ]
    data, old, other, none = map(seen["file_storages"].get, storages)
    assert (data["exists"], data["magic"], data["owner"], data["error"]) == (True, "FS30", "root", None)
    assert data["size"] == (folder / "Data.fs").stat().st_size
    assert (data["locked"], data["lock_pid"], data["lock_program"]) == (True, process.pid, sys.executable)
    assert (old["magic"], old["locked"], old["lock_pid"]) == ("FS21", False, None)
    assert (other["exists"], other["magic"], other["error"]) == (True, None, None)
    assert (none["exists"], none["size"], none["error"]) == (False, None, None)

    seen = ansible_tasks.run(folder, [task(**options)], user=account)[0]
    assert seen["host"]["user"] == account
    assert [about["in_use"] for about in map(seen["listens"].get, listens)] == [True, True, False, True]
    assert [about["pid"] for about in map(seen["listens"].get, listens)] == [None] * 4
    data = seen["file_storages"][storages[0]]
    assert (data["exists"], data["magic"], data["error"]) == (True, None, f"{storages[0]}: permission denied")
    assert (data["locked"], data["lock_pid"]) == (True, process.pid)


def test_an_ordinary_user_sees_its_own(folder, account):
    command = [
        "setpriv",
        f"--reuid={account}",
        f"--regid={account}",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        SERVER,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        address = f"127.0.0.1:{int(process.stdout.readline())}"
        seen = ansible_tasks.run(folder, [task(listens=[address])], user=account)[0]["listens"][address]
        process.communicate("")
    assert (seen["in_use"], seen["pid"], seen["program"]) == (True, process.pid, "/usr/bin/python3")


def test_a_program_under_zdaemon_is_outdated_until_it_is_started_again(folder):
    """Its files written before its start, after it, before the next one; then stopped, then its virtualenv gone."""
    configuration, files = folder / "zdaemon.conf", [str(folder / "zeo.conf"), str(folder / "none")]
    configuration.write_text(ZDAEMON.format(folder=folder))
    zdaemon = [str(Path(sys.executable).with_name("zdaemon")), "-C", str(configuration)]
    service = {"unit": "zeo-pyams", "files": files, "zdaemon": [*zdaemon, "status"]}

    def do(*words):
        subprocess.run([*zdaemon, *words], check=True, capture_output=True)

    def look():
        started = ansible_tasks.start_module(folder, zodb_host_info, {"services": [service]})
        return ansible_tasks.result_of(started)["services"]["zeo-pyams"]

    (folder / "zeo.conf").write_text("")
    before = look()
    assert (before["exists"], before["active"], before["state"], before["started"]) == (True, False, "inactive", None)
    try:
        time.sleep(0.05)
        earliest = time.time()
        do("start")
        running = look()
        assert (running["active"], running["state"], running["enabled"], running["outdated"]) == (
            True,
            "active",
            None,
            False,
        )
        assert Path(f"/proc/{running['main_pid']}/comm").read_text() == "sleep\n"
        assert earliest - 0.02 <= running["started"] <= time.time()
        assert (running["newest_file"], running["newest"]) == (files[0], os.stat(files[0]).st_mtime)
        (folder / "zeo.conf").write_text("")
        assert look()["outdated"] is True
        time.sleep(0.05)
        do("restart")
        again = look()
        assert (again["outdated"], again["main_pid"] != running["main_pid"]) == (False, True)
    finally:
        do("stop")
    stopped = look()
    assert (stopped["active"], stopped["main_pid"], stopped["outdated"]) == (False, None, False)
    service["zdaemon"][0] = str(folder / "gone")
    gone = look()
    assert (gone["exists"], gone["active"], gone["state"]) == (False, False, None)


def test_a_look_changes_nothing_and_costs_little(folder):
    """Fifty of each kind: one task, well below what fifty tasks would take."""
    (folder / "Data.fs").write_bytes(b"FS30")
    with socket.create_server(("127.0.0.1", 0)):
        many = [str(folder / str(number)) for number in range(50)]
        options = {
            "paths": many,
            "read": many,
            "file_storages": [*many, str(folder / "Data.fs")],
            "listens": [f"127.0.0.1:{port}" for port in range(1, 51)],
            "certificates": [{"cert": path} for path in many],
            "services": [{"unit": f"zeo-{number}.service", "files": many} for number in range(50)],
        }
        playbook = ansible_tasks.write(folder, [task(**options)])
        found = sorted(path.name for path in folder.iterdir())
        start = time.monotonic()
        subprocess.run(
            ansible_tasks.command(playbook), env=ansible_tasks.environment(), check=True, capture_output=True
        )
        assert time.monotonic() - start < 15
    assert sorted(path.name for path in folder.iterdir()) == found == ["Data.fs", "playbook.yml"]
