# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, keys and authorities, made by openssl and looked at with the standard library."""

from __future__ import annotations

import subprocess
import time

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _certificate

CONFIG = """
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
default_crl_days = 30
policy = policy
unique_subject = no
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:zeo.example.org, IP:10.0.0.5, IP:::1
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[own]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Return a folder with an authority, what it signed, and more."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    def key(name):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")

    def own(name, extensions):
        key(name)
        words = ["-x509", "-config", "cnf", "-extensions", extensions, "-days", "30", "-subj", f"/CN={name}"]
        openssl("req", *words, "-key", f"{name}.key", "-out", f"{name}.pem")

    def signed(name, extensions, start="20200101000000Z", end="20400101000000Z"):
        key(name)
        openssl("req", "-new", "-config", "cnf", "-subj", f"/CN={name}", "-key", f"{name}.key", "-out", f"{name}.csr")
        words = ["-batch", "-notext", "-config", "cnf", "-cert", "ca.pem", "-keyfile", "ca.key"]
        words += ["-extensions", extensions, "-startdate", start, "-enddate", end]
        openssl("ca", *words, "-in", f"{name}.csr", "-out", f"{name}.pem")

    (folder / "cnf").write_text(CONFIG)
    (folder / "index.txt").write_text("")
    own("ca", "authority")
    own("other-ca", "authority")
    own("pinned", "own")
    signed("server", "server")
    signed("client", "client")
    signed("expired", "server", end="20210203040506Z")
    signed("future", "server", start="20390203040506Z")
    signed("revoked", "client")
    openssl("ca", "-config", "cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-revoke", "revoked.pem")
    openssl("ca", "-config", "cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-out", "crl.pem")
    (folder / "ca-and-crl.pem").write_text((folder / "ca.pem").read_text() + (folder / "crl.pem").read_text())
    (folder / "bundle.pem").write_text(
        (folder / "server.key").read_text() + (folder / "server.pem").read_text() + (folder / "ca.pem").read_text()
    )
    openssl("pkey", "-in", "server.key", "-aes256", "-passout", "pass:word", "-out", "encrypted.key")
    openssl("genrsa", "-out", "rsa.key", "2048")
    (folder / "text").write_text("-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n")
    (folder / "broken.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (folder / "pins").mkdir()
    (folder / "pins/pinned.pem").write_text((folder / "pinned.pem").read_text())
    openssl("rehash", "pins")
    return folder


GOOD = {"exists": True, "readable": True, "expired": False, "key_matches": None, "trusted": None, "error": None}
UNREAD = {
    "exists": True,
    "readable": False,
    "expired": None,
    "not_before": None,
    "not_after": None,
    "days_left": None,
    "key_matches": None,
    "trusted": None,
}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            {"cert": "server.pem"}, {**GOOD, "not_before": 1577836800, "not_after": 2208988800}, id="certificate"
        ),
        pytest.param({"cert": "bundle.pem"}, {**GOOD, "not_after": 2208988800}, id="first of a bundle, after a key"),
        pytest.param({"cert": "server.pem"}, {"names": ["zeo.example.org", "10.0.0.5", "::1"]}, id="names"),
        pytest.param({"cert": "client.pem"}, {"names": []}, id="no names"),
        pytest.param({"cert": "server.pem", "key": "server.key"}, {**GOOD, "key_matches": True}, id="with its key"),
        pytest.param(
            {"cert": "server.pem", "key": "client.key"},
            {**GOOD, "key_matches": False, "error": "client.key: not the key of server.pem"},
            id="with another key",
        ),
        pytest.param(
            {"cert": "server.pem", "key": "rsa.key"},
            {**GOOD, "key_matches": False, "error": "rsa.key: not the key of server.pem"},
            id="with a key of another kind",
        ),
        pytest.param(
            {"cert": "server.pem", "key": "encrypted.key"},
            {**GOOD, "error": "encrypted.key: the key is encrypted"},
            id="encrypted key",
        ),
        pytest.param(
            {"cert": "server.pem", "key": "ca.pem"},
            {**GOOD, "error": "ca.pem: there is no private key in it"},
            id="no key",
        ),
        pytest.param(
            {"cert": "server.pem", "key": "none.key"},
            {**GOOD, "error": "none.key: no such file or directory"},
            id="key not there",
        ),
        pytest.param(
            {"cert": "none.pem", "key": "server.key"},
            {**UNREAD, "exists": False, "error": "none.pem: no such file or directory"},
            id="not there",
        ),
        pytest.param({"cert": "pins"}, {**UNREAD, "error": "pins: is a directory"}, id="a folder"),
        pytest.param(
            {"cert": "server.key"}, {**UNREAD, "error": "server.key: there is no certificate in it"}, id="a key"
        ),
        pytest.param({"cert": "text"}, {**UNREAD, "error": "text: there is no certificate in it"}, id="broken"),
        pytest.param(
            {"cert": "expired.pem", "key": "expired.key"},
            {**GOOD, "expired": True, "key_matches": True, "error": "expired.pem: expired on 2021-02-03"},
            id="expired",
        ),
        pytest.param(
            {"cert": "future.pem"}, {**GOOD, "error": "future.pem: valid only from 2039-02-03 on"}, id="not yet valid"
        ),
        pytest.param(
            {"cert": "server.pem", "key": "server.key", "ca": "ca.pem"},
            {**GOOD, "key_matches": True, "trusted": True},
            id="server accepted",
        ),
        pytest.param(
            {"cert": "client.pem", "key": "client.key", "ca": "ca-and-crl.pem", "purpose": "client"},
            {**GOOD, "key_matches": True, "trusted": True},
            id="client accepted, with a revocation list",
        ),
        pytest.param(
            {"cert": "pinned.pem", "key": "pinned.key", "ca": "pins", "purpose": "client"},
            {**GOOD, "key_matches": True, "trusted": True},
            id="client pinned in a folder",
        ),
        pytest.param(
            {"cert": "pinned.pem", "key": "pinned.key", "ca": "pinned.pem"},
            {**GOOD, "key_matches": True, "trusted": True},
            id="server that is its own authority",
        ),
        pytest.param({"cert": "server.pem", "ca": "ca.pem"}, GOOD, id="not tried without a key"),
    ],
)
def test_look(pki, monkeypatch, entry, expected):
    monkeypatch.chdir(pki)
    found = _certificate.look(**entry)
    assert {key: found[key] for key in expected} == expected
    if found["readable"]:
        assert abs(found["days_left"] - (found["not_after"] - time.time()) / 86400) < 0.02


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        pytest.param(
            ("server", "other-ca.pem", "server"), "server.pem: not accepted by other-ca.pem: ", id="another authority"
        ),
        pytest.param(("client", "ca.pem", "server"), "client.pem: not accepted by ca.pem: ", id="client as server"),
        pytest.param(("server", "ca.pem", "client"), "server.pem: not accepted by ca.pem: ", id="server as client"),
        pytest.param(
            ("revoked", "ca-and-crl.pem", "client"),
            "revoked.pem: not accepted by ca-and-crl.pem: certificate revoked",
            id="revoked",
        ),
        pytest.param(
            ("expired", "ca.pem", "server"),
            "expired.pem: not accepted by ca.pem: certificate has expired",
            id="expired",
        ),
        pytest.param(("server", "pins", "server"), "server.pem: not accepted by pins: ", id="not pinned"),
        pytest.param(("server", "none.pem", "server"), "none.pem: no such file or directory", id="no authority"),
        pytest.param(
            ("server", "server.key", "server"), "server.key: there is no certificate in it", id="key as authority"
        ),
    ],
)
def test_what_an_authority_does_not_accept(pki, monkeypatch, entry, sentence):
    monkeypatch.chdir(pki)
    name, ca, purpose = entry
    found = _certificate.look(f"{name}.pem", f"{name}.key", ca, purpose)
    assert found["key_matches"] is True
    assert found["trusted"] is (False if ": not accepted by " in sentence else None)
    assert found["error"].startswith(sentence)


def test_a_broken_key_has_its_sentence(pki, monkeypatch):
    monkeypatch.chdir(pki)
    found = _certificate.look("server.pem", "broken.key")
    assert found["key_matches"] is None
    assert found["error"].startswith("broken.key: cannot be used with server.pem")
