# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what keeps a host from any role that runs as an account and from a virtualenv. Pure functions.

role: the role's name, which its variables begin with. settings: what these say, by their names without it.
host: the result of M(pyams.zodb.zodb_host_info): a rule that looks for what was not asked raises KeyError, so that
none is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils._virtualenv import canonical
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import above, inside, listed, show

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (("debian", "12"), ("debian", "13"))
MB = 1024 * 1024
VIRTUALENV_SPACE = 300  # MB for a new virtualenv; ZEO's takes 110, and pip unpacks beside it
READ, WRITE, ENTER = 4, 2, 1


class Account:
    """Who a role's services run as, and what they may: the role's user, or who runs the task if that is not root."""

    def __init__(self, settings: dict, host: dict):
        self.root = host["host"]["euid"] == 0
        self.user = settings["user"] if self.root else host["host"]["user"]
        self.group = settings["group"] if self.root else None

    def may(self, info: dict, bit: int) -> bool | None:
        """Return whether it may READ, WRITE or ENTER a path; null if only another group may, which it may be in."""
        mode = int(info["mode"], 8)
        if info["owner"] == self.user:
            return bool(mode & (bit << 6))
        if info["group"] == self.group:
            return bool(mode & (bit << 3))
        return True if mode & bit else None if mode & (bit << 3) else False


def platform_rules(role: str, settings: dict, host: dict) -> Iterator[str]:
    about, python = host["host"], host["python"]
    platform = (about["distribution"], about["version"])
    if platform not in PLATFORMS and not settings["allow_untested_platform"]:
        shown = " ".join(part for part in platform if part) or "of an unknown platform"
        yield (
            f"{role}_allow_untested_platform false: this host is {shown}, and Debian 12 and 13 are tested; set "
            "it to true to go on at your own risk."
        )
    if not python["exists"]:
        yield (
            f"{role}_python {show(python['path'])} is not there or does not run; install it, or name another Python."
        )
    elif python["version"] not in PYTHONS:
        yield (
            f"{role}_python {show(python['path'])} is Python {python['version']}, and the packages are locked "
            f"for {listed(list(PYTHONS))}; name another Python."
        )
    elif not python["venv"] and not (about["euid"] == 0 and _debian_python(python, about)):
        yield (
            f"{role}_python {show(python['path'])} cannot make virtualenvs, its modules venv and ensurepip are "
            "missing; install them (Debian: python3-venv), or name another Python."
        )


def account_rules(role: str, folders: tuple[str, ...], settings: dict, host: dict, account: Account) -> Iterator[str]:
    if not account.root:
        for folder in folders:
            there, info = nearest(settings[folder], host)
            if account.may(info, WRITE) is False:
                yield (
                    f"{role}_{folder} {settings[folder]}: {there} is not writable for {account.user}, who runs "
                    "the task; set become: true, or name a folder of your own."
                )
        return
    user, groups = host["users"][settings["user"]], host["groups"]
    if not settings["manage_user"]:
        if not user["exists"]:
            yield (
                f"{role}_user {settings['user']} is not there, and {role}_manage_user is false; create it, "
                "or set that to true."
            )
        for name in ("group", "client_group"):
            if not groups[settings[name]]["exists"] and not (
                name == "client_group" and settings[name] == settings["group"]
            ):
                yield (
                    f"{role}_{name} {settings[name]} is not there, and {role}_manage_user is false; create "
                    "it, or set that to true."
                )
    elif user["exists"] and not groups[settings["group"]]["exists"]:
        yield (
            f"{role}_group {settings['group']} is not there, and the user {settings['user']} has another group "
            f"(number {user['gid']}); set {role}_group to that one, or create {settings['group']}."
        )


def virtualenv_rules(role: str, settings: dict, host: dict) -> Iterator[str]:
    """Yield what keeps the virtualenv from being built."""
    yield from _space_rules(role, settings, host)
    yield from _wheelhouse_rules(role, settings, host)


def nearest(path: str, host: dict) -> tuple[str, dict]:
    """Return (path, what is known of it) of a path or of the nearest folder above it that is there."""
    for folder in (path, *above(path)):
        if host["paths"][folder]["exists"]:
            return folder, host["paths"][folder]
    return "/", host["paths"]["/"]


def _debian_python(python: dict, about: dict) -> bool:
    """Whether the role can install the missing package: Debian has one for its own Python."""
    return about["distribution"] == "debian" and python["path"] in ("/usr/bin/python3", "/bin/python3")


def _space_rules(role: str, settings: dict, host: dict) -> Iterator[str]:
    folder = settings["venv_dir"]
    built = any(
        inside(path, folder) and path.endswith("/.complete") and info["exists"] for path, info in host["paths"].items()
    )
    free = host["paths"][folder]["free"]
    if not built and free is not None and free < VIRTUALENV_SPACE * MB:
        yield (
            f"{role}_venv_dir {folder} has {free // MB} MB free, and a virtualenv takes {VIRTUALENV_SPACE} MB; "
            "make room, or name a folder on another disk."
        )


def _wheelhouse_rules(role: str, settings: dict, host: dict) -> Iterator[str]:
    folder = settings["wheelhouse"]
    if not folder:
        return
    if not host["wheelhouse"]["exists"]:
        yield (
            f"{role}_wheelhouse {folder} is no folder that can be read on this host; copy the wheels there, or "
            "leave it out."
        )
        return
    python = host["python"]["version"]
    there = {pair for file in host["wheelhouse"]["files"] for pair in _distributions(file, python)}
    missing = []
    for pin in settings["pins"]:
        # A pin for some versions of Python, or systems, may rightly be absent.
        partial = re.search(
            r"python_(full_)?version|sys_platform|os_name|platform_(system|machine)", pin["marker"] or ""
        )
        if not partial and (pin["name"], pin["version"].lower()) not in there:
            missing.append(f"{pin['name']}=={pin['version']}")
    for package in settings["extra_packages"]:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?!.*@)", package)
        if match and canonical(match[1]) not in {name for name, version in there}:
            missing.append(package.strip())
    if missing:
        first = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        yield (
            f"{role}_wheelhouse {folder} lacks {len(missing)} of the packages to install, for Python {python}: "
            f"{first}; add them with pip download."
        )


def _distributions(file: str, python: str | None) -> Iterator[tuple[str, str]]:
    """Yield (name, version) of a file of a wheelhouse, if a Python of this version could install it."""
    parts = file[:-4].split("-") if file.endswith(".whl") else []
    if len(parts) >= 5:
        pythons, abis = parts[-3].split("."), parts[-2].split(".")
        minor = int((python or "3.0").split(".")[1])
        if (
            "py3" in pythons
            or f"cp3{minor}" in pythons
            or (
                "abi3" in abis
                and any(tag[:3] == "cp3" and tag[3:].isdigit() and int(tag[3:]) <= minor for tag in pythons)
            )
        ):
            yield canonical(parts[0]), parts[1].lower()
    match = re.fullmatch(r"(.+)-([0-9][^-]*)\.(tar\.gz|zip)", file)
    if match:
        yield canonical(match[1]), match[2].lower()
