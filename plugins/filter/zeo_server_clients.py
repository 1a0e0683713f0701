# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zeo_server_clients."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zeo_server_clients
short_description: How application hosts open the storages of ZEO servers
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zeo_server#role). Describes every storage of the servers to the role
    P(pyams.zodb.zodb_client#role).
positional: _input, settings
options:
  _input:
    description: Entries of C(zeo_server_instances), as P(pyams.zodb.zeo_server_complete#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: >-
      C(config_dir), the folder of the configuration on the application hosts, and C(server_host), the servers' host,
      empty for the same host.
    type: dict
    required: true
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Lay the storages' files
  ansible.builtin.include_role:
    name: pyams.zodb.zodb_client
  vars:
    zodb_client_storages: "{{ instances | pyams.zodb.zeo_server_clients(settings) }}"
    settings: {config_dir: /etc/zodb, server_host: ""}
"""

RETURN = r"""
_value:
  description: Entries of C(zodb_client_storages), one for each storage.
  type: list
  elements: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._zeo_layout import clients


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zeo_server_clients": clients}
