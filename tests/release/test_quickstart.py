# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make quickstart, as an ordinary user types it in a clone."""

from __future__ import annotations

import os
import pathlib
import pwd
import re
import socket
import subprocess
import sys

import pytest
from conftest import User

WRITE = (
    "import sys, transaction, ZODB.config\n"
    "with ZODB.config.databaseFromURL(sys.argv[1]).transaction() as connection:\n"
    "    connection.root.answer = 43\n"
)
READ = (
    "import sys, ZODB.config\n"
    "with ZODB.config.databaseFromURL(sys.argv[1]).transaction() as connection:\n"
    "    print(connection.root.answer, connection.root.blob.open().read())\n"
)
# A real one where there is one; elsewhere the answer that it would give is all that the script asks for.
OLD = next(iter(sorted(pathlib.Path.home().glob(".pyenv/versions/3.[89].*/bin/python"))), None)


def script(path, *lines):
    """Write an executable shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    path.chmod(0o755)
    return path


def last_line(done):
    """Return the last line that is not make's own."""
    return [line for line in done.stdout.splitlines() if not line.startswith("make: ")][-1]


def test_an_old_python_is_refused(clone, user, place):
    version = (
        subprocess.run([OLD, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
        if OLD
        else "3.9.2"
    )
    python = script(place / "bin" / "python3", f"echo {version}")
    done = user.run("make", "quickstart", f"PYTHON={python}", cwd=clone)
    assert done.returncode == 2
    assert last_line(done) == (
        f"quickstart: no Python 3.11, 3.12 or 3.13 ({python} is {version}); "
        "install one, or name it: make quickstart PYTHON=/path/to/python3.11"
    )
    assert not (clone / ".quickstart").exists()


def test_a_missing_venv_module_is_told(clone, user, place):
    blocked = place / "blocked"
    blocked.mkdir()
    (blocked / "ensurepip.py").write_text("raise ImportError('not installed')\n", encoding="utf-8")
    python = script(place / "bin" / "python3", f'PYTHONPATH={blocked} exec /usr/bin/python3 "$@"')
    done = user.run("make", "quickstart", f"PYTHON={python}", cwd=clone)
    assert done.returncode == 2
    assert last_line(done) == (
        f"quickstart: {python} has no module venv; install it, on Debian and Ubuntu with: apt-get install python3-venv"
    )


def test_no_network_is_told(clone, user):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}
    done = user.run("make", "quickstart", cwd=clone, **nowhere)
    assert done.returncode == 2
    assert last_line(done).startswith(
        "quickstart: pip cannot install ansible-core; is there a way to PyPI, or to the index that pip is set to? "
        "It says: ERROR: Could not find a version that satisfies the requirement ansible-core"
    )


def test_it_serves_changes_nothing_twice_and_stops(clone, user, address):
    before = set(pathlib.Path("/tmp").iterdir())
    try:
        first = user.run("make", "quickstart", f"ADDRESS={address}", cwd=clone)
        assert first.returncode == 0, first.stdout
        conf = clone / ".quickstart" / "etc" / "pyams" / "zodb.conf"
        assert last_line(first) == f"zodbconn.uri = zconfig://{conf}#main"
        assert '"verified: full"' in first.stdout
        facts = re.findall(
            r"(filestorage|sqlite) \S+: (objects 2, blobs 1, transactions 2, the last one \S+ of \S+)\"", first.stdout
        )
        assert [kind for kind, _told in facts] == ["filestorage", "sqlite"]
        assert facts[0][1] == facts[1][1]
        second = user.run("make", "quickstart", f"ADDRESS={address}", cwd=clone)
        assert second.returncode == 0, second.stdout
        assert second.stdout.splitlines()[-2:] == ["Nothing had to be changed.", last_line(first)]
        assert len([line for line in second.stdout.splitlines() if line.startswith("changed:")]) == 0
        assert list(user.home.iterdir()) == []
        assert [
            path for path in pathlib.Path("/tmp").iterdir() if path not in before and path.owner() == "nobody"
        ] == []
    finally:
        last = user.run("make", "quickstart-stop", cwd=clone)
    assert last.returncode == 0, last.stdout
    host, port = address.split(":")
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect((host, int(port)))


def test_a_port_in_use_is_told(clone, user):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = user.run("make", "quickstart", f"ADDRESS={address}", cwd=clone)
    assert done.returncode == 2
    assert re.search(rf"zeo_server_instances\[0\] \"pyams\": address {address} [^\n]+\.$", done.stdout, re.MULTILINE), (
        done.stdout
    )


def accounts():
    """Return the accounts of this machine, but those that other tests make for themselves meanwhile."""
    return [account.pw_name for account in pwd.getpwall() if not account.pw_name.startswith("zodb-test-")]


def test_whoever_runs_the_tests_has_a_copy_of_real_data_served_and_converted(clone, user, address, place):
    """If that is root, nobody does it, so that nothing is added to the system. What is written later comes along."""
    me, before_accounts = User(user.home, ordinary=False), accounts()
    before = sorted(pathlib.Path("/etc").glob("*/*zeo-*"))
    data = place / "real"
    data.mkdir(mode=0o755)
    write = (
        "import sys, transaction, ZODB, ZODB.blob, ZODB.FileStorage\n"
        "storage = ZODB.FileStorage.FileStorage(sys.argv[1] + '/Data.fs', blob_dir=sys.argv[1] + '/blobs')\n"
        "with ZODB.DB(storage).transaction() as connection:\n"
        "    connection.root.answer = 42\n"
        "    connection.root.blob = ZODB.blob.Blob(b'blue')\n"
    )
    subprocess.run([sys.executable, "-c", write, data], check=True)
    subprocess.run(["chmod", "-R", "a+rX", data], check=True)
    quickstart = clone / ".quickstart"
    converted = place / "converted.conf"
    converted.write_text(
        "%import relstorage\n<zodb main>\n<relstorage>\nread-only true\ncreate-schema false\nkeep-history true\n"
        f"blob-dir {quickstart}/data/sqlite-blobs\nshared-blob-dir true\n"
        f"<sqlite3>\ndata-dir {quickstart}/data/sqlite\n</sqlite3>\n</relstorage>\n</zodb>\n",
        encoding="utf-8",
    )
    served = quickstart / "etc" / "pyams" / "zodb.conf"
    run = ["make", "quickstart", "DATA=../real/Data.fs", "BLOBS=../real/blobs", f"ADDRESS={address}"]

    def seen():
        """Return what the server and what the database have."""
        for purpose, conf in (("zeo", served), ("relstorage", converted)):
            (python,) = (quickstart / "venvs").glob(f"{purpose}-2*/bin/python")
            yield me.run(python, "-c", READ, conf, cwd=user.home).stdout

    try:
        done = me.run(*run, cwd=clone)
        assert done.returncode == 0, done.stdout
        assert list(seen()) == ["42 b'blue'\n"] * 2
        me.run(quickstart / "venvs" / "zeo-pyams" / "bin" / "python", "-c", WRITE, served, cwd=user.home)
        done = me.run(*run, cwd=clone)
        assert done.returncode == 0, done.stdout
        assert list(seen()) == ["43 b'blue'\n"] * 2
    finally:
        me.run("make", "quickstart-stop", cwd=clone)
    assert (clone / ".quickstart").owner() == ("nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    assert accounts() == before_accounts
    assert sorted(pathlib.Path("/etc").glob("*/*zeo-*")) == before


def test_a_folder_that_nobody_may_enter_is_told_to_root(clone, user):
    clone.parent.chmod(0o700)
    done = User(user.home, ordinary=False).run("make", "quickstart", "PYTHON=/bin/false", cwd=clone)
    assert done.returncode == 2
    assert last_line(done) == (
        f"quickstart: for root all of it is done by nobody, who may not enter {clone.parent}; clone into another "
        "folder, such as /srv/pyams.zodb"
        if os.geteuid() == 0
        else "quickstart: no Python 3.11, 3.12 or 3.13 (/bin/false is none); "
        "install one, or name it: make quickstart PYTHON=/path/to/python3.11"
    )
