# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RelStorage on MariaDB: the section ``<mariadb>``, experimental, since RelStorage itself is not tested with it.

RelStorage asks the server's version for what it can do, and takes MariaDB's 10 and 11 for newer than MySQL 8.
"""

from __future__ import annotations

from relstorage.adapters.mysql import MySQLAdapter
from relstorage.adapters.mysql.schema import MySQLVersionDetector
from relstorage.config import MySQLAdapterFactory


class MariaDBVersionDetector(MySQLVersionDetector):
    """Answers for the MySQL that MariaDB is like: with good stored procedures, without what came with 8.0.

    That is ``AS excluded`` of an upsert, a syntax error in MariaDB, and ``FOR SHARE NOWAIT``.
    """

    def _fetch_version_from_server(self, _cursor) -> str:
        return "5.7.19"


class MariaDBAdapterFactory(MySQLAdapterFactory):
    """Makes the adapter of a ``<mariadb>`` section."""

    def create(self, options) -> MySQLAdapter:
        """Return an adapter with the section's parameters, as MySQL's own factory does."""
        given = {key: getattr(self.config, key) for key in self.config.getSectionAttributes() if key != "driver"}
        parameters = {key: value for key, value in given.items() if value is not None}
        return MySQLAdapter(options=options, version_detector=MariaDBVersionDetector(), **parameters)
