# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter entries, over a role with a spec of every sort and Ansible's own validator."""

from __future__ import annotations

import os
import pathlib
import textwrap

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.pyams.zodb.plugins.filter.entries import entries

SPEC = """
argument_specs:
  main:
    options: &options
      things:
        description: Things.
        type: list
        elements: dict
        options:
          name: {type: str, required: true}
          port: {type: int, default: 8100}
          enabled: {type: bool, default: true}
          level: {type: str, choices: [low, high], default: low}
          folder: {type: path}
          folders: {type: list, elements: path}
          secret: {type: str, no_log: true, choices: [open-sesame]}
          secrets: {type: dict, no_log: true}
          free: {type: raw}
          pack:
            type: dict
            default: {}
            options:
              days: {type: int, default: 1}
              schedule: {type: str, default: Sun 03:00}
          tls:
            type: dict
            options:
              cert: {type: str, required: true}
              hosts: {type: list, elements: str, default: []}
          parts:
            type: list
            elements: dict
            options:
              name: {type: str, required: true}
              size: {type: int, default: 3}
      one: {description: A dictionary., type: dict, options: {port: {type: int, default: 8100}}}
      plain: {description: A number., type: int, default: 7}
  server:
    options: *options
  client:
    options:
      other: {type: str, default: x}
"""

COMPLETE = {
    "name": "a",
    "port": 8100,
    "enabled": True,
    "level": "low",
    "folder": None,
    "folders": None,
    "secret": None,
    "secrets": None,
    "free": None,
    "pack": {"days": 1, "schedule": "Sun 03:00"},
    "tls": None,
    "parts": None,
}


@pytest.fixture(scope="module")
def role(tmp_path_factory):
    path = tmp_path_factory.mktemp("role")
    path.joinpath("meta").mkdir()
    path.joinpath("meta", "argument_specs.yml").write_text(SPEC)
    return path


@pytest.mark.parametrize(
    ("given", "differs"),
    [
        pytest.param({}, {}, id="a name is a complete entry"),
        pytest.param({"port": "8101"}, {"port": 8101}, id="a number as text"),
        pytest.param({"enabled": "no"}, {"enabled": False}, id="a boolean as text"),
        pytest.param({"port": None, "pack": None, "tls": None}, {}, id="null is not given"),
        pytest.param({"pack": {"days": "2"}}, {"pack": {"days": 2, "schedule": "Sun 03:00"}}, id="half a dictionary"),
        pytest.param({"pack": {"days": None}}, {}, id="null in a dictionary"),
        pytest.param({"tls": {"cert": "x"}}, {"tls": {"cert": "x", "hosts": []}}, id="a dictionary without default"),
        pytest.param(
            {"parts": [{"name": "x"}, {"name": "y", "size": "4"}, {"name": "z", "size": None}]},
            {"parts": [{"name": "x", "size": 3}, {"name": "y", "size": 4}, {"name": "z", "size": 3}]},
            id="a list in the list",
        ),
        pytest.param(
            {"folder": "~/$HOME/x", "folders": ["~"]},
            {"folder": "~/$HOME/x", "folders": ["~"]},
            id="a path of the host",
        ),
        pytest.param({"free": {"a": None, "b": [None]}}, {"free": {"a": None, "b": [None]}}, id="null in what is free"),
        pytest.param({"secret": "open-sesame"}, {"secret": "open-sesame"}, id="a secret"),
    ],
)
def test_an_entry_is_completed(role, given, differs):
    assert entries([{"name": "a", **given}], role, "things") == [{**COMPLETE, **differs}]


def test_other_variables_than_lists(role):
    assert entries({"port": "1"}, role, "one") == {"port": 1}
    assert entries("9", role, "plain") == 9
    assert entries(None, role, "plain") == 7
    assert entries([], role, "things") == []


def test_another_entry_point(role):
    assert entries([{"name": "a"}], role, "things", "server") == [COMPLETE]
    assert entries(None, role, "other", entry_point="client") == "x"


def test_what_was_given_is_left_alone(role):
    given = [{"name": "a", "port": None, "pack": {"days": "1"}}]
    entries(given, role, "things")
    assert given == [{"name": "a", "port": None, "pack": {"days": "1"}}]


def types_within(value):
    if isinstance(value, dict):
        return {type(value)}.union(*(types_within(item) for pair in value.items() for item in pair))
    if isinstance(value, list):
        return {type(value)}.union(*(types_within(item) for item in value))
    return {type(value)}


def test_no_tag_of_ansible_is_left(role):
    given = DataLoader().load("[{name: a, port: 8101, enabled: false, free: {x: [1.5, y]}, parts: [{name: z}]}]")
    assert str not in types_within(given)
    assert types_within(entries(given, role, "things")) == {dict, list, str, int, bool, float, type(None)}


def test_an_edited_spec_is_read_again(tmp_path):
    tmp_path.joinpath("meta").mkdir()
    spec = tmp_path / "meta" / "argument_specs.yml"
    for default in (1, 2):
        spec.write_text(f"argument_specs: {{main: {{options: {{x: {{type: int, default: {default}}}}}}}}}")
        os.utime(spec, (default, default))
        assert entries(None, tmp_path, "x") == default


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            [{"name": "a", "pack": {"dayz": 1}}],
            "things.pack.dayz. Supported parameters include: days, schedule.",
            id="misspelt",
        ),
        pytest.param(
            [{"name": "a", "parts": [{"name": "x", "sise": 1}]}],
            "things.parts.sise. Supported parameters include: name, size.",
            id="misspelt in the list in the list",
        ),
        pytest.param([{"port": 1}], "missing required arguments: name found in things", id="missing"),
        pytest.param([{"name": None}], "missing required arguments: name found in things", id="null where required"),
        pytest.param(
            [{"name": "a", "tls": {}}], "missing required arguments: cert found in things -> tls", id="missing inside"
        ),
        pytest.param(
            [{"name": "a", "port": "x"}],
            "argument 'port' is of type str found in 'things'. and we were unable to convert to int: "
            "\"'x'\" cannot be converted to an int",
            id="no number",
        ),
        pytest.param(
            [{"name": "a", "level": "mid"}],
            "value of level must be one of: low, high, got: mid found in things",
            id="no choice",
        ),
        pytest.param(
            [{"name": "a", "pack": 7}],
            "argument 'pack' is of type int found in 'things' and we were unable to convert to dict.",
            id="a number for a dictionary",
        ),
        pytest.param(
            [True],
            "argument 'things' is of type bool and we were unable to convert to dict.",
            id="a boolean for an entry",
        ),
        pytest.param(
            [{"name": "a", "secret": "swordfish"}],
            "value of secret must be one of: open-sesame, got: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER found in things",
            id="a secret that is no choice",
        ),
        pytest.param(
            [{"name": "a", "secret": "sword'fish\n", "port": "sword'fish\n"}],
            "argument 'port' is of type str found in 'things'. and we were unable to convert to int: "
            '""VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"" cannot be converted to an int\n'
            "value of secret must be one of: open-sesame, got: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER found in things",
            id="a secret elsewhere, quoted",
        ),
        pytest.param(
            [{"name": "a", "secrets": {"db": ["swordfish"]}, "level": "swordfish"}],
            "value of level must be one of: low, high, got: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER found in things",
            id="a secret in a dictionary",
        ),
    ],
)
def test_refused(role, given, message):
    with pytest.raises(AnsibleFilterError) as error:
        entries(given, role, "things")
    assert error.value.message == message


@pytest.mark.parametrize(
    ("path", "option", "message"),
    [
        pytest.param(
            "/nowhere",
            "things",
            "/nowhere has no meta/argument_specs.yml; give the path of a role that has one.",
            id="no role",
        ),
        pytest.param(
            None,
            "thongs",
            "{role}/meta/argument_specs.yml has no option thongs for the entry point main; name one that it has.",
            id="no option",
        ),
    ],
)
def test_no_spec(role, path, option, message):
    with pytest.raises(AnsibleFilterError) as error:
        entries([], path or role, option)
    assert error.value.message == message.format(role=role)


def test_the_collection_s_own_roles_are_read():
    roles = pathlib.Path(__file__).parents[4] / "roles"
    (instance,) = entries([{"name": "pyams"}], roles / "zeo_server", "zeo_server_instances")
    assert instance["pack"]["schedule"] == "Sun 03:00"
    assert instance["tls"] is None


def test_the_spec_of_the_documentation_is_no_python(role):
    """An argument spec is YAML: a tag that would make a Python object of it is refused."""
    evil = role / "evil"
    evil.joinpath("meta").mkdir(parents=True)
    evil.joinpath("meta", "argument_specs.yml").write_text(
        textwrap.dedent("""\
        argument_specs: !!python/object/apply:os.getcwd []
        """)
    )
    with pytest.raises(Exception, match="could not determine a constructor"):
        entries([], evil, "things")
