# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application and the sysadmin have of a storage in SQLite. Its decisions are tested in tests/integration."""

from __future__ import annotations

import json

TIMER, PACK = "pack-sqlite-archive.timer", "pack-sqlite-archive.service"
STATE = "/var/lib/zodb/sqlite-archive"
HEALTH = "/opt/zodb/sqlite-archive/bin/zodb-health /etc/zodb/sqlite-archive.toml"


def test_processes_of_the_application_share_it(client):
    assert client.call("archive", "conflict") == {"counted": 2, "refused": True}
    written = client.write_blob("archive", "picture", size=10_000_000)
    assert client.read_blob("archive", "picture") == written


def test_a_pack_while_the_application_writes_loses_nothing_and_reports(client, server, host, mail):
    with client.burst("archive", processes=2) as burst:
        assert server.run(PACK) == 0, server.journal(PACK)
    assert burst.check()["acknowledged"] == burst.result()["commits"]
    (message,) = mail.received()
    assert message["recipients"] == ["admin@example.org"]
    assert "Subject: archive: storage archive packed\r\n" in message["text"]
    record = json.loads(host.check_output(f"cat {STATE}/archive.pack.json"))
    assert (record["outcome"], record["error"]) == ("packed", None)
    done = host.run(HEALTH)
    assert (done.rc, "packed 0 hours ago" in done.stdout) == (0, True), done.stdout
    assert host.check_output(f"find {STATE} -not -user pyams") == ""


def test_packs_are_due_and_hardened(host):
    assert host.service(TIMER).is_enabled
    assert host.service(TIMER).is_running
    done = host.run(f"systemd-analyze security --no-pager --threshold=20 {PACK}")
    assert done.rc == 0, done.stdout[-200:]


def test_an_entry_that_is_absent_leaves_its_data_and_can_come_back(client, play, host):
    alone = ("--start-at-task", "Keep its archive in SQLite")
    client.commit("archive", kept="so far")
    play.converge(*alone, archives=[{"name": "archive", "state": "absent"}])
    assert host.run("systemctl cat %s %s", TIMER, PACK).rc == 1
    assert not host.file("/etc/zodb/archive").exists
    play.converge(*alone)
    assert host.service(TIMER).is_enabled
    assert client.read("archive", "kept") == "so far"
