# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: transaction ids, written as 0x and 16 hexadecimal digits, and the times they stand for."""

from __future__ import annotations

import datetime

from ansible_collections.pyams.zodb.plugins.module_utils._storage import Refused

NONE = "0x0000000000000000"  # of a storage without a transaction


def parse(option, text):
    """Return a transaction id as it is written in results. option: its name, for the sentence. Raises Refused."""
    digits = text.strip().lower()
    digits = digits[2:] if digits.startswith("0x") else digits
    if len(digits) > 16 or not digits or set(digits) - set("0123456789abcdef"):
        raise Refused(
            f"{option} {text}: a transaction id is 0x and up to 16 hexadecimal digits; give it as zodb_info prints it."
        )
    return "0x" + digits.zfill(16)


def time_of(tid):
    """Return when a transaction was committed, in UTC as ISO 8601, None for none.

    The first half counts minutes, in a calendar of months of 31 days from 1900 on, the second parts of a minute.
    """
    if tid is None or tid == NONE:
        return None
    minutes, parts = divmod(int(tid, 16), 2**32)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    months, day = divmod(days, 31)
    year, month = divmod(months, 12)
    seconds = parts * 60 / 2**32
    try:
        moment = datetime.datetime(1900 + year, month + 1, day + 1, hour, minute, tzinfo=datetime.timezone.utc)
    except ValueError:  # an id that no clock made
        return None
    return (moment + datetime.timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
