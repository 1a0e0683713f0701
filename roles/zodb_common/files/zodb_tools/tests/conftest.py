# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures over the real things of real.py."""

from __future__ import annotations

import threading

import pytest
from real import Authority, Mailbox, PgBouncer, Server, postgresql_server, write_database_settings, write_settings


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


@pytest.fixture(scope="session")
def postgresql():
    """A server of PostgreSQL for all tests; each makes databases of its own."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def own():
    """A server of PostgreSQL of the test's own, which it may end."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def database(tmp_path, postgresql):
    """Return a function that writes the TOML file for the databases of that server, see write_database_settings."""

    def write(*names: str, more: str = "", file: str = "pg-test.toml", **changes):
        sections = {name: postgresql.section(name, more=more) for name in names}
        return write_database_settings(tmp_path / file, changes.pop("sections", sections), **changes)

    return write


@pytest.fixture
def pooler(postgresql):
    """Return a function that starts a PgBouncer before that server, see there."""
    poolers = []

    def start(mode: str, **options) -> PgBouncer:
        poolers.append(PgBouncer(postgresql, mode, **options))
        return poolers[-1]

    yield start
    for pooler in poolers:
        pooler.stop()


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
