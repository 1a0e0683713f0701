# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): finds a storage, of whichever kind, by its ZConfig text."""

from __future__ import annotations

import io

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Refused, Unreachable, first_line, lacking
from ansible_collections.pyams.zodb.plugins.module_utils._agent_file import File
from ansible_collections.pyams.zodb.plugins.module_utils._agent_mysql import Mysql
from ansible_collections.pyams.zodb.plugins.module_utils._agent_oracle import Oracle
from ansible_collections.pyams.zodb.plugins.module_utils._agent_postgresql import Postgresql
from ansible_collections.pyams.zodb.plugins.module_utils._agent_relational import Relational
from ansible_collections.pyams.zodb.plugins.module_utils._agent_sqlite import Sqlite
from ansible_collections.pyams.zodb.plugins.module_utils._agent_zeo import Zeo

# One storage, or a file as zodbconvert, a ZEO server or an application reads it, without its other parts.
SCHEMA = """
<schema>
  <import package="ZODB"/>
  <multisection type="ZODB.storage" name="*" attribute="storages"/>
  <multisection type="ZODB.database" name="*" attribute="databases"/>
</schema>
"""
STORAGES = {
    "ZODB.config.FileStorage": File,
    "ZODB.config.ZEOClient": Zeo,
    "ZEO.zconfig.ClientStorageConfig": Zeo,
}
# Of a RelStorage, by the section of its database
DATABASES = {"postgresql": Postgresql, "mysql": Mysql, "mariadb": Mysql, "sqlite3": Sqlite, "oracle": Oracle}


def storage(place):
    """Return a storage by its place (see section), to be opened by ``with``."""
    found = section(place)
    factory = type(found).__module__ + "." + type(found).__name__
    if factory == "relstorage.config.RelStorageFactory":
        return DATABASES.get(found.config.adapter.config.getSectionType(), Relational)(found)
    if factory not in STORAGES:
        raise Refused(
            f"<{found.config.getSectionType()}> is no storage that can be looked at without writing to it; name the "
            "storage below it: a filestorage, a ZEO client or a relstorage."
        )
    return STORAGES[factory](found)


def section(place):
    """Return the storage's section as ZConfig reads it; nothing is opened.

    place: text, a ZConfig text with one storage; or file and section, its name in a file.
    """
    import ZConfig.datatypes
    import ZConfig.loader

    # RelStorage's schema asks for existing folders; which one is missing is ours to say.
    registry = ZConfig.datatypes.Registry({**ZConfig.datatypes.stock_datatypes, "existing-dirpath": str})
    try:
        schema = ZConfig.loader.SchemaLoader(registry).loadFile(io.StringIO(SCHEMA))
        if "text" in place:
            found, _handlers = ZConfig.loadConfigFile(schema, io.StringIO(place["text"]))
            return found.storages[0]
        with open(place["file"], encoding="utf-8") as file:
            found, _handlers = ZConfig.loadConfigFile(schema, file)
    except (ImportError, ZConfig.SchemaResourceError) as error:
        raise Refused(lacking(error)) from None
    except ZConfig.ConfigurationError as error:
        raise Refused(f"ZConfig does not accept it: {first_line(error)}") from None
    except UnicodeDecodeError:
        raise Refused(f"{place['file']} is no text in UTF-8; name a file of ZConfig.") from None
    except OSError as error:  # the file itself; certificates are read with the section
        raise Unreachable(f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}.") from None
    name = place["section"].lower()
    known = {one.name: one for one in found.storages}
    known.update((one.name, one.config.storage) for one in found.databases)
    if name not in known:
        names = ", ".join(filter(None, known)) or "none"
        raise Refused(f"{place['file']} has no storage {name}; it has {names}.")
    return known[name]
