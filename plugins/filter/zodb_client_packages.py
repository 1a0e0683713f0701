# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zodb_client_packages."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zodb_client_packages
short_description: What an application's virtualenv lacks to open its storages
version_added: 0.1.0
description:
  - For the role P(pyams.zodb.zodb_client#role). Tells the packages to install, so that none that is there changes.
positional: _input, settings, installed
options:
  _input:
    description: Entries of C(zodb_client_storages), as P(pyams.zodb.entries#filter) returns them.
    type: list
    elements: dict
    required: true
  settings:
    description:
      - The role's variables C(virtualenv) and C(release), without their prefix.
      - C(files), folder C(files) of the role C(zodb_common).
      - C(me), who runs the tasks, and C(owner), whose the virtualenv is.
    type: dict
    required: true
  installed:
    description: Versions of the packages that are there, by their names. Null where there is no virtualenv.
    type: dict
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Show what is missing
  ansible.builtin.debug:
    msg: "{{ (entries | pyams.zodb.zodb_client_packages(settings, {'ZODB': '5.8.1', 'pip': '23.0.1'})).requirements }}"
"""

RETURN = r"""
_value:
  description:
    - C(requirements), what is missing; C(constraints), a text for pip's C(--constraint).
    - C(refusals), one sentence for each thing that keeps it from being installed.
  type: dict
"""

from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._client_packages import packages
from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain


def zodb_client_packages(entries: Any, settings: Any, installed: Any = None) -> dict[str, Any]:
    """Return the packages, see packages()."""
    return packages(plain(entries), plain(settings), plain(installed))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zodb_client_packages": zodb_client_packages}
