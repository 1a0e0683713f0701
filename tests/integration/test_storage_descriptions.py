# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection makes of a description opens the storage: by ZODB, RelStorage and libpq, with real servers.

Needs root, for the servers' account.
"""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils._storage import for_reading, render, render_pack
from storage_kinds import KINDS
from storage_servers import PYTHON, free_port

WRITE = """
import sys, ZODB.config, ZODB.blob
database = ZODB.DB(ZODB.config.storageFromString(sys.stdin.read()))
with database.transaction() as connection:
    connection.root()["blob"] = ZODB.blob.Blob(b"forty-two")
database.close()
"""
READ = """
import sys, ZODB.config, ZODB.blob
storage = ZODB.config.storageFromString(sys.stdin.read())
assert storage.isReadOnly()
database = ZODB.DB(storage)
print(database.open().root()["blob"].open().read().decode())
"""
PACK = """
import sys, time, ZODB.config
from ZODB.serialize import referencesf
ZODB.config.storageFromString(sys.stdin.read()).pack(time.time() + 1, referencesf)
"""
SEVERAL = {"connect_timeout": 2, "tcp_user_timeout": 4000, "target_session_attrs": "read-write"}


def python(script, text, **environment):
    """Run a script in the virtualenv of RelStorage, with a text on standard input; return the process."""
    return subprocess.run(
        [PYTHON, "-W", "ignore", "-c", script],
        input=text,
        env={"HOME": "/", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def written_and_read(description, **environment):
    """Write through a description, pack, and read as one who only reads."""
    for script, text in (
        (WRITE, render(description, secrets=True)),
        (READ, render(for_reading(description), "source", secrets=True)),
    ):
        done = python(script, text, **environment)
        assert done.returncode == 0, done.stderr
    assert done.stdout == "forty-two\n"


@pytest.mark.parametrize("blobs", ["own", "shared"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_written_packed_and_read(make_storage, kind, blobs):
    storage = make_storage(kind, blobs=blobs)
    written_and_read(storage.description)
    done = python(PACK, render_pack(storage.description))
    assert done.returncode == 0, done.stderr
    assert storage.read()["blobs"] == 1


@pytest.mark.parametrize(
    ("kind", "leaves"),
    [
        ("filestorage", set()),
        # Of zero bytes: SQLite makes it when it connects, so one has to look first.
        ("sqlite", {"main.sqlite3"}),
        ("postgresql", set()),
        ("postgresql_history", set()),
    ],
)
def test_one_who_only_reads_makes_no_storage(make_storage, kind, leaves):
    storage = make_storage(kind, blobs=None)
    before = sorted(storage.folder.rglob("*"))
    assert python(READ, render(for_reading(storage.description))).returncode != 0
    made = {path.name for path in storage.folder.rglob("*") if path not in before}
    assert made == leaves
    if storage.database:
        assert storage.server.psql("select count(*) from pg_tables where tableowner = 'zodb'", storage.database) == "0"


def without(options, *names):
    return {name: value for name, value in options.items() if name not in names}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="password"),
        pytest.param({"host": "127.0.0.1:{port}", "port": 1}, id="port at the host"),
        pytest.param({"host": ["127.0.0.1:{dead}", "127.0.0.1"], **SEVERAL}, id="second of two hosts"),
        pytest.param({"sslmode": "verify-full", "sslrootcert": "{ca}", "host": "localhost"}, id="TLS"),
        pytest.param(
            {"sslmode": "require", "sslcert": "{cert}", "sslkey": "{key}", "host": "localhost"},
            id="TLS, own certificate",
        ),
        pytest.param(
            {
                "keepalives_idle": 2,
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": 4000,
                "application_name": "it's me",
                "driver": "psycopg2",
            },
            id="all the rest",
        ),
    ],
)
def test_postgresql_as_libpq_takes_it(make_storage, certificates, tmp_path, change):
    storage = make_storage("postgresql")
    # libpq takes no key that others can read.
    key = tmp_path / "client.key"
    key.write_bytes(certificates.client_key.read_bytes())
    key.chmod(0o600)
    values = {
        "port": storage.server.port,
        "dead": free_port(),
        "ca": certificates.server,
        "cert": certificates.client,
        "key": key,
    }

    def filled(value):
        if isinstance(value, list):
            return [filled(one) for one in value]
        return value.format(**values) if isinstance(value, str) else value

    options = storage.described_with_password()["postgresql"]
    description = {"postgresql": {**options, **{name: filled(value) for name, value in change.items()}}}
    written_and_read(description)


def test_postgresql_with_a_passfile_needs_no_password(make_storage, tmp_path):
    storage = make_storage("postgresql")
    options = storage.described_with_password()["postgresql"]
    passfile = tmp_path / "it's a $file"
    escaped = options["password"].replace("\\", "\\\\").replace(":", "\\:")
    passfile.write_text(f"127.0.0.1:{options['port']}:{options['dbname']}:{options['user']}:{escaped}\n")
    passfile.chmod(0o600)
    description = {"postgresql": {**without(options, "password"), "passfile": str(passfile)}}
    assert storage.server.QUOTED not in render(description)
    written_and_read(description)


def test_postgresql_by_a_service(make_storage, tmp_path):
    storage = make_storage("postgresql")
    options = storage.description["postgresql"]
    services = tmp_path / "pg_service.conf"
    names = ("host", "port", "dbname", "user")
    services.write_text("[the site]\n" + "".join(f"{name}={options[name]}\n" for name in names))
    description = {"postgresql": {**without(options, *names), "service": "the site"}}
    written_and_read(description, PGSERVICEFILE=str(services))


def test_no_password_is_in_what_relstorage_says(make_storage):
    storage = make_storage("postgresql")
    description = storage.described_with_password()
    script = """
import logging, sys, ZODB.config
logging.basicConfig(level=1)
storage = ZODB.config.storageFromString(sys.stdin.read())
print(storage.getName(), storage.sortKey())
"""
    done = python(script, render(description, secrets=True))
    assert done.returncode == 0, done.stderr
    name = f"postgresql://localhost:{storage.server.port}/{storage.database}"
    assert done.stdout.startswith(name)
    for part in ("ecret", "it's"):
        assert part not in done.stdout + done.stderr
