# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: certificates that the roles make and renew themselves. Pure functions, no Ansible.

An identity is one host's part in TLS, four files. STEM.anchor.crt is self-signed, never ends, and is all that the other
side knows of it; its key is read by root alone. STEM.crt is signed by the anchor, ends, and is what the process shows,
with STEM.key. So renewing STEM.crt takes nothing but a restart of its own process.

settings: config_dir, check_mode, and now (UTC, digits from the year to the microsecond). look: result of
M(pyams.zodb.zodb_host_info) for questions().
"""

from __future__ import annotations

import ipaddress
import re

LONGEST_NAME = 64  # characters of a common name, RFC 5280

_DNS_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")


def questions(question: dict, stem: str, settings: dict, purpose: str) -> None:
    """Add what identity() and certificates() must know of an identity to a question."""
    anchor = {"cert": stem + ".anchor.crt", "key": stem + ".anchor.key", "purpose": purpose}
    shown = {"cert": stem + ".crt", "key": stem + ".key", "ca": stem + ".anchor.crt", "purpose": purpose}
    question["certificates"] += [anchor, shown]
    question["paths"] += [settings["config_dir"] + "/tls", stem + ".anchor.key", stem + ".key"]
    question["read"] += [stem + suffix for suffix in (".anchor.crt", ".crt")]


def identity(
    stem: str,
    look: dict,
    settings: dict,
    *,
    name: str,
    wanted: list[str | None],
    further: list[str],
    usages: list[str],
    group: str,
    days: int,
    renew_days: int,
) -> list[dict]:
    """Return what certificate.yml of zodb_common makes of an identity that is not right, in a list; empty if it is.

    wanted: names without which the certificate is not right. further: names that a new one has too; what a resolver
    says must not renew certificates.
    """
    anchor, shown = look["certificates"][stem + ".anchor.crt"], look["certificates"][stem + ".crt"]
    names = _alternative_names([*wanted, *further])
    needed = _alternative_names(wanted)
    right = shown["trusted"] is True and shown["days_left"] >= renew_days
    right = right and set(needed) <= set(_alternative_names(shown["names"] or []))
    # A key of the anchor that somebody keeps elsewhere is missed when it is needed.
    usable = bool(anchor["key_matches"]) and not anchor["expired"]
    new_anchor = not right and not usable
    keys = []
    for suffix, owner_group, mode in ((".anchor.key", "root", "0600"), (".key", group, "0640")):
        path = stem + suffix
        there = look["paths"][path]
        key = owned({"path": path}, look, owner_group, mode, "0600")
        if suffix == ".key" or there["exists"] or new_anchor:
            remade = not right if suffix == ".key" else new_anchor
            keys.append({**key, "exists": there["exists"], "regenerate": "full_idempotence" if remade else "never"})
    if right and all(_permitted(key, look["paths"][key["path"]]) for key in keys):
        return []
    # In check mode the keys are as they were; what takes them cannot be foretold where they are missing or broken.
    sound = all(key["exists"] for key in keys)
    sound = sound and all(one["key_matches"] is not None or not one["readable"] for one in (anchor, shown))
    possible = sound or not settings["check_mode"]
    return [
        {
            "name": name[:LONGEST_NAME],
            "stem": stem,
            "names": names,
            "usages": usages,
            "days": days,
            "serial": settings["now"],
            "private_keys": keys,
            "folder_exists": look["paths"][settings["config_dir"] + "/tls"]["exists"],
            "new_anchor": new_anchor and possible,
            "new_certificate": not right and possible and not (new_anchor and settings["check_mode"]),
            **owned({}, look, "root", "0644", "0644"),
        }
    ]


def certificates(stem: str, look: dict) -> list[dict]:
    """Return the certificates of an identity as they are: what is wrong with owner and mode is repaired."""
    paths = [stem + ".anchor.crt", stem + ".crt"]
    return [
        owned({"path": path, "content": look["read"][path]}, look, "root", "0644", "0644")
        for path in paths
        if look["read"][path]
    ]


def folders(settings: dict, look: dict) -> list[dict]:
    folders = (settings["config_dir"], settings["config_dir"] + "/tls")
    return [owned({"path": folder}, look, "root", "0755", "0755") for folder in folders]


def owned(what: dict, look: dict, group: str, mode: str, mode_alone: str) -> dict:
    """Return a file or a folder with owner, group and mode; an ordinary user has but the mode to give."""
    if look["host"]["euid"] == 0:
        return {**what, "mode": mode, "owner": "root", "group": group}
    return {**what, "mode": mode_alone, "owner": None, "group": None}


def _permitted(key: dict, there: dict) -> bool:
    return there["exists"] and all(key[what] in (None, there[what]) for what in ("mode", "owner", "group"))


def _alternative_names(names: list[str | None]) -> list[str]:
    """Return subjectAltName as openssl_csr takes it, without what is no name, nor an address, nor one to connect to."""
    found = []
    for name in names:
        try:
            address = ipaddress.ip_address(name or "0.0.0.0")
            text = None if address.is_unspecified else f"IP:{address}"
        except ValueError:
            text = f"DNS:{name.lower()}" if _DNS_NAME.fullmatch(name) else None
        if text and text not in found:
            found.append(text)
    return found
