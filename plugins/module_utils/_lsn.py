# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: places in PostgreSQL's log of transactions (LSN)."""

from __future__ import annotations


def place(text: str) -> int:
    """Return a place such as 0/3000148 as a number: the later, the larger."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
