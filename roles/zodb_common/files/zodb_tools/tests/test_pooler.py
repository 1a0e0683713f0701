# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands through a real PgBouncer."""

from __future__ import annotations

import json

import pytest
from real import called

SENTENCE = (
    "the server on {} is reached through a pooler that gives a client another session for each transaction, as "
    "PgBouncer does with pool_mode = transaction, and RelStorage keeps locks, prepared statements and temporary tables "
    "in one; set pool_mode = session, or name the server itself"
)
SETTINGS = {
    "the last session first": {},
    "a single session": {"default_pool_size": 1},
    "sessions in turn": {"server_round_robin": 1},
    "statements": {"mode": "statement"},
    "sessions are made meanwhile": {"min_pool_size": 5},
    "two processes": {"processes": 2},
    "three processes, sessions in turn": {"processes": 3, "server_round_robin": 1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_pooler_of_transactions_is_refused_before_anything_is_made(postgresql, database, pooler, settings):
    name = postgresql.make_database()
    bouncer = pooler(**{"mode": "transaction", **settings})
    file = database(sections={name: bouncer.front.section(name)})
    sentence = SENTENCE.format(bouncer.front.label)
    for idle in (0,) if settings.keys() & {"mode", "default_pool_size"} else range(1, 5):
        bouncer.warm(name, idle)
        for arguments in ((file, "--check"), (file,)):
            done = called("zodb-schema", *arguments)
            assert (done.returncode, done.stderr) == (1, f"zodb-schema: {name}: {sentence}\n")
    found = "select count(*) from pg_class where relnamespace = 'public'::regnamespace"
    assert postgresql.psql(found, name) == "0"
    assert postgresql.psql("select count(*) from pg_locks where locktype = 'advisory'", name) == "0"


def test_a_database_that_is_there_is_not_packed_through_it(postgresql, database, pooler):
    name = postgresql.make_database()
    assert called("zodb-schema", database(name)).returncode == 0
    postgresql.fill(name)
    front = pooler("transaction").front
    file = database(sections={name: front.section(name)})
    objects = postgresql.psql("select count(*) from object_state", name)
    for arguments in ((), ("--dry-run",), ("--prepack",)):
        done = called("zodb-pack", file, *arguments)
        assert (done.returncode, done.stderr) == (1, f"zodb-pack: {name}: {SENTENCE.format(front.label)}\n")
    assert postgresql.psql("select count(*) from object_state", name) == objects
    done = called("zodb-health", "--json", file)
    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["problems"]) == (2, [SENTENCE.format(front.label)])


@pytest.mark.parametrize("round_robin", [0, 1])
def test_a_pooler_of_sessions_is_fine(postgresql, database, pooler, round_robin):
    name = postgresql.make_database()
    front = pooler("session", server_round_robin=round_robin).front
    file = database(sections={name: front.section(name)})
    for outcome in ("created", "unchanged"):
        done = called("zodb-schema", file)
        assert (done.stdout, done.stderr) == (f"{name}: {outcome}\n", "")
    front.fill(name, garbage=50)
    assert called("zodb-pack", "--prepack", file).returncode == 0
    done = called("zodb-pack", file)
    assert (done.returncode, done.stderr.partition(" in ")[0]) == (0, f"zodb-pack: {name}: packed, 53 objects became 3")
    with front.open(name) as opened, opened.transaction() as connection:
        assert connection.root()["kept"]["text"] == "kept"
    assert called("zodb-health", file).returncode == 0
