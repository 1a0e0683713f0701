# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-health against real servers, certificates and disks."""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import time

import pytest
import transaction
import ZODB.config
from real import SCRIPTS, Server, command, on_small_disk, started, until

from pyams_zodb_tools import _server, _settings, _zeo
from pyams_zodb_tools._errors import Failure


def health(*arguments, code: int) -> list[dict]:
    """Return what --json prints, after a look at the exit status."""
    result = command("zodb-health", "--json", *arguments)
    assert (result.returncode, result.stderr) == (code, ""), result.stdout
    return json.loads(result.stdout)


def test_a_storage_in_use(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    with server.database("pyams"):
        result = command("zodb-health", settings(server))
    assert (result.returncode, result.stderr) == (0, "")
    size = server.data("pyams").stat().st_size
    assert re.fullmatch(
        rf"OK zeo-test/pyams: last commit \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC, {size / 1024:.1f} KB; disk \d+% free"
        rf" \| size={size}B commit_age=\d+s clients=1 waiting=0 disk_free=[\d.]+%;0:;0:;0;100\n",
        result.stdout,
    )


def test_an_empty_storage_is_fine(serve, settings):
    server = serve("pyams")
    result = command("zodb-health", settings(server))
    assert result.returncode == 0
    assert result.stdout.startswith("OK zeo-test/pyams: empty, nothing was committed yet; disk ")


def test_json_has_every_key_always(serve, settings):
    server = serve("pyams", "blog")
    server.fill("pyams")
    up, down = health(settings(server), code=0)
    assert (up["service"], up["storage"], up["status"], up["code"]) == ("zeo-test.service", "pyams", "OK", 0)
    assert (up["problems"], up["empty"], up["clients"], up["certificates"]) == ([], False, 0, [])
    assert abs(up["last_commit"] - time.time()) < 60
    assert up["size"] == server.data("pyams").stat().st_size
    assert (up["restart_needed"], up["last_pack"]) == (None, None)
    (disk,) = up["disks"]
    usage = shutil.disk_usage(server.folder)
    assert disk["path"] == str(server.data("pyams").parent)
    assert disk["free_percent"] == pytest.approx(100 * usage.free / (usage.used + usage.free), abs=1)
    server.stop()
    (down,) = health(settings(server), "--storage", "blog", code=2)
    assert down.keys() == up.keys()
    assert (down["status"], down["problems"]) == ("CRITICAL", [f"nobody listens on {server.address}"])
    (unknown,) = health(settings(server), "--storage", "shop", code=3)
    assert unknown.keys() == up.keys()
    assert unknown["problems"] == [f"{settings(server)}: there is no storage 'shop', only pyams, blog"]


def test_nothing_is_committed(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    before = server.data("pyams").read_bytes()
    health(settings(server), code=0)
    assert server.data("pyams").read_bytes() == before


class Trap:
    """A pickle that leaves a file where it is loaded."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(serve, settings, tmp_path):
    server = serve("pyams")
    storage = ZODB.config.storageFromString(server.section("pyams"))
    meta = transaction.TransactionManager().begin()
    storage.tpc_begin(meta)
    storage.store(bytes(8), bytes(8), pickle.dumps(Trap(tmp_path / "trapped")), "", meta)
    storage.tpc_vote(meta)
    storage.tpc_finish(meta)
    storage.close()
    (found,) = health(settings(server), code=0)
    assert found["empty"] is False
    assert not (tmp_path / "trapped").exists()


def test_a_storage_without_root_object(serve, settings):
    server = serve("pyams")
    storage = ZODB.config.storageFromString(server.section("pyams"))
    meta = transaction.TransactionManager().begin()
    storage.tpc_begin(meta)
    storage.store(bytes(7) + b"\1", bytes(8), pickle.dumps("x"), "", meta)
    storage.tpc_vote(meta)
    storage.tpc_finish(meta)
    storage.close()
    (found,) = health(settings(server), code=2)
    assert found["problems"] == ["there are transactions, but no root object"]


def test_a_read_only_storage_is_healthy(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    server.stop()
    server.options["pyams"] = "read-only true"
    server.start()
    health(settings(server), code=0)


def test_a_wrong_name_says_what_the_server_has(serve, settings):
    server = serve("pyams", "blog")
    start = time.monotonic()
    (found,) = health(settings(server, "pyams", sections={"pyams": server.section("1")}), code=2)
    assert time.monotonic() - start < 4
    assert found["problems"] == [f"the server on {server.address} has no storage '1', only blog, pyams"]


def test_a_server_that_is_starting_is_waited_for(serve, settings):
    server = serve("pyams")
    server.stop()
    file = settings(server)
    for arguments in ("--wait", file), (file, "--wait"), ("--wait", "20", file), (file, "--wait=20"):
        with started("zodb-health", *arguments) as process:
            time.sleep(0.4)
            assert process.poll() is None
            server.start()
            output, _errors = process.communicate(timeout=20)
        assert process.returncode == 0, output
        server.stop()
    start = time.monotonic()
    result = command("zodb-health", file, "--wait", "1.2")
    assert result.returncode == 2
    assert result.stdout.startswith(f"CRITICAL zeo-test/pyams: nobody listens on {server.address}; disk ")
    assert 0.5 < time.monotonic() - start < 5


ZDAEMON = """\
<runner>
  program /usr/bin/timeout 1 sleep 9
  socket-name {folder}/zdsock
  directory {folder}
  transcript {folder}/zdaemon.log
  daemon true
  forever true
</runner>
"""


def test_a_server_that_ends_again_and_again_is_not_waited_for(serve, settings, tmp_path):
    server = serve("pyams")
    server.stop()
    conf = tmp_path / "zdaemon.conf"
    conf.write_text(ZDAEMON.format(folder=tmp_path))
    assert command("zdaemon", "-C", conf, "start").returncode == 0
    try:
        begin = time.monotonic()
        (found,) = health(settings(server, zdaemon=str(conf)), "--wait", "100", code=2)
        assert time.monotonic() - begin < 60
    finally:
        command("zdaemon", "-C", conf, "stop")
    assert found["problems"] == ["zeo-test starts and ends again, 3 times while it was waited for; read its log"]


def test_a_commit_lock_that_is_held_for_too_long(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    (free,) = health(settings(server), code=0)
    assert (free["locked"], free["waiting"]) == (None, 0)
    storage = ZODB.config.storageFromString(server.section("pyams"))
    meta = transaction.TransactionManager().begin()
    storage.tpc_begin(meta)
    storage.tpc_vote(meta)
    (held,) = health(settings(server, transaction_timeout=60), code=0)
    assert 0 <= held["locked"] < 5
    time.sleep(5.5)
    (found,) = health(settings(server, transaction_timeout=0), code=2)
    (sentence,) = found["problems"]
    assert re.fullmatch(
        r"a client holds the commit lock for \d+ s, 0 s are allowed, and 0 others wait; restart zeo-test.service",
        sentence,
    )
    storage.tpc_abort(meta)
    storage.close()
    health(settings(server, transaction_timeout=0), code=0)


def test_of_several_addresses_one_has_to_answer(serve, settings):
    server = serve("pyams")
    section = server.section("pyams").replace("server ", "server 127.0.0.1:1\nserver ", 1)
    health(settings(server, sections={"pyams": section}), code=0)
    server.stop()
    (found,) = health(settings(server, sections={"pyams": section}), code=2)
    assert found["problems"] == [f"nobody listens on 127.0.0.1:1; nobody listens on {server.address}"]


def test_a_server_that_hangs(serve, settings):
    server = serve("pyams")
    server.process.send_signal(signal.SIGSTOP)
    (found,) = health(settings(server, sections={"pyams": server.section("pyams", wait=1)}), code=2)
    sentence = f"the server on {server.address} says nothing within 1 s; it hangs, or it expects TLS"
    assert found["problems"] == [sentence]


def test_a_server_that_hangs_once_a_client_is_connected(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    loaded = _settings.load(str(settings(server)))
    how = _server.client(loaded, loaded.storages[0])
    with _server.opened(how, _server.reach(how, read_only=True), read_only=True) as client:
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(Failure) as caught, _zeo.limit(1):
            client.load(bytes(8))
    assert str(caught.value) == "the server does not answer a client within 1 s"


def test_what_listens_is_no_zeo_server(serve, settings, mailbox):
    server = serve("pyams")
    server.stop()
    box = mailbox()  # it speaks first, as ZEO does
    section = server.section("pyams").replace(server.address, box.name)
    (found,) = health(settings(server, sections={"pyams": section}), code=2)
    (sentence,) = found["problems"]
    assert sentence == f"what listens on {box.name} is not a ZEO server"


def test_two_files_and_the_worst_of_them(serve, settings, tmp_path):
    server = serve("pyams", "blog")
    good = settings(server, "pyams")
    bad = good.rename(tmp_path / "good.toml") and settings(server, "blog", sections={"blog": server.section("x")})
    result = command("zodb-health", tmp_path / "good.toml", bad, tmp_path / "missing.toml")
    assert result.returncode == 2
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "OK zeo-test/pyams",
        "CRITICAL zeo-test/blog",
        "UNKNOWN zodb-health",
    ]
    assert command("zodb-health", tmp_path / "good.toml", tmp_path / "missing.toml").returncode == 3


def test_wrong_usage_is_unknown():
    result = command("zodb-health", "--stroage", "x")
    assert result.returncode == 3
    assert result.stdout == ""


# Certificates


def pinned(serve, authority, days: int = 100) -> tuple[Server, pathlib.Path]:
    """Return a server with a folder of pinned certificates, and that folder, as the role lays them."""
    clients = authority.folder / "clients"
    clients.mkdir()
    own, tools = authority.pinned("server", days), authority.pinned("tools")
    shutil.copy(tools[0], clients / "tools.pem")
    subprocess.run(["openssl", "rehash", clients], check=True)
    return serve("pyams", tls=(*own, clients), client_tls=(*tools, own[0])), clients


def test_pinned_certificates(serve, settings, authority):
    server, clients = pinned(serve, authority)
    file = settings(server, certificates=[str(server.tls[0]), str(clients), str(server.client_tls[0])])
    (found,) = health(file, code=0)
    assert [(entry["name"], entry["crl"]) for entry in found["certificates"]] == [("server", False), ("tools", False)]
    assert [entry["days_left"] for entry in found["certificates"]] == pytest.approx([100, 100], abs=0.1)
    assert found["restart_needed"] is False
    result = command("zodb-health", file)
    assert "; certificates 100 days left | " in result.stdout
    assert re.search(r" certificate_days=(100\.0|99\.9\d);20:;6\.667:$", result.stdout)


def test_a_client_that_is_pinned_later_needs_no_restart(serve, settings, authority):
    server, clients = pinned(serve, authority)
    shutil.copy(authority.pinned("late", 15)[0], clients / "late.pem")
    subprocess.run(["openssl", "rehash", clients], check=True)
    os.utime(clients, (time.time() + 60,) * 2)
    (found,) = health(settings(server, certificates=[str(server.tls[0]), str(clients)]), code=1)
    assert found["problems"] == [f"certificate late ({clients}/late.pem) expires in 15 days"]
    assert found["restart_needed"] is False


@pytest.mark.parametrize(
    ("days", "warn", "code", "text"),
    [
        pytest.param(25, 20, 0, None, id="enough"),
        pytest.param(15, 20, 1, "expires in 15 days", id="warning"),
        pytest.param(5, 20, 2, "expires in 5 days", id="below a third"),
        pytest.param(1, 20, 2, "expires in 24 hours", id="hours"),
    ],
)
def test_days_left(serve, settings, authority, days, warn, code, text):
    server, _clients = pinned(serve, authority, days)
    file = settings(server, certificates=[str(server.tls[0])], certificate_days=warn)
    (found,) = health(file, code=code)
    assert found["problems"] == ([f"certificate server ({server.tls[0]}) {text}"] if text else [])


def test_the_certificate_that_is_served_counts_though_no_file_is_named(serve, settings, authority):
    server, _clients = pinned(serve, authority, 10)
    (found,) = health(settings(server), code=1)
    assert found["problems"] == [f"certificate server (of the server on {server.address}) expires in 10 days"]


def test_a_renewed_certificate_needs_a_restart(serve, settings, authority):
    server, _clients = pinned(serve, authority, 10)
    old = authority.folder / "old.crt"
    shutil.copy(server.tls[0], old)
    authority.pinned("server", 200)
    server.client_tls = (*server.client_tls[:2], old)
    (found,) = health(settings(server, certificates=[str(server.tls[0])]), code=1)
    assert found["problems"] == [
        "zeo-test.service still presents a certificate that is in none of the files; restart it",
        f"certificate server (of the server on {server.address}) expires in 10 days",
    ]
    assert found["restart_needed"] is True
    server.stop()
    server.client_tls = (*server.client_tls[:2], server.tls[0])
    server.start()
    (found,) = health(settings(server, certificates=[str(server.tls[0])]), code=0)
    assert found["restart_needed"] is False


def signed(serve, authority, **crl) -> tuple[Server, pathlib.Path]:
    """Return a server that goes by an authority with its CRL in one file, and that file."""
    own, tools = authority.signed("server"), authority.signed("tools")
    bundle = authority.bundle(**crl)
    return serve("pyams", tls=(*own, bundle), client_tls=(*tools, authority.ca)), bundle


@pytest.mark.parametrize(
    ("ends", "code", "text"),
    [
        pytest.param(30, 0, None, id="fresh"),
        pytest.param(10, 1, "expires in 10 days", id="soon to be replaced"),
        pytest.param(1, 1, "expires in 24 hours", id="on its last day"),
    ],
)
def test_a_crl_in_the_bundle(serve, settings, authority, ends, code, text):
    server, bundle = signed(serve, authority, ends=ends)
    (found,) = health(settings(server, certificates=[str(server.tls[0]), str(bundle)]), code=code)
    assert found["problems"] == ([f"CRL ca ({bundle}) {text}"] if text else [])
    assert [(entry["name"], entry["crl"]) for entry in found["certificates"]] == [
        ("server", False),
        ("ca", False),
        ("ca", True),
    ]


def test_an_expired_crl_shuts_everybody_out(serve, settings, authority):
    server, bundle = signed(serve, authority, begins=-10, ends=-3)
    log = server.log.stat().st_size
    (found,) = health(settings(server, certificates=[str(bundle)]), code=2)
    assert found["problems"] == [
        f"the server on {server.address} refuses the certificate {server.client_tls[0]}: "
        "it is not pinned there, has expired or was revoked, or the server's own CRL has expired",
        f"CRL ca ({bundle}) expired 3 days ago, so that the server refuses everybody",
    ]
    assert server.log.stat().st_size - log < 2000, "it hammers"


def test_a_revoked_client(serve, settings, authority):
    authority.signed("tools")
    authority.revoke("tools")
    own, bundle = authority.signed("server"), authority.bundle()
    tools = authority.folder / "tools.crt", authority.folder / "tools.key"
    server = serve("pyams", tls=(*own, bundle), client_tls=(*tools, authority.ca))
    (found,) = health(settings(server), code=2)
    assert found["problems"][0].startswith(f"the server on {server.address} refuses the certificate {tools[0]}: ")


def test_a_newer_crl_needs_a_restart(serve, settings, authority):
    server, bundle = signed(serve, authority)
    authority.bundle()
    os.utime(bundle, (time.time() + 60,) * 2)
    (found,) = health(
        settings(server, certificates=[str(server.tls[0]), str(bundle), str(server.client_tls[0])]), code=1
    )
    assert found["problems"] == [f"{bundle} is younger than zeo-test.service, which goes by the old one; restart it"]
    assert found["restart_needed"] is True


def test_newer_tools_certificate_needs_no_restart(serve, settings, authority):
    server, bundle = signed(serve, authority)
    os.utime(server.client_tls[0], (time.time() + 60,) * 2)
    (found,) = health(
        settings(server, certificates=[str(server.tls[0]), str(bundle), str(server.client_tls[0])]), code=0
    )
    assert found["restart_needed"] is False


def test_a_crl_in_a_folder_is_told_since_zeo_ignores_it(serve, settings, authority):
    server, clients = pinned(serve, authority)
    authority.crl().rename(clients / "list.pem")
    (found,) = health(settings(server, certificates=[str(clients)]), code=2)
    assert (
        f"ZEO ignores the CRL ca ({clients}/list.pem), in a folder; put authority and CRL into one file"
        in (found["problems"])
    )


def test_an_expired_and_a_future_certificate(serve, settings, authority):
    server, _clients = pinned(serve, authority)
    past = authority.signed("past", begins=-20, ends=-10)[0]
    future = authority.signed("future", begins=3, ends=100)[0]
    (found,) = health(settings(server, certificates=[str(server.tls[0]), str(past), str(future)]), code=2)
    assert f"certificate past ({past}) expired 10 days ago" in found["problems"]
    assert f"certificate future ({future}) is valid only in 3 days" in found["problems"]


def test_a_certificate_that_is_missing(serve, settings, tmp_path):
    server = serve("pyams")
    (found,) = health(settings(server, certificates=[f"{tmp_path}/gone.crt"]), code=2)
    assert found["problems"] == [f"{tmp_path}/gone.crt cannot be read: No such file or directory"]


# Disk


@pytest.mark.parametrize(
    ("factor", "code", "perf"),
    [pytest.param(1.2, 1, "WARNING", id="below"), pytest.param(2.5, 2, "CRITICAL", id="below the half")],
)
def test_disk(serve, settings, factor, code, perf):
    server = serve("pyams")
    usage = shutil.disk_usage(server.folder)
    limit = int(100 * usage.free / (usage.used + usage.free) * factor)
    result = command("zodb-health", settings(server, disk_warning=limit))
    assert result.returncode == code
    folder = server.data("pyams").parent
    assert re.match(
        rf"{perf} zeo-test/pyams: only [\d.]+% of the disk of {folder} is free, [\d.]+ .B; empty", result.stdout
    )


def test_blobs_on_another_disk_are_watched(serve, settings):
    server = serve("pyams")
    folder = server.data("pyams").parent
    result = on_small_disk(folder / "blobs", "2m", f"{SCRIPTS}/zodb-health --json {settings(server)}")
    (found,) = json.loads(result.stdout)
    assert [disk["path"] for disk in found["disks"]] == [str(folder), str(folder / "blobs")]
    assert found["disks"][1]["free"] == pytest.approx(2 << 20, abs=4096)
    result = on_small_disk(folder / "blobs", "2m", f"{SCRIPTS}/zodb-health {settings(server)}")
    assert re.search(r" blob_disk_free=100\.0%;0:;0:;0;100$", result.stdout)


# The last pack


def test_the_last_pack(serve, settings):
    server = serve("pyams")
    file = settings(server, pack_expected_days=7)
    (found,) = health(file, code=0)
    assert found["last_pack"] is None
    os.utime(file, (time.time() - 8 * 86400,) * 2)
    (found,) = health(file, code=1)
    assert found["problems"] == ["the last successful pack was never, one is due every 7 days"]

    assert command("zodb-pack", file).returncode == 0
    (found,) = health(file, code=0)
    assert found["last_pack"]["outcome"] == "packed"
    assert re.search(r" pack_age=\d+s;604800$", command("zodb-health", file).stdout)

    record = server.data("pyams").with_name("Data.fs.pack.json")
    record.write_text(json.dumps({**found["last_pack"], "last_success": time.time() - 9 * 86400}))
    (found,) = health(file, code=1)
    assert found["problems"] == ["the last successful pack was 9 days ago, one is due every 7 days"]
    health(settings(server, pack_expected_days=0), code=0)


def test_a_pack_that_failed_or_was_not_reported(serve, settings):
    server = serve("pyams")
    bad = settings(server, sections={"pyams": server.section("x")})
    assert command("zodb-pack", bad).returncode == 1
    (found,) = health(settings(server, pack_expected_days=7), code=1)
    sentence = f"the last pack failed: the server on {server.address} has no storage 'x', only pyams"
    assert found["problems"] == [sentence]
    assert command("zodb-pack", settings(server, report=["a@example.org"])).returncode == 5
    (found,) = health(settings(server, pack_expected_days=7), code=1)
    sentence = "of the last pack, the report could not be sent by localhost:1: Connection refused"
    assert found["problems"] == [sentence]


@pytest.mark.parametrize("text", [pytest.param("{", id="cut off"), pytest.param("7", id="no object")])
def test_a_broken_record(serve, settings, text):
    server = serve("pyams")
    record = server.data("pyams").with_name("Data.fs.pack.json")
    record.write_text(text)
    (found,) = health(settings(server), code=1)
    assert found["problems"][0].startswith(f"{record} cannot be read: ")
    assert command("zodb-pack", settings(server)).returncode == 0
    health(settings(server), code=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_cannot_become_two_users(serve, settings, tmp_path):
    server = serve("pyams")
    one = settings(server, user="nobody").rename(tmp_path / "one.toml")
    result = command("zodb-health", one, settings(server, user="daemon"))
    assert (result.returncode, result.stdout) == (
        3,
        "UNKNOWN zodb-health: the files name different users; look at each file on its own\n",
    )


def test_it_is_gone_when_it_is_done(serve, settings):
    """A client that is left open reconnects for ever."""
    server = serve("pyams")
    health(settings(server), code=0)
    until(lambda: b"disconnected" in server.log.read_bytes())
    size = server.log.stat().st_size
    time.sleep(0.5)
    assert server.log.stat().st_size == size
