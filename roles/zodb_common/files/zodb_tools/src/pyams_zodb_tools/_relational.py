# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What storages of RelStorage have in common, in whatever database."""

from __future__ import annotations

import time

import persistent.timestamp
import ZODB.POSException
import ZODB.utils
from relstorage.storage import RelStorage

from pyams_zodb_tools import _kinds
from pyams_zodb_tools._errors import Misconfigured


class Relational(_kinds.Kind):
    """A storage in tables of RelStorage."""

    STOPPED = "zodb-pack was stopped; what the pack removed so far stays removed, and the next one removes the rest"

    section = None  # of the zconfig

    # zodb-health

    def note_content(self, finding, last: bytes, root: bytes | None) -> None:
        """Note what read_content() returned."""
        finding.facts["empty"] = last == ZODB.utils.z64
        if finding.facts["empty"]:
            return
        finding.facts["last_commit"] = persistent.timestamp.TimeStamp(last).timeTime()
        if not root:
            finding.problem(_kinds.CRITICAL, "there are transactions, but no root object")

    # zodb-pack

    def begin(self, record: dict) -> None:
        record["objects_before"] = record["objects_after"] = None

    def end(self, record: dict) -> None:
        """Nothing: a database is measured while it is packed."""

    def became(self, record: dict) -> str:
        return f"{record['objects_before']:,} objects became {record['objects_after']:,}"

    def check_use(self) -> None:
        """Raise Misconfigured where a pack has nothing to do."""
        if not self.section.keep_history and not self.section.pack_gc:
            raise Misconfigured(
                "a history-free storage is packed by garbage collection alone, and pack-gc is false; nothing was packed"
            )

    def until(self) -> float:
        return time.time() - self.storage.pack_days * 86400

    def would(self, adapter) -> str:
        """Return what a pack would look at."""
        until = self.until()
        moment = persistent.timestamp.TimeStamp(*time.gmtime(until)[:5], until % 60)
        tid = adapter.packundo.choose_pack_transaction(ZODB.utils.u64(moment.raw()))
        if tid is None:
            return "nothing is older than the days that are kept; nothing was written"
        last = persistent.timestamp.TimeStamp(ZODB.utils.p64(tid))
        return f"a pack would look at what was committed until {str(last)[:19]} UTC; nothing was written"

    def count(self, cursor) -> int:
        """Return the number of objects: exact, as RelStorage's own is not; a pack goes over all of them anyway."""
        kept = self.section.keep_history
        cursor.execute("SELECT count(*) FROM current_object" if kept else "SELECT count(*) FROM object_state")
        return cursor.fetchone()[0]


def read_content(adapter) -> tuple[bytes, bytes | None]:
    """Return the last transaction and the pickle of the root object, as a client reads them."""
    storage = RelStorage(adapter, options=adapter.options)
    try:
        last = storage.lastTransaction()
        try:
            return last, storage.load(ZODB.utils.z64)[0]
        except ZODB.POSException.POSKeyError:
            return last, None
    finally:
        storage.close()
