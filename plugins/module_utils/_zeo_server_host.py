# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what keeps a host from serving the entries of C(zeo_server_instances). Pure functions.

host is the result of M(pyams.zodb.zodb_host_info) for the questions of _zeo_server.questions(): a rule that looks for
what was not asked raises KeyError, so that none is passed over in silence.
"""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils import _role_host, _zeo_conf
from ansible_collections.pyams.zodb.plugins.module_utils._role_host import ENTER, MB, READ, WRITE, Account
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import (
    SOCKET_PATH,
    above,
    address,
    show,
    temporary,
)

ROLE = "zeo_server"
FOLDERS = ("config_dir", "data_dir", "log_dir", "run_dir", "venv_dir")  # in which an ordinary user has to write
SERVER_SPACE = 100  # MB for a new storage: the first transactions, the index and the log
OURS = "pyams.zodb"  # in the header of every file of the role


def refusals(sound: list[tuple[str, dict]], settings: dict, host: dict) -> list[str]:
    """Return a sentence for everything that is wrong on a host.

    sound: (beginning of the entry's sentences, completed entry) of the entries that are right in themselves.
    """
    account = Account(settings, host)
    manager = _manager(settings, host)
    found = [*_role_host.platform_rules(ROLE, settings, host), *_manager_rules(settings, host)]
    found += _role_host.account_rules(ROLE, FOLDERS, settings, host, account)
    found += _role_host.virtualenv_rules(ROLE, settings, host)
    # A server that is to be absent is stopped before any is started, so its port and its data are free.
    leaving = [instance for where, instance in sound if instance["state"] == "absent"]
    for where, instance in sound:
        own = [instance, *leaving]
        found += [where + sentence for sentence in _entry_rules(instance, own, settings, host, account, manager)]
    return found


def own_files(instance: dict) -> list[str]:
    """Return the files of an entry whose text tells whether the role wrote them."""
    name = instance["name"]
    return [instance["conf"], f"/etc/systemd/system/zeo-{name}.service", f"/etc/init.d/zeo-{name}"]


def _manager(settings: dict, host: dict) -> str:
    wanted = settings["service_manager"]
    if wanted != "auto":
        return wanted
    return "systemd" if host["host"]["euid"] == 0 and host["host"]["systemd"] else "zdaemon"


def _manager_rules(settings: dict, host: dict) -> Iterator[str]:
    about = host["host"]
    if settings["service_manager"] == "systemd" and not about["systemd"]:
        yield "zeo_server_service_manager systemd: systemd does not run this host; choose zdaemon, or auto."
    elif settings["service_manager"] == "systemd" and about["euid"] != 0:
        yield (
            f"zeo_server_service_manager systemd: only root can install units, and the task runs as {about['user']}; "
            "set become: true, or choose zdaemon."
        )


# An entry on the host


def _entry_rules(
    instance: dict, own: list[dict], settings: dict, host: dict, account: Account, manager: str
) -> Iterator[str]:
    """own: the entries whose servers may hold what this one needs, itself first."""
    adopting = bool(instance["adopt"]) and host["read"][instance["conf"]] is None
    if account.root:
        yield from _foreign_rules(instance, host)
    if instance["state"] == "absent":
        if instance["remove_data"]:
            for number, storage in enumerate(instance["storages"]):
                yield from _lock_rules(
                    f"storages[{number}].path {storage['path']}", storage, own, host, "stop that first."
                )
        return
    if adopting:
        yield from _tree_rules(instance, host)
    yield from _listen_rules(instance, own, host)
    yield from _run_rules(instance, settings, host, account, manager)
    for number, storage in enumerate(instance["storages"]):
        yield from _data_rules(number, storage, instance, own, host, account)
        yield from _place_rules(number, storage, instance, settings, host, account, manager)
        yield from _moved_rules(number, storage, instance, host)
        if not settings.get("moves"):
            yield from _left_rules(number, storage, settings, host)
    if instance["tls"] and not instance["tls_managed"]:
        yield from _certificate_rules(instance["tls"], host, account)


def _foreign_rules(instance: dict, host: dict) -> Iterator[str]:
    """A unit of the same name that somebody else wrote serves something, which an empty storage would replace."""
    conf, *services = own_files(instance)
    adopting = instance["adopt"] and instance["state"] == "present"
    if adopting or host["read"][conf] is not None:
        return
    for path in services:
        text = host["read"][path]
        if text is not None and OURS not in text:
            remedy = "choose another name, or name the tree that it serves in adopt."
            if instance["adopt"]:
                remedy = "take the entry out, for the tree was never adopted."
            yield f"name {instance['name']} is that of {path}, which this role did not write; {remedy}"


def _tree_rules(instance: dict, host: dict) -> Iterator[str]:
    """What the old configuration says, before the tree is taken over for the first time."""
    tree = instance["adopt"]
    if host["paths"][tree]["type"] not in ("directory", "link"):
        yield f"adopt {tree} is no folder on this host; name the one that holds etc and var of the old server."
        return
    text = host["read"][instance["adopted_conf"]]
    if text is None:
        yield (
            f"adopt {tree} has no {posixpath.relpath(instance['adopted_conf'], tree)} that can be read; name the "
            "entry as the tree's project_slug."
        )
        return
    old = _zeo_conf.parse(text, tree)
    conf = instance["adopted_conf"]
    try:
        before = address(old["address"]) if old["address"] else None
    except ValueError:
        before = None
    if before and (before.port, before.socket) != (instance["port"], instance["socket"]):
        yield (
            f"address {instance['address']} is not that of {conf}, which its clients know: {old['address']}; say "
            f"address: {old['address']}, and change it after the adoption."
        )
    names = [storage["name"] for storage in instance["storages"]]
    for name in sorted(set(old["storages"]) - set(names)):
        yield f"storages lacks {show(name)}, which {conf} serves; write storages: [{{name: {name}}}]."
    for number, storage in enumerate(instance["storages"]):
        theirs = old["storages"].get(storage["name"])
        if theirs is None:
            yield (
                f"storages[{number}].name {show(storage['name'])} is not served by {conf}; take it out until the "
                "tree is adopted."
            )
            continue
        if theirs["path"] != storage["path"]:
            yield f"storages[{number}].path {storage['path']} is not that of {conf}, {theirs['path']}; name that one."
        elif not host["file_storages"][storage["path"]]["exists"]:
            yield (
                f"storages[{number}].path {storage['path']} is not there, though {conf} names it; put the data back, "
                "or leave adopt out."
            )
        if theirs["blob_dir"] and theirs["blob_dir"] != storage["blob_dir"]:
            yield (
                f"storages[{number}].blob_dir {storage['blob_dir']} is not that of {conf}, {theirs['blob_dir']}; "
                "name that one."
            )
    held = [host["file_storages"][storage["path"]] for storage in instance["storages"]]
    if any(about["locked"] for about in held) and not host["paths"][instance["adopted_zdaemon_conf"]]["exists"]:
        yield (
            f"adopt {tree} has a server that runs and no {posixpath.relpath(instance['adopted_zdaemon_conf'], tree)} "
            "to stop it with; stop it yourself, then run this again."
        )


def _listen_rules(instance: dict, own: list[dict], host: dict) -> Iterator[str]:
    at = host["listens"][instance["address"]]
    if at["error"]:
        yield f"address {at['error']}."
    elif at["in_use"] and not _is_server(at, own, host):
        yield (
            f"address {instance['address']} is held by {_process(at['pid'], at['program'], at['unit'])}; stop that, "
            "or choose another address."
        )


def _run_rules(instance: dict, settings: dict, host: dict, account: Account, manager: str) -> Iterator[str]:
    run_dir = settings["run_dir"] if manager == "zdaemon" else f"/run/zeo-{instance['name']}"
    if instance["socket"]:
        folder = posixpath.dirname(instance["socket"])
        info = host["paths"][folder]
        kind = host["paths"][instance["socket"]]["type"]
        if kind in ("file", "directory"):
            yield f"address {instance['socket']} is a {kind} already, and no socket; choose another path."
        if folder != run_dir and not info["exists"]:
            yield (
                f"address {instance['socket']} lies in a folder that is not there; use {run_dir}, which the role makes."
            )
        elif folder != run_dir and info["type"] == "directory" and account.may(info, WRITE) is False:
            yield (
                f"address {instance['socket']} lies in a folder that {account.user} may not write ({_owned(info)}); "
                f"use {run_dir}, which the role makes."
            )
    if manager == "zdaemon":
        # zdaemon makes its socket under this name with its process id behind it, and links it.
        control = f"{run_dir}/zeo-{instance['name']}.zdsock"
        room = SOCKET_PATH - len(".4194304")
        if len(control.encode()) > room:
            yield (
                f"name {instance['name']} makes {control}, {len(control.encode())} bytes, the socket of zdaemon, and "
                f"Linux takes {room}; set zeo_server_run_dir to a shorter path."
            )


def _data_rules(
    number: int, storage: dict, instance: dict, own: list[dict], host: dict, account: Account
) -> Iterator[str]:
    """What lies at a storage's path already."""
    path = f"storages[{number}].path {storage['path']}"
    info, about = host["paths"][storage["path"]], host["file_storages"][storage["path"]]
    if info["type"] == "link":
        yield (
            f"{path} is a link to {info['target']}, which a pack would replace by the packed file; name the file "
            "itself."
        )
    elif info["type"] == "directory":
        yield f"{path} is a folder; name the file in it, such as {storage['path']}/Data.fs."
    elif info["exists"] and about["error"]:
        yield f"{path} cannot be read, {about['error'].rpartition(': ')[2]}; give {account.user} the permission."
    elif about["exists"] and about["size"] and about["magic"] == "FS21":
        yield (
            f"{path} was written by Python 2 (FS21), which no ZODB of today opens; convert a copy with zodbupdate "
            "first, see https://zodbupdate.readthedocs.io/."
        )
    elif about["exists"] and about["size"] and about["magic"] != "FS30":
        yield f"{path} is no FileStorage, it does not begin with FS30; name another file."
    elif not about["exists"] and any(name.startswith("0x") for name in host["folders"][storage["blob_dir"]] or []):
        yield (
            f"{path} is not there, and storages[{number}].blob_dir {storage['blob_dir']} holds blobs; put the file "
            "back, or move the blobs away."
        )
    if about["exists"] and info["type"] == "file" and about["owner"] != account.user:
        yield (
            f"{path} belongs to {about['owner']}:{about['group']}, and the server runs as {account.user}; "
            + _whose(about["owner"], account)
        )
    if not _adopted(about["lock_pid"], instance, host):
        remedy = "stop that first." if instance["adopt"] else "stop that, or take its tree over with adopt."
        yield from _lock_rules(path, storage, own, host, remedy)


def _lock_rules(path: str, storage: dict, own: list[dict], host: dict, remedy: str) -> Iterator[str]:
    about = host["file_storages"][storage["path"]]
    if about["locked"] and not _ours(about["lock_unit"], about["lock_program"], own):
        holder = _process(about["lock_pid"], about["lock_program"], about["lock_unit"])
        yield f"{path} is locked by {holder}; {remedy}"


def _place_rules(
    number: int, storage: dict, instance: dict, settings: dict, host: dict, account: Account, manager: str
) -> Iterator[str]:
    """The folders that a storage lies in, or is to lie in."""
    blobs, seen = host["paths"][storage["blob_dir"]], set()
    for key in ("path", "blob_dir"):
        text = f"storages[{number}].{key} {storage[key]}"
        for folder in [folder for folder in above(storage[key]) if folder not in seen]:
            seen.add(folder)
            info = host["paths"][folder]
            if info["exists"] and info["type"] not in ("directory", "link"):
                yield f"{text} lies below {folder}, which is no folder; choose another."
            if (
                info["type"] == "directory"
                and folder not in _made(instance, settings)
                and account.may(info, ENTER) is False
            ):
                yield (
                    f"{text} lies in {folder} ({_owned(info)}), which {account.user} may not enter; open it with "
                    "chmod o+x, or choose another."
                )
            elif (
                info["type"] == "directory"
                and folder == posixpath.dirname(storage["path"])
                and folder not in _made(instance, settings)
                and account.may(info, WRITE) is False
            ):
                # FileStorage makes its lock, its index and the packed file beside it.
                yield (
                    f"{text} lies in {folder} ({_owned(info)}), where {account.user} may not write; give it a folder "
                    f"of its own, such as {posixpath.join(folder, 'zodb', posixpath.basename(storage['path']))}."
                )
    hidden = [key for key in ("path", "blob_dir") if temporary(storage[key])]
    if manager == "systemd" and hidden:
        yield (
            f"storages[{number}].{hidden[0]} {storage[hidden[0]]} lies in a folder for temporary files, of which the "
            "unit has its own; put data elsewhere."
        )
    if blobs["exists"] and blobs["type"] not in ("directory", "link"):
        yield f"storages[{number}].blob_dir {storage['blob_dir']} is a {blobs['type']}; name a folder."
    if blobs["type"] == "directory" and blobs["owner"] != account.user:
        yield (
            f"storages[{number}].blob_dir {storage['blob_dir']} belongs to {blobs['owner']}:{blobs['group']}, and "
            "the server "
            f"runs as {account.user}; " + _whose(blobs["owner"], account)
        )
    free = host["paths"][storage["path"]]["free"]
    if not host["paths"][storage["path"]]["exists"] and free is not None and free < SERVER_SPACE * MB:
        yield (
            f"storages[{number}].path {storage['path']} has {free // MB} MB free, and a new storage needs "
            f"{SERVER_SPACE} MB; make room, or choose another disk."
        )


def _moved_rules(number: int, storage: dict, instance: dict, host: dict) -> Iterator[str]:
    """A storage that is served from one place is not to be served, empty, from another."""
    text = host["read"][instance["conf"]]
    old = _zeo_conf.parse(text, "/")["storages"].get(storage["name"]) if text else None
    if not old:
        return
    for key, exists in (
        ("path", host["file_storages"][storage["path"]]["exists"]),
        ("blob_dir", host["paths"][storage["blob_dir"]]["exists"]),
    ):
        if old[key] and old[key] != storage[key] and not exists:
            yield (
                f"storages[{number}].{key} {storage[key]} is not there, and {show(storage['name'])} was served from "
                f"{old[key]}; stop the server and move the data first, or name the old place."
            )


def _left_rules(number: int, storage: dict, settings: dict, host: dict) -> Iterator[str]:
    """What is written to a storage that its site has left would be lost, and no application is to be led there."""
    text = host["read"][storage["moved"]]
    if text is None or (storage["read_only"] and not settings.get("client")):
        return
    consequence, remedy = "would be written in two places", "set read_only to true"
    if storage["read_only"]:
        consequence, remedy = "would be led back by its clients' files", "include the role with tasks_from: server"
    try:
        note = json.loads(text)
        where = f"has moved to {note['to']} on {note['since']}"
        if note["phase"] != "moved":
            where = f"is on its way {'back from' if note['phase'] == 'returning' else 'to'} {note['to']}"
    except (ValueError, TypeError, KeyError):
        where = "has moved"
    yield (
        f"storages[{number}] {show(storage['name'])}: its site {where}, says {storage['moved']}, and "
        f"{consequence}; {remedy}, or move it back by pyams.zodb.migrate with migrate_phase=rollback."
    )


def _certificate_rules(tls: dict, host: dict, account: Account) -> Iterator[str]:
    wrong = list(_authority_rules(tls["ca"], host, account))
    yield from wrong
    for name in ("cert", "tools_cert"):
        path, key = tls[name], name.replace("cert", "key")
        info, about, keys = host["paths"][path], host["certificates"][path], host["paths"][tls[key]]
        reason = (about["error"] or "").rpartition(": ")[2]
        # Of a key that is not there, or not for the server, its own sentence speaks.
        usable = keys["exists"] and account.may(keys, READ) is not False
        if not info["exists"]:
            yield f"tls.{name} {path} is not there; put it there, readable for {account.user}."
        elif not about["readable"]:
            yield f"tls.{name} {path} is not to be read as a certificate, {reason}; give a PEM file."
        elif about["key_matches"] is False:
            yield (
                f"tls.{name} {path} does not belong to the key {tls[key]}; give the certificate and the key of one "
                "pair."
            )
        elif _untimely(about):
            yield f"tls.{name} {path} {_untimely(about)}; renew it."
        elif about["key_matches"] is None and usable:
            yield (
                f"tls.{key} {tls[key]} cannot be used, {reason}; give the key of {path}, in PEM and without a password."
            )
        elif about["trusted"] is False and "CRL" in reason and not wrong:
            yield (
                f"tls.{name} {path} is not accepted by {tls['ca']}, {reason}; put a current CRL of each authority "
                "into it."
            )
        elif about["trusted"] is False and not wrong:
            yield (
                f"tls.{name} {path} is not accepted by {tls['ca']}, {reason}; sign it with that authority, or name "
                "its own."
            )
        elif about["error"] and usable and not wrong:
            yield f"tls.{name} {path} cannot be used, {reason}; make it anew."
        if about["readable"]:
            yield from _unreadable(f"tls.{name}", path, info, account)
    for name in ("key", "tools_key"):
        info = host["paths"][tls[name]]
        if not info["exists"]:
            yield f"tls.{name} {tls[name]} is not there; put it there, readable for {account.user} alone."
            continue
        yield from _unreadable(f"tls.{name}", tls[name], info, account)
        if info["type"] == "file" and int(info["mode"], 8) & READ:
            yield f"tls.{name} {tls[name]} can be read by everybody ({_owned(info)}); chmod it to 0640 or 0600."


def _authority_rules(path: str, host: dict, account: Account) -> Iterator[str]:
    info, about = host["paths"][path], host["certificates"][path]
    if not info["exists"]:
        yield f"tls.ca {path} is not there; put it there, readable for {account.user}."
    elif info["type"] == "directory":
        yield f"tls.ca {path} is a folder, in which ZEO ignores CRLs; give one PEM file with authorities and CRLs."
    elif not about["readable"]:
        reason = (about["error"] or "").rpartition(": ")[2]
        yield f"tls.ca {path} is not to be read as a certificate, {reason}; give a PEM file."
    elif _untimely(about):
        yield f"tls.ca {path} {_untimely(about)}; renew it."
    else:
        yield from _unreadable("tls.ca", path, info, account)


def _untimely(about: dict) -> str | None:
    """Return how a certificate is out of its time, by the host's clock; null if it is in it."""
    if about["expired"]:
        return f"expired on {_day(about['not_after'])}"
    if about["not_before"] > about["not_after"] - about["days_left"] * 86400:
        return f"is valid only from {_day(about['not_before'])} on"
    return None


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _unreadable(option: str, path: str, info: dict, account: Account) -> Iterator[str]:
    if info["type"] == "file" and account.may(info, READ) is False:
        yield f"{option} {path} is not readable for {account.user} ({_owned(info)}); change its group or its mode."


# Words


def _owned(info: dict) -> str:
    return f"{info['owner']}:{info['group']} {info['mode']}"


def _whose(owner: str, account: Account) -> str:
    """Return what to do about data of another owner. An owner without an account is a number."""
    if not account.root:
        return f"run as {owner}, or have it given to {account.user}."
    if owner == "root" or owner.isdigit():
        return f"give it to {account.user} with chown."
    return f"set zeo_server_user: {owner}, or give it to {account.user} with chown."


def _process(pid: int | None, program: str | None, unit: str | None) -> str:
    if pid is None:
        return "a process that cannot be seen from here"
    return f"process {pid} ({', '.join(filter(None, [program, unit]))})"


def _is_server(at: dict, own: list[dict], host: dict) -> bool:
    """Whether what listens is the server of one of these entries, or the old one of the tree that the first adopts.

    In a container root may not see whose a socket is (that takes CAP_SYS_PTRACE), but it always sees who locked the
    data: as long as that is such a server, it is that server that has the address. One that serves read-only locks
    nothing: there, the configuration that it was started with has to name the address.
    """
    if at["pid"] is not None:
        return _ours(at["unit"], at["program"], own) or _adopted(at["pid"], own[0], host)
    held = [host["file_storages"].get(storage["path"]) for instance in own for storage in instance["storages"]]
    locked = [about for about in held if about and about["locked"]]
    if not locked:
        texts = [host["read"][instance["conf"]] for instance in own]
        return own[0]["address"] in [_zeo_conf.parse(text, "/")["address"] for text in texts if text and OURS in text]
    return any(
        _ours(about["lock_unit"], about["lock_program"], own) or _adopted(about["lock_pid"], own[0], host)
        for about in locked
    )


def _ours(unit: str | None, program: str | None, own: list[dict]) -> bool:
    """Whether a process is the server of one of these entries: in its unit, or run by its link to a virtualenv."""
    words = (program or "").split()
    return any(unit == instance["unit"] or f"{instance['link']}/bin/runzeo" in words for instance in own)


def _adopted(pid: int | None, instance: dict, host: dict) -> bool:
    """Whether a process is the old server of the entry's tree: a runzeo that holds its data."""
    if not instance["adopt"] or pid is None:
        return False
    holders = [host["file_storages"][storage["path"]] for storage in instance["storages"]]
    return any(about["lock_pid"] == pid and "runzeo" in (about["lock_program"] or "") for about in holders)


def _made(instance: dict, settings: dict) -> list[str]:
    """Return the folders whose permissions the role sets itself."""
    data = settings["data_dir"]
    return [
        data,
        f"{data}/{instance['name']}",
        *(f"{data}/{instance['name']}/{one['name']}" for one in instance["storages"]),
    ]
