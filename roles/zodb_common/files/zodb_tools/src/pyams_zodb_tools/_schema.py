# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zodb-schema FILE.toml... [--storage NAME] [--check] [--json]: makes RelStorage's tables and stored procedures.

As the owner of the database, once before the first client opens it, and again after each change of RelStorage, which
renews its procedures only then. Safe while clients are at work; a second zodb-schema waits for the first.

One line for each storage, "NAME: created", "renewed" or "unchanged" and what was made, or with --json a list of
objects. With --check nothing is changed, and the lines say what would be done.

Exit status: 0 done, 1 refused or failed ("zodb-schema: NAME: sentence" on standard error), 2 wrong usage or
configuration.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from pyams_zodb_tools import _kinds
from pyams_zodb_tools._errors import Failure, Misconfigured, Refused


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="zodb-schema", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+", metavar="FILE.toml")
    parser.add_argument("--storage", metavar="NAME", help="this one only")
    parser.add_argument("--check", action="store_true", help="change nothing, tell what would be done")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    options = parser.parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # RelStorage logs what our sentences say
    results, status = [], 0
    for found in _kinds.load(options.files, options.storage):
        if isinstance(found, Misconfigured):
            result, error = {"service": None, "storage": None}, found
        else:
            result, error = {"service": found.settings.service, "storage": found.storage.name}, None
        result.update(outcome="failed", changes=[], check=options.check, error=None)
        try:
            if error:
                raise error
            result["outcome"], result["changes"] = found.prepare(options.check)
        except Failure as failure:
            result["outcome"] = "refused" if isinstance(failure, Refused) else "failed"
            result["error"] = " ".join(str(failure).split())
            status = max(status, 2 if isinstance(failure, Misconfigured) else 1)
        results.append(result)
    if options.json:
        print(json.dumps(results, indent=2))
    for result in results:
        if result["error"]:
            where = f"{result['storage']}: " if result["storage"] else ""
            print(f"zodb-schema: {where}{result['error']}", file=sys.stderr)
        elif not options.json:
            print(_line(result))
    return status


def _line(result: dict) -> str:
    would = "would be " if result["check"] and result["changes"] else ""
    changes = f" ({', '.join(result['changes'])})" if result["outcome"] == "renewed" else ""
    return f"{result['storage']}: {would}{result['outcome']}{changes}"
