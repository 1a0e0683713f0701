# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A default is written once; where Ansible wants it twice, a role's defaults and its specs must say the same."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROLES = pathlib.Path(__file__).parents[2] / "roles"
SPECS = {path.parents[1].name: path for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))}
DEFAULTS = {path.parents[1].name: path for path in sorted(ROLES.glob("*/defaults/main.yml"))}
FALLBACK = re.compile(r"\{\{ (zodb_\w+) \| default\((.+)\) \}\}")


def load(path):
    return yaml.safe_load(path.read_text())


def specs(role):
    """Return the entry points of a role: name -> options."""
    return {name: spec.get("options", {}) for name, spec in load(SPECS[role])["argument_specs"].items()}


def fallback(value):
    """Return (variable of the collection, literal) of a default that has one, else (null, the default)."""
    match = FALLBACK.fullmatch(value) if isinstance(value, str) else None
    return (match[1], yaml.safe_load(match[2])) if match else (None, value)


def options_of(options, above=""):
    """Yield (path, option) of the options of a spec at every depth."""
    for name, option in options.items():
        yield above + name, option
        yield from options_of(option.get("options", {}), f"{above}{name}.")


def test_every_role_has_specs():
    assert list(SPECS) == sorted(path.name for path in ROLES.iterdir() if path.is_dir())


@pytest.mark.parametrize("role", DEFAULTS)
def test_defaults_are_the_roles_own_and_templates_are_fallbacks(role):
    defaults = load(DEFAULTS[role])
    assert [name for name in defaults if not name.startswith(role + "_")] == []
    assert [name for name, value in defaults.items() if "{{" in str(value) and not fallback(value)[0]] == []


@pytest.mark.parametrize("role", DEFAULTS)
def test_specs_have_the_defaults_and_nothing_else(role):
    defaults = {name: fallback(value)[1] for name, value in load(DEFAULTS[role]).items()}
    for entry_point, options in specs(role).items():
        assert {name: option.get("default") for name, option in options.items()} == defaults, entry_point
        assert [name for name, option in options.items() if "default" not in option] == [], entry_point


@pytest.mark.parametrize("role", DEFAULTS)
def test_specs_tell_the_variable_of_the_collection(role):
    told = {name: fallback(value)[0] for name, value in load(DEFAULTS[role]).items()}
    for options in specs(role).values():
        for name, option in options.items():
            said = re.findall(r"C\((zodb_\w+)\) sets it for every role", option["description"])
            assert said == ([told[name]] if told[name] else []), name


def test_a_variable_of_the_collection_falls_back_to_the_same_everywhere():
    literals = {}
    for role, path in DEFAULTS.items():
        for value in load(path).values():
            variable, literal = fallback(value)
            if variable:
                literals.setdefault(variable, {}).setdefault(repr(literal), []).append(role)
    assert {variable: found for variable, found in literals.items() if len(found) > 1} == {}


def test_a_variable_of_the_collection_is_no_roles_own():
    """Else a role that is included with it set from another's variable would define it by itself."""
    own = {name for path in DEFAULTS.values() for name in load(path)}
    variables = {fallback(value)[0] for path in DEFAULTS.values() for value in load(path).values()} - {None}
    assert own & variables == set()


@pytest.mark.parametrize("role", SPECS)
def test_every_option_has_a_type_and_a_description(role):
    wrong = [
        (entry_point, name)
        for entry_point, options in specs(role).items()
        for name, option in options_of(options)
        if not option.get("description")
        or not option.get("type")
        or (option["type"] == "list" and "elements" not in option)
    ]
    assert wrong == []


@pytest.mark.parametrize("role", DEFAULTS)
def test_tasks_and_templates_have_no_default_of_a_public_variable(role):
    names = "|".join(load(DEFAULTS[role]))
    again = re.compile(rf"\b({names})\b(\.\w+|\[[^\]]+\])*\s*\|\s*(ansible\.builtin\.)?(default|d)\(")
    files = [path for part in ("tasks", "handlers", "templates", "vars") for path in (ROLES / role / part).rglob("*.*")]
    assert [(path.name, match[0]) for path in files for match in again.finditer(path.read_text())] == []
