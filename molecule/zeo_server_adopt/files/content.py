# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""content.py CONF BEFORE [fill]: what a storage holds, as a line of JSON: every revision, every blob.

CONF is the application's file. fill writes objects and blobs, as a site does over the years, and keeps the line in the
file BEFORE. Without it only those transactions count that were there then.
"""

import hashlib
import json
import sys
from pathlib import Path

import transaction
import ZODB.config
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob, is_blob_record

PAGES, BLOBS = 400, 12


def fill(database):
    """Write pages in several transactions, some of them twice, and blobs of odd sizes."""
    with database.transaction() as connection:
        pages = connection.root()["pages"] = OOBTree()
        files = connection.root()["files"] = OOBTree()
    connection = database.open()
    root = connection.root()
    pages, files = root["pages"], root["files"]
    for number in range(PAGES):
        pages[f"page-{number}"] = PersistentMapping(title=f"Page {number}", text="é" * number)
        if number % 40 == 39:
            transaction.commit()
    for number in range(0, PAGES, 7):
        pages[f"page-{number}"]["text"] = "written anew"
    transaction.commit()
    for number in range(BLOBS):
        files[f"file-{number}"] = Blob(bytes([number]) * 10007 * number)
        transaction.commit()
    connection.close()


def digest(storage, last):
    """Return how many revisions and blobs there are up to the transaction last, and the hash of all of them."""
    found, revisions, blobs = hashlib.sha256(), 0, 0
    for entry in storage.iterator(None, last):
        for record in entry:
            revisions += 1
            found.update(record.oid + record.tid + (record.data or b""))
            if is_blob_record(record.data):
                blobs += 1
                found.update(Path(storage.loadBlob(record.oid, record.tid)).read_bytes())
    return {"revisions": revisions, "blobs": blobs, "sha256": found.hexdigest(), "last": last.hex()}


def main(conf, before, command="digest"):
    """Open the storage as an application does, and do what the command says."""
    before = Path(before)
    database = ZODB.config.databaseFromURL(conf)
    try:
        if command == "fill":
            fill(database)
            before.write_text(json.dumps(digest(database.storage, database.lastTransaction())), encoding="ascii")
        last = bytes.fromhex(json.loads(before.read_text(encoding="ascii"))["last"])
        print(json.dumps(digest(database.storage, last)))
    finally:
        database.close()


main(*sys.argv[1:])
