# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""runzeo -C FILE: ZEO's own server, but a client that is disconnected at its timeout gives the commit lock back.

ServerProtocol.close() of ZEO 6.0 to 6.2 forgets the client's storage before connection_lost() could abort its
transaction. So after one "Transaction timeout" nobody can commit until the server is restarted, while reads go on.
This command takes the place of ZEO's script in the virtualenv, so that all that starts servers stays as it is.
"""

from __future__ import annotations

from ZEO.asyncio.server import ServerProtocol
from ZEO.runzeo import main

_close = ServerProtocol.close


def close(self: ServerProtocol):
    """Close a connection, after aborting the transaction that it may be in."""
    storage = self.zeo_storage
    if not self.closed and storage is not None and storage.transaction is not None:
        storage.notify_disconnected()
    return _close(self)


def run() -> None:
    """Run ZEO's server, mended."""
    ServerProtocol.close = close
    main()
