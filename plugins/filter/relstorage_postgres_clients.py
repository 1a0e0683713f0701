# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_clients."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_clients
short_description: How application hosts open databases of RelStorage
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Describes every storage to the role
    P(pyams.zodb.zodb_client#role).
positional: _input, settings, passwords
options:
  _input:
    description: >-
      Entries of C(relstorage_postgres_storages), as P(pyams.zodb.relstorage_postgres_complete#filter) returns
      them.
    type: list
    elements: dict
    required: true
  settings:
    description: >-
      As for P(pyams.zodb.relstorage_postgres_complete#filter), with C(host), the server's host, empty
      for the same host.
    type: dict
    required: true
  passwords:
    description: Passwords by the entries' names.
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Lay the storages' files
  ansible.builtin.include_role:
    name: pyams.zodb.zodb_client
  vars:
    zodb_client_storages: "{{ storages | pyams.zodb.relstorage_postgres_clients(settings, passwords) }}"
"""

RETURN = r"""
_value:
  description: Entries of C(zodb_client_storages), with passwords.
  type: list
  elements: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres import clients


def relstorage_postgres_clients(storages, settings, passwords):
    """Return entries of zodb_client_storages, see clients()."""
    return clients(plain(storages), plain(settings), plain(passwords))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_clients": relstorage_postgres_clients}
