# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter zconfig hands its arguments on and turns refusals into errors of Ansible; the texts are test_storage's."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.pyams.zodb.plugins.filter.zconfig import zconfig

MAPPING = {"zconfig": "<mappingstorage/>"}
ZEO = {"zeo": {"server": "zeo:8100", "storage": "pyams", "blob_dir": "/srv/cache"}}


@pytest.mark.parametrize(
    ("description", "arguments", "expected"),
    [
        pytest.param(MAPPING, {}, "<mappingstorage/>\n", id="storage"),
        pytest.param(MAPPING, {"name": "source"}, "<mappingstorage source/>\n", id="storage with a name"),
        pytest.param(
            MAPPING,
            {"kind": "zodb"},
            "<zodb main>\n  database-name main\n  pool-size 7\n  cache-size 30000\n  <mappingstorage/>\n</zodb>\n",
            id="database",
        ),
        pytest.param(
            MAPPING,
            {"kind": "zodb_db", "name": "catalog", "pool_size": "2", "cache_size": 9, "mount_point": "/catalog"},
            "<zodb_db catalog>\n  database-name catalog\n  pool-size 2\n  cache-size 9\n  mount-point /catalog\n"
            "  <mappingstorage/>\n</zodb_db>\n",
            id="database of Zope",
        ),
    ],
)
def test_zconfig(description, arguments, expected):
    assert zconfig(description, **arguments) == expected


def test_a_packer_gets_no_cache_of_blobs():
    assert "blob-dir /srv/cache\n" in zconfig(ZEO)
    assert "blob-dir" not in zconfig(ZEO, kind="pack")


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        pytest.param("{zeo: {server: 8100}}", {}, "zeo.storage is missing; give it.", id="description"),
        pytest.param(
            "{zeo: 3}",
            {},
            "zeo is of type int, not a dictionary; its options are server, storage, blob_dir, shared_blob_dir, "
            "blob_cache_size, cache_size, server_sync, wait_timeout, client_label, read_only, read_only_fallback, tls.",
            id="type, by Python's own name",
        ),
        pytest.param(
            "{zconfig: <a/>}", {"kind": "zope"}, 'kind "zope" is none of storage, pack, zodb, zodb_db.', id="kind"
        ),
    ],
)
def test_refused(text, arguments, sentence):
    with pytest.raises(AnsibleFilterError) as error:
        zconfig(DataLoader().load(text), **arguments)
    assert error.value.message == sentence
