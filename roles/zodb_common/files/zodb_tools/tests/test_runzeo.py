# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server that the distribution starts, where ZEO's own would stop serving writers."""

from __future__ import annotations

import signal

import pytest
import transaction
import ZEO.Exceptions
from real import until


@pytest.fixture(autouse=True)
def _patience():
    """A commit that waits for a lock that nobody gives back would wait for ever."""

    def lost(*_):
        raise TimeoutError("the commit lock is not given back")

    signal.signal(signal.SIGALRM, lost)
    signal.alarm(30)
    yield
    signal.alarm(0)


def test_after_a_transaction_timeout_the_others_commit_and_the_one_that_hung_does_not(serve):
    server = serve("data", zeo="transaction-timeout 1")
    with server.database("data") as database:
        hanging = database.open(transaction.TransactionManager())
        hanging.root()["by"] = "the one that hung"
        hung = hanging.transaction_manager.get()
        hanging.tpc_begin(hung)
        hanging.commit(hung)
        hanging.tpc_vote(hung)
        with server.database("data") as others:
            until(lambda: "Transaction timeout after 1 seconds" in server.log.read_text())
            with others.transaction() as connection:
                connection.root()["by"] = "another"
            with pytest.raises(ZEO.Exceptions.ClientDisconnected):
                hanging.tpc_finish(hung)
            with others.transaction() as connection:
                assert connection.root()["by"] == "another"
