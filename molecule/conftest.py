# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verifier of every scenario has: hosts by name, failures to inflict, and the journals when a test fails.

host: testinfra's own fixture, each host of the scenario in turn. hosts: the same hosts by name.
paused, killed, cut_off: functions of a host's name; the failure lasts as long as the with block, and is repaired
after it even when the test fails.

    def test_a_commit_waits_for_a_paused_server(hosts, paused):
        with paused("zodb-debian12"):
            ...
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import testinfra
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "rig" / "client"))
pytest_plugins = ["testing"]  # the client's chair

CATALOGUE = pathlib.Path(__file__).parent / "shared" / "vars" / "hosts.yml"
SHARED = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
GATEWAY = "10.89.77.1"
ROOTLESS = [] if os.geteuid() == 0 else ["podman", "unshare"]  # the hosts' network is in a namespace of the user
LINES = 60  # of each journal and log in the report of a failed test


def names():
    """Return the names of the scenario's hosts, in the order of its molecule.yml."""
    scenario = yaml.safe_load(pathlib.Path(os.environ["MOLECULE_FILE"]).read_text(encoding="utf-8"))
    return [platform["name"] for platform in scenario["platforms"]]


def podman(*arguments, timeout=60):
    """Run podman and return what it prints; its own words are in the exception if it fails."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(["podman", *arguments], **output, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"podman {' '.join(arguments)}: {done.stdout.strip()}")
    return done.stdout


def wait_for_boot(name, seconds=60):
    """Return as soon as the host has booted."""
    ready = SHARED["boots"][SHARED["catalogue"][name]["boot"]]["ready"]
    end = time.monotonic() + seconds
    while True:
        try:
            podman("exec", name, "/bin/sh", "-c", ready)
        except RuntimeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


class Seen(logging.Handler):
    """Collects the units and log files that the tests' commands name."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.units = {"zeo-*", "pack-zeo-*"}
        self.logs = {"/var/log/zodb/*.log"}

    def emit(self, record):
        """Look at a command that testinfra ran."""
        result = record.args[0] if isinstance(record.args, tuple) and record.args else record.args
        command = os.fsdecode(getattr(result, "command", b""))
        self.units.update(re.findall(r"(?<![\w./@-])[a-z][\w@-]*\.(?:service|timer|socket)\b", command))
        self.units.update(re.findall(r"\bsystemctl (?:is-\w+|status|show) (?:-\S+ )*([a-z][\w@-]+)", command))
        self.logs.update(re.findall(r"/[\w./@-]+\.log\b", command))

    def command(self):
        """Return the shell command that prints the end of every journal and log seen."""
        units = " ".join(f"-u '{unit}'" for unit in sorted(self.units))
        return (
            f"[ ! -d /run/systemd/system ] || journalctl --no-pager --quiet -n {LINES} {units}; "
            f"for log in {' '.join(sorted(self.logs))}; "
            f'do [ ! -f $log ] || {{ echo "== $log"; tail -n {LINES} $log; }}; done'
        )


SEEN = Seen()


def pytest_configure(config):
    """Give testinfra the scenario's hosts."""
    config.option.connection = "podman"
    config.option.hosts = ",".join(f"podman://{name}" for name in names())
    logger = logging.getLogger("testinfra")
    logger.addHandler(SEEN)
    logger.setLevel(logging.DEBUG)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the journals and logs of what the scenario looked at to the report of a failed test."""
    report = yield
    if report.failed:
        for name in names():
            try:
                text = podman("exec", name, "/bin/sh", "-c", SEEN.command(), timeout=20)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                text = str(error)
            if text.strip():
                report.sections.append((f"journal and logs of {name}", text))
    return report


@pytest.fixture(scope="session")
def hosts():
    """The scenario's hosts by name."""
    return {name: testinfra.get_host(f"podman://{name}") for name in names()}


@pytest.fixture
def paused():
    """paused(name): every process of the host stands still; its peers see a connection that does not answer."""

    @contextlib.contextmanager
    def failure(name):
        podman("pause", name)
        try:
            yield
        finally:
            podman("unpause", name)

    return failure


@pytest.fixture
def killed():
    """killed(name): the host is gone as in a power cut; after the block it boots again, disk and address as before."""

    @contextlib.contextmanager
    def failure(name):
        podman("kill", "-s", "KILL", name)
        podman("wait", name)
        try:
            yield
        finally:
            podman("start", name)
            wait_for_boot(name)

    return failure


@pytest.fixture
def cut_off():
    """cut_off(name): the host lives, without a network; connections are not closed, they fall silent."""

    def network(name, *arguments):
        pid = json.loads(podman("inspect", name))[0]["State"]["Pid"]
        command = [*ROOTLESS, "nsenter", "--net", "--target", str(pid), "ip", *arguments]
        subprocess.run(command, check=True)

    @contextlib.contextmanager
    def failure(name):
        network(name, "link", "set", "eth0", "down")
        try:
            yield
        finally:
            network(name, "link", "set", "eth0", "up")
            network(name, "route", "replace", "default", "via", GATEWAY)

    return failure
