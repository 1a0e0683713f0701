# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs zodbconvert on storages of storage_kinds.py, by ansible-playbook or alone, and looks at what it left."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import ansible_tasks
import yaml
from ansible_collections.pyams.zodb.plugins.modules import zodbconvert
from storage_servers import VIRTUALENV

SMALL = {"seed": 20261125, "objects": 20, "transactions": 6}
MORE = {"seed": 20261126, "objects": 10, "transactions": 3}
# Runs a command, and prints as JSON its seconds, the KiB that its largest process took, its status and its output.
MEASURED = """
import json, resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.monotonic() - began
size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([seconds, size, done.returncode, done.stdout, done.stderr]))
"""


def measured(*command):
    """Return the seconds that a command took, the MiB of its largest process, and its output."""
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True)
    seconds, size, code, output, errors = json.loads(done.stdout)
    assert code == 0, errors or output
    return seconds, size / 1024, output


class Converter:
    """Runs the module, with records in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder

    def task(self, one, other, check=False, **options):
        """Return a task that copies from one storage to another."""
        if one.history and not other.history:
            options = {"history": "drop", **options}
        options = {
            "virtualenv": str(VIRTUALENV),
            "state_dir": str(self.folder / "records"),
            "source": one.description,
            "destination": other.description,
            **options,
        }
        return {"pyams.zodb.zodbconvert": options, "check_mode": check}

    def run(self, *tasks):
        return complete(ansible_tasks.run(self.folder, list(tasks)))

    def start(self, one, other, check=False, **options):
        """Start the module as a process of its own, without ansible-playbook."""
        arguments = self.task(one, other, **options)["pyams.zodb.zodbconvert"]
        return ansible_tasks.start_module(self.folder, zodbconvert, arguments, check)

    def direct(self, one, other, check=False, **options):
        """Return the result of one run without ansible-playbook."""
        return ansible_tasks.result_of(self.start(one, other, check, **options))

    def measured(self, one, other, **options):
        """Return (seconds, MiB of the largest process, result) of one run without ansible-playbook."""
        arguments = self.task(one, other, **options)["pyams.zodb.zodbconvert"]
        seconds, size, output = measured(*ansible_tasks.module_command(self.folder, zodbconvert, arguments))
        return seconds, size, json.loads(output)

    def twice(self, source, destination, by_ansible=False, **options):
        """Run check, do, check, do; return the second result. The first two agree, and the others do nothing.

        by_ansible: as tasks, which take twice the time.
        """
        modes = (True, False, True, False)
        if by_ansible:
            results = self.run(*(self.task(source, destination, check, **options) for check in modes))
        else:
            results = complete([self.direct(source, destination, check, **options) for check in modes])
        for result in results:
            assert result.get("msg") is None, result.get("log")
        checked, done, *again = results
        assert [result["changed"] for result in results] == [True, True, False, False]
        for key in ("state", "method", "transactions", "objects", "blobs", "bytes", "source_last_tid"):
            assert checked[key] == done[key], key
        assert done["verified"] == again[0]["verified"] == again[1]["verified"] == "full"
        assert again[0]["state"] == "equal"
        return done


def complete(results):
    """Return results, each of which has all that is documented."""
    documented = set(yaml.safe_load(zodbconvert.RETURN))
    for result in results:
        assert documented <= set(result), result
    return results


def fingerprint(*storages):
    """Return what is in the folders and databases of storages, without logs of servers and what SQLite makes anew."""
    found = {}
    for storage in storages:
        for path in sorted(storage.folder.rglob("*")):
            # Whoever opens a SQLite database first and closes it last makes and removes its -shm and -wal.
            if path.is_file() and not path.name.endswith((".log", ".conf", "-shm", "-wal")):
                status = path.stat()
                content = hashlib.sha256(path.read_bytes()).digest()
                found[str(path)] = (status.st_uid, status.st_mode, status.st_mtime_ns, content)
        if getattr(storage, "database", None):
            tables = "select relname, pg_relation_size(oid) from pg_class where relowner = 'zodb'::regrole order by 1"
            found[storage.database] = (storage.server.psql(tables, storage.database), storage.read())
    return found


def equal(source, destination):
    return source.differences(destination) == {}
