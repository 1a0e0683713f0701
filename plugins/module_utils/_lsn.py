# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: places in PostgreSQL's log of transactions (LSN)."""

from __future__ import annotations

PAGE = 8192  # bytes
HEADER = 40  # bytes at most, of a page


def place(text: str) -> int:
    """Return a place such as 0/3000148 as a number: the later, the larger."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def text(number: int) -> str:
    """Return a place as PostgreSQL writes it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def end(begin: int, length: int) -> int:
    """Return where a record ends, at the latest: records begin at multiples of 8, and pages with a header."""
    last = begin + (length + 7) // 8 * 8
    return last + (last // PAGE - begin // PAGE) * HEADER
