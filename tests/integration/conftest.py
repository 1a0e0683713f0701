# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests share."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest
import storage_kinds
from conversions import Converter
from storage_servers import Certificates, MariaDB, PostgreSQL, Zeo


@pytest.fixture(scope="session")
def account():
    """Make an ordinary user with a group of its own, and return the name of both."""
    name = f"zodb-test-{os.getpid()}"  # two runs at once are none of each other's business
    subprocess.run(["useradd", "--create-home", "--user-group", "--shell", "/bin/sh", name], check=True)
    yield name
    subprocess.run(["userdel", "--remove", name], check=True)


@pytest.fixture(scope="session")
def application():
    """Return the folder of an application's virtualenv, of Debian's Python, which every account can run."""
    root = pathlib.Path(__file__).resolve().parents[2]
    wanted, folder = root / "tests" / "integration" / "application.txt", root / ".cache" / "application"
    done = folder / "done"
    if not done.exists() or done.read_text() != wanted.read_text():
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-qq"]
        subprocess.run([*pip, "--disable-pip-version-check", "--requirement", wanted], check=True)
        done.write_text(wanted.read_text())
    return folder


@pytest.fixture(scope="session")
def open_folder():
    """Return a function that makes folders which every account can reach, unlike those of pytest."""
    made = []

    def make():
        made.append(pathlib.Path(tempfile.mkdtemp(prefix="zodb-test-")))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql(open_folder, certificates):
    """A throw-away PostgreSQL cluster, see storage_servers.py. A test that stops it has to start it again."""
    server = PostgreSQL(open_folder(), certificates)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb(open_folder):
    """A throw-away MariaDB, see storage_servers.py."""
    server = MariaDB(open_folder())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificates(open_folder):
    """Certificates for servers with TLS."""
    return Certificates(open_folder())


@pytest.fixture
def make_storage(request, open_folder):
    """Return a function that makes storages, make_storage(kind, disk=None, **options), see storage_kinds.py.

    disk: MB of a file system that the storage has for itself, to be full soon.
    """
    folder, made, disks = open_folder(), [], []

    def make(kind, disk=None, **options):
        if kind == "zeo_tls":
            options["certificates"] = request.getfixturevalue("certificates")
        if kind.startswith("postgresql"):
            options["postgresql"] = request.getfixturevalue("postgresql")
        if kind in storage_kinds.MARIADB:
            options["mariadb"] = request.getfixturevalue("mariadb")
        place = folder / f"{len(made)}-{kind}"
        if disk:
            place.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk}m,mode=755", "tmpfs", place]
            subprocess.run(mount, check=True)
            disks.append(place)
            place = place / "full"
        made.append(storage_kinds.make(kind, place, **options))
        return made[-1]

    yield make
    for storage in made:
        if isinstance(storage.server, Zeo):
            storage.server.stop()
        if storage.database:
            storage.server.drop_database(storage.database)
    for disk in disks:
        subprocess.run(["umount", disk], check=True)
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.fixture
def converter(tmp_path):
    """Runs zodbconvert, see conversions.py."""
    return Converter(tmp_path)
