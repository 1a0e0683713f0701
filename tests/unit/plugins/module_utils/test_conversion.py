# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _conversion
from ansible_collections.pyams.zodb.plugins.module_utils._storage import Refused

NONE, T1, T2, T3, T4 = (f"0x{number:016x}" for number in (0, 1, 2, 3, 4))


def side(last=T2, objects=10, **more):
    return {
        "name": "/x",
        "kind": "sqlite",
        "identity": "sqlite /x",
        "path": None,
        "blob_dir": "/x/blobs",
        "shared": True,
        "reachable": True,
        "exists": True,
        "partly": False,
        "error": None,
        "keeps_history": False,
        "history_differs": False,
        "driver": None,
        "others": None,
        "inode": None,
        "last_tid": last,
        "objects": objects,
        **more,
    }


def source_of(last=T2, objects=10, **more):
    known = {"name": "/s", "identity": "filestorage /s", "inode": [1, 2], "keeps_history": True, "blob_dir": "/s/blobs"}
    return side(last, objects, **{**known, **more})


def record_of(**more):
    """Return the record of a proven copy up to T2."""
    return {
        "version": _conversion.VERSION,
        "phase": "proven",
        "source": "filestorage /s",
        "destination": "sqlite /x",
        "start": T1,
        "end": T2,
        "verified": "full",
        "extra": 0,
        "source_inode": [1, 2],
        "source_objects": 10,
        "destination_last": T2,
        "destination_objects": 10,
        **more,
    }


def found_of(**more):
    """Return a comparison of ten objects, all of them the same."""
    kinds = ("missing", "stale", "newer", "extra", "unknown", "different", "blobs", "later", "unchecked")
    found = {"same": 10, **dict.fromkeys(kinds, 0), "first": None, "newer_first": None, "extra_last": None, **more}
    return {**found, "examples": {kind: [T1] for kind in kinds if found[kind]}}


# What a record allows without a look at the content; null: both sides have to be compared.
BY_RECORD = [
    pytest.param({"destination": side(NONE, 0)}, ("empty", None), id="empty"),
    pytest.param({"destination": side(NONE, 0), "record": record_of()}, ("empty", None), id="empty, with a record"),
    pytest.param({}, None, id="no record"),
    pytest.param({"record": record_of()}, ("equal", None), id="nothing has changed"),
    pytest.param({"record": record_of(), "source": source_of(T3)}, ("behind", T2), id="the source went on"),
    pytest.param({"record": record_of(), "source": source_of(T3, 11)}, ("behind", T2), id="it has more objects"),
    pytest.param({"record": record_of(), "source": source_of(T3, 9)}, None, id="it has fewer objects"),
    pytest.param({"record": record_of(), "source": source_of(T2, 9)}, None, id="packed in a database"),
    pytest.param({"record": record_of(), "source": source_of(inode=[1, 3])}, None, id="packed, another file"),
    pytest.param({"record": record_of(), "source": source_of(T1)}, None, id="the source was restored"),
    pytest.param({"record": record_of(), "destination": side(T3)}, None, id="the destination went on"),
    pytest.param({"record": record_of(), "destination": side(T1)}, None, id="the destination was restored"),
    pytest.param({"record": record_of(), "destination": side(T2, 9)}, None, id="the destination lost an object"),
    pytest.param({"record": record_of(phase="copying")}, None, id="cut off"),
    pytest.param({"record": record_of(source="filestorage /other")}, None, id="of another source"),
    pytest.param({"record": record_of(destination="sqlite /other")}, None, id="of another destination"),
    pytest.param({"record": record_of(verified="fast")}, None, id="less was verified than is asked for"),
    pytest.param({"record": record_of(verified="fast"), "verify": "fast"}, ("equal", None), id="enough was verified"),
    pytest.param({"record": record_of(extra=2)}, None, id="extra objects, no longer allowed"),
    pytest.param({"record": record_of(extra=2), "extra": True}, ("extra", None), id="extra objects, allowed"),
]


@pytest.mark.parametrize(("given", "expected"), BY_RECORD)
def test_by_record(given, expected):
    decision = _conversion.by_record(
        given.get("source", source_of()),
        given.get("destination", side()),
        given.get("record"),
        given.get("verify", "full"),
        given.get("extra", False),
    )
    assert (decision and (decision.state, decision.start)) == expected
    assert decision is None or decision.proven is (decision.state != "empty")


def test_the_record_of_a_copy_is_one_of_the_way_back():
    """The site has moved to /x and written there, /s stayed as it was."""
    back = _conversion.turned(record_of())
    decision = _conversion.by_record(side(T4, 12), source_of(T2), back, "full", False)
    assert (decision.state, decision.start, decision.proven) == ("behind", T2, True)
    assert _conversion.by_record(side(T4, 12), source_of(T3), back, "full", False) is None


@pytest.mark.parametrize(
    "record",
    [record_of(phase="copying"), record_of(verified="none"), record_of(extra=1)],
    ids=["cut off", "unproven", "extra"],
)
def test_what_is_not_proven_is_no_record_of_the_way_back(record):
    assert _conversion.turned(record) is None


@pytest.mark.parametrize(
    ("own", "opposite", "expected"),
    [
        pytest.param(None, None, None, id="none"),
        pytest.param(record_of(), None, "own", id="own"),
        pytest.param(None, record_of(), "opposite", id="of the way back"),
        pytest.param(record_of(), record_of(end=T3), "opposite", id="the later one"),
        pytest.param(record_of(end=T3), record_of(), "own", id="own, later"),
        pytest.param(record_of(phase="copying"), record_of(end=T3), "own", id="what was cut off hides the other"),
    ],
)
def test_newest(own, opposite, expected):
    assert _conversion.newest(own, opposite) is {None: None, "own": own, "opposite": opposite}[expected]


UNDECIDED = "have another revision than the source, which keeps no history to tell whether it was its own"
# state and start, or the sentence of a refusal
BY_COMPARISON = [
    pytest.param(found_of(), {}, ("equal", None), id="equal"),
    pytest.param(found_of(missing=2, first=T1), {}, ("behind", T1), id="missing, as in a cut-off copy"),
    pytest.param(found_of(stale=2, first=T1), {}, ("behind", T1), id="stale"),
    pytest.param(found_of(later=2), {}, ("equal", None), id="only what came while it was compared"),
    pytest.param(found_of(different=1), {}, "1 of its 11 objects have another content under", id="another content"),
    pytest.param(found_of(blobs=1), {}, "1 of its 11 objects have another blob than the source", id="another blob"),
    pytest.param(found_of(newer=1, newer_first=T3), {}, "are newer than anything in the source", id="newer, no proof"),
    pytest.param(
        found_of(newer=1, newer_first=T3), {"record": record_of()}, ("switched", None), id="newer than a proven copy"
    ),
    pytest.param(
        found_of(newer=1, newer_first=T3),
        {"record": record_of(phase="copying")},
        "are newer than anything in the source",
        id="newer than a copy that was cut off",
    ),
    pytest.param(
        found_of(newer=1, newer_first=T2),
        {"record": record_of()},
        "are newer than anything in the source",
        id="newer than the source, not than the proof",
    ),
    pytest.param(
        found_of(newer=1, newer_first=T3),
        {"record": record_of(), "source": source_of(T3)},
        "are newer than anything in the source",
        id="both went on",
    ),
    pytest.param(
        found_of(newer=1, newer_first=T3, missing=9, first=T1),
        {"record": record_of()},
        "are newer than anything in the source",
        id="cleared, and begun anew",
    ),
    pytest.param(
        found_of(newer=1, newer_first=T3),
        {"record": record_of(source="filestorage /other")},
        "are newer than anything in the source",
        id="newer, proof of another source",
    ),
    pytest.param(
        found_of(unknown=1, stale=1, first=T2), {}, "have a revision that was never in the source", id="a sibling"
    ),
    pytest.param(found_of(unchecked=1, stale=1, first=T2), {}, UNDECIDED, id="source without history, no record"),
    pytest.param(
        found_of(unchecked=1, stale=1, first=T3), {"record": record_of()}, ("behind", T3), id="and with a fitting one"
    ),
    pytest.param(
        found_of(unchecked=1, stale=1, first=T1),
        {"record": record_of(phase="copying")},
        ("behind", T1),
        id="and cut off",
    ),
    pytest.param(
        found_of(unchecked=1, stale=1, first=T3),
        {"record": record_of(), "destination": side(T1)},
        UNDECIDED,
        id="and with one that does not fit",
    ),
    pytest.param(found_of(extra=1), {}, "1 of its 11 objects are not in the source", id="packed source"),
    pytest.param(found_of(extra=1), {"record": record_of()}, "are not in the source", id="packed source, proven"),
    pytest.param(found_of(extra=1), {"extra": True}, "are not in the source", id="extra allowed, no record"),
    pytest.param(found_of(extra=1), {"extra": True, "record": record_of()}, ("extra", None), id="extra allowed"),
    pytest.param(
        found_of(extra=1, missing=1, first=T3),
        {"extra": True, "record": record_of()},
        ("behind", T3),
        id="extra allowed, and the source went on",
    ),
    pytest.param(
        found_of(missing=1, first=T3), {"destination": side(keeps_history=True)}, ("behind", T3), id="history, appended"
    ),
    pytest.param(
        found_of(missing=1, first=T1),
        {"destination": side(keeps_history=True)},
        f"it lacks the source's transaction {T1}, though it has later ones and keeps history",
        id="history, a gap",
    ),
]


@pytest.mark.parametrize(("found", "given", "expected"), BY_COMPARISON)
def test_by_comparison(found, given, expected):
    arguments = (
        given.get("source", source_of()),
        given.get("destination", side()),
        given.get("record"),
        found,
        given.get("extra", False),
    )
    if isinstance(expected, tuple):
        decision = _conversion.by_comparison(*arguments)
        assert (decision.state, decision.start) == expected
        return
    with pytest.raises(Refused) as refusal:
        _conversion.by_comparison(*arguments)
    assert str(refusal.value).startswith("destination /x: ")
    assert expected in str(refusal.value)


def test_the_sentence_for_a_foreign_destination():
    with pytest.raises(Refused) as refusal:
        _conversion.by_comparison(source_of(), side(), None, found_of(extra=4021), False)
    assert str(refusal.value) == (
        "destination /x: 4,021 of its 4,031 objects are not in the source (0x0000000000000001...), nothing was copied; "
        "empty it, or name its last tid in clear."
    )


@pytest.mark.parametrize(
    ("source", "destination", "sentence"),
    [
        pytest.param(
            source_of(exists=False, error="there is no file /s."),
            side(),
            "source /s: there is no file /s.",
            id="no source",
        ),
        pytest.param(
            source_of(),
            side(exists=None, reachable=False, error="the database does not answer: x"),
            "destination /x: the database does not answer: x",
            id="no answer",
        ),
        pytest.param(
            source_of(),
            side(exists=False, partly=True, error="there is no folder of blobs /x/blobs."),
            "destination /x: there is no folder of blobs /x/blobs.",
            id="objects without the folder of their blobs",
        ),
        pytest.param(
            source_of(),
            side(history_differs=True),
            "destination /x: keep_history is true, but the database keeps no history, which cannot be changed; say so.",
            id="history",
        ),
        pytest.param(
            source_of(identity="sqlite /x"),
            side(),
            "destination /x is the source itself; name another storage.",
            id="same",
        ),
        pytest.param(
            source_of(blob_dir="/x/blobs/s"),
            side(),
            "destination /x: its blob_dir /x/blobs is also the source's, or one lies in the other; each storage needs "
            "a folder of its own.",
            id="blobs within",
        ),
    ],
)
def test_check_sides(source, destination, sentence):
    with pytest.raises(Refused) as refusal:
        _conversion.check_sides(source, destination)
    assert str(refusal.value) == sentence


def test_check_sides_accepts_a_destination_that_is_to_be_made():
    _conversion.check_sides(source_of(), side(NONE, 0, exists=False, error="there is no file /x."))


SURVEY = {"blobs": 0, "no_blob": [], "revisions_left": 0}


@pytest.mark.parametrize(
    ("survey", "source", "destination", "history", "sentence"),
    [
        pytest.param({}, {}, {}, "keep", None, id="nothing special"),
        pytest.param({"blobs": 2}, {}, {}, "keep", None, id="blobs"),
        pytest.param(
            {"blobs": 2},
            {"blob_dir": None},
            {},
            "keep",
            "source /s has no blob_dir, and the source has 2 blobs; give one.",
            id="no folder of the source",
        ),
        pytest.param(
            {"blobs": 2},
            {},
            {"blob_dir": None},
            "keep",
            "destination /x has no blob_dir, and the source has 2 blobs; give one.",
            id="no folder of the destination",
        ),
        pytest.param(
            {"blobs": 2},
            {},
            {"kind": "zeo"},
            "keep",
            "destination /x cannot take blobs over the wire; stop the server and name its file as filestorage.",
            id="blobs to ZEO",
        ),
        pytest.param(
            {"no_blob": [[T1, T2]]},
            {},
            {},
            "keep",
            f"source /s: the blob of object {T1}, transaction {T2}, is missing or cannot be read; nothing was copied, "
            "mend that first.",
            id="a blob is missing",
        ),
        pytest.param(
            {"revisions_left": 3000},
            {},
            {},
            "keep",
            "destination /x keeps no history, and 3,000 older revisions of the source would stay behind; set history "
            "to drop if they may.",
            id="history kept",
        ),
        pytest.param({"revisions_left": 3000}, {}, {}, "drop", None, id="history dropped"),
    ],
)
def test_check_survey(survey, source, destination, history, sentence):
    arguments = ({**SURVEY, **survey}, source_of(**source), side(**destination), {"history": history})
    if sentence is None:
        _conversion.check_survey(*arguments)
        return
    with pytest.raises(Refused) as refusal:
        _conversion.check_survey(*arguments)
    assert str(refusal.value) == sentence


POSTGRESQL = {"kind": "postgresql", "driver": "psycopg2", "shared": False}
FILE = {"kind": "filestorage"}


@pytest.mark.parametrize(
    ("source", "destination", "wanted", "method"),
    [
        pytest.param(FILE, {}, "auto", "zodbconvert", id="the script"),
        pytest.param(FILE, POSTGRESQL, "auto", "bulk", id="PostgreSQL"),
        pytest.param(FILE, POSTGRESQL, "bulk", "bulk", id="PostgreSQL, asked for"),
        pytest.param(FILE, POSTGRESQL, "zodbconvert", "zodbconvert", id="PostgreSQL, the script asked for"),
        pytest.param(FILE, {**POSTGRESQL, "keeps_history": True}, "auto", "zodbconvert", id="PostgreSQL with history"),
        pytest.param(FILE, {**POSTGRESQL, "shared": True}, "auto", "zodbconvert", id="PostgreSQL, blobs in files"),
        pytest.param(FILE, {**POSTGRESQL, "driver": "pg8000"}, "auto", "zodbconvert", id="PostgreSQL, other driver"),
        pytest.param(FILE, FILE, "auto", "bulk", id="a file"),
        pytest.param(FILE, FILE, "zodbconvert", "zodbconvert", id="a file, the script asked for"),
        pytest.param({"kind": "zeo"}, FILE, "auto", "zodbconvert", id="from a server into a file"),
    ],
)
def test_method_of(source, destination, wanted, method):
    assert _conversion.method_of(side(**source), side(**destination), wanted)[0] == method


def test_method_of_refuses_bulk():
    sentence = (
        "method bulk: destination /x is neither a FileStorage as its source nor a PostgreSQL database without history "
        "and without a shared blob_dir, opened by psycopg2; set method to auto."
    )
    with pytest.raises(Refused) as refusal:
        _conversion.method_of(side(kind="zeo"), side(), "bulk")
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("kind", ["missing", "stale", "newer", "unknown", "different", "blobs", "extra"])
def test_check_proof(kind):
    with pytest.raises(Refused) as refusal:
        _conversion.check_proof(found_of(**{kind: 1}), side(), False)
    assert str(refusal.value) == (
        f"destination /x: the copy differs from the source, 1 objects are {kind} ({T1}); it must not be used, run it "
        "again."
    )
    _conversion.check_proof(found_of(later=3, extra=2), side(), True)
