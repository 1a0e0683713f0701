# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role relstorage_sqlite, run by ansible-playbook as root and, in the same run, as an ordinary user.

Needs root, for accounts. There is no systemd, so nothing is packed on schedule; molecule/zodb_client_default has that.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import stat
import subprocess
import types

import ansible_tasks
import pytest
import storage_kinds
from ansible_collections.pyams.zodb.plugins.module_utils import _virtualenv
from ansible_tasks import changed
from storage_servers import PYTHON, VIRTUALENV, as_user, own

# A process of the application that adds to a number which the others add to as well, and leaves a blob.
APPLICATION = """
import sys, transaction, BTrees.Length, ZODB.config
from ZODB.blob import Blob

database = ZODB.config.databaseFromURL(sys.argv[1])
name, times = sys.argv[2], int(sys.argv[3])
root = database.open().root()
for number in range(times):
    transaction.begin()
    root["total"].change(1)  # each conflict is resolved, so that none has to begin again
    transaction.commit()
transaction.begin()
print(root["total"]())
print(*sorted(blob.open().read().decode() for blob in root["blobs"].values()))
database.close()
"""
BEGIN = """
import sys, transaction, BTrees.Length, BTrees.OOBTree, ZODB.config
from ZODB.blob import Blob
from persistent.mapping import PersistentMapping

database = ZODB.config.databaseFromURL(sys.argv[1])
root = database.open().root()
root["total"], root["blobs"] = BTrees.Length.Length(), BTrees.OOBTree.OOBTree()
root["blobs"]["kept"], root["blobs"]["lost"] = Blob(b"kept"), Blob(b"lost")
root["lost"] = [PersistentMapping(n=n) for n in range(50)]
transaction.commit()
del root["lost"], root["blobs"]["lost"]
transaction.commit()
database.close()
"""
LOCAL = {"pack": {"enabled": False, "days": 0}}  # there is no systemd
LAY, LAY_CLIENT = "Configure | Lay links, folders and files", "Configure | Lay folders and files"
SCHEMA, BUILD = "Configure | Make the tables that are missing", "Virtualenv | Tell what a run would build"
FOLDERS = ("config", "data", "cache", "venv")


class Site:
    """A host's folders of the role, and its plays. account: of an ordinary user, null for root."""

    def __init__(self, name, top, application, account=None):
        self.name, self.top, self.application, self.account = name, top, application, account
        self.variables = {
            "relstorage_sqlite_allow_untested_platform": True,
            "zodb_python": "/usr/bin/python3",
            "zodb_client_virtualenv": str(VIRTUALENV),
            **{f"zodb_{folder}_dir": str(top / folder) for folder in FOLDERS},
        }
        if not account:
            self.variables.update(relstorage_sqlite_client_user=application, zodb_application_group=application)
        own(top, account)

    def play(self, *tasks):
        play = {"name": self.name, "hosts": "localhost", "gather_facts": False, "vars": self.variables}
        if self.account:
            play.update(become=True, become_user=self.account, become_method="ansible.builtin.su")
        return {**play, "tasks": list(tasks)}

    def state(self, name):
        return self.top / "data" / f"sqlite-{name}"

    def tool(self, command, name):
        """Return the exit status and the one line of a command, run as whoever runs the role."""
        words = [VIRTUALENV / "bin" / command, self.top / "config" / f"sqlite-{name}.toml"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, **as_user(self.account))
        (line,) = (done.stdout + done.stderr).splitlines()
        return done.returncode, line

    def application_says(self, program, name, *arguments):
        command = [PYTHON, "-I", "-c", program, self.top / "config" / name / "zodb.conf", name, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **as_user(self.application))

    def snapshot(self):
        """Return everything in the folders by path: owner, permissions, dates and size."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            about = path.lstat()
            found[str(path)] = (about.st_uid, about.st_gid, oct(about.st_mode), about.st_mtime_ns, about.st_size)
        return found


def install(site):
    """Put the role's virtualenv there, by links to the one of the tests, which has the same lock and tools."""
    files = str(ansible_tasks.ROOT / "roles" / "zodb_common" / "files")
    about = _virtualenv.describe(files, "relstorage", "latest", [], str(site.top / "venv"))
    words = [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    virtualenv = pathlib.Path(about["by_python"][subprocess.check_output(words, text=True).strip()])
    virtualenv.mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "pyvenv.cfg"):
        (virtualenv / name).symlink_to(VIRTUALENV / name)
    (virtualenv / ".complete").write_text(f"{about['release']}\n")
    own(site.top / "venv", site.account)


def include(*storages):
    role = {"name": "pyams.zodb.relstorage_sqlite"}
    return {"ansible.builtin.include_role": role, "vars": {"relstorage_sqlite_storages": list(storages)}}


def run(folder, *plays, arguments=()):
    """Run plays in one playbook, and return what was said."""
    playbook = folder / "playbook.json"
    playbook.write_text(json.dumps(plays))
    done = subprocess.run(
        ansible_tasks.command(playbook, *arguments),
        env=ansible_tasks.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stage(open_folder, account):
    """Two sites, and a database of before with its blobs in it. The application of root's runs as the account."""
    old = storage_kinds.make("sqlite_history", open_folder() / "old", account=account)
    old.fill(seed=7, objects=40, transactions=4, blobs=[1000])
    root, user = Site("root", open_folder(), account), Site("user", open_folder(), account, account)
    adopted = {
        "name": "old",
        "data_dir": old.description["sqlite"]["data_dir"],
        "shared_blob_dir": False,
        "keep_history": True,
        **LOCAL,
    }
    return types.SimpleNamespace(root=root, user=user, old=old, adopted=adopted, folder=open_folder())


@pytest.fixture(scope="module")
def deployed(stage):
    """Foretell, do and repeat it; return what was said, and what there was between the runs."""

    def look():
        return [stage.root.snapshot(), stage.user.snapshot()]

    plays = [
        stage.root.play(include({"name": "site", **LOCAL}, stage.adopted)),
        stage.user.play(include({"name": "shop", "keep_history": True, **LOCAL})),
    ]
    install(stage.root)  # the user's host is a virgin one for check mode
    main = pathlib.Path(stage.adopted["data_dir"], "main.sqlite3")
    found = types.SimpleNamespace(before=look(), content=stage.old.read(), bytes=main.read_bytes(), main=main)
    found.check = changed(run(stage.folder, *plays, arguments=["--check", "--diff"]))
    found.checked = look()
    install(stage.user)
    found.first = changed(run(stage.folder, *plays))
    found.adopted_bytes = main.read_bytes()
    found.after = look()
    found.second = changed(run(stage.folder, *plays))
    found.repeated = look()
    return found


def test_check_mode_foretells_a_first_run_and_changes_nothing(deployed):
    assert deployed.checked == deployed.before
    assert deployed.check == [LAY, LAY_CLIENT, BUILD, LAY, LAY_CLIENT]
    assert deployed.first == [LAY, SCHEMA, LAY_CLIENT, LAY, SCHEMA, LAY_CLIENT]


def test_a_second_run_changes_nothing(deployed):
    """But for the folders that SQLite's index comes and goes in, which is made by whoever looks."""

    def without_folders(snapshots):
        return [
            {path: about if stat.S_ISREG(int(about[2], 8)) else about[:3] for path, about in snapshot.items()}
            for snapshot in snapshots
        ]

    assert deployed.second == []
    assert without_folders(deployed.repeated) == without_folders(deployed.after)


def test_a_database_that_was_there_is_as_it_was(stage, deployed):
    assert deployed.adopted_bytes == deployed.bytes
    assert stage.old.read() == deployed.content
    assert stage.root.tool("zodb-health", "old")[0] == 0


@pytest.mark.parametrize(("name", "who"), [("site", "root"), ("shop", "user")])
def test_processes_write_at_once_and_a_pack_takes_what_is_garbage(stage, deployed, name, who):
    site = getattr(stage, who)
    with contextlib.closing(site.application_says(BEGIN, name).stdout) as said:
        assert said.read() == ""
    blobs = site.state(name) / "blobs"
    assert len(list(blobs.rglob("*.blob"))) == 2
    writers = [site.application_says(APPLICATION, name, 40) for _number in range(2)]
    code, line = site.tool("zodb-pack", name)
    assert (code, f"{name}: packed, 55 objects became 4 in " in line) == (0, True), line
    assert [writer.communicate()[0].splitlines()[-1] for writer in writers] == ["kept", "kept"]
    assert [writer.returncode for writer in writers] == [0, 0]
    reader = site.application_says(APPLICATION, name, 0)
    assert reader.communicate()[0].splitlines() == ["80", "kept"]
    assert len(list(blobs.rglob("*.blob"))) == 1
    code, line = site.tool("zodb-health", name)
    assert (code, "packed 0 hours ago" in line) == (0, True), line
    # Root has packed and looked as the application's account, and left nothing of its own behind.
    owners = {path.owner() for path in (site.state(name), *site.state(name).rglob("*"))}
    assert owners == {site.application}
    assert stat.S_IMODE((site.state(name) / "data").stat().st_mode) == 0o700


def test_what_differs_from_what_is_there_is_refused(stage, deployed):
    """Entries of root's, with the sentence. Nothing of them is laid."""
    something, closed = stage.folder / "something", stage.folder / "closed"
    something.mkdir()
    closed.mkdir(mode=0o700)
    (something / "Data.fs").write_text("FS30")
    own(something, stage.root.application)
    old = stage.adopted["data_dir"]
    migrate = "or move to a new folder with the playbook pyams.zodb.migrate."
    refused = {
        "site": (
            {"keep_history": True},
            f"data_dir {stage.root.state('site')}/data keeps no history, which was decided when it was made; set "
            f"keep_history to false, {migrate}",
        ),
        "blobs": (
            {"data_dir": old, "keep_history": True},
            f"data_dir {old} has blobs in its database, where nobody would look for them; set shared_blob_dir to "
            f"false, {migrate}",
        ),
        "mine": (
            {"data_dir": str(stage.root.top / "data")},
            f"data_dir {stage.root.top}/data holds relstorage_sqlite_data_dir {stage.root.top}/data, and it is the "
            "application's alone; name a folder of its own.",
        ),
        "something": (
            {"data_dir": str(something)},
            f"data_dir {something} holds Data.fs and no main.sqlite3, so it is something else's; name another folder.",
        ),
        "closed": (
            {"data_dir": f"{closed}/data"},
            f"data_dir {closed}/data lies in {closed}, which {stage.root.application} may not enter; let it, or name "
            "another folder.",
        ),
    }
    before = stage.root.snapshot(), something.stat().st_mtime_ns, list(something.iterdir())
    tasks = [
        {"block": [include({"name": name, **LOCAL, **entry})], "rescue": [{"ansible.builtin.meta": "noop"}]}
        for name, (entry, _sentence) in refused.items()
    ]
    failures = re.findall(r"^fatal: .*? => (.*)$", run(stage.folder, stage.root.play(*tasks)), re.MULTILINE)
    said = [json.loads(failure)["msg"] for failure in failures]
    assert said == [
        f'relstorage_sqlite_storages[0] "{name}": {sentence}' for name, (_entry, sentence) in refused.items()
    ]
    assert (stage.root.snapshot(), something.stat().st_mtime_ns, list(something.iterdir())) == before


def test_what_is_absent_keeps_its_data_until_that_is_to_go_too(stage, deployed):
    root, user = stage.root, stage.user
    gone = {"state": "absent", **LOCAL}
    said = run(
        stage.folder,
        root.play(include({"name": "site", **gone}, {**stage.adopted, **gone})),
        user.play(include({"name": "shop", "remove_data": True, **gone})),
    )
    assert changed(said) == [
        "Absent | Remove what was configured",
        LAY_CLIENT,
        "Absent | Remove what was configured",
        "Absent | Remove the data, as remove_data says",
        LAY_CLIENT,
    ]
    assert (root.state("site") / "data" / "main.sqlite3").exists()
    assert stage.old.read() == deployed.content
    assert not user.state("shop").exists()
    for site in root, user:
        assert list((site.top / "config").iterdir()) == []
        assert [path.name for path in (site.top / "venv").iterdir() if path.is_symlink()] == []
