# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zeo_server_tls."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zeo_server_tls
short_description: What the certificates of ZEO servers lack on their host
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zeo_server#role). Compares the managed certificates of a host that runs ZEO servers with
    what they should be.
positional: _input, settings, look
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
    description: Result of M(pyams.zodb.zodb_host_info) for C(question). Without it only that is returned.
    type: dict
seealso:
  - plugin: pyams.zodb.zeo_server_tls_client
    plugin_type: filter
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look at the certificates
  pyams.zodb.zodb_host_info:
    certificates: "{{ (instances | pyams.zodb.zeo_server_tls(settings)).question.certificates }}"
"""

RETURN = r"""
_value:
  description:
    - C(question), options of M(pyams.zodb.zodb_host_info).
    - C(identities), the certificates to be made, none if all are right.
    - C(folders), C(links), C(files) and C(absent), as M(pyams.zodb.zodb_files) takes them.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_tls import server


def zeo_server_tls(instances, settings, look=None):
    """Return a dict, see server()."""
    return server(plain(instances), plain(settings), plain(look))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zeo_server_tls": zeo_server_tls}
