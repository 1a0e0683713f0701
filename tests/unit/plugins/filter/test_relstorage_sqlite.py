# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of relstorage_sqlite_storages: what they become, and what any host, or one, has against them."""

from __future__ import annotations

import pathlib
import re

import pytest
from ansible_collections.pyams.zodb.plugins.filter.entries import entries as _entries
from ansible_collections.pyams.zodb.plugins.filter.relstorage_sqlite_clients import relstorage_sqlite_clients as clients
from ansible_collections.pyams.zodb.plugins.filter.relstorage_sqlite_complete import (
    relstorage_sqlite_complete as complete,
)
from ansible_collections.pyams.zodb.plugins.filter.relstorage_sqlite_questions import (
    relstorage_sqlite_questions as questions,
)
from ansible_collections.pyams.zodb.plugins.filter.relstorage_sqlite_refusals import (
    relstorage_sqlite_refusals as refusals,
)
from zeo_entries import MB, both, there, virgin

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "relstorage_sqlite"
SETTINGS = {
    "client_user": "pyams",
    "client_group": "zodb",
    "config_dir": "/etc/zodb",
    "data_dir": "/var/lib/zodb",
    "cache_dir": "/var/cache/zodb",
    "venv_dir": "/opt/zodb",
    "python": "/usr/bin/python3",
    "release": "latest",
    "releases": ["2026.11"],
    "pins": [],
    "extra_packages": [],
    "wheelhouse": "",
    "mail_server": "localhost:25",
    "mail_sender": "",
    "check_mode": False,
    "allow_untested_platform": False,
}
STATE = "/var/lib/zodb/sqlite-site"
DATA, BLOBS, MAIN = f"{STATE}/data", f"{STATE}/blobs", f"{STATE}/data/main.sqlite3"
HERE = 'relstorage_sqlite_storages[0] "site": '
NEXT = 'relstorage_sqlite_storages[1] "shop": '
FREE = ["blob_chunk", "object_state", "sqlite_stat1"]
KEPT = [*FREE, "current_object", "transaction"]
UNASKED = {"groups": [], "listens": [], "file_storages": [], "certificates": []}
LOCAL = {"pack": {"enabled": False}}
USER = {"host": {"euid": 1000, "user": "me", "systemd": True}}
# STYLE: variable and value, what is wrong, what to do.
SENTENCE = re.compile(r'(relstorage_sqlite_storages\[\d+\] "[^"]*": |relstorage_sqlite_\w+ )[^!]+; [^!]+\.')


def entries(written):
    """Return entries as the role's own spec completes them."""
    return _entries(written, str(ROLE), "relstorage_sqlite_storages")


def one(**keys):
    return [{"name": "site", **keys}]


def two(first, second):
    return [{"name": "site", **first}, {"name": "shop", **second}]


def refused(written, changed=None, host=None):
    """Return the sentences; host: what is different on a virgin one, null for the rules of any host."""
    settings = {**SETTINGS, **(changed or {})}
    completed = entries(written)
    if host is not None:
        asked = questions(completed, settings)
        known = virgin({**UNASKED, **asked})
        nothing = {"exists": False, "tables": None, "blobs": None, "error": None, "pids": []}
        known["sqlite_databases"] = {path: dict(nothing) for path in asked["sqlite_databases"]}
        host = both(known, host)
    found = refusals(completed, settings, host)
    assert [sentence for sentence in found if not SENTENCE.fullmatch(sentence)] == []
    return found


def database(main=MAIN, owner="pyams", **about):
    """Return what a host with a database knows of it."""
    known = {"exists": True, "tables": FREE, "blobs": False, **about}
    return {"sqlite_databases": {main: known}, "paths": {main: there(owner=owner)}}


def folder(path, owner="pyams", mode="0700", **more):
    return {"paths": {path: {**there("directory", owner=owner, group="pyams", mode=mode), **more}}}


def test_a_name_alone_is_an_entry():
    (storage,) = complete(entries(one()), SETTINGS)
    section = (
        "%import relstorage\n<relstorage>\n  keep-history false\n  blob-dir {blobs}\n  shared-blob-dir true\n"
        "  blob-cache-size 1GB\n  cache-local-mb 100\n  create-schema false\n  pack-gc true\n  read-only false\n"
        "  name site\n  pack-batch-timeout 1\n  <sqlite3>\n    data-dir {data}\n  </sqlite3>\n</relstorage>\n"
    )
    assert storage.pop("asked") == section.format(blobs=BLOBS, data=DATA)
    assert storage["client"].pop("blob_dir") == BLOBS
    assert {key: value for key, value in storage.items() if key not in ("pack", "client")} == {
        "name": "site",
        "title": "site",
        "state": "present",
        "remove_data": False,
        "data_dir": DATA,
        "blob_dir": BLOBS,
        "shared_blob_dir": True,
        "keep_history": False,
        "link": "/opt/zodb/sqlite-site",
        "toml": "/etc/zodb/sqlite-site.toml",
        "state_dir": STATE,
        "stem": f"{STATE}/site",
        "main": MAIN,
        "own": [STATE, DATA, BLOBS],
        "given": [],
        "in_home": False,
        "unit": "pack-sqlite-site.timer",
        "units": ["pack-sqlite-site.timer", "pack-sqlite-site.service"],
        "pack_expected_days": 9,
    }
    assert refused(one()) == refused(one(), host={}) == []


def test_folders_that_are_named_are_tidied_and_told_from_our_own():
    (storage,) = complete(entries(one(data_dir="/srv//site/data/", blob_dir="/home/me/blobs", **LOCAL)), SETTINGS)
    assert (storage["data_dir"], storage["main"]) == ("/srv/site/data", "/srv/site/data/main.sqlite3")
    assert (storage["own"], storage["given"]) == ([STATE], ["/srv/site/data", "/home/me/blobs"])
    assert (storage["in_home"], storage["pack_expected_days"]) == (True, 0)


def test_what_clients_are_told():
    (shared,) = clients(complete(entries(one(keep_history=True)), SETTINGS))
    assert shared == {
        "name": "site",
        "state": "present",
        "sqlite": {
            "data_dir": DATA,
            "blob_dir": BLOBS,
            "shared_blob_dir": True,
            "keep_history": True,
            "create_schema": False,
            "pack_gc": True,
            "name": "site",
            "cache_local_mb": 100,
        },
        "pool_size": 7,
        "connection_cache_size": 30000,
    }
    (cached,) = clients(complete(entries(one(shared_blob_dir=False)), SETTINGS))
    assert "blob_dir" not in cached["sqlite"]
    assert (cached["sqlite"]["shared_blob_dir"], cached["sqlite"]["blob_cache_size"]) == (False, "1GB")
    (named,) = complete(entries(one(shared_blob_dir=False, blob_dir="/var/cache/zodb/site/blobs")), SETTINGS)
    assert (named["blob_dir"], "blob-dir" in named["asked"]) == (None, False)
    assert clients([named])[0]["sqlite"]["blob_dir"] == "/var/cache/zodb/site/blobs"
    assert refused(one(shared_blob_dir=False, blob_dir="/var/cache/zodb/site/blobs"), host={}) == []


@pytest.mark.parametrize(
    ("written", "changed", "sentence"),
    [
        pytest.param(
            one(),
            {"client_user": "py ams"},
            'relstorage_sqlite_client_user "py ams" is no name of an account; write letters, digits, _, . or -, such '
            "as zodb.",
            id="account",
        ),
        pytest.param(
            one(),
            {"data_dir": "var/zodb"},
            "relstorage_sqlite_data_dir var/zodb is a relative path; write it from / on.",
            id="folder of the role",
        ),
        pytest.param(
            one(),
            {"data_dir": "/etc/zodb"},
            "relstorage_sqlite_data_dir /etc/zodb is relstorage_sqlite_config_dir too, which has other permissions; "
            "name a folder for each.",
            id="folders of the role",
        ),
        pytest.param(
            [{"name": "Site"}],
            {},
            'relstorage_sqlite_storages[0] "Site": name Site cannot name units and folders; begin with a small letter, '
            "go on with small letters, digits, _ or -, 32 at most, such as site.",
            id="name",
        ),
        pytest.param(
            [{"name": "tls"}],
            {},
            'relstorage_sqlite_storages[0] "tls": name tls is that of a folder of certificates; choose another.',
            id="name of a folder",
        ),
        pytest.param(
            [*one(), *one()],
            {},
            'relstorage_sqlite_storages[1] "site": name site is that of an entry before; give each entry its own.',
            id="name twice",
        ),
        pytest.param(
            one(remove_data=True),
            {},
            HERE + "remove_data true contradicts state present; say state: absent, or leave remove_data out.",
            id="removal of what is present",
        ),
        pytest.param(
            one(state="absent", remove_data=True, data_dir="/srv/site"),
            {},
            HERE
            + "remove_data true is for data where the role puts it, and data_dir names /srv/site; leave it out, and "
            "delete that yourself.",
            id="removal of a folder that was named",
        ),
        pytest.param(
            one(title="A\\"),
            {},
            HERE + "title A\\ ends in a backslash, which would swallow the unit's next line; take it out.",
            id="title",
        ),
        pytest.param(
            one(data_dir="site"),
            {},
            HERE + "data_dir site is a relative path; write it from / on.",
            id="relative path",
        ),
        pytest.param(
            one(blob_dir="/srv"),
            {},
            HERE + "blob_dir /srv is a folder of the system; name one of its own, such as /srv/zodb.",
            id="folder of the system",
        ),
        pytest.param(
            one(data_dir="/tmp/site"),
            {},
            HERE + "data_dir /tmp/site lies in a folder for temporary files, of which the pack's unit has its own; put "
            "data elsewhere.",
            id="temporary folder",
        ),
        pytest.param(
            one(data_dir="/var/lib/zodb"),
            {},
            HERE + "data_dir /var/lib/zodb holds relstorage_sqlite_data_dir /var/lib/zodb, and it is the application's "
            "alone; name a folder of its own.",
            id="folder of all",
        ),
        pytest.param(
            one(data_dir="/opt/zodb/site"),
            {},
            HERE
            + "data_dir /opt/zodb/site lies in relstorage_sqlite_venv_dir /opt/zodb, where old things are deleted; "
            "name a folder beside it.",
            id="folder that is cleaned",
        ),
        pytest.param(
            one(data_dir="/srv/site", blob_dir="/srv/site/"),
            {},
            HERE + "blob_dir /srv/site holds data_dir /srv/site, and blobs need a folder of their own; name another.",
            id="one folder for both",
        ),
        pytest.param(
            one(data_dir="/srv/site", blob_dir="/srv/site", shared_blob_dir=False),
            {},
            HERE + "blob_dir /srv/site holds data_dir /srv/site, and blobs need a folder of their own; name another.",
            id="one folder for data and cache",
        ),
        pytest.param(
            two({"data_dir": "/srv/x"}, {"data_dir": "/srv/x/"}),
            {},
            NEXT + 'data_dir /srv/x is not apart from data_dir /srv/x of "site"; give each storage folders of its own.',
            id="one folder for two",
        ),
        pytest.param(
            two({"data_dir": "/srv/x"}, {"blob_dir": "/srv/x/blobs"}),
            {},
            NEXT
            + 'blob_dir /srv/x/blobs is not apart from data_dir /srv/x of "site"; give each storage folders of its '
            "own.",
            id="one in the other",
        ),
        pytest.param(
            one(pack={"days": -1}),
            {},
            HERE + "pack.days -1 would keep what is yet to come; write 0 to keep no history, or more.",
            id="days",
        ),
        pytest.param(
            one(pack={"gc": False}),
            {},
            HERE + "pack.gc false leaves a pack nothing to do where no history is kept; set pack.enabled to false, or "
            "pack.gc to true.",
            id="nothing to pack",
        ),
        pytest.param(
            one(client={"pool_size": 0}),
            {},
            HERE + "client.pool_size 0 is too small to work with; write a number above 0.",
            id="pool",
        ),
        pytest.param(
            one(client={"blob_cache_size": "1TB"}),
            {},
            HERE + "client.blob_cache_size 1TB is no size; write bytes, or a number with KB, MB or GB, such as 256MB.",
            id="size",
        ),
    ],
)
def test_refused_on_any_host(written, changed, sentence):
    assert refused(written, changed) == [sentence]


@pytest.mark.parametrize(
    ("written", "changed", "host", "sentence"),
    [
        pytest.param(
            one(),
            {"client_user": ""},
            {},
            "relstorage_sqlite_client_user is empty, and every process of the application must write the data; name "
            "the account that they run as.",
            id="no account",
        ),
        pytest.param(
            one(),
            {},
            {"users": {"pyams": {"exists": False}}},
            "relstorage_sqlite_client_user pyams is not there, and the data would be its own; create it, or name "
            "another.",
            id="account is missing",
        ),
        pytest.param(
            one(),
            {},
            {"host": {"systemd": False}},
            HERE
            + "pack.enabled true takes root and systemd for its timer; set it to false, and run zodb-pack yourself.",
            id="no systemd",
        ),
        pytest.param(
            one(data_dir="/srv/site"),
            {},
            {"paths": {"/srv/site": {"file_system": "nfs4"}}},
            HERE
            + "data_dir /srv/site lies on nfs4, a file system of the network, where SQLite's log does not work; name "
            "a folder on a disk of this host.",
            id="network",
        ),
        pytest.param(
            one(data_dir="/srv/site"),
            {},
            {"paths": {"/srv/site": there("file", owner="pyams")}},
            HERE + "data_dir /srv/site is a file; name a folder.",
            id="a file",
        ),
        pytest.param(
            one(data_dir="/root/site"),
            {},
            folder("/root", owner="root"),
            HERE + "data_dir /root/site lies in /root, which pyams may not enter; let it, or name another folder.",
            id="closed folder",
        ),
        pytest.param(
            one(data_dir="/srv/site"),
            {},
            folder("/srv/site", owner="root"),
            HERE + "data_dir /srv/site belongs to root, and the application runs as pyams; name root as "
            "relstorage_sqlite_client_user, or give all of it to pyams.",
            id="empty folder of another",
        ),
        pytest.param(
            one(),
            {},
            database(owner="zope"),
            HERE + f"data_dir {DATA} belongs to zope, and the application runs as pyams; name zope as "
            "relstorage_sqlite_client_user, or give all of it to pyams.",
            id="database of another",
        ),
        pytest.param(
            one(blob_dir="/srv/blobs"),
            {},
            folder("/srv/blobs", owner="zope"),
            HERE + "blob_dir /srv/blobs belongs to zope, and the application runs as pyams; name zope as "
            "relstorage_sqlite_client_user, or give all of it to pyams.",
            id="blobs of another",
        ),
        pytest.param(
            one(),
            {},
            {"paths": {DATA: {"free": 99 * MB}}},
            HERE + f"data_dir {DATA} has 99 MB free, and a new storage takes 100 MB; make room, or name a folder on "
            "another disk.",
            id="no room",
        ),
        pytest.param(
            one(data_dir="/srv/site", blob_dir="/srv/site/blobs"),
            {},
            both(folder("/srv/site"), {"folders": {"/srv/site": ["Data.fs", "blobs", "lost+found"]}}),
            HERE
            + "data_dir /srv/site holds Data.fs and no main.sqlite3, so it is something else's; name another folder.",
            id="something else",
        ),
        pytest.param(
            one(),
            {},
            database(tables=None, blobs=None, error="file is not a database"),
            HERE
            + f"data_dir {DATA} has a main.sqlite3 that cannot be read, file is not a database; name another folder.",
            id="no database",
        ),
        pytest.param(
            one(),
            {},
            database(tables=["shop", "sqlite_sequence"]),
            HERE + f"data_dir {DATA} has the table shop and none of RelStorage's; name another folder.",
            id="tables of something else",
        ),
        pytest.param(
            one(),
            {},
            database(tables=KEPT),
            HERE
            + f"data_dir {DATA} keeps history, which was decided when it was made; set keep_history to true, or move "
            "to a new folder with the playbook pyams.zodb.migrate.",
            id="history is kept",
        ),
        pytest.param(
            one(keep_history=True),
            {},
            database(),
            HERE
            + f"data_dir {DATA} keeps no history, which was decided when it was made; set keep_history to false, or "
            "move to a new folder with the playbook pyams.zodb.migrate.",
            id="history is not kept",
        ),
        pytest.param(
            one(),
            {},
            database(blobs=True),
            HERE
            + f"data_dir {DATA} has blobs in its database, where nobody would look for them; set shared_blob_dir to "
            "false, or move to a new folder with the playbook pyams.zodb.migrate.",
            id="blobs in the database",
        ),
        pytest.param(
            one(shared_blob_dir=False),
            {},
            both(database(), {"read": {"/etc/zodb/sqlite-site.toml": "  shared-blob-dir true\n"}}),
            HERE
            + "shared_blob_dir was true, and the blobs are in files, where nobody would look for them; leave it so, "
            "or move to a new folder with the playbook pyams.zodb.migrate.",
            id="blobs in files",
        ),
        pytest.param(
            one(data_dir="/srv/site"),
            {},
            {"read": {"/etc/zodb/sqlite-site.toml": f"    data-dir {DATA}\n  blob-dir {BLOBS}\n"}},
            HERE + f"data_dir /srv/site is not there, and site was in {DATA}; stop the application and move the data "
            "first, or name the old place.",
            id="moved",
        ),
        pytest.param(
            one(state="absent", remove_data=True),
            {},
            database(pids=[4711]),
            HERE + f"remove_data true would delete {MAIN}, which process 4711 has open; stop the application first.",
            id="removal of what is in use",
        ),
    ],
)
def test_refused_on_a_host(written, changed, host, sentence):
    assert refused(written, changed, host) == [sentence]


@pytest.mark.parametrize(
    ("written", "host"),
    [
        pytest.param(one(), database(), id="an empty one of ours"),
        pytest.param(one(keep_history=True), database(tables=KEPT), id="of the mode that is told"),
        pytest.param(one(shared_blob_dir=False), database(blobs=True), id="blobs where they are looked for"),
        pytest.param(one(), database(tables=[]), id="without tables yet"),
        pytest.param(one(state="absent"), database(tables=KEPT, pids=[1], owner="zope"), id="absent"),
        pytest.param(
            one(data_dir="/srv/site"),
            both(database("/srv/site/main.sqlite3"), folder("/srv/site", owner="root", mode="2775")),
            id="adopted, in a folder that its group writes",
        ),
        pytest.param(
            one(data_dir="/srv/site"),
            both(
                database("/srv/site/main.sqlite3"),
                {"read": {"/etc/zodb/sqlite-site.toml": f"    data-dir {DATA}\n"}},
            ),
            id="moved by hand",
        ),
        pytest.param(
            one(data_dir="/srv/site"), {"paths": {"/srv/site": there("link", owner="root")}}, id="a link of root's"
        ),
    ],
)
def test_taken(written, host):
    assert refused(written, host=host) == []


def test_an_ordinary_user_writes_where_it_may():
    refusal = "{} {}: {} is not writable for me, who runs the task; "
    become = "set become: true, or name a folder of your own."
    assert refused(one(data_dir="/srv/site", **LOCAL), host=USER) == [
        refusal.format("relstorage_sqlite_config_dir", "/etc/zodb", "/etc") + become,
        refusal.format("relstorage_sqlite_data_dir", "/var/lib/zodb", "/var/lib") + become,
        refusal.format("relstorage_sqlite_venv_dir", "/opt/zodb", "/opt") + become,
        refusal.format(HERE + "data_dir", "/srv/site", "/srv") + "name another folder.",
    ]
    home = {folder: f"/home/me/{folder}" for folder in ("config_dir", "data_dir", "cache_dir", "venv_dir")}
    mine = both(USER, folder("/home/me", owner="me"), {"users": {}})
    assert refused(one(**LOCAL), {**home, "client_user": ""}, mine) == []
    assert refused(one(), {**home, "client_user": ""}, mine) == [
        HERE + "pack.enabled true takes root and systemd for its timer; set it to false, and run zodb-pack yourself."
    ]


def test_a_virgin_host_foretells_an_account_that_is_to_come():
    missing = {"users": {"pyams": {"exists": False}}}
    assert refused(one(), {"check_mode": True}, missing) == []


@pytest.mark.parametrize("part", ["paths", "folders", "sqlite_databases", "read", "users"])
def test_a_rule_is_not_passed_over_because_nobody_asked(part):
    completed = entries(one())
    asked = questions(completed, SETTINGS)
    host = virgin({**UNASKED, **asked})
    host["sqlite_databases"] = {MAIN: {"exists": False, "pids": []}}
    with pytest.raises(KeyError):
        refusals(completed, SETTINGS, {**host, part: {}})
