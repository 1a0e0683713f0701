# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_questions."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_questions
short_description: What must be known of a host before it serves databases of RelStorage
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Returns the options of
    M(pyams.zodb.zodb_host_info) whose result P(pyams.zodb.relstorage_postgres_refusals#filter) judges.
positional: _input, settings
options:
  _input:
    description: Entries of C(relstorage_postgres_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: As for P(pyams.zodb.relstorage_postgres_complete#filter).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look who listens where PostgreSQL is to listen
  pyams.zodb.zodb_host_info:
    listens: "{{ (entries | pyams.zodb.relstorage_postgres_questions(settings)).listens }}"
"""

RETURN = r"""
_value:
  description: >-
    C(users), C(groups), C(python), C(paths), C(listens), C(certificates), C(wheelhouse) (null for none) and C(read),
    for the options of these names; C(query) and C(waiting), what to ask PostgreSQL, and C(tables), what each
    database that was there before.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres import questions


def relstorage_postgres_questions(entries, settings):
    """Return options of zodb_host_info and queries, see questions()."""
    return questions(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_questions": relstorage_postgres_questions}
