# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ZEO servers where PID 1 is not systemd: zdaemon, LSB init scripts, cron and logrotate."""

from __future__ import annotations

import pytest
from testing import SysV, wait_for

UNITS = ["zeo-pyams", "zeo-reports"]


@pytest.fixture
def server(host):
    """The services of the host."""
    return SysV(host)


def test_a_commit_survives_a_restart(client, server):
    client.commit("pyams", answer=42)
    server.restart("zeo-pyams")
    assert client.read("pyams", "answer") == 42


def test_no_acknowledged_commit_is_lost_when_the_server_is_killed(client, server):
    with client.burst("pyams") as burst:
        before = burst.acknowledged()
        server.kill("zeo-pyams")
        wait_for(lambda: burst.acknowledged() > max(before, 80), "commits after the kill")
    assert burst.check()["acknowledged"] == burst.result()["commits"] > 80


def test_the_init_script_says_what_is(host, server):
    def status():
        done = host.run("service zeo-pyams status")
        return done.rc, done.stdout.strip()

    pid = server.pid("zeo-pyams")
    assert status() == (0, "zeo-pyams is running")
    assert host.run("service zeo-pyams start").rc == 0
    assert server.pid("zeo-pyams") == pid
    assert host.run("service zeo-pyams stop").rc == 0
    assert status() == (3, "zeo-pyams is not running")
    assert host.run("service zeo-pyams stop").rc == 0
    assert host.run("service zeo-pyams restart").rc == 0
    assert status() == (0, "zeo-pyams is running")
    assert host.run("/etc/init.d/zeo-pyams turn").rc == 2


def test_the_servers_come_back_when_the_host_boots(client, host, killed):
    client.commit("pyams", before="boot")
    client.commit("reports", before="boot")
    with killed(host.check_output("hostname")):
        pass
    assert client.read("pyams", "before") == "boot"
    assert client.read("reports", "before") == "boot"


def test_the_socket_serves_the_clients_group_and_nobody_else(client, host):
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/zodb/reports.sock')"
    client.commit("reports", answer=42)
    assert host.run("runuser -u pyams -- python3 -c %s", connect).rc == 0
    refused = host.run("runuser -u nobody -- python3 -c %s", connect)
    assert refused.stderr.strip().endswith("PermissionError: [Errno 13] Permission denied")


def test_the_server_is_not_root(host, server):
    for unit in UNITS:
        assert host.check_output(f"ps -o user= -p {server.pid(unit)}") == "zodb"


def test_cron_s_line_packs_and_reports(client, host, mail):
    client.commit("pyams", packed=False)
    client.commit("pyams", packed=True)
    line = host.check_output("grep -v '^#' /etc/cron.d/pack-zeo-pyams").splitlines()[-1]
    *schedule, user, command = line.split(None, 6)
    assert schedule == ["0", "3", "*", "*", "0"]
    environment = "env -i HOME=/var/lib/zodb LOGNAME=zodb SHELL=/bin/sh PATH=/usr/bin:/bin"
    done = host.run(f"runuser -u {user} -- {environment} /bin/sh -c %s", command)
    assert done.rc == 0, done.stderr
    assert client.revisions("pyams") == 1
    [message] = mail.received()
    assert message["recipients"] == ["admin@example.org"]
    assert "Subject: pyams: storage pyams packed\r\n" in message["text"]


def test_a_rotation_loses_no_line_and_the_new_ones_are_in_the_new_file(client, host):
    log = "/var/log/zodb/zeo-pyams.log"
    client.commit("pyams", before="rotation")
    count = f"cat {log} {log}.1 2>/dev/null | grep -c 'received handshake'"
    before = int(host.check_output(count))
    read = client.command("pyams", "read", "before")
    host.check_output("setsid -f sh -c %s >/dev/null 2>&1", f"for i in $(seq 12); do {read}; done; touch /srv/rotated")
    wait_for(lambda: int(host.check_output(count)) >= before + 3, "clients before the rotation")
    host.check_output("logrotate --force /etc/logrotate.d/zeo-pyams")
    wait_for(lambda: host.file("/srv/rotated").exists, "clients after the rotation")
    assert int(host.check_output(count)) == before + 12
    assert int(host.check_output(f"grep -c 'received handshake' {log}")) >= 3


def test_health_tells_a_server_that_runs_from_one_that_is_gone(host):
    health = "/opt/zodb/zeo-reports/bin/zodb-health /etc/zodb/zeo-reports.toml"
    assert host.run(health).stdout.split(":")[0] in ("OK zeo-reports/reports", "WARNING zeo-reports/reports")
    host.check_output("service zeo-reports stop")
    done = host.run(health)
    host.check_output("service zeo-reports start")
    assert done.rc == 2
    assert done.stdout.startswith("CRITICAL zeo-reports/reports: ")


def test_a_play_that_ends_between_configure_and_restart_is_made_good_by_the_next(play, server):
    pyams, reports = play.variables()["sites"]
    sites = [{**pyams, "transaction_timeout": 60}, reports]
    before = server.pids(*UNITS)
    play.interrupt("Configure | Lay links, folders and files", sites=sites)
    assert server.pids(*UNITS) == before
    play.converge(sites=sites)
    after = server.pids(*UNITS)
    assert [unit for unit in UNITS if after[unit] != before[unit]] == ["zeo-pyams"]


def test_an_absent_instance_leaves_its_data_and_nothing_else(play, client, host):
    pyams, reports = play.variables()["sites"]
    play.converge(sites=[pyams, {**reports, "state": "absent"}])
    left = host.check_output(
        "find /etc /opt/zodb /run/zodb /var/lib/zodb -name '*reports*' -not -path '/etc/zodb/reports*'"
    )
    assert left == "/var/lib/zodb/reports\n/var/lib/zodb/reports/reports" or left == "/var/lib/zodb/reports"
    play.converge()
    assert client.read("reports", "answer") == 42
