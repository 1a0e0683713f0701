# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kind oracle of _storage.py."""

from __future__ import annotations

from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_relstorage import relstorage
from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import Option, write_section


def _inner(oracle: dict[str, Any]) -> str:
    return write_section("oracle", None, [(name, oracle[name]) for name in _OPTIONS])


_OPTIONS = {
    "user": Option("str", "Account to log in as.", required=True),
    "password": Option(
        "secret",
        "Its password, which Oracle's client takes from nowhere else. No file is made of it.",
        required=True,
        instead="write the section yourself, as zconfig",
    ),
    "dsn": Option("str", "Name of the database in C(tnsnames.ora), or C(host:port/service).", required=True),
    "driver": Option("str", "Python module of RelStorage. V(cx_Oracle) if absent."),
}

ORACLE = relstorage(
    "oracle",
    "An Oracle database of RelStorage. Not tested by us.",
    _OPTIONS,
    inner=_inner,
    place=lambda oracle: [f"oracle://{oracle['dsn'].lower()}/{oracle['user'].lower()}"],
)
