# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers as people write them."""

from __future__ import annotations


def human(count: float | None) -> str:
    """Return a size as people write it, with 1 KB = 1024 bytes as ZConfig has it."""
    if count is None:
        return "unknown"
    unit = "bytes"
    for larger in "KB", "MB", "GB", "TB":
        if abs(count) < 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"


def days(count: float) -> str:
    """Return a time, given in days, in hours where it is a short one."""
    if count < 2:
        return f"{count * 24:.0f} hours"
    return f"{count:.0f} days"
