# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: how the agent's files get under the Python of the storage's virtualenv, and nothing on disk.

Run by ``python -I -c SOURCE NAME``. The first line of standard input is a line of JSON, {name of a module: its source};
they are imported from there as from the collection, by the same names. Then main() of the module NAME is called.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import sys


class Sent(importlib.machinery.SourceFileLoader):
    """Loads a module whose source was sent. Its file, which is not there, is what tracebacks name."""

    sources: dict[str, str]

    @classmethod
    def find_spec(cls, name, _path=None, _target=None):
        if name in cls.sources:
            file = name.replace(".", "/") + ".py"
            spec = importlib.machinery.ModuleSpec(name, cls(name, file), origin=file)
            spec.has_location = True
            return spec
        if any(one.startswith(name + ".") for one in cls.sources):
            return importlib.machinery.ModuleSpec(name, None, is_package=True)
        return None

    def get_data(self, _path):
        return self.sources[self.name].encode()

    def path_stats(self, _path):
        raise OSError  # so that no compiled file is looked for, or written


def main():
    """Import what is sent, and hand over."""
    Sent.sources = json.loads(sys.stdin.readline())
    sys.meta_path.insert(0, Sent)
    importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
