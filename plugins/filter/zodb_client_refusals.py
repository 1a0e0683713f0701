# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zodb_client_refusals."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zodb_client_refusals
short_description: What is wrong with the storages of an application host
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zodb_client#role). Applies the rules that an argument spec cannot express.
positional: _input, settings, host
options:
  _input:
    description: Entries of C(zodb_client_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description: The role's other variables, without their prefix; with O(host), also C(root) and C(check_mode).
    type: dict
    required: true
  host:
    description: >-
      What M(pyams.zodb.zodb_host_info) found on the host. Without it, the rules that hold on any host are applied.
    type: dict
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Refuse what is wrong on any host
  ansible.builtin.fail:
    msg: "{{ refusals | join('\n') }}"
  vars:
    refusals: "{{ entries | pyams.zodb.zodb_client_refusals(settings) }}"
  when: refusals | length > 0
"""

RETURN = r"""
_value:
  description: One sentence for each thing that is wrong, with the variable, the entry and the value.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._client import refusals
from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain


def zodb_client_refusals(entries: Any, settings: Any, host: Any = None) -> list[str]:
    """Return the sentences, see refusals()."""
    return refusals(plain(entries), plain(settings), plain(host))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zodb_client_refusals": zodb_client_refusals}
