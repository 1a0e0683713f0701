# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed certificates: what is made, laid and taken away for what a look at the hosts found."""

from __future__ import annotations

import copy
import subprocess

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _zeo_tls

TLS = "/etc/zodb/tls"
STEM, CLIENT = f"{TLS}/zeo-pyams", f"{TLS}/client"
SETTINGS = {
    "config_dir": "/etc/zodb",
    "group": "zodb",
    "client_group": "pyams",
    "manage_user": True,
    "host": "zeo1",
    "server": "zeo1",
    "known": True,
    "check_mode": False,
    "now": "20261125003159123456",
}
INSTANCE = {
    "name": "pyams",
    "state": "present",
    "unit": "zeo-pyams.service",
    "tls_managed": True,
    "host": "0.0.0.0",
    "tls": {"clients": ["app1", "app2"], "names": [], "days": 825, "renew_days": 30},
    "client": {"server": None},
}
NOTHING = {"readable": False, "key_matches": None, "trusted": None, "expired": None, "days_left": None, "names": None}
ANCHOR = {**NOTHING, "readable": True, "key_matches": True, "expired": False, "days_left": 2912115.0, "names": []}
GOOD = {**ANCHOR, "trusted": True, "days_left": 30.0, "names": ["zeo1"]}
NOBODY = {"exists": False, "mode": None, "owner": None, "group": None}


def openssl(*arguments, text=None):
    """Return what openssl prints."""
    return subprocess.run(
        ["openssl", *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    ).stdout


def certify(subject):
    """Return a self-signed certificate."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null"]
    return openssl("req", "-x509", *key, "-utf8", "-multivalue-rdn", "-subj", subject)


@pytest.fixture(scope="module")
def pems():
    """Certificates by name, and the name of the link to each."""
    found = {name: certify(f"/CN={name}/serialNumber=1") for name in ("zeo-pyams", "app1", "app2", "app1 before")}
    return found, {name: _zeo_tls.subject_hash(pem) + ".0" for name, pem in found.items()}


def there(mode, group):
    """Return what is known of a file of root's."""
    return {"exists": True, "mode": mode, "owner": "root", "group": group}


def server_look(pems, **changes):
    """Return a look at a servers' host where all is right, with changes by their option."""
    anchor = pems[0]["zeo-pyams"]
    look = {
        "host": {"euid": 0, "hostname": "zeo1", "fqdn": "zeo1.example.org"},
        "certificates": {f"{STEM}.anchor.crt": ANCHOR, f"{STEM}.crt": GOOD},
        "paths": {
            TLS: {"exists": True},
            f"{STEM}.anchor.key": there("0600", "root"),
            f"{STEM}.key": there("0640", "zodb"),
        },
        "read": {
            f"{STEM}.anchor.crt": anchor,
            f"{STEM}.crt": "shown",
            f"{STEM}-revoked": None,
            f"{STEM}-clients/app1.pem": pems[0]["app1"],
            f"{STEM}-clients/app2.pem": None,
        },
        "folders": {f"{STEM}-clients": sorted([pems[1]["zeo-pyams"], pems[1]["app1"], "app1.pem"])},
    }
    return changed(look, changes)


def changed(look, changes):
    look = copy.deepcopy(look)
    for option, values in changes.items():
        look[option].update(values)
    return look


def client_look(pems, **changes):
    """Return a look at an application host where all is right."""
    look = {
        "host": {"euid": 0, "hostname": "app1", "fqdn": "app1.example.org"},
        "groups": {"pyams": {"exists": True}},
        "certificates": {f"{CLIENT}.anchor.crt": ANCHOR, f"{CLIENT}.crt": {**GOOD, "names": ["app1"]}},
        "paths": {
            TLS: {"exists": True},
            f"{CLIENT}.anchor.key": there("0600", "root"),
            f"{CLIENT}.key": there("0640", "pyams"),
        },
        "read": {f"{CLIENT}.anchor.crt": pems[0]["app1"], f"{CLIENT}.crt": "shown"},
    }
    return changed(look, changes)


def other_look(pems, **changes):
    """Return the look of that application host at the servers' host."""
    look = {
        "host": {"euid": 0},
        "read": {
            f"{STEM}.anchor.crt": pems[0]["zeo-pyams"],
            f"{STEM}-revoked": None,
            f"{STEM}-clients/app1.pem": pems[0]["app1"],
        },
        "folders": {f"{STEM}-clients": sorted([pems[1]["zeo-pyams"], pems[1]["app1"], "app1.pem"])},
    }
    return changed(look, changes)


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param("/CN=app1", id="plain"),
        pytest.param("/CN=App  One /serialNumber=20261125003159123456", id="case and spaces"),
        pytest.param("/C=FR/O=Été Ünïx  Gmbh/CN=  x  y", id="beyond ASCII"),
        pytest.param("/O=日本 語/CN=x", id="beyond Latin"),
        pytest.param("/DC=org/DC=Example/CN=q/emailAddress=Foo@Bar.org", id="IA5 texts"),
        pytest.param("/CN=a+OU=b/O=Z+L=k", id="several values"),
        pytest.param("/CN=" + "a" * 64 + "/OU=" + "b" * 64 + "/O=" + "c" * 64, id="long"),
    ],
)
def test_subject_hash_is_that_of_openssl(subject):
    pem = certify(subject)
    assert _zeo_tls.subject_hash(pem) == openssl("x509", "-noout", "-subject_hash", text=pem).strip()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("broken", id="no PEM"),
        pytest.param("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", id="cut off"),
        pytest.param("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", id="no base64"),
    ],
)
def test_subject_hash_of_no_certificate(text):
    assert _zeo_tls.subject_hash(text) is None


def test_nothing_is_made_where_all_is_right(pems):
    plan = _zeo_tls.server([INSTANCE], SETTINGS, server_look(pems))
    assert plan["identities"] == plan["absent"] == []
    assert [file["path"] for file in plan["files"]] == [f"{STEM}.anchor.crt", f"{STEM}.crt"]
    assert plan["links"] == [
        {"path": f"{STEM}-clients/{pems[1]['zeo-pyams']}", "target": "../zeo-pyams.anchor.crt"},
        {"path": f"{STEM}-clients/{pems[1]['app1']}", "target": "app1.pem"},
    ]
    assert {folder["path"]: (folder["mode"], folder["group"]) for folder in plan["folders"]} == {
        "/etc/zodb": ("0755", "root"),
        TLS: ("0755", "root"),
        f"{STEM}-clients": ("0750", "zodb"),
    }


@pytest.mark.parametrize(
    ("certificates", "paths", "expected"),
    [
        pytest.param({}, {}, None, id="just not due"),
        pytest.param({".crt": {**GOOD, "days_left": 29.99}}, {}, (False, True), id="due"),
        pytest.param({".crt": {**GOOD, "trusted": False}}, {}, (False, True), id="expired, or of another anchor"),
        pytest.param({".crt": {**GOOD, "key_matches": False, "trusted": None}}, {}, (False, True), id="of another key"),
        pytest.param({".crt": {**GOOD, "names": ["zeo2"]}}, {}, (False, True), id="without the host's name"),
        pytest.param({".crt": {**GOOD, "names": ["ZEO1", "more"]}}, {}, None, id="with more names"),
        pytest.param({".crt": NOTHING}, {}, (False, True), id="none"),
        pytest.param({".crt": NOTHING, ".anchor.crt": NOTHING}, {}, (True, True), id="neither it nor its anchor"),
        pytest.param(
            {".anchor.crt": {**ANCHOR, "key_matches": None}},
            {".anchor.key": NOBODY},
            None,
            id="anchor's key kept elsewhere",
        ),
        pytest.param(
            {".anchor.crt": {**ANCHOR, "key_matches": None}, ".crt": {**GOOD, "days_left": 3.0}},
            {".anchor.key": NOBODY},
            (True, True),
            id="anchor's key kept elsewhere, and due",
        ),
        pytest.param({}, {".key": there("0644", "zodb")}, (False, False), id="key that everybody reads"),
        pytest.param({}, {".key": there("0640", "root")}, (False, False), id="key of another group"),
        pytest.param({}, {".anchor.key": there("0640", "root")}, (False, False), id="anchor's key that a group reads"),
    ],
)
def test_what_is_made_of_a_certificate(pems, certificates, paths, expected):
    changes = [{STEM + suffix: value for suffix, value in values.items()} for values in (certificates, paths)]
    plan = _zeo_tls.server([INSTANCE], SETTINGS, server_look(pems, certificates=changes[0], paths=changes[1]))
    found = [(identity["new_anchor"], identity["new_certificate"]) for identity in plan["identities"]]
    assert found == ([] if expected is None else [expected])


def test_a_renewed_certificate_keeps_its_key_and_its_anchor(pems):
    due = {f"{STEM}.crt": {**GOOD, "days_left": 3.0}}
    (identity,) = _zeo_tls.server([INSTANCE], SETTINGS, server_look(pems, certificates=due))["identities"]
    keys = {key["path"]: (key["mode"], key["group"], key["regenerate"]) for key in identity["private_keys"]}
    # Made anew only if it cannot be read.
    assert keys == {
        f"{STEM}.anchor.key": ("0600", "root", "never"),
        f"{STEM}.key": ("0640", "zodb", "full_idempotence"),
    }
    assert identity["usages"] == ["serverAuth", "clientAuth"]
    assert (identity["name"], identity["stem"], identity["days"]) == ("zeo-pyams", STEM, 825)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ["DNS:zeo1", "DNS:zeo1.example.org"], id="the host's"),
        pytest.param({"host": "10.0.0.5"}, ["DNS:zeo1", "IP:10.0.0.5", "DNS:zeo1.example.org"], id="address"),
        pytest.param({"host": "::"}, ["DNS:zeo1", "DNS:zeo1.example.org"], id="any address"),
        pytest.param(
            {"client": {"server": "[2001:db8::5]:8100"}},
            ["DNS:zeo1", "IP:2001:db8::5", "DNS:zeo1.example.org"],
            id="what clients connect to",
        ),
        pytest.param(
            {"client": {"server": "ZEO:8100"}}, ["DNS:zeo1", "DNS:zeo", "DNS:zeo1.example.org"], id="its name"
        ),
        pytest.param(
            {"tls": {**INSTANCE["tls"], "names": ["a.example.org", "10.0.0.6"]}},
            ["DNS:zeo1", "DNS:a.example.org", "IP:10.0.0.6", "DNS:zeo1.example.org"],
            id="names",
        ),
    ],
)
def test_names_of_a_new_certificate(pems, changes, expected):
    none = {f"{STEM}.crt": NOTHING}
    (identity,) = _zeo_tls.server([{**INSTANCE, **changes}], SETTINGS, server_look(pems, certificates=none))[
        "identities"
    ]
    assert identity["names"] == expected


@pytest.mark.parametrize(
    ("certificates", "paths", "expected"),
    [
        pytest.param({}, {".key": NOBODY}, (False, False), id="no key"),
        pytest.param({".crt": {**GOOD, "key_matches": None, "trusted": None}}, {}, (False, False), id="broken key"),
        pytest.param({".crt": {**GOOD, "days_left": 3.0}}, {}, (False, True), id="due"),
        pytest.param({".crt": NOTHING, ".anchor.crt": NOTHING}, {}, (True, False), id="no anchor to sign it"),
    ],
)
def test_check_mode_does_what_needs_nothing_that_it_did_not_make(pems, certificates, paths, expected):
    missing = {".crt": NOTHING} if paths else {}
    changes = [
        {STEM + suffix: value for suffix, value in values.items()} for values in ({**missing, **certificates}, paths)
    ]
    look = server_look(pems, certificates=changes[0], paths=changes[1])
    (identity,) = _zeo_tls.server([INSTANCE], {**SETTINGS, "check_mode": True}, look)["identities"]
    assert (identity["new_anchor"], identity["new_certificate"]) == expected


@pytest.mark.parametrize(
    ("listing", "absent", "revoked"),
    [
        pytest.param(["app3.pem", "0badcafe.0"], ["app3.pem", "0badcafe.0"], "app3", id="client that left"),
        pytest.param(["0badcafe.0"], ["0badcafe.0"], "0badcafe.0", id="file by a hash"),
        pytest.param(["app2.pem~", "notes"], ["app2.pem~", "notes"], None, id="what OpenSSL does not look at"),
        pytest.param([], [], None, id="nothing"),
    ],
)
def test_who_is_not_in_the_list_is_taken_out_and_noted(pems, listing, absent, revoked):
    before = server_look(pems)["folders"][f"{STEM}-clients"]
    plan = _zeo_tls.server([INSTANCE], SETTINGS, server_look(pems, folders={f"{STEM}-clients": before + listing}))
    assert plan["absent"] == [f"{STEM}-clients/{name}" for name in absent]
    notes = [file["content"] for file in plan["files"] if file["path"] == f"{STEM}-revoked"]
    expected = (
        "# Certificates that zeo-pyams.service no longer admits. It is restarted when this file is younger than it.\n"
    )
    assert notes == ([f"{expected}2026-11-25 00:31 UTC  {revoked}\n"] if revoked else [])


def test_an_ordinary_user_gives_nothing_away(pems):
    plan = _zeo_tls.server([INSTANCE], SETTINGS, server_look(pems, host={"euid": 1000}))
    assert {(file["owner"], file["group"]) for file in plan["files"] + plan["folders"]} == {(None, None)}
    assert {folder["path"]: folder["mode"] for folder in plan["folders"]}[f"{STEM}-clients"] == "0700"
    (identity,) = plan["identities"]
    assert {key["mode"] for key in identity["private_keys"]} == {"0600"}


APP1 = {**SETTINGS, "host": "app1"}


def test_a_client_that_is_known_does_nothing(pems):
    plan = _zeo_tls.client([INSTANCE], APP1, client_look(pems), other_look(pems))
    assert plan["refusals"] == plan["identities"] == []
    assert not plan["group_missing"]
    assert plan["pins"] == {"files": [], "links": [], "absent": [], "notices": []}
    assert [file["path"] for file in plan["files"]] == [f"{CLIENT}.anchor.crt", f"{CLIENT}.crt", f"{STEM}.anchor.crt"]


@pytest.mark.parametrize(
    ("read", "listing", "noted"),
    [
        pytest.param(None, [], False, id="new"),
        pytest.param("app1", ["app1.pem"], False, id="without its link"),
        pytest.param("app1 before", ["app1.pem", "app1 before"], True, id="another before"),
    ],
)
def test_a_client_has_itself_admitted(pems, read, listing, noted):
    there = other_look(
        pems,
        read={f"{STEM}-clients/app1.pem": pems[0].get(read)},
        folders={f"{STEM}-clients": [pems[1].get(name, name) for name in listing]},
    )
    pins = _zeo_tls.client([INSTANCE], APP1, client_look(pems), there)["pins"]
    assert pins["links"] == [{"path": f"{STEM}-clients/{pems[1]['app1']}", "target": "app1.pem"}]
    assert pins["absent"] == ([f"{STEM}-clients/{pems[1]['app1 before']}"] if noted else [])
    notice = (
        "zeo-pyams.service on zeo1 admits the former certificate of app1 until it restarts; run zeo_server there, with "
        "tasks_from=server."
    )
    assert pins["notices"] == ([notice] if noted else [])
    files = {file["path"]: file["content"] for file in pins["files"]}
    assert files.pop(f"{STEM}-clients/app1.pem") == pems[0]["app1"]
    assert [text.splitlines()[-1] for text in files.values()] == (
        ["2026-11-25 00:31 UTC  app1, for another"] if noted else []
    )


def test_a_clients_one_certificate_is_renewed_for_the_entry_that_asks_first(pems):
    blog = {**INSTANCE, "name": "blog", "tls": {**INSTANCE["tls"], "days": 90, "renew_days": 60}}
    look = client_look(pems, certificates={f"{CLIENT}.crt": {**GOOD, "names": ["app1"], "days_left": 59.0}})
    there = other_look(
        pems, read={f"{TLS}/zeo-blog{end}": None for end in (".anchor.crt", "-revoked", "-clients/app1.pem")}
    )
    there["folders"][f"{TLS}/zeo-blog-clients"] = []
    (identity,) = _zeo_tls.client([INSTANCE, blog], {**APP1, "check_mode": True}, look, there)["identities"]
    assert (identity["new_certificate"], identity["days"], identity["usages"]) == (True, 825, ["clientAuth"])


@pytest.mark.parametrize(
    ("settings", "look", "there", "expected"),
    [
        pytest.param(
            {"host": "app3"},
            None,
            None,
            'zeo_server_instances[0] "pyams": tls.clients does not name app3; add it, or leave the entry out on this '
            "host.",
            id="not in the list",
        ),
        pytest.param(
            {"server": "zeo9", "known": False},
            None,
            None,
            "zeo_server_host zeo9: the inventory has no such host; name the one that runs the servers.",
            id="unknown server",
        ),
        pytest.param(
            {},
            {},
            {"read": {f"{STEM}.anchor.crt": None}},
            f'zeo_server_instances[0] "pyams": zeo1 has no {STEM}.anchor.crt; run zeo_server there first, with '
            "tasks_from=server.",
            id="no server yet",
        ),
        pytest.param(
            {"manage_user": False},
            {"groups": {"pyams": {"exists": False}}},
            {},
            "zeo_server_client_group pyams: there is no such group, and zeo_server_manage_user is false; create it.",
            id="no group",
        ),
    ],
)
def test_refusals_of_a_client(pems, settings, look, there, expected):
    looks = (None, None) if look is None else (client_look(pems, **look), other_look(pems, **there))
    assert _zeo_tls.client([INSTANCE], {**APP1, **settings}, *looks)["refusals"] == [expected]


@pytest.mark.parametrize(
    "change", [pytest.param({"state": "absent"}, id="absent"), pytest.param({"tls_managed": False}, id="not managed")]
)
def test_other_entries_are_none_of_its_business(pems, change):
    plan = _zeo_tls.server([{**INSTANCE, **change}], SETTINGS, server_look(pems))
    assert plan["question"] == {"certificates": [], "paths": [], "read": [], "folders": []}
    assert plan["files"] == plan["links"] == plan["absent"] == plan["identities"] == []
