# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.relstorage_sqlite_complete."""

from __future__ import annotations

DOCUMENTATION = r"""
name: relstorage_sqlite_complete
short_description: Entries of relstorage_sqlite_storages with all that follows from them
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.relstorage_sqlite#role). Adds to each entry the values that follow from
    others, such as the folders of its data and the paths of its files.
  - Refuses nothing. P(pyams.zodb.relstorage_sqlite_refusals#filter) tells what is wrong.
positional: _input, settings
options:
  _input:
    description: Entries of C(relstorage_sqlite_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: What the role's other variables say, by their names without C(relstorage_sqlite_).
    type: dict
    required: true
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show where the databases of all storages are
  ansible.builtin.debug:
    msg: "{{ entries | pyams.zodb.relstorage_sqlite_complete(settings) | map(attribute='data_dir') }}"
"""

RETURN = r"""
_value:
  description:
    - The entries, in which C(title) and C(data_dir) are never null, and C(blob_dir) only if blobs are in the database.
    - C(asked) is the ZConfig section of the tools.
    - Further keys are names of units, and absolute paths of files.
  type: list
  elements: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._relstorage_sqlite import complete


def relstorage_sqlite_complete(entries, settings):
    """Return completed entries, see complete()."""
    return complete(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"relstorage_sqlite_complete": relstorage_sqlite_complete}
