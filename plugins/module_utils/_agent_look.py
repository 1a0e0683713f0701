# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): what both sides are, and what there is to copy."""

from __future__ import annotations

from ansible_collections.pyams.zodb.plugins.module_utils._agent_catch_up import Tail
from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import (
    NOTHING,
    Missing,
    Progress,
    Unreachable,
    number,
    raw,
)
from ansible_collections.pyams.zodb.plugins.module_utils._agent_compare import compare
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zconfig import storage


def inspect(request):
    """Answer with what both sides are. request: source, destination, others: whether to count the latter's sessions."""
    source, destination = storage(request["source"]), storage(request["destination"])
    destination.counts_others = request["others"]
    return {"source": side(source), "destination": side(destination)}


def side(one):
    """Return what the module has to know of a storage before it decides."""
    about = {
        "kind": one.kind,
        "path": one.path,
        "blob_dir": one.blob_dir,
        "shared": one.shared,
        "reachable": True,
        "exists": True,
        "partly": False,
        "error": None,
        "last_tid": number(NOTHING),
        "objects": 0,
        "inode": None,
    }
    try:
        with one:
            about.update(last_tid=number(one.last()), objects=one.count(), inode=one.inode(), path=one.path)
    except Missing as error:
        about.update(exists=False, partly=error.partly, error=str(error))
    except Unreachable as error:
        about.update(exists=None, reachable=False, error=str(error))
    if about["reachable"]:
        about["identity"] = one.identity()
    about["driver"] = one.database and one.database.driver.__name__
    about.update(keeps_history=one.keeps_history, history_differs=one.history_differs, others=one.others)
    about.update(updaters=one.updaters, newt=bool(one.newt))
    return about


def look(request):
    """Answer with what there is to copy.

    request: source, destination. do: survey, for a full copy, with keep_history; compare, with full; tail, with start;
    or known, with tid: whether the source still has that transaction, true if it keeps no history to tell.
    """
    with storage(request["source"]) as source:
        until = source.last()
        if request["do"] == "known":
            tid = raw(request["tid"])
            known = not source.keeps_history or any(True for _transaction in source.iterator(tid, tid))
            answer = {"known": known}
        elif request["do"] == "survey":
            answer = survey(source, source.keeps_history and request["keep_history"])
        else:
            with storage(request["destination"]) as destination:
                if request["do"] == "compare":
                    answer = compare(source, destination, request["full"], until).answer()
                else:
                    answer = Tail(source, destination, raw(request["start"]), until).count()
        return {**answer, "source_last": number(until)}


def survey(source, keep_history):
    """Return what a full copy has to copy. keep_history: all revisions, not only the current ones."""
    from ZODB.blob import is_blob_record

    found = {"objects": 0, "transactions": 0, "blobs": 0, "bytes": 0, "blob_bytes": 0, "no_blob": []}
    if keep_history:
        records = (
            (record.oid, record.tid, record.data)
            for transaction in _counted(source.iterator(), found)
            for record in transaction
        )
    else:
        records = source.records()
    progress = Progress("surveyed", source.count())
    for oid, tid, state in records:
        progress.step()
        found["objects"] += 1
        found["bytes"] += len(state or b"")
        if is_blob_record(state):
            found["blobs"] += 1
            size = source.blob_size(oid, tid) if source.blob_dir else None
            if size is not None:
                found["blob_bytes"] += size
            elif len(found["no_blob"]) < 5:
                found["no_blob"].append([number(oid), number(tid)])
    if not keep_history and source.keeps_history:
        found["revisions_left"] = source.revisions() - found["objects"]
    return found


def _counted(transactions, found):
    for transaction in transactions:
        found["transactions"] += 1
        yield transaction
