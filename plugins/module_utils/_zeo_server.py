# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the entries of C(zeo_server_instances), completed, and what is wrong with them.

Pure functions, no Ansible. Entries are typed and carry the defaults of the argument spec; a key without a value is
null. settings is what the role's other variables say, by their names without C(zeo_server_), and beside them manager
(C(systemd) or C(zdaemon), null until the host was looked at), releases and pins (of _virtualenv.describe()), and
old_variables (names), client (whether clients' files are laid too, false if absent), and moves (whether it is the role
migrate that asks, false if absent).
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterator
from typing import Callable

from ansible_collections.pyams.zodb.plugins.module_utils import _role, _storage, _zeo_layout, _zeo_server_host
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import (
    SOCKET_PATH,
    Address,
    above,
    address,
    inside,
    listed,
    show,
    systems_own,
    tidy,
    wrong_calendar,
    wrong_cron,
    wrong_host_name,
    wrong_mail,
    wrong_name,
    wrong_path,
    wrong_size,
    wrong_storage_name,
    wrong_title,
)

FOLDERS = ("config_dir", "data_dir", "log_dir", "cache_dir", "run_dir", "venv_dir")


def complete(entries: list[dict], settings: dict) -> list[dict]:
    """Return the entries with every value that follows from others, and with what _zeo_layout.locate() adds.

    Beside the spec's keys: host and port (null for a socket), socket (null for a port), loopback, tls_managed; for each
    storage served and asked, the ZConfig sections of the server and of its tools (null where something is wrong), and
    moved, the path of the note that its site has moved away.
    Nothing is refused here: a value that is wrong stays as it is. Its own result comes back unchanged.
    """
    settings = _tidied(settings)
    return [_completed(entry, settings) for entry in entries]


def questions(entries: list[dict], settings: dict) -> dict:
    """Return what refusals() must know of the host: the options of M(pyams.zodb.zodb_host_info) by name."""
    settings = _tidied(settings)
    instances = complete(entries, settings)
    instances = [one for index, one in enumerate(instances) if not _wrong(index, entries, instances, settings)]
    present = [instance for instance in instances if instance["state"] == "present"]
    # Those of absent entries too, whose servers may hold what others need.
    storages = [
        storage for instance in instances for storage in instance["storages"] if not wrong_path(storage["path"])
    ]
    paths = [settings[folder] for folder in FOLDERS if settings[folder].startswith("/")]
    certificates = []
    for storage in storages:
        paths += [storage["path"], storage["blob_dir"]]
    for instance in present:
        paths += [f"{settings['data_dir']}/{instance['name']}", instance["socket"]]
        paths += [instance["adopt"], instance["adopted_conf"], instance["adopted_zdaemon_conf"]]
        paths += instance["adopted_links"]
        if instance["tls"] and not instance["tls_managed"]:
            paths += [instance["tls"][name] for name in _OWN_SERVER]
            certificates += own_certificates(instance["tls"])
    paths = [path for path in paths if path]
    return {
        "users": [settings["user"]],
        "groups": sorted({settings["group"], settings["client_group"]}),
        "python": settings["python"],
        "paths": sorted({*paths, *(folder for path in paths for folder in above(path))}),
        "listens": [instance["address"] for instance in present],
        "file_storages": sorted({storage["path"] for storage in storages}),
        "certificates": certificates,
        "folders": sorted({storage["blob_dir"] for instance in present for storage in instance["storages"]}),
        "wheelhouse": settings["wheelhouse"],
        "read": sorted(
            {path for instance in instances for path in _zeo_server_host.own_files(instance)}
            | {storage["moved"] for one in present for storage in one["storages"]}
            | {path for one in present if one["adopt"] for path in [one["adopted_conf"], *one["adopted_links"]]}
        ),
    }


def refusals(entries: list[dict], settings: dict, host: dict | None = None) -> list[str]:
    """Return what is wrong, a sentence each: with the settings, with each entry, and then with the host for them.

    host: the result of M(pyams.zodb.zodb_host_info) for questions(); without it, only what is wrong on any host is
    told.
    The host is not judged by an entry that is wrong in itself.
    """
    settings = _tidied(settings)
    instances = complete(entries, settings)
    found = list(_settings_rules(settings))
    sound = []
    for index, instance in enumerate(instances):
        wrong = _wrong(index, entries, instances, settings)
        found += [_where(index, instance) + sentence for sentence in wrong]
        if not wrong:
            sound.append((_where(index, instance), instance))
    if host is not None:
        found += _zeo_server_host.refusals(sound, settings, host)
    return found


def own_certificates(tls: dict) -> list[dict]:
    """Return the certificates of somebody's own authority that a server's host has, as zodb_host_info asks for them."""
    pairs = [
        {"cert": tls["cert"], "key": tls["key"], "ca": tls["server_ca"] or tls["ca"], "purpose": "server"},
        {"cert": tls["tools_cert"], "key": tls["tools_key"], "ca": tls["ca"], "purpose": "client"},
    ]
    return pairs + [{"cert": tls["ca"]} for pair in pairs[:1] if tls["ca"] not in (tls["cert"], tls["tools_cert"])]


_OWN_SERVER = ("ca", "cert", "key", "tools_cert", "tools_key")
_OWN = (*_OWN_SERVER, "server_ca", "client_cert", "client_key")


def _tidied(settings: dict) -> dict:
    folders = {name: tidy(str(settings[name])) for name in FOLDERS}
    return {"manager": None, **settings, **folders, "wheelhouse": settings.get("wheelhouse") or None}


def _completed(entry: dict, settings: dict) -> dict:
    instance = copy.deepcopy(entry)
    name = instance["name"]
    instance["title"] = instance["title"] or name
    at = _address(instance["address"])
    instance["address"] = str(at) if at else instance["address"]
    instance.update(
        host=at and at.host, port=at and at.port, socket=at and at.socket, loopback=bool(at and at.loopback)
    )
    instance["tls_managed"] = bool(instance["tls"]) and instance["tls"]["clients"] is not None
    instance["adopt"] = tidy(instance["adopt"]) if instance["adopt"] else None
    if instance["storages"] is None:
        instance["storages"] = [{"name": name, "path": None, "blob_dir": None, "read_only": False, "zconfig": None}]
    for storage in instance["storages"]:
        folder = f"{settings['data_dir']}/{name}/{storage['name']}"
        if instance["adopt"]:
            folder = instance["adopt"] + "/var"
        storage["path"] = tidy(storage["path"] or folder + "/Data.fs")
        storage["blob_dir"] = tidy(storage["blob_dir"] or posixpath.dirname(storage["path"]) + "/blobs")
    pack = instance["pack"]
    if pack["enabled"] is None:
        pack["enabled"] = not instance["adopt"] and not any(storage["read_only"] for storage in instance["storages"])
    if pack["gc"] is None:
        pack["gc"] = len(instance["storages"]) == 1
    if pack["keep_old"] is None:
        pack["keep_old"] = all(_beside(storage) for storage in instance["storages"])
    instance.update(_zeo_layout.locate(instance, settings))
    for storage in instance["storages"]:
        storage["served"] = _rendered(_zeo_layout.served, storage, instance)[0]
        storage["asked"] = _rendered(_zeo_layout.asked, storage, instance)[0] if at else None
        storage["moved"] = _zeo_layout.moved(storage, instance, settings)
    return instance


def _beside(storage: dict) -> bool:
    """Whether the server may write in the folder that holds blob_dir, where a pack puts the old blobs."""
    folder = posixpath.dirname(storage["path"])
    return posixpath.dirname(storage["blob_dir"]) == folder or inside(posixpath.dirname(storage["blob_dir"]), folder)


def _rendered(render: Callable[[dict, dict], str], storage: dict, instance: dict) -> tuple[str | None, str | None]:
    """Return (ZConfig, null), or (null, what is wrong)."""
    try:
        return render(storage, instance), None
    except _storage.Refused as refused:
        return None, str(refused)


def _address(text: str) -> Address | None:
    try:
        return address(text)
    except ValueError:
        return None


def _where(index: int, instance: dict) -> str:
    return f'zeo_server_instances[{index}] "{instance["name"]}": '


def _wrong(index: int, entries: list[dict], instances: list[dict], settings: dict) -> list[str]:
    """Return what is wrong with an entry in itself; the rules of descriptions speak last, and only if no other did."""
    return list(_entry_rules(index, entries, instances, settings)) or list(
        _description_rules(instances[index], settings)
    )


# The role's variables

# True: nobody else has a variable of this name. A project_name may well be the play's own, so without one of those it
# says nothing.
_OLD_VARIABLES = {
    "zeo_server_port": (True, "address in an entry of zeo_server_instances"),
    "zeo_storage": (True, "storages in an entry of zeo_server_instances"),
    "zeo_pack_report": (True, "pack.report in an entry of zeo_server_instances"),
    "pyams_release": (True, "zeo_server_release"),
    "project_name": (False, "title in an entry of zeo_server_instances"),
    "project_slug": (False, "name in an entry of zeo_server_instances"),
    "eggs_directory": (False, "zeo_server_wheelhouse"),
    "run_user": (False, "zeo_server_user"),
    "run_group": (False, "zeo_server_group"),
    "logs_directory": (False, "zeo_server_log_dir"),
}


def _settings_rules(settings: dict) -> Iterator[str]:
    old = [name for name in _OLD_VARIABLES if name in settings["old_variables"]]
    if any(_OLD_VARIABLES[name][0] for name in old):
        for name in old:
            yield f"{name}: nothing reads this variable of the old scaffold; say {_OLD_VARIABLES[name][1]} instead."
    yield from _role.settings_rules("zeo_server", FOLDERS, ("user", "group", "client_group"), settings)


# An entry


def _entry_rules(index: int, entries: list[dict], instances: list[dict], settings: dict) -> Iterator[str]:
    entry, instance, before = entries[index], instances[index], instances[:index]
    yield from _name_rules(instance, before)
    yield from _removal_rules(instance, instances)
    if instance["state"] == "absent":
        if instance["remove_data"]:
            yield from _path_rules(entry, instance, settings)
        return
    yield from _gone_rules(instance)
    yield from _address_rules(instance, before)
    yield from _tls_rules(instance)
    yield from _pair_rules(instance, before)
    yield from _storage_rules(entry, instance)
    yield from _path_rules(entry, instance, settings)
    yield from _claim_rules(index, entries, instances)
    yield from _zconfig_rules("zconfig", instance["zconfig"], "zeo", _ZEO_KEYS)
    for number, storage in enumerate(instance["storages"]):
        yield from _zconfig_rules(f"storages[{number}].zconfig", storage["zconfig"], "filestorage", _FILESTORAGE_KEYS)
    yield from _number_rules(instance)
    yield from _pack_rules(instance)
    yield from _adopt_rules(instance, before)
    yield from _client_rules(instance, before)
    if settings.get("client"):
        yield from _laid_rules(instance)


def _name_rules(instance: dict, before: list[dict]) -> Iterator[str]:
    name = instance["name"]
    wrong = wrong_name(name)
    if wrong:
        yield f"name {wrong}"
    if name == "tls":
        yield "name tls is that of the folder of certificates, beside the clients' folders; choose another."
    others = [other["name"] for other in before]
    if name in others:
        yield (
            f"name {show(name)} is already that of zeo_server_instances[{others.index(name)}]; give each entry its own."
        )
    for other in others:
        for one, base in ((name, other), (other, name)):
            # zeo-pyams-zdaemon.conf is a file of "pyams".
            if one == base + "-zdaemon":
                yield f'name {name} makes files of the same names as "{other}" does; choose another.'
    wrong = wrong_title(instance["title"])
    if wrong and instance["title"] != name:
        yield f"title {wrong}"


def _removal_rules(instance: dict, instances: list[dict]) -> Iterator[str]:
    if not instance["remove_data"]:
        return
    if instance["state"] != "absent":
        yield "remove_data true contradicts state present; say state: absent, or leave remove_data out."
        return
    if instance["adopt"]:
        yield (
            f"remove_data true would delete data of the adopted tree {instance['adopt']}; leave it out, and delete "
            "the tree by hand."
        )
    for other in instances:
        for number, storage in enumerate(other["storages"] if other["state"] == "present" else []):
            doomed = [
                (path, key)
                for key in ("path", "blob_dir")
                for path in instance["data"]
                if path == storage[key] or inside(storage[key], path)
            ]
            if doomed:
                yield (
                    f"remove_data true would delete {doomed[0][0]}, where storages[{number}].{doomed[0][1]} of "
                    f'"{other["name"]}" is; leave remove_data out.'
                )


def _gone_rules(instance: dict) -> Iterator[str]:
    for key in ("authentication_protocol", "authentication_database", "authentication_realm"):
        if instance.get(key) is not None:
            yield f"{key} is gone since ZEO 5; set tls, one certificate per client replaces the passwords."
    if instance.get("monitor_address") is not None:
        yield "monitor_address is gone since ZEO 5; take it out, the command zodb-health replaces it."


def _address_rules(instance: dict, before: list[dict]) -> Iterator[str]:
    try:
        at = address(instance["address"])
    except ValueError as error:
        yield f"address {error}"
        return
    if at.socket:
        yield from _socket_rules(at.socket)
    elif at.port < 1024:
        yield (
            f"address {at} has a port below 1024, which is root's, and the server is not root; take one from 1024 to "
            "65535."
        )
    for other in before:
        theirs = _address(other["address"]) if other["state"] == "present" else None
        if theirs == at:
            what = "socket" if at.socket else "port"
            yield f'address {at} is already that of "{other["name"]}"; give each instance its own {what}.'
        elif theirs and at.clashes(theirs):
            yield f'address {at} takes the port of "{other["name"]}", {theirs}; give each instance its own port.'
    if not at.loopback and not instance["tls"] and not instance["allow_unauthenticated"]:
        yield (
            f"address {at} lets anyone who reaches it run code in the server; set tls, or listen on 127.0.0.1, or "
            "say allow_unauthenticated."
        )
    if instance["tls"] and instance["allow_unauthenticated"]:
        yield "allow_unauthenticated true contradicts tls, which admits nobody without a certificate; keep one of them."
    if at.socket and instance["tls"]:
        yield f"tls does not go with the socket {at}, which the client group's permission guards; take tls out."


def _socket_rules(socket: str) -> Iterator[str]:
    wrong = wrong_path(socket)
    if wrong:
        yield f"address {wrong}"
    elif len(socket.encode()) > SOCKET_PATH:
        yield (
            f"address {socket} has {len(socket.encode())} bytes, and Linux takes {SOCKET_PATH} for a socket; choose "
            "a shorter path."
        )
    elif systems_own(posixpath.dirname(socket)):
        yield (
            f"address {socket} has its socket in a folder of the system; give it one of its own, such as "
            "/run/zeo-NAME/zeo.sock."
        )


def _tls_rules(instance: dict) -> Iterator[str]:
    tls = instance["tls"]
    if tls is None:
        return
    own = [name for name in _OWN if tls[name]]
    missing = [name for name in _OWN_SERVER if not tls[name]]
    if instance["tls_managed"] and own:
        yield (
            f"tls has clients, for certificates that the role makes, and {listed(own)} of your own; keep one or the "
            "other."
        )
    elif not instance["tls_managed"] and not own:
        yield (
            "tls names no certificate; give clients, for those that the role makes, or ca, cert, key, tools_cert "
            "and tools_key."
        )
    elif not instance["tls_managed"] and missing:
        yield (
            f"tls has {listed(own)}, and lacks {listed(missing)}; give all of ca, cert, key, tools_cert and tools_key."
        )
    yield from _own_rules(tls, own)
    yield from _managed_rules(instance, tls)


def _own_rules(tls: dict, own: list[str]) -> Iterator[str]:
    for name in own:
        path = tls[name]
        if path in ("SIGNED", "DYNAMIC", "-"):
            yield (
                f"tls.{name} {path} ends the server or shuts everybody out, whatever ZEO's documentation says; give "
                "a PEM file of the authorities."
            )
        elif path.startswith("/") and path.endswith("/") and name in ("ca", "server_ca"):
            yield (
                f"tls.{name} {path} is a folder, in which ZEO ignores CRLs; give one PEM file with authorities and "
                "CRLs."
            )
        elif wrong_path(path):
            yield f"tls.{name} {wrong_path(path)}"
    if bool(tls["client_cert"]) != bool(tls["client_key"]):
        given, absent = ("client_cert", "client_key") if tls["client_cert"] else ("client_key", "client_cert")
        yield f"tls.{given} {tls[given]} is of no use without tls.{absent}; give both, or neither."


def _pair_rules(instance: dict, before: list[dict]) -> Iterator[str]:
    """A certificate has one key: of somebody's own certificates of all entries up to this one."""
    keys: dict[str, tuple[str, str]] = {}
    for other in (*before, instance):
        if other["state"] != "present" or not other["tls"] or other["tls_managed"]:
            continue
        for name in ("cert", "tools_cert"):
            cert, key = other["tls"][name], other["tls"][name.replace("cert", "key")]
            if not cert or not key:
                continue
            theirs, whose = keys.setdefault(cert, (key, f'"{other["name"]}"'))
            if other is instance and theirs != key:
                where = "here" if whose == f'"{instance["name"]}"' else f"in {whose}"
                yield f"tls.{name} {cert} has the key {theirs} {where}, and {key}; give each certificate its one key."


def _managed_rules(instance: dict, tls: dict) -> Iterator[str]:
    for client in tls["clients"] or []:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", client):
            yield (
                f"tls.clients {show(client)} cannot name a certificate's file; use the host's inventory name, of "
                "letters, digits, ., _ and -."
            )
    for client in sorted({client for client in tls["clients"] or [] if tls["clients"].count(client) > 1}):
        yield f"tls.clients {client} is named {tls['clients'].count(client)} times; keep it once."
    for name in tls["names"]:
        if wrong_host_name(name):
            yield f"tls.names {wrong_host_name(name)}"
    if tls["names"] and not instance["tls_managed"]:
        yield (
            f"tls.names {listed(tls['names'])} would go into a certificate that the role makes, and yours is made; "
            "take it out."
        )
    if tls["days"] < 1 or tls["renew_days"] < 1:
        name = "days" if tls["days"] < 1 else "renew_days"
        yield f"tls.{name} {tls[name]} is no number of days; write {825 if name == 'days' else 30} or another above 0."
    elif tls["days"] <= tls["renew_days"]:
        yield (
            f"tls.days {tls['days']} is not more than tls.renew_days {tls['renew_days']}, so that every run would "
            "renew; make days the larger one."
        )


def _storage_rules(entry: dict, instance: dict) -> Iterator[str]:
    storages = instance["storages"]
    if not storages:
        yield "storages is an empty list; leave it out for one storage with the entry's name, or name one."
    for number, storage in enumerate(storages):
        names = [other["name"] for other in storages[:number]]
        if storage["name"] in names:
            yield (
                f"storages[{number}].name {show(storage['name'])} is already that of "
                f"storages[{names.index(storage['name'])}]; give each its own."
            )
        elif entry["storages"] and wrong_storage_name(storage["name"]):
            yield f"storages[{number}].name {wrong_storage_name(storage['name'])}"


def _given(entry: dict, number: int, key: str) -> bool:
    """Whether a storage's value was written, and not derived from one that has a sentence of its own."""
    return bool(entry["storages"]) and entry["storages"][number][key] is not None


def _path_rules(entry: dict, instance: dict, settings: dict) -> Iterator[str]:
    for number, storage in enumerate(instance["storages"]):
        given = [key for key in ("path", "blob_dir") if _given(entry, number, key)]
        wrong = [(key, wrong_path(storage[key])) for key in given if wrong_path(storage[key])]
        for key, sentence in wrong:
            yield f"storages[{number}].{key} {sentence}"
        if wrong or wrong_path(storage["path"]) or wrong_path(storage["blob_dir"]):
            continue
        path, blobs = (f"storages[{number}].{key} {storage[key]}" for key in ("path", "blob_dir"))
        if systems_own(storage["path"]):
            at = storage["path"].rstrip("/")
            yield f"{path} is a folder of the system; name a file, such as {at}/zodb/Data.fs."
        if systems_own(storage["blob_dir"]):
            at = storage["blob_dir"].rstrip("/")
            yield f"{blobs} is a folder of the system; name one of its own, such as {at}/blobs."
        if storage["path"] == storage["blob_dir"]:
            yield f"{blobs} is the path of the storage too; blobs need a folder of their own, such as blobs beside it."
        elif inside(storage["path"], storage["blob_dir"]):
            yield f"{path} lies in the storage's own blob_dir {storage['blob_dir']}; put it beside that folder."
        for key in given:
            for folder in _role.CLEANED:
                if inside(storage[key], settings[folder]):
                    yield (
                        f"storages[{number}].{key} {storage[key]} lies in zeo_server_{folder}, where old things are "
                        "deleted; put data elsewhere."
                    )
        for folder in FOLDERS:
            if storage["blob_dir"] == settings[folder] or inside(settings[folder], storage["blob_dir"]):
                yield (f"{blobs} holds zeo_server_{folder} {settings[folder]}; give the blobs a folder of their own.")


def _claim_rules(index: int, entries: list[dict], instances: list[dict]) -> Iterator[str]:
    """No file belongs to two storages: of the entries up to this one, and within it."""
    claims = [
        (at, number, storage)
        for at, instance in enumerate(instances[: index + 1])
        for number, storage in enumerate(instance["storages"])
        if instance["state"] == "present" and not wrong_path(storage["path"]) and not wrong_path(storage["blob_dir"])
    ]
    for later, (at, number, storage) in enumerate(claims):
        for other_at, other_number, other in claims[:later] if at == index else []:
            whose = f'"{instances[other_at]["name"]}"' if other_at != at else f"storages[{other_number}]"
            if storage["path"] == other["path"]:
                # Where both are derived, a name or a tree is there twice, and has its sentence.
                if _given(entries[at], number, "path") or _given(entries[other_at], other_number, "path"):
                    yield (
                        f"storages[{number}].path {storage['path']} is already that of {whose}; give each storage "
                        "its own."
                    )
            else:
                yield from _path_claim(f"storages[{number}]", storage, whose, other)
            if storage["path"] != other["path"] or (
                _given(entries[at], number, "blob_dir") and _given(entries[other_at], other_number, "blob_dir")
            ):
                yield from _blob_claim(f"storages[{number}].blob_dir {storage['blob_dir']}", storage, whose, other)


def _path_claim(option: str, storage: dict, whose: str, other: dict) -> Iterator[str]:
    path = f"{option}.path {storage['path']}"
    for one, base in ((storage["path"], other["path"]), (other["path"], storage["path"])):
        if one in [base + suffix for suffix in _zeo_layout.DATA_SUFFIXES]:
            yield (
                f"{path} and {other['path']} of {whose} overwrite each other, since ZODB writes {one} beside {base}; "
                "rename one."
            )
    if inside(storage["path"], other["blob_dir"]) or storage["path"] == other["blob_dir"]:
        yield f"{path} lies in the blob_dir {other['blob_dir']} of {whose}; put it elsewhere."
    if inside(other["path"], storage["blob_dir"]) or other["path"] == storage["blob_dir"]:
        yield (
            f"{option}.blob_dir {storage['blob_dir']} holds the path {other['path']} of {whose}; put the blobs "
            "elsewhere."
        )


def _blob_claim(blobs: str, storage: dict, whose: str, other: dict) -> Iterator[str]:
    mine, theirs = storage["blob_dir"], other["blob_dir"]
    if mine == theirs:
        yield f"{blobs} is already that of {whose}; give each its own, for a pack deletes blobs that it does not know."
    elif inside(mine, theirs) or inside(theirs, mine):
        yield f"{blobs} and {theirs} of {whose} lie one in the other; put them side by side."
    elif mine in (theirs + ".old", theirs.removesuffix(".old")):
        yield f"{blobs} and {theirs} of {whose} overwrite each other when one of them is packed; rename one."


# Keys of ZConfig that have a name here; null: the role's own.
_ZEO_KEYS = {
    "address": "address",
    "transaction-timeout": "transaction_timeout",
    "invalidation-queue-size": "invalidation_queue_size",
    "invalidation-age": "invalidation_age",
    "client-conflict-resolution": "client_conflict_resolution",
    "read-only": "read_only of the storages",
    "pid-filename": None,
}
_FILESTORAGE_KEYS = {
    "path": "path",
    "blob-dir": "blob_dir",
    "read-only": "read_only",
    "pack-gc": "pack.gc",
    "pack-keep-old": "pack.keep_old",
}


def _zconfig_rules(option: str, text: str | None, kind: str, keys: dict[str, str | None]) -> Iterator[str]:
    """What raw lines do to the section that they stand in; ZConfig itself reads the whole file before it lands."""
    open_sections: list[str] = []
    for number, line in enumerate((text or "").splitlines(), 1):
        line, where = line.strip(), f"{option}, line {number},"
        word = line.split(None, 1)[0].lower() if line else ""
        if line.startswith("</"):
            name = line[2:].rstrip("> ").lower()
            if not open_sections:
                yield f"{where} closes <{kind}> or a section that it did not open; give lines of <{kind}> alone."
                return
            if open_sections.pop() != name:
                yield f"{where} closes <{name}> before the section in it; close the inner one first."
                return
        elif line.startswith("<"):
            if not re.fullmatch(r"<[^\s<>/]+(\s+[^\s<>/]+)?\s*/?>", line):
                yield f"{where} opens no section that ZConfig could read; write <type> or <type name>."
                return
            name = line.strip("<>/ ").split()[0].lower()
            if not open_sections and kind == "zeo" and name == "ssl":
                yield f"{where} opens <ssl>, which has a name here; write tls instead."
            elif not open_sections:
                yield f"{where} opens <{name}>, which <{kind}> does not take; take it out."
            if not line.endswith("/>"):
                open_sections.append(name)
        elif word == "%include":
            yield f"{where} includes a file, which nothing would check; write its lines here."
        elif not open_sections:
            yield from _zconfig_key(where, word, kind, keys)
    if open_sections:
        yield f"{option} opens <{open_sections[-1]}> and does not close it; end it with </{open_sections[-1]}>."


def _zconfig_key(where: str, key: str, kind: str, keys: dict[str, str | None]) -> Iterator[str]:
    if kind == "zeo" and key.startswith("authentication-"):
        yield (
            f"{where} sets {key}, which is gone since ZEO 5; set tls, one certificate per client replaces the "
            "passwords."
        )
    elif kind == "zeo" and key == "monitor-address":
        yield (
            f"{where} sets monitor-address, which is gone since ZEO 5; take it out, the command zodb-health replaces "
            "it."
        )
    elif kind == "filestorage" and key == "create":
        yield (
            f"{where} sets create, which empties the storage at every start; take it out, a missing file is made "
            "without it."
        )
    elif keys.get(key):
        yield f"{where} sets {key}, which has a name here; write {keys[key]} instead."
    elif key in keys:
        yield f"{where} sets {key}, which the role itself needs; take it out."


def _number_rules(instance: dict) -> Iterator[str]:
    numbers = [
        (name, instance[name]) for name in ("transaction_timeout", "invalidation_age", "start_timeout", "stop_timeout")
    ]
    for name, value in numbers:
        if value < 1:
            yield f"{name} {value} is no time in seconds; write a number above 0."
    numbers = [("invalidation_queue_size", instance["invalidation_queue_size"])]
    numbers += [(f"client.{name}", instance["client"][name]) for name in ("pool_size", "connection_cache_size")]
    for name, value in numbers:
        if value < 1:
            yield f"{name} {value} is too small to work with; write a number above 0."


def _pack_rules(instance: dict) -> Iterator[str]:
    pack = instance["pack"]
    if pack["days"] < 0:
        yield f"pack.days {pack['days']} would keep what is yet to come; write 0 to keep no history, or more."
    for name, wrong in (("schedule", wrong_calendar(pack["schedule"])), ("cron", wrong_cron(pack["cron"]))):
        if wrong:
            yield f"pack.{name} {wrong}"
    for number, mail in enumerate(pack["report"]):
        if wrong_mail(mail):
            yield f"pack.report[{number}] {wrong_mail(mail)}"
    for number, storage in enumerate(instance["storages"] if pack["keep_old"] else []):
        if not _beside(storage):
            yield (
                f"pack.keep_old true puts old blobs into {storage['blob_dir']}.old, in a folder where the server may "
                f"not write; set it to false, or put storages[{number}].blob_dir beside its path."
            )
    frozen = [storage["name"] for storage in instance["storages"] if storage["read_only"]]
    if pack["enabled"] and frozen:
        yield (
            f"pack.enabled true does not go with storage {show(frozen[0])}, which is read_only and refuses packs; "
            "set it to false."
        )


def _adopt_rules(instance: dict, before: list[dict]) -> Iterator[str]:
    tree = instance["adopt"]
    if not tree:
        return
    if wrong_path(tree):
        yield f"adopt {wrong_path(tree)}"
    elif systems_own(tree):
        yield f"adopt {tree} is a folder of the system; name the one in it that has etc and var of the old server."
    for other in before:
        if other["adopt"] == tree and other["state"] == "present":
            yield f'adopt {tree} is already that of "{other["name"]}"; a tree has one server.'


def _client_rules(instance: dict, before: list[dict]) -> Iterator[str]:
    client = instance["client"]
    if client["server"]:
        try:
            at = address(client["server"])
            if at.wildcard:
                raise ValueError(f"{at} is where a server listens, not where a client finds it; write the host's name.")
            if at.socket and instance["tls"]:
                raise ValueError(f"{at} is a socket, over which no client speaks TLS; write host:port.")
        except ValueError as error:
            yield f"client.server {error}"
    for name in ("cache_size", "blob_cache_size"):
        wrong = wrong_size(client[name])
        if wrong:
            yield f"client.{name} {wrong}"
    for number, storage in enumerate(instance["storages"]):
        name = _zeo_layout.client_name(storage, instance)
        if len(name) > 32 and len(instance["name"]) <= 32 and len(storage["name"]) <= 32:
            yield (
                f"storages[{number}].name {show(storage['name'])} makes {name} the name of its clients' folder, "
                "which takes 32 characters at most; choose a shorter one."
            )
        for other in before:
            theirs = [_zeo_layout.client_name(one, other) for one in other["storages"]]
            if name in theirs and other["state"] == "present" and other["name"] != instance["name"]:
                yield (
                    f"storages[{number}].name {show(storage['name'])} makes {name} the name of its "
                    f'clients\' folder, as "{other["name"]}" does; rename one.'
                )


def _laid_rules(instance: dict) -> Iterator[str]:
    """What clients' files take, which only a run that lays them asks for."""
    tls = instance["tls"]
    if tls and not instance["tls_managed"] and not tls["client_cert"] and not tls["client_key"]:
        yield (
            "tls lacks client_cert and client_key, which the clients' files name; give both, or run "
            "tasks_from=server alone."
        )


def _description_rules(instance: dict, settings: dict) -> Iterator[str]:
    """What would only be found when files are written, after the host has been changed."""
    if instance["state"] == "absent":
        return
    for number, storage in enumerate(instance["storages"]):
        for render in (_zeo_layout.served, _zeo_layout.asked):
            wrong = _rendered(render, storage, instance)[1]
            if wrong:
                yield f"storages[{number}] as {wrong}"
