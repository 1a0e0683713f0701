# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents the options that are storages, out of the table of kinds (module_utils/_storage.py). JSON is YAML."""

from __future__ import annotations

import json

from ansible_collections.pyams.zodb.plugins.module_utils import _storage


def _option(name, description):
    kinds = _suboptions(_storage.documentation())
    return json.dumps(
        {"options": {name: {"description": description, "type": "dict", "required": True, "suboptions": kinds}}}
    )


def _suboptions(options):
    """Return options with what is below them under the name that it has in the documentation of modules."""
    return {
        name: {
            "suboptions" if key == "options" else key: _suboptions(value) if key == "options" else value
            for key, value in option.items()
        }
        for name, option in options.items()
    }


def _virtualenv():
    description = (
        "Path of the virtualenv with the packages that open the storage: C(ZODB), and C(ZEO) or C(RelStorage) with the "
        "database's driver. Its Python is 3.11 or newer."
    )
    return json.dumps({"options": {"virtualenv": {"description": description, "type": "path", "required": True}}})


class ModuleDocFragment:
    pass


# Ansible's own linter knows only literal texts in the class.
for _name, _text in {
    "STORAGE": _option("storage", "The storage, as one kind and its options."),
    "SOURCE": _option("source", "The storage to copy from, as one kind and its options."),
    "DESTINATION": _option("destination", "The storage to copy to, as one kind and its options."),
    "VIRTUALENV": _virtualenv(),
}.items():
    setattr(ModuleDocFragment, _name, _text)
