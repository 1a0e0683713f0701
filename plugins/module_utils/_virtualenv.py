# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private: what a virtualenv of the roles is made of. Pure functions, no Ansible."""

from __future__ import annotations

import hashlib
import pathlib
import re

PYTHONS = ("3.11", "3.12", "3.13")
DISTRIBUTION = "zodb_tools"


def releases(files: str, purpose: str) -> list[str]:
    """Return the names of the lock files that ship for a purpose, the oldest first.

    files: folder C(files) of the role zodb_common; purpose: C(zeo) for C(locks/zeo-<release>.txt).
    """
    return sorted(lock.stem[len(purpose) + 1 :] for lock in pathlib.Path(files, "locks").glob(purpose + "-*.txt"))


def canonical(name: str) -> str:
    """Return the name of a distribution as the index has it, whichever way it is written."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> list[dict[str, str | None]]:
    """Return the pins of a lock file: name (normalised), version, marker (null if the pin is for every Python)."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", text, re.MULTILINE)
    return [
        {"name": canonical(name), "version": version, "marker": marker.strip() or None}
        for name, version, marker in found
    ]


def describe(files: str, purpose: str, release: str, extra_packages: list[str], folder: str) -> dict:
    """Return the virtualenv for a release: its lock, and its folder for each Python.

    release: C(latest), or a name out of releases(); extra_packages: further requirements; folder: absolute path of the
    virtualenvs. Returns release (null if it does not ship), releases, lock (name of the file), sources (of the lock and
    of our distribution: relative path -> path on the controller), pins, extra_packages, and by_python: version of
    Python -> absolute path. The path's last part is the hash of everything that goes into the virtualenv, so another
    content is another folder, and the same is never installed twice.
    """
    names = releases(files, purpose)
    chosen = names[-1] if release == "latest" and names else release
    result: dict = {
        "release": None,
        "releases": names,
        "extra_packages": list(extra_packages),
        "by_python": {},
        "pins": [],
        "sources": {},
    }
    if chosen not in names:
        return result
    lock = pathlib.Path(files, "locks", "%s-%s.txt" % (purpose, chosen))
    distribution = pathlib.Path(files, DISTRIBUTION)
    digest = hashlib.sha256(lock.read_bytes())
    sources = [
        p
        for p in [distribution / "pyproject.toml", *sorted((distribution / "src").rglob("*"))]
        if p.suffix in (".py", ".toml", ".xml")
    ]
    for source in sources:
        digest.update(source.relative_to(distribution).as_posix().encode() + b"\0" + source.read_bytes())
    digest.update("\n".join(extra_packages).encode())
    for python in PYTHONS:
        named = digest.copy()
        named.update(python.encode())
        result["by_python"][python] = "%s/%s-%s-py%s-%s" % (
            folder.rstrip("/"),
            purpose,
            chosen,
            python,
            named.hexdigest()[:10],
        )
    result.update(release=chosen, lock=lock.name, pins=pins(lock.read_text(encoding="utf-8")))
    result["sources"] = {lock.name: str(lock)}
    result["sources"].update((p.relative_to(distribution.parent).as_posix(), str(p)) for p in sources)
    return result
