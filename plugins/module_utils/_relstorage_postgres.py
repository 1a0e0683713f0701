# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the entries of C(relstorage_postgres_storages), completed, and what is wrong with them.

Pure functions, no Ansible. Entries are typed and carry the defaults of the argument spec; a key without a value is
null. settings is what the role's other variables say, by their names without C(relstorage_postgres_), and beside them
releases and pins (of _virtualenv.describe()), client (whether clients' files are laid too, false if absent), and rejoin
(whether a server that was the primary may be made a standby).
host is the result of M(pyams.zodb.zodb_host_info) for questions(), server what the query of _relstorage_postgres_server
answered, null as long as there is none to ask.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils import (
    _identity,
    _relstorage_postgres_host,
    _relstorage_postgres_members,
    _role,
    _storage,
)
from ansible_collections.pyams.zodb.plugins.module_utils._storage_postgresql import TIMEOUTS
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import (
    above,
    show,
    tidy,
    wrong_account,
    wrong_host_name,
    wrong_path,
    wrong_size,
    wrong_title,
)

ROLE = "relstorage_postgres"
FOLDERS = ("config_dir", "data_dir", "cache_dir", "venv_dir")
LOOPBACK = "127.0.0.1"
SOCKETS = "/var/run/postgresql"  # of Debian's servers
SOCKETS = "/var/run/postgresql"  # the folder of Debian's
CERTIFICATE_DAYS, RENEW_DAYS = 825, 30  # of the certificate that the role makes
SHORTEST_PASSWORD = 12  # a shorter one that is also a name turns Ansible's results into asterisks
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")  # of a database or a role, which takes 63 bytes
_TEMPLATES = ("postgres", "template0", "template1")
# Settings that the role writes because it must know them.
_OWN_SETTINGS = {
    "listen_addresses": "relstorage_postgres_listen",
    "port": "relstorage_postgres_port",
    "shared_buffers": "relstorage_postgres_shared_buffers",
    "ssl_cert_file": "relstorage_postgres_tls_cert",
    "ssl_key_file": "relstorage_postgres_tls_key",
}


def complete(entries: list[dict], settings: dict) -> list[dict]:
    """Return the entries with every value that follows from others, and with the paths and names of their files.

    Beside the spec's keys: networks, link, passfile, toml, state_dir, stem, unit (of the timer), units, asked (the
    ZConfig section of the tools on this host, null where something is wrong). In place of password, which stays out of
    what tasks loop over, there is has_password. Nothing is refused here.
    """
    settings = _tidied(settings)
    return [_completed(entry, settings) for entry in entries]


def questions(entries: list[dict], settings: dict) -> dict:
    """Return what refusals() must know of the host: the options of M(pyams.zodb.zodb_host_info) by name.

    Beside them query and waiting, what to ask the server, and tables, what each database that was there before.
    """
    settings = _tidied(settings)
    storages = complete(entries, settings)
    paths = [settings[folder] for folder in FOLDERS if settings[folder].startswith("/")]
    paths += [path for path in (settings["tls_cert"], settings["tls_key"], settings["login"]["passfile"]) if path]
    paths += [storage["passfile"] for storage in storages]
    listens = []
    read = [storage["toml"] for storage in storages]
    if settings["members"]:
        paths.append(_relstorage_postgres_members.passfile(settings))
    if settings["server"] == "install":
        paths += _relstorage_postgres_host.cluster_files(settings)
        read += _relstorage_postgres_host.start_files(settings)
        listens = [f"{LOOPBACK}:{settings['port']}"]
    paths = [path for path in paths if path.startswith("/")]
    certificates = []
    if settings["tls_cert"].startswith("/"):
        certificates.append({"cert": settings["tls_cert"], "key": settings["tls_key"] or None, "purpose": "server"})
    asked: dict = {"certificates": certificates, "paths": paths, "read": read}
    if managed(settings):
        _identity.questions(asked, _stem(settings), settings, "server")
        asked["paths"].append(_stem(settings) + ".crt")
    return {
        "users": [settings["user"]],
        "groups": sorted({settings["group"], settings["client_group"]}),
        "python": settings["python"],
        "paths": sorted({*asked["paths"], *(folder for path in asked["paths"] for folder in above(path))}),
        "listens": listens,
        "certificates": asked["certificates"],
        "wheelhouse": settings["wheelhouse"],
        "read": sorted(asked["read"]),
        "query": _relstorage_postgres_host.QUERY,
        "waiting": _relstorage_postgres_host.WAITING,
        "tables": _relstorage_postgres_host.TABLES,
    }


def refusals(
    entries: list[dict],
    settings: dict,
    host: dict | None = None,
    server: dict | None = None,
    tables: dict[str, dict[str, str]] | None = None,
) -> list[str]:
    """Return what is wrong, a sentence each: with the settings, with each entry, and then with host and server.

    tables: by name of a database of adopted(), what TABLES answered.
    """
    settings = _tidied(settings)
    storages = complete(entries, settings)
    found = list(_settings_rules(settings))
    sound: list[tuple[str, dict]] = []
    for index, storage in enumerate(storages):
        where = f'relstorage_postgres_storages[{index}] "{storage["name"]}": '
        wrong = list(_entry_rules(storage, storages[:index], settings))
        wrong += _password_rules(entries[index]["password"] if storage["state"] == "present" else None)
        found += [where + sentence for sentence in wrong]
        if not wrong:
            sound.append((where, storage))
    if host is not None:
        found += _relstorage_postgres_host.refusals(sound, settings, host, server, tables or {})
    return found


def plan(storages: list[dict], settings: dict, host: dict, server: dict | None = None) -> dict:
    """Return what follows from a host for completed entries.

    version (null where nothing is to be installed, or nothing tells it), folder (of the cluster's configuration) and
    unit, null likewise; there (whether the cluster is) and up (whether something listens on its port); login (how an
    administrator reaches the server: account, of this host, null for who runs the tasks; user; params, as libpq names
    them); tls (cert and key of the server, null without; identities, folders and files of one that the role makes, see
    _identity.py); shared_buffers; loaded (whether the server knows the newest of its files, null without it); adopted
    (databases that the role did not make); members (null without a group, else what _relstorage_postgres_members.plan()
    says), slot_size, networks (of the other members); former (what a server without a group still has of one, null if
    nothing).
    """
    settings = _tidied(settings)
    install = settings["server"] == "install"
    version = _relstorage_postgres_host.chosen_version(settings, host) if install else None
    folder = f"/etc/postgresql/{version}/{settings['cluster']}" if version else None
    files = [f"{folder}/{name}" for name in ("conf.d/zodb.conf", "pg_hba.conf")] if folder else []
    tls = _tls(storages, settings, host)
    files += [path for path in (tls["cert"], tls["key"]) if path and install]
    newest = max((host["paths"][file]["mtime"] or 0 for file in files), default=0)
    return {
        "version": version,
        "folder": folder,
        "login": _login(settings, host["host"]["euid"] == 0),
        "tls": tls,
        "there": not install or version in _relstorage_postgres_host.versions(settings, host),
        "up": not install or host["listens"][f"{LOOPBACK}:{settings['port']}"]["in_use"],
        "unit": f"postgresql@{version}-{settings['cluster']}.service" if version else None,
        "shared_buffers": _relstorage_postgres_host.shared_buffers(settings, host),
        "loaded": server["loaded"] > newest if server else None,
        "adopted": _relstorage_postgres_host.adopted(storages, host, server) if server else [],
        "members": _relstorage_postgres_members.plan(settings),
        "former": _relstorage_postgres_members.former(settings, server),
        "slot_size": _relstorage_postgres_host.size(settings["slot_size"]),
        "networks": [_network(member["address"]) for member in _relstorage_postgres_members.others(settings)],
    }


def clients(storages: list[dict], settings: dict, passwords: dict[str, str]) -> list[dict]:
    """Return the entries of C(zodb_client_storages) for completed entries.

    settings: host is the inventory name of the server's host, empty for this one. passwords: by name of the entry.
    """
    settings = _tidied(settings)
    found = []
    for storage in storages:
        wishes = storage["client"]
        hosts = client_hosts(storage, settings)
        postgresql = {
            "host": hosts,
            "port": client_port(storage, settings),
            "dbname": storage["dbname"],
            "user": storage["user"],
            "password": passwords.get(storage["name"]),
            "keep_history": storage["keep_history"],
            "create_schema": wishes["create_schema"],
            "cache_local_mb": wishes["cache_local_mb"],
            "cache_local_dir": wishes["cache_local_dir"],
            "blob_cache_size": wishes["blob_cache_size"],
            "pack_gc": storage["pack"]["gc"],
            "name": storage["name"],
        }
        if not all(map(loopback, hosts)):
            known_by = settings["tls_ca"] or anchor(settings)
            postgresql.update(TIMEOUTS, sslmode="verify-full", sslrootcert=known_by)
        if len(hosts) > 1:
            postgresql["target_session_attrs"] = "read-write"
        found.append(
            {
                "name": storage["name"],
                "state": storage["state"],
                "postgresql": {key: value for key, value in postgresql.items() if value is not None},
                "pool_size": wishes["pool_size"],
                "connection_cache_size": wishes["connection_cache_size"],
            }
        )
    return found


def client_hosts(storage: dict, settings: dict) -> list[str]:
    """Return the server, or the members of its group, as an application's host reaches them.

    On the host of an installed server that is its socket, which answers in three quarters of the time of a port.
    """
    if settings["members"] and not storage["client"]["host"]:
        return [member["address"] for member in settings["members"]]
    if settings["server"] == "existing":
        return [storage["client"]["host"] or settings["login"]["host"] or LOOPBACK]
    return [storage["client"]["host"] or settings["host"] or SOCKETS]


def client_port(storage: dict, settings: dict) -> int:
    """Return the server's port as an application's host reaches it."""
    return storage["client"]["port"] or _port(settings)


def managed(settings: dict) -> bool:
    """Whether the role makes the server's certificate: where it listens on a network, and none is given."""
    network = any(address == "*" or not loopback(address) for address in settings["listen"])
    return settings["server"] == "install" and network and not settings["tls_cert"]


def anchor(settings: dict) -> str:
    """Return the path, on an application host, of what it knows a server's own certificate by, or those of a group."""
    if settings["members"]:
        return f"{settings['config_dir']}/tls/postgres-{settings['members'][0]['host']}.members.crt"
    return f"{settings['config_dir']}/tls/postgres-{settings['host'] or 'localhost'}.anchor.crt"


def loopback(host: str) -> bool:
    """Whether a host is this one, by loopback or socket."""
    return host in ("localhost", LOOPBACK, "::1") or host.startswith("/")


def _port(settings: dict) -> int:
    return settings["port"] if settings["server"] == "install" else settings["login"]["port"]


def _tidied(settings: dict) -> dict:
    folders = {name: tidy(str(settings[name])) for name in FOLDERS}
    members = [{**member, "address": member["address"] or member["host"]} for member in settings["members"]]
    return {**settings, **folders, "members": members, "wheelhouse": settings.get("wheelhouse") or None}


def _completed(entry: dict, settings: dict) -> dict:
    storage = copy.deepcopy(entry)
    storage["has_password"] = storage.pop("password") is not None
    name, config = storage["name"], settings["config_dir"]
    storage["title"] = storage["title"] or name
    storage["dbname"] = storage["dbname"] or name
    storage["user"] = storage["user"] or storage["dbname"]
    state_dir = f"{settings['data_dir']}/relstorage-{name}"
    storage.update(
        link=f"{settings['venv_dir']}/relstorage-{name}",
        passfile=f"{config}/relstorage-{name}.pgpass",
        toml=f"{config}/relstorage-{name}.toml",
        state_dir=state_dir,
        stem=f"{state_dir}/{name}",
        unit=f"pack-relstorage-{name}.timer",
        units=[f"pack-relstorage-{name}.timer", f"pack-relstorage-{name}.service"],
        networks=[_network(network) for network in storage["clients"]],
        pack_expected_days=_role.PACK_EXPECTED_DAYS if storage["pack"]["enabled"] else 0,
    )
    try:
        storage["asked"] = _asked(storage, settings)
    except _storage.Refused:
        storage["asked"] = None
    return storage


def _network(text: str) -> str:
    """Return a network with its mask, without which the server would not start; what is none as it is."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        return text


def _asked(storage: dict, settings: dict) -> str:
    """Return the ZConfig section with which the tools open a storage, as its owner."""
    login = settings["login"]
    postgresql = {
        "host": [LOOPBACK if settings["server"] == "install" else login["host"] or LOOPBACK],
        "port": _port(settings),
        "dbname": storage["dbname"],
        "user": storage["user"],
        "passfile": storage["passfile"],
        "connect_timeout": 10,
        "keep_history": storage["keep_history"],
        "create_schema": False,
        "pack_gc": storage["pack"]["gc"],
        "name": storage["name"],
    }
    if settings["server"] == "existing" and login["sslrootcert"]:
        postgresql.update(sslmode=login["sslmode"], sslrootcert=login["sslrootcert"])
    section = _storage.render({"postgresql": postgresql})
    batch = f"  pack-batch-timeout {storage['pack']['batch_timeout']}\n"
    return section.replace("  <postgresql>", batch + "  <postgresql>")


def _stem(settings: dict) -> str:
    return f"{settings['config_dir']}/tls/postgres-{settings['cluster']}"


def _tls(storages: list[dict], settings: dict, host: dict) -> dict:
    if not managed(settings):
        given = {name: settings[f"tls_{name}"] or None for name in ("cert", "key")}
        return {**given, "identities": [], "folders": [], "files": []}
    stem = _stem(settings)
    identities = _identity.identity(
        stem,
        host,
        settings,
        name=f"postgres-{settings['cluster']}",
        wanted=[
            settings["inventory_hostname"],
            *settings["listen"],
            *(one["client"]["host"] for one in storages),
            *(member["address"] for member in settings["members"] if member["host"] == settings["inventory_hostname"]),
        ],
        further=[host["host"]["hostname"], host["host"]["fqdn"]],
        usages=["serverAuth"],
        group="postgres",  # which takes a key of root's that its group can read
        days=CERTIFICATE_DAYS,
        renew_days=RENEW_DAYS,
    )
    return {
        "cert": f"{stem}.crt",
        "key": f"{stem}.key",
        "identities": identities,
        "folders": _identity.folders(settings, host),
        # Of a certificate that is made in this run, the look before it knows the old one only.
        "files": [] if identities else _identity.certificates(stem, host),
    }


def _login(settings: dict, root: bool) -> dict:
    if settings["server"] == "install":
        params = {"host": SOCKETS, "port": settings["port"]}
        return {"account": "postgres", "user": "postgres", "params": params}
    login = settings["login"]
    names = ("port", "passfile", "service", "sslmode", "sslrootcert")
    params = {"host": login["host"] or SOCKETS, **{name: login[name] for name in names if login[name] is not None}}
    by_peer = root and params["host"].startswith("/") and not login["passfile"]
    return {"account": login["account"] or ("postgres" if by_peer else None), "user": login["user"], "params": params}


# The role's variables


def _settings_rules(settings: dict) -> Iterator[str]:
    yield from _role.settings_rules(ROLE, FOLDERS, ("user", "group", "client_group"), settings)
    yield from _relstorage_postgres_members.rules(settings)
    if settings["client_user"] and wrong_account(settings["client_user"]):
        yield f"{ROLE}_client_user {wrong_account(settings['client_user'])}"
    if settings["server"] == "install":
        yield from _install_rules(settings)
    else:
        yield from _login_rules(settings["login"])
    if settings["tls_ca"] and wrong_path(settings["tls_ca"]):
        yield f"{ROLE}_tls_ca {wrong_path(settings['tls_ca'])}"


def _install_rules(settings: dict) -> Iterator[str]:
    version = settings["version"]
    if version and not re.fullmatch(r"[1-9][0-9]", version):
        yield f"{ROLE}_version {show(version)} is no major version of PostgreSQL; write one such as 17."
    elif version and int(version) < _relstorage_postgres_host.OLDEST // 10000:
        yield f"{ROLE}_version {version} is older than RelStorage takes; write 10 or a newer one."
    if not re.fullmatch(r"[a-z][a-z0-9_]*", settings["cluster"]):
        yield f"{ROLE}_cluster {show(settings['cluster'])} is no name of a cluster; write small letters, digits and _."
    if not 0 < settings["port"] < 65536:
        yield f"{ROLE}_port {settings['port']} is no port; write one from 1 to 65535."
    if not settings["listen"]:
        yield f"{ROLE}_listen is empty, so that no client could connect; write [localhost] at least."
    elif not {"localhost", "*", "0.0.0.0", LOOPBACK} & set(settings["listen"]):
        yield f"{ROLE}_listen {', '.join(settings['listen'])} lacks localhost, by which the tools connect; add it."
    for address in settings["listen"]:
        if address != "*" and wrong_host_name(address):
            yield f"{ROLE}_listen {wrong_host_name(address)}"
    if bool(settings["tls_cert"]) != bool(settings["tls_key"]):
        given, absent = ("tls_cert", "tls_key") if settings["tls_cert"] else ("tls_key", "tls_cert")
        yield f"{ROLE}_{given} {settings[given]} is of no use without {ROLE}_{absent}; give both, or neither."
    for name in ("tls_cert", "tls_key"):
        if settings[name] and wrong_path(settings[name]):
            yield f"{ROLE}_{name} {wrong_path(settings[name])}"
    if settings["shared_buffers"] and wrong_size(settings["shared_buffers"]):
        yield f"{ROLE}_shared_buffers {wrong_size(settings['shared_buffers'])}"
    for name in settings["settings"]:
        if name in _OWN_SETTINGS:
            yield f"{ROLE}_settings {name} has a variable of its own; write {_OWN_SETTINGS[name]} instead."
        elif not re.fullmatch(r"[a-z][a-z0-9_.]*", name):
            yield f"{ROLE}_settings {show(name)} is no name of a setting; write it as PostgreSQL does."
        elif not isinstance(settings["settings"][name], (str, int, float)):
            yield f"{ROLE}_settings {name} is neither text nor number; write it as postgresql.conf would have it."
    if any(value for name, value in settings["login"].items() if name not in ("port", "user", "sslmode")):
        yield f"{ROLE}_login is for a server that is there; set {ROLE}_server: existing, or leave it out."


def _login_rules(login: dict) -> Iterator[str]:
    host = login["host"]
    if host and host.startswith("/") and wrong_path(host):
        yield f"{ROLE}_login.host {wrong_path(host)}"
    elif host and not host.startswith("/") and wrong_host_name(host):
        yield f"{ROLE}_login.host {wrong_host_name(host)}"
    if not 0 < login["port"] < 65536:
        yield f"{ROLE}_login.port {login['port']} is no port; write one from 1 to 65535."
    if login["sslmode"] in ("verify-ca", "verify-full") and not login["sslrootcert"]:
        yield f"{ROLE}_login.sslmode {login['sslmode']} verifies with sslrootcert, which is missing; give it."
    if login["account"] and wrong_account(login["account"]):
        yield f"{ROLE}_login.account {wrong_account(login['account'])}"
    if host and not loopback(host) and login["sslmode"] not in ("verify-ca", "verify-full"):
        yield (
            f"{ROLE}_login.host {host} is reached over a network, where sslmode {login['sslmode']} believes whoever "
            "answers; set verify-full, and sslrootcert."
        )


# An entry


def _entry_rules(storage: dict, before: list[dict], settings: dict) -> Iterator[str]:
    name = storage["name"]
    yield from _role.entry_rules(storage, before)
    for key, what in (("dbname", "databases"), ("user", "roles")):
        if not _NAME.fullmatch(storage[key]) and (key == "dbname" or storage["user"] != storage["dbname"]):
            yield (
                f"{key} {show(storage[key])} would have to be quoted wherever {what} are named; write letters, digits, "
                "_ or -, a letter first, 63 at most."
            )
    if storage["dbname"] in _TEMPLATES:
        yield f"dbname {storage['dbname']} is PostgreSQL's own database; choose another."
    if storage["user"] in ("postgres", _relstorage_postgres_members.ACCOUNT) or storage["user"].startswith("pg_"):
        yield f"user {storage['user']} is a role of the server's own; choose another."
    if storage["state"] == "absent":
        return
    for other in (other for other in before if other["name"] != name):
        if other["state"] == "present" and other["dbname"] == storage["dbname"]:
            yield f'dbname {storage["dbname"]} is already that of "{other["name"]}"; a database takes one storage.'
        if other["state"] == "present" and other["user"] == storage["user"]:
            yield f'user {storage["user"]} is already that of "{other["name"]}"; give each database its own role.'
    if wrong_title(storage["title"]) and storage["title"] != name:
        yield f"title {wrong_title(storage['title'])}"
    yield from _client_network_rules(storage, settings)
    yield from _role.pack_rules(storage["pack"], storage["keep_history"])
    yield from _client_rules(storage, settings)


def _password_rules(password: str | None) -> Iterator[str]:
    if password is None:
        return
    if len(password) < SHORTEST_PASSWORD:
        yield f"password has {len(password)} characters; give {SHORTEST_PASSWORD} or more."
    if not password.isascii() or not password.isprintable():
        yield "password holds what is no printable ASCII character, which clients do not all send alike; change it."


def _client_network_rules(storage: dict, settings: dict) -> Iterator[str]:
    for network in storage["clients"]:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield (
                f"clients {show(network)} is no address and no network; write one such as 10.0.0.5, or 10.0.0.0/24 "
                "without bits behind the mask."
            )
    if storage["clients"] and settings["server"] == "existing":
        yield "clients is for a server that the role installs; admit them in the pg_hba.conf of the existing one."
    elif storage["clients"] and all(address != "*" and loopback(address) for address in settings["listen"]):
        yield (
            f"clients {storage['clients'][0]} could not reach a server that listens on "
            f"{', '.join(settings['listen'])}; add an address to {ROLE}_listen."
        )


def _client_rules(storage: dict, settings: dict) -> Iterator[str]:
    client = storage["client"]
    if client["host"] and wrong_host_name(client["host"]):
        yield f"client.host {wrong_host_name(client['host'])}"
    if client["port"] is not None and not 0 < client["port"] < 65536:
        yield f"client.port {client['port']} is no port; write one from 1 to 65535."
    if client["cache_local_dir"] and wrong_path(client["cache_local_dir"]):
        yield f"client.cache_local_dir {wrong_path(client['cache_local_dir'])}"
    yield from _role.client_rules(client)
    if not settings.get("client"):
        return
    far = [host for host in client_hosts(storage, settings) if not loopback(host)]
    if far and not settings["tls_ca"] and not managed(settings):
        yield (
            f"client.host {far[0]} is reached over a network, and {ROLE}_tls_ca is empty, by which clients know the "
            "server; name that certificate."
        )
