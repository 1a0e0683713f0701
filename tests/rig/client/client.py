# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application does with a storage: one command is one new process that opens the client's file.

    python client.py [--conf FILE] [--through zodb|zodburi|zope] COMMAND ...

Results are one line of JSON. Exit status: 0 done, 1 not as it should be (said on standard error), 2 wrong usage;
an exception of the storage ends it as in any application, with a traceback and 1.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import transaction
import ZConfig
import ZODB.config
import zodburi
from BTrees.IOBTree import IOBTree
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.blob import Blob
from ZODB.POSException import ConflictError

# Zope's own schema for zope.conf, in which it defines <zodb_db>; an instance's file includes the emitted one.
ZOPE_CONF = "instancehome {home}\n%include {conf}\n"
# Of one try to commit. Unacknowledged: stored, but the server died before it said so. Interrupted: the server went away
# during the transaction, which an application tries again.
OUTCOMES = ("commits", "conflicts", "unacknowledged", "interrupted", "errors")
AWAY = ("OperationalError", "InterfaceError")  # of a driver of RelStorage, which ZODB does not know as transient
PAUSE = 0.02  # seconds between a writer's tries, unless told otherwise


def open_database(conf, through):
    """Open the first database of the file conf as the library through does it."""
    if through == "zodb":
        return ZODB.config.databaseFromURL(conf)
    if through == "zodburi":
        factory, keywords = zodburi.resolve_uri(f"zconfig://{conf}#main")
        return ZODB.DB(factory(), **keywords)
    import Zope2.Startup
    import Zope2.Startup.datatypes

    schema = ZConfig.loadSchema(str(Path(Zope2.Startup.__file__).with_name("wsgischema.xml")))
    home = Path(conf).parent
    loader = ZConfig.loader.ConfigLoader(schema)
    text = io.StringIO(ZOPE_CONF.format(home=home, conf=conf))
    resource = loader.createResource(text, f"file://{home}/instance.conf")
    configuration, _handlers = loader.loadResource(resource)
    return configuration.dbtab.getDatabase("/")


@contextlib.contextmanager
def database(options):
    opened = open_database(options.conf, options.through)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def root(options):
    with database(options) as opened:
        connection = opened.open()
        try:
            yield connection.root()
        finally:
            transaction.abort()
            connection.close()


def say(**result):
    print(json.dumps(result, sort_keys=True), flush=True)


def fail(sentence):
    sys.exit(f"client.py: {sentence}")


# One transaction ----------------------------------------------------------------------------------------------------


def commit(options):
    with root(options) as mapping:
        for pair in options.pairs:
            key, _equals, value = pair.partition("=")
            mapping[key] = json.loads(value)
        transaction.get().note(options.note)
        transaction.commit()
        say(tid=mapping._p_serial.hex())


def read(options):
    with root(options) as mapping:
        if options.key not in mapping:
            fail(f"{options.key} is not there")
        say(value=mapping[options.key])


def blob_write(options):
    content = os.urandom(options.size)
    with root(options) as mapping:
        blob = mapping[options.key] = Blob()
        with blob.open("w") as file:
            file.write(content)
        transaction.commit()
    say(sha256=hashlib.sha256(content).hexdigest(), size=options.size)


def blob_read(options):
    with root(options) as mapping, mapping[options.key].open("r") as file:
        content = file.read()
    say(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def undo(options):
    """Undo the newest transaction with this note."""
    with database(options) as opened:
        found = [entry for entry in opened.undoInfo(0, 100) if entry["description"] == options.note]
        if not found:
            fail(f"no transaction noted {options.note} can be undone")
        opened.undo(found[0]["id"])
        transaction.commit()
        say(undone=found[0]["time"])


def history(options):
    """Count the revisions of the root object: what a pack leaves."""
    with database(options) as opened:
        say(revisions=len(opened.history(b"\0" * 8, 10000)), last=opened.lastTransaction().hex())


def conflict(options):
    """Two connections write one object at once: a counter is resolved, a plain value is refused."""
    with database(options) as opened:
        connections = [opened.open(transaction.TransactionManager()) for _connection in range(2)]

        def write(change):
            for connection in connections:
                connection.transaction_manager.begin()
                change(connection.root())
            for connection in connections:
                connection.transaction_manager.commit()

        first = connections[0]
        first.root()["count"], first.root()["plain"] = Length(), PersistentMapping()
        first.transaction_manager.commit()
        write(lambda mapping: mapping["count"].change(1))
        first.transaction_manager.begin()
        counted = first.root()["count"]()
        try:
            write(lambda mapping: mapping["plain"].update(answer=time.time()))
            refused = False
        except ConflictError:
            refused = True
        for connection in connections:
            connection.transaction_manager.abort()
            connection.close()
    say(counted=counted, refused=refused)


def hold(options):
    """Vote, then keep the commit lock for some seconds before finishing, as a hung application does."""
    with database(options) as opened:
        connection = opened.open()
        connection.root()["held"] = time.time()
        storage, description = connection._normal_storage, transaction.get()
        connection.tpc_begin(description)
        connection.commit(description)
        connection.tpc_vote(description)
        say(held=storage.sortKey())
        time.sleep(options.seconds)
        connection.tpc_finish(description)
        say(finished=True)


# Many transactions, with a ledger ------------------------------------------------------------------------------------


def burst(options):
    """Write with several processes until LEDGER.stop exists; an acknowledged commit is a line of the ledger before the
    next one starts."""
    with root(options) as mapping:
        mapping.setdefault("burst", OOBTree())
        mapping.setdefault("burst-counts", OOBTree())
        for worker in range(options.processes):
            name = f"{options.label}-{worker}"
            mapping["burst"].setdefault(name, IOBTree())
            mapping["burst-counts"].setdefault(counter_of(name), Length())
        transaction.commit()
    command = [sys.executable, __file__, "--conf", options.conf, "--through", options.through, "write-burst"]
    command += ["--pause", str(options.pause), options.ledger]
    workers = [
        subprocess.Popen([*command, f"{options.label}-{n}"], stdout=subprocess.PIPE) for n in range(options.processes)
    ]
    totals = dict.fromkeys(OUTCOMES, 0)
    for worker in workers:
        output, _errors = worker.communicate()
        if worker.returncode:
            fail(f"a writer ended with {worker.returncode}")
        for name, number in json.loads(output).items():
            totals[name] += number
    say(**totals)


def counter_of(worker):
    """Return the name of the counter that a writer shares with one other, so that there are conflicts to resolve."""
    label, _dash, number = worker.rpartition("-")
    return f"{label}-{int(number) // 2}"


def write_burst(options):
    """Write as one process of a burst, each transaction an entry of its own and a shared counter."""
    totals = dict.fromkeys(OUTCOMES, 0)
    ledger = os.open(options.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    end = Path(f"{options.ledger}.stop")
    number = 0
    with database(options) as opened:
        connection = opened.open()
        while not end.exists():
            outcome = write_once(connection, options.worker, number)
            totals[outcome] += 1
            if outcome == "commits":
                os.write(ledger, f"{options.worker} {number}\n".encode())
                os.fsync(ledger)
            if outcome in ("commits", "unacknowledged"):
                number += 1
            time.sleep(10 * PAUSE if outcome in ("interrupted", "errors") else options.pause)
        connection.close()
    say(**totals)


def write_once(connection, worker, number):
    """Try one transaction; return which of the OUTCOMES it had."""
    try:
        transaction.begin()
        mapping = connection.root()
        if number in mapping["burst"][worker]:
            return "unacknowledged"
        mapping["burst"][worker][number] = time.time_ns()
        mapping["burst-counts"][counter_of(worker)].change(1)
        transaction.commit()
    except ConflictError:
        return "conflicts"
    except TransientError:
        return "interrupted"
    except Exception as error:  # a writer that died would take the others with it, and hide why
        if "finished called wo lock" in str(error):
            return "conflicts"  # ZEO's client, which resolves them itself, sometimes finishes what it never voted
        if type(error).__name__ in AWAY:
            return "interrupted"
        print(f"{worker}: {type(error).__name__}: {error}", file=sys.stderr)
        return "errors"
    finally:
        # RelStorage looks for what is new after an abort too, and says once more that its server is away.
        with contextlib.suppress(Exception):
            transaction.abort()
    return "commits"


def check_ledger(options):
    """Every acknowledged commit is in the storage, and the counters agree."""
    acknowledged = [line.split() for line in Path(options.ledger).read_text(encoding="ascii").splitlines()]
    with root(options) as mapping:
        missing = [
            f"{worker} {number}" for worker, number in acknowledged if int(number) not in mapping["burst"][worker]
        ]
        stored = sum(len(numbers) for numbers in mapping["burst"].values())
        counted = sum(counter() for counter in mapping["burst-counts"].values())
    say(acknowledged=len(acknowledged), stored=stored, counted=counted, missing=missing)
    if missing or counted != stored:
        fail(f"{len(missing)} of {len(acknowledged)} acknowledged are lost, {stored} are stored, {counted} counted")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conf", default="/etc/zodb/pyams/zodb.conf")
    parser.add_argument("--through", choices=("zodb", "zodburi", "zope"), default="zodb")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, *arguments):
        added = commands.add_parser(function.__name__.replace("_", "-"), help=function.__doc__)
        for name, keywords in arguments:
            added.add_argument(name, **keywords)
        added.set_defaults(function=function)

    key = ("key", {})
    ledger = ("ledger", {})
    pause = ("--pause", {"type": float, "default": PAUSE})
    command(commit, ("--note", {"default": ""}), ("pairs", {"nargs": "+", "metavar": "KEY=JSON"}))
    command(read, key)
    command(blob_write, key, ("--size", {"type": int, "default": 100000}))
    command(blob_read, key)
    command(undo, ("note", {}))
    command(history)
    command(conflict)
    command(hold, ("--seconds", {"type": float, "default": 15}))
    command(burst, ("--processes", {"type": int, "default": 8}), ("--label", {"default": "w"}), pause, ledger)
    command(write_burst, pause, ledger, ("worker", {}))
    command(check_ledger, ledger)
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
