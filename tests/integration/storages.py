# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storages for tests of the modules: made, filled and served by ZODB itself in the virtualenv of RelStorage."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from pathlib import Path

VIRTUALENV = Path(__file__).resolve().parents[2] / ".cache" / "relstorage"
PYTHON = VIRTUALENV / "bin" / "python"

# Works on the storage of a ZConfig text: one commit for each name. Each has a user, a note and an extension.
WORK = """
import io, os, sys
import transaction, ZODB.blob, ZODB.config
from persistent.mapping import PersistentMapping

def commit(note):
    about = transaction.get()
    about.setUser("somebody")
    about.note(note)
    about.setExtendedInfo("request", {"path": note})
    transaction.commit()

storage = ZODB.config.storageFromString(sys.argv[1])
database = ZODB.DB(storage)
root = database.open().root()
for word in sys.argv[2:]:
    what, name = word.split(":")
    if what == "objects":  # 20 new ones
        for number in range(20):
            root[f"{name}-{number}"] = PersistentMapping({"state": os.urandom(300)})
    elif what == "change":
        for key in sorted(root)[::3]:
            if isinstance(root[key], PersistentMapping):
                root[key]["changed"] = name
    elif what == "blob":
        root["blob-" + name] = ZODB.blob.Blob(os.urandom(5000))
    elif what == "rewrite":
        with root["blob-" + name].open("w") as file:
            file.write(os.urandom(7000))
    elif what == "delete":
        del root[name]
    elif what == "undo":  # the last transaction
        database.undo(database.undoLog(0, 1)[0]["id"])
    elif what == "pack":
        import time
        database.pack(time.time() + 1)
        continue
    commit(word)
print(storage.lastTransaction().hex())
database.close()
"""


def filestorage(folder, **options):
    return {"filestorage": {"path": f"{folder}/Data.fs", "blob_dir": f"{folder}/blobs", **options}}


def zeo(folder, **options):
    return {"zeo": {"server": f"{folder}/zeo.sock", "storage": "pyams", "blob_dir": f"{folder}/cache", **options}}


def sqlite(folder, **options):
    return {"sqlite": {"data_dir": str(folder), "blob_dir": f"{folder}/blobs", "keep_history": False, **options}}


def text(description):
    """Return the ZConfig text of a description."""
    from ansible_collections.pyams.zodb.plugins.module_utils import _storage

    return _storage.render(description, secrets=True)


def work(description, *words):
    """Commit to a storage, and return the id of its last transaction."""
    done = subprocess.run(
        [PYTHON, "-I", "-c", WORK, text(description), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return "0x" + done.stdout.strip()


def copy(source, destination):
    """Copy by RelStorage's own script, without a module."""
    from ansible_collections.pyams.zodb.plugins.module_utils import _storage

    config = "".join(_storage.render(one, name) for one, name in ((source, "source"), (destination, "destination")))
    done = subprocess.run(
        [VIRTUALENV / "bin" / "zodbconvert", "-"], input=config, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def served(folder, options=""):
    """Serve the FileStorage of a folder on a socket in it."""
    config = folder / "zeo.conf"
    config.write_text(
        f"<zeo>\n address {folder}/zeo.sock\n</zeo>\n"
        f"<filestorage pyams>\n path {folder}/Data.fs\n blob-dir {folder}/blobs\n {options}\n</filestorage>\n"
    )
    log = folder.with_suffix(".log").open("wb")
    with subprocess.Popen([PYTHON, "-m", "ZEO.runzeo", "-C", config], stdout=log, stderr=log, cwd=folder) as process:
        try:
            for _try in range(200):
                if (folder / "zeo.sock").exists():
                    break
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()


def fingerprint(folder):
    """Return what is in a folder: owner, mode, date of change and hash of each file, by path."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        found[str(path)] = (status.st_uid, status.st_mode, status.st_mtime_ns, content)
    return found
