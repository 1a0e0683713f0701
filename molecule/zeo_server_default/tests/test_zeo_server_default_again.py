# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a further run of the play does to servers at work. Each test leaves the hosts as converged, or hands them on."""

from __future__ import annotations

import pytest
from testing import Client, ClientError, Server

UNITS = ["zeo-pyams.service", "zeo-catalog.service", "zeo-reports.service", "zeo-intranet.service"]
ONE = ["--limit", "zodb-debian13"]
OTHER = ["--limit", "zodb-debian12"]


def sites(play, name, **changes):
    """Return the instances of the play, with changes to one."""
    return [{**site, **changes} if site["name"] == name else site for site in play.variables()["sites"]]


def restarted(server, before):
    """Return the units that have another main process than before."""
    now = server.pids(*UNITS)
    return [unit for unit in UNITS if now[unit] != before[unit]]


def test_a_check_of_a_configured_host_changes_nothing_and_says_nothing(play):
    run = play.converge("--limit", "zodb-debian12,zodb-app", "--check", "--diff")
    assert len(run.recap) == 2
    assert run.tasks("changed") == []
    assert run.differences() == []


def test_a_change_restarts_its_instance_alone_in_the_next_run_if_the_first_ends_before(play, hosts):
    server = Server(hosts["zodb-debian13"])
    before, change = server.pids(*UNITS), sites(play, "pyams", invalidation_age=3600)
    play.interrupt("Configure | Lay links, folders and files", *ONE, sites=change)
    assert restarted(server, before) == []
    run = play.converge(*ONE, sites=change)
    assert "Configure | Lay links, folders and files" not in [task for task, _item in run.tasks("changed")]
    assert restarted(server, before) == ["zeo-pyams.service"]


def test_a_file_edited_by_hand_is_repaired(play, hosts):
    server = Server(hosts["zodb-debian12"])
    edited = ["/etc/zodb/zeo-catalog.conf", "/etc/systemd/system/zeo-catalog.service", "/etc/zodb/pyams/zodb.conf"]
    contents = [server.host.file(path).content for path in edited]
    before = server.pids(*UNITS)
    for path in edited:
        server.host.check_output("echo '# by hand' >>%s", path)
    play.converge(*OTHER)
    assert [server.host.file(path).content for path in edited] == contents
    assert restarted(server, before) == ["zeo-catalog.service"]


def test_an_older_release_and_absent_instances_can_be_had_and_left_again(play, hosts):
    """Of two that are absent the data of one go, as it says so."""
    host = hosts["zodb-debian13"]
    client, link = Client(host), "/opt/zodb/zeo-pyams"
    client.commit("pyams", written="by the new release")
    client.commit("reports", answer=42)
    client.commit("catalog-orders", answer=42)
    newest = host.check_output("readlink %s", link)

    absent = {"reports": {"state": "absent"}, "catalog": {"state": "absent", "remove_data": True}}
    changed = [{**site, **absent.get(site["name"], {})} for site in play.variables()["sites"]]
    play.converge(*ONE, zodb_release="2025.09", sites=changed)
    assert host.check_output("readlink %s", link) != newest
    assert client.read("pyams", "written") == "by the new release"
    client.commit("pyams", written="by the old release")
    for name in absent:
        assert host.run("systemctl cat %s", f"zeo-{name}.service").rc != 0
        assert not host.file(f"/etc/zodb/zeo-{name}.conf").exists
    assert host.file("/var/lib/zodb/reports/reports/Data.fs").exists
    assert host.file("/var/lib/zodb/pyams/pyams/Data.fs").exists
    assert not host.file("/var/lib/zodb/catalog").exists

    run = play.converge(*ONE)
    assert not [task for task, _item in run.tasks("changed") if task.startswith("Build | ")]
    assert host.check_output("readlink %s", link) == newest
    assert client.read("pyams", "written") == "by the old release"
    assert client.read("reports", "answer") == 42
    with pytest.raises(ClientError, match="answer is not there"):
        client.read("catalog-orders", "answer")
