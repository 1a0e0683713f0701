# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts are what the other scenarios take them for, and the failures are real."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

ADDRESS = {
    "zodb-debian12": "10.89.77.12",
    "zodb-debian13": "10.89.77.13",
    "zodb-sysv": "10.89.77.20",
    "zodb-app": "10.89.77.30",
}
RELEASE = [("zodb-debian12", "12"), ("zodb-debian13", "13"), ("zodb-sysv", "12"), ("zodb-app", "12")]


def reaches(host, name):
    """Return whether a host gets an answer from another one within two seconds."""
    return host.run(f"ping -c 1 -W 2 {name}").rc == 0


@pytest.mark.parametrize("name", ["zodb-debian12", "zodb-debian13", "zodb-app"])
def test_a_host_runs_real_systemd_that_protects_a_service(hosts, name):
    host = hosts[name]
    assert host.file("/proc/1/comm").content_string == "systemd\n"
    assert host.service("beacon.service").is_running
    pid = host.check_output("systemctl show --value -p MainPID beacon.service")
    assert " / overlay ro," in host.file(f"/proc/{pid}/mounts").content_string


@pytest.mark.parametrize(("name", "release"), RELEASE)
def test_a_host_is_the_debian_of_its_name(hosts, name, release):
    assert hosts[name].check_output("hostname") == name
    assert hosts[name].system_info.release.split(".")[0] == release


def test_hosts_know_each_other_by_name(hosts):
    for name, address in ADDRESS.items():
        assert hosts["zodb-app"].check_output(f"getent hosts {name}").split()[0] == address
        assert reaches(hosts["zodb-app"], name)


@pytest.mark.parametrize(("name", "version"), [("zodb-debian12", "cp311"), ("zodb-debian13", "cp313")])
def test_hosts_have_the_wheels_and_the_application(hosts, name, version):
    assert f"-{version}-" in hosts[name].check_output("ls /srv/wheels")
    hosts[name].check_output("/srv/pyams/bin/python -c 'import ZEO, pyams_site'")
    assert hosts[name].file("/srv/client/client.py").exists


def test_without_systemd_an_init_script_is_a_service(hosts):
    host = hosts["zodb-sysv"]
    assert host.file("/proc/1/comm").content_string == "sh\n"
    assert not host.file("/run/systemd/system").exists
    assert host.run("service beacon status").rc == 0


def test_without_systemd_the_dead_are_reaped(hosts):
    host = hosts["zodb-sysv"]
    host.check_output("setsid -f sleep 0.1")
    time.sleep(1)
    assert "Z" not in host.check_output("ps -e -o stat=")


def test_a_paused_host_does_not_answer_and_goes_on(hosts, paused):
    hosts["zodb-debian12"].check_output("systemd-run --unit=beacon-port python3 -m http.server 8099")
    client = "import urllib.request; urllib.request.urlopen('http://zodb-debian12:8099', timeout=3)"
    hosts["zodb-app"].check_output("until python3 -c %s; do sleep 0.5; done", client)
    with paused("zodb-debian12"):
        assert "timed out" in hosts["zodb-app"].run("python3 -c %s", client).stderr
    hosts["zodb-app"].check_output("python3 -c %s", client)


@pytest.mark.parametrize("name", ["zodb-debian13", "zodb-sysv"])
def test_a_killed_host_is_gone_and_boots_with_disk_address_and_services(hosts, killed, name):
    host = hosts[name]
    host.check_output("date >/var/tmp/before")
    with killed(name):
        assert not reaches(hosts["zodb-app"], name)
    assert host.file("/var/tmp/before").exists
    assert reaches(hosts["zodb-app"], name)
    assert host.service("beacon").is_running


def test_a_cut_off_host_lives_without_a_network_and_comes_back(hosts, cut_off):
    with cut_off("zodb-app"):
        assert not reaches(hosts["zodb-debian12"], "zodb-app")
        assert not reaches(hosts["zodb-app"], "zodb-debian12")
        assert hosts["zodb-app"].service("beacon.service").is_running
    assert reaches(hosts["zodb-debian12"], "zodb-app")
    assert hosts["zodb-app"].check_output("ip route show default").startswith("default via 10.89.77.1 ")


def test_a_failed_test_shows_the_journal_of_the_unit_it_looked_at(tmp_path):
    (tmp_path / "test_failing.py").write_text(
        "def test_failing(hosts):\n    assert not hosts['zodb-app'].service('beacon.service').is_running\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"journal and logs of zodb-app -+\n.*the beacon is lit", done.stdout, re.DOTALL)


def test_without_systemd_cron_runs_its_jobs(hosts):
    end = time.monotonic() + 65
    while not hosts["zodb-sysv"].file("/var/log/beacon.log").exists:
        assert time.monotonic() < end, "cron ran nothing for a minute"
        time.sleep(2)
