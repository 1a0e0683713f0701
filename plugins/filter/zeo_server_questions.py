# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zeo_server_questions."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zeo_server_questions
short_description: What must be known of a host before it serves ZEO
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zeo_server#role). Returns the options of M(pyams.zodb.zodb_host_info) whose result
    P(pyams.zodb.zeo_server_refusals#filter) judges.
positional: _input, settings
options:
  _input:
    description: Entries of C(zeo_server_instances), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: As for P(pyams.zodb.zeo_server_complete#filter).
    type: dict
    required: true
seealso:
  - plugin: pyams.zodb.zeo_server_refusals
    plugin_type: filter
  - module: pyams.zodb.zodb_host_info
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Look who listens where the servers are to listen
  pyams.zodb.zodb_host_info:
    listens: "{{ (entries | pyams.zodb.zeo_server_questions(settings)).listens }}"
"""

RETURN = r"""
_value:
  description: >-
    C(users), C(groups), C(python), C(paths), C(folders), C(listens), C(file_storages), C(certificates), C(wheelhouse)
    (null for none) and C(read), for the options of these names.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_server import questions


def zeo_server_questions(entries, settings):
    """Return options of zodb_host_info, see questions()."""
    return questions(plain(entries), plain(settings))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zeo_server_questions": zeo_server_questions}
