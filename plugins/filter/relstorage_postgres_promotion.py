# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_promotion."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_promotion
short_description: How a member of a group of PostgreSQL servers is promoted
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Tells from the members' own answers which of them are to be
    stopped before, and what stands against it.
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
      As for P(pyams.zodb.relstorage_postgres_complete#filter), and beside that C(promote), C(fenced) and
      C(accept_loss).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show which servers would be stopped
  ansible.builtin.debug:
    msg: "{{ (answers | pyams.zodb.relstorage_postgres_promotion(settings)).fence }}"
"""

RETURN = r"""
_value:
  description: >-
    C(fence), inventory names of members to stop first; C(since), where the log of the one that is promoted ends; and
    C(refusals), sentences.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres_members import promotion


def relstorage_postgres_promotion(answers, settings):
    """Return a promotion, see promotion()."""
    return promotion(plain(settings), plain(answers))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_promotion": relstorage_postgres_promotion}
