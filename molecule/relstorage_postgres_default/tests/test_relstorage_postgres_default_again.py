# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The play run again, with other variables and after changes made by hand, on one of the hosts."""

from __future__ import annotations

import pytest
from testing import Client, Server

HOST, UNIT = "zodb-pg12", "postgresql@15-main.service"
CONF = "/etc/postgresql/15/main/conf.d/zodb.conf"
LIMIT = ["--limit", HOST]


@pytest.fixture
def host(hosts):
    """The host whose play is run again."""
    return hosts[HOST]


def setting(host, name):
    """Return a setting that the running server goes by."""
    return host.check_output("runuser -u postgres -- psql -XAtqc %s", f"show {name}")


def test_a_setting_that_takes_a_restart_waits_for_it_or_gets_it_and_no_secret_is_told(host, play):
    server, changed = Server(host), {"relstorage_postgres_settings": {"max_connections": 120, "work_mem": "5MB"}}
    before = server.pid(UNIT)
    made = host.check_output("cut -d: -f5 /etc/zodb/relstorage-blog.pgpass")
    given = play.variables()["sites"][1]["password"]
    host.check_output("rm /etc/zodb/blog/pgpass /etc/zodb/relstorage-archive.pgpass")
    waiting = play.converge(*LIMIT, "-vvv", "--diff", relstorage_postgres_restart=False, **changed)
    assert f"relstorage_postgres_restart false: max_connections will be as configured when {UNIT} is restarted." in (
        waiting.output
    )
    assert (server.pid(UNIT), setting(host, "max_connections"), setting(host, "work_mem")) == (before, "100", "5MB")
    assert len(made) == 32
    for secret in (made, given, given.replace('"', '\\"'), "$ecret"):
        assert secret not in waiting.output
    assert made not in host.check_output("journalctl -o cat | cat; cat /var/log/postgresql/*.log")
    play.converge(*LIMIT, **changed)
    assert server.pid(UNIT) != before
    assert setting(host, "max_connections") == "120"


def test_what_was_edited_by_hand_is_repaired(host, play):
    hba = "/etc/postgresql/15/main/pg_hba.conf"
    host.check_output("sed -i 's/max_locks_per_transaction = 256/max_locks_per_transaction = 64/' %s", CONF)
    host.check_output("sed -i '/\"blog\" all all reject/d' %s", hba)
    host.check_output("sed -i s/pack_days/pack_daze/ /etc/zodb/relstorage-blog.toml")
    host.check_output("chmod 0644 /etc/zodb/relstorage-blog.pgpass")
    host.check_output("runuser -u postgres -- psql -qc 'grant connect on database blog to public'")
    play.converge(*LIMIT)
    assert host.run("grep -c '\"blog\" all all reject' %s", hba).stdout.strip() == "1"
    assert host.file("/etc/zodb/relstorage-blog.pgpass").mode == 0o600
    assert (setting(host, "max_connections"), setting(host, "max_locks_per_transaction")) == ("100", "256")
    assert play.converge(*LIMIT).count() == 0


def test_a_line_that_the_server_would_not_start_with_is_found_before_a_restart(host, play):
    hba = "/etc/postgresql/15/main/pg_hba.conf"
    pid = Server(host).pid(UNIT)
    host.check_output("echo 'host all all nonsense' >>%s", hba)
    try:
        run = play.run(*LIMIT, relstorage_postgres_settings={"max_connections": 130})
    finally:
        host.check_output("sed -i '/nonsense/d' %s", hba)
    assert run.rc != 0
    assert f"{UNIT} would not start again, and goes by the lines before; mend it, then run this again." in run.output
    assert Server(host).pid(UNIT) == pid


def test_a_removed_storage_keeps_its_data_and_comes_back(host, play):
    """The run that removes it finishes what the one before could not: its settings are the play's again."""
    client = Client(host)
    client.commit("blog", kept=42)
    play.converge(*LIMIT, blog=[{"name": "blog", "state": "absent"}])
    assert setting(host, "max_connections") == "100"
    assert not host.file("/etc/systemd/system/pack-relstorage-blog.timer").exists
    assert not host.file("/etc/zodb/blog/zodb.conf").exists
    play.converge(*LIMIT)
    assert client.read("blog", "kept") == 42
