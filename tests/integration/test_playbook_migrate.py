# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook migrate, run by ansible-playbook on this machine: real servers, and an application that goes on writing.

The application opens whatever the file storage.inc tells that the role zodb_client has laid, commits twenty times a
second, and is stopped and started by the commands that the playbook is given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import ansible_tasks
import pytest
import storage_kinds
from storage_servers import PYTHON, VIRTUALENV, as_user, free_port, own, until

SMALL = {"seed": 20261127, "objects": 20, "transactions": 6, "undo_creation": False}
OBJECTS = 1_000_000 if os.environ.get("SOAK") == "1" else 2_000  # of the site whose pause is measured
START = """
cd {folder}
setsid {python} {folder}/writer.py {folder}/config/pyams/storage.inc {folder}/ledger 20 >>writer.log 2>&1 &
echo $! >pid
"""
STOP = """
cd {folder}
[ -e pid ] || exit 0
kill -TERM $(cat pid)
# One that has ended may stay a zombie for some seconds, until the machine's first process looks after it.
while grep -qs '^State:.[^Z]' /proc/$(cat pid)/status; do sleep 0.02; done
touch -r ledger last
rm pid
"""
PLAYS = """
- hosts: zeo_servers
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: pyams.zodb.zeo_server}
"""


@dataclasses.dataclass
class Run:
    """A run of ansible-playbook: exit status, what changed, what was said."""

    status: int
    changed: int
    text: str


def killed(pid):
    """Kill a process with all that it has started: each task has a group of processes of its own."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    going = [pid]
    for one in going:
        going += [child for child, parent in parents.items() if parent == one]
    for one in going:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


class Site:
    """An application of an ordinary account on this host, and the variables that an inventory would have for it."""

    def __init__(self, folder, account):
        self.folder, self.account = folder, account
        self.ledger = storage_kinds.Ledger(folder / "ledger")
        folder.mkdir()
        (folder / "writer.py").write_text((storage_kinds.HERE / "storage_writer.py").read_text())
        for name, text in (("start", START), ("stop", STOP)):
            (folder / name).write_text(text.format(folder=folder, python=PYTHON))
        self.ledger.path.touch()
        own(folder, account)
        own(self.ledger.path, account)
        self.variables = {
            "migrate_name": "pyams",
            "migrate_virtualenv": str(VIRTUALENV),
            "migrate_history": "drop",
            "migrate_state_dir": f"{folder}/state",
            "migrate_stop_command": ["/bin/sh", f"{folder}/stop"],
            "migrate_start_command": ["/bin/sh", f"{folder}/start"],
            "zodb_python": "/usr/bin/python3",
            "zodb_service_manager": "zdaemon",
            "zodb_allow_untested_platform": True,
            "zodb_wheelhouse": str(ansible_tasks.ROOT / ".cache" / "wheels"),
            **{f"zodb_{name}_dir": f"{folder}/{name}" for name in ("config", "data", "log", "cache", "run")},
        }

    def run(self, *arguments, playbook="pyams.zodb.migrate", killed_at=None, **variables):
        """Run a playbook as the account. killed_at: the end of the name of the task at which all of it is killed."""
        inventory = self.folder.with_suffix(".json")
        host = {"ansible_connection": "local", **self.variables, **variables}
        groups = {"zeo_servers": {"localhost": host}, "zodb_clients": {"app": {"ansible_connection": "local"}}}
        inventory.write_text(json.dumps({group: {"hosts": hosts} for group, hosts in groups.items()}))
        command = [str(pathlib.Path(ansible_tasks.command("")[0])), "-i", str(inventory)]
        become = ["-b", f"--become-user={self.account}", "--become-method=ansible.builtin.su"]
        began = time.monotonic()
        said = self.folder.with_suffix(".out")
        with said.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [*command, *become, *arguments, str(playbook)],
                env=ansible_tasks.environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            while killed_at and process.poll() is None:
                if f"{killed_at}] ***" in said.read_text():
                    killed(process.pid)
                time.sleep(0.02)
            status = process.wait()
        text = said.read_text()
        print(text, f"{time.monotonic() - began:.1f} s")
        changed = re.search(r"changed=(\d+)", text)
        return Run(status, int(changed[1]) if changed else -1, " ".join(text.split()))

    def serve(self):
        """Have the role serve a storage, as an entry of this host alone, and return where its data are."""
        self.variables["zeo_server_instances"] = [{"name": "pyams", "address": f"127.0.0.1:{free_port()}"}]
        play = self.folder.with_suffix(".yml")
        play.write_text(PLAYS)
        assert self.run(playbook=play).status == 0
        return self.folder / "data" / "pyams" / "pyams"

    def leads_to(self, storage):
        """Have the application open a storage, as a file of somebody's own told it before."""
        folder = self.folder / "config" / "pyams"
        folder.mkdir(parents=True)
        (folder / "storage.inc").write_text(storage.zconfig())
        for path in (folder.parent, folder):
            own(path, self.account)

    def do(self, name):
        subprocess.run(["/bin/sh", self.folder / name], check=True, **as_user(self.account))

    def starts(self):
        self.do("start")
        self.writes()

    def unproven(self):
        """Return the seconds from the last commit before a move to the proof that the destination has it."""
        proven = max(path.stat().st_mtime for path in (self.folder / "state").glob("*.json"))
        seconds = proven - (self.folder / "last").stat().st_mtime
        print(f"PROVEN {seconds:.1f} s after the last commit, load {os.getloadavg()[0]:.1f}")
        return seconds

    def writes(self, more=20):
        """Wait until it has committed more."""
        wanted = self.ledger.count() + more
        until(lambda: self.ledger.count() >= wanted, (self.folder / "writer.log").read_text)


@pytest.fixture(scope="module")
def venvs(open_folder, account):
    """One folder of virtualenvs for all sites, so that one is built."""
    folder = open_folder()
    own(folder, account)
    return folder


@pytest.fixture
def site(open_folder, account, venvs, make_storage):
    """A site, which is stopped before its storages go."""
    made = Site(open_folder() / "site", account)
    made.variables["zodb_venv_dir"] = str(venvs)
    yield made
    made.do("stop")
    zdaemon = made.folder / "config" / "zeo-pyams-zdaemon.conf"
    if zdaemon.exists():
        command = [venvs / "zeo-pyams" / "bin" / "zdaemon", "-C", zdaemon, "stop"]
        subprocess.run(command, check=True, capture_output=True, **as_user(account))


def pause(run):
    """Return how long the run says that the site stood still."""
    seconds = float(re.search(r"The site stood still for ([0-9.]+) s", run.text)[1])
    print("PAUSE", seconds)
    return seconds


def fingerprint(site, *storages):
    """Return what is in the files of a site and in storages, without what its writer and ansible-playbook write."""
    found = {storage.kind: storage.read() for storage in storages}
    for folder in [site.folder, *(storage.folder for storage in storages)]:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.endswith((".log", "ledger", "-shm", "-wal")):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_from_a_server_of_ours_to_postgresql_and_back(site, make_storage):
    """The role's own server is fenced, a writer that nobody stops included, and serves again after the way back."""
    data = site.serve()
    destination = make_storage("postgresql", account=site.account)
    address = site.variables["zeo_server_instances"][0]["address"]
    source = make_storage("filestorage", account=site.account)
    client = "%import ZEO\n<clientstorage>\n  storage pyams\n  wait-timeout 2\n"
    client += f"  server {address}\n  blob-dir {source.folder}/cache\n</clientstorage>\n"
    source = dataclasses.replace(source, section=client, location=storage_kinds._file(data, data / "blobs"))
    source.fill(**{**SMALL, "objects": OBJECTS})
    site.variables.update(migrate_name="", migrate_zeo_server="pyams", migrate_destination=destination.description)
    site.starts()
    with source.written(rate=20) as forgotten:
        done = site.run()
    assert done.status == 0
    assert pause(done) < 60
    assert 0 < site.unproven() < 30
    assert "127.0.0.1 port" in done.text  # the writer that was forgotten
    site.writes()
    assert forgotten.lost(destination) == {}
    again = site.run()
    assert (again.status, again.changed) == (0, 0)
    play = site.folder.with_suffix(".yml")
    unchanged = site.run(playbook=play)  # of the inventory that it had before
    assert unchanged.status == 2
    assert re.search(
        r'zeo_server_instances\[0\] "pyams": storages\[0\] pyams: its site has moved to postgresql on 20\d\d-\d\d-\d\d '
        r"\d\d:\d\d UTC, says \S+/config/zeo-pyams.pyams.moved, and would be written in two places; set read_only to "
        "true, or move it back by pyams.zodb.migrate with migrate_phase=rollback.",
        unchanged.text,
    )
    entry = {**site.variables["zeo_server_instances"][0], "pack": {"enabled": False}}
    entry["storages"] = [{"name": "pyams", "read_only": True}]
    led_back = site.run(playbook=play, zeo_server_instances=[entry])
    assert "and would be led back by its clients' files; include the role with tasks_from: server, or" in led_back.text
    served = site.folder.with_suffix(".served.yml")
    served.write_text(PLAYS.replace("zeo_server}", "zeo_server, tasks_from: server}"))
    followed = site.run(playbook=served, zeo_server_instances=[entry])
    assert (followed.status, followed.changed) == (0, 0)
    refused = site.run("-e", json.dumps({"zeo_server_instances": [{"name": "pyams"}]}))
    assert "zeo_server_instances comes from the command line" in refused.text

    back = site.run("-e", "migrate_phase=rollback")
    assert back.status == 0
    assert pause(back) < 120
    site.writes()
    site.do("stop")
    assert site.ledger.lost(source) == {}
    assert forgotten.lost(source) == {}
    assert (site.run(playbook=play).status, list((site.folder / "config").glob("*.moved"))) == (0, [])


def test_a_run_that_is_killed_in_the_pause_is_made_good_by_the_next(site, make_storage):
    """With SIGKILL, wherever nobody could write to the old storage or to the new one any more."""
    site.serve()
    destination = make_storage("postgresql", account=site.account)
    site.variables.update(migrate_name="", migrate_zeo_server="pyams", migrate_destination=destination.description)
    site.starts()
    killed_run = site.run(killed_at="Fence | Keep everybody from writing, and tell who had it open")
    assert killed_run.status == -signal.SIGKILL
    assert not (site.folder / "pid").exists()  # it stands still
    refused = site.run(playbook=site.folder.with_suffix(".yml"))
    assert "its site is on its way to postgresql" in refused.text
    back = site.run("-e", "migrate_phase=rollback")
    assert back.status == 0
    assert "The site is where it was before." in back.text
    site.writes()

    for task in (
        "Client | Lay the applications' files",
        "Serve | Have the ZEO server serve the source, read-only or not",  # when the application has been started
    ):
        assert site.run(killed_at=task).status == -signal.SIGKILL
    site.writes()
    done = site.run()
    assert done.status == 0
    assert "An earlier run was cut off while it moved the site" in done.text
    site.writes()
    assert (site.run().changed, site.ledger.lost(destination)) == (0, {})

    killed_run = site.run("-e", "migrate_phase=rollback", killed_at="Rollback | Start the writers")
    assert killed_run.status == -signal.SIGKILL
    other = site.run()
    assert other.status == 2
    assert "the way back of pyams was begun and has not come to its end" in other.text
    assert site.run("-e", "migrate_phase=rollback").status == 0
    site.writes()
    site.do("stop")
    data = site.folder / "data" / "pyams" / "pyams"
    assert site.ledger.lost(dataclasses.replace(destination, location=storage_kinds._file(data, data / "blobs"))) == {}


def test_from_newt_to_a_filestorage_and_back_in_phases(site, make_storage):
    source = make_storage("postgresql", account=site.account)
    source.description = {"newt": source.description["postgresql"]}
    destination = make_storage("filestorage", account=site.account)
    source.fill(**SMALL)
    site.variables.update(migrate_source=source.description, migrate_destination=destination.description)
    site.leads_to(source)
    (lost,) = source.plant("missing")
    before = fingerprint(site, source, destination)
    checked = site.run("--check")
    assert checked.status == 0
    assert checked.changed > 0
    assert f"missing from the source, though others refer to them: 1 (0x{lost})" in checked.text
    assert fingerprint(site, source, destination) == before

    for phase, sentence in (
        ("switch", "migrate_phase switch: no record proves the destination (empty); run migrate_phase=copy first."),
        ("catch_up", "migrate_phase catch_up: the destination is empty, so there is no copy to catch up with;"),
        ("rollback", "migrate_phase rollback: nothing says that pyams has moved"),
    ):
        refused = site.run("-e", f"migrate_phase={phase}")
        assert refused.status == 2
        assert sentence in refused.text
    site.starts()
    for phase in ("copy", "copy", "catch_up"):
        assert site.run("-e", f"migrate_phase={phase}").status == 0
    slow = site.run(migrate_phase="switch", migrate_pause=0.001)
    assert re.search(
        r"migrate_phase switch: the last catch-up took [0-9.]+ s for \d+ objects, and migrate_pause is", slow.text
    )
    done = site.run(migrate_phase="switch")
    assert done.status == 0
    pause(done)
    site.writes()
    site.do("stop")
    assert site.ledger.lost(destination) == {}
    with pytest.raises(AssertionError, match="its site has moved"):
        source.fill(**SMALL)
    site.starts()
    before = fingerprint(site, source)
    for phase in ("copy", "catch_up", "switch"):
        again = site.run("-e", f"migrate_phase={phase}")
        assert (again.status, again.changed) == (0, 0)
    assert site.run("--check").changed == 0
    assert fingerprint(site, source) == before

    assert site.run("-e", "migrate_phase=rollback", "--check").changed == 1
    assert fingerprint(site, source) == before
    back = site.run("-e", "migrate_phase=rollback")
    assert back.status == 0
    pause(back)
    site.writes()
    site.do("stop")
    assert site.ledger.lost(source) == {}


HOOK = """
- name: Stop and start the application
  ansible.builtin.command: {argv: [/bin/sh, "FOLDER/{{ migrate_step }}"]}
  when: migrate_step in ["stop", "start"]
  delegate_to: app

- name: Note the step
  ansible.builtin.lineinfile:
    path: FOLDER/steps
    line: "{{ migrate_step }} {{ migrate_side }}"
    create: true
    mode: "0600"
"""


def test_what_cannot_be_fenced_is_noticed(site, make_storage):
    """A server that is not ours: nobody may be connected to it when the site moves, or write to it afterwards."""
    source = make_storage("zeo", account=site.account)
    destination = make_storage("sqlite", account=site.account)
    source.fill(**SMALL)
    file = {"path": f"{source.folder}/Data.fs", "blob_dir": f"{source.folder}/blobs"}
    site.variables.update(migrate_source={"filestorage": file}, migrate_client_source=source.description)
    site.variables.update(migrate_destination=destination.description, migrate_client_hosts=["app"])
    site.leads_to(source)
    site.starts()
    refused = site.run(migrate_stop_command=["/bin/true"], migrate_start_command=["/bin/true"])
    assert refused.status == 2
    assert re.search(
        r"the source is still open for 127\.0\.0\.1 port \d+.*, and nothing can make a storage of its kind read-only; "
        "stop that too, by migrate_units, migrate_stop_command or migrate_hook. The site runs where it was.",
        refused.text,
    )
    site.writes()
    hook = site.folder.with_suffix(".hook.yml")
    hook.write_text(HOOK.replace("FOLDER", str(site.folder)))
    site.variables.update(migrate_stop_command=[], migrate_start_command=[], migrate_hook=str(hook))
    done = site.run()
    assert done.status == 0
    assert (site.folder / "steps").read_text().splitlines() == [
        "stop source",
        "fence source",
        "client destination",
        "start destination",
    ]
    pause(done)
    site.writes()
    site.do("stop")
    assert site.ledger.lost(destination) == {}
    source.fill(**SMALL)
    noticed = site.run()
    assert noticed.status == 2
    assert re.search("the source got transaction 0x[0-9a-f]{16} .* after 0x[0-9a-f]{16}, up to which", noticed.text)


def test_bad_input_is_refused_before_anything_changes(site, make_storage):
    source, destination = make_storage("filestorage"), make_storage("postgresql")
    source.fill(**SMALL)
    before = fingerprint(site, source)
    wrong = site.run(
        migrate_name="Py AMS", migrate_stop_command=[], migrate_hook="/no/such.yml", migrate_pause=0, migrate_source={}
    )
    for sentence in (
        "migrate_source and migrate_zeo_server are neither of them given; say in one of them where the site is.",
        "migrate_destination is not given; describe the storage to move to.",
        'migrate_name "Py AMS" names no folder of the applications\' files;',
        "migrate_hook /no/such.yml: there is no such file on the controller;",
        "migrate_pause 0 and migrate_passes 10 must both be above 0.",
    ):
        assert sentence in wrong.text
    site.variables.update(migrate_source=source.description)
    assert "value of migrate_phase must be one of" in site.run(migrate_phase="swich").text
    assert "so nothing would stop what writes" in site.run(migrate_stop_command=[]).text
    unknown = site.run(migrate_zeo_server="blog", migrate_source={}, zeo_server_instances=[{"name": "pyams"}])
    assert "migrate_zeo_server blog is no entry of zeo_server_instances on this host;" in unknown.text
    unlaid = {"postgresql": {**destination.description["postgresql"], "passfile": "/no/such.pgpass"}}
    unable = site.run(migrate_destination=destination.description, migrate_client_destination=unlaid)
    assert "postgresql.passfile /no/such.pgpass: it is not on this host; lay it there first." in unable.text
    secret = site.run("-vvv", migrate_destination=destination.described_with_password())
    assert "postgresql.password would stand in a file that the application reads; give a passfile" in secret.text
    assert destination.server.QUOTED not in secret.text
    assert "ecret" not in secret.text
    assert fingerprint(site, source) == before
