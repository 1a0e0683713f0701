# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zodb_files, run by ansible-playbook as root and as an ordinary user. Needs root, for owners, mounts and the log."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import subprocess
import threading
import time

import ansible_tasks
import pytest
import yaml
from ansible_collections.pyams.zodb.plugins.modules import zodb_files

SECRETS = "user:first-secret\nuser:second-secret\n"  # two lines: what Ansible masks of one is not what it masks of two
VALIDATOR = """#!/bin/sh
# Writes down what it was given; refuses what holds "bad".
set -eu
{ stat -c '%a %U' "$1"; basename "$1"; ps -eo args; } >>"$(dirname "$0")/seen"
if grep -n bad "$1"; then
    echo "first word on $1" >&2
    echo "$1:1: bad is no key." >&2
    exit 3
fi
"""


def task(check=False, **options):
    return {"pyams.zodb.zodb_files": options, "check_mode": check}


def tree(folder):
    """Return what is under a folder: {path: (type and mode, owner, group, content or target)}."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else None
        owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
        mode = "link" if path.is_symlink() else stat.filemode(status.st_mode)
        found[str(path.relative_to(folder))] = (mode, owner, group, what)
    return found


def lay(folder, items):
    """Make what items say: {path: content, None for a folder, or (target,) for a link}."""
    for path, content in items.items():
        at = folder / path
        if content is None:
            at.mkdir(mode=0o755)
        elif isinstance(content, tuple):
            at.symlink_to(content[0])
        else:
            at.write_text(content)
            at.chmod(0o644)


def absolute(folder, options):
    """Return options with a folder put before their paths."""
    placed = {}
    for option, items in options.items():
        if option == "absent":
            placed[option] = [str(folder / item) for item in items]
        else:
            placed[option] = [{**item, "path": str(folder / item["path"])} for item in items]
    return placed


def make_base(place):
    folder = place / "base"
    folder.mkdir()
    return folder


@pytest.fixture
def base(open_folder):
    return make_base(open_folder())


@pytest.fixture
def validator(tmp_path):
    script = tmp_path / "validator"
    script.write_text(VALIDATOR)
    script.chmod(0o755)
    return script


CASES = [
    pytest.param(
        {},
        {
            "folders": [
                {"path": "etc/zodb/tls", "mode": "0750", "owner": "root", "group": "daemon"},
                {"path": "etc/zodb", "mode": "0755"},
                {"path": "cache", "mode": "2770", "group": "daemon"},
            ],
            "links": [{"path": "etc/zodb/venv", "target": "/opt/zodb/3f9c0d"}],
            "files": [
                {
                    "path": "etc/zodb/zeo.conf",
                    "content": "a ü\n",
                    "mode": "0640",
                    "owner": "root",
                    "group": "daemon",
                },
                {"path": "etc/zodb/tls/key", "secret_content": SECRETS, "owner": "daemon"},
                {"path": "cache/empty", "content": "", "mode": "0600"},
            ],
        },
        [
            "cache",
            "etc",
            "etc/zodb",
            "etc/zodb/tls",
            "etc/zodb/venv",
            "etc/zodb/zeo.conf",
            "etc/zodb/tls/key",
            "cache/empty",
        ],
        {
            "cache": ("drwxrws---", "root", "daemon", None),
            "cache/empty": ("-rw-------", "root", "daemon", ""),
            "etc": ("drwxr-xr-x", "root", "root", None),
            "etc/zodb": ("drwxr-xr-x", "root", "root", None),
            "etc/zodb/tls": ("drwxr-x---", "root", "daemon", None),
            "etc/zodb/tls/key": ("-rw-------", "daemon", "root", SECRETS),
            "etc/zodb/venv": ("link", "root", "root", "/opt/zodb/3f9c0d"),
            "etc/zodb/zeo.conf": ("-rw-r-----", "root", "daemon", "a ü\n"),
        },
        id="everything on a virgin host",
    ),
    pytest.param(
        {"a": "edited by hand\n"},
        {"files": [{"path": "a", "content": "as it was\n"}]},
        ["a"],
        {"a": ("-rw-r--r--", "root", "root", "as it was\n")},
        id="a file edited by hand, its mode kept",
    ),
    pytest.param(
        {"a": "same\n"},
        {"files": [{"path": "a", "content": "same\n", "mode": "0600", "owner": "daemon", "group": "daemon"}]},
        ["a"],
        {"a": ("-rw-------", "daemon", "daemon", "same\n")},
        id="owner and mode alone",
    ),
    pytest.param(
        {"data": None, "data/file": "x\n"},
        {"folders": [{"path": "data/", "mode": "0700", "owner": "daemon"}]},
        ["data"],
        {"data": ("drwx------", "daemon", "root", None), "data/file": ("-rw-r--r--", "root", "root", "x\n")},
        id="a folder, never what is in it",
    ),
    pytest.param(
        {"real": None, "named": ("real",)},
        {
            "folders": [{"path": "named", "mode": "0700"}],
            "files": [{"path": "named/a", "content": "x\n", "mode": "0644"}],
        },
        ["named", "named/a"],
        {
            "named": ("link", "root", "root", "real"),
            "real": ("drwx------", "root", "root", None),
            "real/a": ("-rw-r--r--", "root", "root", "x\n"),
        },
        id="a folder through root's own link",
    ),
    pytest.param(
        {"venv": ("old",), "kept": ("there",)},
        {"links": [{"path": "venv", "target": "new"}, {"path": "kept", "target": "there"}]},
        ["venv"],
        {"kept": ("link", "root", "root", "there"), "venv": ("link", "root", "root", "new")},
        id="a link turned, another right",
    ),
    pytest.param(
        {"f": "x\n", "l": ("f",), "d": None, "d/e": None, "d/e/f": "y\n", "other": None, "other/f": "z\n"},
        {"absent": ["f", "l", "gone/and/away", "d", "d/e", "d/e/f", "other"]},
        ["d/e/f", "d/e", "f", "l", "d"],
        {"other": ("drwxr-xr-x", "root", "root", None), "other/f": ("-rw-r--r--", "root", "root", "z\n")},
        id="removals, a folder that holds something else kept",
    ),
    pytest.param(
        {"a": "x\n"},
        {"folders": [], "files": [{"path": "a", "content": "x\n", "mode": "0644", "owner": "0", "group": "root"}]},
        [],
        {"a": ("-rw-r--r--", "root", "root", "x\n")},
        id="nothing to do",
    ),
    pytest.param(
        {},
        {"files": [{"path": f"{n:04} {'x' * 200}.conf", "content": f"{n}\n", "mode": "0644"} for n in range(500)]},
        [f"{n:04} {'x' * 200}.conf" for n in range(500)],
        {f"{n:04} {'x' * 200}.conf": ("-rw-r--r--", "root", "root", f"{n}\n") for n in range(500)},
        id="five hundred files with long names",
    ),
]


@pytest.fixture(scope="module")
def deeds(tmp_path_factory):
    """Run every case predicted and done, twice; return by id the folder, whether the prediction wrote, the results."""
    place = tmp_path_factory.mktemp("deeds")
    bases, tasks = {}, {}
    for case in CASES:
        before, options, _changed, _after = case.values
        bases[case.id] = make_base(tmp_path_factory.mktemp("deed"))
        lay(bases[case.id], before)
        tasks[case.id] = absolute(bases[case.id], options)
    dates = {case: dates_of(folder) for case, folder in bases.items()}
    predicted = ansible_tasks.run(place, [task(True, **options) for options in tasks.values()], "--diff")
    wrote = {case: dates[case] != dates_of(folder) for case, folder in bases.items()}
    more = [task(check, **options) for check in (False, True, False) for options in tasks.values()]
    done = ansible_tasks.run(place, more, "--diff")
    rounds = [predicted, *(done[start : start + len(tasks)] for start in range(0, len(done), len(tasks)))]
    return {case: (bases[case], wrote[case], results) for case, *results in zip(tasks, *rounds, strict=True)}


def dates_of(folder):
    return {path: path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize(("before", "options", "changed", "after"), CASES)
def test_it_does_what_it_predicts_and_no_more(deeds, request, before, options, changed, after):
    base, wrote, results = deeds[request.node.callspec.id]
    paths = [str(base / path) for path in changed]
    assert not wrote
    assert [result.get("msg") for result in results] == [None] * 4
    assert [result["changed"] for result in results] == [bool(changed)] * 2 + [False] * 2
    assert [result["changed_paths"] for result in results] == [paths] * 2 + [[]] * 2
    assert results[0]["diff"] == results[1]["diff"]
    assert [result["diff"] for result in results[2:]] == [[], []]
    kept = [str(base / path) for path in options.get("absent", []) if path in after]
    assert [result["kept_paths"] for result in results] == [kept] * 4
    assert tree(base) == after


def test_owner_and_mode_alone_keep_the_modification_time(tmp_path, base):
    lay(base, {"a": "x\n"})
    os.utime(base / "a", (1, 1))
    inode = (base / "a").stat().st_ino
    options = {"files": [{"path": str(base / "a"), "content": "x\n", "mode": "0600", "owner": "daemon"}]}
    assert ansible_tasks.run(tmp_path, [task(**options)])[0]["changed"]
    status = (base / "a").stat()
    assert (status.st_mtime, status.st_ino, stat.filemode(status.st_mode)) == (1, inode, "-rw-------")


REFUSALS = [
    pytest.param(
        {},
        {"files": [{"path": "a"}]},
        "{}/a: has neither content nor secret_content; give one of them.",
        id="no content",
    ),
    pytest.param(
        {},
        {"files": [{"path": "a", "content": "x", "secret_content": "yyyy"}]},
        "{}/a: has both content and secret_content; give one of them.",
        id="two contents",
    ),
    pytest.param(
        {},
        {"files": [{"path": "a", "content": "x", "mode": 416}]},
        "{}/a: mode 416 is not a quoted octal number; write it like '0640'.",
        id="mode that YAML made a number",
    ),
    pytest.param(
        {},
        {"folders": [{"path": "a", "mode": "u=rwx"}]},
        "{}/a: mode u=rwx is not a quoted octal number; write it like '0640'.",
        id="symbolic mode",
    ),
    pytest.param(
        {},
        {"files": [{"path": "no/where/a", "content": "x"}]},
        "{}/no/where/a: its folder {}/no/where is not there; name it in folders.",
        id="no folder for a file",
    ),
    pytest.param(
        {},
        {"links": [{"path": "no/a", "target": "x"}]},
        "{}/no/a: its folder {}/no is not there; name it in folders.",
        id="no folder for a link",
    ),
    pytest.param(
        {"f": "x"},
        {"files": [{"path": "f/a", "content": "x"}]},
        "{}/f/a: {}/f is not a folder; name another path.",
        id="folder of a file is a file",
    ),
    pytest.param(
        {"l": ("nowhere",)},
        {"folders": [{"path": "l/d"}]},
        "{}/l/d: {}/l is not a folder; name another path.",
        id="folder of a folder leads nowhere",
    ),
    pytest.param(
        {},
        {"folders": [{"path": "a"}], "files": [{"path": "b/../a/", "content": "x"}]},
        "{}/a: named in folders and in files; keep one of them.",
        id="path in two options",
    ),
    pytest.param(
        {}, {"absent": ["a", "a/."]}, "{}/a: named twice in absent; keep one of them.", id="path twice in one option"
    ),
    pytest.param(
        {"a": None},
        {"files": [{"path": "a", "content": "x"}]},
        "{}/a: a folder is in the way of the file; remove it.",
        id="folder in the way of a file",
    ),
    pytest.param(
        {"a": ("/etc/passwd",)},
        {"files": [{"path": "a", "content": "x"}]},
        "{}/a: a link is in the way of the file; remove it.",
        id="link in the way of a file",
    ),
    pytest.param(
        {"a": "x"},
        {"links": [{"path": "a", "target": "b"}]},
        "{}/a: a file is in the way of the link; remove it.",
        id="file in the way of a link",
    ),
    pytest.param(
        {"a": "x"},
        {"folders": [{"path": "a"}]},
        "{}/a: a file is in the way of the folder; remove it.",
        id="file in the way of a folder",
    ),
    pytest.param(
        {"a": ("nowhere",)},
        {"folders": [{"path": "a"}]},
        "{}/a: a link to nowhere is in the way of the folder; remove it.",
        id="dangling link in the way of a folder",
    ),
    pytest.param(
        {},
        {"files": [{"path": "a", "content": "x", "validate": ["true"]}]},
        "{}/a: validate has no %s; write it where the command expects the name of the file.",
        id="validator without a file",
    ),
    pytest.param(
        {},
        {"files": [{"path": "a", "content": "x", "validate": ["false", "%s"]}]},
        "{}/a: false refused it with exit status 1; nothing was changed.",
        id="validator without a word",
    ),
    pytest.param(
        {},
        {"files": [{"path": "a", "secret_content": SECRETS, "validate": ["grep", "-c", "secret", "%s", "/nowhere"]}]},
        "{}/a: grep refused it with exit status 2; its words are left out, it saw a secret; nothing was changed.",
        id="validator of a secret",
    ),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Run every case, beside something that could be done; return by id the folder, what was in it, the results."""
    bases, tasks = {}, []
    for case in REFUSALS:
        before, options, _sentence = case.values
        base = make_base(tmp_path_factory.mktemp("refusal"))
        lay(base, before)
        bases[case.id] = (base, tree(base))
        options = absolute(base, options)
        options["folders"] = [{"path": f"{base}/0"}, *options.get("folders", []), {"path": f"{base}/z"}]
        options["files"] = [{"path": f"{base}/fine", "content": "x"}, *options.get("files", [])]
        tasks += [task(True, **options), task(False, **options)]
    results = ansible_tasks.run(tmp_path_factory.mktemp("refusals"), tasks)
    return {
        case: (*about, pair)
        for (case, about), pair in zip(bases.items(), zip(results[::2], results[1::2]), strict=True)
    }


@pytest.mark.parametrize(("before", "options", "sentence"), REFUSALS)
def test_what_cannot_be_done_is_refused_before_anything_changes(refusals, request, before, options, sentence):
    base, found, results = refusals[request.node.callspec.id]
    for result in results:
        assert result["msg"] == sentence.replace("{}", str(base))
        assert (result["failed"], result["changed"]) == (True, False)
        assert (result["changed_paths"], result["kept_paths"]) == ([], [])
    assert tree(base) == found


def test_a_relative_path_is_refused(tmp_path):
    assert ansible_tasks.run(tmp_path, [task(absent=["here/there"])])[0]["msg"] == (
        "here/there: not an absolute path; write it from / on."
    )


def test_an_account_that_does_not_exist_is_fine_in_check_mode_alone(tmp_path, base):
    lay(base, {"old": "x\n"})
    options = absolute(
        base,
        {
            "folders": [{"path": "data", "owner": "zodb-to-come", "group": "zodb-to-come"}],
            "files": [{"path": "old", "content": "x\n", "group": "zodb-to-come"}],
        },
    )
    predicted, refused = ansible_tasks.run(tmp_path, [task(True, **options), task(False, **options)])
    assert predicted["changed_paths"] == [str(base / "data"), str(base / "old")]
    assert refused["msg"] == f"{base}/data: there is no user zodb-to-come on this host; make it first, or name another."
    assert list(tree(base)) == ["old"]


def test_all_is_validated_before_the_first_lands(tmp_path, base, validator):
    lay(base, {"good.conf": "old\n", "bad.conf": "old\n", "same.conf": "bad but there\n"})
    found = tree(base)
    command = [str(validator), "%s"]
    options = absolute(
        base,
        {
            "folders": [{"path": "new"}],
            "links": [{"path": "link", "target": "x"}],
            "files": [
                {"path": "good.conf", "content": "new\n", "mode": "0644", "owner": "daemon", "validate": command},
                {"path": "same.conf", "content": "bad but there\n", "validate": command},
                {"path": "new/first.conf", "content": "bad\n", "mode": "0644", "validate": command},
                {"path": "bad.conf", "content": "bad\n", "validate": command},
                {"path": "key", "secret_content": "a bad secret\n", "validate": command},
            ],
            "absent": ["same.txt"],
        },
    )
    for check in (True, False):
        result = ansible_tasks.run(tmp_path, [task(check, **options)])[0]
        assert result["msg"] == (
            f"{base}/new/first.conf:1: bad is no key; {base}/bad.conf:1: bad is no key; "
            f"{base}/key: {validator} refused it with exit status 3; its words are left out, it saw a secret; "
            "nothing was changed."
        )
        assert tree(base) == found
        seen = (tmp_path / "seen").read_text()
        (tmp_path / "seen").unlink()
        given = [line for line in seen.splitlines() if line.startswith(("600 ", ".ansible_tmp"))]
        assert given[::2] == ["600 root"] * 4
        assert [name.partition("-")[2] for name in given[1::2]] == ["good.conf", "first.conf", "bad.conf", "key"]
        assert "secret" not in seen


def test_a_missing_validator_matters_outside_check_mode_alone(tmp_path, base):
    options = {"files": [{"path": str(base / "a"), "content": "x", "validate": ["/opt/none/checkconf", "%s"]}]}
    predicted, refused = ansible_tasks.run(tmp_path, [task(True, **options), task(False, **options)])
    assert predicted["changed_paths"] == [str(base / "a")]
    assert refused["msg"] == f"{base}/a: its validator /opt/none/checkconf is not there; nothing was changed."
    assert tree(base) == {}


def test_root_does_not_follow_a_link_that_another_user_made(tmp_path, base, account):
    (base / "theirs").mkdir()
    os.chown(base / "theirs", pwd.getpwnam(account).pw_uid, -1)
    (base / "ours").mkdir()
    (base / "theirs/link").symlink_to(base / "ours")
    os.chown(base / "theirs/link", pwd.getpwnam(account).pw_uid, -1, follow_symlinks=False)
    refused = f"others than root can turn the link {base}/theirs/link; name the real folder instead."
    results = ansible_tasks.run(
        tmp_path,
        [
            task(folders=[{"path": f"{base}/theirs/link", "owner": account}]),
            task(files=[{"path": f"{base}/theirs/link/a", "content": "x"}]),
            task(files=[{"path": f"{base}/theirs/a", "content": "x"}]),
        ],
    )
    assert [result.get("msg") for result in results] == [
        f"{base}/theirs/link: {refused}",
        f"{base}/theirs/link/a: {refused}",
        None,
    ]
    assert list(tree(base / "ours")) == []


def test_an_ordinary_user_has_its_own_folder_and_no_more(tmp_path, base, account):
    user = pwd.getpwnam(account)
    for name in ("mine", "mine/sub", "theirs"):
        (base / name).mkdir()
    for name in ("mine/given", "mine/sub/f", "theirs/f"):
        (base / name).write_text("old\n")
    for name in ("mine", "mine/sub", "mine/sub/f"):
        os.chown(base / name, user.pw_uid, user.pw_gid)
    os.chmod(base / "theirs/f", 0o600)
    fine = absolute(
        base,
        {
            "folders": [{"path": "mine/new/deep", "mode": "0700", "owner": account, "group": account}],
            "links": [{"path": "mine/l", "target": "new"}],
            "files": [
                {"path": "mine/new/deep/f", "content": "x\n", "mode": "0600"},
                {"path": "mine/given", "content": "x\n"},
                {"path": "mine/sub/f", "content": "old\n", "mode": "0600"},
            ],
        },
    )
    refusals = [
        (
            {"files": [{"path": "theirs/new", "content": "x"}]},
            f"{base}/theirs/new: user {account} cannot write the folder {base}/theirs; run the task as one who can.",
        ),
        (
            {"absent": ["theirs/f"]},
            f"{base}/theirs/f: user {account} cannot write the folder {base}/theirs; run the task as one who can.",
        ),
        (
            {"files": [{"path": "theirs/f", "content": "x"}]},
            f"{base}/theirs/f: cannot be looked at: permission denied.",
        ),
        (
            {"folders": [{"path": "theirs", "mode": "0700"}]},
            f"{base}/theirs: user {account} cannot change the mode of what is root's; run the task as root.",
        ),
        (
            {"files": [{"path": "mine/new-file", "content": "x", "owner": "daemon"}]},
            f"{base}/mine/new-file: only root can give it to user daemon; run the task as root, or drop its owner.",
        ),
        (
            {"folders": [{"path": "mine/sub", "group": "daemon"}]},
            f"{base}/mine/sub: only root can give it to group daemon; run the task as root, or drop its group.",
        ),
    ]
    tasks = [task(check, **fine) for check in (True, False, True, False)]
    tasks += [task(check, **absolute(base, options)) for options, _sentence in refusals for check in (True, False)]
    results = ansible_tasks.run(tmp_path, tasks, user=account)
    assert [result.get("msg") for result in results[:4]] == [None] * 4
    assert [result["changed"] for result in results[:4]] == [True, True, False, False]
    assert results[0]["changed_paths"] == results[1]["changed_paths"]
    assert [result["msg"] for result in results[4::2]] == [sentence for _options, sentence in refusals]
    assert [result["msg"] for result in results[5::2]] == [sentence for _options, sentence in refusals]
    assert tree(base) == {
        "mine": ("drwxr-xr-x", account, account, None),
        "mine/given": ("-rw-r--r--", account, account, "x\n"),
        "mine/l": ("link", account, account, "new"),
        "mine/new": ("drwxr-xr-x", account, account, None),
        "mine/new/deep": ("drwx------", account, account, None),
        "mine/new/deep/f": ("-rw-------", account, account, "x\n"),
        "mine/sub": ("drwxr-xr-x", account, account, None),
        "mine/sub/f": ("-rw-------", account, account, "old\n"),
        "theirs": ("drwxr-xr-x", "root", "root", None),
        "theirs/f": ("-rw-------", "root", "root", "old\n"),
    }


def test_a_full_disk_leaves_things_as_they_were(tmp_path, base):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", base], check=True)
    try:
        lay(base, {"small": "old\n", "link": ("old",)})
        found = tree(base)
        large = "x" * 100_000
        refused = ansible_tasks.run(
            tmp_path,
            [
                task(
                    folders=[{"path": f"{base}/new/deep"}],
                    links=[{"path": f"{base}/link", "target": "new"}],
                    files=[
                        {"path": f"{base}/small", "content": "new\n"},
                        {"path": f"{base}/{place}large", "content": large},
                    ],
                )
                for place in ("", "new/deep/")
            ],
        )
        assert [(result["msg"], result["changed_paths"]) for result in refused] == [
            (f"{base}/large: cannot be written: no space left on device.", []),
            (f"{base}/new/deep/large: cannot be written: no space left on device.", []),
        ]
        assert tree(base) == found
    finally:
        subprocess.run(["umount", base], check=True)


def test_a_failure_on_the_way_tells_what_had_been_changed(tmp_path, base):
    """A folder on which something is mounted looks empty, and cannot be removed."""
    lay(base, {"mounted": None})
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", base / "mounted"], check=True)
    try:
        options = absolute(base, {"files": [{"path": "a", "content": "x\n"}], "absent": ["mounted"]})
        result = ansible_tasks.run(tmp_path, [task(**options)])[0]
    finally:
        subprocess.run(["umount", base / "mounted"], check=True)
    assert result["msg"] == f"{base}/mounted: cannot be written: device or resource busy."
    assert (result["changed"], result["changed_paths"]) == (True, [f"{base}/a"])
    assert list(tree(base)) == ["a", "mounted"]


def test_a_reader_never_sees_a_wrong_mode_or_half_a_file(tmp_path, base):
    contents = [letter * 200_000 for letter in "ab"]
    wanted = {"path": str(base / "a"), "mode": "0640", "owner": "daemon", "group": "daemon"}
    ansible_tasks.run(tmp_path, [task(files=[{**wanted, "content": contents[0]}])])
    seen, over = set(), threading.Event()

    def watch():
        end = time.monotonic() + 60
        while not over.is_set() and time.monotonic() < end:
            with open(base / "a") as file:
                status = os.fstat(file.fileno())
                text = file.read()
            seen.add((stat.filemode(status.st_mode), status.st_uid, status.st_gid, text[:1], len(text), len(set(text))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    ansible_tasks.run(tmp_path, [task(files=[{**wanted, "content": text}]) for text in (contents * 3)[1:]])
    over.set()
    watcher.join()
    assert seen == {("-rw-r-----", 1, 1, letter, 200_000, 1) for letter in "ab"}


# In a mount namespace of its own, as nothing else on this machine is to be heard or kept waiting.
WITH_LOG = """
mount --rbind /dev "$0/dev"
mount -t tmpfs tmpfs /dev
ln -s "$0"/dev/* /dev/
ln -sfn "$0/log" /dev/log
exec "$@"
"""


@pytest.fixture
def system_log(tmp_path):
    """Return (words that give a command a /dev/log of its own, the list of what comes there)."""
    (tmp_path / "dev").mkdir()
    lines = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))

        def read():
            while line := server.recv(1_000_000).decode():
                lines.append(line)

        reader = threading.Thread(target=read)
        reader.start()
        yield ["unshare", "--mount", "sh", "-euc", WITH_LOG, str(tmp_path)], lines
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(tmp_path / "log"))
        reader.join()


def test_a_secret_stays_in_its_file(tmp_path, base, validator, system_log):
    """New, changed, same, refused: neither diffs nor results, invocation, log or a process's arguments tell it."""
    before, lines = system_log
    wanted = {"path": str(base / "key"), "mode": "0600", "validate": [str(validator), "%s"]}
    contents = [SECRETS, SECRETS + "third-secret", SECRETS + "third-secret", "a bad-secret\nand another-secret\n"]
    tasks = [
        task(
            check, files=[{**wanted, "secret_content": text}, {"path": str(base / "plain"), "content": "shown-text\n"}]
        )
        for text in contents
        for check in (True, False)
    ]
    playbook = ansible_tasks.write(tmp_path, tasks)
    done = subprocess.run(
        [*before, *ansible_tasks.command(playbook, "--diff", "-vvv")],
        env=ansible_tasks.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (base / "key").read_text() == contents[2]
    assert "the content differs; it is secret and not shown" in done.stdout
    assert "+shown-text" in done.stdout
    assert "its words are left out, it saw a secret" in done.stdout
    log = "\n".join(lines)
    assert f"Invoked for {base}/key {base}/plain" in log
    seen = (tmp_path / "seen").read_text()
    assert str(validator) in seen
    for text in (done.stdout, done.stderr, log, seen):
        assert "-secret" not in text.replace("it is secret", "")
    assert "shown-text" not in log


def test_every_result_has_the_documented_keys(tmp_path, base):
    documented = set(yaml.safe_load(zodb_files.RETURN))
    for result in ansible_tasks.run(tmp_path, [task(), task(absent=[str(base)]), task(absent=["relative"])]):
        assert documented <= set(result)
