# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: managed certificates of ZEO servers and their clients. Pure functions, no Ansible.

What an identity is, see _identity.py. The subject of an anchor is unlike that of any other, since a server looks for no
second anchor of a subject that it has met (OpenSSL 3.0 to 3.5).

A server admits the anchors in its folder of clients: PEM files, which OpenSSL finds by links that are named after
their subjects' hash. It reads one when its client comes, so adding takes no restart; it remembers it, so removing does.

settings: config_dir, group (of the servers), client_group, manage_user, host and server (inventory names of the
application host and of the servers' host), known (whether server is in the inventory), check_mode, and now (UTC, digits
from the year to the microsecond). look: results of M(pyams.zodb.zodb_host_info) for the question.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._identity import (
    certificates,
    folders,
    identity,
    owned,
    questions,
)

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_LINK = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_REVOKED = """\
# Certificates that %s no longer admits. It is restarted when this file is younger than it.
"""


def server(instances: list[dict], settings: dict, look: dict | None = None) -> dict[str, Any]:
    """Return what the servers' host has to do for the entries with managed certificates.

    question: options of zodb_host_info; alone, if there is no look. identities: those that are not right, as
    identity() returns them. folders, files, links, absent: as zodb_files takes them. What cannot be known before the
    identities are right is left out.
    """
    instances = [instance for instance in instances if instance["state"] == "present" and instance["tls_managed"]]
    question: dict[str, Any] = {"certificates": [], "paths": [], "read": [], "folders": []}
    for instance in instances:
        stem = _stem(instance, settings)
        questions(question, stem, settings, "server")
        question["folders"].append(stem + "-clients")
        question["read"].append(stem + "-revoked")
        question["read"] += [f"{stem}-clients/{client}.pem" for client in instance["tls"]["clients"]]
    plan: dict[str, Any] = {"question": question}
    if look is None:
        return plan
    plan.update(identities=[], folders=folders(settings, look), files=[], links=[], absent=[])
    for instance in instances:
        stem, tls = _stem(instance, settings), instance["tls"]
        wanted = [settings["host"], instance["host"], _host_of(instance["client"]["server"]), *tls["names"]]
        plan["identities"] += identity(
            stem,
            look,
            settings,
            name=f"zeo-{instance['name']}",
            wanted=wanted,
            further=[look["host"]["hostname"], look["host"]["fqdn"]],
            usages=["serverAuth", "clientAuth"],  # the server's tools are its first client
            group=settings["group"],
            days=tls["days"],
            renew_days=tls["renew_days"],
        )
        plan["folders"].append(owned({"path": stem + "-clients"}, look, settings["group"], "0750", "0700"))
        plan["files"] += certificates(stem, look)
        _pin(instance, stem, settings, look, plan)
    return plan


def client(
    instances: list[dict], settings: dict, look: dict | None = None, there: dict | None = None
) -> dict[str, Any]:
    """Return what an application host has to do for the entries with managed certificates.

    there: the look at the servers' host, for server_question. question, identities, folders and files are as in
    server(), of the application host; pins are the files, links and absent of the servers' host, and notices on what is
    not over yet. refusals: sentences.
    group_missing: whether client_group has to be made first.
    """
    every = list(enumerate(instances))
    managed = [(at, one) for at, one in every if one["state"] == "present" and one["tls_managed"]]
    own = settings["config_dir"] + "/tls/client"
    question: dict[str, Any] = {"certificates": [], "paths": [], "read": [], "groups": [settings["client_group"]]}
    server_question: dict[str, Any] = {"read": [], "folders": []}
    questions(question, own, settings, "client")
    for _at, instance in managed:
        stem = _stem(instance, settings)
        server_question["read"] += [stem + ".anchor.crt", stem + "-revoked", f"{stem}-clients/{settings['host']}.pem"]
        server_question["folders"].append(stem + "-clients")
    plan: dict[str, Any] = {
        "question": question,
        "server_question": server_question,
        "refusals": [sentence for at, instance in managed for sentence in _refused(at, instance, settings)],
    }
    if look is None or there is None:
        return plan
    plan["group_missing"] = look["host"]["euid"] == 0 and not look["groups"][settings["client_group"]]["exists"]
    if plan["group_missing"] and not settings["manage_user"]:
        plan["refusals"].append(
            f"zeo_server_client_group {settings['client_group']}: there is no such group, and zeo_server_manage_user "
            "is false; create it."
        )
    plan["identities"] = identity(
        own,
        look,
        settings,
        name=settings["host"],
        wanted=[settings["host"]],
        further=[look["host"]["hostname"], look["host"]["fqdn"]],
        usages=["clientAuth"],
        group=settings["client_group"],
        days=max(instance["tls"]["days"] for _at, instance in managed),
        renew_days=max(instance["tls"]["renew_days"] for _at, instance in managed),
    )
    plan["folders"], plan["files"] = folders(settings, look), certificates(own, look)
    plan["pins"] = {"files": [], "links": [], "absent": [], "notices": []}
    for at, instance in managed:
        stem = _stem(instance, settings)
        anchor = there["read"][stem + ".anchor.crt"]
        if anchor:
            plan["files"].append(owned({"path": stem + ".anchor.crt", "content": anchor}, look, "root", "0644", "0644"))
        elif not settings["check_mode"]:
            plan["refusals"].append(
                f"{_where(at, instance)}: {settings['server']} has no {stem}.anchor.crt; run zeo_server there first, "
                "with tasks_from=server."
            )
        _pin_self(instance, stem, look["read"][own + ".anchor.crt"], settings, there, plan["pins"])
    return plan


def subject_hash(pem: str | None) -> str | None:
    """Return the hash of a certificate's subject, by which OpenSSL names links to it; None if there is no certificate.

    That is `openssl x509 -subject_hash`: of the SHA-1 of the subject in canonical form, the first four bytes.
    """
    found = _PEM.search(pem or "")
    try:
        certificate = _elements(base64.b64decode(found[1], validate=False)) if found else []
        fields = _elements(_elements(certificate[0][1])[0][1])
        # version (if not the first), serial number, algorithm, issuer, validity, subject
        subject = fields[5 if fields[0][0] == 0xA0 else 4][1]
        canonical = b"".join(_canonical(value) for _tag, value in _elements(subject))
    except (IndexError, ValueError, binascii.Error):
        return None
    return f"{int.from_bytes(hashlib.sha1(canonical, usedforsecurity=False).digest()[:4], 'little'):08x}"


def _canonical(relative: bytes) -> bytes:
    """Return one part of a subject in OpenSSL's canonical form: UTF-8, lower case, single spaces."""
    attributes = []
    for _tag, attribute in _elements(relative):
        (_tag, kind), (tag, value) = _elements(attribute)
        if tag in _TEXTS:
            words = value.decode(_TEXTS[tag]).encode().lower().split()  # ASCII letters only, as OpenSSL does
            tag, value = 0x0C, b" ".join(words)
        attributes.append(_element(0x30, _element(0x06, kind) + _element(tag, value)))
    return _element(0x31, b"".join(sorted(attributes)))


# UTF8String, PrintableString, T61String, IA5String, VisibleString, UniversalString, BMPString
_TEXTS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and value of the elements of DER that follow each other."""
    found, at = [], 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[at + 2 : start], "big")
        at = start + size
        if at > len(data):
            raise ValueError("cut off")
        found.append((tag, data[start:at]))
    return found


def _element(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _stem(instance: dict, settings: dict) -> str:
    return f"{settings['config_dir']}/tls/zeo-{instance['name']}"


def _where(at: int, instance: dict) -> str:
    return f'zeo_server_instances[{at}] "{instance["name"]}"'


def _host_of(address: str | None) -> str | None:
    """Return the host of host:port or [IPv6]:port; None for a path or nothing."""
    host = (address or "/").rpartition(":")[0] if not (address or "/").startswith("/") else ""
    return host.strip("[]") or None


def _pin(instance: dict, stem: str, settings: dict, look: dict, plan: dict) -> None:
    """Add to a plan that the server's folder holds the anchors of its clients that are there, and nothing else."""
    folder = stem + "-clients"
    listing = look["folders"][folder] or []
    pinned = {f"../{stem.rpartition('/')[2]}.anchor.crt": look["read"][stem + ".anchor.crt"]}
    pinned.update((f"{client}.pem", look["read"][f"{folder}/{client}.pem"]) for client in instance["tls"]["clients"])
    links: dict[str, str] = {}
    for target, pem in pinned.items():
        subject = subject_hash(pem)
        if subject:
            number = sum(name.startswith(subject) for name in links)
            links[f"{subject}.{number}"] = target
    surplus = [name for name in listing if name not in pinned and name not in links]
    plan["links"] += [{"path": f"{folder}/{name}", "target": target} for name, target in links.items()]
    plan["absent"] += [f"{folder}/{name}" for name in surplus]
    gone = [name[:-4] for name in surplus if name.endswith(".pem")] or [
        name for name in surplus if _LINK.fullmatch(name)
    ]
    if gone:
        plan["files"].append(_revoked(instance, stem, gone, settings, look))


def _pin_self(instance: dict, stem: str, anchor: str | None, settings: dict, there: dict, pins: dict) -> None:
    """Add to pins that the server admits this application host, and no more what it was before."""
    folder = stem + "-clients"
    listing = there["folders"][folder]
    subject = subject_hash(anchor)
    if listing is None or subject is None:
        return
    path, link = f"{folder}/{settings['host']}.pem", f"{folder}/{subject}.0"
    old = there["read"][path]
    if old == anchor and f"{subject}.0" in listing:
        return
    pins["files"].append(owned({"path": path, "content": anchor}, there, "root", "0644", "0644"))
    pins["links"].append({"path": link, "target": f"{settings['host']}.pem"})
    if old and old != anchor:
        pins["files"].append(_revoked(instance, stem, [settings["host"] + ", for another"], settings, there))
        pins["notices"].append(
            f"{instance['unit']} on {settings['server']} admits the former certificate of {settings['host']} until it "
            "restarts; run zeo_server there, with tasks_from=server."
        )
        pins["absent"] += [
            f"{folder}/{name}"
            for name in listing
            if name.startswith(f"{subject_hash(old)}.") and name != f"{subject}.0"
        ]


def _revoked(instance: dict, stem: str, names: list[str], settings: dict, look: dict) -> dict:
    now = settings["now"]
    day = f"{now[:4]}-{now[4:6]}-{now[6:8]} {now[8:10]}:{now[10:12]} UTC"
    before = look["read"][stem + "-revoked"] or _REVOKED % instance["unit"]
    content = before + "".join(f"{day}  {name}\n" for name in names)
    return owned({"path": stem + "-revoked", "content": content}, look, "root", "0644", "0644")


def _refused(at: int, instance: dict, settings: dict) -> list[str]:
    found = []
    if not settings["known"]:
        found.append(
            f"zeo_server_host {settings['server']}: the inventory has no such host; name the one that runs the servers."
        )
    if settings["host"] not in instance["tls"]["clients"]:
        found.append(
            f"{_where(at, instance)}: tls.clients does not name {settings['host']}; add it, or leave the entry out on "
            "this host."
        )
    return found
