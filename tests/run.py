# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run.py PART...: runs parts of the tests, all of their checks even if one fails; says what passed in which time.

Called by the Makefile, which installs the tools; the other parts of tests/rig/setup are installed here, while checks
that do without them run. A check counts as one, pytest's as the number of its tests. A single check speaks for itself;
of several, only what failed is shown, and each has its whole output in .cache/log/.
SCENARIO (of the part molecule) and TARGET (a file or folder of the part integration) choose one.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOG = ROOT / ".cache" / "log"
LINES = 300  # of a failed check's output
WORKERS = 3  # checks at a time: one of three mostly waits for its hosts, which leaves two cores busy
PYTEST = ["pytest", "-q"]
# What depends most on the versions of Python and ansible-core: templates, a module's run, the roles as installed.
NEWEST = {
    "unit": ["tests/unit"],
    "integration": ["tests/integration/test_zeo_server_refusals.py"],
    "installed": ["tests/release/test_installed.py"],
}
COUNTS = re.compile(r"^(?:=+ )?(?=.*\bin [\d.]+s)((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Check:
    """A command that passes or fails.

    needs: parts of tests/rig/setup. hosts: names of test hosts that no other check may have at the same time.
    """

    name: str
    command: list[str]
    needs: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()


def molecule():
    """Return a check for each scenario, or for that of SCENARIO: hosts first, then what has most hosts and tests."""
    chosen = os.environ.get("SCENARIO")
    files = [path for path in ROOT.glob("molecule/*/molecule.yml") if chosen in (None, path.parent.name)]
    if not files:
        raise SystemExit(f"molecule: there is no scenario {chosen}.")

    def order(file):
        tests = sum(path.read_text(encoding="utf-8").count("def test_") for path in file.parent.glob("tests/*.py"))
        machines = len(yaml.safe_load(file.read_text(encoding="utf-8"))["platforms"])
        return file.parent.name != "hosts", -machines, -tests

    return [scenario(file) for file in sorted(files, key=order)]


def scenario(file):
    """Return the check of a molecule.yml."""
    platforms = yaml.safe_load(file.read_text(encoding="utf-8"))["platforms"]
    name = file.parent.name
    command = ["tests/rig/rig", "molecule", "test", "-s", name]
    return Check(f"molecule {name}", command, ("hosts",), frozenset(platform["name"] for platform in platforms))


def unit():
    """Return the unit tests: of the collection, of what runs on hosts with the oldest Python, of the tools."""
    tools = "roles/zodb_common/files/zodb_tools"
    modules = [f"tests/unit/plugins/{kind}" for kind in ("module_utils", "modules")]
    present = [path for path in modules if (ROOT / path).exists()]
    apart = {"tools": ("tools", ["--rootdir", tools, f"{tools}/tests"])}
    # Asked for the Python itself, not for its virtualenv, which is yet to be made.
    if subprocess.run(["tests/rig/setup", "oldest"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout:
        apart["unit, Python 3.9"] = ("oldest", ["-p", "no:cacheprovider", *present])
    return [
        Check("unit", [*PYTEST, "tests/unit"]),
        # By env, so that a Python that could not be installed is a check that failed.
        *(
            Check(name, ["env", f".cache/{folder}/bin/python", "-m", *PYTEST, *words], ("units",))
            for name, (folder, words) in apart.items()
        ),
    ]


def integration():
    """Return the integration tests as checks of their own for what lasts longest, or those of TARGET as one."""
    target = os.environ.get("TARGET")
    if target:
        return [Check("integration", [*PYTEST, target], ("storages",))]
    long = ("modules_zodbconvert", "playbook_migrate", "postgresql_versions")
    apart = {name: f"tests/integration/test_{name}.py" for name in long}
    rest = [word for path in apart.values() for word in ("--ignore", path)]
    return [
        *(
            Check(f"integration {name.partition('_')[2]}", [*PYTEST, path], ("storages",))
            for name, path in apart.items()
        ),
        Check("integration, the rest", [*PYTEST, "tests/integration", *rest], ("storages",)),
    ]


PARTS = {
    "lint": lambda: [
        Check("yamllint", ["yamllint", "--strict", "."]),
        Check("ruff check", ["ruff", "check", "--output-format", "concise", "."]),
        Check("ruff format", ["ruff", "format", "--check", "."]),
        Check("ansible-lint", ["ansible-lint", "--strict"]),
        Check("changelog", ["antsibull-changelog", "lint"]),
    ],
    "docs": lambda: [
        Check(
            "documentation",
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."],
        ),
        Check("READMEs", [sys.executable, "tests/readmes.py"]),
    ],
    "sanity": lambda: [Check("ansible-test sanity", ["tests/rig/ansible-test", "sanity", "--venv"])],
    "unit": unit,
    "integration": integration,
    # As installed, it is run by the part newest.
    "release": lambda: [Check("release", [*PYTEST, "tests/release", "--ignore", NEWEST["installed"][0]], ("release",))],
    "newest": lambda: [
        Check(
            f"Python 3.13 {what}",
            ["tests/rig/rig", "tests/rig/newest", *PYTEST, "-p", "no:cacheprovider", *paths],
            ("release", "hosts"),
            frozenset(["zodb-newest"]),
        )
        for what, paths in NEWEST.items()
    ],
    "molecule": molecule,
    "cost": lambda: [Check("cost, in tasks", ["tests/rig/rig", *PYTEST, "tests/bench", "-k", "rarely"], ("hosts",))],
    "bench": lambda: [Check("bench", ["tests/rig/rig", *PYTEST, "-s", "tests/bench"], ("storages", "hosts"))],
}


def environment():
    """Return the environment of every check: tools of .venv, collections of .collections, no colours in logs."""
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    collections = str(ROOT / ".collections")
    found = {**os.environ, "PATH": path, "ANSIBLE_COLLECTIONS_PATH": collections, "PYTHONPATH": collections}
    found.pop("PYTHONDONTWRITEBYTECODE", None)  # thousands of processes would compile the same modules
    if not sys.stdout.isatty():
        found.update(NO_COLOR="1", ANSIBLE_NOCOLOR="true", MOLECULE_COMMAND_BORDERS="0")
    return found


def drive(checks):
    """Run the checks, WORKERS at a time, the first whose hosts are free and whose needs are installed.

    Return run()'s results by name, of a part of the setup only if it failed.
    """
    waiting, taken, results, ready = list(checks), set(), {}, set()
    free = threading.Condition()

    def install(part):
        name = f"setup {part}"
        result = run(Check(name, ["tests/rig/setup", part]), show=len(checks) == 1)
        with free:
            if result[2]:
                results[name] = result
            ready.add(part)  # also if that failed: so does each check that needs it, and says what it lacks
            free.notify_all()
        print(f"{'failed' if result[2] else 'passed'} {name} ({result[0]:.0f} s)", flush=True)

    def work():
        while True:
            with free:
                while waiting:
                    check = next(
                        (check for check in waiting if not check.hosts & taken and ready.issuperset(check.needs)), None
                    )
                    if check:
                        break
                    free.wait()
                else:
                    return
                waiting.remove(check)
                taken.update(check.hosts)
            try:
                results[check.name] = run(check, show=len(checks) == 1)
            finally:
                with free:
                    taken.difference_update(check.hosts)
                    free.notify_all()
            seconds, _passed, failed = results[check.name]
            print(f"{'failed' if failed else 'passed'} {check.name} ({seconds:.0f} s)", flush=True)

    needed = list(dict.fromkeys(part for check in checks for part in check.needs))
    workers = [threading.Thread(target=install, args=[part]) for part in needed]
    workers += [threading.Thread(target=work) for _worker in range(min(WORKERS, len(checks)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results


def run(check, show):
    """Run one check; return seconds, passed and failed."""
    name, command = check.name, check.command
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
    checks = [check for part in parts for check in PARTS[part]()]
    results = drive(checks)
    if len(checks) > 1:
        print(f"\n{'':28}{'seconds':>8}{'passed':>8}{'failed':>8}")
        for name, (seconds, passed, failed) in results.items():
            print(f"{name:28}{seconds:8.0f}{passed:8}{failed:8}")
        print(f"{'all':28}{time.monotonic() - start:8.0f}")
    passed = sum(result[1] for result in results.values())
    failed = sum(result[2] for result in results.values())
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
