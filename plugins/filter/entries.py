# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter pyams.zodb.entries."""

from __future__ import annotations

DOCUMENTATION = r"""
name: entries
short_description: A role's variable, checked and completed by the role's own argument spec
version_added: 0.1.0
description:
  - Checks the value of a variable against C(meta/argument_specs.yml) of its role, gives every number and boolean its
    type, and fills in the defaults, of nested options too. Ansible's own check of a role's arguments does neither.
  - What has no default and was not given is null afterwards, so that no key is ever missing.
    What was given as null counts as not given.
  - Of type V(path), nothing is expanded, since C(~) and C($HOME) are not on the controller what they are on the host.
positional: _input, role_path, option
options:
  _input:
    description: The variable's value.
    type: raw
    required: true
  role_path:
    description: Path of the role.
    type: str
    required: true
  option:
    description: Name of the variable.
    type: str
    required: true
  entry_point:
    description: Entry point of the role whose spec is taken.
    type: str
    default: main
author:
  - pyams.zodb contributors (@Py-AMS)
"""

EXAMPLES = r"""
- name: Show the ZEO servers with all their defaults
  ansible.builtin.debug:
    msg: "{{ zeo_server_instances | pyams.zodb.entries(role_path, 'zeo_server_instances') }}"
"""

RETURN = r"""
_value:
  description: The value with every key of the spec, typed. Plain data, without Ansible's knowledge of its origin.
  type: raw
"""

import functools
import os
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.pyams.zodb.plugins.module_utils._plain import plain

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader

_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def entries(value: Any, role_path: str, option: str, entry_point: str = "main") -> Any:
    """Return the value of a role's variable, checked, completed and typed.

    Raises AnsibleFilterError with the messages of the argument spec, in which the values of no_log options are masked.
    """
    spec = {str(option): _spec(str(role_path), str(option), str(entry_point))}
    given = {str(option): plain(value)}
    errors = _drop_nulls(spec, given)
    if not errors:
        result = ArgumentSpecValidator(spec).validate(given)
        errors = result.error_messages
    if errors:
        message = "\n".join(errors)
        for secret in sorted(_secrets(spec, given), key=len, reverse=True):
            message = message.replace(secret, _HIDDEN)
        raise AnsibleFilterError(message)
    return result.validated_parameters[str(option)]


def _spec(role_path: str, option: str, entry_point: str) -> dict[str, Any]:
    """Return the spec of one option, as it is in the file now."""
    for name in ("argument_specs.yml", "argument_specs.yaml"):
        path = os.path.join(role_path, "meta", name)
        if os.path.exists(path):
            break
    else:
        raise AnsibleFilterError(f"{role_path} has no meta/argument_specs.yml; give the path of a role that has one.")
    options = _options(path, os.stat(path).st_mtime_ns, entry_point)
    if option not in options:
        raise AnsibleFilterError(
            f"{path} has no option {option} for the entry point {entry_point}; name one that it has."
        )
    return options[option]


@functools.lru_cache(maxsize=32)
def _options(path: str, changed: int, entry_point: str) -> dict[str, Any]:
    """Return the options of an entry point. changed: the file's mtime, so that an edited file is read again."""
    with open(path, encoding="utf-8") as stream:
        specs = yaml.load(stream, Loader=SafeLoader)["argument_specs"]
    return _without_paths(specs.get(entry_point, {}).get("options") or {})


def _without_paths(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with the type str for path, for which the validator would expand ~ and $NAME as they are here."""
    result = {}
    for name, option in options.items():
        option = dict(option)
        for key in ("type", "elements"):
            if option.get(key) == "path":
                option[key] = "str"
        if option.get("options"):
            option["options"] = _without_paths(option["options"])
        result[name] = option
    return result


def _drop_nulls(options: dict[str, Any], values: Any, context: tuple[str, ...] = ()) -> list[str]:
    """Take what is null, and has a spec, out of a value: the validator gives a default to what is missing, not to null.

    Returns the errors that the validator would not survive: it looks for the keys of a number ("not iterable").
    """
    errors: list[str] = []
    for name, option in options.items() if isinstance(values, dict) else ():
        if values.get(name) is None:
            values.pop(name, None)
            continue
        inner = option.get("options")
        for value in values[name] if isinstance(values[name], list) else [values[name]]:
            if inner and isinstance(value, (bool, int, float)):
                kind, place = type(value).__name__, f" found in '{' -> '.join(context)}'" if context else ""
                errors.append(f"argument '{name}' is of type {kind}{place} and we were unable to convert to dict.")
            elif inner:
                errors += _drop_nulls(inner, value, (*context, name))
    return errors


def _secrets(options: dict[str, Any], values: Any) -> set[str]:
    """Return the texts that stand under no_log options, also as repr() quotes them."""
    found: set[str] = set()
    if not isinstance(values, dict):
        return found
    for name, option in options.items():
        for value in values.get(name) if isinstance(values.get(name), list) else [values.get(name)]:
            if option.get("no_log"):
                found |= {text for leaf in _leaves(value) for text in (leaf, repr(leaf)[1:-1]) if text}
            elif option.get("options"):
                found |= _secrets(option["options"], value)
    return found


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None else [str(value)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        """Return the filter by its name."""
        return {"entries": entries}
