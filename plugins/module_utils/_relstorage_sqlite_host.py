# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what a host has against entries of C(relstorage_sqlite_storages).

Pure functions. host is the result of M(pyams.zodb.zodb_host_info) for the questions of _relstorage_sqlite: a rule that
looks for what was not asked raises KeyError.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils import _role_host
from ansible_collections.pyams.zodb.plugins.module_utils._role_host import ENTER, MB, WRITE, Account
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import above

ROLE = "relstorage_sqlite"
FOLDERS = ("config_dir", "data_dir", "venv_dir")  # in which an ordinary user has to write
SPACE = 100  # MB for a new storage: the first transactions, and their log beside them
# Processes of two hosts do not see each other's locks there, nor the index of the log, which is shared memory.
NETWORK = re.compile(r"nfs4?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gfs2|ocfs2|gpfs|fuse\.(sshfs|glusterfs|ceph-fuse|s3fs)")


def refusals(sound: list[tuple[str, dict]], settings: dict, host: dict) -> list[str]:
    """Return a sentence for everything that is wrong on a host.

    sound: (beginning of the entry's sentences, completed entry) of the entries that are right in themselves.
    """
    # As root, all is the application's: no account of the role's own comes in between.
    own = {**settings, "user": settings["client_user"], "group": None}
    account = Account(own, host)
    found = list(_role_host.platform_rules(ROLE, settings, host))
    if account.root:
        found += _account_rules([storage for _where, storage in sound], settings, host)
    else:
        found += _role_host.account_rules(ROLE, FOLDERS, own, host, account)
    found += _role_host.virtualenv_rules(ROLE, settings, host)
    for where, storage in sound:
        rules = _absent_rules(storage, host) if storage["state"] == "absent" else _present_rules(storage, host, account)
        found += [where + sentence for sentence in rules]
    return found


def _present_rules(storage: dict, host: dict, account: Account) -> Iterator[str]:
    yield from _folder_rules(storage, host, account)
    yield from _owner_rules(storage, host, account)
    yield from _database_rules(storage, host)
    yield from _decision_rules(storage, host)
    if storage["pack"]["enabled"] and not (host["host"]["euid"] == 0 and host["host"]["systemd"]):
        yield "pack.enabled true takes root and systemd for its timer; set it to false, and run zodb-pack yourself."


def _absent_rules(storage: dict, host: dict) -> Iterator[str]:
    pids = host["sqlite_databases"][storage["main"]]["pids"]
    if storage["remove_data"] and pids:
        yield (
            f"remove_data true would delete {storage['main']}, which process {pids[0]} has open; stop the application "
            "first."
        )


def _account_rules(storages: list[dict], settings: dict, host: dict) -> Iterator[str]:
    user = settings["client_user"]
    if not any(storage["state"] == "present" for storage in storages):
        return
    if not user:
        yield (
            f"{ROLE}_client_user is empty, and every process of the application must write the data; name the account "
            "that they run as."
        )
    elif not host["users"][user]["exists"] and not settings["check_mode"]:
        yield f"{ROLE}_client_user {user} is not there, and the data would be its own; create it, or name another."


def _folder_rules(storage: dict, host: dict, account: Account) -> Iterator[str]:
    for key in ("data_dir", "blob_dir"):
        path = storage[key]
        if not path:
            continue
        info = host["paths"][path]
        there, nearest = _role_host.nearest(path, host)
        if info["exists"] and info["type"] not in ("directory", "link"):
            yield f"{key} {path} is a {info['type']}; name a folder."
            continue
        if NETWORK.fullmatch(info["file_system"] or "") and key == "data_dir":
            yield (
                f"data_dir {path} lies on {info['file_system']}, a file system of the network, where SQLite's log does "
                "not work; name a folder on a disk of this host."
            )
        if not account.root and path in storage["given"] and account.may(nearest, WRITE) is False:
            yield f"{key} {path}: {there} is not writable for {account.user}, who runs the task; name another folder."
        elif account.user:
            closed = [folder for folder in above(path) if _closed(host["paths"][folder], account)]
            if closed:
                yield (
                    f"{key} {path} lies in {closed[-1]}, which {account.user} may not enter; let it, or name another "
                    "folder."
                )
    free = host["paths"][storage["data_dir"]]["free"]
    if not host["sqlite_databases"][storage["main"]]["exists"] and free is not None and free < SPACE * MB:
        yield (
            f"data_dir {storage['data_dir']} has {free // MB} MB free, and a new storage takes {SPACE} MB; make room, "
            "or name a folder on another disk."
        )


def _closed(info: dict, account: Account) -> bool:
    return bool(info["exists"] and info["type"] == "directory" and account.may(info, ENTER) is False)


def _owner_rules(storage: dict, host: dict, account: Account) -> Iterator[str]:
    """Whose what is there is. Folders that the role chose are given to the account."""
    there = host["sqlite_databases"][storage["main"]]["exists"]
    for key, path in (
        ("data_dir", storage["main"] if there else storage["data_dir"]),
        ("blob_dir", storage["blob_dir"]),
    ):
        info = host["paths"][path] if path and path not in storage["own"] else {"exists": False}
        if info["exists"] and info["type"] != "link" and account.user and info["owner"] != account.user:
            remedy = f"name {info['owner']} as {ROLE}_client_user, or " if account.root else ""
            yield (
                f"{key} {storage[key]} belongs to {info['owner']}, and the application runs as {account.user}; "
                f"{remedy}give all of it to {account.user}."
            )


def _database_rules(storage: dict, host: dict) -> Iterator[str]:
    """What is in a folder that was there before."""
    path, database = storage["data_dir"], host["sqlite_databases"][storage["main"]]
    if not database["exists"]:
        blobs = storage["client"]["blob_dir"]
        ours = {"lost+found", posixpath.basename(blobs) if blobs and posixpath.dirname(blobs) == path else ""}
        others = sorted(set(host["folders"][path] or ()) - ours)
        if others:
            yield (
                f"data_dir {path} holds {others[0]} and no main.sqlite3, so it is something else's; "
                "name another folder."
            )
        return
    if database["error"]:
        yield f"data_dir {path} has a main.sqlite3 that cannot be read, {database['error']}; name another folder."
        return
    tables = database["tables"]
    foreign = [table for table in tables if not table.startswith("sqlite_")]
    if "object_state" in tables:
        yield from _kept_rules(storage, tables, database["blobs"])
    elif foreign:
        yield f"data_dir {path} has the table {foreign[0]} and none of RelStorage's; name another folder."


def _kept_rules(storage: dict, tables: list[str], blobs: bool) -> Iterator[str]:
    """The decisions of when a database was made."""
    path, kept = storage["data_dir"], "current_object" in tables
    if kept != storage["keep_history"]:
        said = "keeps history" if kept else "keeps no history"
        yield (
            f"data_dir {path} {said}, which was decided when it was made; set keep_history to {str(kept).lower()}, or "
            "move to a new folder with the playbook pyams.zodb.migrate."
        )
    if blobs and storage["shared_blob_dir"]:
        yield (
            f"data_dir {path} has blobs in its database, where nobody would look for them; set shared_blob_dir to "
            "false, or move to a new folder with the playbook pyams.zodb.migrate."
        )


def _decision_rules(storage: dict, host: dict) -> Iterator[str]:
    """What is known of an entry that the role has configured before."""
    text = host["read"][storage["toml"]] or ""
    shared = re.search(r"^\s*shared-blob-dir (true|false)$", text, re.MULTILINE)
    if shared and shared[1] == "true" and not storage["shared_blob_dir"]:
        yield (
            "shared_blob_dir was true, and the blobs are in files, where nobody would look for them; leave it so, or "
            "move to a new folder with the playbook pyams.zodb.migrate."
        )
    for key, line, there in (
        ("data_dir", "data-dir", host["sqlite_databases"][storage["main"]]["exists"]),
        ("blob_dir", "blob-dir", storage["blob_dir"] and host["paths"][storage["blob_dir"]]["exists"]),
    ):
        old = re.search(rf"^\s*{line} (\S+)$", text, re.MULTILINE)
        if old and storage[key] and old[1] != storage[key] and not there:
            yield (
                f"{key} {storage[key]} is not there, and {storage['name']} was in {old[1]}; stop the application and "
                "move the data first, or name the old place."
            )
