# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs of zeo_server cost on a host with systemd, as root: ratios of one run, and a count of remote tasks.

Times are printed and never asserted; the counts are. BENCH_ROUNDS is how often each run is repeated (1), the medians
count; BENCH_OBJECTS how many objects the larger of two storages holds (100,000).
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "zodb-bench"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1"))
OBJECTS = int(os.environ.get("BENCH_OBJECTS", "100000"))
LOCK = sorted((ROOT / "roles" / "zodb_common" / "files" / "locks").glob("zeo-*.txt"))[-1]
# What runs on the controller alone.
LOCAL = {"assert", "debug", "fail", "include_role", "include_tasks", "meta", "set_fact", "validate_argument_spec"}

FACTS = {"hosts": HOST, "gather_facts": True, "tasks": []}


def play(count):
    """Return a play for a number of ZEO servers and their clients' files, on one host."""
    instances = [{"name": f"site{index}", "address": f"127.0.0.1:{8100 + index}"} for index in range(count)]
    role = {"include_role": {"name": "pyams.zodb.zeo_server"}, "vars": {"zeo_server_instances": instances}}
    return {"hosts": HOST, "gather_facts": False, "vars": {"zodb_wheelhouse": "/srv/wheels"}, "tasks": [role]}


def podman(*command):
    """Run podman and return what it prints."""
    done = subprocess.run(
        ["podman", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs a play on a fresh host and returns its seconds and its result."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "inventory").write_text(
        f"{HOST} ansible_connection=containers.podman.podman ansible_python_interpreter=/usr/bin/python3\n"
    )
    boot = "mount --make-rshared / && exec /sbin/init"
    image = os.environ.get("ZODB_IMAGE_PREFIX", "docker.io/geerlingguy/docker-") + "debian12-ansible"
    wheels = f"{ROOT / '.cache' / 'wheels'}:/srv/wheels:ro"
    podman("rm", "--force", "--time", "0", "--ignore", HOST)
    podman(
        *("run", "--detach", "--name", HOST, "--systemd", "always", "--cap-add", "SYS_ADMIN"),
        *("--network", "none", "--volume", wheels, image, "/bin/sh", "-c", boot),
    )
    podman(
        "exec",
        HOST,
        "/bin/sh",
        "-c",
        "until systemctl is-system-running | grep -E 'running|degraded'; do sleep 1; done",
    )
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }

    def perform(content):
        playbook = folder / "play.yml"
        playbook.write_text(json.dumps([content]))
        started = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", folder / "inventory", playbook],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return seconds, json.loads(done.stdout[done.stdout.index("{") :])

    yield perform
    podman("rm", "--force", "--time", "0", HOST)


def remote_tasks(result):
    """Return the names of what ran on the host, each item of a loop by itself."""
    names = []
    for tasks in (one["tasks"] for one in result["plays"]):
        for task in tasks:
            for outcome in task["hosts"].values():
                if outcome.get("action", "").rpartition(".")[2] in LOCAL:
                    continue
                for one in outcome.get("results", [outcome]):
                    if not one.get("skipped"):
                        names.append(task["task"]["name"])
    return names


@pytest.fixture(scope="module")
def installed(run):
    """Return the seconds of the first run, with one server."""
    return run(play(1))[0]


def test_an_unchanged_run_touches_the_host_rarely(run, installed):
    one = run(play(1))[1]
    run(play(2))
    two = run(play(2))[1]
    for result in (one, two):
        assert result["stats"][HOST]["changed"] == 0, remote_tasks(result)
    names = remote_tasks(one)
    print(f"\nremote tasks, unchanged, server and client: {len(names)} {names}")
    further = len(remote_tasks(two)) - len(names)
    print(f"remote tasks for a further server: {further}")
    assert 0 < len(names) <= 20
    assert further <= 6


def test_an_unchanged_run_against_gathering_facts(run, installed):
    run(play(10))
    seconds = {name: [] for name in ("facts", "one", "ten")}
    for _round in range(ROUNDS):
        for name, content in (("facts", FACTS), ("one", play(1)), ("ten", play(10))):
            seconds[name].append(run(content)[0])
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name in ("one", "ten"):
        print(f"\nunchanged run, {name}: {median[name] / median['facts']:.2f} of a play that only gathers facts")
    assert all(value > 0 for value in median.values())


def test_the_first_install_against_pip_alone(run, installed):
    podman("cp", str(LOCK), f"{HOST}:/tmp/lock.txt")
    pip = "/tmp/bare/bin/python -m pip install -q --no-index --find-links /srv/wheels --require-hashes -r /tmp/lock.txt"
    started = time.monotonic()
    podman("exec", HOST, "/bin/sh", "-c", f"python3 -m venv /tmp/bare && {pip}")
    bare = time.monotonic() - started
    print(f"\nfirst run with one server, from a wheelhouse: {installed / bare:.2f} of venv and pip alone")
    assert bare > 0


def test_memory_of_the_server(run, installed):
    load = """
import sys, ZODB, ZODB.FileStorage, transaction
from persistent.mapping import PersistentMapping
database = ZODB.DB(ZODB.FileStorage.FileStorage(sys.argv[1]))
root = database.open().root()
for batch in range(int(sys.argv[2]) // 1000):
    root[batch] = PersistentMapping((key, PersistentMapping(text="x" * 100)) for key in range(999))
    transaction.commit()
    root._p_jar.cacheMinimize()
database.close()
"""
    sizes = {}
    for count in (OBJECTS // 5, OBJECTS):
        podman("exec", HOST, "systemctl", "stop", "zeo-site0")
        data = "/var/lib/zodb/site0/site0/Data.fs"
        podman("exec", HOST, "sh", "-c", f"rm -f {data}*")
        podman("exec", "--user", "zodb", HOST, "/opt/zodb/zeo-site0/bin/python", "-c", load, data, str(count))
        podman("exec", HOST, "systemctl", "start", "zeo-site0")
        podman("exec", HOST, "/opt/zodb/zeo-site0/bin/zodb-health", "--wait", "60", "/etc/zodb/zeo-site0.toml")
        pid = podman("exec", HOST, "systemctl", "show", "--property", "MainPID", "--value", "zeo-site0").strip()
        status = podman("exec", HOST, "cat", f"/proc/{pid}/status")
        sizes[count] = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))  # KiB
    (few, small), (many, large) = sorted(sizes.items())
    per_million = (large - small) / 1024 * 1_000_000 / (many - few)
    print(
        f"\nmemory of the server: {small / 1024:.0f} MiB with {few} objects, {per_million:.0f} MiB per further million"
    )
    assert large > 0
