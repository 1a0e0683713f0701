# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kind config_file of _storage.py."""

from __future__ import annotations

import os.path
import re
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import Kind, Option, Refused, show


def _config_file_rules(config_file: dict[str, Any]) -> dict[str, Any]:
    if not re.fullmatch(r"[^\s()<>/]+", config_file["section"]):
        raise Refused(
            "config_file.section {}: ZConfig takes no blanks and no parentheses in the name of a section; write the "
            "name as it stands in the file.".format(show(config_file["section"]))
        )
    # ZConfig compares names of sections in lower case.
    return {**config_file, "section": config_file["section"].lower()}


def _config_file_section(config_file: dict[str, Any], _name: str | None) -> str:
    raise Refused(
        f"config_file.path {config_file['path']} is read by ZConfig, on the host where the storage is opened; "
        "nothing can be made of it here, give the section as zconfig."
    )


def _config_file_places(config_file: dict[str, Any]) -> list[str]:
    return [f"config_file://{os.path.normpath(config_file['path'])}#{config_file['section']}"]


CONFIG_FILE = Kind(
    description=(
        "A storage that a ZConfig file on the host describes, such as that of C(zodbconvert) or of a ZEO server. "
        "ZConfig takes it out of the file where it is opened."
    ),
    options={
        "path": Option("path", "Absolute path of the file.", required=True),
        "section": Option(
            "str",
            "Name of the storage's section, V(source) for C(<filestorage source>), or of the C(<zodb>) around it.",
            required=True,
        ),
    },
    rules=_config_file_rules,
    render=_config_file_section,
    places=_config_file_places,
)
