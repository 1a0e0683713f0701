# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_sqlite_refusals."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_sqlite_refusals
short_description: What is wrong with entries of relstorage_sqlite_storages
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_sqlite#role). Judges entries by rules that go across values, and, if
    it is told about the host, by what is there. Types and unknown keys are the argument spec's.
positional: _input, settings, host
options:
  _input:
    description: Entries of C(relstorage_sqlite_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: >-
      As for P(pyams.zodb.relstorage_sqlite_complete#filter), and beside that C(releases) and C(pins), as
      P(pyams.zodb.virtualenv#filter) returns them.
    type: dict
    required: true
  host:
    description: >-
      Result of M(pyams.zodb.zodb_host_info) for the options that P(pyams.zodb.relstorage_sqlite_questions#filter)
      returns. Without it only what is wrong on any host is told.
    type: dict
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Refuse what is wrong on any host
  ansible.builtin.fail:
    msg: "{{ refusals | join('\n') }}"
  vars:
    refusals: "{{ entries | pyams.zodb.relstorage_sqlite_refusals(settings) }}"
  when: refusals | length > 0
"""

RETURN = r"""
_value:
  description: >-
    A sentence for everything that is wrong. It names the variable, the entry and the value, what is wrong with it, and
    what to do.
  type: list
  elements: str
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_sqlite import refusals


def relstorage_sqlite_refusals(entries, settings, host=None):
    """Return sentences, see refusals()."""
    return refusals(plain(entries), plain(settings), plain(host))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_sqlite_refusals": relstorage_sqlite_refusals}
