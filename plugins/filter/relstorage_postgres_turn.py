# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_turn."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_turn
short_description: What a host is in its group of PostgreSQL servers
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Tells from the members' own answers which of them is the
    primary, and what is to be done with a host that is none of its standbys yet.
positional: _input, settings
options:
  _input:
    description: >-
      By inventory name of each member, C(server) of M(pyams.zodb.zodb_postgres_member), empty where it cannot be
      reached.
    type: dict
    required: true
  settings:
    description: As for P(pyams.zodb.relstorage_postgres_complete#filter).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show the primary
  ansible.builtin.debug:
    msg: "{{ (answers | pyams.zodb.relstorage_postgres_turn(settings)).primary }}"
"""

RETURN = r"""
_value:
  description: >-
    C(turn) (primary, standby, copy, rewind or wait; null where something is wrong), C(primary), an inventory name, null
    if none is known, and C(refusals), sentences.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres_members import turn


def relstorage_postgres_turn(answers, settings):
    """Return a turn, see turn()."""
    return turn(plain(settings), plain(answers))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_turn": relstorage_postgres_turn}
