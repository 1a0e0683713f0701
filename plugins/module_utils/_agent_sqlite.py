# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a RelStorage in SQLite."""

from __future__ import annotations

import os
import types

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Missing
from ansible_collections.pyams.zodb.plugins.module_utils._agent_relational import Relational


class Sqlite(Relational):
    """A RelStorage in a folder of SQLite's files."""

    # A word of SQL, which only SQLite wants to be quoted.
    TRANSACTIONS = 'SELECT COUNT(*) FROM "transaction" WHERE tid <> 0'
    PACKED = 'SELECT MAX(tid) FROM "transaction" WHERE packed = TRUE AND tid <> 0'
    VERSION = "SELECT sqlite_version()"

    def __init__(self, found):
        super().__init__(found)
        self.kind = "sqlite"
        self.path = os.path.abspath(self.adapter.config.data_dir)

    def open(self):
        if not os.path.isfile(os.path.join(self.path, "main.sqlite3")):
            raise Missing(f"there is no SQLite database main.sqlite3 in {self.path}.")
        super().open()

    def open_for_writing(self):
        # RelStorage has SQLite hold all of a transaction in memory, so that it locks nothing before its end.
        given = self.adapter.config.pragmas
        pragmas = {"cache_spill": 1, **(given.pragmas if given else {})}
        self.adapter.config.pragmas = types.SimpleNamespace(pragmas=pragmas)
        super().open_for_writing()

    def identity(self):
        return f"sqlite {os.path.realpath(self.path)}"
