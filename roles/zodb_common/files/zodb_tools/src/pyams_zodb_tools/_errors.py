# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, each with one sentence for the sysadmin.

Failure
├── Misconfigured   the settings, or the command line
├── Refused         what is there must not be touched
├── Locked          another job holds the lock of the storage
├── NothingToDo     that is another's job
├── NoSpace         the disk could not hold the copy that a pack writes
└── NotListening    no server there; while one starts, worth another try
"""

from __future__ import annotations


class Failure(Exception):
    """Something was not done; str() is the sentence that says what and why."""


class Misconfigured(Failure):
    pass


class Refused(Failure):
    pass


class Locked(Failure):
    pass


class NothingToDo(Failure):
    pass


class NoSpace(Failure):
    pass


class NotListening(Failure):
    pass


def reason(error: BaseException) -> str:
    """Return what an exception says, in one line: for an OSError without number and path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
