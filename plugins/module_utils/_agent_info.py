# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): the facts of one storage."""

from __future__ import annotations

import itertools

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Missing, Progress, Unreachable, number
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zconfig import storage

FACTS = (
    *("kind", "reachable", "exists", "error", "path", "blob_dir", "last_tid", "objects", "bytes", "keeps_history"),
    *("transactions", "packed", "blobs", "blob_bytes", "index", "versions", "dangling", "json"),
)


def info(request):
    """Answer with the facts of one storage. request: storage (see section), exact, references: to be followed."""
    answer = dict.fromkeys(FACTS)
    answer["versions"] = {**_versions(), "server": None, "driver": None}
    try:
        one = storage(request["storage"])
        answer.update(kind=one.kind, path=one.path, blob_dir=one.blob_dir)
        with one:
            answer.update(_facts(one, request["exact"]), reachable=True, exists=True)
            answer["versions"].update(one.versions())
            if request["references"]:
                answer["dangling"] = _dangling(one)
    except Missing as error:
        answer.update(error=str(error), reachable=True, exists=False)
    except Unreachable as error:
        answer.update(error=str(error), reachable=False)
    return answer


def _facts(one, exact):
    count, packed = one.transactions() if exact else (None, None)
    blobs, size = one.blobs() if exact else (None, None)
    return {
        "path": one.path,
        "last_tid": number(one.last()),
        "objects": one.objects(exact),
        "bytes": one.storage.getSize(),
        "keeps_history": one.keeps_history,
        "transactions": count,
        "packed": number(packed) if packed else None,
        "blobs": blobs,
        "blob_bytes": size,
        "index": one.index(),
        "json": one.json(exact),
    }


def _versions():
    import importlib.metadata
    import platform

    found = {"python": platform.python_version()}
    for name in ("ZODB", "ZEO", "RelStorage"):
        try:
            found[name.lower()] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name.lower()] = None
    return found


def _dangling(one):
    """Return the references to objects that are not there: how many objects those are, and of the first ones each
    with one that refers to it.

    References are found without loading a class. Weak ones, and those to other databases, are left out.
    """
    from BTrees.QQBTree import QQBTree, QQTreeSet, difference
    from ZODB.serialize import referencesf
    from ZODB.utils import p64, u64

    # Ten times smaller than Python's own.
    there, named = QQTreeSet(), QQBTree()
    progress = Progress("looked for references in", one.count())
    for oid, _tid, state in one.records():
        progress.step()
        referrer = u64(oid)
        there.insert(referrer)
        for reference in referencesf(state):
            named.insert(u64(reference), referrer)  # the first one stays
    missing = difference(named, there)
    first = itertools.islice(missing.items(), 5)
    return {
        "count": len(missing),
        "first": [{"oid": number(p64(oid)), "referrer": number(p64(referrer))} for oid, referrer in first],
    }
