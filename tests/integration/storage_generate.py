# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_generate.py CONFIGURATION OPTIONS: fills a storage with data of a seed, and prints what it did as JSON.

CONFIGURATION: file with the storage's section. OPTIONS, JSON, each may be absent:
seed          of all that is random but tids; one is drawn if absent, and is in the answer
objects       how many, beside those that hold them together
payload       bytes that each has on average
transactions  that change some of them afterwards
blobs         sizes in bytes; the last one is rewritten once
undo          undo a change and a change of a blob, where the storage keeps history
undo_creation undo the creation of an object likewise; RelStorage's zodbconvert dies of it on the way to no history
packed        pack after half of the changes, with objects that nothing refers to
clock         seconds that this process's clock goes before

Run again with another seed, it adds to what is there. Runs by the virtualenv's Python, knows nothing of the collection.
"""

from __future__ import annotations

import json
import random
import sys
import time

import transaction
import ZODB.config
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob

WORDS = ("naïve", "Ελλάδα", "日本語", "🐘", "O'Brien", '"quoted"', "$(HOME)", "back\\slash", "two\nlines", "")


class Filler:
    """One run over an open database."""

    def __init__(self, database, seed, payload):
        self.database, self.payload = database, payload
        self.random = random.Random(seed)
        self.connection = database.open()
        self.folder = self.connection.root()[f"seed {seed}"] = OOBTree()
        self.objects: list[PersistentMapping] = []
        self.blobs: list[Blob] = []
        self.done = {"transactions": 0, "undone": 0, "objects": 0, "blobs": 0}

    def commit(self, note):
        """Commit with everything that a transaction may have with it."""
        current = transaction.get()
        current.user = self.random.choice(WORDS)
        current.note(f"{note} {self.random.choice(WORDS)}")
        if self.random.random() < 0.7:
            current.setExtendedInfo(
                "request", {"path": self.random.choice(WORDS), "size": self.random.randrange(10**9)}
            )
        transaction.commit()
        self.done["transactions"] += 1

    def value(self):
        size = self.random.randrange(2 * self.payload + 1)
        return self.random.choice(WORDS) * 2, self.random.randbytes(size)

    def add_objects(self, number):
        for index in range(number):
            made = PersistentMapping(number=index, value=self.value())
            if self.objects:
                made["other"] = self.random.choice(self.objects)
            self.folder[f"{index:08}"] = made
            self.objects.append(made)
            if index % 1000 == 999:
                self.commit("add")
                self.connection.cacheMinimize()
        self.commit("add")
        self.done["objects"] += number

    def add_blobs(self, sizes):
        for number, size in enumerate(sizes):
            blob = self.folder[f"blob {number} of {size}"] = Blob(self.random.randbytes(size))
            self.blobs.append(blob)
        self.commit("blobs")
        self.write(self.blobs[-1], sizes[-1])
        self.commit("blob again")
        self.done["blobs"] += len(sizes)

    def write(self, blob, size):
        with blob.open("w") as file:
            file.write(self.random.randbytes(size))

    def change(self):
        chosen = self.random.sample(self.objects, min(len(self.objects), self.random.randrange(1, 6)))
        for one in chosen:
            one["value"] = self.value()
        # What nothing refers to any more, until a pack takes it away
        self.folder["lost"] = PersistentMapping(value=self.value())
        self.commit("change")

    def undo_changes(self):
        """Undo what changes an object, and what changes a blob."""
        self.objects[0]["value"] = self.value()
        self.commit("to be undone")
        self.undo()
        if self.blobs:
            self.write(self.blobs[0], 1000)
            self.commit("blob to be undone")
            self.undo()

    def undo_creation(self):
        """Undo what makes an object."""
        self.connection.add(PersistentMapping(value=self.value()))
        self.commit("creation to be undone")
        self.undo()

    def undo(self):
        self.database.undo(self.database.undoLog(0, 1)[0]["id"])
        self.commit("undo")
        self.connection.sync()
        self.done["undone"] += 1


def main(configuration, options):
    """Fill the storage; return what was done."""
    offset = options.get("clock", 0)
    if offset:
        now = time.time
        time.time = lambda: now() + offset
    seed = options.get("seed", random.SystemRandom().randrange(10**6))
    with open(configuration, encoding="utf-8") as file:
        storage = ZODB.config.storageFromFile(file)
    database = ZODB.DB(storage, large_record_size=1 << 30)
    filler = Filler(database, seed, options.get("payload", 200))
    filler.add_objects(options.get("objects", 60))
    sizes = options.get("blobs", [0, 1, 70_000, 1_500_000])
    if sizes:
        filler.add_blobs(sizes)
    changes = options.get("transactions", 12)
    for number in range(changes):
        if number == changes // 2 and options.get("packed"):
            database.pack()
        filler.change()
    if options.get("undo", True) and database.supportsUndo():
        filler.undo_changes()
    if options.get("undo_creation", True) and database.supportsUndo():
        filler.undo_creation()
    last = storage.lastTransaction().hex()
    filler.connection.close()
    database.close()
    return {"seed": seed, "last_tid": last, **filler.done}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
