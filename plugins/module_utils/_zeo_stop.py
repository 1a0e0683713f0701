# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: stops a ZEO server, and waits for its process and no longer."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time

from ansible_collections.pyams.zodb.plugins.module_utils import _agent_run, _host

INTERVAL = 0.02  # seconds between two looks at a process that ends


def sockets(addresses):
    """Return the sockets that listen on the addresses; whose they are is seen by root and by their owner."""
    tcp, unix = _host.listeners()
    return {_host.occupant(address, tcp, unix)[0] for address in addresses} - {None}


def stop(addresses, command):
    """Stop a server by a command, and return whether there was one.

    zdaemon looks once a second only whether what it stops has ended; then it is left to find that out by itself.
    """
    before = sockets(addresses)
    pid = next(iter(_host.holders(before).values()), None)
    with tempfile.TemporaryFile("w+") as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        except OSError as error:
            raise _agent_run.Failed(f"server_stop {command[0]}: {error.strerror.lower()}.") from None
        while process.poll() is None and (pid is None or os.path.exists(f"/proc/{pid}")):
            time.sleep(INTERVAL)
        if process.returncode:
            said.seek(0)
            raise _agent_run.Failed(
                f"server_stop {' '.join(command)} ended with {process.returncode}: {said.read().strip()}"
            )
    left = sockets(addresses)
    if left:
        pid = next(iter(_host.holders(left).values()), None)
        which = _host.named(pid) if pid else "a process"
        raise _agent_run.Failed(f"{which} goes on to serve {addresses[0]} after {' '.join(command)}.")
    return bool(before)
