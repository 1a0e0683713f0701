# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When applications are restarted. What they get from their files is tested without hosts, in tests/integration."""

from __future__ import annotations

import pytest

UNITS = ["application.service", "neighbour.service"]
LAY = "Configure | Lay folders and files"
RESTART = "Restart outdated applications"


def restarted(server, before):
    """Return the units that run under another process than before."""
    now = server.pids(*UNITS)
    return [unit for unit in UNITS if now[unit] != before[unit]]


@pytest.fixture
def before(server):
    """The processes at the start of the test, by unit."""
    found = server.pids(*UNITS)
    assert all(found.values())
    return found


def test_a_changed_file_restarts_the_application_named_and_no_other(play, server, before):
    run = play.converge(sites=[{**play.variables()["sites"][0], "pool_size": 9}])
    assert run.tasks("changed")[0][0] == LAY
    assert restarted(server, before) == ["application.service"]


def test_a_run_that_ends_before_the_restart_is_made_good_by_the_next(play, server, before):
    play.interrupt(LAY)
    assert restarted(server, before) == []
    run = play.converge()
    assert LAY not in [task for task, _host in run.tasks("changed")]
    assert restarted(server, before) == ["application.service"]


def test_a_check_predicts_the_restart_and_does_not_do_it(play, host, server, before):
    host.check_output("touch /etc/zodb/catalog/storage.inc")
    run = play.converge("--check")
    assert RESTART in [task for task, _host in run.tasks("changed")]
    assert restarted(server, before) == []
    play.converge()
    assert restarted(server, before) == ["application.service"]


def test_what_no_application_reads_restarts_none(play, host, server, before):
    host.check_output("echo '# by hand' >>/etc/zodb/site/pack.conf")
    run = play.converge()
    assert {task for task, _host in run.tasks("changed")} == {LAY}
    assert restarted(server, before) == []


def test_root_opens_the_storages_and_leaves_nothing_behind(host):
    assert not host.file("/var/lib/Site.fs").exists
    assert host.file("/etc/zodb/site/zodb.conf").group == "pyams"
