# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.virtualenv."""

from __future__ import annotations

DOCUMENTATION = r"""
name: virtualenv
short_description: The virtualenv that a role builds for a release
version_added: 0.1.0
description:
  - For the roles of this collection. Tells the lock file of a release, and the folder of its virtualenv for each
    version of Python.
positional: _input, purpose, files
options:
  _input:
    description: Name of the release, V(latest) for the newest that ships.
    type: str
    required: true
  purpose:
    description: First part of the lock files' names.
    type: str
    required: true
  files:
    description: Path of the folder C(files) of the role P(pyams.zodb.zodb_common#role).
    type: path
    required: true
  extra_packages:
    description: Further requirements of the virtualenv.
    type: list
    elements: str
    default: []
  folder:
    description: Absolute path, on the host, of the folder of virtualenvs.
    type: path
    required: true
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Show where the newest release is installed on Debian 12
  ansible.builtin.debug:
    msg: "{{ ('latest' | pyams.zodb.virtualenv('zeo', files, folder='/opt/zodb')).by_python['3.11'] }}"
"""

RETURN = r"""
_value:
  description:
    - C(release) (null if it does not ship), C(releases), C(lock), C(sources), C(pins), C(extra_packages), and
      C(by_python) with the folder for each version of Python.
  type: dict
"""

from ansible_collections.pyams.zodb.plugins.module_utils._virtualenv import describe


def virtualenv(release, purpose, files, extra_packages=(), folder="/opt/zodb"):
    """Return the virtualenv of a release, see describe()."""
    return describe(str(files), str(purpose), str(release), [str(package) for package in extra_packages], str(folder))


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"virtualenv": virtualenv}
