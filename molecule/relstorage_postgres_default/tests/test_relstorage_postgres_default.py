# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What applications and the sysadmin have of databases of RelStorage: on the server's own host, and over TLS."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib

import pytest
from testing import Application, Client, ClientError, Server, wait_for

VERSIONS = {"zodb-pg12": 15, "zodb-pg13": 17}
STORAGES = ["pyams", "archive", "blog"]
NETWORK, APPLICATION = "zodb-pg13", "zodb-pg-app"
COMPARE = pathlib.Path(__file__).parents[3] / "tests" / "integration" / "storage_compare.py"
HEALTH = "/opt/zodb/relstorage-%s/bin/zodb-health /etc/zodb/relstorage-%s.toml"


@pytest.fixture(scope="module", params=VERSIONS)
def host(request, hosts):
    """The databases' hosts in turn, without the application host."""
    return hosts[request.param]


def unit_of(host):
    """Return the unit of a host's PostgreSQL."""
    return f"postgresql@{VERSIONS[host.backend.get_hostname()]}-main.service"


@pytest.fixture
def remote(hosts):
    """The application's user on the host that opens the storage over the network."""
    return Client(hosts[APPLICATION])


def sql(host, statement, database="postgres"):
    """Return what PostgreSQL's administrator is answered."""
    return host.check_output("runuser -u postgres -- psql -XAtq -d %s -c %s", database, statement)


def login(host, account, database, *options):
    """Return what the account of the tools gets when it logs in to a database over the loopback."""
    where = f"host=127.0.0.1 user={account} dbname={database} passfile=/etc/zodb/relstorage-{account}.pgpass"
    return host.run("runuser -u zodb -- psql -XAt %s -c 'select 1'", " ".join([where, *options]))


# On the server's own host --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["zodb", "zodburi", "zope"])
def test_the_emitted_files_are_opened_by(client, through):
    client.commit("blog", opened=through)
    assert client.read("blog", "opened", through=through) == through


def test_a_blob_of_40_mb_comes_back_as_it_was(client):
    written = client.write_blob("blog", "picture", size=40_000_000)
    client.host.check_output("find /var/cache/zodb/blog -type f -name '*.blob' -delete")
    assert client.read_blob("blog", "picture") == written


def test_conflicts_are_resolved(client):
    assert client.call("blog", "conflict") == {"counted": 2, "refused": True}


def write_while_the_server_is_killed(host):
    """Return the outcomes of a burst in which every process of PostgreSQL is killed, and what the storage has of it."""
    with Client(host).burst("blog") as burst:
        # While it is away, none that starts could open the storage.
        wait_for(lambda: burst.writers() == 8, "a commit of every writer")
        before = burst.acknowledged()
        host.check_output("systemctl kill -s KILL %s", unit_of(host))
        wait_for(lambda: host.run("systemctl restart %s", unit_of(host)).rc == 0, "PostgreSQL after kill -9")
        wait_for(lambda: burst.acknowledged() > before + 20, "commits after the kill")
    return burst.result(), burst.check()


def test_no_acknowledged_commit_is_lost_when_the_server_is_killed(hosts):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for outcomes, found in threads.map(write_while_the_server_is_killed, [hosts[name] for name in VERSIONS]):
            print(outcomes, found)
            assert found["acknowledged"] == outcomes["commits"] > 20
            assert outcomes["interrupted"] > 0, "the writers did not notice the kill"


# Who may do what -----------------------------------------------------------------------------------------------------


def test_the_accounts_may_log_in_and_no_more(host):
    mighty = (
        "select rolname from pg_roles where rolname !~ '^(pg_|postgres)' "
        "and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)"
    )
    assert sql(host, mighty) == ""
    assert sql(host, "select rolname from pg_authid where rolcanlogin and rolpassword !~ '^SCRAM-SHA-256'") == ""


def test_a_database_is_its_owner_s_alone(host):
    said = "select datname || ' ' || pg_get_userbyid(datdba) || ' ' || pg_encoding_to_char(encoding) || ' ' "
    said += "|| has_database_privilege('public', oid, 'CONNECT') from pg_database where datname !~ '^(temp|postgres)'"
    assert sorted(sql(host, said).splitlines()) == [
        "archive_rs archive_rs UTF8 false",
        "blog blog UTF8 false",
        "pyams pyams UTF8 false",
    ]


def test_an_account_is_let_in_at_its_own_database_alone(host):
    assert login(host, "blog", "blog").stdout == "1\n"
    refused = login(host, "blog", "pyams")
    assert "pg_hba.conf rejects connection" in refused.stderr, refused.stderr


def test_a_wrong_password_is_refused(host):
    refused = host.run("PGPASSWORD=wrong psql -h 127.0.0.1 -U blog -d blog -c 'select 1'")
    assert 'password authentication failed for user "blog"' in refused.stderr


@pytest.mark.parametrize(
    "path", ["/etc/zodb/relstorage-blog.pgpass", "/etc/zodb/blog/pgpass", "/etc/zodb/blog/storage.inc"]
)
def test_others_read_neither_password_nor_configuration(host, path):
    refused = host.run(f"runuser -u nobody -- cat {path}")
    assert refused.stderr.strip() == f"cat: {path}: Permission denied"


def test_only_the_application_reads_its_password(host):
    assert host.run("runuser -u pyams -- cat /etc/zodb/blog/pgpass").rc == 0
    assert host.run("runuser -u pyams -- cat /etc/zodb/relstorage-blog.pgpass").rc == 1


# Settings ------------------------------------------------------------------------------------------------------------


def test_the_server_goes_by_the_settings_of_the_role(host):
    for name, value in {
        "max_locks_per_transaction": "256",
        "password_encryption": "scram-sha-256",
        "random_page_cost": "1.1",
        "shared_preload_libraries": "pg_prewarm",
    }.items():
        assert sql(host, f"show {name}") == value
    assert sql(host, "select count(*) from pg_settings where pending_restart") == "0"
    assert sql(host, "select setting::int / 128 >= 128 from pg_settings where name = 'shared_buffers'") == "t"


def test_the_lines_of_debian_in_pg_hba_conf_are_still_there(host):
    assert "\nlocal   all             postgres                                peer\n" in host.check_output(
        "cat /etc/postgresql/*/main/pg_hba.conf"
    )
    assert sql(host, "select count(*) from pg_hba_file_rules where error is not null") == "0"


# Packs ---------------------------------------------------------------------------------------------------------------


def test_a_pack_reports(host, server, mail):
    assert server.run("pack-relstorage-archive.service") == 0, server.journal("pack-relstorage-archive.service")
    (message,) = mail.received()
    assert message["recipients"] == ["admin@example.org"]
    assert "Subject: The archive: storage archive packed\r\n" in message["text"]
    assert "Data.fs" not in message["text"]
    record = json.loads(host.check_output("cat /var/lib/zodb/relstorage-archive/archive.pack.json"))
    assert (record["outcome"], record["error"]) == ("packed", None)


def test_a_pack_while_the_application_writes_loses_nothing(client, server):
    with client.burst("blog", processes=2) as burst:
        assert server.run("pack-relstorage-blog.service") == 0, server.journal("pack-relstorage-blog.service")
    assert burst.check()["acknowledged"] == burst.result()["commits"]


def test_packs_are_due_and_hardened(host):
    for storage in STORAGES:
        assert host.service(f"pack-relstorage-{storage}.timer").is_enabled
    done = host.run("systemd-analyze security --no-pager --threshold=20 pack-relstorage-blog.service")
    assert done.rc == 0, done.stdout[-200:]


# Dumps ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def restored(host):
    """The name of an empty database, which is its account's and password's too, of which nothing is left afterwards."""
    sql(host, "create role restored login password 'restored'")
    sql(host, "create database restored owner restored template template0 encoding 'UTF8' locale 'C'")
    yield "restored"
    sql(host, "drop database restored with (force)")
    sql(host, "drop role restored")


def test_a_dump_by_the_account_is_restored_by_another(host, client, restored):
    """Both are ordinary accounts; blobs, which are large objects, come along."""
    written = client.write_blob("blog", "dumped", size=3_000_000)
    client.commit("blog", greeting="hello")
    folder = host.check_output("runuser -u zodb -- mktemp -d")
    source = "host=127.0.0.1 user=blog dbname=blog passfile=/etc/zodb/relstorage-blog.pgpass"
    copy = f"host=127.0.0.1 user={restored} dbname={restored} password={restored}"
    host.check_output("runuser -u zodb -- pg_dump -Fc -f %s %s", f"{folder}/dump", source)
    into = ["--exit-on-error", "--no-owner", "--no-privileges", f"{folder}/dump"]
    host.check_output(f"runuser -u zodb -- pg_restore -d %s {' '.join(into)}", copy)

    places = [{"reader": "postgresql", "dsn": dsn, "history": False, "blob_dir": None} for dsn in (source, copy)]
    compare = "runuser -u zodb -- /opt/zodb/relstorage-blog/bin/python -c %s %s %s"
    script = COMPARE.read_text(encoding="utf-8")
    assert json.loads(host.check_output(compare, script, *map(json.dumps, places))) == {}

    files = host.check_output("mktemp -d")
    host.check_output("cp -r /etc/zodb/blog %s && printf '*:*:*:*:restored' >%s", files, f"{files}/blog/pgpass")
    changes = f"s|/etc/zodb/blog/|{files}/blog/|; s|/var/cache/zodb/blog/|{files}/|; s|'blog'|'{restored}'|g"
    changes += "; s|/var/run/postgresql|127.0.0.1|"  # by the socket, Debian lets in accounts of the system
    host.check_output("sed -i %s %s && chown -R pyams %s", changes, f"{files}/blog/storage.inc", files)
    opened = Client(host, folder=files)
    assert opened.read_blob("blog", "dumped") == written
    opened.commit("blog", greeting="hello again")
    assert (opened.read("blog", "greeting"), client.read("blog", "greeting")) == ("hello again", "hello")


# Health --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_health_as_a_monitoring_agent_asks(host, storage):
    done = host.run(HEALTH, storage, storage)
    assert done.rc <= 1, done.stdout
    assert "last commit" in done.stdout or "empty" in done.stdout


def test_health_tells_a_stopped_server(host):
    host.check_output("systemctl stop %s", unit_of(host))
    try:
        done = host.run(HEALTH, "blog", "blog")
    finally:
        host.check_output("systemctl start %s", unit_of(host))
    assert done.rc == 2
    assert done.stdout.startswith("CRITICAL "), done.stdout


# Over the network ----------------------------------------------------------------------------------------------------


def test_what_another_host_writes_is_in_the_database(hosts, remote):
    remote.commit("pyams", answer=42)
    assert remote.read("pyams", "answer") == 42
    written = remote.write_blob("pyams", "paper", size=3_000_000)
    remote.host.check_output("find /var/cache/zodb/pyams -type f -name '*.blob' -delete")
    assert remote.read_blob("pyams", "paper") == written
    assert sql(hosts[NETWORK], "select count(*) > 1 from object_state", "pyams") == "t"


def test_the_connection_is_verified_and_refused_without_tls(hosts, remote):
    text = remote.host.check_output("cat /etc/zodb/pyams/storage.inc")
    assert "sslmode='verify-full' sslrootcert='/etc/zodb/tls/postgres-zodb-pg13.anchor.crt'" in text
    refused = login(hosts[NETWORK], "pyams", "pyams", "hostaddr=10.89.77.22", "sslmode=disable")
    assert "pg_hba.conf rejects connection" in refused.stderr, refused.stderr


def test_a_server_with_another_certificate_is_not_believed(remote):
    folder = remote.host.check_output("mktemp -d")
    remote.host.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=postgres-main -days 9 "
        "-keyout /dev/null -out /var/tmp/other.crt"
    )
    remote.host.check_output("cp -r /etc/zodb/pyams %s && chown -R pyams %s", folder, folder)
    place = f"{folder}/pyams/storage.inc"
    remote.host.check_output("sed -i 's|/etc/zodb/tls/postgres-zodb-pg13.anchor.crt|/var/tmp/other.crt|' %s", place)
    with pytest.raises(ClientError, match="certificate verify failed"):
        Client(remote.host, folder=folder).read("pyams", "answer")


def test_a_pyams_application_over_tls(hosts):
    site = Application(hosts[APPLICATION], "pyams")
    site.upgrade()
    site.start()
    try:
        first, second = site.ports
        site.put(first, "greeting", "hello")
        assert site.get(second, "greeting") == "hello"
        before = site.pids()
        Server(hosts[NETWORK]).restart(unit_of(hosts[NETWORK]))
        wait_for(lambda: site.request(second, "greeting")[0] == 200, "the application after a restart of the server")
        wait_for(lambda: site.request(first, "greeting")[0] == 200, "its other process")
        site.put(second, "greeting", "again")
        assert site.get(first, "greeting") == "again"
        assert site.pids() == before
    finally:
        site.stop()
