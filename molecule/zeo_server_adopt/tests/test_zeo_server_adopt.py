# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of the old scaffold after the role took it over, where systemd runs and where it does not."""

from __future__ import annotations

import json
import pathlib

import pytest
from testing import Client, Server, SysV

CONTENT = pathlib.Path(__file__).parents[1].joinpath("files", "content.py").read_text(encoding="utf-8")
TREE = "/srv/env/zeo_server"


def content(host, site="pyams", conf="/etc/zodb/{}/zodb.conf"):
    """Return what a client finds of what was in the storage before, and what was noted of it then."""
    before = f"/srv/sites/{site}/before.json"
    found = host.check_output(
        "runuser -u pyams -- /srv/pyams/bin/python -c %s %s %s", CONTENT, conf.format(site), before
    )
    return json.loads(found), json.loads(host.file(before).content_string)


@pytest.fixture
def systemd(host):
    """Whether systemd runs the host."""
    return host.file("/run/systemd/system").exists


@pytest.fixture
def server(host, systemd):
    """The services of the host."""
    return Server(host) if systemd else SysV(host)


def test_every_revision_and_every_blob_is_as_it_was(host):
    found, before = content(host)
    assert before["revisions"] > 400
    assert before["blobs"] >= 12
    assert found == before


def test_the_data_are_where_they_were(host):
    inodes = host.check_output(f"stat -c %i {TREE}/var/Data.fs {TREE}/var/blobs/.")
    assert inodes == host.file("/srv/sites/pyams/inodes").content_string.strip()
    assert host.check_output("find /var/lib/zodb") == "/var/lib/zodb"


def test_the_application_goes_on_with_the_file_that_it_had(host):
    old, new = Client(host, folder="/srv/sites"), Client(host)
    old.commit("pyams", adopted=True)
    assert new.read("pyams", "adopted") is True
    picture = old.write_blob("pyams", "picture", size=300_000)
    assert new.read_blob("pyams", "picture") == picture


def test_the_old_server_was_started_once_and_stopped_once_as_it_should(host):
    log = host.file(f"{TREE}/log/pyams-zeo.log").content_string
    assert log.count("created PID file") == log.count("terminated by SIGTERM") == log.count("closing storage") == 1


def test_systemd_started_the_new_server_once(host, systemd, server):
    if not systemd:
        assert server.pid("zeo-pyams")
        return
    journal = host.check_output("journalctl --no-pager -o cat -u zeo-pyams.service")
    assert journal.count("created PID file") == 1
    assert host.check_output("systemctl is-enabled zeo-pyams.service") == "enabled"


def test_nothing_of_the_old_tree_is_left_in_the_system(host, systemd):
    assert host.check_output(f"find /etc -lname '*{TREE}*'") == ""
    assert host.run(f"grep -rl {TREE}/bin /etc").stdout == ""
    scripts = host.check_output("find /etc/rc?.d /etc/init.d -name '*zeo-pyams'")
    assert bool(scripts) is not systemd


def test_packing_is_off(host, systemd):
    assert not host.file("/etc/cron.d/pack-zeo-pyams").exists
    if systemd:
        assert "pack-zeo" not in host.check_output("systemctl list-unit-files --type=timer --no-pager")
    done = host.run("/opt/zodb/zeo-pyams/bin/zodb-health /etc/zodb/zeo-pyams.toml")
    assert done.stdout.startswith("OK zeo-pyams"), done.stdout
    assert done.rc == 0


def test_nothing_of_the_old_starts_when_the_host_boots(host, killed, server):
    with killed(host.check_output("hostname")):
        pass
    found, before = content(host)
    assert found == before
    assert server.pid("zeo-pyams")
    assert f"{TREE}/bin" not in host.check_output("ps -e -o args= | grep -v intranet")
    log = host.file(f"{TREE}/log/pyams-zeo.log").content_string
    assert log.count("created PID file") == 1
