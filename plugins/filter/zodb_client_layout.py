# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zodb_client_layout."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zodb_client_layout
short_description: The files of an application host
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zodb_client#role). Tells the folders and files of its entries, with their content.
positional: _input, settings
options:
  _input:
    description: Entries of C(zodb_client_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description:
      - The role's variables C(config_dir), C(cache_dir), C(group) and C(restart_units), without their prefix.
      - C(root), whether the tasks run as root. Files are given to root and the group then, what only its owner may
        read to C(user). False if absent.
    type: dict
    required: true
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Lay folders and files
  pyams.zodb.zodb_files:
    folders: "{{ layout.folders }}"
    files: "{{ layout.files }}"
    absent: "{{ layout.absent }}"
  vars:
    layout: "{{ entries | pyams.zodb.zodb_client_layout(settings) }}"
    settings: {config_dir: /etc/zodb, cache_dir: /var/cache/zodb, group: zodb, root: true}
"""

RETURN = r"""
_value:
  description:
    - C(folders), C(files) and C(absent), as M(pyams.zodb.zodb_files) takes them.
    - C(caches), the folders of absent entries; C(watched), the files that an application reads when it starts.
    - C(certificates) and C(services), as M(pyams.zodb.zodb_host_info) takes them.
    - C(opened), for each storage its place in the list, its C(zodb.conf) and its database.
  type: dict
"""

from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._client import layout
from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain


def zodb_client_layout(entries: Any, settings: Any) -> dict[str, list[Any]]:
    """Return the folders and files, see layout()."""
    return layout(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zodb_client_layout": zodb_client_layout}
