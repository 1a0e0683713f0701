# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what a host, or its PostgreSQL, has against entries of C(relstorage_postgres_storages).

Pure functions. host is the result of M(pyams.zodb.zodb_host_info) for the questions of _relstorage_postgres: a rule
that looks for what was not asked raises KeyError. server is what QUERY answered, null where there is none to ask yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils import _relstorage_postgres_members, _role_host
from ansible_collections.pyams.zodb.plugins.module_utils._role_host import MB, Account

ROLE = "relstorage_postgres"
FOLDERS = ("config_dir", "data_dir", "venv_dir")  # in which an ordinary user has to write
OLDEST = 100000  # server_version_num that RelStorage 4 takes
VERSIONS = range(10, 31)  # of which a cluster is looked for
DEBIAN = {("debian", "12"): "15", ("debian", "13"): "17"}
SERVER_SPACE = 500  # MB of a new cluster: itself takes 40, its log of transactions 80 at once
SMALLEST_BUFFERS, LARGEST_BUFFERS = 128, 8192  # MB
RESERVED = 3  # connections that PostgreSQL keeps for its superusers

# As an administrator, of the database postgres. config_file is not there for whom may not see it. acts: the roles that
# it may act as.
QUERY = """\
SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN
    ('config_file', 'max_connections')),
  'pending', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart),
  'loaded', extract(epoch FROM pg_conf_load_time()),
  'standby', pg_is_in_recovery(),
  'read_only', current_setting('default_transaction_read_only')::bool,
  'slots', (SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots
    WHERE slot_type = 'physical' AND left(slot_name, 5) = 'zodb_'),
  'standbys', (SELECT coalesce(json_agg(application_name ORDER BY application_name), '[]') FROM pg_stat_replication
    WHERE left(application_name, 5) = 'zodb_'),
  'super', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'may', (SELECT rolsuper OR (rolcreatedb AND rolcreaterole) FROM pg_roles WHERE rolname = current_user),
  'roles', (SELECT json_object_agg(rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
    FROM pg_roles),
  'acts', (SELECT coalesce(json_agg(rolname), '[]') FROM pg_roles WHERE
    CASE WHEN current_setting('server_version_num')::int < 160000 THEN pg_has_role(oid, 'MEMBER')
    ELSE pg_has_role(oid, 'SET') AND pg_has_role(oid, 'USAGE') END),
  'databases', (SELECT json_object_agg(datname, json_build_object('owner', pg_get_userbyid(datdba),
    'encoding', pg_encoding_to_char(encoding))) FROM pg_database)) AS answer"""

# Of an installed server that has read its files anew: with a line of pg_hba.conf that it cannot read it does not start.
WAITING = """\
SELECT json_build_object(
  'settings', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart),
  'faults', (SELECT coalesce(json_agg('pg_hba.conf, line ' || line_number || ': ' || error), '[]')
    FROM pg_hba_file_rules WHERE error IS NOT NULL)) AS answer"""

# Of a database that was there before the role: by table, its owner.
TABLES = """\
SELECT coalesce(json_object_agg(tablename, tableowner), '{}') AS answer FROM pg_tables
  WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""


def cluster_files(settings: dict) -> list[str]:
    """Return the files that tell which clusters there are, and when they were changed last."""
    return [
        f"/etc/postgresql/{version}/{settings['cluster']}/{name}"
        for version in VERSIONS
        for name in ("postgresql.conf", "conf.d/zodb.conf", "pg_hba.conf")
    ]


def start_files(settings: dict) -> list[str]:
    """Return the files that tell whether a cluster is started."""
    return [f"/etc/postgresql/{version}/{settings['cluster']}/start.conf" for version in VERSIONS]


def versions(settings: dict, host: dict) -> list[str]:
    """Return the versions of which there is a cluster of the name, the oldest first."""
    paths = host["paths"]
    return [
        str(version)
        for version in VERSIONS
        if paths[f"/etc/postgresql/{version}/{settings['cluster']}/postgresql.conf"]["exists"]
    ]


def chosen_version(settings: dict, host: dict) -> str | None:
    """Return the version to install or to look after, null where nothing tells it."""
    there = versions(settings, host)
    platform = (host["host"]["distribution"], host["host"]["version"])
    return settings["version"] or (there[0] if len(there) == 1 else None if there else DEBIAN.get(platform))


def size(text: str) -> str:
    """Return a size as PostgreSQL takes it."""
    return text.replace(" ", "").upper().replace("KB", "kB")


def shared_buffers(settings: dict, host: dict) -> str:
    """Return shared_buffers as PostgreSQL takes it: as given, else a quarter of the memory."""
    if settings["shared_buffers"]:
        return size(settings["shared_buffers"])
    quarter = host["host"]["memory"] // 4 // MB
    return f"{min(max(quarter, SMALLEST_BUFFERS), LARGEST_BUFFERS)}MB"


def refusals(
    sound: list[tuple[str, dict]],
    settings: dict,
    host: dict,
    server: dict | None,
    tables: dict[str, dict[str, str]],
) -> list[str]:
    """Return a sentence for everything that is wrong on a host, or with its server.

    sound: (beginning of the entry's sentences, completed entry) of the entries that are right in themselves.
    tables: by name of a database that was there before the role, what TABLES answered.
    """
    account = Account(settings, host)
    found = list(_role_host.platform_rules(ROLE, settings, host))
    found += _role_host.account_rules(ROLE, FOLDERS, settings, host, account)
    found += _role_host.virtualenv_rules(ROLE, settings, host)
    found += _install_rules(settings, host) if settings["server"] == "install" else _login_rules(settings, host)
    if server is not None:
        found += _server_rules(settings, host, server)
    for where, storage in sound:
        rules = [*_history_rules(storage, host), *_laid_rules(storage, settings, host)]
        # Of a standby, its primary was asked.
        if storage["state"] == "present" and server is not None and not server["standby"]:
            rules += _database_rules(storage, host, server)
            rules += _tables_rules(storage, tables.get(storage["dbname"], {}))
        found += [where + sentence for sentence in rules]
    return found


def adopted(storages: list[dict], host: dict, server: dict) -> list[str]:
    """Return the databases of entries that were there before the role knew of them."""
    return [
        storage["dbname"]
        for storage in storages
        if storage["state"] == "present"
        and storage["dbname"] in server["databases"]
        and host["read"][storage["toml"]] is None
    ]


def _history(kept: bool) -> str:
    said = "keeps history" if kept else "keeps no history"
    return (
        f"{said}, which was decided when it was made; set keep_history to {str(kept).lower()}, or move to a new "
        "database with the playbook pyams.zodb.migrate."
    )


def _install_rules(settings: dict, host: dict) -> Iterator[str]:
    about = host["host"]
    if about["euid"] != 0:
        yield (
            f"{ROLE}_server install takes root, and the task runs as {about['user']}; set become: true, or "
            f"{ROLE}_server: existing."
        )
    if not about["systemd"]:
        yield f"{ROLE}_server install takes systemd, which does not run this host; set {ROLE}_server: existing."
    there = versions(settings, host)
    version = chosen_version(settings, host)
    if settings["cluster"] != "main" and version not in there:
        yield (
            f"{ROLE}_cluster {settings['cluster']} is not there, and the role only makes main; make it with "
            f"pg_createcluster {version or 17} {settings['cluster']}."
        )
    if version is None and there:
        yield (
            f"{ROLE}_cluster {settings['cluster']} is there for PostgreSQL {' and '.join(there)}; say which in "
            f"{ROLE}_version."
        )
    elif version is None:
        yield f"{ROLE}_version is empty, and nothing is known of this platform's PostgreSQL; write one such as 17."
    at = host["listens"][f"127.0.0.1:{settings['port']}"]
    unit = f"postgresql@{version}-{settings['cluster']}.service"
    # The kernel shows a process to the root of a container only if it is root's.
    if at["in_use"] and at["unit"] != unit and not (at["unit"] is None and version in there):
        holder = at["unit"] or (f"process {at['pid']}" if at["pid"] else "a process that is not seen")
        yield f"{ROLE}_port {settings['port']} is held by {holder}; stop that, or choose another port."
    # Of a member, all of them tell what it is.
    start = f"/etc/postgresql/{version}/{settings['cluster']}/start.conf"
    if (
        version in there
        and not settings["members"]
        and re.search(r"^disabled$", host["read"][start] or "", re.MULTILINE)
    ):
        yield (
            f"the server {version}/{settings['cluster']} of this host has left a group, or was disabled by hand; take "
            f"the host out of the play, or write auto into {start}."
        )
    free = host["paths"]["/etc"]["free"]
    if version not in there and free is not None and free < SERVER_SPACE * MB:
        yield f"the disk of this host has {free // MB} MB free, and a new server takes {SERVER_SPACE} MB; make room."
    if not settings["tls_cert"]:
        return
    for name in ("tls_cert", "tls_key"):
        if settings[name] and not host["paths"][settings[name]]["exists"]:
            yield f"{ROLE}_{name} {settings[name]} is not there; put it there, readable for postgres."
            return
    seen = host["certificates"][settings["tls_cert"]]
    if not seen["readable"]:
        yield f"{ROLE}_tls_cert {settings['tls_cert']} holds no certificate in PEM; give one."
    elif seen["expired"]:
        yield f"{ROLE}_tls_cert {settings['tls_cert']} ended {-seen['days_left']:.0f} days ago; renew it."
    elif seen["key_matches"] is False:
        yield f"{ROLE}_tls_key {settings['tls_key']} is not the key of {settings['tls_cert']}; give the right one."


def _login_rules(settings: dict, host: dict) -> Iterator[str]:
    passfile = settings["login"]["passfile"]
    if not passfile:
        return
    info = host["paths"][passfile]
    if not info["exists"]:
        yield f"{ROLE}_login.passfile {passfile} is not there; write the password into it, mode 0600."
    elif int(info["mode"], 8) & 0o077:
        yield f"{ROLE}_login.passfile {passfile} can be read by others, so that libpq ignores it; give it mode 0600."


def _server_rules(settings: dict, host: dict, server: dict) -> Iterator[str]:
    if settings["server"] == "install":
        yield from _cluster_rules(settings, host, server)
    if server["version"] < OLDEST:
        version = f"{server['version'] // 10000}.{server['version'] // 100 % 100}"
        yield f"the server is PostgreSQL {version}, and RelStorage takes 10 or newer; upgrade it."
    if server["standby"] and not settings["members"]:
        yield "the server is a standby, which takes no writes; run the role where its primary is."
    elif server["read_only"] and not server["standby"]:
        yield (
            f"the server takes no writes of {settings['login']['user']}, for whom default_transaction_read_only is on; "
            "set it to off."
        )
    if not server["may"]:
        yield (
            f"{ROLE}_login.user {settings['login']['user']} may not make databases and roles; give it CREATEDB and "
            "CREATEROLE, or name another."
        )


def _cluster_rules(settings: dict, host: dict, server: dict) -> Iterator[str]:
    """Whether the server that answers is the installed one, and whether all that follow it are known."""
    config = f"/etc/postgresql/{chosen_version(settings, host)}/{settings['cluster']}/postgresql.conf"
    answers = server["settings"].get("config_file")
    if answers != config:
        yield (
            f"{ROLE}_port {settings['port']} is that of the server of {answers}, not of {config}; name its cluster, or "
            "another port."
        )
    known = [_relstorage_postgres_members.slot(member["host"]) for member in settings["members"]]
    for standby in server["standbys"]:
        if standby not in known:
            yield (
                f"{ROLE}_members lacks the host of the standby {standby}, which follows this server; name it, and let "
                "it leave with the playbook pyams.zodb.leave before you take it out."
            )


def _history_rules(storage: dict, host: dict) -> Iterator[str]:
    """The decision of an entry that the role has configured before."""
    text = host["read"][storage["toml"]]
    found = re.search(r"^\s*keep-history (true|false)$", text or "", re.MULTILINE)
    if found and storage["state"] == "present" and found[1] != str(storage["keep_history"]).lower():
        yield f"dbname {storage['dbname']} {_history(found[1] == 'true')}"


def _laid_rules(storage: dict, settings: dict, host: dict) -> Iterator[str]:
    about = host["host"]
    able = settings["server"] == "install" or (about["euid"] == 0 and about["systemd"])
    if storage["state"] == "present" and storage["pack"]["enabled"] and not able:
        yield ("pack.enabled true takes root and systemd for its timer; set it to false, and run zodb-pack yourself.")
    if settings.get("client") and about["euid"] == 0 and not settings["client_user"] and storage["state"] == "present":
        yield (
            f"its password is laid for the application's account alone; name that in {ROLE}_client_user, or run "
            "tasks_from=server alone."
        )


def _database_rules(storage: dict, host: dict, server: dict) -> Iterator[str]:
    database = server["databases"].get(storage["dbname"])
    if database and database["owner"] != storage["user"]:
        yield (
            f"dbname {storage['dbname']} belongs to {database['owner']} already; name another database, or "
            f"{database['owner']} as user."
        )
    if database and database["encoding"] != "UTF8":
        yield f"dbname {storage['dbname']} has the encoding {database['encoding']}, not UTF8; name another database."
    if server["roles"].get(storage["user"]):
        yield (
            f"user {storage['user']} may do more than log in, such as making databases; name another role, or take "
            "these rights from it."
        )
    known = host["paths"][storage["passfile"]]["exists"]
    if storage["user"] in server["roles"] and not known and not storage["has_password"]:
        yield f"user {storage['user']} is there already, and its password is not known here; give it in password."
    wanted = 2 * storage["client"]["pool_size"]
    most = int(server["settings"]["max_connections"]) - RESERVED
    if wanted > most:
        yield (
            f"client.pool_size {storage['client']['pool_size']} takes up to {wanted} connections per process, and the "
            f"server has {most}; make it smaller, or raise max_connections."
        )


def _tables_rules(storage: dict, owners: dict[str, str]) -> Iterator[str]:
    """What is in a database that was there before the role. owners: by table."""
    dbname = f"dbname {storage['dbname']}"
    if owners and "object_state" not in owners:
        yield f"{dbname} holds tables of something else, such as {sorted(owners)[0]}; name another database."
    elif owners:
        foreign = sorted(table for table, owner in owners.items() if owner != storage["user"])
        if foreign:
            user, owner = storage["user"], owners[foreign[0]]
            yield (
                f"{dbname} has the table {foreign[0]} of {owner}, whose stored procedures {user} could not renew; name "
                f"{owner} as user, or give it to {user}."
            )
        if ("transaction" in owners) != storage["keep_history"]:
            yield f"{dbname} {_history('transaction' in owners)}"
