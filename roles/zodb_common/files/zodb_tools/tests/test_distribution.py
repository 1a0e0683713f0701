# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution as the role installs it, and the lock files beside it."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

SOURCE = pathlib.Path(__file__).parents[1]
LOCKS = sorted(SOURCE.with_name("locks").glob("*.txt"))
TOOLS = {"zeo", "zodb", "zconfig", "zdaemon", "zc-lockfile", "setuptools", "flit-core"}
HELD = {"zeo": TOOLS, "relstorage": TOOLS | {"relstorage", "psycopg2-binary", "pymysql", "cryptography"}}


def test_it_is_built_without_network_and_leaves_no_trace_in_its_source(tmp_path):
    source = shutil.copytree(SOURCE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.lstat().st_mtime_ns for path in source.rglob("*")}
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", *options, "--wheel-dir", tmp_path, source], check=True
    )
    assert {path: path.lstat().st_mtime_ns for path in source.rglob("*")} == before
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    expected = {f"pyams_zodb_tools/{path.name}" for path in (SOURCE / "src/pyams_zodb_tools").glob("*.*")}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_there_is_a_release_to_go_back_to():
    assert len([lock for lock in LOCKS if lock.name.startswith("zeo-")]) >= 2


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_and_hashes_all_and_names_no_index(lock):
    text = lock.read_text(encoding="utf-8")
    assert "//" not in text
    assert "roles/zodb_common/files/locks/renew" in text.splitlines()[1]
    requirements = re.findall(
        r"^([a-z0-9-]+)==([^ ]+)(?: ; [^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M
    )
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith(("#", "--hash"))]
    assert len(requirements) == len(lines)
    names = [name for name, _version, _hashes in requirements]
    assert names == sorted(names)
    assert HELD[lock.name.rpartition("-")[0]] <= set(names)


def test_a_virtualenv_of_zeo_needs_no_relstorage():
    """Its locks hold none: what its commands import must do without."""
    commands = "_checkconf, _health, _kinds, _pack, _runzeo, _schema, _settings, _zeo"
    program = (
        f"import sys; from pyams_zodb_tools import {commands}; print({{'relstorage', 'psycopg2'}} & {{*sys.modules}})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
