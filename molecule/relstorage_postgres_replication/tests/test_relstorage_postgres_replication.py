# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group of three servers whose primary fails in every way, and which two leave, under the writers of two hosts.

The tests go on from each other's state: who is the primary, the servers themselves tell.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
import re
import statistics
import time

import pytest
from testing import SOAK, Client, ClientError, Play, wait_for

MEMBERS = {"zodb-db1": "10.89.77.24", "zodb-db2": "10.89.77.25", "zodb-db3": "10.89.77.26"}
SITES = ["zodb-site1", "zodb-site2"]
ROUNDS = 3 if SOAK else 1
OUTAGES = []


class Group:
    """The three servers, as their administrator handles them."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.version = next(iter(hosts.values())).check_output("ls /etc/postgresql")
        self.unit = f"postgresql@{self.version}-main.service"

    def sql(self, name, statement):
        """Return what a server answers its administrator, None if it does not answer."""
        done = self.hosts[name].run("timeout 5 runuser -u postgres -- psql -XAtq -c %s", statement)
        return done.stdout.strip() if done.rc == 0 else None

    def primaries(self):
        """Return who takes writes."""
        return [name for name in MEMBERS if self.sql(name, "select pg_is_in_recovery()") == "f"]

    def primary(self):
        """Return the one who takes writes."""
        (name,) = self.primaries()
        return name

    def standbys(self, primary):
        """Return who is connected with a primary."""
        names = self.sql(primary, "select string_agg(application_name, ' ') from pg_stat_replication")
        return [name.removeprefix("zodb_").replace("_", "-") for name in sorted((names or "").split())]

    def enabled(self, name):
        """Return the word of Debian's that says whether it starts with its host."""
        file = f"/etc/postgresql/{self.version}/main/start.conf"
        return self.hosts[name].check_output(f"grep -v '^#' {file} | tr -d '\\n'")


@pytest.fixture
def group(hosts):
    return Group(hosts)


def playbook(name, *arguments, **variables):
    """Run a playbook of the collection over the scenario's hosts."""
    scenario = pathlib.Path(__file__).parents[1]
    play = Play(scenario.parents[1] / "playbooks" / f"{name}.yml")
    groups = {"servers": "databases", "clients": "applications"}
    return play.run("-e", f"@{scenario}/vars/group.yml", *arguments, **{**groups, **variables})


def promote(to, *arguments, **variables):
    """Promote a member, and expect that it succeeds."""
    run = playbook("promote", *arguments, to=to, **variables)
    assert run.rc == 0, run.output
    return run


def rejoin(group, name):
    """Bring a member back, and expect that it follows the primary as before."""
    run = playbook("rejoin", member=name)
    assert run.rc == 0, run.output
    assert "Follow | Have the data follow the primary" in [task for task, host in run.tasks() if host == name]
    primary = group.primary()
    assert primary != name
    assert group.standbys(primary) == [member for member in MEMBERS if member != primary]
    end = group.sql(primary, "select pg_current_wal_lsn()")
    wait_for(lambda: group.sql(name, f"select pg_last_wal_replay_lsn() >= '{end}'") == "t", f"what {primary} has")
    assert group.enabled(name) == "auto"


@contextlib.contextmanager
def writers(hosts):
    """Let two application hosts write."""
    options = {"processes": 4, "pause": 0.1, "seconds": 3}
    with contextlib.ExitStack() as stack:
        bursts = [stack.enter_context(Client(hosts[name]).burst("pyams", **options)) for name in SITES]
        for burst in bursts:
            wait_for(lambda burst=burst: burst.writers() == 4, "a commit of every writer")
        yield bursts


def acknowledged(bursts):
    return [burst.acknowledged() for burst in bursts]


def fail_over(bursts, to, *arguments, **variables):
    """Promote a member while clients write; return the run. Seconds from the command to the first commit are noted."""
    before, start = acknowledged(bursts), time.monotonic()
    firsts = [None] * len(bursts)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        running = threads.submit(promote, to, *arguments, **variables)
        while None in firsts:
            assert time.monotonic() - start < 120, f"no commit: {before}, {acknowledged(bursts)}"
            for index, burst in enumerate(bursts):
                if firsts[index] is None and burst.acknowledged() > before[index]:
                    firsts[index] = time.monotonic() - start
        run = running.result()
    OUTAGES.append(min(firsts))
    return run


def check(bursts):
    """Expect that nothing acknowledged is lost, and that no writer met what it could not go on from.

    Who had nothing under way when the primary failed meets no error; that another takes the writes, rejoin() expects.
    """
    for burst in bursts:
        outcomes, found = burst.result(), burst.check()
        print(outcomes, found)
        assert found["acknowledged"] == outcomes["commits"] > 20


def step_down(group, old, new):
    """Expect that a primary which was away stops when it learns of another, and return after how many seconds."""
    start, host = time.monotonic(), group.hosts[old]
    wait_for(lambda: host.run(f"systemctl is-active {group.unit}").stdout != "active\n", f"the end of {old}")
    seconds = time.monotonic() - start
    assert "another member was promoted" in host.check_output("journalctl -u watch-postgres-main")
    host.check_output(f"systemctl start {group.unit}")  # a condition that is not met is no failure
    assert group.primaries() == [new]
    return seconds


def go_on(bursts):
    """Wait until every writer has committed again."""
    before = acknowledged(bursts)
    for burst, count in zip(bursts, before, strict=True):
        wait_for(lambda burst=burst, count=count: burst.acknowledged() > count + 20, "commits after the fail-over")


# While all is well ---------------------------------------------------------------------------------------------------


def test_both_standbys_follow_and_commits_wait_for_one_of_them(group):
    assert group.primary() == "zodb-db1"
    assert group.standbys("zodb-db1") == ["zodb-db2", "zodb-db3"]
    assert group.sql("zodb-db1", "show synchronous_standby_names") == "ANY 1 (zodb_zodb_db2, zodb_zodb_db3)"
    assert group.sql("zodb-db2", "show synchronous_standby_names") == ""


def test_readers_of_a_standby_see_blobs(hosts):
    client = Client(hosts["zodb-site1"])
    written = client.write_blob("pyams", "picture", size=4_000_000)
    client.host.check_output("find /var/cache/zodb/pyams -type f -name '*.blob' -delete")
    reader = Client(client.host, file="read-only.conf")
    wait_for(lambda: reader.read_blob("pyams", "picture") == written, "the blob on the standby")
    with pytest.raises(ClientError, match="ReadOnly"):
        reader.commit("pyams", never=1)


def test_a_standby_packs_nothing_and_is_well(hosts):
    host, file = hosts["zodb-db2"], "/etc/zodb/relstorage-pyams.toml"
    packed = host.run(f"/opt/zodb/relstorage-pyams/bin/zodb-pack {file}")
    assert (packed.rc, packed.stderr) == (
        0,
        "zodb-pack: pyams: the server on 127.0.0.1:5432 is a standby, which gets what its primary packs\n",
    )
    health = host.run(f"/opt/zodb/relstorage-pyams/bin/zodb-health --json {file}")
    assert health.rc == 0, health.stdout
    assert json.loads(health.stdout)[0]["standby"] is True


def test_no_secret_in_what_others_read(group, hosts):
    conf = f"/var/lib/postgresql/{group.version}/main/postgresql.auto.conf"
    places = f"/etc/postgresql {conf} /var/log /proc/[0-9]*/cmdline"
    for name in MEMBERS:
        host = hosts[name]
        for file in ("postgres-main.replication.pgpass", "relstorage-pyams.pgpass"):
            assert host.check_output(f"cut -d: -f5 /etc/zodb/{file} | wc -c") == "33"
            assert host.run(f"cut -d: -f5 /etc/zodb/{file} | grep -rlFs -f - {places}").stdout == ""
        assert host.check_output("stat -c '%U %a' /etc/zodb/postgres-main.replication.pgpass") == "postgres 600"


def test_check_mode_foretells_and_changes_nothing(group):
    run = promote("zodb-db2", "--check")
    assert run.tasks() == [
        ("Promote | Stop and disable who was the primary", "zodb-db1"),
        ("Promote | Promote the standby", "zodb-db2"),
    ]
    assert group.primary() == "zodb-db1"
    assert group.enabled("zodb-db1") == "auto"


@pytest.mark.parametrize(
    ("name", "variables", "sentence"),
    [
        ("promote", {"to": "zodb-db9"}, "relstorage_postgres_promote zodb-db9 is none of relstorage_postgres_members"),
        ("promote", {"to": "zodb-db2", "without": "zodb-db1"}, "zodb-db1 cannot be reached, and could go on to take"),
        ("rejoin", {"member": "zodb-db1"}, "no other member is the primary; promote one first."),
        ("leave", {"member": "zodb-db1"}, "relstorage_postgres_leave zodb-db1 is the primary; promote another with"),
    ],
)
def test_what_cannot_be_is_refused(group, name, variables, sentence):
    without = variables.pop("without", None)
    run = playbook(name, *(["--limit", f"!{without}"] if without else []), **variables)
    assert run.rc != 0
    assert sentence in run.output
    assert run.tasks() == []
    assert group.primary() == "zodb-db1"


# Its primary fails, and each commit waited for a standby --------------------------------------------------------------


@pytest.mark.parametrize("turn", range(ROUNDS))
class TestSynchronous:
    def test_paused(self, group, hosts, paused, turn):
        old = group.primary()
        new = next(name for name in MEMBERS if name != old)
        with writers(hosts) as bursts:
            with paused(old):
                promote(new, fenced=True)
                # Who starts goes on. Who is connected waits: that host's kernel still answers for its processes.
                Client(hosts["zodb-site1"]).commit("pyams", paused=turn)
            # It runs again, as it was, and acknowledges nothing until it stops.
            assert group.sql(old, "create table taken as select 1") is None
            step_down(group, old, new)
            rejoin(group, old)
            assert group.sql(group.primary(), "select to_regclass('taken')") == ""
            go_on(bursts)
        check(bursts)

    def test_cut_off(self, group, hosts, cut_off, turn):
        old = group.primary()
        new = next(name for name in MEMBERS if name != old)
        with writers(hosts) as bursts, cut_off(old):
            time.sleep(1)
            fail_over(bursts, new, "--limit", f"all:!{old}", fenced=True)
            go_on(bursts)
            # A client beside it is not answered: nobody has what it writes.
            assert group.sql(old, "create table taken as select 1") is None
        step_down(group, old, new)
        rejoin(group, old)
        check(bursts)

    def test_killed(self, group, hosts, killed, turn):
        old = group.primary()
        new = next(name for name in MEMBERS if name != old)
        with writers(hosts) as bursts:
            with killed(old):
                time.sleep(1)
                fail_over(bursts, new, fenced=True)
                go_on(bursts)
            # It has booted, and found that another takes writes.
            assert group.primaries() == [new]
            journal = f"journalctl -b -u {group.unit}"
            wait_for(lambda: "another member takes writes" in hosts[old].check_output(journal), "its word")
        check(bursts)
        rejoin(group, old)

    def test_stopped_in_order(self, group, hosts, turn):
        old = group.primary()
        new = next(name for name in MEMBERS if name != old)
        with writers(hosts) as bursts:
            promote(new)
            assert group.enabled(old) == "disabled"
            go_on(bursts)
        check(bursts)
        assert promote(new).tasks() == []
        rejoin(group, old)
        assert playbook("rejoin", member=old).tasks() == []


# ... and did not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["killed", "cut_off"])
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_asynchronous_loss_is_asked_for_and_told(group, hosts, request, failure, turn, capsys):
    fail = request.getfixturevalue(failure)
    old = group.primary()
    new = next(name for name in MEMBERS if name != old)
    converged = Play().run("-e", json.dumps({"relstorage_postgres_synchronous": False}), "--limit", old)
    assert converged.rc == 0, converged.output
    assert group.sql(old, "show synchronous_standby_names") == ""
    with writers(hosts) as bursts:
        with fail(old):
            time.sleep(1)
            words = ["--limit", f"all:!{old}"]
            variables = {"fenced": True, "relstorage_postgres_synchronous": False}
            refused = playbook("promote", *words, to=new, **variables)
            assert f"what {old} has acknowledged last, nobody can tell" in refused.output, refused.output
            run = fail_over(bursts, new, *words, **variables, accept_loss=True)
            assert "Restart the applications: commits may be lost" in run.output
            go_on(bursts)
        if failure == "cut_off":
            seconds = step_down(group, old, new)
            with capsys.disabled():
                print(f"\nof one that was cut off, nobody heard any more {seconds:.1f} s after it was back")
        assert group.primaries() == [new]
        Client(hosts["zodb-site1"]).commit("pyams", back=turn)
    # Right: writers went on, counters agree with what is stored; what is lost is a number.
    for burst in bursts:
        assert burst.result()["errors"] == 0
        try:
            told = f"0 of {burst.check()['acknowledged']} acknowledged are lost"
        except ClientError as error:
            told = str(error)
        assert re.search(r" are lost(, (\d+) are stored, \2 counted)?$", told), told
        with capsys.disabled():
            print(f"\nasynchronous, {failure}: {told}")
    rejoin(group, old)


def test_every_outage_was_measured(capsys):
    seconds = sorted(round(outage, 1) for outage in OUTAGES)
    with capsys.disabled():
        print(f"\nfrom the command to the first commit: median {statistics.median(seconds)} s of {seconds}")
    assert len(OUTAGES) == 4 * ROUNDS


# Who leaves -----------------------------------------------------------------------------------------------------------


def slots(group, name):
    """Return the standbys that a server keeps its log for."""
    return group.sql(name, "select string_agg(slot_name, ' ') from pg_replication_slots")


def test_a_standby_leaves_while_clients_write(group, hosts):
    primary = group.primary()
    leaves, stays = group.standbys(primary)
    slot = "zodb_" + stays.replace("-", "_")
    foretold = playbook("leave", "--check", member=leaves)
    assert foretold.rc == 0, foretold.output
    assert group.standbys(primary) == [leaves, stays]
    with writers(hosts) as bursts:
        run = playbook("leave", member=leaves)
        assert run.rc == 0, run.output
        go_on(bursts)
    check(bursts)
    assert run.tasks() == foretold.tasks()
    assert run.tasks()[-1] == ("Leave | Keep no log for it", primary)
    assert slots(group, primary) == slot
    assert group.sql(primary, "show synchronous_standby_names") == f"ANY 1 ({slot})"
    assert group.enabled(leaves) == "disabled"
    units = f"{group.unit} watch-postgres-main pack-relstorage-pyams.timer"
    assert hosts[leaves].run(f"systemctl is-active {units}").stdout == "inactive\n" * 3
    assert hosts[leaves].run("grep -rl -e zodb_replication -e postgres-main.guard /etc").stdout == ""
    hosts[leaves].check_output(f"test -e /var/lib/postgresql/{group.version}/main/PG_VERSION")
    assert playbook("leave", member=leaves).tasks() == []
    # Who runs the role before the inventory knows of it does no harm.
    early = Play().run("--limit", primary)
    assert f"{leaves} has left the group; take it out" in early.output
    assert early.tasks() == []


def test_the_last_of_a_group_is_an_ordinary_server_again(group, hosts):
    primary = group.primary()
    (last,) = group.standbys(primary)
    pair = [{"host": name, "address": MEMBERS[name]} for name in (primary, last)]
    asynchronous = {"relstorage_postgres_synchronous": False}
    limit = ["--limit", f"{primary},{last}"]
    left = playbook("leave", *limit, member=last, relstorage_postgres_members=pair, **asynchronous)
    assert left.rc == 0, left.output
    alone = Play().run("--limit", primary, relstorage_postgres_members=[], **asynchronous)
    assert alone.rc == 0, alone.output
    assert slots(group, primary) == ""
    assert group.sql(primary, "show synchronous_standby_names") == ""
    assert group.sql(primary, "select count(*) from pg_roles where rolname = 'zodb_replication'") == "0"
    host = hosts[primary]
    assert host.run("grep -rl -e zodb_replication -e postgres-main.guard /etc").stdout == ""
    assert host.run("systemctl is-active watch-postgres-main").stdout == "inactive\n"
    host.check_output(f"systemctl restart {group.unit}")
    Client(hosts["zodb-site1"]).commit("pyams", alone=True)
