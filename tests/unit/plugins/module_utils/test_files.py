# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths, modes and owners, before zodb_files touches any."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _files
from ansible_collections.pyams.zodb.plugins.module_utils._files import Refused


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("0640", 0o640, id="four digits"),
        pytest.param("2770", 0o2770, id="set-gid"),
        pytest.param("02770", 0o2770, id="set-gid with a zero"),
        pytest.param("0000", 0, id="nothing"),
    ],
)
def test_mode_bits(value, expected):
    assert _files.mode_bits(value, "/a") == expected


@pytest.mark.parametrize("value", [416, 0, "640", "416", "0888", "u=rw", "", "00640x", "0o640", True], ids=repr)
def test_a_mode_that_is_no_quoted_octal_number_is_refused(value):
    with pytest.raises(Refused) as refusal:
        _files.mode_bits(value, "/a")
    assert str(refusal.value) == f"/a: mode {value} is not a quoted octal number; write it like '0640'."


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        pytest.param([("folders", "a/b")], "a/b: not an absolute path; write it from / on.", id="relative"),
        pytest.param(
            [("files", "/a"), ("links", "/b"), ("files", "/a")],
            "/a: named twice in files; keep one of them.",
            id="twice in one",
        ),
        pytest.param(
            [("folders", "/a"), ("absent", "/a")], "/a: named in folders and in absent; keep one of them.", id="in two"
        ),
    ],
)
def test_paths_are_absolute_and_named_once(items, sentence):
    with pytest.raises(Refused) as refusal:
        _files.check_paths(items)
    assert str(refusal.value) == sentence


def test_fine_paths():
    _files.check_paths([("folders", "/a"), ("files", "/a/b"), ("absent", "/ab")])


def test_accounts_have_names_and_numbers():
    assert (_files.user_id("root"), _files.group_id("root"), _files.user_name(0), _files.group_name(0)) == (
        0,
        0,
        "root",
        "root",
    )
    assert (_files.user_id("12345678"), _files.user_name(12345678)) == (12345678, "12345678")
    assert (_files.group_id("12345678"), _files.group_name(12345678)) == (12345678, "12345678")
    assert (_files.user_id("no-such-user"), _files.group_id("no-such-group")) == (None, None)


def test_kinds_have_titles(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "other")
    titles = {"file": "a file", ".": "a folder", "link": "a link", "other": "a special file"}
    assert {name: _files.title(os.lstat(tmp_path / name)) for name in titles} == titles


def test_nothing_there_has_no_status(tmp_path):
    (tmp_path / "file").write_text("")
    assert _files.lstat(tmp_path / "none") is None
    assert _files.lstat(tmp_path / "file/below") is None
    assert _files.missing_parents(str(tmp_path / "a/b/c")) == [str(tmp_path / "a"), str(tmp_path / "a/b")]
    assert _files.missing_parents(str(tmp_path / "a")) == []


@pytest.mark.parametrize(
    ("mode", "trusted"),
    [
        pytest.param(0o755, True, id="ours alone"),
        pytest.param(0o775, False, id="the group may write"),
        pytest.param(0o777, False, id="everybody may write"),
        pytest.param(0o1777, True, id="sticky, like /tmp"),
    ],
)
def test_a_link_is_trusted_as_its_folder_is(tmp_path, mode, trusted):
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link").symlink_to(tmp_path / "real")
    (tmp_path / "folder").chmod(mode)
    found = None if trusted else str(tmp_path / "folder/link")
    assert _files.foreign_link(str(tmp_path / "folder/link/deep/down")) == found
    assert _files.foreign_link(str(tmp_path / "folder/new")) is None
    (tmp_path / "ours").symlink_to("folder/link")
    assert _files.foreign_link(str(tmp_path / "ours/x")) == found
    (tmp_path / "up").symlink_to("real/../folder/../ours")
    assert _files.foreign_link(str(tmp_path / "up")) == found


def test_links_in_a_circle_are_not_trusted(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert _files.foreign_link(str(tmp_path / "a/x")) in (str(tmp_path / "a"), str(tmp_path / "b"))


def test_a_temporary_name_ends_as_the_file_does(tmp_path):
    name = os.path.basename(_files.temporary_name("/etc/systemd/system", "/etc/systemd/system/zeo-pyams.service"))
    assert name.startswith(".ansible_tmp")
    assert name.endswith("-zeo-pyams.service")
    longest = _files.temporary_name(str(tmp_path), "x" * 250 + ".conf")
    with open(longest, "w"):
        assert longest.endswith("x.conf")


def test_a_mode_survives_the_owner(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o2750)
    _files.give(str(folder), os.geteuid(), os.getegid(), None)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2750
    _files.give(str(folder), None, None, 0o2700)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2700


def test_a_link_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"\xff")
    (tmp_path / "link").symlink_to("file")
    assert _files.content(tmp_path / "file") == b"\xff"
    with pytest.raises(OSError, match="symbolic links"):
        _files.content(tmp_path / "link")
