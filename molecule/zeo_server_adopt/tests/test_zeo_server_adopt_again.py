# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second tree, adopted after much that goes wrong; then absent entries. Each test leaves the host to the next."""

from __future__ import annotations

import pytest
from test_zeo_server_adopt import content
from testing import Client, Server

ONE = ["--limit", "zodb-old"]
PYAMS = {"name": "pyams", "adopt": "/srv/env/zeo_server"}
INTRANET = {"name": "intranet", "address": "127.0.0.1:8200", "adopt": "/srv/env/intranet"}
GONE = {
    "name": "gone",
    "address": "127.0.0.1:8300",
    "log": "file",
    "tls": {"clients": ["zodb-old"]},
    "storages": [{"name": "gone", "path": "/srv/shared/Gone.fs", "blob_dir": "/srv/shared/gone-blobs"}],
}
OLD_LOG = "/srv/env/intranet/log/intranet-zeo.log"
SYSTEM = "/etc/cron.d /etc/init.d /etc/logrotate.d /etc/systemd /etc/zodb /opt/zodb /run"


@pytest.fixture
def host(hosts):
    """The host with both trees."""
    return hosts["zodb-old"]


def intranet(host):
    """Return the old server's process, its parent, and what the system and the tree have of it."""
    pid = host.check_output("cat /srv/env/intranet/var/intranet-zeo.pid")
    return [
        host.check_output("ps -o pid=,ppid=,lstart=,args= -p %s", pid),
        host.check_output(f"find {SYSTEM} -name '*intranet*' -printf '%p %l %i\\n' | sort"),
        host.check_output("find /srv/env/intranet/etc /srv/disk -printf '%p %u:%g %m %s %T@ %i\\n' | sort"),
    ]


def others(host):
    """Return what there is of the entry "gone"."""
    return host.check_output(f"find {SYSTEM} /srv /var/lib/zodb /var/log/zodb -iname '*gone*' | sort").splitlines()


def test_a_check_touches_nothing(host, play):
    before = intranet(host)
    run = play.converge(*ONE, "--check", "--diff", sites=[INTRANET])
    assert intranet(host) == before
    changed = [task for task, _host in run.tasks("changed")]
    assert "Adopt | Unlink what the old tree put into the system" in changed
    assert "Adopt | Tell which daemon a run would stop" in changed


def test_what_does_not_fit_is_refused(host, play):
    before = intranet(host)
    host.check_output(
        "cp -rp /srv/env/intranet /srv/env/legacy && cd /srv/env/legacy && rm var/blobs var/*.lock &&"
        " printf FS21 | dd of=var/Data.fs conv=notrunc 2>/dev/null &&"
        " sed 's/intranet/legacy/g; s/8200/8400/' etc/intranet-zeo.conf >etc/legacy-zeo.conf"
    )
    elsewhere = {**INTRANET, "storages": [{"name": "intranet", "path": "/srv/env/intranet/Data.fs"}]}
    legacy = {"name": "legacy", "adopt": "/srv/env/legacy", "address": "127.0.0.1:8400"}
    run = play.run(*ONE, sites=[elsewhere, legacy])
    assert run.rc == 2
    for sentence in (
        "storages[0].path /srv/env/intranet/Data.fs is not that of /srv/env/intranet/etc/intranet-zeo.conf,"
        " /srv/env/intranet/var/Data.fs; name that one.",
        "storages[0].path /srv/env/legacy/var/Data.fs was written by Python 2 (FS21), which no ZODB of today opens;"
        " convert a copy with zodbupdate first, see https://zodbupdate.readthedocs.io/.",
    ):
        assert sentence in run.output
    assert run.tasks("changed") == []
    assert intranet(host) == before


def test_a_configuration_that_is_not_valid_leaves_the_old_server_and_its_links(host, play):
    before = intranet(host)
    run = play.run(*ONE, sites=[{**INTRANET, "zconfig": "no-such-key 1"}])
    assert run.rc == 2
    assert "'no-such-key' is not a known key name" in run.output
    assert intranet(host) == before


def test_a_daemon_that_does_not_stop_is_named_and_the_next_run_ends_the_adoption(host, play):
    # A folder in which others have files too, and which the server's account may write.
    host.check_output("install -d -g zeo -m 0775 /srv/shared")
    old = host.check_output("cat /srv/env/intranet/var/intranet-zeo.pid")
    started = host.file(OLD_LOG).content_string.count("created PID file")
    host.check_output("mv /srv/env/intranet/var/intranet.zdsock /srv/zdsock")
    run = play.run(*ONE, sites=[INTRANET])
    assert run.rc == 2
    assert (
        "adopt /srv/env/intranet has a server that goes on after /srv/env/intranet/etc/intranet-zdaemon.conf was used"
        " to stop it; stop it yourself, then run this again."
    ) in run.output
    host.check_output("mv /srv/zdsock /srv/env/intranet/var/intranet.zdsock")
    assert host.check_output("cat /srv/env/intranet/var/intranet-zeo.pid") == old
    found, before = content(host, "intranet", "/srv/sites/{}/zodb.conf")
    assert found == before
    play.converge(*ONE, sites=[{**PYAMS, "pack": {"enabled": True}}, INTRANET, GONE])
    found, before = content(host, "intranet")
    assert found == before
    log = host.file(OLD_LOG).content_string
    assert log.count("terminated by SIGTERM") == 1
    assert log.count("created PID file") == started
    assert host.check_output("find /etc -lname '/srv/env/*'") == ""
    assert host.check_output("systemctl is-enabled zeo-intranet.service") == "enabled"


def test_blobs_behind_a_link_are_written_through_it(host):
    client = Client(host)
    written = client.write_blob("intranet", "picture", size=200_000)
    host.check_output("find /var/cache/zodb/intranet -type f -name '*.blob' -delete")
    assert client.read_blob("intranet", "picture") == written
    inodes = host.check_output("stat -c %i /srv/env/intranet/var/Data.fs /srv/env/intranet/var/blobs/.")
    assert inodes == host.file("/srv/sites/intranet/inodes").content_string.strip()


def test_packing_starts_when_it_is_told_to(host):
    client = Client(host)
    assert host.check_output("systemctl is-active pack-zeo-pyams.timer") == "active"
    assert host.run("systemctl is-active pack-zeo-intranet.timer").rc != 0
    client.commit("pyams", packed=False)
    client.commit("pyams", packed=True)
    assert Server(host).run("pack-zeo-pyams.service") == 0


def test_absent_in_check_mode_touches_nothing(host, play):
    Client(host).write_blob("gone", "picture")
    host.check_output("touch /srv/shared/Gone.fs.mine /var/log/zodb/zeo-gone.log.2.gz /var/log/zodb/zeo-gone.mine")
    before = others(host)
    run = play.converge(*ONE, "--check", "--diff", sites=[{**GONE, "state": "absent", "remove_data": True}])
    assert "Absent | Remove what was configured" in [task for task, _host in run.tasks("changed")]
    assert others(host) == before
    assert host.check_output("systemctl is-active zeo-gone.service") == "active"
    assert "PRIVATE KEY" not in run.output


def test_absent_keeps_the_data_and_nothing_else(host, play):
    before = others(host)
    play.converge(*ONE, sites=[{**INTRANET, "state": "absent"}, {**GONE, "state": "absent"}])
    left = others(host)
    assert left == [path for path in before if path.startswith(("/srv", "/var"))]
    assert "/srv/shared/Gone.fs" in left
    assert "/srv/shared/gone-blobs" in left
    for name in ("gone", "intranet"):
        assert host.run(f"systemctl cat zeo-{name}.service pack-zeo-{name}.service").stdout == ""
        assert f"/zeo-{name}/" not in host.check_output("ps -e -o args=")
    assert host.check_output(f"find {SYSTEM} -name '*intranet*'") == ""
    assert host.check_output("systemctl list-units --all --plain --no-legend '*zeo-gone*' '*zeo-intranet*'") == ""
    inodes = host.check_output("stat -c %i /srv/env/intranet/var/Data.fs /srv/env/intranet/var/blobs/.")
    assert inodes == host.file("/srv/sites/intranet/inodes").content_string.strip()


def test_remove_data_removes_the_entry_s_own_files_alone(host, play):
    absent = {**GONE, "state": "absent", "remove_data": True}
    before = host.check_output("find /srv/shared /var/log/zodb -maxdepth 1 | sort").splitlines()
    play.converge(*ONE, sites=[absent])
    after = host.check_output("find /srv/shared /var/log/zodb -maxdepth 1 | sort").splitlines()
    assert sorted(set(before) - set(after)) == [
        "/srv/shared/Gone.fs",
        "/srv/shared/Gone.fs.index",
        "/srv/shared/Gone.fs.lock",
        "/srv/shared/Gone.fs.tmp",
        "/srv/shared/gone-blobs",
        "/var/log/zodb/zeo-gone.log",
        "/var/log/zodb/zeo-gone.log.2.gz",
    ]
    assert others(host) == ["/srv/shared/Gone.fs.mine", "/var/log/zodb/zeo-gone.mine"]
    again = play.converge(*ONE, sites=[absent])
    assert again.tasks("changed") == []
