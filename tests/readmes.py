# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""readmes.py [--write]: the parts of the READMEs that are made from meta/argument_specs.yml.

A role's README.md has pairs of lines <!-- NAME: made by tests/readmes.py --> and <!-- end of NAME -->. Between them
stand the role's entry points (NAME entry-points) and its variables (NAME variables). Without --write, says which
READMEs are not as the specs are, or lack a pair, and what README.md does not name of roles, playbooks, modules and
filters; exit status 1 if there is any.
"""

from __future__ import annotations

import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(write):
    """Compare or write every README; return the exit status."""
    wrong = []
    for role in sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()):
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        made = {"entry-points": entry_points(specs), "variables": variables(specs)}
        path = role / "README.md"
        old = text = path.read_text(encoding="utf-8") if path.exists() else ""
        for name, content in made.items():
            begin, end = f"<!-- {name}: made by tests/readmes.py -->", f"<!-- end of {name} -->"
            if begin not in text or end not in text.partition(begin)[2]:
                wrong.append(f"{path.relative_to(ROOT)}: the lines {begin} and {end} are not there; add them.")
                continue
            head, _begin, rest = text.partition(begin)
            text = f"{head}{begin}\n\n{content}\n\n{end}{rest.partition(end)[2]}"
        if text != old and write:
            path.write_text(text, encoding="utf-8")
        elif text != old:
            wrong.append(f"{path.relative_to(ROOT)}: is not as meta/argument_specs.yml is; run make readmes.")
    readme = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else ""
    for kind, paths in (
        ("role", [path for path in (ROOT / "roles").iterdir() if path.is_dir()]),
        ("module", (ROOT / "plugins" / "modules").glob("*.py")),
        ("filter", (ROOT / "plugins" / "filter").glob("*.py")),
        ("playbook", (ROOT / "playbooks").glob("*.yml")),
    ):
        wrong += [
            f"README.md: does not name the {kind} {path.stem}; add it, or say that it is internal."
            for path in sorted(paths)
            if f"`{path.stem}`" not in readme
        ]
    print("\n".join(wrong) or "The READMEs are as the specs are.")
    return 1 if wrong else 0


def entry_points(specs):
    """Return the table of a role's entry points."""
    rows = [
        ("`main`, of itself" if name == "main" else f"`tasks_from: {name}`", markdown(spec["short_description"]))
        for name, spec in specs.items()
    ]
    return table(("Entry point", "What it does"), rows)


def variables(specs):
    """Return the tables of a role's variables: those of an entry point that are unlike the others', and each list's."""
    groups = {}
    for name, spec in specs.items():
        groups.setdefault(repr(spec["options"]), ([], spec["options"]))[0].append(name)
    parts = []
    for names, options in groups.values():
        if len(groups) > 1:
            parts.append("For " + ", ".join(f"`tasks_from: {name}`" for name in names) + ":")
        parts.append(table(HEAD, [row(name, option) for name, option in options.items()]))
        for name, option in options.items():
            if option.get("options"):
                parts.append(f"An entry of `{name}`:")
                parts.append(table(HEAD, list(rows(option["options"], name + "[].", name))))
    return "\n\n".join(parts)


HEAD = ("Variable", "Type", "Default", "Meaning")


def rows(options, above, variable):
    """Yield a row for each option at every depth; above is what its name begins with."""
    for name, option in options.items():
        yield row(above + name, option, variable)
        if option.get("options"):
            brackets = "[]" if option["type"] == "list" else ""
            yield from rows(option["options"], f"{above}{name}{brackets}.", variable)


def row(name, option, variable=""):
    """Return (variable, type, default, meaning) of an option."""
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    default = option.get("default")
    if option.get("required"):
        shown = "required"
    elif default is None:
        shown = ""
    else:
        shown = f"`{yaml.safe_dump(default, default_flow_style=True, width=1000).splitlines()[0]}`"
    meaning = markdown(option["description"], variable)
    if "choices" in option:
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
    return f"`{name}`", kind, shown, meaning


def markdown(text, variable=""):
    """Return Ansible's markup as Markdown, in one line. Options of a variable's entry lose the variable's name."""
    paragraphs = text if isinstance(text, list) else [text]
    text = " ".join(" ".join(str(paragraph).split()) for paragraph in paragraphs)

    def plain(match):
        kind, value = match.groups()
        if kind == "O" and variable:
            value = value.removeprefix(variable + ".")
        return "`" + (value.replace("=", ": ") if kind == "O" else value.partition("#")[0]) + "`"

    return re.sub(r"\b([CVOMPE])\(([^)]*)\)", plain, text)


def table(head, body):
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
