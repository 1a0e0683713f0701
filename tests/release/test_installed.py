# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user has it: installed from the tarball, with no checkout around and no other collection."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from conftest import ROOT, TOOLS


@pytest.fixture
def ansible(place, tarball, user):
    """Run an Ansible command as a user who has nothing but the tarball, installed without a network.

    Not even community.crypto: only certificates made by the collection need it, all else has to work without.
    """
    collections = place / "collections"
    collections.mkdir()
    if user.prefix:
        os.chown(collections, 65534, 65534)
        tarball = shutil.copy(tarball, place)

    def run(command, *arguments):
        return user.run(
            TOOLS / command,
            *arguments,
            cwd=user.home,
            ANSIBLE_COLLECTIONS_PATH=str(collections),
            ANSIBLE_REMOTE_TEMP=str(user.home / ".ansible" / "tmp"),  # nobody has no home in /etc/passwd
            LC_ALL="C.UTF-8",
        )

    done = run("ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", collections, tarball)
    assert done.returncode == 0, done.stdout
    assert "pyams.zodb:0.1.0 was installed successfully" in done.stdout
    return run


def test_every_playbook_passes_the_syntax_check(ansible):
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    assert "quickstart" in names
    done = ansible("ansible-playbook", "--syntax-check", *(f"pyams.zodb.{name}" for name in names))
    assert done.returncode == 0, done.stdout


def test_every_plugin_and_role_has_its_documentation(ansible):
    for kind, folder in (("module", "modules"), ("filter", "filter")):
        names = [f"pyams.zodb.{path.stem}" for path in (ROOT / "plugins" / folder).glob("*.py")]
        done = ansible("ansible-doc", "-t", kind, "--json", *names)
        assert sorted(json.loads(done.stdout[done.stdout.index("{") :])) == sorted(names)
    roles = [f"pyams.zodb.{path.name}" for path in (ROOT / "roles").iterdir()]
    done = ansible("ansible-doc", "-t", "role", "--json", *roles)
    assert sorted(json.loads(done.stdout[done.stdout.index("{") :])) == sorted(roles)


def test_the_quickstart_serves_changes_nothing_twice_and_stops(ansible, address, user):
    variables = {
        "quickstart_dir": str(user.home / "quickstart"),
        "quickstart_address": address,
        "zodb_wheelhouse": str(ROOT / ".cache" / "wheels"),
    }
    play = ["ansible-playbook", "pyams.zodb.quickstart", "-e", json.dumps(variables)]
    first = ansible(*play)
    try:
        assert first.returncode == 0, first.stdout
        second = ansible(*play)
        assert second.returncode == 0, second.stdout
        assert re.search(r"^localhost .* changed=0 ", second.stdout, re.MULTILINE), second.stdout
    finally:
        last = ansible(*play, "-e", '{"quickstart_stop": true}')
    assert last.returncode == 0, last.stdout
