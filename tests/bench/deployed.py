# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of relstorage_postgres for a throw-away server, and for an application on the same host."""

from __future__ import annotations

import json
import pathlib

import ansible_tasks
from storage_servers import PostgreSQL

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
ROLE = ROLES / "relstorage_postgres"

# The role's own expressions make its settings and its clients' files; the server is not installed, and not asked.
RENDERED = [
    {
        "name": "Look at the host",
        "pyams.zodb.zodb_host_info": {
            option: "{{ __relstorage_postgres_question.%s }}" % option
            for option in ("users", "groups", "python", "paths", "listens", "read")
        },
        "register": "__relstorage_postgres_host_info",
    },
    {
        "name": "Write the server's settings",
        "ansible.builtin.template": {
            "src": str(ROLE / "templates" / "zodb.conf.j2"),
            "dest": "{{ bench_folder }}/zodb.conf",
            "mode": "0644",
        },
    },
    {
        "name": "Write the client's files",
        "pyams.zodb.zodb_files": {"folders": "{{ layout.folders }}", "files": "{{ layout.files }}"},
        "vars": {
            "layout": "{{ __relstorage_postgres_storages"
            " | pyams.zodb.relstorage_postgres_clients(__relstorage_postgres_settings, __relstorage_postgres_passwords)"
            " | pyams.zodb.entries(bench_roles ~ '/zodb_client', 'zodb_client_storages')"
            " | pyams.zodb.zodb_client_layout({'config_dir': relstorage_postgres_config_dir,"
            " 'cache_dir': relstorage_postgres_cache_dir, 'group': 'root'}) }}"
        },
    },
]


def deployed(folder, server, database):
    """Write what the role writes, and return it: settings of the server, an application's zodb.conf, its cache."""
    cache = folder / "objects"
    client = {"host": str(server.socket_dir), "cache_local_dir": str(cache)}
    storage = {"name": "bench", "dbname": database, "user": PostgreSQL.ROLE, "client": client}
    variables = {
        "role_path": str(ROLE),
        "bench_roles": str(ROLES),
        "bench_folder": str(folder),
        "relstorage_postgres_storages": [{**storage, "password": PostgreSQL.QUOTED}],
        "relstorage_postgres_port": server.port,
        "zodb_config_dir": str(folder),
        "zodb_cache_dir": str(folder / "cache"),
        "__relstorage_postgres_answer": {},
        "__relstorage_postgres_kept": {"results": []},
    }
    own = folder / "variables.json"
    own.write_text(json.dumps(variables))
    files = [ROLE / "defaults" / "main.yml", ROLE / "vars" / "main.yml", own]
    results = ansible_tasks.run(folder, RENDERED, *(word for file in files for word in ("--extra-vars", f"@{file}")))
    assert [result["msg"] for result in results if result.get("failed")] == []
    return folder / "zodb.conf", folder / "bench" / "zodb.conf", cache
