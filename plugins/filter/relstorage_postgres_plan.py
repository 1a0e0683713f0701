# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_plan."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_plan
short_description: What a host is for entries of relstorage_postgres_storages
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Tells which PostgreSQL is to be looked after, and in
    which state it is.
positional: _input, settings, host, server
options:
  _input:
    description: >-
      Entries of C(relstorage_postgres_storages), as P(pyams.zodb.relstorage_postgres_complete#filter) returns
      them.
    type: list
    elements: dict
    required: true
  settings:
    description: As for P(pyams.zodb.relstorage_postgres_complete#filter).
    type: dict
    required: true
  host:
    description: Result of M(pyams.zodb.zodb_host_info), as for P(pyams.zodb.relstorage_postgres_refusals#filter).
    type: dict
    required: true
  server:
    description: What PostgreSQL answered, as for P(pyams.zodb.relstorage_postgres_refusals#filter).
    type: dict
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show the version of PostgreSQL
  ansible.builtin.debug:
    msg: "{{ (storages | pyams.zodb.relstorage_postgres_plan(settings, host)).version }}"
"""

RETURN = r"""
_value:
  description: >-
    C(version), C(folder) and C(unit) of the cluster (null for an existing server), whether it is C(there), C(up),
    and has C(loaded) its files (null if it was not asked), C(shared_buffers), C(adopted), databases that were
    there before, and C(members), what follows from the group of servers (null without one).
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres import plan


def relstorage_postgres_plan(storages, settings, host, server=None):
    """Return a plan, see plan()."""
    return plan(plain(storages), plain(settings), plain(host), plain(server))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_plan": relstorage_postgres_plan}
