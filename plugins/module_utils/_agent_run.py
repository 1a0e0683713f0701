# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: asks the agent (_agent.py), which runs under the Python of the storage's virtualenv."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading

from ansible_collections.pyams.zodb.plugins.module_utils import _agent, _agent_load, _storage

LINES = 20  # of what the agent logged, for the user
_TERMINATE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


class Failed(Exception):
    """What went wrong, in one sentence; the agent refused, or it broke off."""


def python_of(virtualenv):
    """Return the path of a virtualenv's Python. Raises Failed."""
    path = os.path.join(virtualenv, "bin", "python")
    if not os.access(path, os.X_OK):
        raise Failed(f"virtualenv {virtualenv} has no bin/python that can be run; name the storage's virtualenv.")
    return path


def place(description):
    """Return how the agent is told a storage: its ZConfig text, or a file and the name of a section in it."""
    ((kind, options),) = _storage.normalise(description).items()
    if kind == "config_file":
        return {"file": options["path"], "section": options["section"]}
    return {"text": _storage.render(description, secrets=True)}


def _source(module):
    return module.__spec__.loader.get_source(module.__name__)


def _sources():
    """Return {name: source} of what is named after the agent; this file and the loader go along, and are not used."""
    modules = list(sys.modules.items())
    return {name: _source(module) for name, module in modules if name.startswith(_agent.__name__)}


class Agent:
    """Runs requests in a process under the Python of a virtualenv, which is started by the first one.

    storages: the descriptions whose passwords are masked in all that is said. log: called with each line that the agent
    logs. It ends with this process.
    """

    def __init__(self, virtualenv, storages, log=None):
        self.python = python_of(virtualenv)
        self.secrets = [secret for storage in storages for secret in _storage.secrets_of(storage)]
        self.log = log
        self.lines = collections.deque(maxlen=LINES)
        self.process = self.logged = None

    def mask(self, text):
        return _storage.mask(text, self.secrets)

    def _start(self):
        libc = ctypes.CDLL(None)
        self.process = subprocess.Popen(
            [self.python, "-I", "-c", _source(_agent_load), _agent.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: libc.prctl(_TERMINATE_WITH_PARENT, signal.SIGTERM),
        )
        self.logged = threading.Thread(target=self._follow, args=(self.process.stderr,), daemon=True)
        self.logged.start()

    def stop(self):
        """Let the process end, and return its status; null if there is none."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        code = process.wait()
        self.logged.join()
        process.stderr.close()
        return code

    def ask(self, operation, **request):
        """Return the agent's answer. Raises Failed."""
        lines = [{"operation": operation, **request}]
        if self.process is None:
            self._start()
            lines.insert(0, _sources())
        try:
            with contextlib.suppress(BrokenPipeError):
                for line in lines:
                    self.process.stdin.write(json.dumps(line).encode() + b"\n")
                self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BaseException:
            self.process.terminate()  # it must not go on with what nobody waits for
            raise
        try:
            answer = json.loads(line)
        except ValueError:
            code = self.stop()
            last = self.lines[-1] if self.lines else "it said nothing"
            raise Failed(f"{self.python} ended with {code} before it answered; its last line: {last}") from None
        if "refused" in answer:
            raise Failed(self.mask(answer["refused"]))
        return answer

    def _follow(self, stream):
        for line in stream:
            text = self.mask(line.decode(errors="replace").rstrip())
            self.lines.append(text)
            if self.log:
                self.log(text)
