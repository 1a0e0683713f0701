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
    """Return the permission bits of a mode as the user wrote it, None for None.

    value: "0640", "2770" or "02770". A number is refused: YAML reads an unquoted 0640 as 416.
    where: the path, for the sentence.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise Refused(f"{where}: mode {value} is not a quoted octal number; write it like '0640'.")
    return int(value, 8)


def check_paths(items):
    """Refuse relative paths and paths named twice. items: list of (option, normalised path)."""
    seen = {}
    for option, path in items:
        if not os.path.isabs(path):
            raise Refused(f"{path}: not an absolute path; write it from / on.")
        if path in seen:
            places = f"twice in {option}" if seen[path] == option else f"in {seen[path]} and in {option}"
            raise Refused(f"{path}: named {places}; keep one of them.")
        seen[path] = option


def user_id(name):
    """Return the uid of a user given by name or number, None if there is no such name."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isdigit() else None


def group_id(name):
    """Return the gid of a group given by name or number, None if there is no such name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else None


def user_name(uid):
    """Return the name of a uid, the number as text if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    """Return the name of a gid, the number as text if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def kind(status):
    """Return what an os.lstat result is of: file, directory, link or other."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(status.st_mode), "other")


def title(status):
    """Return the words for what an os.lstat result is of, in a sentence."""
    return {"file": "a file", "directory": "a folder", "link": "a link", "other": "a special file"}[kind(status)]


def lstat(path):
    """Return os.lstat, None if nothing is there."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def content(path):
    """Return the bytes of a regular file."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read()


def reason(error):
    """Return the system's words for an OSError, without its number and path."""
    return (error.strerror or str(error)).lower()


def umask():
    """Return the umask, which can only be read by setting it."""
    now = os.umask(0o077)
    os.umask(now)
    return now


def temporary_name(folder, path):
    """Return a free name in a folder, which ends in the name of path: a validator may go by its suffix."""
    return os.path.join(folder, f".ansible_tmp{os.urandom(8).hex()}-{os.path.basename(path)[-200:]}")


def give(target, owner, group, mode):
    """Set owner, group and mode of a path or a descriptor, None leaves each.

    The mode comes last, as chown takes the set-id bits away.
    """
    if mode is None:
        mode = stat.S_IMODE(os.stat(target).st_mode)
    os.chown(target, -1 if owner is None else owner, -1 if group is None else group)
    os.chmod(target, mode)


def foreign_link(path):
    """Return the first link on the way to a path which somebody else could have placed there, or None.

    Root that follows a link in a folder of the service's account would chown whatever that account points it at.
    The links that a link leads through count too. A link is trusted if it and the folder it lies in belong to root or
    to the running user, and nobody else may write that folder.
    """
    trusted = (0, os.geteuid())
    at, parts, links = "/", path.split("/"), 0
    while parts:
        part = parts.pop(0)
        folder, at = at, os.path.normpath(os.path.join(at, part))
        status = lstat(at)
        if status is None:
            return None
        if not stat.S_ISLNK(status.st_mode):
            continue
        around = os.stat(folder)
        if status.st_uid not in trusted or around.st_uid not in trusted:
            return at
        if around.st_mode & 0o022 and not around.st_mode & stat.S_ISVTX:
            return at
        links += 1
        if links > 40:  # where Linux gives up as well
            return at
        target = os.readlink(at)
        parts = target.split("/") + parts
        at = "/" if target.startswith("/") else folder
    return None


def missing_parents(path):
    """Return the folders above a path that are not there, the outermost first."""
    missing = []
    parent = os.path.dirname(path)
    while lstat(parent) is None:
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing
