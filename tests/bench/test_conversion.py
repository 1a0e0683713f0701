# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zodbconvert costs beside the script that it wraps, as root: ratios of one run, times are never asserted.

PostgreSQL is as relstorage_postgres sets it up, and waits for its disk.

BENCH_ROUNDS is how often each work is repeated (1), the medians count; BENCH_OBJECTS how many objects the source has
(20,000), and as many blobs of 50 KB as a fortieth of that.
"""

from __future__ import annotations

import os
import pathlib
import signal
import statistics
import tempfile
import time

import pytest
import storage_kinds
from conversions import Converter, measured
from deployed import deployed
from storage_servers import VIRTUALENV, Certificates, PostgreSQL

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1"))
OBJECTS = int(os.environ.get("BENCH_OBJECTS", "20000"))


class Bench:
    """A source, and new destinations for it."""

    def __init__(self, folder):
        for name in ("postgresql", "certificates", "deployed"):
            (folder / name).mkdir()
        folder.chmod(0o755)
        self.folder = folder
        self.postgresql = PostgreSQL(folder / "postgresql", Certificates(folder / "certificates"), durable=True)
        self.postgresql.include(deployed(folder / "deployed", self.postgresql, "bench")[0])
        self.postgresql.stop(signal.SIGINT)
        self.postgresql.start()
        self.made = 0
        self.source = self.storage("filestorage")
        self.source.fill(seed=1, objects=OBJECTS, payload=1000, blobs=[50_000] * (OBJECTS // 40), undo_creation=False)

    def storage(self, kind):
        self.made += 1
        return storage_kinds.make(kind, self.folder / f"{self.made}-{kind}", postgresql=self.postgresql)

    def script(self, destination, *options):
        """Return the seconds of RelStorage's script."""
        config = self.folder / "zodbconvert.conf"
        config.write_text(self.source.zconfig("source") + destination.zconfig("destination"))
        return measured(VIRTUALENV / "bin" / "zodbconvert", *options, config)[0]

    def module(self, destination, record="records", **options):
        """Return (seconds, MiB) of the module."""
        options["state_dir"] = str(self.folder / record)
        return Converter(self.folder).measured(self.source, destination, **options)[:2]


@pytest.fixture(scope="module")
def bench():
    """In a folder that the database's account can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="zodb-bench-") as folder:
        made = Bench(pathlib.Path(folder))
        yield made
        made.postgresql.stop()


def tell(what, value):
    print(f"\n{what}: {value}", end="", flush=True)


def test_into_postgresql(bench):
    """Each round has its own databases; that of the last one gets what the source gets later."""
    found = {name: [] for name in ("script", "full", "compare", "nothing", "incremental")}
    memory = 0
    for _round in range(ROUNDS):
        bare, proven = bench.storage("postgresql"), bench.storage("postgresql")
        found["script"].append(bench.script(bare))
        found["incremental"].append(bench.script(bare, "--incremental"))
        for name, record in (("full", "records"), ("compare", "others"), ("nothing", "records")):
            seconds, size = bench.module(proven, record)
            found[name].append(seconds)
            memory = max(memory, size)
    script, full, compare, nothing, incremental = (statistics.median(times) for times in found.values())
    tell("full copy with its proof ÷ the bare script, into PostgreSQL without history", f"{full / script:.2f}")
    tell("a full comparison alone ÷ the bare script", f"{compare / script:.2f}")
    tell("nothing to do, with a record ÷ zodbconvert --incremental", f"{nothing / incremental:.2f}")
    tell("memory of the largest process, MiB", f"{memory:.0f}")
    began = time.monotonic()
    bench.source.fill(seed=2, objects=10, transactions=max(OBJECTS // 40, 100), blobs=[], undo_creation=False)
    tell("the tail, written in s", f"{time.monotonic() - began:.1f}")
    ours = bench.module(proven)[0]
    tell("the script ÷ our catch-up, of the same tail", f"{bench.script(bare, '--incremental') / ours:.1f}")


@pytest.mark.parametrize("kind", ["sqlite", "filestorage"])
def test_by_the_script(bench, kind):
    found = {"script": [], "module": []}
    for _round in range(ROUNDS):
        found["script"].append(bench.script(bench.storage(kind)))
        found["module"].append(bench.module(bench.storage(kind), verify="fast")[0])
    script, module = (statistics.median(times) for times in found.values())
    tell(f"full copy with verify: fast ÷ the bare script, into {kind}", f"{module / script:.2f}")
