# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent under this Python, which is started so that it does not find the collection."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _agent
from ansible_collections.pyams.zodb.plugins.module_utils._agent_run import Agent, Failed


@pytest.fixture
def agent():
    started = Agent(sys.prefix, [])
    yield started
    started.stop()


def test_it_answers_and_leaves_nothing_else(agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert agent.ask("lock", path=str(tmp_path / "lock")) == {"locked": True}
    assert agent.stop() == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["lock"]


def test_a_traceback_names_file_and_line(agent):
    with pytest.raises(Failed, match=r"ended with 1 before it answered; its last line: KeyError: 'nothing'$"):
        agent.ask("nothing")
    file, number = re.search(r'^ *File "(.+)", line (\d+), in _answer$', "\n".join(agent.lines), re.MULTILINE).groups()
    assert _agent.__file__.endswith("/" + file)
    lines = pathlib.Path(_agent.__file__).read_text(encoding="utf-8").splitlines()
    assert 'OPERATIONS[request["operation"]]' in lines[int(number) - 1]
