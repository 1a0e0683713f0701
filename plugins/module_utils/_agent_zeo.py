# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb, part of the agent (_agent.py): a storage of a ZEO server."""

from __future__ import annotations

import os

from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Unreachable
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import Storage

ZEO_PATIENCE = 30  # seconds to wait for a server, at most


class Zeo(Storage):
    """A storage of a ZEO server."""

    kind = "zeo"

    def __init__(self, found):
        super().__init__(found)
        self.shared = bool(self.config.shared_blob_dir)

    def open(self, read_only=True):
        from ZEO.Exceptions import ClientDisconnected

        config = self.config
        config.read_only, config.read_only_fallback = read_only, False
        config.blob_dir, config.blob_cache_size = self._blob_folder(), None
        for name in ("cache_path", "client", "var"):
            if hasattr(config, name):
                setattr(config, name, None)
        if hasattr(config, "wait_timeout"):
            config.wait_timeout = min(config.wait_timeout or ZEO_PATIENCE, ZEO_PATIENCE)
        try:
            self.storage = self.section.open()
        except ClientDisconnected:
            raise Unreachable(
                f"no answer from {self._servers()} for the storage {config.storage}; look whether the server runs, "
                "has a storage of that name, and accepts this client."
            ) from None
        self.keeps_history = bool(self.storage.supportsUndo())
        served = self.storage._info.get("name") or ""
        self.path = served if os.path.isabs(served) and os.path.exists(served) else None

    def open_for_writing(self):
        self.open(read_only=False)

    def _record_behind(self, at):
        from ZEO.Exceptions import ServerException

        try:
            return super()._record_behind(at)
        except ServerException as error:  # which the client hands on as its name and arguments
            if error.args[0] == "builtins.ValueError":
                raise ValueError from error
            raise

    def _servers(self):
        addresses = [server.address for server in self.config.server]
        return ", ".join(one if isinstance(one, str) else "{}:{}".format(*one[:2]) for one in addresses)

    def identity(self):
        return f"zeo {self._servers()} {self.config.storage}"

    def blobs(self):
        if self.shared:
            return super().blobs()
        from ZODB.blob import is_blob_record

        return sum(1 for _oid, _tid, state in self.records() if is_blob_record(state)), None
