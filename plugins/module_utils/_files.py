# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what zodb_files knows of paths, modes and owners before it touches any.

Pure functions over strings, and looks at the file system. Nothing here writes.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat

_MODE = re.compile(r"0[0-7]{3,4}|[1-7][0-7]{3}")


class Refused(Exception):
    """What is wrong and what to do, in one sentence."""


def mode_bits(value, where):
    """Return the permission bits of a mode as the user wrote it, or None for None.

    value: "0640", "2770" or "02770". A number is refused: YAML reads an unquoted 0640 as 416.
    where: the path, for the sentence.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise Refused("%s: mode %s is not a quoted octal mode; write it like '0640'." % (where, value))
    return int(value, 8)


def check_paths(items):
    """Refuse relative paths and paths named twice.

    items: list of (option, path). Paths are compared normalised: /a/b and /a//b/ are one.
    """
    seen = {}
    for option, path in items:
        if not os.path.isabs(path):
            raise Refused("%s: %s is not an absolute path; write it from / on." % (option, path))
        plain = os.path.normpath(path)
        if plain in seen:
            raise Refused(
                "%s: %s is named twice, in %s and in %s; keep one of them." % (option, path, seen[plain], option)
            )
        seen[plain] = option


def user_id(name):
    """Return the uid of a user given by name or number, None if there is none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isdigit() else None


def group_id(name):
    """Return the gid of a group given by name or number, None if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else None


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def kind(status):
    """Return what an os.lstat result is: file, directory, link or other."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    if stat.S_ISLNK(status.st_mode):
        return "link"
    return "other"


def lstat(path):
    """Return os.lstat, or None if nothing is there."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def reason(error):
    """Return the system's words for an OSError, without the number and the path."""
    return (error.strerror or str(error)).lower()


def foreign_link(path):
    """Return the first link on the way to a path which somebody else could have placed there, or None.

    Root that follows a link in a folder of the service's account would chown whatever that account points it at.
    A link is trusted if it and the folder it lies in belong to root or to the running user, and nobody else may
    write that folder.
    """
    trusted = (0, os.geteuid())
    at = "/"
    for part in os.path.normpath(path).split("/")[1:]:
        folder, at = at, os.path.join(at, part)
        status = lstat(at)
        if status is None:
            return None
        if stat.S_ISLNK(status.st_mode):
            around = os.stat(folder)
            if status.st_uid not in trusted or around.st_uid not in trusted:
                return at
            if around.st_mode & 0o022 and not around.st_mode & stat.S_ISVTX:
                return at
            at = os.path.realpath(at)
    return None


def missing_parents(path):
    """Return the folders above a path that are not there, the outermost first."""
    missing = []
    parent = os.path.dirname(path)
    while lstat(parent) is None:
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing
