# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the scenarios' tests: the client's chair, the server as a sysadmin handles it, and plays over both.

client, server: on the host of the test; Client(hosts[NAME]), Server(hosts[NAME]) for another host.
play: the scenario's converge.yml, as the user would run it again. mail: a real SMTP listener on the host of the test.
Application: a PyAMS site of two processes.

    def test_a_commit_survives_a_restart(client, server):
        client.commit("pyams", answer=42)
        server.restart("zeo-pyams")
        assert client.read("pyams", "answer") == 42
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

import pytest
import yaml

PYTHON = "/srv/pyams/bin/python"
SCRIPT = "/srv/client/client.py"
SOAK = os.environ.get("SOAK") == "1"
BURST = 180 if SOAK else 3  # seconds that a burst lasts at least


class ClientError(Exception):
    """What the client's process said on standard error before it ended with another status than 0."""


def wait_for(condition, what, seconds=30):
    """Return what condition returns as soon as it is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.3)


class Client:
    """Processes of an application's user on a host, a new one for each call; a storage is its folder in /etc/zodb."""

    def __init__(self, host, user="pyams", folder="/etc/zodb", file="zodb.conf"):
        self.host, self.user, self.folder, self.file = host, user, folder, file

    def command(self, storage, *arguments, through="zodb"):
        """Return the command of one process as its user would type it."""
        file = "zope.conf" if through == "zope" else self.file
        process = [
            PYTHON,
            SCRIPT,
            "--conf",
            f"{self.folder}/{storage}/{file}",
            "--through",
            through,
            *map(str, arguments),
        ]
        return shlex.join(["runuser", "-u", self.user, "--", *process])

    def call(self, storage, *arguments, through="zodb"):
        """Run one process and return its result; ClientError with its last words if it fails."""
        done = self.host.run("timeout 120 " + self.command(storage, *arguments, through=through))
        if done.rc:
            raise ClientError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.rc}")
        return json.loads(done.stdout.splitlines()[-1])

    def commit(self, storage, /, note="", **values):
        """Set keys of the root object in one transaction; return its tid."""
        pairs = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        return self.call(storage, "commit", "--note", note, *pairs)["tid"]

    def read(self, storage, key, through="zodb"):
        """Return the value of a key of the root object, with the file opened by ZODB.config, zodburi or Zope."""
        return self.call(storage, "read", key, through=through)["value"]

    def write_blob(self, storage, key, size=100000):
        """Store random bytes in a blob; return what read_blob must return."""
        return self.call(storage, "blob-write", key, "--size", size)

    def read_blob(self, storage, key):
        """Return SHA-256 and size of a blob."""
        return self.call(storage, "blob-read", key)

    def undo(self, storage, note):
        """Undo the newest transaction with this note."""
        self.call(storage, "undo", note)

    def revisions(self, storage):
        """Return the number of revisions of the root object: a pack leaves one."""
        return self.call(storage, "history")["revisions"]

    @contextlib.contextmanager
    def burst(self, storage, processes=8, pause=None, seconds=BURST):
        """Let processes write while the block runs, and for some seconds at least; yield the Burst.

        pause: seconds between the commits of a process, if not the client's own.
        """
        ledger = self.host.check_output("mktemp --suffix=.ledger")
        self.host.check_output("chown %s %s", self.user, ledger)
        options = ["--processes", processes, "--label", ledger[9:-7], *(["--pause", pause] if pause else [])]
        command = self.command(storage, "burst", *options, ledger)
        script = f"{command} >{ledger}.out 2>{ledger}.err; echo $? >{ledger}.rc"
        self.host.check_output("setsid -f sh -c %s >/dev/null 2>&1", script)
        running = Burst(self, storage, ledger)
        try:
            wait_for(lambda: running.acknowledged() > 0, f"a commit to {storage}")
            end = time.monotonic() + seconds
            yield running
            time.sleep(max(0, end - time.monotonic()))
        finally:
            self.host.check_output("touch %s", f"{ledger}.stop")
            wait_for(lambda: self.host.file(f"{ledger}.rc").exists, "the end of the burst", 90)


@dataclasses.dataclass
class Burst:
    """Writers of one burst, their ledger, and afterwards what the storage has of it."""

    client: Client
    storage: str
    ledger: str

    def acknowledged(self):
        """Return how many commits the ledger holds so far."""
        return int(self.client.host.check_output("wc -l <%s", self.ledger))

    def writers(self):
        """Return how many writers have committed so far."""
        return int(self.client.host.check_output("cut -d' ' -f1 %s | sort -u | wc -l", self.ledger))

    def result(self):
        """Return the writers' outcomes; ClientError with their last words if one died."""
        if self.client.host.check_output("cat %s", f"{self.ledger}.rc") != "0":
            raise ClientError(self.client.host.check_output("tail -n 200 %s", f"{self.ledger}.err"))
        return json.loads(self.client.host.check_output("cat %s", f"{self.ledger}.out"))

    def check(self):
        """Return acknowledged, stored and counted; ClientError if an acknowledged commit is lost."""
        return self.client.call(self.storage, "check-ledger", self.ledger)


class Server:
    """The services of a host with systemd, as its sysadmin handles them."""

    def __init__(self, host):
        self.host = host

    def pid(self, unit):
        """Return the main process, 0 if there is none."""
        return int(self.host.check_output("systemctl show --value -p MainPID %s", unit))

    def pids(self, *units):
        """Return the main processes by unit, in one look."""
        lines = self.host.check_output(f"systemctl show -p Id,MainPID {shlex.join(units)}").split()
        values = [line.partition("=")[2] for line in sorted(lines, key=lambda line: line.partition("=")[0])]
        return dict(zip(values[: len(units)], map(int, values[len(units) :]), strict=True))

    def restart(self, unit):
        """Restart a unit; the clients notice nothing but a pause."""
        self.host.check_output("systemctl restart %s", unit)

    def kill(self, unit):
        """Kill the main process as the kernel does when memory is short; return when another one is there."""
        old = self.pid(unit)
        self.host.check_output("systemctl kill -s KILL --kill-whom=main %s", unit)
        return wait_for(lambda: (pid := self.pid(unit)) not in (0, old) and pid, f"{unit} after kill -9")

    def run(self, unit):
        """Start a one-shot unit by hand and wait for it; return the exit status of its program."""
        self.host.run("systemctl start %s", unit)
        return int(self.host.check_output("systemctl show --value -p ExecMainStatus %s", unit))

    def journal(self, unit, lines=40):
        """Return the end of a unit's journal, messages only."""
        return self.host.check_output(f"journalctl --no-pager -o cat -n {lines} -u {shlex.quote(unit)}")


class SysV(Server):
    """The services of a host without systemd: LSB init scripts, with zdaemon behind them."""

    def status(self, unit):
        """Return what zdaemon says of its program."""
        return self.host.run(f"/opt/zodb/{unit}/bin/zdaemon -C /etc/zodb/{unit}-zdaemon.conf status").stdout.strip()

    def pid(self, unit):
        """Return the main process, 0 if there is none."""
        running = re.match(r"program running; pid=(\d+)$", self.status(unit))
        return int(running[1]) if running else 0

    def pids(self, *units):
        """Return the main processes by unit."""
        return {unit: self.pid(unit) for unit in units}

    def restart(self, unit):
        """Restart by the init script."""
        self.host.check_output("service %s restart", unit)

    def kill(self, unit):
        """Kill the main process; return when another one is there."""
        old = self.pid(unit)
        self.host.check_output(f"kill -KILL {old}")
        return wait_for(lambda: (pid := self.pid(unit)) not in (0, old) and pid, f"{unit} after kill -9")


class Application:
    """A PyAMS site over one storage: two processes of pserve as services of their own."""

    def __init__(self, host, storage, user="pyams", ports=(6543, 6544)):
        self.host, self.storage, self.user, self.ports = host, storage, user, ports
        self.ini = f"/srv/{storage}.ini"

    def upgrade(self):
        """Write the .ini file and create the site with pyams_upgrade; return what that says."""
        self.host.check_output("sed %s /srv/client/app/app.ini >%s", f"s/@STORAGE@/{self.storage}/", self.ini)
        environment = "env PYTHONPATH=/srv/client/app"
        done = self.host.run(f"runuser -u {self.user} -- {environment} /srv/pyams/bin/pyams_upgrade {self.ini} 2>&1")
        assert done.rc == 0, done.stdout
        return done.stdout

    def unit(self, port):
        """Name the service of the process on a port."""
        return f"pserve-{self.storage}-{port}.service"

    def start(self):
        """Start both processes; they serve when this returns."""
        for port in self.ports:
            properties = f"--unit={self.unit(port)} --uid={self.user} --setenv=PYTHONPATH=/srv/client/app --collect"
            self.host.check_output(f"systemd-run {properties} /srv/pyams/bin/pserve {self.ini} port={port}")
        for port in self.ports:
            wait_for(lambda port=port: self.request(port, "started")[0] == 200, self.unit(port))

    def stop(self):
        """Stop both processes."""
        self.host.run("systemctl stop %s %s", *map(self.unit, self.ports))

    def request(self, port, name, body=None):
        """GET or PUT a value; return status and answer (599 and a reason where nothing answers)."""
        script = (
            "import json, sys, urllib.error, urllib.request\n"
            "url, body = sys.argv[1], sys.argv[2].encode() or None\n"
            "request = urllib.request.Request(url, body, method='PUT' if body else 'GET')\n"
            "try:\n"
            "    answer = urllib.request.urlopen(request, timeout=60)\n"
            "    print(json.dumps([answer.status, json.load(answer)]))\n"
            "except urllib.error.HTTPError as error:\n"
            "    print(json.dumps([error.code, error.reason]))\n"
            "except OSError as error:\n"
            "    print(json.dumps([599, str(error)]))\n"
        )
        url = f"http://127.0.0.1:{port}/values/{name}"
        text = "" if body is None else json.dumps(body)
        return tuple(json.loads(self.host.check_output("python3 -c %s %s %s", script, url, text)))

    def put(self, port, name, value):
        """Store a value through one process."""
        assert self.request(port, name, value) == (200, {"value": value})

    def get(self, port, name):
        """Return a value as one process sees it."""
        status, answer = self.request(port, name)
        assert status == 200, (status, answer)
        return answer["value"]

    def pids(self):
        """Return the main processes: the same ones after what the application has to survive."""
        return Server(self.host).pids(*map(self.unit, self.ports))


class Play:
    """A playbook of the scenario, run over its hosts as the user would run it again."""

    def __init__(self, playbook="converge.yml"):
        self.path = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"], playbook)

    def variables(self):
        """Return the variables of the first play, to be changed and handed to run()."""
        return yaml.safe_load(self.path.read_text(encoding="utf-8"))[0]["vars"]

    def run(self, *arguments, **variables):
        """Run it to the end; the arguments are those of ansible-playbook, the variables win over the play's."""
        done = subprocess.run(
            self._command(arguments, variables),
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def converge(self, *arguments, **variables):
        """Run it, and expect that it succeeds."""
        run = self.run(*arguments, **variables)
        assert run.rc == 0, run.output
        assert run.recap, run.output
        return run

    def interrupt(self, task, *arguments, **variables):
        """Run it until the first task of this name is over, then kill it, as a lost connection or a tired user does."""
        command, output, reached = self._command(arguments, variables), [], False
        with subprocess.Popen(
            command,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        ) as running:
            for line in running.stdout:
                output.append(line)
                if line.startswith(("TASK [", "RUNNING HANDLER [")):
                    if reached:
                        os.killpg(running.pid, signal.SIGKILL)
                        break
                    reached = task in line
        assert reached, "".join(output)

    def _command(self, arguments, variables):
        inventory = ["-i", os.environ["MOLECULE_INVENTORY_FILE"]]
        return ["ansible-playbook", *inventory, *arguments, "-e", json.dumps(variables), str(self.path)]

    @staticmethod
    def _environment():
        return {**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true", "NO_COLOR": "1"}


class Run:
    """One run of a playbook: its exit status, its output, and what the output tells."""

    def __init__(self, rc, output):
        self.rc, self.output = rc, output

    def count(self, what="changed"):
        """Return a number of the recap, summed over all hosts."""
        return sum(int(number) for number in re.findall(rf"^\S+\s+: ok=.*\b{what}=(\d+)", self.output, re.MULTILINE))

    @property
    def recap(self):
        """The hosts that the run reached."""
        return re.findall(r"^(\S+)\s+: ok=", self.output, re.MULTILINE)

    def tasks(self, status="changed"):
        """Return the names of the tasks that ended so on any host, as (task, host)."""
        found, name = [], ""
        for line in self.output.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(?:\S+ : )?(.*)\] \**$", line):
                name = match[1]
            elif match := re.match(rf"{status}: \[([^\]]+)\]", line):
                found.append((name, match[1]))
        return found

    def differences(self):
        """Return the lines of --diff that show a difference."""
        return [line for line in self.output.splitlines() if re.match(r"[-+]", line)]


class Mail:
    """A real SMTP listener on a host's port 25, and what it received."""

    def __init__(self, host):
        self.host = host

    def start(self):
        """Listen until stop()."""
        self.host.check_output("rm -f /srv/mail")
        script = "echo $$ >/srv/smtp.pid; exec python3 /srv/client/smtp.py 25 /srv/mail"
        self.host.check_output("setsid -f sh -c %s >/dev/null 2>&1", script)
        wait_for(lambda: self.host.run("ss -Hltn sport = :25").stdout, "the SMTP listener")

    def stop(self):
        """Stop listening."""
        self.host.run("kill $(cat /srv/smtp.pid)")

    def received(self):
        """Return the mails so far, envelope and text."""
        return [json.loads(line) for line in self.host.run("cat /srv/mail").stdout.splitlines()]


@pytest.fixture
def client(host):
    """The application's user on the host of the test."""
    return Client(host)


@pytest.fixture
def server(host):
    """The services on the host of the test."""
    return Server(host)


@pytest.fixture
def play():
    """The scenario's converge.yml, to be run again."""
    return Play()


@pytest.fixture
def mail(host):
    """An SMTP listener on port 25 of the host of the test."""
    listener = Mail(host)
    listener.start()
    yield listener
    listener.stop()
