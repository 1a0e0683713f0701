# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tasks with the real ansible-playbook against this machine, or a module as a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(playbook, *arguments):
    playbook_command = Path(sys.executable).with_name("ansible-playbook")
    return [str(playbook_command), "-i", "localhost,", "-c", "local", *arguments, str(playbook)]


def environment(**more):
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        **more,
    }


def write(folder, tasks, user=None):
    """Write a playbook of tasks that go on after a failure, run as a user if one is named. JSON is YAML."""
    play = {"hosts": "localhost", "gather_facts": False, "ignore_errors": True, "tasks": tasks}
    if user:
        play.update(become=True, become_user=user, become_method="ansible.builtin.su")
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([play]))
    return playbook


def run(folder, tasks, *arguments, user=None, prefix=()):
    """Run tasks and return their results, in order. prefix: words before the command."""
    done = subprocess.run(
        [*prefix, *command(write(folder, tasks, user), *arguments)],
        env=environment(ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        plays = json.loads(done.stdout)["plays"]
    except ValueError:
        raise AssertionError(done.stdout + done.stderr) from None
    return [task["hosts"]["localhost"] for task in plays[0]["tasks"]]


def changed(text):
    """Return the names of the tasks that changed something, in order."""
    found, task = [], None
    for line in text.splitlines():
        if match := re.match(r"TASK \[(?:.* : )?(.*?)\]", line):
            task = match[1]
        elif line.startswith("changed: [") and task:
            found.append(task)
            task = None  # of a loop, once
    return found


def module_command(folder, module, arguments, check=False):
    """Return the command that runs a module as a process of its own, without ansible-playbook."""
    file = folder / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}))
    return [sys.executable, "-m", module.__name__, file]


def start_module(folder, module, arguments, check=False):
    """Start a module so."""
    command = module_command(folder, module, arguments, check)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(process):
    """Return the result of a module that was started so."""
    out, err = process.communicate()
    assert out, err
    result = json.loads(out)
    assert "exception" not in result, result
    return result
