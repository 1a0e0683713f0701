# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the values that a sysadmin writes, one by one: addresses, paths, names, schedules.

Pure functions, no Ansible. Each wrong_*() returns None for a good value, else the end of a sentence that begins with
the option's name: the value, what is wrong with it, and what to do.
"""

from __future__ import annotations

import ipaddress
import json
import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

# Folders that belong to the system: none may be emptied, or given other permissions.
_SYSTEM_FOLDER = re.compile(
    r"/(bin|boot|dev(/shm)?|etc|home|lib(64)?|media|mnt|opt|proc|root|run|s?bin|srv|sys|tmp"
    r"|usr(/local(/bin)?)?|var(/(cache|lib|local|log|run|spool|tmp))?)?"
)
SOCKET_PATH = 107  # bytes that Linux takes as the path of a unix socket

_STORAGE_NAME = r"[a-z0-9][a-z0-9_-]{0,31}"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


class Address(NamedTuple):
    """Where a server listens: host and port, or socket, the absolute path of a unix socket."""

    host: str | None
    port: int | None
    socket: str | None

    def __str__(self) -> str:
        return self.socket or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is reached from its own host alone."""
        return bool(self.socket) or self.host == "localhost" or bool(_ip(self.host) and _ip(self.host).is_loopback)

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every address of the host."""
        return bool(self.host and _ip(self.host) and _ip(self.host).is_unspecified)

    def clashes(self, other: Address) -> bool:
        """Whether two servers cannot listen on both."""
        if self.socket or other.socket:
            return self.socket == other.socket
        if self.port != other.port:
            return False
        hosts = {self.host, other.host}
        return (
            len(hosts) == 1
            or self.wildcard
            or other.wildcard
            or ("localhost" in hosts and hosts & {"127.0.0.1", "::1"})
        )


def address(text: str) -> Address:
    """Return an address as it is written: host:port, [IPv6]:port, a bare port (on 127.0.0.1), or a socket's path.

    Raises ValueError with the end of a sentence.
    """
    text = str(text).strip()
    if text.startswith("/"):
        return Address(None, None, tidy(text))
    if "://" in text:
        raise ValueError(f"{show(text)} is a URI; write host:port alone, such as 127.0.0.1:8100.")
    if "/" in text:
        raise ValueError(f"{show(text)} is a relative path; write the path of a socket from / on.")
    host, colon, port = text.rpartition(":")
    if re.fullmatch(r"[0-9]+", text):
        host, port = "127.0.0.1", text
    elif not colon and text:
        raise ValueError(f"{show(text)} has no port; write {show(text)}:8100.")
    elif _ip(text) or (":" in host and not host.startswith("[")):
        raise ValueError(f"{show(text)} does not tell its port from the rest; write an IPv6 address as [::1]:8100.")
    elif not host:
        raise ValueError(f"{show(text)} names no host; write 127.0.0.1:8100, or 0.0.0.0:8100 for every network.")
    if not re.fullmatch(r"[0-9]{1,9}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"{show(text)} has no port from 1 to 65535; write {host}:8100.")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    ip = _ip(bare)
    if bare != host and not (ip and ip.version == 6):
        raise ValueError(f"{show(text)} has no IPv6 address in its brackets; write one, such as [::1]:{int(port)}.")
    if not ip and (re.fullmatch(r"[0-9.]+", host) or len(host) > 253 or not _HOST.fullmatch(host)):
        raise ValueError(f"{show(text)} begins with neither a host name nor an IP address; write one before the port.")
    return Address(str(ip) if ip else host.lower(), int(port), None)


def wrong_path(path: str) -> str | None:
    """Paths end up in units, shell lines and ZConfig, each with characters of its own."""
    if not path.startswith("/"):
        return f"{show(path)} is a relative path; write it from / on."
    foreign = re.search(r"[^\w./+@:,=~-]", path)
    if foreign:
        return (
            f"{show(path)} holds {json.dumps(foreign.group(), ensure_ascii=False)}, which units, scripts or ZConfig "
            "would read as something else; use letters, digits and any of . _ - + @ : , = ~."
        )
    if ".." in path.split("/"):
        return f"{path} goes through ..; write where it leads."
    return None


def wrong_folder(path: str) -> str | None:
    """Folders of the role's own, which get permissions of their own."""
    wrong = wrong_path(path)
    if not wrong and systems_own(path):
        wrong = f"{path} is a folder of the system; name one of its own, such as {tidy(path).rstrip('/')}/zodb."
    return wrong


def wrong_name(name: str) -> str | None:
    """Names of entries, which become units, files and folders."""
    if re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
        return None
    proposal = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_0123456789")[:32]
    return (
        f"{show(name)} cannot name units and folders; begin with a small letter, go on with small letters, digits, _ "
        f"or -, 32 at most{', such as ' + proposal if proposal else ''}."
    )


def wrong_storage_name(name: str) -> str | None:
    """Names of storages: ZConfig lowers them, so that a client that asks for capitals is never answered."""
    if name != name.lower() and re.fullmatch(_STORAGE_NAME, name.lower()):
        return f"{name} would be served as {name.lower()}, since ZConfig lowers names; write {name.lower()}."
    if not re.fullmatch(_STORAGE_NAME, name):
        return (
            f"{show(name)} cannot name a storage and its files; use small letters, digits, _ or -, a letter or digit "
            "first, 32 at most."
        )
    return None


def wrong_account(name: str) -> str | None:
    """Names of users and groups."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", name):
        return None
    return f"{show(name)} is no name of an account; write letters, digits, _, . or -, such as zodb."


def wrong_host_name(name: str) -> str | None:
    """DNS names and IP addresses of certificates."""
    if _ip(name) or (_HOST.fullmatch(name.removeprefix("*.")) and not re.fullmatch(r"[0-9.]+", name)):
        return None
    return f"{show(name)} is neither a DNS name nor an IP address; write one, without port and protocol."


def wrong_mail(mail: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@" + _HOST.pattern, mail):
        return None
    return f"{show(mail)} is no mail address; write name@host, such as {mail if mail.isalnum() else 'root'}@localhost."


def wrong_size(size: str) -> str | None:
    """Sizes as ZConfig reads them."""
    match = re.fullmatch(r"([0-9]+) *(KB|MB|GB)?", str(size).strip().upper())
    if not match:
        return f"{show(size)} is no size; write bytes, or a number with KB, MB or GB, such as 256MB."
    if int(match[1]) * {None: 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}[match[2]] < 2**20:
        return f"{show(size)} is less than 1MB; put KB, MB or GB behind the number, such as 256MB."
    return None


def wrong_cron(text: str) -> str | None:
    """The five fields of crontab, or one of cron's words."""
    words = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
    advice = "write minute, hour, day, month and weekday, such as 0 3 * * 0."
    if text.strip() in words:
        return None
    fields = text.split()
    if len(fields) != len(_CRON) or "\n" in text.strip():
        return f"{show(text)} has not the five fields of crontab; {advice}"
    for field, (name, low, high, names) in zip(fields, _CRON):
        for part in field.lower().split(","):
            match = re.fullmatch(r"(\*|(\w+)(-(\w+))?)(/[1-9][0-9]*)?", part, re.ASCII)
            numbers = [names.get(one, one) for one in (match[2], match[4]) if one] if match else ["?"]
            if not all(re.fullmatch(r"[0-9]{1,2}", str(one)) and low <= int(one) <= high for one in numbers):
                return f"{show(text)} has {field} as its {name}, which goes from {low} to {high}; {advice}"
    return None


def wrong_calendar(text: str) -> str | None:
    """Calendar expressions of systemd, as far as a slip of the pen goes: systemd itself knows more."""
    advice = "write it as systemd.time(7) tells, such as Sun 03:00."
    if not text.strip():
        return f'"" says no time; {advice}'
    if not wrong_cron(text) and len(text.split()) == len(_CRON):
        return f"{show(text)} is crontab's form, for zdaemon's hosts in pack.cron; {advice}"
    words = text.split() if "\n" not in text.strip() else [""]
    if not _calendar(words):
        return f"{show(text)} is no calendar expression; {advice}"
    return None


def wrong_title(title: str) -> str | None:
    """Titles stand on one line of a unit, where a backslash at the end would go on to the next."""
    if not title.isprintable():
        return f"{show(title)} holds a line end or another control character; write it on one line."
    if title.endswith("\\"):
        return f"{show(title)} ends in a backslash, which would swallow the unit's next line; take it out."
    if len(title) > 120:
        return f"{show(title)} has {len(title)} characters; 120 are enough for the subject of a report."
    return None


def systems_own(path: str) -> bool:
    """Whether a folder is the system's, so that the role must leave it as it is."""
    return bool(_SYSTEM_FOLDER.fullmatch(tidy(path)))


def temporary(path: str) -> bool:
    """Whether a path lies in a folder that a unit with PrivateTmp has for itself."""
    return bool(re.match(r"(/var)?/tmp/", path))


def tidy(path: str) -> str:
    """Return an absolute path without doubled and trailing slashes and single dots; another one as it is."""
    if not path.startswith("/") or ".." in path.split("/"):
        return path
    return "/" + posixpath.normpath(path).lstrip("/")


def above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, the nearest first, / last."""
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        yield path


def inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, at any depth; a folder does not lie in itself."""
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def show(value: object) -> str:
    """Return a value as a sentence quotes it: as it is if that is one word, else in quotes, on one line, and short."""
    text = str(value)
    if text.isprintable() and re.fullmatch(r"\S{1,200}", text):
        return text
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=not text.isprintable())


def listed(words: list[str], last: str = "and") -> str:
    """Return words as a sentence lists them: a, b and c."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _numbered(names: str, first: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), first)}


_DAYS = _numbered("sun mon tue wed thu fri sat", 0)
_MONTHS = _numbered("jan feb mar apr may jun jul aug sep oct nov dec", 1)
_CRON = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)

_DAY = r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_NUMBERS = r"(\*|\d+(\.\d+)?(\.\.\d+(\.\d+)?)?)(/\d+(\.\d+)?)?"
_PART = rf"{_NUMBERS}(,{_NUMBERS})*"
_CALENDAR_WORD = re.compile(
    r"minutely|hourly|daily|weekly|monthly|yearly|annually|quarterly|semi-?annually|anually|bi-annually|biannually",
    re.I,
)
_CALENDAR = (
    re.compile(rf"{_DAY}((,|\.\.|-){_DAY})*,?", re.I),
    re.compile(rf"({_PART}-)?(?P<month>{_PART})[-~](?P<day>{_PART})"),
    re.compile(rf"(?P<hour>{_PART}):(?P<minute>{_PART})(:{_PART})?"),
    re.compile(r"UTC|[A-Za-z_]+(/[A-Za-z0-9_+-]+)+", re.I),
)
_HIGHEST = {"month": 12, "day": 31, "hour": 23, "minute": 59}


def _calendar(words: list[str]) -> bool:
    """Whether words are a calendar expression: weekdays, date, time and zone in this order, each once at most."""
    if _CALENDAR_WORD.fullmatch(words[0]):
        return len(words) == 1 or (len(words) == 2 and bool(_CALENDAR[-1].fullmatch(words[1])))
    forms = iter(_CALENDAR)
    for word in words:
        match = next((match for match in (form.fullmatch(word) for form in forms) if match), None)
        if not match:
            return False
        for name, text in match.groupdict().items():
            if any(int(number) > _HIGHEST[name] for number in re.findall(r"(?<![/\d])\d+", text or "")):
                return False
    return not _CALENDAR[-1].fullmatch(words[0])
