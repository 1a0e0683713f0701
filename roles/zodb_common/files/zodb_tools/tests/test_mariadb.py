# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The section <mariadb>, read by ZConfig and opened as far as it goes without a server."""

from __future__ import annotations

import io

import pymysql
import pytest
import ZConfig
import ZODB.config
from relstorage.options import Options

TEXT = """
%import relstorage
%import pyams_zodb_tools
<relstorage>
  keep-history false
  <mariadb>
    host 127.0.0.1
    port 1
    db site
    passwd two words
    driver PyMySQL
  </mariadb>
</relstorage>
"""


@pytest.fixture
def section():
    schema = ZODB.config.getStorageSchema()
    return ZConfig.loadConfigFile(schema, io.StringIO(TEXT))[0].storage.config.adapter


def test_it_has_the_keys_of_mysql(section):
    assert (section.config.host, section.config.port, section.config.db) == ("127.0.0.1", 1, "site")
    assert {"two words"} == {section.config.passwd}


def test_it_does_without_what_only_mysql_8_has(section):
    detector = section.create(Options(keep_history=False, driver="PyMySQL")).version_detector
    assert not detector.requires_values_upsert_alias(None)
    assert not detector.supports_nowait(None)
    assert detector.supports_good_stored_procs(None)
    assert detector.get_major_version(None) == 5


def test_its_storage_is_relstorage_s(section):
    with pytest.raises(pymysql.err.OperationalError, match=r"Can't connect to MySQL server on '127.0.0.1'"):
        ZODB.config.storageFromString(TEXT)
