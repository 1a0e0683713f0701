# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.zconfig."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zconfig
short_description: The ZConfig text of a storage's description
version_added: 0.1.0
description:
  - Checks the description of a storage and renders it as the ZConfig section that ZODB, ZEO and their tools read.
  - The kinds and their options are those of O(pyams.zodb.zodb_info#module:storage). The text of V(config_file) is on
    the host, so there is none to render, and a password is refused, since the text is likely to become a file.
  - Written in any case are the sizes of ZEO's caches and C(server-sync), whose defaults in ZEO surprise.
positional: _input, name, kind
options:
  _input:
    description: >-
      The description, a dictionary with one key, the kind. V(zconfig) has the section as a text, the others have a
      dictionary of options.
    type: dict
    required: true
  name:
    description: Name of the section. Of a storage, none if absent; of a database, V(main).
    type: str
  kind:
    description:
      - V(storage) for the storage's section.
      - V(pack) for the same as a packer should open it, without a cache of blobs.
      - V(zodb) for a database around it, as ZODB, Pyramid and PyAMS read it, V(zodb_db) for one as Zope reads it.
    type: str
    choices: [storage, pack, zodb, zodb_db]
    default: storage
  pool_size:
    description: Of a database, connections that are kept open.
    type: int
    default: 7
  cache_size:
    description: Of a database, objects that each connection keeps in memory.
    type: int
    default: 30000
  mount_point:
    description: Of V(zodb_db), where Zope mounts it.
    type: str
    default: /
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Give a tool of your own the storage
  ansible.builtin.copy:
    content: "{{ {'zeo': {'server': 'zeo.example.org:8100', 'storage': 'pyams'}} | pyams.zodb.zconfig }}"
    dest: /etc/report/storage.conf
    mode: "0644"

- name: Show a database that holds its blobs beside its objects
  ansible.builtin.debug:
    msg: "{{ {'filestorage': data} | pyams.zodb.zconfig('main', 'zodb') }}"
  vars:
    data: {path: /srv/site/Data.fs, blob_dir: /srv/site/blobs}
"""

RETURN = r"""
_value:
  description: The section, ending with a line feed. C(%import) stands before the section of a storage that needs it.
  type: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain
from ansible_collections.pyams.zodb.plugins.module_utils._storage import (
    Refused,
    render,
    render_database,
    render_pack,
)

_KINDS = ("storage", "pack", "zodb", "zodb_db")


def zconfig(
    description: Any,
    name: str | None = None,
    kind: str = "storage",
    pool_size: int = 7,
    cache_size: int = 30000,
    mount_point: str = "/",
) -> str:
    """Return the ZConfig text of a description. Raises AnsibleFilterError with the sentence of the refusal."""
    storage, name, kind = plain(description), plain(name), plain(kind)
    try:
        if kind == "storage":
            return render(storage, name)
        if kind == "pack":
            return render_pack(storage)
        if kind in _KINDS:
            return render_database(
                render(storage), name or "main", kind, int(pool_size), int(cache_size), plain(mount_point)
            )
    except Refused as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal
    raise AnsibleFilterError(f'kind "{kind}" is none of {", ".join(_KINDS)}.')


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"zconfig": zconfig}
