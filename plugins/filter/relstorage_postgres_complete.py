# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_postgres_complete."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_postgres_complete
short_description: Entries of relstorage_postgres_storages with all that follows from them
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_postgres#role). Adds to each entry the values that follow from
    others, such as the name of its database and the paths of its files, and takes its password out.
  - Refuses nothing. P(pyams.zodb.relstorage_postgres_refusals#filter) tells what is wrong.
positional: _input, settings
options:
  _input:
    description: Entries of C(relstorage_postgres_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: What the role's other variables say, by their names without C(relstorage_postgres_).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show the databases of all storages
  ansible.builtin.debug:
    msg: "{{ entries | pyams.zodb.relstorage_postgres_complete(settings) | map(attribute='dbname') }}"
"""

RETURN = r"""
_value:
  description:
    - The entries, in which C(title), C(dbname) and C(user) are never null.
    - C(has_password) is in place of C(password). C(asked) is the ZConfig section of the tools on the server's host.
    - Further keys are names of units, and absolute paths of files.
  type: list
  elements: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_postgres import complete


def relstorage_postgres_complete(entries, settings):
    """Return completed entries, see complete()."""
    return complete(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_postgres_complete": relstorage_postgres_complete}
