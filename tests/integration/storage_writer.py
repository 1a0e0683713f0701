# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_writer.py CONFIGURATION LEDGER RATE: commits to a storage until SIGTERM, and notes what was acknowledged.

CONFIGURATION: file with the storage's section. RATE: transactions a second, less where the storage is slower. Each adds
an object and changes another, each tenth adds a blob. LEDGER: a line of JSON for each, written when the commit has
returned: object, tid, digests of state and blob. A commit that fails is left out and the next one is tried. Runs by the
virtualenv's Python, knows nothing of the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time

import transaction
import ZODB.config
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob


def digest(data):
    return hashlib.sha256(data).hexdigest()


def commit(connection, number):
    """Commit one transaction; return what it made."""
    content = os.urandom(500)
    made = PersistentMapping(number=number) if number % 10 else Blob(content)
    folder = connection.root()["written"]
    folder[f"{number:08}"] = made
    connection.root()["counter"]["number"] = number
    transaction.get().note(f"number {number}")
    transaction.commit()
    connection.sync()
    state, tid = connection._storage.load(made._p_oid)
    blob = None if number % 10 else digest(content)
    return {"oid": made._p_oid.hex(), "tid": tid.hex(), "state": digest(state), "blob": blob}


def main(configuration, ledger, rate):
    """Write until SIGTERM."""
    running = [True]
    signal.signal(signal.SIGTERM, lambda *_signal: running.clear())
    with open(configuration, encoding="utf-8") as file:
        database = ZODB.DB(ZODB.config.storageFromFile(file))
    connection = database.open()
    connection.root()["written"] = OOBTree()
    connection.root()["counter"] = PersistentMapping()
    transaction.commit()
    number, start = 0, time.monotonic()
    with open(ledger, "a", encoding="utf-8") as file:
        while running:
            number += 1
            try:
                file.write(json.dumps(commit(connection, number)) + "\n")
                file.flush()
            except Exception as error:
                print(f"{number}: {error!r}", file=sys.stderr, flush=True)
                transaction.abort()
            time.sleep(max(0, start + number / rate - time.monotonic()))
    connection.close()
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
