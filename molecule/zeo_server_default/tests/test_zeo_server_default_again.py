# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a further run of the play does to servers at work. Each test leaves the hosts as converged, or hands them on."""

from __future__ import annotations

import pytest
from testing import Client, ClientError, Server

SERVERS = ["zodb-debian12", "zodb-debian13"]
UNITS = ["zeo-pyams.service", "zeo-catalog.service", "zeo-reports.service", "zeo-intranet.service"]
ONE = ["--limit", "zodb-debian13"]


@pytest.fixture
def servers(hosts):
    """The servers of both Debian releases."""
    return [Server(hosts[name]) for name in SERVERS]


@pytest.fixture
def one(hosts):
    """The host of the tests for which one is enough."""
    return hosts["zodb-debian13"]


def sites(play, **changes):
    """Return the instances of the play, with changes to the first."""
    first, *others = play.variables()["sites"]
    return [{**first, **changes}, *others]


def test_a_check_of_a_configured_host_changes_nothing_and_says_nothing(play):
    run = play.converge("--check", "--diff")
    assert run.tasks("changed") == []
    assert run.differences() == []


def test_a_change_of_one_instance_restarts_that_one_alone(play, servers):
    before = [server.pids(*UNITS) for server in servers]
    play.converge(sites=sites(play, invalidation_age=3600))
    for server, old in zip(servers, before, strict=True):
        new = server.pids(*UNITS)
        assert [unit for unit in UNITS if new[unit] != old[unit]] == ["zeo-pyams.service"]


def test_a_play_that_ends_between_configure_and_restart_is_made_good_by_the_next(play, servers):
    before = [server.pids(*UNITS) for server in servers]
    play.interrupt("Configure | Lay links, folders and files")
    assert [server.pids(*UNITS) for server in servers] == before
    run = play.converge()
    assert "Configure | Lay links, folders and files" not in [task for task, _host in run.tasks("changed")]
    for server, old in zip(servers, before, strict=True):
        new = server.pids(*UNITS)
        assert [unit for unit in UNITS if new[unit] != old[unit]] == ["zeo-pyams.service"]


def test_a_file_edited_by_hand_is_repaired(play, servers):
    edited = ["/etc/zodb/zeo-catalog.conf", "/etc/systemd/system/zeo-catalog.service", "/etc/zodb/pyams/zodb.conf"]
    files = [[server.host.file(path).content for path in edited] for server in servers]
    before = [server.pids(*UNITS) for server in servers]
    for server in servers:
        for path in edited:
            server.host.check_output("echo '# by hand' >>%s", path)
    run = play.converge()
    assert {host for _task, host in run.tasks("changed")} == set(SERVERS)
    for server, old, content in zip(servers, before, files, strict=True):
        assert [server.host.file(path).content for path in edited] == content
        new = server.pids(*UNITS)
        assert [unit for unit in UNITS if new[unit] != old[unit]] == ["zeo-catalog.service"]


def test_the_last_release_can_be_had_back_and_left_again(play, one):
    client = Client(one)
    client.commit("pyams", release="new")
    now = one.check_output("readlink /opt/zodb/zeo-pyams")
    play.converge(*ONE, zodb_release="2025.09")
    assert one.check_output("readlink /opt/zodb/zeo-pyams") != now
    assert client.read("pyams", "release") == "new"
    client.commit("pyams", release="old")
    run = play.converge(*ONE)
    assert not [task for task, _host in run.tasks("changed") if task.startswith("Virtualenv")]
    assert one.check_output("readlink /opt/zodb/zeo-pyams") == now
    assert client.read("pyams", "release") == "old"


def test_an_absent_instance_keeps_its_data_until_told_otherwise(play, one):
    client, data = Client(one), "/var/lib/zodb/reports/reports/Data.fs"
    client.commit("reports", answer=42)
    reports = play.variables()["reports"][0]
    absent = {**reports, "state": "absent"}

    play.converge(*ONE, reports=[absent])
    assert one.run("systemctl cat zeo-reports.service").rc != 0
    assert not one.file("/etc/zodb/zeo-reports.conf").exists
    assert one.file(data).exists
    again = play.converge(*ONE, reports=[absent])
    assert again.tasks("changed") == []

    play.converge(*ONE)
    assert client.read("reports", "answer") == 42

    play.converge(*ONE, reports=[{**absent, "remove_data": True}])
    assert not one.file("/var/lib/zodb/reports").exists
    play.converge(*ONE)
    with pytest.raises(ClientError, match="answer is not there"):
        client.read("reports", "answer")
