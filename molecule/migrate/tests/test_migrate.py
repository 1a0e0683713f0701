# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site under systemd moves from its ZEO server to PostgreSQL and back, while its application writes."""

from __future__ import annotations

import json

import pytest
from testing import Play, wait_for

DATA = "/var/lib/zodb/pyams"
OLD = {"reader": "file", "path": f"{DATA}/pyams/Data.fs", "history": True, "blob_dir": f"{DATA}/pyams/blobs"}
DSN = "host=localhost dbname=pyams user=pyams passfile=/etc/zodb/relstorage-pyams.pgpass"
NEW = {"reader": "postgresql", "dsn": DSN, "history": False, "blob_dir": None}
PYTHON = "/opt/zodb/relstorage-pyams/bin/python"
APP = "/var/lib/pyams-app"
LEDGER = {"reader": "ledger", "path": f"{APP}/ledger", "history": False, "blob_dir": None}
NOTE = "/etc/zodb/zeo-pyams.pyams.moved"
STRAGGLER = """\
%import ZEO
<clientstorage>
  server 127.0.0.1:8100
  storage pyams
  wait-timeout 10
</clientstorage>
"""


class Site:
    """The application's unit, what it was acknowledged, and the pack's timer."""

    def __init__(self, host):
        self.host = host

    def writes(self):
        """Wait until more is committed."""
        count = self.commits()
        wait_for(lambda: self.commits() > count + 10, "a commit of the application")

    def commits(self):
        return int(self.host.check_output(f"cat {APP}/ledger 2>/dev/null | wc -l"))

    def lost(self, storage):
        """Return what is not in a storage as it was acknowledged, while the application stands still."""
        self.host.check_output("systemctl stop pyams-app.service")
        compare = f"{PYTHON} /srv/storage_compare.py"
        found = self.host.check_output(f"runuser -u zodb -- {compare} %s %s", json.dumps(LEDGER), json.dumps(storage))
        self.host.check_output("systemctl start pyams-app.service")
        differing = json.loads(found)
        differing.pop("extra", None)
        return differing

    def straggler(self):
        """Return what becomes of a commit to the old server by somebody who was not told."""
        self.host.check_output(f"printf %%s %s >{APP}/old.conf && rm -f {APP}/straggler", STRAGGLER)
        command = f"{PYTHON} /srv/storage_writer.py {APP}/old.conf {APP}/straggler 50"
        return self.host.run(f"timeout 5 runuser -u zodb -- {command}").stderr

    def objects(self):
        """Return how many objects the database has."""
        return int(self.host.check_output("runuser -u zodb -- psql -XAtc 'select count(*) from object_state' %s", DSN))

    def state(self, unit):
        """Return whether a unit is loaded, runs, and starts with the host."""
        properties = self.host.check_output("systemctl show -p LoadState,ActiveState,UnitFileState %s", unit)
        values = dict(line.split("=") for line in properties.splitlines())
        return values["LoadState"], values["ActiveState"], values["UnitFileState"]


@pytest.fixture(scope="module")
def site(host):
    """The site, whose application starts with the first test."""
    made = Site(host)
    host.check_output("systemctl enable --now pyams-app.service")
    made.writes()
    return made


@pytest.fixture
def move():
    return Play("move.yml")


def test_a_look_changes_nothing(site, move):
    looked = move.converge("-e", "migrate_phase=check")
    assert looked.count() == 0
    assert "to postgresql with 0: empty" in looked.output
    assert site.objects() == 0
    assert site.state("zeo-pyams.service") == ("loaded", "active", "enabled")
    assert site.state("pack-zeo-pyams.timer") == ("loaded", "active", "enabled")
    assert site.state("pack-relstorage-pyams.timer") == ("loaded", "active", "enabled")


def test_no_pack_runs_while_it_moves(site, move):
    """Killed in the pause, it leaves the application and the server stopped."""
    move.interrupt("Fence | Keep everybody from writing")
    assert site.state("pack-zeo-pyams.timer")[1] == "inactive"
    assert site.state("pack-relstorage-pyams.timer")[1] == "inactive"
    assert site.state("pyams-app.service")[1] == "inactive"
    assert site.state("zeo-pyams.service") == ("loaded", "inactive", "enabled")
    assert json.loads(site.host.file(NOTE).content_string)["phase"] == "switching"


def test_it_moves(site, move):
    moved = move.converge()
    assert "An earlier run was cut off while it moved the site" in moved.output
    assert "The site stood still for" in moved.output
    site.writes()
    assert site.lost(NEW) == {}
    assert site.state("zeo-pyams.service") == ("loaded", "active", "enabled")
    assert "ReadOnly" in site.straggler()
    assert site.state("pack-zeo-pyams.timer") == ("not-found", "inactive", "")
    assert site.state("pack-relstorage-pyams.timer") == ("loaded", "active", "enabled")


def test_the_database_is_packed_while_the_application_writes(site):
    site.host.check_output("systemctl start pack-relstorage-pyams.service")
    site.writes()
    assert site.lost(NEW) == {}


def test_its_files_are_those_of_the_account(site):
    folders = f"/var/lib/zodb/relstorage-pyams /var/cache/zodb/pyams/rs-blobs {DATA}/migrate"
    assert site.host.check_output(f"find {folders} ! -user zodb") == ""
    assert site.host.check_output(f"find {folders} -type f -perm /022") == ""
    note = site.host.file(NOTE)
    assert (note.user, note.group, note.mode) == ("root", "root", 0o644)


def test_it_does_not_move_twice(site, move, play):
    again = move.converge()
    assert again.count() == 0
    site.writes()
    refused = play.run()
    assert refused.rc == 2
    assert "its site has moved to postgresql on 2" in refused.output


def test_it_moves_back(site, move, play):
    back = move.converge("-e", "migrate_phase=rollback")
    assert "where it was before" in back.output
    site.writes()
    assert site.lost(OLD) == {}
    assert not site.host.file(NOTE).exists
    assert site.state("zeo-pyams.service") == ("loaded", "active", "enabled")
    assert site.state("pack-zeo-pyams.timer") == ("loaded", "active", "enabled")
    assert site.state("pack-relstorage-pyams.timer")[1] == "inactive"
    site.host.check_output("systemctl start pack-zeo-pyams.service")
    assert play.converge().count() == 1
    assert site.state("pack-relstorage-pyams.timer")[1] == "active"  # by its own role


def test_it_moves_again(site, move):
    move.converge()
    site.writes()
    assert site.lost(NEW) == {}
