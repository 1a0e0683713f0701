# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application waits for, as root: ratios of one run, times are never asserted.

PostgreSQL and its clients as relstorage_postgres sets them up stand beside the same with Debian's and RelStorage's own
settings, which are 1, and beside ZEO, each as durable as it comes, on one machine.

BENCH_ROUNDS is how often each work is repeated (1), the sides taking turns, and the medians count; BENCH_OBJECTS how
many objects of 3 KB there are (80,000: twice what Debian's shared_buffers hold).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile

import pytest
from deployed import deployed
from storage_kinds import make
from storage_servers import PYTHON, Certificates, PostgreSQL, until

HERE = pathlib.Path(__file__).parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1"))
OBJECTS = int(os.environ.get("BENCH_OBJECTS", "80000"))
CLIENTS = (1, 4)
OFTEN = OBJECTS // 4  # objects that a site works with, 60 MB: its processes read mostly the same, unless they are cold
READS = OFTEN * 3 // 4  # of each client: 45 MB, of which RelStorage's own cache, 10 MB, holds a fifth
FIRST = 200  # reads, as many as a few pages take
COMMITS = 50
COLD, CACHED, REST = "≤ 0.4", "≤ 0.05", "≤ 1.05"
GOALS = {
    "cold reads": COLD,
    "cold reads, server restarted": COLD,
    "the first cold reads, host restarted": COLD,
    "cold reads, host restarted": COLD,
    "read again": CACHED,
    "first reads, application restarted": CACHED,
    "commit 1": REST,
    "add 100": REST,
    "update 100": REST,
    "open": "",
    "open, application restarted": "",
    "close": "",
}
# As after a while of work, a server has in memory as much as its settings let it.
RUN_FOR_A_WHILE = """
create extension pg_prewarm;
select pg_prewarm(oid) from pg_class where relkind in ('r', 't', 'i') order by relpages;
"""


class Side:
    """A server, the configuration of its clients, and what was found: (work, number of clients) -> seconds."""

    def __init__(self, server, configuration, keys, cache=None):
        self.server, self.configuration, self.keys, self.cache = server, configuration, keys, cache
        self.data = server.data if isinstance(server, PostgreSQL) else server.folder
        self.found = {}

    def restart(self, host=False):
        """Restart the server in order, and wait until it has read in what it means to.

        host: as with its host, nothing of its files is in memory then.
        """
        postgresql = isinstance(self.server, PostgreSQL)
        before = self._prewarmed() if postgresql else 0
        self.server.stop(signal.SIGINT if postgresql else signal.SIGTERM)
        if host:
            for path in self.data.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.server.start()
        if postgresql and self.server.psql("show shared_preload_libraries"):
            until(lambda: self._prewarmed() > before, self.server.log.read_text, 60)

    def _prewarmed(self):
        return self.server.log.read_text().count("autoprewarm successfully prewarmed")

    def works(self, count):
        """Yield each work, and what each of so many clients is told to do, when all is ready for it."""
        first, cold, often = (
            [["read", str(self.keys), among, number, f"{count}-{client}"] for client in range(count)]
            for among, number in ((OBJECTS, FIRST), (OBJECTS, READS), (OFTEN, READS))
        )
        self._forget()
        yield "open", [["open"]] * count
        yield "cold reads", cold
        yield "close after cold reads", [["close"]] * count
        self._forget()
        yield "open with an empty cache", [["open"]] * count
        yield "read", often
        yield "read again", often
        yield "commit 1", [["commit", owner, COMMITS] for owner in range(count)]
        yield "add 100", [["add", owner] for owner in range(count)]
        yield "update 100", [["update", owner] for owner in range(count)]
        yield "close", [["close"]] * count
        # To storages and caches that is a restart: nothing outlives a database but what is on disk.
        yield "open, application restarted", [["open"]] * count
        yield "first reads, application restarted", often
        yield "close, application restarted", [["close"]] * count
        for what in ("server", "host"):
            self._forget()
            self.restart(host=what == "host")
            yield f"open, {what} restarted", [["open"]] * count
            yield f"the first cold reads, {what} restarted", first
            yield f"cold reads, {what} restarted", cold
            yield f"close, {what} restarted", [["close"]] * count

    def _forget(self):
        if self.cache:
            shutil.rmtree(self.cache, ignore_errors=True)

    def clients(self, count):
        """Return so many clients, context managers, which end with their standard input."""
        command = [PYTHON, HERE / "storage_bench.py", self.configuration]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return [subprocess.Popen(command, **pipes, text=True) for _client in range(count)]

    def do(self, work, clients, orders):
        """Have clients work at once, and note the mean of their seconds."""
        for client, order in zip(clients, orders):
            client.stdin.write(json.dumps(order) + "\n")
            client.stdin.flush()
        answers = [json.loads(client.stdout.readline()) for client in clients]
        self.found.setdefault((work, len(clients)), []).append(statistics.mean(answers))


def measure(sides, count):
    """Do each work once with so many clients, one side after the other."""
    with contextlib.ExitStack() as stack:
        clients = [side.clients(count) for side in sides]
        for client in itertools.chain(*clients):
            stack.enter_context(client)
        for steps in zip(*(side.works(count) for side in sides)):
            for side, own, (work, orders) in zip(sides, clients, steps):
                side.do(work, own, orders)


@pytest.fixture(scope="module")
def sides():
    """As the role makes it, with defaults, and ZEO. The database's account cannot reach folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="zodb-bench-") as name, contextlib.ExitStack() as stack:
        top = pathlib.Path(name)
        top.chmod(0o755)
        folders = {name: top / name for name in ("certificates", "defaults", "role", "client")}
        for folder in folders.values():
            folder.mkdir()
        defaults = PostgreSQL(folders["defaults"], Certificates(folders["certificates"]), durable=True)
        stack.callback(defaults.stop)
        database = defaults.make_database()
        plain = database_of(
            top / "plain.conf",
            "%import relstorage",
            "<relstorage>\nkeep-history false\n<postgresql>\n"
            f"dsn host=127.0.0.1 port={defaults.port} dbname={database} user={defaults.ROLE} passfile={passfile(top)}\n"
            "</postgresql>\n</relstorage>",
        )
        keys = fill(plain, top / "keys.json")
        defaults.psql("vacuum analyze", database)
        ours = defaults.twin(folders["role"])
        settings, configuration, cache = deployed(folders["client"], ours, database)
        ours.include(settings)
        for server in (ours, defaults):
            server.start()
            server.psql(RUN_FOR_A_WHILE, database)
        stack.callback(ours.stop)
        zeo = make("zeo", top / "zeo", blobs=None)
        stack.callback(zeo.server.stop)
        by_zeo = database_of(top / "zeo.conf", zeo.section.replace("{name}", ""))
        yield [
            Side(ours, configuration, keys, cache),
            Side(defaults, plain, keys),
            Side(zeo.server, by_zeo, fill(by_zeo, top / "zeo-keys.json")),
        ]


def database_of(path, *storage):
    path.write_text("\n".join(["<zodb main>", *storage, "</zodb>", ""]))
    return path


def passfile(folder):
    path = folder / "pgpass"
    path.write_text("*:*:*:*:" + PostgreSQL.QUOTED.replace("\\", "\\\\") + "\n")
    path.chmod(0o600)
    return path


def fill(configuration, keys):
    """Fill a storage, and return a file with the keys of what it got."""
    orders = [["open"], ["fill", OBJECTS, max(CLIENTS)], ["close"]]
    done = subprocess.run(
        [PYTHON, HERE / "storage_bench.py", configuration],
        input="".join(json.dumps(order) + "\n" for order in orders),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    keys.write_text(done.stdout.splitlines()[1])
    return keys


def test_what_an_application_waits_for(sides):
    for turn in range(ROUNDS):
        for count in CLIENTS:
            first = turn % len(sides)
            measure([*sides[first:], *sides[:first]], count)
    print(f"\n\n{'ratios, Debian and RelStorage = 1':46}{'role':>7}{'ZEO':>7}   goal   seconds")
    for work, goal in GOALS.items():
        for count in CLIENTS:
            role, defaults, zeo = (statistics.median(side.found[work, count]) for side in sides)
            print(f"{work} ({count})".ljust(46), end="")
            print(f"{role / defaults:7.2f}{zeo / defaults:7.2f}{goal:>7}{defaults:10.3f}")
