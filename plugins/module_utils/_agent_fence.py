# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): keeps a PostgreSQL database from being written."""

from __future__ import annotations

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Refused, first_line
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zconfig import storage


def fence(request):
    """Answer with who has a PostgreSQL database open, and have it fenced or not.

    request: storage; up: whether it is to be, null to leave it; do: false only tells.
    """
    one = storage(request["storage"])
    if one.kind != "postgresql":
        raise Refused(f"storage of the kind {one.kind} has no fence of its own; only one of PostgreSQL has.")
    one.database = one.new_database()
    try:
        clients, fences = one.clients(), one.fences()
        up = any(fences.values()) if request["up"] is None else request["up"]
        tables = [table for table, is_up in fences.items() if is_up != up]
        if tables and request["do"]:
            one.fence(tables, up)
    except Exception as error:  # each driver has exceptions of its own
        raise Refused(f"the database does not answer as it should: {first_line(error)}") from None
    if up and not fences:
        raise Refused("the database has none of RelStorage's tables.")
    return {"clients": clients, "changed": bool(tables), "read_only": up}
