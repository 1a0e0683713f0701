# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-pack against real servers, with a real mailbox."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import pwd
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import ZODB.config
from real import SCRIPTS, Server, command, on_small_disk, started, until, write_settings

# A packer of the server's own, ZODB's `packer` option: the ordinary pack, after some seconds.
SLOW = """\
import time
from ZODB.FileStorage.FileStorage import FileStorage

def pack(storage, referencesf, stop, gc):
    open({ready!r}, "w").close()
    time.sleep({seconds})
    return FileStorage.packer(storage, referencesf, stop, gc)
"""


def slow(tmp_path: pathlib.Path, serve, seconds: float) -> Server:
    """Return a server whose packs take so long, and tell of their begin by a file "ready"."""
    server = serve("pyams")
    server.fill("pyams")
    server.stop()
    (server.folder / "slow.py").write_text(SLOW.format(ready=str(tmp_path / "ready"), seconds=seconds))
    server.options["pyams"] = "packer slow.pack"
    return server.start()


def record(server: Server, name: str = "pyams") -> dict:
    return json.loads(server.data(name).with_name("Data.fs.pack.json").read_text())


def test_a_pack_frees_space_keeps_the_content_and_is_reported(serve, settings, mailbox):
    server, box = serve("pyams"), mailbox()
    server.fill("pyams")
    before = server.data("pyams").stat().st_size
    begin = time.time()
    file = settings(server, server=box.name, report=["admin@example.org", "boss@example.org"], title="Café PyAMS")
    result = command("zodb-pack", file)
    assert result.returncode == 0
    after = server.data("pyams").stat().st_size
    assert after < before - 50000
    assert server.content("pyams") == ("4" * 20000, b"4" * 1000)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"zodb-pack: pyams: packed, {before / 1024:.1f} KB became {after / 1024:.1f} KB in ")

    found = record(server)
    assert begin <= found.pop("started") <= found["finished"] <= time.time()
    assert found.pop("last_success") == found.pop("finished")
    assert found.pop("disk_free") > 0
    assert found == {
        "storage": "pyams",
        "outcome": "packed",
        "error": None,
        "days": 0,
        "size_before": before,
        "size_after": after,
        "old_size": before,
        "report": "sent",
    }

    ((sender, recipients, message),) = box.messages
    assert (sender, recipients) == ("zodb@example.org", ["admin@example.org", "boss@example.org"])
    assert message["Subject"] == "Café PyAMS: storage pyams packed"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"]
    assert message["Message-ID"]
    lines = message.get_content().splitlines()
    assert lines[0].startswith("zeo-test.service on ")
    assert lines[0].endswith(f", storage pyams: {line.removeprefix('zodb-pack: pyams: ')}.")
    assert lines[2:5] == [
        f"Data:         {server.data('pyams')}",
        f"Size before:  {before / 1024:.1f} KB",
        f"Size after:   {after / 1024:.1f} KB",
    ]
    assert "Undo kept:    0 days" in lines
    assert f"Data.fs.old:  {before / 1024:.1f} KB" in lines
    assert lines[-1].startswith("Disk free:    ")


def test_days_of_history_are_kept(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    before = server.data("pyams").stat().st_size
    assert command("zodb-pack", settings(server, pack_days=1)).returncode == 0
    assert server.data("pyams").stat().st_size == before
    with server.database("pyams") as database:
        assert len(database.undoLog(0, 100)) > 5


def test_a_pack_over_mutual_tls(serve, settings, authority):
    own, tools = authority.pinned("server"), authority.pinned("tools")
    server = serve("pyams", tls=(*own, tools[0]), client_tls=(*tools, own[0]))
    server.fill("pyams")
    before = server.data("pyams").stat().st_size
    result = command("zodb-pack", settings(server))
    assert result.returncode == 0, result.stderr
    assert server.data("pyams").stat().st_size < before


def test_a_pack_over_a_unix_socket(serve, settings, tmp_path):
    server = serve("pyams", address=str(tmp_path / "zeo.sock"))
    server.fill("pyams")
    before = server.data("pyams").stat().st_size
    assert command("zodb-pack", settings(server)).returncode == 0
    assert server.data("pyams").stat().st_size < before


def test_every_storage_is_packed_also_after_one_that_failed(serve, settings, mailbox):
    server, box = serve("one", "two", "three"), mailbox()
    for name in server.names:
        server.fill(name)
    sections = {"two": server.section("deux")}
    result = command("zodb-pack", settings(server, sections=sections, server=box.name, report=["a@example.org"]))
    assert result.returncode == 1
    assert [record(server, name)["outcome"] for name in server.names] == ["packed", "failed", "packed"]
    assert [message["Subject"] for _sender, _recipients, message in box.messages] == [
        "Test site: storage one packed",
        "Test site: storage two NOT packed",
        "Test site: storage three packed",
    ]


def test_one_storage_alone(serve, settings):
    server = serve("one", "two")
    file = settings(server)
    assert command("zodb-pack", file, "--storage", "two").returncode == 0
    assert record(server, "two")["outcome"] == "packed"
    assert not server.data("one").with_name("Data.fs.pack.json").exists()
    result = command("zodb-pack", "--storage", "three", file)
    assert (result.returncode, result.stderr) == (
        2,
        f"zodb-pack: {file}: there is no storage 'three', only one, two\n",
    )


def test_a_wrong_name_says_what_the_server_has(serve, settings):
    server = serve("pyams", "blog")
    start = time.monotonic()
    result = command("zodb-pack", settings(server, "pyams", sections={"pyams": server.section("1")}))
    assert time.monotonic() - start < 3
    sentence = f"the server on {server.address} has no storage '1', only blog, pyams"
    assert (result.returncode, result.stderr) == (1, f"zodb-pack: pyams: {sentence}\n")
    assert record(server)["error"] == sentence


def test_a_server_that_is_down(serve, settings, mailbox):
    server, box = serve("pyams"), mailbox()
    file = settings(server, server=box.name, report=["a@example.org"])
    assert command("zodb-pack", file).returncode == 0
    success = record(server)["last_success"]
    server.stop()
    result = command("zodb-pack", file)
    sentence = f"nobody listens on {server.address}"
    assert (result.returncode, result.stderr) == (1, f"zodb-pack: pyams: {sentence}\n")
    found = record(server)
    assert (found["outcome"], found["error"], found["report"]) == ("failed", sentence, "sent")
    assert found["last_success"] == success
    message = box.messages[-1][2]
    assert message["Subject"] == "Test site: storage pyams NOT packed"
    assert message.get_content().splitlines()[0].endswith(f", storage pyams: {sentence}.")


@pytest.mark.parametrize(
    "where", [pytest.param("filestorage", id="the storage is"), pytest.param("zeo", id="the server is")]
)
def test_a_read_only_storage_is_left_alone(serve, settings, where):
    server = serve("pyams")
    server.fill("pyams")
    server.stop()
    if where == "zeo":
        server.zeo = "read-only true"
    else:
        server.options["pyams"] = "read-only true"
    server.start()
    before = server.data("pyams").read_bytes()
    result = command("zodb-pack", settings(server))
    sentence = f"zodb-pack: pyams: the storage 'pyams' on {server.address} is read-only\n"
    assert (result.returncode, result.stderr) == (1, sentence)
    assert server.data("pyams").read_bytes() == before


def test_a_certificate_that_the_server_refuses(serve, settings, authority):
    own, tools, stranger = authority.pinned("server"), authority.pinned("tools"), authority.pinned("stranger")
    server = serve("pyams", tls=(*own, tools[0]), client_tls=(*stranger, own[0]))
    log = server.log.stat().st_size
    result = command("zodb-pack", settings(server))
    assert (result.returncode, result.stderr) == (
        1,
        f"zodb-pack: pyams: the server on {server.address} refuses the certificate {stranger[0]}: "
        "it is not pinned there, has expired or was revoked, or the server's own CRL has expired\n",
    )
    assert server.log.stat().st_size - log < 2000, "it hammers"


def test_a_server_that_is_not_the_pinned_one(serve, settings, authority):
    own, tools, stranger = authority.pinned("server"), authority.pinned("tools"), authority.pinned("stranger")
    server = serve("pyams", tls=(*own, tools[0]), client_tls=(*tools, stranger[0]))
    result = command("zodb-pack", settings(server))
    assert (result.returncode, result.stderr) == (
        1,
        f"zodb-pack: pyams: the certificate of the server on {server.address} is refused: self-signed certificate\n",
    )


def test_a_certificate_that_is_missing_is_a_wrong_configuration(serve, settings, authority, tmp_path):
    own, tools = authority.pinned("server"), authority.pinned("tools")
    server = serve("pyams", tls=(*own, tools[0]), client_tls=(tmp_path / "gone.crt", tools[1], own[0]))
    file = settings(server)
    result = command("zodb-pack", file)
    assert (result.returncode, result.stderr) == (
        2,
        f"zodb-pack: pyams: {file}: storages[0].zconfig:11: {tmp_path}/gone.crt cannot be read: "
        "No such file or directory\n",
    )
    assert record(server)["outcome"] == "misconfigured"


def test_tls_where_the_server_has_none_and_none_where_it_has(serve, settings, authority):
    own, tools = authority.pinned("server"), authority.pinned("tools")
    plain = serve("pyams")
    result = command("zodb-pack", settings(plain, sections={"pyams": plain.section("pyams", tls=(*tools, own[0]))}))
    assert result.stderr == f"zodb-pack: pyams: the server on {plain.address} does not speak TLS\n"
    safe = serve("pyams", tls=(*own, tools[0]))
    result = command("zodb-pack", settings(safe, sections={"pyams": safe.section("pyams", wait=1)}))
    assert result.stderr == (
        f"zodb-pack: pyams: the server on {safe.address} says nothing within 1 s; it hangs, or it expects TLS\n"
    )


def test_a_held_lock_is_respected_and_its_holder_named(serve, settings):
    """The record of the pack before stays: nothing is wrong with the storage."""
    server = serve("pyams")
    assert command("zodb-pack", settings(server)).returncode == 0
    before = record(server)
    lock = server.data("pyams").with_name("Data.fs.pack-lock")
    ready = server.folder / "ready"
    holder = subprocess.Popen(["flock", "--no-fork", lock, "sh", "-c", f"touch {ready}; exec sleep 60"])
    try:
        until(ready.exists)
        result = command("zodb-pack", settings(server))
    finally:
        holder.kill()
        holder.wait()
    assert result.returncode == 3
    assert result.stderr == (
        f"zodb-pack: pyams: process {holder.pid} (sleep) holds the lock {lock}; nothing was packed\n"
    )
    assert record(server) == before


def test_a_lock_that_cannot_be_opened(serve, settings):
    server = serve("pyams")
    lock = server.data("pyams").with_name("Data.fs.pack-lock")
    lock.symlink_to("/etc/hostname")
    result = command("zodb-pack", settings(server))
    assert (result.returncode, result.stderr) == (
        1,
        f"zodb-pack: pyams: the lock {lock} cannot be opened: Too many levels of symbolic links\n",
    )


def test_a_pack_holds_the_lock_until_the_server_is_done(serve, settings, tmp_path):
    server = slow(tmp_path, serve, 2.5)
    before = server.data("pyams").stat().st_size
    section = server.section("pyams", wait=1)  # a pack may outlast it
    with started("zodb-pack", settings(server, sections={"pyams": section})) as process:
        until((tmp_path / "ready").exists)
        with open(server.data("pyams").with_name("Data.fs.pack-lock"), "rb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert server.data("pyams").stat().st_size < before
    assert record(server)["finished"] - record(server)["started"] > 2.5


def test_a_server_that_packs_already(serve, settings, tmp_path):
    server = slow(tmp_path, serve, 3)
    other = ZODB.config.storageFromString(server.section("pyams"))
    thread = threading.Thread(target=other.pack)
    thread.start()
    until((tmp_path / "ready").exists)
    result = command("zodb-pack", settings(server))
    thread.join()
    other.close()
    assert (result.returncode, result.stderr) == (
        1,
        "zodb-pack: pyams: the server could not pack: FileStorageError: Already packing\n",
    )


def test_a_server_killed_in_the_middle(serve, settings, tmp_path):
    server = slow(tmp_path, serve, 30)
    with started("zodb-pack", settings(server)) as process:
        until((tmp_path / "ready").exists)
        server.stop(signal.SIGKILL)
        _output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.startswith(f"zodb-pack: pyams: {server.address}: the connection to the server was lost (")
    assert len(errors.splitlines()) == 1
    assert record(server)["outcome"] == "failed"


def test_a_pack_that_is_stopped_says_so(serve, settings, tmp_path, mailbox):
    server, box = slow(tmp_path, serve, 3), mailbox()
    with started("zodb-pack", settings(server, server=box.name, report=["a@example.org"])) as process:
        until((tmp_path / "ready").exists)
        process.terminate()
        _output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors == "zodb-pack: pyams: zodb-pack was stopped; the server goes on with the pack that it began\n"
    assert record(server)["outcome"] == "failed"
    assert len(box.messages) == 1


def test_a_server_out_of_space_in_the_middle(serve, settings):
    server = serve("pyams")
    server.fill("pyams")
    with server.database("pyams") as database, database.transaction() as connection:
        connection.root()["more"] = "x" * 300000
    content = server.content("pyams")
    limit = (100000, resource.RLIM_INFINITY)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limit)
    result = command("zodb-pack", settings(server))
    assert (result.returncode, result.stderr) == (
        1,
        "zodb-pack: pyams: the server could not pack: OSError: 27, File too large\n",
    )
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert command("zodb-pack", settings(server)).returncode == 0
    assert server.content("pyams") == content


def test_a_disk_too_small_for_the_copy(serve, settings, tmp_path):
    server = serve("pyams")
    data = server.data("pyams")
    script = f"head -c 3000000 /dev/zero >{data}; {SCRIPTS}/zodb-pack {settings(server)}"
    result = on_small_disk(data.parent, "4m", script)
    assert (result.returncode, result.stderr) == (
        4,
        f"zodb-pack: pyams: {data.parent} has 1.1 MB for the copy, a pack may need 3.0 MB; nothing was packed\n",
    )


def test_what_a_pack_removes_first_counts_as_free(serve, settings):
    server = serve("pyams")
    data = server.data("pyams")
    server.stop()
    old = f"head -c 3000000 /dev/zero >{data}; cp {data} {data}.old"
    script = f"{old}; {SCRIPTS}/zodb-pack {settings(server)}"
    result = on_small_disk(data.parent, "7m", script)
    assert (result.returncode, result.stderr) == (1, f"zodb-pack: pyams: nobody listens on {server.address}\n")


def test_without_data_nothing_is_packed(serve, settings, tmp_path):
    server = serve("pyams")
    file = settings(server)
    file.write_text(file.read_text().replace(str(server.data("pyams")), str(tmp_path / "Data.fs")))
    result = command("zodb-pack", file)
    assert (result.returncode, result.stderr) == (
        1,
        f"zodb-pack: pyams: {tmp_path}/Data.fs cannot be read, so that the room for the pack is unknown\n",
    )


def test_a_report_that_cannot_be_sent(serve, settings):
    server = serve("pyams")
    result = command("zodb-pack", settings(server, server="127.0.0.1:1", report=["a@example.org"]))
    assert result.returncode == 5
    sentence = "the report could not be sent by 127.0.0.1:1: Connection refused"
    assert result.stderr.splitlines()[1] == f"zodb-pack: pyams: {sentence}"
    found = record(server)
    assert (found["outcome"], found["report"]) == ("packed", sentence)


def test_a_recipient_that_is_refused(serve, settings, mailbox):
    server, box = serve("pyams"), mailbox(refused=("gone@example.org",))
    result = command("zodb-pack", settings(server, server=box.name, report=["a@example.org", "gone@example.org"]))
    assert result.returncode == 5
    assert "gone@example.org" in record(server)["report"]
    assert box.messages[0][1] == ["a@example.org"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_goes_on_as_the_user():
    # Python may lie in root's home, out of nobody's reach: what it imports late is imported early.
    program = "import encodings.idna, xml.sax.expatreader, pyams_zodb_tools._pack as p; raise SystemExit(p.main())"
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are root's alone
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        server = Server(folder, ["pyams"]).start()
        try:
            os.chown(server.data("pyams").parent, nobody.pw_uid, nobody.pw_gid)
            file = write_settings(folder / "zeo.toml", server, user="nobody")
            subprocess.run([sys.executable, "-c", program, file], check=True)
            for made in "Data.fs.pack-lock", "Data.fs.pack.json":
                status = server.data("pyams").with_name(made).stat()
                assert (status.st_uid, status.st_gid, status.st_mode & 0o077) == (nobody.pw_uid, nobody.pw_gid, 0)
            write_settings(file, server, user="no-such-user")
            result = command("zodb-pack", file)
            sentence = f"zodb-pack: {file}: user 'no-such-user' is not an account of this host\n"
            assert (result.returncode, result.stderr) == (2, sentence)
        finally:
            server.stop()
