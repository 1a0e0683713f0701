# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarball holds what a user needs, nothing else, and Galaxy would take it."""

from __future__ import annotations

import re
import subprocess

import pytest
from conftest import ROOT

TOP = {
    "CHANGELOG.rst",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "SECURITY.md",
    "changelogs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}


def test_it_is_named_after_the_version(tarball):
    assert tarball.name == "pyams-zodb-0.1.0.tar.gz"


def test_only_what_a_user_needs_is_at_the_top(members):
    assert {name.split("/")[0] for name in members} == TOP


@pytest.mark.parametrize("part", ["__pycache__", "tests", "test", "molecule", "Makefile", "quickstart.sh", "renew"])
def test_no_path_has_a_part_that_is_for_developers(members, part):
    assert [name for name in members if part in name.split("/")] == []


def test_no_file_is_hidden_or_compiled(members):
    assert [name for name in members if re.search(r"(^|/)\.|\.(pyc|orig|rej|swp|gz|whl|fs|pem|key)$|~$", name)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(re.escape(str(ROOT).encode()) + rb"\b", id="path of the checkout"),
        pytest.param(rb"/root/|/home/(?!me\b|user\b|zope\b|pyams\b)\w", id="somebody's home"),
        pytest.param(rb"-----BEGIN [A-Z ]*PRIVATE KEY", id="private key"),
        pytest.param(rb"\b(?:FIXME|XXX|TODO)\b", id="unfinished"),
        pytest.param(rb"^(?:<{7}|>{7}|={7})(?: |$)", id="unresolved merge"),
    ],
)
def test_no_file_holds(members, pattern):
    # LICENSE is the licence's own text.
    found = {name: re.findall(pattern, text, re.MULTILINE) for name, text in members.items() if name != "LICENSE"}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_galaxy_takes_it(tarball, tmp_path):
    importer = ROOT / ".cache" / "importer" / "bin"
    done = subprocess.run(
        [importer / "python", "-m", "galaxy_importer.main", tarball],
        cwd=tmp_path,
        env={"PATH": f"{importer}:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^(?:WARNING|ERROR).*", done.stdout, re.MULTILINE) == [], done.stdout
