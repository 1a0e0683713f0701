# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zeo_server_tls_client."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zeo_server_tls_client
short_description: What an application host lacks to be admitted by ZEO servers
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zeo_server#role). Compares the managed certificate of an application host, what it knows
    of the servers, and what these know of it, with what they should be.
positional: _input, settings, look, server_look
options:
  _input:
    description: Entries of C(zeo_server_instances), as P(pyams.zodb.zeo_server_complete#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description:
      - C(config_dir), C(group), C(client_group) and C(manage_user), the role's variables without their prefix.
      - C(host), the host's name in the inventory, C(server), that of the servers' host, C(known), whether there is such
        a host, C(check_mode), and C(now), the time in UTC as digits from the year to the microsecond.
    type: dict
    required: true
  look:
    description: Result of M(pyams.zodb.zodb_host_info) for C(question).
    type: dict
  server_look:
    description: Result of M(pyams.zodb.zodb_host_info) for C(server_question), on the host that runs the servers.
    type: dict
seealso:
  - plugin: pyams.zodb.zeo_server_tls
    plugin_type: filter
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look at the server's certificates
  pyams.zodb.zodb_host_info:
    read: "{{ (instances | pyams.zodb.zeo_server_tls_client(settings)).server_question.read }}"
  delegate_to: "{{ settings.server }}"
"""

RETURN = r"""
_value:
  description:
    - C(question) and C(server_question), options of M(pyams.zodb.zodb_host_info) on this host and that of the servers.
    - C(refusals), sentences on what is wrong.
    - With both looks also C(group_missing), C(identities), the certificate to be made if it is not right, C(folders)
      and C(files) as M(pyams.zodb.zodb_files) takes them, and C(pins), the same for the host that runs the
      servers, with C(notices) on what is not over yet.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_tls import client


def zeo_server_tls_client(instances, settings, look=None, server_look=None):
    """Return a dict, see client()."""
    return client(plain(instances), plain(settings), plain(look), plain(server_look))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zeo_server_tls_client": zeo_server_tls_client}
