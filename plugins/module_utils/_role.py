# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what is wrong with the variables that several roles have. Pure functions.

role: the role's name, which its variables begin with. settings: what these say, by their names without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import (
    address,
    inside,
    listed,
    show,
    wrong_account,
    wrong_calendar,
    wrong_folder,
    wrong_mail,
    wrong_name,
    wrong_path,
    wrong_size,
)

CLEANED = ("cache_dir", "venv_dir")  # where old things are deleted
# A pack that is scheduled weekly is missed when this much has gone by: one turn, and two days for a host that was off.
PACK_EXPECTED_DAYS = 9


def settings_rules(role: str, folders: tuple[str, ...], accounts: tuple[str, ...], settings: dict) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with them. folders, accounts: names of variables."""
    for folder in folders:
        wrong = wrong_folder(settings[folder])
        if wrong:
            yield f"{role}_{folder} {wrong}"
    for index, folder in enumerate(folders):
        for other in folders[:index]:
            if settings[folder] == settings[other]:
                yield (
                    f"{role}_{folder} {settings[folder]} is {role}_{other} too, which has other permissions; "
                    "name a folder for each."
                )
            for inner, outer in ((folder, other), (other, folder)):
                if outer in CLEANED and inside(settings[inner], settings[outer]):
                    yield (
                        f"{role}_{inner} {settings[inner]} lies in {role}_{outer} {settings[outer]}, where "
                        "old things are deleted; name a folder beside it."
                    )
    for name in accounts:
        wrong = wrong_account(settings[name])
        if wrong:
            yield f"{role}_{name} {wrong}"
    if settings.get("user") == "root":
        yield (
            f"{role}_user root would give whoever reaches a server the whole host; name an account of its own, "
            "such as zodb."
        )
    if settings["release"] not in ("latest", *settings["releases"]):
        yield (
            f"{role}_release {show(settings['release'])} does not ship with this collection; choose "
            f"{listed(['latest', *settings['releases']], 'or')}."
        )
    if "/" in settings["python"] and not settings["python"].startswith("/"):
        yield f"{role}_python {show(settings['python'])} is a relative path; write it from / on."
    if settings["wheelhouse"]:
        wrong = wrong_path(settings["wheelhouse"])
        if wrong:
            yield f"{role}_wheelhouse {wrong}"
    for index, package in enumerate(settings["extra_packages"]):
        wrong = _wrong_package(package)
        if wrong:
            yield f"{role}_extra_packages[{index}] {wrong}"
    try:
        if address(settings["mail_server"]).socket:
            raise ValueError(f"{show(settings['mail_server'])} is a path; write host:port, such as localhost:25.")
    except ValueError as error:
        yield f"{role}_mail_server {str(error).replace(':8100', ':25')}"
    if settings.get("mail_sender"):
        wrong = wrong_mail(settings["mail_sender"])
        if wrong:
            yield f"{role}_mail_sender {wrong}"


def entry_rules(storage: dict, before: list[dict]) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with how an entry is named, and whether it is to be there."""
    name = storage["name"]
    if wrong_name(name):
        yield f"name {wrong_name(name)}"
    if name == "tls":
        yield "name tls is that of a folder of certificates; choose another."
    if name in [other["name"] for other in before]:
        yield f"name {show(name)} is that of an entry before; give each entry its own."
    if storage["remove_data"] and storage["state"] != "absent":
        yield "remove_data true contradicts state present; say state: absent, or leave remove_data out."


def client_rules(client: dict) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with how clients open a storage of RelStorage."""
    if wrong_size(client["blob_cache_size"]):
        yield f"client.blob_cache_size {wrong_size(client['blob_cache_size'])}"
    for name in ("pool_size", "connection_cache_size", "cache_local_mb"):
        if client[name] < 1:
            yield f"client.{name} {client[name]} is too small to work with; write a number above 0."


def pack_rules(pack: dict, keep_history: bool) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with the pack of an entry that is a storage of RelStorage."""
    if pack["days"] < 0:
        yield f"pack.days {pack['days']} would keep what is yet to come; write 0 to keep no history, or more."
    if pack["batch_timeout"] < 1:
        yield f"pack.batch_timeout {pack['batch_timeout']} is no time in seconds; write a number above 0."
    if wrong_calendar(pack["schedule"]):
        yield f"pack.schedule {wrong_calendar(pack['schedule'])}"
    for number, mail in enumerate(pack["report"]):
        if wrong_mail(mail):
            yield f"pack.report[{number}] {wrong_mail(mail)}"
    if pack["enabled"] and not pack["gc"] and not keep_history:
        yield (
            "pack.gc false leaves a pack nothing to do where no history is kept; set pack.enabled to false, or "
            "pack.gc to true."
        )


def _wrong_package(package: str) -> str | None:
    """A requirement becomes an argument of pip, and the name of a folder is made of it."""
    if re.search(r"://[^/@\s]*:[^/@\s]*@", package):
        return "holds a password, which every user of the host could read; put it into root's ~/.netrc."
    if not package.strip() or package.strip().startswith("-"):
        return (
            f"{show(package)} is no requirement but an option of pip; write a package's name, with a version or "
            "without."
        )
    return None
