# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): ids, refusals, and what is logged."""

from __future__ import annotations

import sys
import time

NOTHING = b"\0" * 8
AFTER_ALL = b"\xff" * 9  # behind every id


class Refused(Exception):
    """What is wrong and what to do, in one sentence."""


class Missing(Refused):
    """The file, folder or schema is not there: an empty storage could be made in its place, unless part of it is."""

    def __init__(self, sentence, partly=False):
        super().__init__(sentence)
        self.partly = partly


class Unreachable(Refused):
    """What holds the storage does not answer, or does not let us look."""


def number(value):
    """Return an id of eight bytes as text."""
    return "0x" + value.hex()


def raw(text):
    """Return an id written as text as its eight bytes."""
    return bytes.fromhex(text[2:])


def first_line(error):
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def lacking(error):
    return f"the virtualenv lacks a package that the storage needs ({first_line(error)}); install it there."


def log(line):
    sys.stderr.write(time.strftime("%Y-%m-%d %H:%M:%S ") + line + "\n")
    sys.stderr.flush()


class Progress:
    """Logs how far a long work is."""

    EVERY = 5  # seconds

    def __init__(self, what, total):
        self.what, self.total, self.done = what, total, 0
        self.began = self.told = time.monotonic()

    def step(self):
        self.done += 1
        now = time.monotonic()
        if now - self.told < self.EVERY:
            return
        self.told, rate = now, self.done / (now - self.began)
        line = f"{self.what} {self.done}, {rate:.0f} per second"
        if self.total:
            left = max(self.total - self.done, 0) / rate
            line += f", {min(100 * self.done / self.total, 100):.0f} %, {left:.0f} s left"
        log(line)
