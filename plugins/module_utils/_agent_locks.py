# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): locks of files and databases, which end with this process."""

from __future__ import annotations

import fcntl
import os
import threading
import time

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Refused, first_line
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zconfig import storage

LOCKS = []  # descriptors of the files that are locked until this process ends
PACK_LOCKS = []  # those of databases, also until then


def lock(request):
    """Lock a file, made if it is missing, until this process ends; answer whether nobody else has it locked.

    request: path. Who works holds the lock, so that it outlives a module that is killed.
    """
    path = request["path"]
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    LOCKS.append(handle)
    if os.geteuid() == 0:  # or those whose folder it is could not open what is made here
        folder = os.stat(os.path.dirname(path))
        os.fchown(handle, folder.st_uid, folder.st_gid)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return {"locked": False}
    return {"locked": True}


class PackLock:
    """RelStorage's lock of a database, which each of its packs and undos takes, from whichever host.

    It belongs to a session of this process, and ends with it. SQLite has none. Oracle's is the lock of a table, which
    needs a transaction that stays open, and more than the right to read.
    """

    KINDS = ("postgresql", "mysql", "mariadb")
    EVERY = 60  # seconds; servers and firewalls end sessions that are silent for long

    def __init__(self, role, database):
        self.role, self.locker = role, database.locker
        # A standby allows nothing but to read, and lets its sessions lock.
        self.connection, self.cursor = database.connmanager.open(read_only=True, application_name="pyams.zodb")
        self.asking = threading.Lock()

    def take(self):
        """Take it and keep the session alive. Return whether nobody else has it."""
        from relstorage.adapters.interfaces import UnableToAcquirePackUndoLockError

        for _try in range(20):
            try:
                self.locker.hold_pack_lock(self.cursor)
            except UnableToAcquirePackUndoLockError:
                time.sleep(0.1)  # a session that was just closed has it for a moment
            else:
                self.connection.commit()  # it stays locked
                threading.Thread(target=self._keep, daemon=True).start()
                return True
        return False

    def _keep(self):
        while self.held():
            time.sleep(self.EVERY)

    def held(self):
        """Return whether the session, and so the lock, is still there."""
        with self.asking:
            try:
                self.cursor.execute("SELECT 1")
                self.cursor.fetchall()
                self.connection.commit()
            except Exception:  # each driver has exceptions of its own
                return False
            return True


def hold_packs(request):
    """Keep everybody from packing the databases of both sides until this process ends.

    Answer with the side whose lock another session holds, null if there is none. request: source, destination.
    """
    for role in ("source", "destination"):
        one = storage(request[role])
        if one.kind not in PackLock.KINDS:
            continue
        database = one.new_database()
        try:
            lock_ = PackLock(role, database)
            if not lock_.take():
                return {"held": role}
        except Exception as error:  # each driver has exceptions of its own
            raise Refused(f"{role}: RelStorage's pack lock cannot be taken: {first_line(error)}") from None
        PACK_LOCKS.append(lock_)
    return {"held": None}


def check_pack_locks():
    """Refuse what was done while packs were no longer held off."""
    for one in PACK_LOCKS:
        if not one.held():
            raise Refused(f"{one.role}: the session that held packs off was ended meanwhile; run it again.")
