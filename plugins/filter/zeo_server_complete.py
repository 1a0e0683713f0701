# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zeo_server_complete."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zeo_server_complete
short_description: Entries of zeo_server_instances with all that follows from them
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zeo_server#role). Adds to each entry the values that follow from others, such as the paths
    of its storages and the names of its unit and files.
  - Refuses nothing. P(pyams.zodb.zeo_server_refusals#filter) tells what is wrong.
positional: _input, settings
options:
  _input:
    description: Entries of C(zeo_server_instances), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description:
      - What the role's other variables say, by their names without C(zeo_server_).
      - Beside them, C(manager), V(systemd) or V(zdaemon), null as long as the host was not looked at.
    type: dict
    required: true
seealso:
  - plugin: pyams.zodb.zeo_server_refusals
    plugin_type: filter
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Show the units of all servers
  ansible.builtin.debug:
    msg: "{{ entries | pyams.zodb.zeo_server_complete(settings) | map(attribute='unit') }}"
"""

RETURN = r"""
_value:
  description:
    - The entries. C(address) is normalised, no key of C(storages) and C(pack) is null but C(zconfig).
    - C(host) and C(port), or C(socket), are what C(address) consists of, and null otherwise.
    - C(loopback) and C(tls_managed) are booleans.
    - Each of C(storages) has C(served) and C(asked), the ZConfig sections of the server and of the tools on its host.
    - Further keys are names of units, and absolute paths of files.
  type: list
  elements: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_server import complete


def zeo_server_complete(entries, settings):
    """Return completed entries, see complete()."""
    return complete(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zeo_server_complete": zeo_server_complete}
