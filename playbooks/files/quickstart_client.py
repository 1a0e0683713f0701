# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quickstart's client: reads zodb.conf as an application does.

Arguments: path of zodb.conf; `write` (an object and a blob through one connection, unless they are there) or `read`.
Prints one line that starts with `written` if something was. Exit status 1 and a traceback if the storage is not what
it should be.
"""

import sys

import transaction
import ZODB.config
from ZODB.blob import Blob

CONTENT = b"a blob, served by ZEO"

path, action = sys.argv[1:]
database = ZODB.config.databaseFromURL(path)
writer, reader = (database.open(transaction.TransactionManager()) for _connection in range(2))
words = []
if action == "write" and "quickstart" not in writer.root():
    with writer.transaction_manager:
        writer.root()["quickstart"] = {"greeting": "hello", "blob": Blob(CONTENT)}
    words.append("written through one connection")
reader.sync()
found = reader.root().get("quickstart")
if found is not None:
    assert found["greeting"] == "hello"
    with found["blob"].open() as blob:
        assert blob.read() == CONTENT
    words.append("read through %s" % ("another" if words else "a connection"))
words.append("%d objects in %s" % (database.objectCount(), database.storage.getName()))
print(", ".join(words))
database.close()
