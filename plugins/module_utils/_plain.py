# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what a filter makes of the values that Ansible hands it, before a pure function sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a value made of Python's own types: no tags, no templates yet to be done, no lazy containers.

    Tagged types are subclasses of Python's, but a message about a wrong type would show their names, and their
    tags (a deprecation, a vault) would follow every value that is made of them.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(value[key]) for key in value}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    # bool before int, which it is a subclass of.
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value
