# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the servers of one group (C(relstorage_postgres_members)): a primary, the others its standbys.

All of them are configured alike: each could follow whoever of the others takes writes. Which one is the primary is
nothing that an inventory says, for it changes with a fail-over: the servers themselves are asked.

Pure functions. settings as in _relstorage_postgres; answers: by inventory name, what M(pyams.zodb.zodb_postgres_member)
tells of each member, empty where the host cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils import _storage
from ansible_collections.pyams.zodb.plugins.module_utils._lsn import place
from ansible_collections.pyams.zodb.plugins.module_utils._storage_postgresql import TIMEOUTS, dsn
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import listed, show, wrong_host_name, wrong_size

ROLE = "relstorage_postgres"
OLDEST = 13  # version whose standbys can be pointed elsewhere, and whose slots have a limit
ACCOUNT = "zodb_replication"


def slot(host: str) -> str:
    """Return the name of a member's slot on its primary, which is also its name as a standby."""
    return "zodb_" + re.sub(r"[^a-z0-9_]", "_", host.lower())


def others(settings: dict) -> list[dict]:
    return [member for member in settings["members"] if member["host"] != settings["inventory_hostname"]]


def passfile(settings: dict) -> str:
    return f"{settings['config_dir']}/postgres-{settings['cluster']}.replication.pgpass"


def trust(settings: dict) -> str:
    """Return the path of what members know each other's certificates by."""
    return settings["tls_ca"] or f"{settings['config_dir']}/tls/postgres-{settings['cluster']}.members.crt"


def source(settings: dict, first: str | None = None) -> str:
    """Return libpq's connection string of whoever of the other members takes writes.

    first: the member to try first. A server that looks for its primary knows no time-out of connections: one whose
    processes stand still would hold it for as long.
    """
    postgresql = {
        "host": [member["address"] for member in sorted(others(settings), key=lambda member: member["host"] != first)],
        "port": settings["port"],
        "dbname": "postgres",
        "user": ACCOUNT,
        "passfile": passfile(settings),
        "sslmode": "verify-full",
        "sslrootcert": trust(settings),
        "target_session_attrs": "read-write",
        "application_name": slot(settings["inventory_hostname"]),
        **TIMEOUTS,
    }
    return dsn(_storage.normalise({"postgresql": postgresql})["postgresql"])


def plan(settings: dict) -> dict | None:
    """Return what follows from the group for a member, null without one.

    source, slot (its own), slots (those that the others need), account, passfile, trust.
    """
    if not settings["members"]:
        return None
    return {
        "source": source(settings),
        "slot": slot(settings["inventory_hostname"]),
        "slots": [slot(member["host"]) for member in others(settings)],
        "account": ACCOUNT,
        "passfile": passfile(settings),
        "trust": trust(settings),
    }


def former(settings: dict, server: dict | None) -> dict | None:
    """Return what a server that has no group any more still has of one, null if nothing: account, slots."""
    if settings["members"] or settings["server"] != "install" or not server or ACCOUNT not in server["roles"]:
        return None
    return {"account": ACCOUNT, "slots": server["slots"]}


def synchronous(settings: dict, primary: str) -> str:
    """Return synchronous_standby_names of a primary that waits for one of the others."""
    names = [slot(member["host"]) for member in settings["members"] if member["host"] != primary]
    return f"ANY 1 ({', '.join(names)})"


def turn(settings: dict, answers: dict[str, dict]) -> dict:
    """Return what this host is in its group: turn, primary (inventory name, null if none is known), refusals.

    And, where nothing is wrong, source, how to reach whoever takes writes, and synchronous, what a primary waits for.

    turn: primary (also of a group that is yet to be), standby, copy (of one that is yet to be a standby), rewind (of
    what has to go back first, a primary or one that followed the wrong one), wait (until there is a primary), null
    where something is wrong. rejoin of the settings: whether something may be taken back.
    """
    me = settings["inventory_hostname"]
    mine = answers[me]
    rest = {host: answer for host, answer in answers.items() if host != me}
    primaries = [host for host, answer in rest.items() if answer and answer["up"] and not answer["standby"]]
    silent = [host for host, answer in rest.items() if not answer]
    used = [host for host, answer in rest.items() if answer and answer["started"]]
    primary = primaries[0] if primaries else None

    def refuse(sentence: str) -> dict:
        return {"turn": None, "primary": primary, "refusals": [f"{ROLE}_members: {sentence}"]}

    def be(what: str) -> dict:
        who = me if what == "primary" else primary
        return {
            "turn": what,
            "primary": who,
            "source": source(settings, who),
            "synchronous": synchronous(settings, who) if who else None,
            "refusals": [],
        }

    left = [host for host, answer in answers.items() if answer and _left(answer)]
    if left:
        cluster = answers[left[0]]["folder"].removeprefix("/etc/postgresql/").replace("/", " ")
        return refuse(
            f"{left[0]} has left the group; take it out, or, for it to be copied anew, remove its data with "
            f"pg_dropcluster {cluster}."
        )
    if len(primaries) > 1:
        return refuse(_parted(primaries))
    if mine["there"] and mine["standby"]:
        # One that has followed the wrong primary finds no way to the right one.
        return be("rewind" if settings["rejoin"] and primary and not mine["streaming"] else "standby")
    if mine["started"] and settings["rejoin"]:
        return be("rewind") if primary else refuse("no other member is the primary; promote one first.")
    if mine["up"] and not primary:
        return be("primary")
    if mine["up"]:
        return refuse(_parted([me, primary]))
    if mine["started"]:
        if primary:
            return refuse(f"{primary} is the primary now, and {me} was one; {_rejoin(me)}.")
        if not mine["enabled"]:
            return refuse(
                f"{me} was stopped for another to be promoted, and none takes writes; promote one with the playbook "
                f"pyams.zodb.promote, or write auto into start.conf of {me}."
            )
        if silent:
            return refuse(
                f"the server on {me} is stopped, and {listed(silent)} cannot be asked who is the primary now; make "
                "that reachable, or take it out."
            )
        return be("primary")
    if primary:
        return be("copy")
    if me != settings["members"][0]["host"]:
        return be("wait")
    if silent:
        return refuse(
            f"{me} has no data, and {listed(silent)} cannot be asked whether the group has some; make that reachable, "
            "or take it out."
        )
    if used:
        return refuse(f"{me} has no data, and {listed(used)}, which has, takes no writes; start or promote that first.")
    return be("primary")


def _left(answer: dict) -> bool:
    """Whether it has data and is kept from starting, and nothing there tells of a group any more."""
    return answer["started"] and not (answer["enabled"] or answer["up"] or answer["member"])


def _rejoin(host: str) -> str:
    return f"bring {host} back as a standby with the playbook pyams.zodb.rejoin"


def _parted(primaries: list[str]) -> str:
    return f"{listed(primaries)} both take writes; {_rejoin('the one that should not')}."


def rules(settings: dict) -> Iterator[str]:
    """Yield what is wrong with the group on any host."""
    members = settings["members"]
    if not members:
        if settings["synchronous"]:
            yield f"{ROLE}_synchronous true is for a group of servers; name them in {ROLE}_members."
        return
    me, hosts = settings["inventory_hostname"], [member["host"] for member in members]
    if settings["server"] != "install":
        yield f"{ROLE}_members is for servers that the role installs; leave it out."
        return
    if len(members) == 1:
        yield f"{ROLE}_members has one member, which nobody could take over from; name another, or leave it out."
    if me not in hosts and not settings.get("client"):
        yield f"{ROLE}_members lacks {me}, on which the role runs; add it, or take the host out of the play."
    names = [slot(host) for host in hosts]
    for index, member in enumerate(members):
        where = f"{ROLE}_members[{index}]"
        if names[index] in names[:index]:
            yield f"{where}.host {show(member['host'])} is named before, or differs in no letter or digit; take it out."
        if wrong_host_name(member["address"]):
            yield f"{where}.address {wrong_host_name(member['address'])}"
    version = settings["version"]
    if version and version.isdigit() and int(version) < OLDEST:
        yield f"{ROLE}_version {version} has no slots with a limit, which a group takes; write {OLDEST} or newer."
    if all(address in ("localhost", "127.0.0.1", "::1") for address in settings["listen"]):
        yield f"{ROLE}_members cannot reach a server that listens on localhost alone; add an address to {ROLE}_listen."
    if settings["tls_cert"] and not settings["tls_ca"]:
        yield f"{ROLE}_tls_ca is empty, by which members verify certificates that the role did not make; name it."
    if wrong_size(settings["slot_size"]):
        yield f"{ROLE}_slot_size {wrong_size(settings['slot_size'])}"
    for name in ("primary_conninfo", "primary_slot_name", "synchronous_standby_names", "max_slot_wal_keep_size"):
        if name in settings["settings"]:
            yield f"{ROLE}_settings {name} is worked out from {ROLE}_members; leave it out."


def promotion(settings: dict, answers: dict[str, dict]) -> dict:
    """Return how a member is promoted: fence (members to stop first), since (what it has), slots, refusals.

    And source and synchronous, as turn() does, for afterwards.

    settings: promote, its inventory name; fenced, accept_loss. answers: without members that the play leaves out.
    """
    to = settings["promote"]
    hosts = [member["host"] for member in settings["members"]]
    if to not in hosts:
        return _refusal(f"{ROLE}_promote {to} is none of {ROLE}_members; choose {listed(hosts, 'or')}.")
    chosen = answers.get(to)
    if not chosen or not chosen["up"]:
        why = (chosen or {}).get("why") or "it cannot be reached"
        return _refusal(f"{ROLE}_promote {to} cannot be promoted: {why}; start it, or promote another.")
    rest = {host: answers.get(host) for host in hosts if host != to}
    fence = [host for host, answer in rest.items() if answer and answer["there"] and not answer["standby"]]
    result = {
        "fence": fence,
        "since": chosen["received"],
        "slots": [slot(host) for host in rest],
        "slot": slot(settings["inventory_hostname"]),
        "source": source(settings, to),
        "synchronous": synchronous(settings, to),
        "refusals": [],
    }
    silent = [host for host, answer in rest.items() if not answer]
    if not chosen["standby"]:
        writing = [host for host in fence if answers[host]["up"]]
        if writing:
            return _refusal(_parted([to, writing[0]]))
        return {**result, "fence": []}
    if silent and not settings["fenced"]:
        return _refusal(
            f"{listed(silent)} cannot be reached, and could go on to take writes; see to it that it is off and stays "
            "off, then say fenced=true."
        )
    if settings["accept_loss"] or any(answers[host]["up"] for host in fence):
        return result  # one that is stopped cleanly hands out all that it has
    further = [
        host
        for host, answer in rest.items()
        if answer and answer["standby"] and answer["up"] and place(answer["received"]) > place(chosen["received"])
    ]
    if further:
        return _refusal(f"{further[0]} has received more than {to}; promote that one, or say accept_loss=true.")
    if not fence and not (settings["synchronous"] and len(silent) == 1):
        return _refusal(
            f"what {listed(silent) if silent else 'the primary'} has acknowledged last, nobody can tell; say "
            f"accept_loss=true if what {to} does not have may be lost."
        )
    return result


def _refusal(sentence: str) -> dict:
    return {"fence": [], "since": None, "refusals": [sentence]}


def departure(settings: dict, answers: dict[str, dict]) -> dict:
    """Return how a member leaves: primary, slot (its own there), synchronous (what that waits for then), refusals.

    settings: leave, its inventory name; fenced. answers: without members that the play leaves out.
    """
    who = settings["leave"]
    hosts = [member["host"] for member in settings["members"]]

    def refuse(sentence: str) -> dict:
        return {"primary": None, "slot": None, "synchronous": None, "refusals": [sentence]}

    if who not in hosts:
        return refuse(f"{ROLE}_leave {who} is none of {ROLE}_members; choose {listed(hosts, 'or')}.")
    found = {host: answers[host] for host in hosts if answers.get(host)}
    primaries = [host for host, answer in found.items() if answer["up"] and not answer["standby"]]
    if len(primaries) > 1:
        return refuse(_parted(primaries))
    if who in primaries:
        return refuse(f"{ROLE}_leave {who} is the primary; promote another with the playbook pyams.zodb.promote first.")
    if not primaries:
        return refuse("no member that can be reached takes writes; start the primary, or promote another, first.")
    if who not in found and not settings["fenced"]:
        return refuse(
            f"{who} cannot be reached, and its server not be stopped; see to it that it is off and stays off, then say "
            "fenced=true."
        )
    (primary,) = primaries
    staying = [member for member in settings["members"] if member["host"] != who]
    waited_for = {slot(member["host"]): member["host"] for member in staying if member["host"] != primary}
    connected = found[primary]["standbys"]
    if settings["synchronous"] and not waited_for:
        return refuse(
            f"{who} is the only standby, and each commit waits for one ({ROLE}_synchronous true): all would wait for "
            "ever; set it to false, or add another standby first."
        )
    if settings["synchronous"] and slot(who) in connected and not waited_for.keys() & set(connected):
        away = listed(list(waited_for.values()), "or")
        return refuse(
            f"{who} is the only standby that is connected, and each commit waits for one ({ROLE}_synchronous true): "
            f"all would wait until {away} is back; start that first, or set it to false."
        )
    return {
        "primary": primary,
        "slot": slot(who),
        "synchronous": synchronous({**settings, "members": staying}, primary) if settings["synchronous"] else "",
        "refusals": [],
    }
