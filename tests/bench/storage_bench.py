# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_bench.py CONFIGURATION: does to a database what is read from standard input, and prints as JSON what it took.

CONFIGURATION: file with a database of ZODB. Each line is JSON, the name of a work and its arguments; a work is a
function below, and answers seconds, but for fill(), which answers what it made. Runs by the virtualenv's Python, knows
nothing of the collection.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time

import transaction
import ZODB.config
from persistent import Persistent
from persistent.mapping import PersistentMapping

SIZE = 3000  # bytes of an object
MANY = 100  # objects of a transaction that adds or changes many
SEVERAL = 10  # of such transactions


class Item(Persistent):
    """An object whose content cannot be compressed."""

    def __init__(self):
        self.content = os.urandom(SIZE)


# What is pickled must be found by each process.
Item.__module__ = "storage_bench"
sys.modules["storage_bench"] = sys.modules["__main__"]


class Client:
    """One process of an application."""

    def __init__(self, configuration):
        self.configuration = configuration

    def open(self):
        self.database = ZODB.config.databaseFromURL(self.configuration)
        self.connection = self.database.open()
        self.connection.root()

    def close(self):
        transaction.abort()
        self.connection.close()
        self.database.close()

    def fill(self, count, owners):
        """Return the oids of so many objects, which nobody changes; and make a place of its own for each owner."""
        root, oids = self.connection.root(), []
        for owner in range(owners):
            root[f"owner-{owner}"] = PersistentMapping()
        while len(oids) < count:
            made = root[f"part-{len(oids)}"] = PersistentMapping()
            items = [Item() for _item in range(min(1000, count - len(oids)))]
            for number, item in enumerate(items):
                made[number] = item
            transaction.commit()
            oids += [item._p_oid.hex() for item in items]
            self.connection.cacheMinimize()
        return oids

    def _mine(self, owner):
        transaction.abort()
        return self.connection.root()[f"owner-{owner}"]

    def commit(self, owner, times):
        """Commit one object, again and again."""
        mine = self._mine(owner)
        mine.setdefault("one", Item())
        transaction.commit()
        began = time.perf_counter()
        for _time in range(times):
            mine["one"].content = os.urandom(SIZE)
            transaction.commit()
        return time.perf_counter() - began

    def add(self, owner):
        """Commit many new objects at once, several times."""
        mine = self._mine(owner)
        mine["many"] = many = PersistentMapping()
        transaction.commit()
        seconds = 0
        for turn in range(SEVERAL):
            items = [Item() for _item in range(MANY)]
            began = time.perf_counter()
            for number, item in enumerate(items):
                many[turn, number] = item
            transaction.commit()
            seconds += time.perf_counter() - began
        return seconds

    def update(self, owner):
        """Commit changes of all of these, as many at once."""
        many = self._mine(owner)["many"]
        seconds = 0
        for turn in range(SEVERAL):
            contents = [os.urandom(SIZE) for _number in range(MANY)]
            began = time.perf_counter()
            for number, content in enumerate(contents):
                many[turn, number].content = content
            transaction.commit()
            seconds += time.perf_counter() - began
        return seconds

    def read(self, oids, count, seed):
        """Read so many objects of a file's, which ZODB's own cache does not hold, in an order of their seed."""
        with open(oids, encoding="utf-8") as file:
            chosen = [bytes.fromhex(oid) for oid in random.Random(seed).sample(json.load(file), count)]
        transaction.abort()
        self.connection.cacheMinimize()
        began = time.perf_counter()
        for oid in chosen:
            assert len(self.connection.get(oid).content) == SIZE
        return time.perf_counter() - began


def main(configuration):
    """Work until there is nothing more to do."""
    client = Client(configuration)
    for line in sys.stdin:
        work, *arguments = json.loads(line)
        began = time.perf_counter()
        answer = getattr(client, work)(*arguments)
        print(json.dumps(time.perf_counter() - began if answer is None else answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
