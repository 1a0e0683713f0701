# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a further run does to certificates and to those who use them. Each test leaves the hosts as converged."""

from __future__ import annotations

import pytest
from test_zeo_server_tls import APPLICATIONS, SERVER, guest
from testing import Application, Client, ClientError, Server

UNITS = ["zeo-pyams.service", "zeo-blog.service"]
PIN = "Configure | Admit the clients in the list, and nobody else"
SERVER_ALONE = ["--limit", SERVER]
SERVER_AND_ONE = ["--limit", f"{SERVER},zodb-tls-app"]
WRITERS = 2  # processes of a burst


@pytest.fixture
def server(hosts):
    """The services on the servers' host."""
    return Server(hosts[SERVER])


def sites(play, name, **changes):
    """Return the instances of the play, with changes to what tls says of one."""
    entries = play.variables()["sites"]
    return [{**site, "tls": {**site["tls"], **changes}} if site["name"] == name else site for site in entries]


def restarted(server, before):
    """Return the units that have another process than before."""
    return [unit for unit, pid in server.pids(*UNITS).items() if pid != before[unit]]


def certificates(hosts, name):
    """Return the certificates on a host by path."""
    host = hosts[name]
    paths = host.check_output("ls /etc/zodb/tls/*.crt").split()
    return {path: host.file(path).content_string for path in paths}


def changed(before, after):
    """Return the paths of which the content is another one."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def writers(client, storage):
    """Return a burst that lasts as long as a play, and leaves the play the processor."""
    return client.burst(storage, processes=WRITERS, pause=0.2)


def not_interrupted_twice(burst):
    """Whether one restart is all that the writers noticed."""
    found = burst.result()
    return found["errors"] == 0 and found["interrupted"] <= WRITERS


def test_a_client_is_added_without_a_restart_and_taken_out_with_one(play, hosts, server):
    """Taken out by the next run too, if the one that did it ended before the restart."""
    new, other = Client(hosts["zodb-tls-app"]), Client(hosts["zodb-tls-client"])
    before = server.pids(*UNITS)
    play.converge(*SERVER_AND_ONE, sites=sites(play, "blog", clients=APPLICATIONS))
    assert restarted(server, before) == []
    new.commit("blog", answer=43)

    stranger = guest(new.host, {}, "blog")
    with writers(other, "blog") as burst, writers(other, "pyams") as elsewhere:
        play.interrupt(PIN, *SERVER_ALONE)
        assert restarted(server, before) == []
        run = play.converge(*SERVER_ALONE)
        assert PIN not in [task for task, _host in run.tasks("changed")]
        assert restarted(server, before) == ["zeo-blog.service"]
        with pytest.raises(ClientError, match="timed out waiting for connection"):
            stranger.read("blog", "answer")
    assert not_interrupted_twice(burst)
    assert elsewhere.result()["interrupted"] == elsewhere.result()["errors"] == 0
    burst.check()
    assert server.host.file("/etc/zodb/tls/zeo-blog-revoked").content_string.endswith("UTC  zodb-tls-app\n")
    assert new.read("pyams", "answer") == 42


class TestPyAMSSite:
    """A site of two processes. It must not outlive these tests: whom the server refuses, asks again without end."""

    @pytest.fixture(scope="class")
    def site(self, hosts):
        """A PyAMS site of two processes over the storage "pyams" of the other host."""
        application = Application(hosts["zodb-tls-app"], "pyams")
        application.upgrade()
        application.start()
        yield application
        application.stop()

    @pytest.mark.parametrize("event", ["a kill", "a restart", "a pack"])
    def test_it_survives(self, site, server, event):
        one, two = site.ports
        pids = site.pids()
        site.put(one, "before", event)
        {
            "a kill": lambda: server.kill("zeo-pyams.service"),
            "a restart": lambda: server.restart("zeo-pyams.service"),
            "a pack": lambda: server.run("pack-zeo-pyams.service"),
        }[event]()
        assert site.get(two, "before") == event
        site.put(two, "after", event)
        assert site.get(one, "after") == event
        assert site.pids() == pids

    def test_it_and_other_clients_run_on_when_certificates_are_renewed(self, play, hosts, server, site):
        names = [SERVER, *APPLICATIONS]
        running = [Client(hosts[name]) for name in APPLICATIONS]
        old = {name: certificates(hosts, name) for name in names}
        before, applications = server.pids(*UNITS), site.pids()
        site.put(site.ports[0], "before", "a renewal")
        due = sites(play, "pyams", days=900, renew_days=850)  # 824 and a bit are left
        with writers(running[0], "pyams") as one, writers(running[1], "pyams") as other:
            play.converge(sites=due)
            assert restarted(server, before) == ["zeo-pyams.service"]
        assert {name: changed(old[name], certificates(hosts, name)) for name in names} == {
            SERVER: ["/etc/zodb/tls/zeo-pyams.crt"],
            "zodb-tls-client": ["/etc/zodb/tls/client.crt"],
            "zodb-tls-app": ["/etc/zodb/tls/client.crt"],
        }
        for burst in (one, other):
            assert not_interrupted_twice(burst)
            burst.check()
        for client in running:
            client.read("pyams", "answer")
        assert site.get(site.ports[1], "before") == "a renewal"
        site.put(site.ports[1], "after", "a renewal")
        assert site.get(site.ports[0], "after") == "a renewal"
        assert site.pids() == applications
        assert play.converge(*SERVER_AND_ONE, sites=due).tasks("changed") == []


def test_a_name_more_makes_a_new_certificate_of_that_server(play, hosts, server):
    old, before = certificates(hosts, SERVER), server.pids(*UNITS)
    play.converge(*SERVER_ALONE, sites=sites(play, "blog", names=["blog.example.org", "10.89.77.17"]))
    assert changed(old, certificates(hosts, SERVER)) == ["/etc/zodb/tls/zeo-blog.crt"]
    assert restarted(server, before) == ["zeo-blog.service"]
    Client(hosts["zodb-tls-client"]).read("blog", "answer")
    assert play.converge(*SERVER_ALONE).tasks("changed") == []  # one name too many does no harm


def test_an_application_host_made_anew_is_admitted_at_once_and_its_old_key_no_more(play, hosts, server):
    host = hosts["zodb-tls-app"]
    host.check_output("rm -rf /var/tmp/stolen && cp -r /etc/zodb/tls /var/tmp/stolen && chmod -R a+rX /var/tmp/stolen")
    thief = guest(host, {"certificate": "/var/tmp/stolen/client.crt", "key": "/var/tmp/stolen/client.key"})
    thief.read("pyams", "answer")
    host.check_output("rm /etc/zodb/tls/client.*")
    run = play.converge("--limit", "zodb-tls-app", "--diff", "-vvv")
    assert Client(host).read("pyams", "answer") == 42
    assert (
        "zeo-pyams.service on zodb-tls-server admits the former certificate of zodb-tls-app until it restarts"
        in run.output
    )
    keys = host.check_output(
        "head -qn2 /etc/zodb/tls/client.key /etc/zodb/tls/client.anchor.key | grep -v -- ---"
    ).split()
    assert len(keys) == 2
    assert not [key for key in keys if key in run.output]
    assert "PRIVATE KEY" not in run.output

    before = server.pids(*UNITS)
    play.converge(*SERVER_ALONE)
    assert restarted(server, before) == ["zeo-pyams.service"]
    with pytest.raises(ClientError, match="timed out waiting for connection"):
        thief.read("pyams", "answer")


DAMAGE = """\
set -e
cd /etc/zodb/tls
chmod a+r zeo-pyams.key
rm zeo-pyams-clients/*.0
truncate -s 9 zeo-blog.key
rm zeo-blog-clients/zodb-tls-client.pem
cp zeo-pyams.anchor.crt zeo-blog-clients/friend.pem
openssl rehash zeo-blog-clients
"""


def test_damage_is_repaired(play, hosts, server):
    """Also a friend that somebody let in by hand is one, and keys that anybody reads."""
    host, before = hosts[SERVER], server.pids(*UNITS)
    links = host.check_output("ls /etc/zodb/tls/zeo-pyams-clients")
    host.check_output(DAMAGE)
    hosts["zodb-tls-app"].check_output("chmod a+r /etc/zodb/tls/client.key && rm /etc/zodb/tls/client.crt")
    assert play.converge(*SERVER_AND_ONE, "--check").count("changed") > 0
    play.converge()
    assert restarted(server, before) == ["zeo-blog.service"]
    assert play.converge(*SERVER_AND_ONE).tasks("changed") == []
    assert host.check_output("ls /etc/zodb/tls/zeo-pyams-clients") == links
    assert not host.file("/etc/zodb/tls/zeo-blog-clients/friend.pem").exists
    assert (
        host.file("/etc/zodb/tls/zeo-pyams.key").mode
        == hosts["zodb-tls-app"].file("/etc/zodb/tls/client.key").mode
        == 0o640
    )
    Client(hosts["zodb-tls-client"]).read("blog", "answer")
    Client(hosts["zodb-tls-app"]).read("pyams", "answer")


def test_a_host_that_is_not_in_the_list_is_told_so(play):
    run = play.run("--limit", "zodb-tls-app", zeo_server_instances=sites(play, "blog")[1:])
    assert run.rc != 0
    assert 'zeo_server_instances[0] \\"blog\\": tls.clients does not name zodb-tls-app; add it, or leave' in run.output
