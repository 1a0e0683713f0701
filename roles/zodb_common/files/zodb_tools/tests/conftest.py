# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures over the real things of real.py."""

from __future__ import annotations

import threading

import pytest
from real import Authority, Mailbox, Server, write_settings


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts servers; they are stopped after the test."""
    servers = []

    def start(*names: str, **options) -> Server:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        servers.append(Server(folder, list(names), **options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def settings(tmp_path):
    """Return a function that writes the TOML file for a server, see write_settings."""
    return lambda served, /, *names, **changes: write_settings(tmp_path / "zeo-test.toml", served, *names, **changes)


@pytest.fixture
def authority(tmp_path):
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def mailbox():
    """Return a function that starts an SMTP listener."""
    boxes = []

    def listen(**options) -> Mailbox:
        boxes.append(Mailbox(**options))
        threading.Thread(target=boxes[-1].serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return boxes[-1]

    yield listen
    for box in boxes:
        box.shutdown()
        box.server_close()
