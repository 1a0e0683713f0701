# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What applications and the sysadmin have of ZEO servers on their own host."""

from __future__ import annotations

import concurrent.futures
import json

import pytest
from testing import Application, Client, ClientError, Server, wait_for

SERVERS = ["zodb-debian12", "zodb-debian13"]
STORAGES = ["pyams", "catalog-products", "catalog-orders", "reports"]
HEALTH = "/opt/zodb/zeo-%s/bin/zodb-health /etc/zodb/zeo-%s.toml"
UNITS = ["zeo-pyams", "zeo-catalog", "zeo-reports", "zeo-intranet", "pack-zeo-pyams", "pack-zeo-catalog"]


@pytest.fixture(scope="module", params=SERVERS)
def host(request, hosts):
    """The servers' hosts in turn, without the application host."""
    return hosts[request.param]


def health(host, instance):
    """Return exit status and output of the health command of an instance, as a monitoring agent runs it."""
    done = host.run(HEALTH, instance, instance)
    return done.rc, done.stdout.strip()


# Transactions --------------------------------------------------------------------------------------------------------


def test_a_commit_survives_a_restart(client, server):
    client.commit("pyams", answer=42)
    server.restart("zeo-pyams")
    assert client.read("pyams", "answer") == 42


def test_a_killed_server_comes_back_with_every_commit(client, server):
    client.commit("pyams", answer=43)
    server.kill("zeo-pyams")
    assert client.read("pyams", "answer") == 43


def write_while_the_server_is_killed(host):
    """Return the outcomes of a burst with three kills, and what the storage has of it."""
    server = Server(host)
    with Client(host).burst("pyams", processes=4) as burst:
        for _attempt in range(3):
            before = burst.acknowledged()
            server.kill("zeo-pyams")
            wait_for(lambda before=before: burst.acknowledged() > before, "a commit after the kill")
        wait_for(lambda: burst.acknowledged() > 80, "commits of all writers")
    return burst.result(), burst.check()


def test_no_acknowledged_commit_is_lost_when_the_server_is_killed_three_times(hosts):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for outcomes, found in threads.map(write_while_the_server_is_killed, [hosts[name] for name in SERVERS]):
            print(outcomes, found)
            assert found["acknowledged"] == outcomes["commits"] > 80
            assert outcomes["interrupted"] > 0, "the writers did not notice the kills"
            assert outcomes["errors"] == 0


def test_a_blob_comes_back_as_it_was(client):
    written = client.write_blob("pyams", "picture", size=3_000_000)
    client.host.check_output("find /var/cache/zodb/pyams -type f -name '*.blob' -delete")
    assert client.read_blob("pyams", "picture") == written


def test_a_transaction_can_be_undone(client):
    client.commit("pyams", title="right")
    client.commit("pyams", note="by mistake", title="wrong")
    client.undo("pyams", "by mistake")
    assert client.read("pyams", "title") == "right"


def test_conflicts_are_resolved_without_the_application_s_classes_in_the_server(client):
    assert client.call("pyams", "conflict") == {"counted": 2, "refused": True}


def test_a_client_that_hangs_in_a_commit_is_disconnected_and_the_others_go_on(client):
    hanging = client.command("catalog-orders", "hold", "--seconds", 8)
    client.host.check_output("setsid -f sh -c %s >/dev/null 2>&1", f"{hanging} >/srv/hold.out 2>/srv/hold.err")
    wait_for(lambda: client.host.run("cat /srv/hold.out").stdout, "the commit lock")
    client.commit("catalog-orders", order=1)
    errors = "cat /srv/hold.err"
    wait_for(lambda: "ClientDisconnected" in client.host.run(errors).stdout, "the end of the one that hung")
    assert client.host.check_output("cat /srv/hold.out").count("\n") == 0, "it finished after all"
    assert client.read("catalog-orders", "order") == 1


# Storages and files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_a_storage_serves_its_client(client, storage):
    client.commit(storage, storage=storage)
    assert client.read(storage, "storage") == storage


def test_the_storages_of_one_server_are_apart(client):
    client.commit("catalog-products", only="products")
    with pytest.raises(ClientError, match="only is not there"):
        client.read("catalog-orders", "only")


@pytest.mark.parametrize("through", ["zodb", "zodburi", "zope"])
def test_the_emitted_files_are_opened_by(client, through):
    client.commit("pyams", opened=through)
    assert client.read("pyams", "opened", through=through) == through


def test_the_socket_serves_the_clients_group_and_nobody_else(client, host):
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/zeo-reports/zeo.sock')"
    client.commit("reports", answer=42)
    assert host.run("runuser -u pyams -- python3 -c %s", connect).rc == 0
    refused = host.run("runuser -u nobody -- python3 -c %s", connect)
    assert refused.stderr.strip().endswith("PermissionError: [Errno 13] Permission denied")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/zodb/zeo-pyams.conf",
        "/etc/zodb/pyams/zodb.conf",
        "/var/lib/zodb/pyams/pyams/Data.fs",
        "/var/log/zodb/zeo-reports.log",
    ],
)
def test_others_read_neither_data_nor_configuration_nor_logs(host, path):
    refused = host.run(f"runuser -u nobody -- cat {path}")
    assert refused.stderr.strip() == f"cat: {path}: Permission denied"


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_hardened(host, unit):
    done = host.run(f"systemd-analyze security --no-pager --threshold=20 {unit}.service")
    assert done.rc == 0, done.stdout[-200:]


# Logs ----------------------------------------------------------------------------------------------------------------


def test_a_rotation_loses_no_line_and_the_new_ones_are_in_the_new_file(client, host):
    """Clients come until the new file has some, so that a slow rotation finds them too; each has told one line."""
    log = "/var/log/zodb/zeo-reports.log"
    client.commit("reports", before="rotation")
    count = f"cat {log} {log}.1 2>/dev/null | grep -c 'received handshake'"
    new = f"grep -c 'received handshake' {log}"
    before = int(host.check_output(count))
    read = client.command("reports", "read", "before")
    loop = f"n=0; until [ -e /srv/enough ]; do {read} && n=$((n+1)); done; echo $n >/srv/readers"
    host.check_output("rm -f /srv/enough /srv/readers; setsid -f sh -c %s >/dev/null 2>&1", loop)
    try:
        wait_for(lambda: int(host.check_output(count)) >= before + 3, "clients before the rotation")
        host.check_output("logrotate --force /etc/logrotate.d/zeo-reports")
        wait_for(lambda: int(host.run(new).stdout or 0) >= 3, "clients after the rotation")
    finally:
        host.check_output("touch /srv/enough")
    wait_for(lambda: host.run("cat /srv/readers").stdout, "the last client")
    assert int(host.check_output(count)) == before + int(host.check_output("cat /srv/readers"))


# Packs ---------------------------------------------------------------------------------------------------------------


def test_a_pack_reaches_every_storage_of_its_server_alone_and_reports(client, server, mail):
    for storage in ("catalog-products", "catalog-orders", "pyams"):
        client.commit(storage, packed=False)
        client.commit(storage, packed=True)
    others = client.revisions("pyams")
    assert server.run("pack-zeo-catalog.service") == 0
    assert client.revisions("catalog-products") == client.revisions("catalog-orders") == 1
    assert client.revisions("pyams") == others > 1
    assert client.read("catalog-products", "packed") is True
    mails = mail.received()
    assert [mail["recipients"] for mail in mails] == [["admin@example.org"]] * 2
    for message, storage in zip(mails, ("products", "orders"), strict=True):
        assert f"Subject: The catalog: storage {storage} packed\r\n" in message["text"]
        assert f"/var/lib/zodb/catalog/{storage}/Data.fs" in message["text"]


def test_a_pack_says_when_its_report_does_not_arrive(server):
    assert server.run("pack-zeo-catalog.service") == 5
    assert "the report could not be sent by localhost:25: " in server.journal("pack-zeo-catalog.service")


def test_a_pack_keeps_away_while_another_job_holds_its_lock(client, server, host):
    client.commit("pyams", packed=True)
    lock = "/var/lib/zodb/pyams/pyams/Data.fs.pack-lock"
    host.check_output(f"systemd-run --unit=backup --collect flock {lock} sleep 60")
    try:
        wait_for(lambda: host.run(f"flock --nonblock {lock} true").rc, "the other job")
        assert server.run("pack-zeo-pyams.service") == 3
    finally:
        host.run("systemctl stop backup.service")
    assert f"another job holds the lock {lock}; nothing was packed" in server.journal("pack-zeo-pyams.service")
    assert server.run("pack-zeo-pyams.service") == 0


def test_a_pack_that_the_disk_could_not_hold_is_refused(client, server, host):
    data = "/var/lib/zodb/catalog/orders"
    client.commit("catalog-orders", where="on the disk")
    host.check_output("systemctl stop zeo-catalog")
    host.check_output(f"mount -t tmpfs -o size=4M,mode=0700,uid=$(id -u zodb),gid=$(id -g zodb) tmpfs {data}")
    try:
        host.check_output("systemctl start zeo-catalog")
        client.commit("catalog-orders", where="on a small one", filling="x" * 100_000)
        host.run(f"dd if=/dev/zero of={data}/rest bs=64K")
        assert server.run("pack-zeo-catalog.service") == 4
        assert f"orders: {data} has 0 bytes for the copy, a pack may need " in server.journal(
            "pack-zeo-catalog.service"
        )
        assert client.read("catalog-orders", "where") == "on a small one"
    finally:
        host.run(f"systemctl stop zeo-catalog; umount {data}; systemctl start zeo-catalog")
    assert client.read("catalog-orders", "where") == "on the disk"


# Health --------------------------------------------------------------------------------------------------------------


def test_health_is_ok_for_each_storage_of_a_server(server, host, mail):
    assert server.run("pack-zeo-catalog.service") == 0
    rc, text = health(host, "catalog")
    assert [line.split(":")[0] for line in text.splitlines()] == ["OK zeo-catalog/products", "OK zeo-catalog/orders"]
    assert rc == 0


def test_health_is_data_for_other_programs(host):
    facts = json.loads(host.run(f"{HEALTH} --json", "catalog", "catalog").stdout)
    assert [(fact["storage"], fact["status"]) for fact in facts] == [("products", "OK"), ("orders", "OK")]


def test_health_is_critical_while_the_server_is_gone(host):
    host.check_output("systemctl stop zeo-catalog")
    try:
        rc, text = health(host, "catalog")
    finally:
        host.check_output("systemctl start zeo-catalog")
    assert rc == 2
    assert text.startswith("CRITICAL zeo-catalog/products: nobody listens on 127.0.0.1:8101")


BREAK = """\
mkdir -p {folder}
printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >{folder}/broken.conf
systemctl daemon-reload && systemctl restart zeo-reports
"""


def test_a_server_that_ends_at_each_start_is_told_long_before_start_timeout(hosts):
    host, folder = hosts["zodb-debian13"], "/run/systemd/system/zeo-reports.service.d"
    host.check_output(BREAK.format(folder=folder))
    try:
        done = host.run("timeout 60 " + HEALTH + " --wait", "reports", "reports")
    finally:
        host.check_output("rm -r %s && systemctl daemon-reload && systemctl restart zeo-reports", folder)
    assert done.rc == 2
    assert "zeo-reports starts and ends again, 3 times while it was waited for; read its log" in done.stdout


# A PyAMS site --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(host):
    """A PyAMS site of two processes over the storage "pyams"."""
    application = Application(host, "pyams")
    assert "Upgrading PyAMS timezone to generation 1" in application.upgrade()
    application.start()
    yield application
    application.stop()


@pytest.mark.parametrize("event", ["nothing", "a kill", "a restart", "a pack"])
def test_a_pyams_site_of_two_processes_survives(site, server, event):
    one, two = site.ports
    pids = site.pids()
    site.put(one, "before", event)
    {
        "nothing": lambda: None,
        "a kill": lambda: server.kill("zeo-pyams"),
        "a restart": lambda: server.restart("zeo-pyams"),
        "a pack": lambda: server.run("pack-zeo-pyams.service"),
    }[event]()
    assert site.get(two, "before") == event
    site.put(two, "after", event)
    assert site.get(one, "after") == event
    assert site.pids() == pids


def test_a_pyams_site_on_another_host_survives_a_killed_server(hosts):
    site = Application(hosts["zodb-app"], "intranet")
    site.upgrade()
    site.start()
    try:
        one, two = site.ports
        site.put(one, "before", 1)
        Server(hosts["zodb-debian12"]).kill("zeo-intranet")
        assert site.get(two, "before") == 1
        site.put(two, "after", 2)
        assert site.get(one, "after") == 2
    finally:
        site.stop()
