# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage that is served with certificates of an authority of one's own, and its list of the revoked."""

from __future__ import annotations

import pytest
from test_zeo_server_tls import APPLICATIONS, SERVER, guest
from testing import Client, ClientError, Play, Server

FOLDER = "/etc/pki-of-ours"
CONFIGURATION = """\
[ca]
default_ca = ours
[ours]
database = index
default_md = sha256
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
AUTHORITY = """\
set -e
mkdir -p {folder} && cd {folder} && printf %%s {configuration} >ours.cnf && : >index
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config ours.cnf -extensions root \
    -subj '/CN=Authority of ours' -days 30 -keyout ca.key -out ca.crt
"""
CERTIFICATE = """\
set -e
cd {folder}
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config ours.cnf -subj /CN={name} \
    -addext subjectAltName=DNS:{name} -addext extendedKeyUsage={usage} -keyout {file}.key -out {file}.csr
openssl x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -copy_extensions copy -out {file}.crt
"""


class Authority:
    """An authority on the servers' host, as a company has one elsewhere."""

    def __init__(self, hosts):
        self.hosts, self.home = hosts, hosts[SERVER]
        self.home.check_output(AUTHORITY.format(folder=FOLDER, configuration="%s"), CONFIGURATION)
        self.certify("server", SERVER, "serverAuth")
        self.certify("tools", "tools", "clientAuth")
        self.home.check_output(f"cd {FOLDER} && chgrp zodb server.key tools.key && chmod g+r server.key tools.key")
        self.bundle()
        for name in APPLICATIONS:
            self.certify(name, name, "clientAuth")
            hosts[name].check_output(f"mkdir -p {FOLDER}")
            for file, origin in {
                "bundle.pem": "ca.crt",
                "client.crt": f"{name}.crt",
                "client.key": f"{name}.key",
            }.items():
                content = self.home.file(f"{FOLDER}/{origin}").content_string
                hosts[name].check_output("printf %%s %s >%s", content, f"{FOLDER}/{file}")
            hosts[name].check_output(f"cd {FOLDER} && chgrp pyams client.key && chmod 640 client.key")

    def certify(self, file, name, usage):
        """Make a key and its certificate."""
        self.home.check_output(CERTIFICATE.format(folder=FOLDER, file=file, name=name, usage=usage))

    def bundle(self, *revoked, seconds=86400 * 30):
        """Write the bundle of the authority and the list of all that are revoked."""
        for name in revoked:
            self.home.check_output(
                f"cd {FOLDER} && openssl ca -config ours.cnf -cert ca.crt -keyfile ca.key -revoke {name}.crt"
            )
        self.home.check_output(
            f"cd {FOLDER} && openssl ca -config ours.cnf -cert ca.crt -keyfile ca.key -gencrl -crlsec {seconds} "
            "-out crl.pem && cat ca.crt crl.pem >bundle.pem"
        )


@pytest.fixture(scope="module")
def authority(hosts):
    """The authority, with certificates on all hosts."""
    return Authority(hosts)


@pytest.fixture
def server(hosts):
    """The services on the servers' host."""
    return Server(hosts[SERVER])


def test_a_revoked_client_is_refused_and_others_go_on(hosts, server, authority):
    play = Play("own.yml")
    play.converge()
    one, other = (Client(hosts[name]) for name in APPLICATIONS)
    one.commit("archive", answer=42)
    assert other.read("archive", "answer") == 42

    authority.bundle("zodb-tls-app")
    before = server.pid("zeo-archive")
    play.converge("--limit", SERVER)
    assert server.pid("zeo-archive") != before
    with pytest.raises(ClientError, match="timed out waiting for connection"):
        guest(hosts["zodb-tls-app"], {}, "archive").read("archive", "answer")
    assert one.read("archive", "answer") == 42


def test_a_list_that_ends_soon_is_told_by_health(hosts, server, authority):
    authority.bundle(seconds=86400 * 13)
    done = server.host.run("/opt/zodb/zeo-archive/bin/zodb-health /etc/zodb/zeo-archive.toml")
    assert done.rc == 1
    assert "CRL" in done.stdout


def test_a_list_that_has_ended_is_refused_before_it_shuts_everybody_out(hosts, server, authority):
    authority.bundle(seconds=1)
    before = server.pid("zeo-archive")
    run = Play("own.yml").run("--limit", SERVER)
    assert run.rc != 0
    assert "CRL has expired" in run.output
    assert server.pid("zeo-archive") == before
    assert Client(hosts["zodb-tls-client"]).read("archive", "answer") == 42
