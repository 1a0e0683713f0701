# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: reading what Linux, systemd and zdaemon say. Pure functions from text to values."""

from __future__ import annotations

import datetime
import ipaddress
import re
import struct
import sys

LOOPBACK = "127.0.0.1"


def listen_address(address):
    """Return ("unix", path) or (host, port) of an address; host is "" for any.

    address: "host:port", "[IPv6]:port", ":port" (any), "port" (loopback), or the absolute path of a unix socket.
    Raises ValueError with a sentence.
    """
    if address.startswith("/"):
        return "unix", address
    host, colon, port = address.rpartition(":")
    if not colon:
        host = LOOPBACK
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"{address} has no port from 1 to 65535; write it as host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{address} is ambiguous; write an IPv6 address as [{host}]:{port}")
    return host, int(port)


def listening_tcp(text):
    """Return [(IP address, port, inode)] of the listening sockets in /proc/net/tcp or tcp6."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != "0A":
            continue
        address, port = fields[1].split(":")
        # 32-bit words, each in the byte order of the machine
        words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
        packed = b"".join(struct.pack("<I" if sys.byteorder == "little" else ">I", word) for word in words)
        ip = ipaddress.ip_address(packed)
        found.append((getattr(ip, "ipv4_mapped", None) or ip, int(port, 16), int(fields[9])))
    return found


def listening_unix(text):
    """Return {path: inode} of the listening sockets in /proc/net/unix."""
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and int(fields[3], 16) & 0x10000:  # __SO_ACCEPTCON
            found[fields[7]] = int(fields[6])
    return found


def conflict(one, other):
    """Return whether a server on one IP address keeps a second one off another, on the same port.

    The IPv6 wildcard takes IPv4 too, unless the program said otherwise, which /proc does not tell.
    """
    if one == other:
        return True
    if one.is_unspecified and other.is_unspecified:
        return True
    return any(a.is_unspecified and (a.version == 6 or b.version == 4) for a, b in ((one, other), (other, one)))


def unit_of(text):
    """Return the innermost systemd unit of /proc/PID/cgroup, None if there is none."""
    paths = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        paths[controllers or "unified"] = path
    for path in (paths.get("name=systemd", ""), paths.get("unified", "")):
        for part in reversed(path.split("/")):
            if part.endswith((".service", ".scope")):
                return part
    return None


def locks(text):
    """Return [(pid, major, minor, inode)] of the held locks in /proc/locks; lines of waiting processes are left out."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[1] == "->":
            continue
        major, minor, inode = fields[5].split(":")
        found.append((int(fields[4]), int(major, 16), int(minor, 16), int(inode)))
    return found


def start_ticks(text):
    """Return when a process started, in clock ticks since the boot, from /proc/PID/stat."""
    return int(text.rpartition(")")[2].split()[19])  # the name in parentheses may hold anything


def zdaemon_pid(text):
    """Return the pid that `zdaemon status` names, None if the program does not run."""
    match = re.search(r"program running; pid=(\d+)", text)
    return int(match.group(1)) if match else None


def properties(text):
    """Return what `systemctl show` printed, one dict per unit, in the order of its arguments."""
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]


def os_release(text):
    """Return the variables of /etc/os-release."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def program(command, name):
    """Return what a process runs: its program, and the script if the program is an interpreter.

    command: the bytes of /proc/PID/cmdline. The other arguments may hold secrets and are left out.
    """
    words = [word.decode("utf-8", "replace") for word in command.split(b"\0") if word]
    if not words:
        return name
    shown = words[:1]
    if re.match(r"(python|perl|ruby|node|java|sh|bash)[0-9.]*$", words[0].rpartition("/")[2]):
        shown += [word for word in words[1:] if not word.startswith("-")][:1] if "-c" not in words else []
    return " ".join(shown)


def timestamp(text):
    """Return the seconds since the epoch of what `systemctl show --timestamp=us+utc` prints, None for none."""
    match = re.fullmatch(r"\w{3} (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{6}) UTC", text or "")
    if not match:
        return None
    moment = datetime.datetime.strptime(match.group(1), "%Y-%m-%d %H:%M:%S.%f")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
