# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_bench.py CONFIGURATION: does to a database what is read from standard input, and prints as JSON what it took.

CONFIGURATION: file with a database of ZODB. Each line is JSON, the name of a work and its arguments; a work is a
function below, and answers seconds, but for fill(), which answers what it made. Runs by the virtualenv's Python, knows
nothing of the collection.
"""

from __future__ import annotations

import itertools
import json
import random
import string
import sys
import time

import transaction
import ZODB.config
from persistent import Persistent
from persistent.mapping import PersistentMapping

SIZE = 3000  # letters of an object
MANY = 100  # objects of a transaction that adds or changes many
SEVERAL = 10  # of such transactions


def _paragraphs(count, letters):
    """Return texts in which, as in any, few words come often."""
    words = ["".join(random.choices(string.ascii_lowercase, k=2 + number % 9)) for number in range(3000)]
    often = list(itertools.accumulate(1 / number for number in range(1, len(words) + 1)))
    return [" ".join(random.choices(words, cum_weights=often, k=letters))[:letters] for _text in range(count)]


PARAGRAPHS = _paragraphs(1000, SIZE // 6)


def text():
    return "".join(random.choices(PARAGRAPHS, k=6))


class Item(Persistent):
    """An object whose state can be compressed as much as a page of text."""

    def __init__(self):
        self.content = text()


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
        """Return the keys of so many objects, which nobody changes; and make a place of its own for each owner."""
        root, keys = self.connection.root(), []
        for owner in range(owners):
            root[f"owner-{owner}"] = PersistentMapping()
        while len(keys) < count:
            part = f"part-{len(keys)}"
            made = root[part] = PersistentMapping()
            for number in range(min(1000, count - len(keys))):
                made[number] = Item()
                keys.append((part, number))
            transaction.commit()
            self.connection.cacheMinimize()
        return keys

    def _mine(self, owner):
        transaction.abort()
        return self.connection.root()[f"owner-{owner}"]

    def commit(self, owner, times):
        """Commit one object, again and again."""
        mine = self._mine(owner)
        mine.setdefault("one", Item())
        transaction.commit()
        contents = [text() for _time in range(times)]
        began = time.perf_counter()
        for content in contents:
            mine["one"].content = content
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
            contents = [text() for _number in range(MANY)]
            began = time.perf_counter()
            for number, content in enumerate(contents):
                many[turn, number].content = content
            transaction.commit()
            seconds += time.perf_counter() - began
        return seconds

    def read(self, keys, among, count, seed):
        """Read so many objects among so many of a file of keys, as one comes to them by what refers to them.

        Among which is the same for all clients; the seed tells which of them, and in which order. ZODB's own cache has
        none.
        """
        with open(keys, encoding="utf-8") as file:
            chosen = random.Random(seed).sample(random.Random(among).sample(json.load(file), among), count)
        transaction.abort()
        self.connection.cacheMinimize()
        root = self.connection.root()
        items = [root[part][number] for part, number in chosen]
        self.connection.cacheMinimize()
        began = time.perf_counter()
        for item in items:
            assert len(item.content) == SIZE
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
