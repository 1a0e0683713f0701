# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run.py PART...: runs parts of the tests, all of their checks even if one fails; says what passed in which time.

Called by the Makefile, which installs what they need. A check counts as one, pytest's as the number of its tests. A
single check speaks for itself; of several, only what failed is shown, and each has its whole output in .cache/log/.
SCENARIO (of the part molecule) and TARGET (a file or folder of the part integration) choose one.
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOG = ROOT / ".cache" / "log"
LINES = 300  # of a failed check's output
PYTEST = ["pytest", "-q"]
# What depends most on the versions of Python and ansible-core: templates, a module's run, the roles as installed.
NEWEST = {
    "unit": ["tests/unit"],
    "integration": ["tests/integration/test_zeo_server_refusals.py", "tests/integration/test_modules_host_info.py"],
    "installed": ["tests/release/test_installed.py"],
}
COUNTS = re.compile(r"^(?:=+ )?(?=.*\bin [\d.]+s)((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.MULTILINE)


def molecule():
    """Return a check for each scenario, or for that of SCENARIO."""
    chosen = os.environ.get("SCENARIO")
    names = [chosen] if chosen else sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    return [(f"molecule {name}", ["tests/rig/rig", "molecule", "test", "-s", name]) for name in names]


def unit():
    """Return the unit tests: of the collection, of what runs on hosts with the oldest Python, of the tools."""
    tools = "roles/zodb_common/files/zodb_tools"
    checks = [("unit", [*PYTEST, "tests/unit"])]
    if shutil.which(".cache/oldest/bin/python"):
        modules = [f"tests/unit/plugins/{kind}" for kind in ("module_utils", "modules")]
        present = [path for path in modules if (ROOT / path).exists()]
        checks.append(
            ("unit, Python 3.9", [".cache/oldest/bin/python", "-m", *PYTEST, "-p", "no:cacheprovider", *present])
        )
    return [*checks, ("tools", [".cache/tools/bin/python", "-m", *PYTEST, "--rootdir", tools, f"{tools}/tests"])]


PARTS = {
    "lint": lambda: [
        ("yamllint", ["yamllint", "--strict", "."]),
        ("ruff check", ["ruff", "check", "--output-format", "concise", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("ansible-lint", ["ansible-lint", "--strict"]),
        ("changelog", ["antsibull-changelog", "lint"]),
    ],
    "docs": lambda: [
        (
            "documentation",
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."],
        ),
        ("READMEs", [sys.executable, "tests/readmes.py"]),
    ],
    "sanity": lambda: [("ansible-test sanity", ["tests/rig/ansible-test", "sanity", "--venv"])],
    "unit": unit,
    "integration": lambda: [("integration", [*PYTEST, os.environ.get("TARGET", "tests/integration")])],
    "release": lambda: [("release", [*PYTEST, "tests/release"])],
    "newest": lambda: [
        (f"Python 3.13 {what}", ["tests/rig/rig", "tests/rig/newest", *PYTEST, "-p", "no:cacheprovider", *paths])
        for what, paths in NEWEST.items()
    ],
    "molecule": molecule,
    "cost": lambda: [("cost, in tasks", ["tests/rig/rig", *PYTEST, "tests/bench", "-k", "rarely"])],
    "bench": lambda: [("bench", ["tests/rig/rig", *PYTEST, "-s", "tests/bench"])],
}


def environment():
    """Return the environment of every check: tools of .venv, collections of .collections, no colours in logs."""
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    collections = str(ROOT / ".collections")
    found = {**os.environ, "PATH": path, "ANSIBLE_COLLECTIONS_PATH": collections, "PYTHONPATH": collections}
    if not sys.stdout.isatty():
        found.update(NO_COLOR="1", ANSIBLE_NOCOLOR="true", MOLECULE_COMMAND_BORDERS="0")
    return found


def run(name, command, show):
    """Run one check; return seconds, passed and failed."""
    log = LOG / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.log"
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for line in process.stdout:
            text = line.decode(errors="replace")
            file.write(text)
            if show:
                print(text, end="", flush=True)
    code = process.wait()
    seconds = time.monotonic() - start
    text = log.read_text(encoding="utf-8")
    passed, failed = (0, 1) if code else (1, 0)
    if "pytest" in command:
        counts = {
            word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", (COUNTS.findall(text) or [""])[-1])
        }
        passed = counts.get("passed", 0)
        # Whatever was not proven counts as failed, a run of no tests too.
        unproven = sum(
            number for word, number in counts.items() if word not in ("passed", "deselected", "warning", "warnings")
        )
        failed = max(failed, unproven, 0 if passed else 1)
    if code < 0:
        print(f"----- {name} was killed by {signal.Signals(-code).name}")
    if failed and not show:
        print(
            f"----- {name}\n" + "".join(text.splitlines(keepends=True)[-LINES:]) + f"----- {name}, all of it in {log}"
        )
    return seconds, passed, failed


def main(parts):
    """Run the parts, print the table and the closing line."""
    LOG.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    lanes = [
        [check for part in parts if (part == "molecule") is hosts for check in PARTS[part]()] for hosts in (False, True)
    ]
    checks = [*lanes[0], *lanes[1]]
    results = {}

    def drive(lane):
        for name, command in lane:
            results[name] = run(name, command, show=len(checks) == 1)
            seconds, _passed, failed = results[name]
            print(f"{'failed' if failed else 'passed'} {name} ({seconds:.0f} s)", flush=True)

    # Scenarios share the names of their hosts, so they come one after the other; all else goes on beside them.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(drive, lanes))
    if len(checks) > 1:
        print(f"\n{'':28}{'seconds':>8}{'passed':>8}{'failed':>8}")
        for name, _command in checks:
            seconds, passed, failed = results[name]
            print(f"{name:28}{seconds:8.0f}{passed:8}{failed:8}")
        print(f"{'all':28}{time.monotonic() - start:8.0f}")
    passed = sum(result[1] for result in results.values())
    failed = sum(result[2] for result in results.values())
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
