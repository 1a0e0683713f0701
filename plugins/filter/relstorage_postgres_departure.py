# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_departure."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_departure
short_description: How a member leaves a group of PostgreSQL servers
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Tells from the members' own answers what the primary is to
    forget, and what stands against it.
positional: _input, settings
options:
  _input:
    description: >-
      By inventory name of each member, C(server) of M(pyams.zodb.zodb_postgres_member); those that cannot be reached
      are empty or left out.
    type: dict
    required: true
  settings:
    description: >-
      As for P(pyams.zodb.relstorage_postgres_complete#filter), and beside that C(leave) and C(fenced).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show what the primary would wait for
  ansible.builtin.debug:
    msg: "{{ (answers | pyams.zodb.relstorage_postgres_departure(settings)).synchronous }}"
"""

RETURN = r"""
_value:
  description: >-
    C(primary), an inventory name; C(slot), that of the member there; C(synchronous), what the primary waits for without
    it, empty for nobody; and C(refusals), sentences.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres_members import departure


def relstorage_postgres_departure(answers, settings):
    """Return a departure, see departure()."""
    return departure(plain(settings), plain(answers))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_departure": relstorage_postgres_departure}
