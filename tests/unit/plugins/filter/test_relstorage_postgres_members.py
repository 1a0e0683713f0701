# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of PostgreSQL servers: who is what, who may be promoted, and what stands against it."""

from __future__ import annotations

import pytest
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_clients import relstorage_postgres_clients
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_complete import relstorage_postgres_complete
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_departure import relstorage_postgres_departure
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_promotion import relstorage_postgres_promotion
from ansible_collections.pyams.zodb.plugins.filter.relstorage_postgres_turn import relstorage_postgres_turn
from ansible_collections.pyams.zodb.plugins.module_utils import _lsn, _relstorage_postgres_members
from ansible_collections.pyams.zodb.plugins.modules import zodb_postgres_member
from test_relstorage_postgres import CLUSTER, OURS, SETTINGS, answered, entries, one, refused, virgin

MEMBERS = [{"host": f"db{number}", "address": f"10.0.0.{number}"} for number in (1, 2, 3)]
GROUP = {"members": MEMBERS, "inventory_hostname": "db1", "listen": ["*"]}
NOTHING = {
    "there": False,
    "started": None,
    "enabled": None,
    "member": None,
    "folder": None,
    "standby": None,
    "up": False,
    "why": "",
    "received": None,
    "standbys": None,
}
THERE = {"there": True, "started": True, "enabled": True, "member": True, "folder": "/etc/postgresql/15/main"}
PRIMARY = {**NOTHING, **THERE, "standby": False, "up": True, "standbys": ["zodb_db2", "zodb_db3"]}
STOPPED = {**PRIMARY, "up": False, "why": "Connection refused"}
FENCED = {**STOPPED, "enabled": False}
STANDBY = {**PRIMARY, "standby": True, "received": "0/3000148", "streaming": True}
LOST = {**STANDBY, "streaming": False}
LEFT = {**STANDBY, "up": False, "enabled": False, "member": False}
AHEAD = {**STANDBY, "received": "1/148"}
EMPTY = {**STOPPED, "started": False}
SILENT = {}
REJOIN = "bring {} back as a standby with the playbook pyams.zodb.rejoin."


def group(*answers):
    return dict(zip(("db1", "db2", "db3"), answers, strict=True))


@pytest.mark.parametrize(
    ("me", "answers", "expected"),
    [
        pytest.param("db1", (NOTHING, NOTHING, NOTHING), ("primary", "db1"), id="the first of a new group"),
        pytest.param("db2", (NOTHING, NOTHING, NOTHING), ("wait", None), id="another of a new group"),
        pytest.param("db2", (PRIMARY, NOTHING, NOTHING), ("copy", "db1"), id="beside a primary"),
        pytest.param("db2", (PRIMARY, EMPTY, NOTHING), ("copy", "db1"), id="a copy that was cut off"),
        pytest.param("db2", (PRIMARY, NOTHING, SILENT), ("copy", "db1"), id="beside a primary and one that is away"),
        pytest.param("db1", (PRIMARY, STANDBY, STANDBY), ("primary", "db1"), id="a primary"),
        pytest.param("db1", (PRIMARY, SILENT, STOPPED), ("primary", "db1"), id="a primary alone"),
        pytest.param("db3", (PRIMARY, STANDBY, STANDBY), ("standby", "db1"), id="a standby"),
        pytest.param("db3", (SILENT, STANDBY, STANDBY), ("standby", None), id="a standby of one that is away"),
        pytest.param("db1", (STOPPED, STANDBY, STANDBY), ("primary", "db1"), id="a primary that is stopped"),
        pytest.param("db1", (NOTHING, PRIMARY, STANDBY), ("copy", "db2"), id="the first, made anew after a fail-over"),
    ],
)
def test_what_a_member_is(me, answers, expected):
    found = relstorage_postgres_turn(group(*answers), {**SETTINGS, **GROUP, "inventory_hostname": me})
    assert (found["turn"], found["primary"]) == expected
    assert found["refusals"] == []


@pytest.mark.parametrize(
    ("answers", "changed", "sentence"),
    [
        pytest.param(
            (PRIMARY, PRIMARY, STANDBY),
            {},
            "db1 and db2 both take writes; " + REJOIN.format("the one that should not"),
            id="two primaries",
        ),
        pytest.param(
            (STANDBY, PRIMARY, PRIMARY),
            {},
            "db2 and db3 both take writes; " + REJOIN.format("the one that should not"),
            id="two others",
        ),
        pytest.param(
            (STOPPED, PRIMARY, STANDBY),
            {},
            "db2 is the primary now, and db1 was one; " + REJOIN.format("db1"),
            id="another was promoted",
        ),
        pytest.param(
            (FENCED, STANDBY, STANDBY),
            {},
            "db1 was stopped for another to be promoted, and none takes writes; promote one with the playbook "
            "pyams.zodb.promote, or write auto into start.conf of db1.",
            id="fenced, and none was promoted",
        ),
        pytest.param(
            (STOPPED, SILENT, STANDBY),
            {},
            "the server on db1 is stopped, and db2 cannot be asked who is the primary now; make that reachable, or "
            "take it out.",
            id="stopped, and not all can be asked",
        ),
        pytest.param(
            (NOTHING, SILENT, NOTHING),
            {},
            "db1 has no data, and db2 cannot be asked whether the group has some; make that reachable, or take it out.",
            id="new, and not all can be asked",
        ),
        pytest.param(
            (NOTHING, STANDBY, NOTHING),
            {},
            "db1 has no data, and db2, which has, takes no writes; start or promote that first.",
            id="new, and a standby has data",
        ),
        pytest.param(
            (FENCED, STANDBY, STANDBY),
            {"rejoin": True},
            "no other member is the primary; promote one first.",
            id="rejoin to nobody",
        ),
        pytest.param(
            (PRIMARY, STANDBY, LEFT),
            {},
            "db3 has left the group; take it out, or, for it to be copied anew, remove its data with pg_dropcluster 15 "
            "main.",
            id="one has left",
        ),
        pytest.param(
            (LEFT, PRIMARY, STANDBY),
            {"rejoin": True},
            "db1 has left the group; take it out, or, for it to be copied anew, remove its data with pg_dropcluster 15 "
            "main.",
            id="rejoin of one that has left",
        ),
    ],
)
def test_what_is_wrong_with_a_group(answers, changed, sentence):
    found = relstorage_postgres_turn(group(*answers), {**SETTINGS, **GROUP, **changed})
    assert found["refusals"] == [f"relstorage_postgres_members: {sentence}"]
    assert found["turn"] is None


@pytest.mark.parametrize("mine", [FENCED, STOPPED, PRIMARY, LOST], ids=["fenced", "stopped", "unfenced", "astray"])
def test_what_was_the_primary_may_go_back(mine):
    found = relstorage_postgres_turn(group(mine, PRIMARY, STANDBY), {**SETTINGS, **GROUP, "rejoin": True})
    assert (found["turn"], found["primary"]) == ("rewind", "db2")


SAYS = {"promote": "db2", "fenced": False, "accept_loss": False}


@pytest.mark.parametrize(
    ("answers", "says", "fence"),
    [
        pytest.param((PRIMARY, STANDBY, STANDBY), {}, ["db1"], id="in order"),
        pytest.param((PRIMARY, STANDBY, AHEAD), {}, ["db1"], id="in order, the other a bit ahead"),
        pytest.param((STOPPED, STANDBY, STANDBY), {}, ["db1"], id="stopped, its log tells"),
        pytest.param((FENCED, STANDBY, STANDBY), {}, ["db1"], id="fenced by a run that was cut off"),
        pytest.param((SILENT, STANDBY, STANDBY), {"fenced": True, "synchronous": True}, [], id="away, synchronous"),
        pytest.param((SILENT, STANDBY, SILENT), {"fenced": True, "accept_loss": True}, [], id="two away, accepted"),
        pytest.param((FENCED, PRIMARY, STANDBY), {}, [], id="again"),
    ],
)
def test_who_is_fenced(answers, says, fence):
    found = relstorage_postgres_promotion(group(*answers), {**SETTINGS, **GROUP, **SAYS, **says})
    assert (found["refusals"], found["fence"]) == ([], fence)
    assert found["slots"] == ["zodb_db1", "zodb_db3"]
    assert found["synchronous"] == "ANY 1 (zodb_db1, zodb_db3)"


@pytest.mark.parametrize(
    ("answers", "says", "sentence"),
    [
        pytest.param(
            (PRIMARY, STANDBY, STANDBY),
            {"promote": "db9"},
            "relstorage_postgres_promote db9 is none of relstorage_postgres_members; choose db1, db2 or db3.",
            id="no member",
        ),
        pytest.param(
            (PRIMARY, STOPPED, STANDBY),
            {},
            "relstorage_postgres_promote db2 cannot be promoted: Connection refused; start it, or promote another.",
            id="stopped",
        ),
        pytest.param(
            (PRIMARY, SILENT, STANDBY),
            {},
            "relstorage_postgres_promote db2 cannot be promoted: it cannot be reached; start it, or promote another.",
            id="away",
        ),
        pytest.param(
            (PRIMARY, PRIMARY, STANDBY),
            {},
            "db2 and db1 both take writes; " + REJOIN.format("the one that should not"),
            id="two primaries",
        ),
        pytest.param(
            (SILENT, STANDBY, STANDBY),
            {},
            "db1 cannot be reached, and could go on to take writes; see to it that it is off and stays off, then say "
            "fenced=true.",
            id="not fenced",
        ),
        pytest.param(
            (STOPPED, STANDBY, AHEAD),
            {},
            "db3 has received more than db2; promote that one, or say accept_loss=true.",
            id="another has more",
        ),
        pytest.param(
            (SILENT, STANDBY, STANDBY),
            {"fenced": True},
            "what db1 has acknowledged last, nobody can tell; say accept_loss=true if what db2 does not have may be "
            "lost.",
            id="asynchronous, its log cannot be read",
        ),
        pytest.param(
            (SILENT, STANDBY, SILENT),
            {"fenced": True, "synchronous": True},
            "what db1 and db3 has acknowledged last, nobody can tell; say accept_loss=true if what db2 does not have "
            "may be lost.",
            id="synchronous, and the other standby may have more",
        ),
    ],
)
def test_what_stands_against_a_promotion(answers, says, sentence):
    found = relstorage_postgres_promotion(group(*answers), {**SETTINGS, **GROUP, **SAYS, **says})
    assert found["refusals"] == [sentence]
    assert found["fence"] == []


LEAVES = {"leave": "db3", "fenced": False}
PAIR = {"members": [MEMBERS[0], MEMBERS[2]]}
ALONE = {**PRIMARY, "standbys": ["zodb_db3"]}


@pytest.mark.parametrize(
    ("answers", "says", "waits_for"),
    [
        pytest.param((PRIMARY, STANDBY, STANDBY), {}, "", id="asynchronous"),
        pytest.param((PRIMARY, STANDBY, STANDBY), {"synchronous": True}, "ANY 1 (zodb_db2)", id="synchronous"),
        pytest.param((ALONE, STOPPED, STANDBY), {}, "", id="the only one that is connected, asynchronous"),
        pytest.param((ALONE, SILENT, STANDBY), PAIR, "", id="the last one"),
        pytest.param((PRIMARY, STANDBY, SILENT), {"fenced": True}, "", id="away"),
        pytest.param((PRIMARY, STANDBY, FENCED), {}, "", id="what was the primary"),
        pytest.param((PRIMARY, STANDBY, LEFT), {}, "", id="again"),
        pytest.param(
            ({**PRIMARY, "standbys": []}, STOPPED, STOPPED), {"synchronous": True}, "ANY 1 (zodb_db2)", id="none there"
        ),
    ],
)
def test_a_member_leaves(answers, says, waits_for):
    found = relstorage_postgres_departure(group(*answers), {**SETTINGS, **GROUP, **LEAVES, **says})
    assert found == {"primary": "db1", "slot": "zodb_db3", "synchronous": waits_for, "refusals": []}


@pytest.mark.parametrize(
    ("answers", "says", "sentence"),
    [
        pytest.param(
            (PRIMARY, STANDBY, STANDBY),
            {"leave": "db9"},
            "relstorage_postgres_leave db9 is none of relstorage_postgres_members; choose db1, db2 or db3.",
            id="no member",
        ),
        pytest.param(
            (PRIMARY, STANDBY, STANDBY),
            {"leave": "db1"},
            "relstorage_postgres_leave db1 is the primary; promote another with the playbook pyams.zodb.promote first.",
            id="the primary",
        ),
        pytest.param(
            (SILENT, STANDBY, STANDBY),
            {},
            "no member that can be reached takes writes; start the primary, or promote another, first.",
            id="no primary",
        ),
        pytest.param(
            (PRIMARY, PRIMARY, STANDBY),
            {},
            "db1 and db2 both take writes; " + REJOIN.format("the one that should not"),
            id="two primaries",
        ),
        pytest.param(
            (PRIMARY, STANDBY, SILENT),
            {},
            "db3 cannot be reached, and its server not be stopped; see to it that it is off and stays off, then say "
            "fenced=true.",
            id="away",
        ),
        pytest.param(
            (ALONE, SILENT, STANDBY),
            {**PAIR, "synchronous": True},
            "db3 is the only standby, and each commit waits for one (relstorage_postgres_synchronous true): all would "
            "wait for ever; set it to false, or add another standby first.",
            id="commits would wait for nobody",
        ),
        pytest.param(
            (ALONE, STOPPED, STANDBY),
            {"synchronous": True},
            "db3 is the only standby that is connected, and each commit waits for one (relstorage_postgres_synchronous "
            "true): all would wait until db2 is back; start that first, or set it to false.",
            id="commits would wait for one that is away",
        ),
    ],
)
def test_what_stands_against_a_departure(answers, says, sentence):
    found = relstorage_postgres_departure(group(*answers), {**SETTINGS, **GROUP, **LEAVES, **says})
    assert found == {"primary": None, "slot": None, "synchronous": None, "refusals": [sentence]}


@pytest.mark.parametrize("members", [MEMBERS[:2], []], ids=["another list", "none"])
def test_a_standby_that_the_members_lack_is_refused(members):
    changed = {**GROUP, "members": members}
    host = virgin(changed, paths=CLUSTER, listens=OURS)
    assert refused(one(), changed, host, answered(standbys=["zodb_db3"])) == [
        "relstorage_postgres_members lacks the host of the standby zodb_db3, which follows this server; name it, and "
        "let it leave with the playbook pyams.zodb.leave before you take it out."
    ]


def test_what_is_disabled_is_refused_on_its_own():
    start = "/etc/postgresql/15/main/start.conf"
    host = virgin({}, paths=CLUSTER, read={start: "# of Debian\ndisabled\n"})
    assert refused(one(), {}, host) == [
        "the server 15/main of this host has left a group, or was disabled by hand; take the host out of the play, or "
        f"write auto into {start}."
    ]
    assert refused(one(), GROUP, virgin(GROUP, paths=CLUSTER, read={start: "disabled\n"})) == []


def test_what_the_last_of_a_group_still_has():
    was = answered(roles={"postgres": True, "zodb_replication": True}, slots=["zodb_db3"])
    assert _relstorage_postgres_members.former({**SETTINGS, **GROUP}, was) is None
    assert _relstorage_postgres_members.former(SETTINGS, was) == {"account": "zodb_replication", "slots": ["zodb_db3"]}
    assert _relstorage_postgres_members.former({**SETTINGS, "server": "existing"}, was) is None
    assert _relstorage_postgres_members.former(SETTINGS, answered()) is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"members": MEMBERS[:1]},
            "_members has one member, which nobody could take over from; name another, or leave it out.",
        ),
        (
            {"inventory_hostname": "web", "client": False},
            "_members lacks web, on which the role runs; add it, or take the host out of the play.",
        ),
        (
            {"members": [*MEMBERS, {"host": "DB1", "address": "10.0.0.4"}]},
            "_members[3].host DB1 is named before, or differs in no letter or digit; take it out.",
        ),
        (
            {"version": "12"},
            "_version 12 has no slots with a limit, which a group takes; write 13 or newer.",
        ),
        (
            {"listen": ["localhost"]},
            "_members cannot reach a server that listens on localhost alone; add an address to "
            "relstorage_postgres_listen.",
        ),
        (
            {"members": [], "synchronous": True},
            "_synchronous true is for a group of servers; name them in relstorage_postgres_members.",
        ),
        (
            {"tls_cert": "/etc/pki/pg.pem", "tls_key": "/etc/pki/pg.key"},
            "_tls_ca is empty, by which members verify certificates that the role did not make; name it.",
        ),
        (
            {"settings": {"synchronous_standby_names": "x"}},
            "_settings synchronous_standby_names is worked out from relstorage_postgres_members; leave it out.",
        ),
        (
            {"server": "existing", "listen": ["localhost"]},
            "_members is for servers that the role installs; leave it out.",
        ),
    ],
)
def test_refused_of_a_group_on_any_host(changed, sentence):
    assert f"relstorage_postgres{sentence}" in refused(one(), {**GROUP, **changed})


def test_a_wrong_address_and_size_are_refused():
    members = [MEMBERS[0], {"host": "db2", "address": "not a name"}]
    first, second = refused(one(), {**GROUP, "members": members, "slot_size": "much"})
    assert first.startswith("relstorage_postgres_members[1].address ")
    assert second.startswith("relstorage_postgres_slot_size ")


def test_the_account_of_the_standbys_is_taken():
    assert refused(one(user="zodb_replication"), GROUP)[0].endswith("is a role of the server's own; choose another.")


def test_a_member_follows_whoever_of_the_others_takes_writes():
    source = _relstorage_postgres_members.source({**SETTINGS, **GROUP})
    parameters = dict(word.split("=") for word in source.replace("'", "").split())
    assert parameters["host"] == "10.0.0.2,10.0.0.3"
    assert parameters["target_session_attrs"] == "read-write"
    assert parameters["sslmode"] == "verify-full"
    assert parameters["application_name"] == "zodb_db1"
    assert "password" not in parameters


def test_a_standby_tries_its_primary_first():
    found = relstorage_postgres_turn(
        group(SILENT, STANDBY, PRIMARY), {**SETTINGS, **GROUP, "inventory_hostname": "db2"}
    )
    assert "host='10.0.0.3,10.0.0.1'" in found["source"]
    promoted = relstorage_postgres_promotion(group(PRIMARY, STANDBY, STANDBY), {**SETTINGS, **GROUP, **SAYS})
    assert "host='10.0.0.2,10.0.0.3'" in promoted["source"]


def test_clients_know_all_members():
    storages = relstorage_postgres_complete(entries(one(clients=["10.0.0.9"])), {**SETTINGS, **GROUP})
    (client,) = relstorage_postgres_clients(storages, {**SETTINGS, **GROUP}, {"site": "a long password"})
    given = client["postgresql"]
    assert given["host"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert (given["target_session_attrs"], given["connect_timeout"]) == ("read-write", 2)
    assert given["sslrootcert"] == "/etc/zodb/tls/postgres-db1.members.crt"


def test_where_commits_end():
    text = (
        "rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/03000148, prev 0/03000110, "
        "desc: COMMIT 2026-11-27 15:00:00.000000 UTC\n"
        "rmgr: Transaction len (rec/tot):     34/    34, tx:        744, lsn: 0/03000170, prev 0/03000148, "
        "desc: ABORT 2026-11-27 15:00:00.000000 UTC\n"
        "rmgr: Transaction len (rec/tot):     98/    98, tx:        745, lsn: A/030001A0, prev 0/03000170, "
        "desc: COMMIT 2026-11-27 15:00:01.000000 UTC; inval msgs: catcache 50\n"
    )
    assert zodb_postgres_member.commits(text) == ["0/3000170", "A/3000208"]


def test_places_in_the_log():
    assert _lsn.place("1/148") > _lsn.place("0/FFFFFFFF")
    assert _lsn.text(_lsn.place("A/3000148")) == "A/3000148"
    assert _lsn.end(_lsn.place("0/3001FF8"), 34) == _lsn.place("0/3002020") + _lsn.HEADER
