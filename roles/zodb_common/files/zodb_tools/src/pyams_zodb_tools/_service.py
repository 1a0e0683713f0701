# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the manager of a server's process, systemd or zdaemon, knows of its starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from pyams_zodb_tools import _settings


def started(service: str) -> float | None:
    """Return when systemd started the service, seconds since the epoch; None without systemd or such a service."""
    microseconds = _systemd(service, "ExecMainStartTimestampMonotonic")
    return time.time() - (time.monotonic() - microseconds / 1e6) if microseconds else None


def start(settings: _settings.Settings) -> int | None:
    """Return a number that is another one after each start of the server; None where nobody can tell."""
    if not settings.zdaemon:
        return _systemd(settings.service, "NRestarts")
    command = [os.path.join(os.path.dirname(sys.executable), "zdaemon"), "-C", settings.zdaemon, "status"]
    found = re.search(r"pid=(\d+)", _output(command))  # "program running; pid=4242"
    return int(found[1]) if found else None


def _systemd(service: str, name: str) -> int | None:
    if not os.path.isdir("/run/systemd/system"):
        return None
    output = _output(["systemctl", "show", "--value", f"--property={name}", "--", service]).strip()
    return int(output) if output.isdecimal() else None


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
