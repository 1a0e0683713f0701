# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parsing of ZConfig text: every error with its file, line and key, and no value in it.

ZConfig itself loses the key of a bad value, and the line of a bad %import, %include or $; and its datatypes look at
the disk (a folder has to exist, certificates are loaded), which `datatypes` overrides.
"""

from __future__ import annotations

import contextlib
import io
import os
import urllib.parse

import ZConfig.cfgparser
import ZConfig.datatypes
import ZConfig.loader

from pyams_zodb_tools import _settings
from pyams_zodb_tools._errors import Misconfigured, reason

_STORAGE = """<schema>
  <import package="ZODB"/>
  <section type="ZODB.storage" name="*" required="yes" attribute="storage"/>
</schema>"""


def schema(text: str, datatypes: dict):
    """Return a schema, for a file and what it imports, with the given datatypes, by name, instead of ZConfig's."""
    registry = ZConfig.datatypes.Registry({**ZConfig.datatypes.stock_datatypes, **datatypes})
    return ZConfig.loader.SchemaLoader(registry).loadFile(io.StringIO(text))


def load(schema_, source, name: str, rule=lambda section, key, value: None, named=lambda name="": None):
    """Return the configuration that the open file `source` holds. Raises Misconfigured, "NAME:LINE: sentence".

    rule(section type, key, value) and named(section name) may object to what ZConfig would let pass, with a sentence;
    None is consent.
    """
    loader = _Loader(schema_, rule, named)
    loader.name = name
    try:
        return loader.loadFile(source, urllib.parse.urljoin("file:", urllib.parse.quote(name)))[0]
    except Misconfigured:
        raise
    except Exception as error:  # a datatype may raise whatever it likes
        raise _located(error, loader, loader.last) from error


def storage(settings: _settings.Settings, storage_: _settings.Storage, datatypes: dict | None = None):
    """Return what opens the storage of a TOML file, and the name of its zconfig. Raises Misconfigured."""
    name = f"{os.path.abspath(settings.file)}: storages[{settings.storages.index(storage_)}].zconfig"
    return load(schema(_STORAGE, datatypes or {}), io.StringIO(storage_.zconfig), name).storage, name


class _Loader(ZConfig.loader.ConfigLoader):
    def __init__(self, schema_, rule, named):
        super().__init__(schema_)
        self.rule = rule
        self.named = named
        self.keys = {}  # (url, line) -> key
        self.last = None  # the parser at work
        self.name = ""

    def _parse_resource(self, matcher, resource, defines=None):
        outer, self.last = self.last, _Parser(resource, self, defines)
        self.last.parse(matcher)
        self.last = outer or self.last


class _Parser(ZConfig.cfgparser.ZConfigParser):
    def handle_key_value(self, section, rest):
        key, *value = rest.split(None, 1)
        key = key.lower()
        self.context.keys[self.url, self.lineno] = key
        with self._position(key):
            objection = self.context.rule(self.stack[-1][0] if self.stack else "", key, self.replace("".join(value)))
            if objection:
                self.error(objection)
            super().handle_key_value(section, rest)

    def start_section(self, section, rest):
        objection = self.context.named(*rest.rstrip("/ \t").split(None, 1)[1:])
        if objection:
            self.error(objection)
        return super().start_section(section, rest)

    def handle_directive(self, section, rest):
        with self._position(None):
            super().handle_directive(section, rest)

    @contextlib.contextmanager
    def _position(self, key):
        try:
            yield
        except Misconfigured:
            raise
        except Exception as error:
            raise _located(error, self.context, self, key) from error


def _located(error: Exception, loader: _Loader, parser: _Parser | None, key: str | None = None) -> Misconfigured:
    url, line = getattr(error, "url", None), getattr(error, "lineno", None)
    if line is None or line < 0 or url is None:
        url, line = (parser.url, parser.lineno) if parser else (None, 1)
    file = urllib.parse.unquote(urllib.parse.urlsplit(url).path) if url else loader.name
    if isinstance(error, ZConfig.SubstitutionSyntaxError | ZConfig.SubstitutionReplacementError):
        text = "$ stands before a name that is not defined; write $$ for a dollar sign"  # it may be half a password
    elif isinstance(error, ZConfig.SchemaResourceError) and error.package:
        text = f"%import {error.package}: there is no such package in this virtualenv, or it has no component.xml"
    else:
        text = reason(error) if isinstance(error, OSError) else " ".join(str(getattr(error, "message", error)).split())
    if isinstance(error, ZConfig.DataConversionError) and isinstance(error.value, str):
        key = loader.keys.get((url, line))  # converted when its section ended; else the value is the section itself
    if key and not text.startswith((key, repr(key))):
        text = f"{key}: {text}"
    return Misconfigured(f"{file}:{max(line, 1)}: {text}")
