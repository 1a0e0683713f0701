# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TOML file of zodb-pack and zodb-health: whole sentences for what is wrong with it."""

from __future__ import annotations

import pytest
from real import command

from pyams_zodb_tools import _settings
from pyams_zodb_tools._errors import Misconfigured

GOOD = """\
service = "zeo-pyams.service"
title = "PyAMS storage"
start_timeout = 60
transaction_timeout = 30
certificates = ["/etc/zodb/tls/zeo-pyams.crt"]
certificate_days = 30
crl_days = 14
[mail]
server = "localhost:25"
sender = "zodb@host"
report = ["admin@example.org"]
[[storages]]
name = "pyams"
zconfig = "%import ZEO"
path = "/var/lib/zodb/pyams/pyams/Data.fs"
pack_days = 1
pack_expected_days = 7
disk_warning = 10
"""


def test_good_settings(tmp_path):
    file = tmp_path / "zeo.toml"
    file.write_text(GOOD)
    settings = _settings.load(str(file))
    assert (settings.file, settings.user, settings.mail.address()) == (str(file), None, ("localhost", 25))
    (storage,) = settings.storages
    assert (storage.name, storage.blob_dir, storage.pack_days) == ("pyams", None, 1)


def test_a_database(tmp_path):
    file = tmp_path / "pg.toml"
    file.write_text(GOOD.replace("transaction_timeout = 30\n", "") + 'kind = "relstorage"\ndata_directory = "/d"\n')
    settings = _settings.load(str(file))
    (storage,) = settings.storages
    assert (storage.kind, storage.data_directory, settings.transaction_timeout) == ("relstorage", "/d", None)


@pytest.mark.parametrize(
    ("server", "address"),
    [
        pytest.param("mail.example.org:587", ("mail.example.org", 587), id="host and port"),
        pytest.param("mail.example.org", ("mail.example.org", 25), id="host"),
        pytest.param("[::1]:2525", ("::1", 2525), id="IPv6 and port"),
        pytest.param("[::1]", ("::1", 25), id="IPv6"),
    ],
)
def test_mail_server(server, address):
    assert _settings.Mail(server, "", []).address() == address


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        pytest.param('service = "zeo-pyams.service"\n', "", "service is missing", id="missing"),
        pytest.param("[mail]", "colour = 1\n[mail]", "colour is not a known key", id="unknown"),
        pytest.param("pack_days", "pack_dayz", "storages[0].pack_dayz is not a known key", id="unknown in a storage"),
        pytest.param("[mail]", 'file = "x"\n[mail]', "file is not a known key", id="file, which is no key"),
        pytest.param(
            "pack_days = 1", 'pack_days = "1"', "storages[0].pack_days is not a whole number of at least 0", id="text"
        ),
        pytest.param(
            "pack_days = 1",
            "pack_days = true",
            "storages[0].pack_days is not a whole number of at least 0",
            id="boolean",
        ),
        pytest.param(
            "crl_days = 14", "crl_days = -1", "crl_days is not a whole number of at least 0", id="negative number"
        ),
        pytest.param('"PyAMS storage"', "7", "title is not a text", id="number for text"),
        pytest.param('"PyAMS storage"', '"a\\nBcc: b"', "title holds control characters", id="line break"),
        pytest.param(
            '["admin@example.org"]', '"admin@example.org"', "mail.report is not a list of texts", id="no list"
        ),
        pytest.param('["admin@example.org"]', "[1]", "mail.report is not a list of texts", id="list of numbers"),
        pytest.param("localhost:25", "localhost:mail", "mail.server 'localhost:mail' is not host:port", id="port"),
        pytest.param("[[storages]]", "[storages]", "storages is not a list of tables", id="storages not a list"),
        pytest.param(
            "/var/lib",
            "var/lib",
            "storages[0].path 'var/lib/zodb/pyams/pyams/Data.fs' is not an absolute path",
            id="path",
        ),
        pytest.param(
            'name = "pyams"\n',
            'name = "pyams"\nkind = "newt"\n',
            "storages[0].kind 'newt' is none of zeo, relstorage, sqlite",
            id="kind",
        ),
        pytest.param(
            "pack_days = 1\n",
            'pack_days = 1\nkind = "relstorage"\nblob_dir = "/b"\n',
            "storages[0].blob_dir is not for a storage of the kind relstorage",
            id="blobs of a database",
        ),
        pytest.param(
            "pack_days = 1\n",
            'pack_days = 1\ndata_directory = "/d"\n',
            "storages[0].data_directory is not for a storage of the kind zeo",
            id="data directory of ZEO",
        ),
        pytest.param(
            "pack_days = 1\n",
            'pack_days = 1\nkind = "relstorage"\ndata_directory = "d"\n',
            "storages[0].data_directory 'd' is not an absolute path",
            id="data directory",
        ),
        pytest.param("transaction_timeout = 30\n", "", "transaction_timeout is missing", id="missing for ZEO"),
        pytest.param(
            "transaction_timeout = 30",
            'transaction_timeout = "30"',
            "transaction_timeout is not a whole number of at least 0",
            id="text for an optional number",
        ),
        pytest.param(GOOD[GOOD.index("[[") :], "storages = []\n", "mail.storages is not a known key", id="wrong table"),
        pytest.param(
            GOOD[GOOD.index("[[") :],
            GOOD[GOOD.index("[[") :] * 2,
            "storages[1].name 'pyams' is there twice",
            id="twice",
        ),
        pytest.param(
            "start_timeout",
            "start timeout",
            "is not TOML: Expected '=' after a key in a key/value pair (at line 3, column 7)",
            id="syntax",
        ),
    ],
)
def test_refused(tmp_path, old, new, sentence):
    file = tmp_path / "zeo.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(Misconfigured) as caught:
        _settings.load(str(file))
    assert str(caught.value) == f"{file}: {sentence}"


def test_both_commands_say_so(tmp_path):
    file = tmp_path / "zeo.toml"
    file.write_text(GOOD.replace("pack_days", "pack_dayz"))
    packed, health = command("zodb-pack", file), command("zodb-health", file)
    sentence = f"{file}: storages[0].pack_dayz is not a known key"
    assert (packed.returncode, packed.stdout, packed.stderr) == (2, "", f"zodb-pack: {sentence}\n")
    assert (health.returncode, health.stdout, health.stderr) == (3, f"UNKNOWN zodb-health: {sentence}\n", "")


def test_no_storages(tmp_path):
    file = tmp_path / "zeo.toml"
    file.write_text("storages = []\n" + GOOD[: GOOD.index("[[")])
    result = command("zodb-pack", file)
    assert (result.returncode, result.stderr) == (2, f"zodb-pack: {file}: names no storages\n")


def test_a_file_that_is_not_there(tmp_path):
    result = command("zodb-pack", tmp_path / "zeo.toml")
    sentence = f"zodb-pack: {tmp_path}/zeo.toml: cannot be read: No such file or directory\n"
    assert (result.returncode, result.stderr) == (2, sentence)


def test_a_section_that_is_no_client_of_zeo(tmp_path):
    file = tmp_path / "zeo.toml"
    data = tmp_path / "Data.fs"
    data.write_bytes(b"FS30")
    section = f"<filestorage>\\npath {data}\\n</filestorage>"
    file.write_text(GOOD.replace("%import ZEO", section).replace("/var/lib/zodb/pyams/pyams/Data.fs", str(data)))
    result = command("zodb-pack", file)
    assert result.returncode == 2
    assert result.stderr.startswith(f"zodb-pack: pyams: {file}: storages[0].zconfig:1: is not a <clientstorage>\n")
