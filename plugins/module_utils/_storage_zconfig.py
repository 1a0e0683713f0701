# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the kind zconfig of _storage.py."""

from __future__ import annotations

import hashlib
import re
import textwrap
from typing import Any

from ansible_collections.pyams.zodb.plugins.module_utils._storage_secrets import secrets_in
from ansible_collections.pyams.zodb.plugins.module_utils._storage_types import DATABASE_SECTIONS, Kind, Refused


def _zconfig_rules(text: Any) -> str:
    """Return raw ZConfig with Unix line ends and no margin, if it is one storage section, after %import lines or none.

    ZConfig itself is not on the controller. What can be told without it is told: where sections begin and end, that
    there is one, and that it is not a database. Sentences name lines, never what they hold, which may be a password.
    """
    if not isinstance(text, str):
        raise Refused(f"zconfig is of type {type(text).__name__}, not a text; give the storage's section.")
    if re.search(r"[\ud800-\udfff]", text):
        raise Refused("zconfig holds bytes that are no UTF-8, which ZConfig cannot read; take them out.")
    lines = [line.rstrip() for line in re.split(r"\r\n|\r|\n", text)]
    open_sections: list[str] = []
    top = []
    for number, line in enumerate(lines, 1):
        line, where = line.strip(), f"zconfig, line {number}:"
        if not line or line.startswith("#"):
            continue
        if line.startswith("%"):
            if open_sections or not re.fullmatch(r"%import\s+[\w.]+", line):
                raise Refused(f"{where} of directives, only %import before the section is allowed; write it out.")
            if top:
                raise Refused(f"{where} %import stands behind the section; move it before.")
        elif line.startswith("</"):
            if not re.fullmatch(r"</[^\s()<>]+\s*>", line):
                raise Refused(f"{where} the end of a section is malformed; write </type>.")
            ended = line[2:-1].strip().lower()
            if not open_sections:
                raise Refused(f"{where} </{ended}> ends a section that was not begun; take it out.")
            begun = open_sections.pop()
            if ended != begun:
                raise Refused(f"{where} </{ended}> stands where </{begun}> belongs; end the inner section first.")
        elif line.startswith("<"):
            match = _SECTION_START.fullmatch(line)
            if not match:
                raise Refused(f"{where} the start of a section is malformed; write <type> or <type name>.")
            begun = match["type"].lower()
            if not open_sections:
                top.append(begun)
            if not match["empty"]:
                open_sections.append(begun)
        elif not open_sections:
            raise Refused(f"{where} it stands outside the storage's section; move it inside.")
    if open_sections:
        raise Refused(f"zconfig: <{open_sections[-1]}> is not ended; add </{open_sections[-1]}>.")
    if len(top) != 1:
        raise Refused(f"zconfig holds {len(top)} sections; give the one section of the storage.")
    if top[0] in (*DATABASE_SECTIONS, "zeo", "runner", "eventlog", "logger"):
        raise Refused(f"zconfig holds a <{top[0]}> section; give the storage's section alone.")
    return textwrap.dedent("\n".join(lines)).strip("\n") + "\n"


_SECTION_START = re.compile(r"<(?P<type>[^\s()<>/]+)(?:\s+(?P<name>[^\s()<>/]+))?\s*(?P<empty>/?)>")


def _zconfig_section(text: str, name: str | None) -> str:
    if name is None:
        return text
    return re.sub(
        rf"^([ \t]*){_SECTION_START.pattern}",
        lambda match: "{}<{} {}{}>".format(match[1], match["type"], name, match["empty"]),
        text,
        count=1,
        flags=re.MULTILINE,
    )


def _zconfig_places(text: str) -> list[str]:
    unnamed = " ".join(_zconfig_section(text, "x").split())
    return [f"zconfig:{hashlib.sha256(unnamed.encode()).hexdigest()}"]


ZCONFIG = Kind(
    description=(
        "Any other storage, as its own ZConfig section, with C(%import) lines before it. Checked for its shape; "
        "ZConfig itself reads it where it is opened."
    ),
    rules=_zconfig_rules,
    render=_zconfig_section,
    places=_zconfig_places,
    secrets=secrets_in,
)
