# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarball, a clone, and a user who is not root."""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
USER_TOOLS = ROOT / ".cache" / "user" / "bin"  # made by tests/rig/setup, with a Python that every user may run
TOOLS = USER_TOOLS if sys.prefix == str(ROOT / ".venv") else pathlib.Path(sys.executable).parent
SYSTEM = "/usr/local/bin:/usr/bin:/bin"


class User:
    """An ordinary user with a home of its own, who runs commands in a folder of its own."""

    def __init__(self, home, ordinary=True):
        self.home = home
        self.prefix = []
        if os.geteuid() == 0 and ordinary:  # nobody, of no group: what it can do, everybody can
            self.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            for path in (home, *home.parents):
                if path.owner() == "root" and path != path.parent:
                    path.chmod(path.stat().st_mode | 0o011)
            os.chown(home, 65534, 65534)

    def run(self, *command, cwd, **environment):
        """Run a command with nothing in its environment but what is named; return it with its output."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        variables = {"PATH": SYSTEM, "HOME": str(self.home), **kept, **environment}
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture
def place():
    """A folder with a short path, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="zodb-") as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def user(place):
    """An ordinary user."""
    home = place / "home"
    home.mkdir()
    return User(home)


@pytest.fixture
def address():
    """An address on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def clone(place, user):
    """The folder that a user gets from git, and may write to."""
    folder = place / "clone"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if user.prefix:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
    return folder


@pytest.fixture(scope="session")
def tarball(tmp_path_factory):
    """The tarball, built out of this checkout with all that lies in it besides."""
    folder = tmp_path_factory.mktemp("build")
    subprocess.run(
        [TOOLS / "ansible-galaxy", "collection", "build", "--output-path", folder],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def members(tarball):
    """The files of the tarball: name -> bytes."""
    with tarfile.open(tarball) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}
