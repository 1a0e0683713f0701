# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what zodbconvert may do with two storages. Pure functions over what the agent has found.

A side is what the agent's side() tells of a storage, with a name for sentences. A comparison is what its Comparison
tells. A record is the proof of an earlier run, or null:

- version, source and destination: the identities of both;
- phase: copying (written before the first byte) or proven;
- start: id of the source's last transaction before the copy; end: of the last one that was copied;
- verified: none, fast or full;
- extra: how many objects the destination had then that the source had no more;
- source_inode, source_objects, destination_last, destination_objects: how both were found then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.pyams.zodb.plugins.module_utils._storage import Refused
from ansible_collections.pyams.zodb.plugins.module_utils._tid import NONE

VERSION = 1  # of the record
DEPTHS = ("none", "fast", "full")  # of a verification


@dataclass(frozen=True)
class Decision:
    """state: of the destination. start: where a catch-up begins. why: in a sentence. proven: by the record alone."""

    state: str
    why: str
    start: str = None
    proven: bool = False


def check_sides(source, destination):
    """Refuse two storages of which one cannot be read, or that are one, or share a folder of blobs."""
    for role, side in (("source", source), ("destination", destination)):
        if not side["reachable"] or (role == "source" and not side["exists"]):
            raise Refused(f"{role} {side['name']}: {side['error']}")
        if side["history_differs"]:
            raise Refused(
                f"{role} {side['name']}: keep_history is {str(not side['keeps_history']).lower()}, but the database "
                f"{'keeps' if side['keeps_history'] else 'keeps no'} history, which cannot be changed; say so."
            )
    if _same_place(source, destination):
        raise Refused(f"destination {destination['name']} is the source itself; name another storage.")
    if destination["partly"]:
        raise Refused(f"destination {destination['name']}: {destination['error']}")
    blobs = [os.path.realpath(side["blob_dir"]) for side in (source, destination) if side["blob_dir"]]
    if len(blobs) == 2 and os.path.commonpath(blobs) in blobs:
        raise Refused(
            f"destination {destination['name']}: its blob_dir {destination['blob_dir']} is also the source's, or one "
            "lies in the other; each storage needs a folder of its own."
        )


def _same_place(source, destination):
    if source["identity"] == destination["identity"]:
        return True
    files = [side["path"] for side in (source, destination)]
    return all(files) and os.path.exists(files[1]) and os.path.samefile(*files)


def turned(record):
    """Return the record of a copy as one of the way back: both sides were equal at its end. None if it has no end.

    What the source had packed away is left out: of the way back, that is the destination.
    """
    if record["phase"] != "proven" or record["verified"] == "none" or record["extra"]:
        return None
    return {
        **record,
        "source": record["destination"],
        "destination": record["source"],
        "start": record["destination_last"],
        "end": record["destination_last"],
        "source_inode": None,
        "source_objects": record["destination_objects"],
        "destination_last": record["end"],
        "destination_objects": record["source_objects"],
    }


def newest(own, opposite):
    """Return the record to go by: the pair's own, unless a proven copy of the way back has a later end."""
    if own is None or opposite is None:
        return own or opposite
    return opposite if own["phase"] == "proven" and opposite["end"] > own["end"] else own


def by_record(source, destination, record, verify, keep_extra):
    """Return the Decision that a record allows without a comparison, None if there has to be one."""
    if destination["last_tid"] == NONE:
        return Decision("empty", "the destination has no transaction.")
    if (
        record is None
        or record["phase"] != "proven"
        or not _of_these(record, source, destination)
        or DEPTHS.index(record["verified"]) < DEPTHS.index(verify)
        or destination["last_tid"] != record["destination_last"]
        or destination["objects"] != record["destination_objects"]
        or source["inode"] != record["source_inode"]
        or (record["extra"] and not keep_extra)
    ):
        return None
    if source["last_tid"] == record["end"] and source["objects"] == record["source_objects"]:
        state = "extra" if record["extra"] else "equal"
        return Decision(state, "the record of an earlier run fits both sides.", proven=True)
    if source["last_tid"] > record["end"] and source["objects"] >= record["source_objects"]:
        return Decision("behind", "proven up to the transaction of an earlier run's record.", record["end"], True)
    return None


def _of_these(record, source, destination):
    return record["source"] == source["identity"] and record["destination"] == destination["identity"]


def by_comparison(source, destination, record, found, keep_extra):
    """Return the Decision that a comparison allows. keep_extra: leave objects that only the destination has.

    Raises Refused for a foreign destination, with what was found.
    """
    if record is not None and not _of_these(record, source, destination):
        record = None
    proven = record is not None and record["phase"] == "proven"
    total = found["same"] + found["stale"] + found["newer"] + found["extra"] + found["different"] + found["blobs"]

    def foreign(kind, what):
        examples = ", ".join(found["examples"].get(kind, []))
        more = "..." if found[kind] > len(found["examples"].get(kind, [])) else ""
        return Refused(
            f"destination {destination['name']}: {found[kind]:,} of its {total:,} objects {what} ({examples}{more}), "
            "nothing was copied; empty it, or name its last tid in clear."
        )

    if found["different"]:
        raise foreign("different", "have another content under the same transaction id")
    if found["blobs"]:
        raise foreign("blobs", "have another blob than the source, or none")
    if found["newer"]:
        moved = proven and found["newer_first"] > record["end"] and source["last_tid"] == record["end"]
        if moved and found["first"] is None:
            return Decision("switched", "a proven copy has newer commits, the site has moved to the destination.")
        raise foreign("newer", "are newer than anything in the source")
    if found["unknown"]:
        raise foreign("unknown", "have a revision that was never in the source")
    if found["unchecked"] and not (
        record is not None and (not proven or destination["last_tid"] == record["destination_last"])
    ):
        raise foreign(
            "unchecked", "have another revision than the source, which keeps no history to tell whether it was its own"
        )
    if found["extra"] and not (keep_extra and record is not None):
        raise foreign("extra", "are not in the source")
    if found["first"] is None:
        if found["extra"]:
            return Decision("extra", "everything of the source is there, and objects that it no longer has.")
        return Decision("equal", "a comparison of both sides found no difference.")
    if destination["keeps_history"] and found["first"] <= destination["last_tid"]:
        raise Refused(
            f"destination {destination['name']}: it lacks the source's transaction {found['first']}, though it has "
            "later ones and keeps history, so it cannot be mended; empty it, or name its last tid in clear."
        )
    return Decision("behind", "a comparison found what is missing, and nothing foreign.", found["first"])


def check_plan(decision, source, destination, options):
    """Refuse what the state of the destination does not allow. options: mode, history."""
    if decision.state == "empty" and options["mode"] == "incremental":
        raise Refused(
            f"destination {destination['name']} is empty, and mode is incremental; set it to full for a first copy."
        )
    if decision.state == "behind" and destination["kind"] == "zeo":
        raise Refused(
            f"destination {destination['name']} holds data, and clients would not learn of what is written over the "
            "wire; stop the server and name its file as filestorage."
        )


def check_survey(survey, source, destination, options):
    """Refuse a full copy that would lose something. options: history."""
    if survey["blobs"]:
        for role, side in (("source", source), ("destination", destination)):
            if not side["blob_dir"]:
                raise Refused(
                    f"{role} {side['name']} has no blob_dir, and the source has {survey['blobs']:,} blobs; give one."
                )
        if destination["kind"] == "zeo":
            raise Refused(
                f"destination {destination['name']} cannot take blobs over the wire; stop the server and name its "
                "file as filestorage."
            )
    if survey["no_blob"]:
        oid, tid = survey["no_blob"][0]
        raise Refused(
            f"source {source['name']}: the blob of object {oid}, transaction {tid}, is missing or cannot be read; "
            "nothing was copied, mend that first."
        )
    left = survey.get("revisions_left", 0)
    if left > 0 and options["history"] != "drop":
        raise Refused(
            f"destination {destination['name']} keeps no history, and {left:,} older revisions of the source would "
            "stay behind; set history to drop if they may."
        )


def method_of(source, destination, wanted):
    """Return (how a full copy is done, why). wanted: auto, zodbconvert or bulk."""
    loads = destination["driver"] == "psycopg2" and not destination["keeps_history"] and not _blob_files(destination)
    files = source["kind"] == destination["kind"] == "filestorage"
    if wanted == "bulk" and not (loads or files):
        raise Refused(
            f"method bulk: destination {destination['name']} is neither a FileStorage as its source nor a PostgreSQL "
            "database without history and without a shared blob_dir, opened by psycopg2; set method to auto."
        )
    if wanted == "zodbconvert" or not (loads or files):
        return "zodbconvert", "RelStorage's script copies this pair."
    if files:
        return "bulk", "a FileStorage is copied as the file that it is, in a third of the time."
    return "bulk", "PostgreSQL without history takes everything in one transaction, in a fifth of the time."


def _blob_files(side):
    return side["blob_dir"] and side["shared"]


def check_proof(found, destination, keep_extra):
    """Refuse a destination that differs from its source after a copy."""
    kinds = ("missing", "stale", "newer", "unknown", "different", "blobs") + (() if keep_extra else ("extra",))
    faults = [kind for kind in kinds if found[kind]]
    if found["first"] and not faults:
        raise Refused(
            f"destination {destination['name']}: the copy lacks the source's transaction {found['first']}; it must not "
            "be used, run it again."
        )
    if faults:
        kind = faults[0]
        raise Refused(
            f"destination {destination['name']}: the copy differs from the source, {found[kind]:,} objects are "
            f"{kind} ({', '.join(found['examples'][kind])}); it must not be used, run it again."
        )
