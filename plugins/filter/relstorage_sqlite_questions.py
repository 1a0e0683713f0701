# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_sqlite_questions."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_sqlite_questions
short_description: What must be known of a host before it gets databases of RelStorage in SQLite
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_sqlite#role). Returns the options of
    M(pyams.zodb.zodb_host_info) whose result P(pyams.zodb.relstorage_sqlite_refusals#filter) judges.
positional: _input, settings
options:
  _input:
    description: Entries of C(relstorage_sqlite_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: As for P(pyams.zodb.relstorage_sqlite_complete#filter).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look whether the databases are there
  pyams.zodb.zodb_host_info:
    sqlite_databases: "{{ (entries | pyams.zodb.relstorage_sqlite_questions(settings)).sqlite_databases }}"
"""

RETURN = r"""
_value:
  description: >-
    C(users), C(python), C(paths), C(folders), C(sqlite_databases), C(wheelhouse) (null for none) and C(read), for the
    options of these names.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_sqlite import questions


def relstorage_sqlite_questions(entries, settings):
    """Return options of zodb_host_info, see questions()."""
    return questions(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_sqlite_questions": relstorage_sqlite_questions}
