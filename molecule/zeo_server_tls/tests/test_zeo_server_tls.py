# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use a storage that is served over mutual TLS, from the chairs of those who may and those who may not."""

from __future__ import annotations

import pytest
from testing import Client, ClientError, Server

SERVER = "zodb-tls-server"
APPLICATIONS = ["zodb-tls-client", "zodb-tls-app"]


@pytest.fixture
def server(hosts):
    """The services on the servers' host."""
    return Server(hosts[SERVER])


@pytest.fixture
def clients(hosts):
    """The applications of both hosts."""
    return [Client(hosts[name]) for name in APPLICATIONS]


def guest(host, lines, storage="pyams"):
    """Return a client of the storage as the application of the host, but with other lines, and little patience."""
    folder = host.check_output("mktemp -d")
    host.check_output("cp -r %s %s && chmod -R a+rX %s", f"/etc/zodb/{storage}", folder, folder)
    for key, value in {"wait-timeout": 4, **lines}.items():
        host.check_output("sed -i %s %s", f"s|^ *{key} .*|{key} {value}|", f"{folder}/{storage}/storage.inc")
    return Client(host, folder=folder)


def test_one_host_reads_what_the_other_wrote(clients):
    one, other = clients
    one.commit("pyams", answer=42)
    assert other.read("pyams", "answer") == 42
    written = other.write_blob("pyams", "paper")
    assert one.read_blob("pyams", "paper") == written


def test_a_certificate_of_ones_own_making_is_refused(hosts):
    host = hosts["zodb-tls-app"]
    host.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=zodb-tls-app -days 9 "
        "-addext extendedKeyUsage=clientAuth -keyout /var/tmp/guest.key -out /var/tmp/guest.crt "
        "&& chmod a+r /var/tmp/guest.key"
    )
    with pytest.raises(ClientError, match="timed out waiting for connection"):
        guest(host, {"certificate": "/var/tmp/guest.crt", "key": "/var/tmp/guest.key"}).read("pyams", "answer")


def test_a_client_without_tls_is_refused(hosts):
    bare = guest(hosts["zodb-tls-app"], {})
    bare.host.check_output("sed -i '/<ssl>/,/<.ssl>/d' %s/pyams/storage.inc", bare.folder)
    with pytest.raises(ClientError, match="timed out waiting for connection"):
        bare.read("pyams", "answer")


def test_a_server_with_a_certificate_of_its_own_making_is_not_believed(hosts):
    """The anchor of another server is not that of this one, although the same host made both."""
    host = hosts["zodb-tls-client"]
    with pytest.raises(ClientError, match="timed out waiting for connection"):
        guest(host, {"authenticate": "/etc/zodb/tls/zeo-blog.anchor.crt"}).read("pyams", "answer")


def test_a_host_may_use_only_storages_that_name_it(hosts, clients):
    clients[0].commit("blog", answer=42)
    anchor = hosts[SERVER].file("/etc/zodb/tls/zeo-blog.anchor.crt").content_string
    host = hosts["zodb-tls-app"]
    host.check_output("printf %%s %s >/var/tmp/blog.crt", anchor)
    blog = {"server": f"{SERVER}:8101", "storage": "blog", "authenticate": "/var/tmp/blog.crt"}
    with pytest.raises(ClientError, match="timed out waiting for connection"):
        guest(host, blog).read("pyams", "answer")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("zodb-tls-server", 0, id="of the host"),
        pytest.param("blog.example.org", 0, id="of the entry"),
        pytest.param("www.example.org", 1, id="of somebody else"),
    ],
)
def test_a_client_that_checks_names_finds_the_servers(hosts, name, expected):
    done = hosts["zodb-tls-client"].run(
        "cd /etc/zodb/tls && openssl s_client -connect zodb-tls-server:8101 -cert client.crt -key client.key "
        "-x509_strict -CAfile zeo-blog.anchor.crt -verify_return_error -verify_hostname %s </dev/null 2>&1",
        name,
    )
    assert done.rc == expected, done.stdout


def test_keys_are_for_those_who_need_them(hosts):
    def may_read(name, user):
        done = hosts[name].run(f"runuser -u {user} -- sh -c 'for key in /etc/zodb/tls/*.key; do cat $key; done' 2>&1")
        return done.stdout.count("PRIVATE KEY-----") // 2

    assert may_read(SERVER, "zodb") == 2  # of two servers, without their anchors'
    assert may_read("zodb-tls-app", "pyams") == 1  # without the anchor's
    for name in (SERVER, *APPLICATIONS):
        assert may_read(name, "nobody") == 0


def test_packs_and_health_work(server):
    assert server.run("pack-zeo-pyams.service") == 0
    done = server.host.run("/opt/zodb/zeo-pyams/bin/zodb-health /etc/zodb/zeo-pyams.toml")
    assert (done.rc, done.stdout.split(":")[0]) == (0, "OK zeo-pyams/pyams")
    assert "certificates 825 days left" in done.stdout
