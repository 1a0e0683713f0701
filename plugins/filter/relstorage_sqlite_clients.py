# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_sqlite_clients."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_sqlite_clients
short_description: How applications of a host open its databases of RelStorage in SQLite
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_sqlite#role). Describes every storage to the role
    P(pyams.zodb.zodb_client#role).
options:
  _input:
    description: >-
      Entries of C(relstorage_sqlite_storages), as P(pyams.zodb.relstorage_sqlite_complete#filter) returns them.
    type: list
    elements: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Lay the storages' files
  ansible.builtin.include_role:
    name: pyams.zodb.zodb_client
  vars:
    zodb_client_storages: "{{ storages | pyams.zodb.relstorage_sqlite_clients }}"
"""

RETURN = r"""
_value:
  description: Entries of C(zodb_client_storages).
  type: list
  elements: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_sqlite import clients


def relstorage_sqlite_clients(storages):
    """Return entries of zodb_client_storages, see clients()."""
    return clients(plain(storages))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_sqlite_clients": relstorage_sqlite_clients}
