# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what an application's virtualenv lacks to open its storages, for the role zodb_client.

Nothing that is installed there changes its version. Pure functions, no Ansible.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils import _virtualenv
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import listed, show

_DATABASES = ("postgresql", "newt", "mysql", "mariadb", "oracle", "sqlite")
# Distributions with a driver of RelStorage, by the driver's name without its variants. That without a name stands for
# any of the kind, of which the first is installed; one without a wheel is never the first where another has one.
_DRIVERS = {
    "postgresql": {
        "": ("psycopg2-binary", "psycopg2", "psycopg2cffi", "pg8000"),
        "psycopg2": ("psycopg2-binary", "psycopg2"),
        "psycopg2cffi": ("psycopg2cffi",),
        "pg8000": ("pg8000",),
    },
    "mysql": {
        "": ("PyMySQL[rsa]", "mysqlclient", "mysql-connector-python"),
        "pymysql": ("PyMySQL[rsa]",),
        "mysqldb": ("mysqlclient",),
        "mysql connector/python": ("mysql-connector-python",),
    },
    "oracle": {"": ("cx_Oracle",), "cx_oracle": ("cx_Oracle",)},
}
_DRIVERS["newt"], _DRIVERS["mariadb"] = _DRIVERS["postgresql"], _DRIVERS["mysql"]


def packages(
    entries: list[dict[str, Any]], settings: dict[str, Any], installed: dict[str, str] | None
) -> dict[str, Any]:
    """Return requirements (what is missing), constraints (text for pip), and refusals (sentences).

    entries: as for layout(). settings: virtualenv and release, the role's variables without their prefix; files, the
    folder C(files) of the role zodb_common; me, who runs the tasks; owner, of the virtualenv, or none where it is not
    there. installed: versions by name, or none where the virtualenv is not there.
    """
    present = [entry for entry in entries if entry["state"] == "present"]
    there = {_virtualenv.canonical(name): version for name, version in (installed or {}).items()}
    requirements: list[str] = []
    for entry in present:
        for one in _needed(entry):
            if one[0] not in requirements and not any(_bare(name) in there for name in one):
                requirements.append(one[0])
    purpose = "relstorage" if any(entry[kind] for entry in present for kind in _DATABASES) else "zeo"
    releases = _virtualenv.releases(settings["files"], purpose)
    release = releases[-1] if settings["release"] == "latest" else settings["release"]
    found: dict[str, Any] = {"requirements": requirements, "constraints": "", "refusals": []}
    if release not in releases:
        choices = listed(["latest", *releases], "or")
        found["refusals"].append(
            f"zodb_client_release {show(settings['release'])} has no packages for these storages; choose {choices}."
        )
        return found
    lock = pathlib.Path(settings["files"], "locks", f"{purpose}-{release}.txt").read_text(encoding="utf-8")
    found["constraints"] = _constraints(there, _virtualenv.pins(lock))
    if requirements and installed is not None:
        found["refusals"] += _refusals(settings, there, requirements)
    return found


def _needed(entry: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the distributions that an entry's storage needs, each with those that do as well; none for a zconfig."""
    if entry["zeo"]:
        return [("ZEO",)]
    if entry["filestorage"]:
        return [("ZODB",)]
    found: list[tuple[str, ...]] = []
    for kind in _DATABASES:
        if entry[kind]:
            driver = re.sub(r"^(auto$|gevent |c |py )", "", (entry[kind]["driver"] or "").lower())
            found = [("RelStorage",), _DRIVERS.get(kind, {}).get(driver, ())]
    return [names for names in found if names]


def _constraints(there: dict[str, str], pins: list[dict[str, str | None]]) -> str:
    """Return what is there as it is, and what is not as the lock has it."""
    lines = [f"{name}=={version}" for name, version in sorted(there.items())]
    for pin in pins:
        if pin["name"] not in there:
            lines.append(f"{pin['name']}=={pin['version']}" + (f" ; {pin['marker']}" if pin["marker"] else ""))
    return "\n".join(lines)


def _refusals(settings: dict[str, Any], there: dict[str, str], requirements: list[str]) -> list[str]:
    where, what = f"zodb_client_virtualenv {settings['virtualenv']}", listed(requirements)
    if settings["owner"] != settings["me"] and settings["me"] != "root":
        return [
            f"{where}: it lacks {what}, and belongs to {settings['owner']}; set become: true, or have that account "
            "install it."
        ]
    if "pip" not in there:
        return [f"{where}: it lacks {what}, and has no pip; install pip there, or those packages by what made it."]
    return []


def _bare(requirement: str) -> str:
    """Return the name of a requirement without its extras."""
    return _virtualenv.canonical(requirement.partition("[")[0])
