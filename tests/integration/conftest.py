# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests share."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest


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
