# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a RelStorage in Oracle."""

from __future__ import annotations

from ansible_collections.pyams.zodb.plugins.module_utils._agent_relational import Relational


class Oracle(Relational):
    """A RelStorage in Oracle."""

    PACKED = "SELECT MAX(tid) FROM transaction WHERE packed = 'Y' AND tid <> 0"
    BLOB_BYTES = "SELECT SUM(DBMS_LOB.GETLENGTH(chunk)) FROM blob_chunk"

    def lengths(self):
        return self.records()  # its LENGTH is one of characters
