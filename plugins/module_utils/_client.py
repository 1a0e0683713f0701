# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the files with which an application opens its storages, for the role zodb_client.

A storage is one fact that is worn in several skins. The fact is storage.inc; the databases of zodb.conf and zope.conf
include it, pack.conf is the same without the application's caches, and read-only.conf leads those who only read to a
standby. A password has a file of its own wherever the database's client can read it from one, and so have the hosts of
PostgreSQL where there are several. Pure functions, no Ansible.

entries: those of zodb_client_storages, complete and typed by the role's argument spec.
settings: the role's other variables without their prefix, root (whether the tasks run as root), and check_mode.
"""

from __future__ import annotations

import os.path
import re
import shlex
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage import (
    DATABASE_NAME,
    Refused,
    files_of,
    for_reading,
    identities,
    normalise,
    render,
    render_database,
    render_pack,
)
from ansible_collections.pyams.zodb.plugins.module_utils._storage_postgresql import KEEPALIVES, one_replica

# Of storages whose files the role can lay. Of a config_file, there is nothing to lay.
KINDS = ("zeo", "filestorage", "postgresql", "newt", "mysql", "mariadb", "oracle", "sqlite", "zconfig")
FILES = ("storage.inc", "zodb.conf", "zope.conf", "pack.conf", "client.env")
MAYBE = ("read-only.conf", "replicas.conf", "pgpass", "my.cnf")  # files that not every entry has
PLATFORMS = {("debian", "12"), ("debian", "13")}

_WITHOUT_CACHE = ("filestorage", "zconfig")
# The option that names the file which the kind's client reads the password from, and that file.
_PASSWORD_FILES = {
    "postgresql": ("passfile", "pgpass"),
    "newt": ("passfile", "pgpass"),
    "mysql": ("read_default_file", "my.cnf"),
    "mariadb": ("read_default_file", "my.cnf"),
}
# What a host has to be for one who writes.
_WRITTEN = ("read-write", "primary")
# Kinds whose section may hold a password: text of the user's own, and what is read from nowhere else.
_HOLD_SECRETS = ("zconfig", "oracle")
_NAMED_FILES = ("passfile", "sslrootcert", "sslcert", "sslkey", "read_default_file", "replica_conf")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_RESERVED = ("tls",)  # zeo_server's folder beside the storages' folders
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|target|socket)")
_URI_PATH = re.compile(r"""/(?:[^\x00-\x1f\x7f#?%$'"`\\]*[^\x00-\x20\x7f#?%$'"`\\])?""")
_BARE = re.compile(r"[\w@+=:,./#~-]+")  # what a shell and systemd take as it is


def describe(entry: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the description that becomes an entry's storage.inc, with what the entry's name gives it. Raises Refused.

    Several hosts, of which one is written to, become a file of one line. RelStorage gets over the loss of commits in a
    fail-over only where there is such a file, and goes from line to line only past hosts that do not answer.
    """
    ((kind, options),) = _storage(entry, settings).items()
    if not _has_replicas(entry):
        return {kind: options}
    one_replica(kind, options)
    replicas = {
        "host": None,
        "port": None,
        "replica_conf": f"{_own_folder(entry, settings)}/replicas.conf",
        "revert_when_stale": entry[kind]["revert_when_stale"] is not False,
    }
    return normalise({kind: {**options, **replicas}})


def layout(entries: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, list[Any]]:
    """Return everything that the role does with a host, for entries that refusals() has nothing against.

    folders, files, absent: as the module zodb_files takes them. caches: folders of absent entries. watched: files that
    applications read when they start. certificates, services: as the module zodb_host_info takes them. opened: for each
    storage its place in the list, its zodb.conf and its database, as the check takes them.
    settings: without root, as for an ordinary user; without restart_units, no services. user: owner of passwords that
    only their owner may read, if root lays them.
    """
    settings = {"root": False, "restart_units": [], "user": "", **settings}
    root = settings["root"]
    plan: dict[str, list[Any]] = {
        key: [] for key in ("folders", "files", "absent", "caches", "watched", "certificates", "services", "opened")
    }
    described = {entry["name"]: describe(entry, settings) for entry in entries if entry["state"] == "present"}
    caching = {entry["name"] for entry in entries if _caches_in(described.get(entry["name"]), _cache(entry, settings))}
    if described:
        plan["folders"].append(_folder(settings["config_dir"], "0755" if root else None, settings, "root"))
    if caching:
        plan["folders"].append(_folder(settings["cache_dir"], "0755" if root else None, settings, "root"))
    for index, entry in enumerate(entries):
        folder = _own_folder(entry, settings)
        if entry["state"] == "absent":
            plan["absent"] += [*(f"{folder}/{name}" for name in (*FILES, *MAYBE)), folder]
            plan["caches"].append(_cache(entry, settings))
            continue
        description = described[entry["name"]]
        plan["folders"].append(_folder(folder, "0750" if root else "0700", settings))
        if entry["name"] in caching:
            plan["folders"].append(_folder(_cache(entry, settings), "2770" if root else "0700", settings))
        texts = _texts(entry, entries, description, settings)
        plan["files"] += [
            _file(f"{folder}/{name}", text, _is_secret(name, description), settings) for name, text in texts.items()
        ]
        plan["absent"] += [f"{folder}/{name}" for name in MAYBE if name not in texts]
        plan["watched"] += [f"{folder}/{name}" for name in texts if name != "pack.conf"]
        plan["watched"] += files_of(description)
        tls = description.get("zeo", {}).get("tls")
        if tls:
            plan["certificates"].append({"cert": tls["cert"], "key": tls["key"], "purpose": "client"})
        plan["opened"].append([_where(index, entry), f"{folder}/zodb.conf", entry["database_name"].lower()])
    # A file of the user's may have the name of one of ours.
    read = {os.path.normpath(path) for path in plan["watched"]}
    plan["absent"] = [path for path in plan["absent"] if os.path.normpath(path) not in read]
    plan = {key: _unique(values) for key, values in plan.items()}
    plan["services"] = [{"unit": unit, "files": plan["watched"]} for unit in settings["restart_units"]]
    return plan


def refusals(entries: list[dict[str, Any]], settings: dict[str, Any], host: dict[str, Any] | None = None) -> list[str]:
    """Return what is wrong, one sentence each; nothing if all is well.

    host: what zodb_host_info found, or none for the rules that hold on any host.
    """
    if host:
        return [
            *_refused_host(settings, host),
            *_refused_passwords(entries, settings),
            *_refused_certificates(entries, settings, host),
            *_refused_files(entries, settings, host),
        ]
    found = _refused_settings(settings)
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        where, name = _where(index, entry), entry["name"]
        if not _NAME.fullmatch(name):
            found.append(
                f"{where}: the name is none; begin with a lower-case letter, go on with letters, digits, _ or -, "
                "32 characters at most."
            )
        elif name in _RESERVED:
            found.append(f"{where}: the name is that of a folder of certificates; choose another.")
        elif name in seen:
            found.append(f"{where}: the name is already that of zodb_client_storages[{seen[name]}]; choose another.")
        seen.setdefault(name, index)
        if entry["state"] == "present":
            found += [f"{where}: {sentence}" for sentence in _refused_entry(entry, entries, settings)]
    return [*found, *_refused_blob_dirs(entries, settings)]


def _refused_settings(settings: dict[str, Any]) -> list[str]:
    config_dir, cache_dir, virtualenv = (settings[name] for name in ("config_dir", "cache_dir", "virtualenv"))
    found = [
        f"zodb_client_{name} {settings[name]}: it is no absolute path, or holds a quote, a backslash or one of # ? % $ "
        "`, which do not stand in a URI as they are; choose another."
        for name in ("config_dir", "cache_dir")
        if not _URI_PATH.fullmatch(settings[name])
    ]
    if os.path.normpath(config_dir) == os.path.normpath(cache_dir):
        found.append(f"zodb_client_cache_dir {cache_dir}: it is zodb_client_config_dir too; choose another.")
    wheelhouse = settings["wheelhouse"]
    if wheelhouse and not os.path.isabs(wheelhouse):
        found.append(f"zodb_client_wheelhouse {wheelhouse}: it is a relative path; write an absolute one.")
    if settings["install_packages"] and not virtualenv:
        found.append(
            "zodb_client_install_packages true: zodb_client_virtualenv does not say where to; name the application's."
        )
    if virtualenv and not os.path.isabs(virtualenv):
        found.append(f"zodb_client_virtualenv {virtualenv}: it is a relative path; write an absolute one.")
    found += [
        f"zodb_client_restart_units {unit}: it is no name of a unit; write it with its suffix, such as app.service."
        for unit in settings["restart_units"]
        if not _UNIT.fullmatch(unit)
    ]
    return found


def _refused_entry(entry: dict[str, Any], entries: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    found = [
        f"{name} {entry[name]} is less than 1; give more."
        for name in ("pool_size", "connection_cache_size")
        if entry[name] < 1
    ]
    try:
        describe(entry, settings)
        _password(entry)
    except Refused as refusal:
        found.append(str(refusal))
    by_name = {other["name"]: other for other in entries if other["state"] == "present"}
    databases = _databases(entry)
    for database in databases:
        name, storage = database["name"], database["storage"]
        if not DATABASE_NAME.fullmatch(name):
            found.append(
                f'the database name "{name}" is none; begin with a letter, go on with letters, digits, _, . or -.'
            )
        if storage not in by_name:
            found.append(
                f'the storage "{storage}" of database "{name}" is no other entry that is present; add it to the list.'
            )
        if not re.fullmatch(r"/[^\s]*", database["mount_point"]):
            found.append(
                f'the mount point "{database["mount_point"]}" of database "{name}" is no path of Zope; begin it with /.'
            )
    for key, what in (("name", "name"), ("storage", "storage"), ("mount_point", "mount point")):
        # ZConfig takes names of sections as lower case.
        values = [database[key].lower() if key == "name" else database[key] for database in databases]
        twice = [value for number, value in enumerate(values) if value in values[:number]]
        if twice:
            found.append(f'two of its databases have the {what} "{twice[0]}"; give each its own.')
    return found


def _refused_blob_dirs(entries: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """Blobs lie under the number of their object, which is anybody's in another storage."""
    found = []
    owners: dict[str, tuple[set[str], bool, str]] = {}
    for index, entry in enumerate(entries):
        if entry["state"] == "absent":
            continue
        try:
            ((kind, options),) = _storage(entry, settings).items()
        except Refused:
            continue
        if kind == "zconfig" or not options["blob_dir"]:
            continue
        path = os.path.normpath(options["blob_dir"])
        places, shared = set(identities({kind: options})), options.get("shared_blob_dir", False)
        others, shared_by_others, whose = owners.setdefault(path, (places, shared, entry["name"]))
        if not places & others or shared != shared_by_others:
            found.append(
                f'{_where(index, entry)}: {kind}.blob_dir {path} is already that of "{whose}"; blobs of two storages '
                "would be taken for each other, give each its own."
            )
    return found


def _refused_host(settings: dict[str, Any], host: dict[str, Any]) -> list[str]:
    found = []
    me = host["host"]
    platform = (me["distribution"], me["version"])
    if platform not in PLATFORMS and not settings["allow_untested_platform"]:
        found.append(
            f"zodb_client_allow_untested_platform: the host is {platform[0]} {platform[1]}, tested are Debian 12 and "
            "13; set it to true to go on."
        )
    if settings["restart_units"] and not (settings["root"] and me["systemd"]):
        found.append(
            f"zodb_client_restart_units {', '.join(settings['restart_units'])}: only root restarts units, and only "
            "where systemd runs; leave it out and restart the applications yourself."
        )
    group = settings["group"]
    if settings["root"] and not settings["manage_group"] and not host["groups"][group]["exists"]:
        found.append(
            f"zodb_client_group {group}: there is no such group, and zodb_client_manage_group is false; create it."
        )
    user = settings["user"]
    if user and not settings["check_mode"] and not host["users"][user]["exists"]:
        found.append(f"zodb_client_user {user}: there is no such account; create it, or name another.")
    if settings["virtualenv"] and not settings["check_mode"]:
        found += _refused_virtualenv(settings, host)
    wheels = settings["wheelhouse"]
    if settings["install_packages"] and wheels and not settings["check_mode"] and not host["wheelhouse"]["exists"]:
        found.append(
            f"zodb_client_wheelhouse {wheels}: it is no folder that can be read on this host; copy the wheels there, "
            "or leave it out."
        )
    return found


def _refused_virtualenv(settings: dict[str, Any], host: dict[str, Any]) -> list[str]:
    virtualenv, user = settings["virtualenv"], settings["user"]
    if not host["paths"][f"{virtualenv}/bin/python"]["exists"]:
        return [
            f"zodb_client_virtualenv {virtualenv}: there is no bin/python in it; name the folder of a virtualenv, or "
            "leave it out."
        ]
    # Of the link in it, since the folder's own path may be a link of somebody else's.
    owner = host["paths"][f"{virtualenv}/bin/python"]["owner"]
    if settings["root"] and settings["install_packages"] and owner.isdigit():
        return [f"zodb_client_virtualenv {virtualenv}: it belongs to {owner}, which is no account; give it to one."]
    if settings["root"] and not user and owner.isdigit():
        return [
            f"zodb_client_virtualenv {virtualenv}: it belongs to {owner}, which is no account; name the one that the "
            "application runs as in zodb_client_user."
        ]
    return []


def _refused_certificates(entries: list[dict[str, Any]], settings: dict[str, Any], host: dict[str, Any]) -> list[str]:
    found = []
    for index, entry in enumerate(entries):
        tls = describe(entry, settings).get("zeo", {}).get("tls") if entry["state"] == "present" else None
        if not tls:
            continue
        where = f"{_where(index, entry)}: zeo.tls"
        missing = [key for key in ("ca", "cert", "key") if tls[key] and not host["paths"][tls[key]]["exists"]]
        if missing:
            # A virgin host gets them in the same run.
            if not settings["check_mode"]:
                found += [f"{where}.{key} {tls[key]}: it is not on this host; lay it there first." for key in missing]
            continue
        seen = host["certificates"][tls["cert"]]
        if not seen["readable"]:
            found.append(f"{where}.cert {tls['cert']}: no certificate can be read from it; give a PEM file.")
        elif seen["expired"]:
            found.append(f"{where}.cert {tls['cert']}: it ended {-seen['days_left']:.0f} days ago; renew it.")
        elif seen["key_matches"] is False:
            found.append(
                f"{where}.key {tls['key']}: it is not the key of {tls['cert']}; give the two that belong together."
            )
    return found


def _refused_passwords(entries: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """libpq reads a password only from a file that nobody but its owner can read."""
    if settings["user"] or not settings["root"]:
        return []
    return [
        f"{_where(index, entry)}: {kind}.password is laid for the application's account alone, as PostgreSQL's "
        "client demands; name that account in zodb_client_user."
        for index, entry in enumerate(entries)
        for kind, (_option, name) in _PASSWORD_FILES.items()
        if entry["state"] == "present" and name == "pgpass" and (entry[kind] or {}).get("password")
    ]


def _refused_files(entries: list[dict[str, Any]], settings: dict[str, Any], host: dict[str, Any]) -> list[str]:
    if settings["check_mode"]:
        return []  # A virgin host gets them in the same run.
    return [
        f"{_where(index, entry)}: {kind}.{name} {entry[kind][name]}: it is not on this host; lay it there first."
        for index, entry in enumerate(entries)
        if entry["state"] == "present"
        for kind in KINDS
        if isinstance(entry[kind], dict)
        for name in _NAMED_FILES
        if entry[kind].get(name) and not host["paths"][entry[kind][name]]["exists"]
    ]


def _storage(entry: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an entry's storage with its hosts, as they were named. Raises Refused."""
    given = {kind: entry[kind] for kind in KINDS if entry[kind] is not None}
    if not given:
        raise Refused("no kind of storage is named; give one of {}.".format(", ".join(KINDS)))
    if len(given) == 1 and not given.keys() & set(_WITHOUT_CACHE):
        ((kind, options),) = given.items()
        options = dict(options)
        if kind == "zeo":
            options["storage"] = options.get("storage") or entry["name"]
        if not options.get("blob_dir") and not options.get("shared_blob_dir"):
            # The folder itself is the client's, which makes it with the application's own account.
            options["blob_dir"] = f"{_cache(entry, settings)}/blobs"
        if _has_hosts(entry):
            options.update((name, value) for name, value in KEEPALIVES.items() if options[name] is None)
        if _has_replicas(entry):
            options.update(name=options["name"] or entry["name"], revert_when_stale=None)
        given = {kind: options}
    ((kind, options),) = normalise(given).items()
    if kind not in _PASSWORD_FILES or not options["password"]:
        return {kind: options}
    option, name = _PASSWORD_FILES[kind]
    return normalise({kind: {**options, "password": None, option: f"{_own_folder(entry, settings)}/{name}"}})


def _has_hosts(entry: dict[str, Any]) -> bool:
    """Return whether an entry names several hosts of PostgreSQL."""
    return len((entry["postgresql"] or entry["newt"] or {}).get("host") or []) > 1


def _has_replicas(entry: dict[str, Any]) -> bool:
    """Return whether the hosts of an entry have a file of their own: several, or one name of hosts that take turns."""
    options = entry["postgresql"] or entry["newt"]
    if not options or not options["host"] or options["replica_conf"]:
        return False
    return options["target_session_attrs"] in _WRITTEN and (_has_hosts(entry) or bool(options["revert_when_stale"]))


def _texts(
    entry: dict[str, Any], entries: list[dict[str, Any]], description: dict[str, Any], settings: dict[str, Any]
) -> dict[str, str]:
    """Return the content of each file of an entry: of all of FILES, and of those of MAYBE that it has."""
    folder = _own_folder(entry, settings)
    database = entry["database_name"].lower()
    uri = f"zconfig://{folder}/zodb.conf#{database}"
    word = uri if _BARE.fullmatch(uri) else shlex.quote(uri)
    by_name = {other["name"]: other for other in entries}
    sections: dict[str, str] = {}
    for section in ("zodb", "zodb_db"):
        sections[section] = "\n".join(
            render_database(
                "%%include %sstorage.inc" % ("" if other is entry else f"../{other['name']}/"),
                database["name"],
                section,
                other["pool_size"],
                other["connection_cache_size"],
                database["mount_point"],
            )
            for database in _databases(entry)
            for other in [by_name[database["storage"]]]
        )
    once = "An application reads it when it starts."
    uses = {
        "storage.inc": f"Included by zodb.conf and zope.conf. {once}",
        "zodb.conf": f"For ZODB.config, Pyramid and PyAMS: zodbconn.uri = {uri}\n# {once}",
        "zope.conf": f"For Zope's own zope.conf: %include {folder}/zope.conf\n# {once}",
        "pack.conf": f"For a packer: zodbpack {folder}/pack.conf",
        "client.env": f"For systemd: EnvironmentFile={folder}/client.env",
        "read-only.conf": f"For those who only read: zconfig://{folder}/read-only.conf#{database}",
        "replicas.conf": "For RelStorage: all hosts in one line, of which libpq takes the one that is written to.",
        "pgpass": "For libpq, which wants nobody but its owner to read it.",
        "my.cnf": "For the drivers of MySQL and MariaDB.",
    }
    hidden = "oracle" in description
    texts = {
        "storage.inc": render(description, secrets=hidden),
        "zodb.conf": sections["zodb"],
        "zope.conf": sections["zodb_db"],
        "pack.conf": render_pack(description, secrets=hidden),
        "client.env": f"ZODB_URI={word}\n",
    }
    storage = _storage(entry, settings)
    reader = _reader(storage)
    if reader:
        texts["read-only.conf"] = render_database(
            render(reader), entry["database_name"], "zodb", entry["pool_size"], entry["connection_cache_size"]
        )
    if _has_replicas(entry):
        ((kind, options),) = storage.items()
        texts["replicas.conf"] = one_replica(kind, options) + "\n"
    texts.update(_password(entry))
    return {name: _head(entry, uses[name]) + text for name, text in texts.items()}


def _reader(description: dict[str, Any]) -> dict[str, Any] | None:
    """Return the description for those who only read, null where there is no host besides the one that is written.

    Its hosts are in the DSN: with a replica_conf, one who goes from the primary to a standby that lags would go back.
    """
    ((kind, options),) = description.items()
    if kind not in ("postgresql", "newt") or not (options["replica_conf"] or len(options["host"] or []) > 1):
        return None
    return for_reading({kind: {**options, "target_session_attrs": "prefer-standby"}})


def _password(entry: dict[str, Any]) -> dict[str, str]:
    """Return the file that an entry's password is laid in, by its name; nothing without a password. Raises Refused."""
    for kind, (_option, name) in _PASSWORD_FILES.items():
        password = (entry[kind] or {}).get("password")
        if not password:
            continue
        if name == "pgpass":
            # Any host, for nothing else reads this file: a replica_conf or a service may name it.
            return {name: "*:*:*:*:{}\n".format(re.sub(r"([\\:])", r"\\\1", password))}
        if "\\" in password or ('"' in password and "'" in password):
            raise Refused(
                f"{kind}.password has a backslash, or quotes of both kinds, which each driver reads otherwise from an "
                "option file; change it, or lay the file yourself and name it in read_default_file."
            )
        quote = "'" if '"' in password else '"'
        return {name: f"[client]\npassword={quote}{password}{quote}\n"}
    return {}


def _is_secret(name: str, description: dict[str, Any]) -> bool:
    if name in ("storage.inc", "pack.conf"):
        return bool(description.keys() & set(_HOLD_SECRETS))
    return name in ("pgpass", "my.cnf")


def _head(entry: dict[str, Any], use: str) -> str:
    return (
        f'# Storage "{entry["name"]}", from zodb_client_storages (role pyams.zodb.zodb_client).\n'
        f"# The next run undoes a change made here.\n# {use}\n"
    )


def _databases(entry: dict[str, Any]) -> list[dict[str, str]]:
    """Return the databases of an entry's file, its own first, each with name, storage (an entry) and mount_point."""
    own = {"name": entry["database_name"], "storage": entry["name"], "mount_point": entry["mount_point"]}
    further = [
        {**database, "mount_point": database["mount_point"] or f"/{database['name']}"}
        for database in entry["databases"]
    ]
    return [own, *further]


def _where(index: int, entry: dict[str, Any]) -> str:
    return f'zodb_client_storages[{index}] "{entry["name"]}"'


def _own_folder(entry: dict[str, Any], settings: dict[str, Any]) -> str:
    return f"{settings['config_dir'].rstrip('/')}/{entry['name']}"


def _cache(entry: dict[str, Any], settings: dict[str, Any]) -> str:
    return f"{settings['cache_dir'].rstrip('/')}/{entry['name']}"


def _caches_in(description: dict[str, Any] | None, folder: str) -> bool:
    """Return whether a cache of a storage, if there is one, lies in a folder."""
    ((kind, options),) = (description or {"zconfig": ""}).items()
    if kind in _WITHOUT_CACHE:
        return False
    caches = [options.get(name) for name in ("blob_dir", "cache_local_dir")]
    return any(path and os.path.normpath(path).startswith(os.path.normpath(folder) + "/") for path in caches)


def _folder(path: str, mode: str | None, settings: dict[str, Any], group: str | None = None) -> dict[str, Any]:
    owner = "root" if settings["root"] else None
    return {"path": path, "mode": mode, "owner": owner, "group": owner and (group or settings["group"])}


def _file(path: str, text: str, secret: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a file for zodb_files. secret: it holds a password, or the user's own text, which may."""
    owner, mode = ("root", "0640") if settings["root"] else (None, "0600")
    if path.endswith("/pgpass"):
        owner, mode = owner and settings["user"], "0600"
    return {
        "path": path,
        "secret_content" if secret else "content": text,
        "mode": mode,
        "owner": owner,
        "group": owner and settings["group"],
    }


def _unique(values: list[Any]) -> list[Any]:
    return [value for number, value in enumerate(values) if value not in values[:number]]
