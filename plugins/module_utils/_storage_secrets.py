# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: passwords in ZConfig sections, DSNs, URIs, and in what programs print of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

MASK = "********"

# In a DSN a value is quoted, with backslashes before quotes, or ends at a blank; libpq allows blanks around the "=".
_IN_DSN = r"(?P<{0}>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s'\"][^\s]*)"
_PATTERNS = (
    # The line of a ZConfig section: the key, then the value to its end.
    re.compile(r"^[ \t]*(?:password|passwd)[ \t]+(?P<value>(?!=)\S[^\r\n]*?)[ \t]*$", re.IGNORECASE | re.MULTILINE),
    re.compile(r"\b(?:\w*password|passwd|\w*passwort|pwd)\s*=\s*" + _IN_DSN.format("value"), re.IGNORECASE),
    # user:password@host of a URI
    re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:(?P<value>[^\s/@]+)@", re.IGNORECASE),
)


def secrets_in(text: str) -> list[str]:
    """Return the passwords that stand in a text, as they stand there and as their reader takes them."""
    found: list[str] = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            found += _forms(match["value"])
    return [value for number, value in enumerate(found) if value and value not in found[:number]]


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with the passwords in it masked: what looks like one, and the secrets that are known.

    These in each form that a program may print: quoted for libpq, for ZConfig, in Python or in JSON.
    """
    known = {form for secret in secrets if secret for form in _written(secret)}
    # The longest first, since one may begin with another.
    for form in sorted(known, key=len, reverse=True):
        text = text.replace(form, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(_masked, text)
    return text


def _written(secret: str) -> set[str]:
    """Return the ways in which a secret is written."""
    forms = {secret}
    for escape in _ESCAPES:
        forms |= {escape(form) for form in forms}
    return forms


# Of libpq, of ZConfig, then of whatever shows the text: in double quotes, in single quotes, as JSON
_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: re.sub(r"(['\\])", r"\\\1", text),
    lambda text: text.replace("$", "$$"),
    lambda text: text.replace("\\", "\\\\"),
    lambda text: re.sub(r"(['\\])", r"\\\1", text),
    lambda text: json.dumps(text)[1:-1],
)


def _forms(value: str) -> list[str]:
    """Return a value as written, without ZConfig's doubled dollars, and without quotes and the backslashes in them."""
    plain = value.replace("$$", "$")
    bare = re.sub(r"\\(.)", r"\1", plain[1:-1]) if plain[:1] in ("'", '"') and plain[-1:] == plain[:1] else plain
    return [value, plain, bare]


def _masked(match: re.Match[str]) -> str:
    start, end = (place - match.start() for place in match.span("value"))
    return match[0][:start] + MASK + match[0][end:]
