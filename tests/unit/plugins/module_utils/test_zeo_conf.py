# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of runzeo, as this role and as others wrote them."""

from __future__ import annotations

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_conf import parse

SCAFFOLD = """\
# ZEO configuration
%define INSTANCE /srv/pyams/env/zeo_server
%define VAR ${instance}/var

<zeo>
  Address 8100
  read-only false
  authentication-protocol digest
  authentication-database $INSTANCE/etc/auth.db
</zeo>

<filestorage pyams>
  path $VAR/Data.fs
  blob-dir ${VAR}/blobs
</filestorage>

<eventlog>
  <logfile>
    path $INSTANCE/log/zeo.log
  </logfile>
</eventlog>
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            SCAFFOLD,
            {
                "address": "8100",
                "storages": {
                    "pyams": {
                        "path": "/srv/pyams/env/zeo_server/var/Data.fs",
                        "blob_dir": "/srv/pyams/env/zeo_server/var/blobs",
                    }
                },
            },
            id="old scaffold",
        ),
        pytest.param("", {"address": None, "storages": {}}, id="empty"),
        pytest.param(
            "<zeo>\naddress localhost:8100\n</zeo>\n<blobstorage A>\nblob-dir b\n<filestorage>\npath ./Data.fs\n"
            "</filestorage>\n</blobstorage>\n<filestorage>\npath /x$$y/Data.fs\n</filestorage>\n",
            {
                "address": "localhost:8100",
                "storages": {
                    "a": {"path": "/tree/Data.fs", "blob_dir": "/tree/b"},
                    "1": {"path": "/x$y/Data.fs", "blob_dir": None},
                },
            },
            id="blobstorage, no name, relative paths",
        ),
        pytest.param(
            "<zeo>\n  <ssl>\n  address 1\n  </ssl>\n</zeo>\n<mappingstorage m/>\n<zlibstorage z>\n"
            "<filestorage>\npath /z\n</filestorage>\n</zlibstorage>\n<filestorage f>\nblob-dir /f\n</filestorage>\n",
            {"address": None, "storages": {}},
            id="what is of another kind, or without a path, is passed over",
        ),
        pytest.param("</zeo>\n<\n%define\npath\n<zeo", {"address": None, "storages": {}}, id="nonsense"),
    ],
)
def test_parse(text, expected):
    assert parse(text, "/tree") == expected
