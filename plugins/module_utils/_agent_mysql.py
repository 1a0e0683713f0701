# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a RelStorage in MySQL or MariaDB."""

from __future__ import annotations

import itertools

from ansible_collections.pyams.zodb.plugins.module_utils._agent_relational import OBJECTS, Relational
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Length

PAGE = 1000  # objects that are asked for at once
PAGE_BYTES = 4 << 20  # of states, unless one alone has more


class Mysql(Relational):
    """A RelStorage in MySQL or MariaDB.

    What a query has not handed out yet is lost, without an error, when the connection is asked something else.
    """

    VERSION = "SELECT version()"

    def identity(self):
        return "mysql {}".format(self.value("SELECT CONCAT(@@hostname, ':', @@port, '/', DATABASE())"))

    def _loaded(self, query):
        """Return all rows of a query, asked by the connection that objects and blobs are read by."""
        cursor = self.storage._load_connection.cursor
        cursor.execute(query)
        return cursor.fetchall()

    def _pages(self, length):
        """Yield rows (zoid, tid, length of the state) of the current objects, page by page. length: in SQL."""
        query = f"SELECT zoid, tid, {length} {OBJECTS[self.keeps_history]} AND zoid >= {{}} ORDER BY zoid LIMIT {PAGE}"
        start = 0
        while page := self._loaded(query.format(start)):
            yield page
            start = page[-1][0] + 1

    def _lengths(self):
        from ZODB.utils import p64

        for page in self._pages("LENGTH(state)"):
            for oid, tid, length in page:
                yield p64(oid), p64(tid), Length(length)

    def _records(self):
        from ZODB.utils import p64

        query = f"SELECT zoid, tid, state {OBJECTS[self.keeps_history]} AND zoid BETWEEN {{}} AND {{}} ORDER BY zoid"
        for page in self._pages("state_size"):
            while page:
                sizes = itertools.accumulate(size for _oid, _tid, size in page)
                fit = sum(1 for size in sizes if size <= PAGE_BYTES) or 1
                for oid, tid, state in self._loaded(query.format(page[0][0], page[fit - 1][0])):
                    yield p64(oid), p64(tid), bytes(state)
                page = page[fit:]
