# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what Linux, systemd and zdaemon tell of a host.

First the functions from text to values, then those that look. All of them only read, and none raises for what is
not there or not to be seen by the running user.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import re
import socket
import stat
import struct
import sys
import threading
import time
import urllib.parse

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
    return [(*_end(local), int(inode)) for local, _remote, inode in _tcp(text, "0A")]


def connected_tcp(text):
    """Return [(local port, IP address of the other side, its port)] of the connections in /proc/net/tcp or tcp6."""
    return [(_end(local)[1], *_end(remote)) for local, remote, _inode in _tcp(text, "01")]


def _tcp(text, state):
    """Yield (local end, other end, inode) of the sockets in a state, as they stand there."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 10 and fields[3] == state:
            yield fields[1], fields[2], fields[9]


def _end(field):
    """Return (IP address, port)."""
    address, port = field.split(":")
    # 32-bit words, each in the byte order of the machine
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    packed = b"".join(struct.pack("<I" if sys.byteorder == "little" else ">I", word) for word in words)
    ip = ipaddress.ip_address(packed)
    return getattr(ip, "ipv4_mapped", None) or ip, int(port, 16)


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
        _number, controllers, path = line.split(":", 2)
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


def mount_type(text, path):
    """Return the type of the file system that a path lies on, by a /proc/PID/mountinfo; None if none is mounted there.

    By the place and not by the number of the device, which is another one to stat() on overlayfs and btrfs.
    """
    found = ("", None)
    for line in text.splitlines():  # "36 35 98:0 /root /mount\\040point rw,noatime master:1 - ext3 /dev/root rw"
        fields, _dash, about = line.partition(" - ")
        if not about:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields.split()[4])
        above = path == point or path.startswith(point.rstrip("/") + "/")
        if above and len(point) >= len(found[0]):  # what is mounted over another comes after it
            found = (point, about.split()[0])
    return found[1]


def program(command, name):
    """Return what a process runs: its program, and the script if the program is an interpreter.

    command: the text of /proc/PID/cmdline. Its other arguments may hold secrets and are left out.
    name: that of /proc/PID/comm, for a process that tells no command.
    """
    words = [word for word in command.split("\0") if word]
    if not words:
        return name
    shown = words[:1]
    if re.match(r"(python|perl|ruby|node|java|sh|bash)[0-9.]*$", os.path.basename(words[0])) and "-c" not in words:
        shown += [word for word in words[1:] if not word.startswith("-")][:1]
    return " ".join(shown)


def timestamp(text):
    """Return the seconds since the epoch of what `systemctl show --timestamp=us+utc` prints, None for none."""
    match = re.fullmatch(r"\w{3} (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{6}) UTC", text or "")
    if not match:
        return None
    moment = datetime.datetime.strptime(match.group(1), "%Y-%m-%d %H:%M:%S.%f")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def text(path):
    """Return a file as text, "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def full_name():
    """Return the host's full name; an unreachable resolver would keep socket.getfqdn() busy for 5 seconds or more."""
    found = []
    thread = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    thread.start()
    thread.join(2)
    return found[0] if found else socket.gethostname()


def free(path):
    """Return the free bytes on the file system of a path, or of the nearest folder above it that is there."""
    try:
        status = os.statvfs(_there(path))
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def file_system(path):
    """Return the type of that file system, such as ext4 or nfs4, None if it cannot be told."""
    return mount_type(text("/proc/self/mountinfo"), _there(path))


def sqlite_database(path):
    """Return tables, blobs, error and pids of a SQLite database: the names of its tables, whether RelStorage has blobs
    in one of them, in place of both why they cannot be read, and the processes that have it open.

    Makes nothing. While nobody has the database open, there is no log of what is not in its file yet, and to look for
    one would make it.
    """
    answer = {"tables": None, "blobs": None, "error": None, "pids": lockers([path, path + "-shm"])}
    how = "mode=ro" if os.path.exists(path + "-wal") else "mode=ro&immutable=1"
    try:
        import sqlite3  # which a minimal Python lacks
    except ImportError:
        return {**answer, "error": "the Python that runs the tasks has no sqlite3"}
    try:
        with contextlib.closing(sqlite3.connect(f"file:{urllib.parse.quote(path)}?{how}", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
            tables = [name for (name,) in tables]
            blobs = "blob_chunk" in tables and database.execute("SELECT 1 FROM blob_chunk LIMIT 1").fetchone()
    except sqlite3.Error as error:
        return {**answer, "error": str(error)}
    return {**answer, "tables": tables, "blobs": bool(blobs)}


def device(path):
    """Return the number of that file system, None if it cannot be told."""
    try:
        return os.stat(_there(path)).st_dev
    except OSError:
        return None


def _there(path):
    at = os.path.realpath(path)
    while not os.path.exists(at):
        at = os.path.dirname(at)
    return at


def newest(files):
    """Return (date, path) of the newest of some files, (None, None) if none is there.

    A link counts by its own date, so that its turning is seen, and by that of the file it leads to. A folder that it
    leads to does not count: a cache that is written into a virtualenv would date its folder.
    """
    dates = []
    for path in files:
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            dates.append((status.st_mtime, path))
            if stat.S_ISLNK(status.st_mode) and os.path.isfile(path):
                dates.append((os.stat(path).st_mtime, path))
    return max(dates) if dates else (None, None)


def process_start(pid):
    """Return when a process started, in seconds since the epoch by today's clock, None if it is gone.

    The kernel tells it in ticks of 10 ms since the boot, rounded down, so never too late. CLOCK_BOOTTIME goes on while
    the host sleeps, as the process's date does, CLOCK_MONOTONIC does not; btime of /proc/stat has whole seconds.
    """
    line = text(f"/proc/{pid}/stat")
    if not line:
        return None
    return start_ticks(line) / os.sysconf("SC_CLK_TCK") + _ahead(time.CLOCK_BOOTTIME)


def monotonic(microseconds):
    """Return a date of CLOCK_MONOTONIC in seconds since the epoch by today's clock, None for 0 (never)."""
    if not microseconds:
        return None
    return microseconds / 1e6 + _ahead(time.CLOCK_MONOTONIC)


def _ahead(clock):
    """Return how many seconds today's clock is ahead of another one.

    An interruption between the two looks makes it too small, never too large: the largest of some is the best.
    """
    return max(time.time() - time.clock_gettime(clock) for _look in range(5))


def earliest(*dates):
    """Return the earliest of the dates that are known, None if none is.

    A service's start is told twice: as the clock showed it then, and as today's clock would have. They differ where
    the clock was set in between, and a file's date may be of either. The earlier one misses no file that was written
    after the start; at worst a service is restarted once in vain.
    """
    return min((date for date in dates if date is not None), default=None)


def process(pid):
    """Return pid, program and unit of a process, all null for None."""
    if pid is None:
        return {"pid": None, "program": None, "unit": None}
    command = text(f"/proc/{pid}/cmdline")
    return {
        "pid": pid,
        "program": program(command, text(f"/proc/{pid}/comm").strip() or None),
        "unit": unit_of(text(f"/proc/{pid}/cgroup")),
    }


def named(pid):
    """Return a process as sentences name it: its number, and its unit or program."""
    about = process(pid)
    return f"process {pid} ({about['unit'] or about['program']})"


def listeners():
    """Return ([(IP address, port, inode)], {path: inode}) of what listens on this host."""
    tcp = listening_tcp(text("/proc/net/tcp")) + listening_tcp(text("/proc/net/tcp6"))
    return tcp, {_place(path): inode for path, inode in listening_unix(text("/proc/net/unix")).items()}


def connected(address):
    """Return a line for each connection to a server of this host; without its own sockets there is nothing to see.

    address: host:port, or the path of a socket, of which the other side has no name.
    """
    host, port = listen_address(address)
    if host == "unix":
        lines = (line.split(None, 7) for line in text("/proc/net/unix").splitlines()[1:])
        count = sum(1 for fields in lines if len(fields) == 8 and fields[7] == port and fields[5] == "03")
        return [f"a process of this host, over {port}"] * count
    both = connected_tcp(text("/proc/net/tcp")) + connected_tcp(text("/proc/net/tcp6"))
    return [f"{ip} port {remote}" for local, ip, remote in both if local == port]


def _place(path):
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def occupant(address, tcp, unix):
    """Return (inode, sentence): the socket that keeps a server off an address, or what is wrong with the address."""
    try:
        host, port = listen_address(address)
        if host == "unix":
            return unix.get(_place(port)), None
        wanted = _resolve(address, host)
    except ValueError as error:
        return None, str(error)
    for ip, other_port, inode in tcp:
        if other_port == port and any(conflict(one, ip) for one in wanted):
            return inode, None
    return None, None


def _resolve(address, host):
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(host or "::")]
    try:
        return [ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        raise ValueError(f"{address} names a host that cannot be resolved; write its IP address") from None


def _descriptors():
    """Yield (pid, path of the descriptor, what it is open on) for every process that may be looked at."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                yield int(pid), descriptor.path, os.readlink(descriptor.path)


def holders(inodes):
    """Return {inode: pid} of the processes that hold sockets; systemd may hold one for its service, and comes last."""
    names = {f"socket:[{inode}]": inode for inode in inodes}
    found = {}
    for pid, _path, target in _descriptors() if names else ():
        inode = names.get(target)
        if inode is not None and found.get(inode, 1) == 1:
            found[inode] = pid
    return found


def lock_holder(path):
    """Return (locked, pid) of a lock file. zc.lockfile locks it by flock() and writes its pid into it.

    To try the lock would take it, for an instant in which a server could not start: so the kernel's list is read. Its
    device numbers are not those of stat() on overlayfs and btrfs; there the written pid or the open file decides.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False, None
    written = text(path).split()[:1]
    for pid, major, minor, inode in locks(text("/proc/locks")):
        device = (major, minor) == (os.major(status.st_dev), os.minor(status.st_dev))
        if inode == status.st_ino and (device or written == [str(pid)]):
            return True, pid if os.path.isdir(f"/proc/{pid}") else _locker(path, status)
    pid = _locker(path, status)
    return pid is not None, pid


def lockers(paths):
    """Return the pids of the other processes that hold locks on some files."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found[status.st_ino] = (os.major(status.st_dev), os.minor(status.st_dev))
    held = locks(text("/proc/locks"))
    return sorted({pid for pid, *device, inode in held if found.get(inode) == tuple(device) and pid != os.getpid()})


def sqlite_lockers(folder):
    """Return the pids of the other processes that have RelStorage's SQLite database in a folder open."""
    return lockers([os.path.join(folder, name) for name in ("main.sqlite3", "main.sqlite3-shm")])


def _locker(path, status):
    """Return the pid of a process that has a file open and locked, None if there is none or it cannot be seen."""
    for pid, descriptor, target in _descriptors():
        if os.path.basename(target) != os.path.basename(path):
            continue
        with contextlib.suppress(OSError):
            about = text(f"/proc/{pid}/fdinfo/{os.path.basename(descriptor)}")
            if os.path.samestat(os.stat(descriptor), status) and "\nlock:" in about:
                return pid
    return None
