# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of ZEO servers' entries share: entries as the role hands them over, and a host without any."""

from __future__ import annotations

import copy
import pathlib
import re

from ansible_collections.pyams.zodb.plugins.filter.entries import entries as _entries

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "zeo_server"
PYAMS = 'zeo_server_instances[0] "pyams": '
OWN = {
    "ca": "/etc/pki/ca.pem",
    "cert": "/etc/pki/zeo.pem",
    "key": "/etc/pki/zeo.key",
    "tools_cert": "/etc/pki/tools.pem",
    "tools_key": "/etc/pki/tools.key",
}
SETTINGS = {
    "user": "zodb",
    "group": "zodb",
    "manage_user": True,
    "client_group": "zodb",
    "config_dir": "/etc/zodb",
    "data_dir": "/var/lib/zodb",
    "log_dir": "/var/log/zodb",
    "cache_dir": "/var/cache/zodb",
    "run_dir": "/run/zodb",
    "venv_dir": "/opt/zodb",
    "service_manager": "auto",
    "manager": None,
    "python": "/usr/bin/python3",
    "release": "latest",
    "releases": ["2025.09", "2026.11"],
    "pins": [],
    "extra_packages": [],
    "wheelhouse": "",
    "mail_server": "localhost:25",
    "allow_untested_platform": False,
    "old_variables": [],
}
MB = 1024 * 1024
SYSTEM = ["/", "/etc", "/home", "/opt", "/run", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/log"]
ROOT = {"owner": "root", "group": "root", "uid": 0, "gid": 0}
# STYLE: variable and value, what is wrong, what to do.
SENTENCE = re.compile(r'(zeo_server_instances\[\d+\] "[^"]*": |zeo_server_\w+(\[\d+\])?:? |[a-z_]+: )[^!]+; [^!]+\.')


def entries(written):
    """Return entries as the role's own spec completes them."""
    return _entries(written, str(ROLE), "zeo_server_instances")


def one(**keys):
    """Return one entry."""
    return [{"name": "pyams", **keys}]


def two(first, second):
    """Return two entries, which differ in nothing but their addresses."""
    return [{"name": "pyams", **first}, {"name": "blog", "address": "8101", **second}]


def storage(**keys):
    """Return an entry with one storage."""
    return one(storages=[{"name": "pyams", **keys}])


def own(**keys):
    """Return an entry with certificates of somebody's own authority."""
    return one(tls={**OWN, **keys})


def there(kind="file", owner="zodb", group="zodb", mode="0640", **more):
    """Return what zodb_host_info says of a path that is there, but for what is free on its disk."""
    found = {"type": kind, "owner": owner, "group": group, "uid": 998, "gid": 998, "mode": mode}
    return {"exists": True, **found, "size": 100, "mtime": 1.0, "target": None, **more}


def virgin(questions):
    """Return what zodb_host_info answers to questions on a Debian 12 with the account, and nothing else of ours."""
    nothing = dict.fromkeys(("type", "owner", "group", "uid", "gid", "mode", "size", "mtime", "target"))
    nothing.update(exists=False, free=40_000 * MB, file_system="ext4")
    process = {"pid": None, "program": None, "unit": None}
    storage = {"exists": False, "magic": None, "size": None, "owner": None, "group": None, "error": None}
    storage.update(locked=False, lock_pid=None, lock_program=None, lock_unit=None)
    unknown = ("not_before", "not_after", "expired", "days_left", "names", "key_matches", "trusted", "error")
    certificate = {**dict.fromkeys(unknown), "exists": False, "readable": False}
    return {
        "host": {
            "euid": 0,
            "user": "root",
            "hostname": "zeo1",
            "fqdn": "zeo1.example.org",
            "systemd": True,
            "distribution": "debian",
            "version": "12",
            "memory": 8192 * MB,
            "python_version": "3.11.2",
        },
        "users": {
            name: {"exists": True, "uid": 998, "gid": 998, "home": "/", "shell": "/bin/sh"}
            for name in questions["users"]
        },
        "groups": {name: {"exists": True, "gid": 998} for name in questions["groups"]},
        "python": {"path": questions["python"], "exists": True, "version": "3.11", "venv": True},
        "paths": {
            path: {**nothing, **(there("directory", mode="0755", **ROOT) if path in SYSTEM else {})}
            for path in questions["paths"]
        },
        "folders": dict.fromkeys(questions["folders"]),
        "listens": {address: {"in_use": False, "error": None, **process} for address in questions["listens"]},
        "services": {},
        "file_storages": {path: dict(storage) for path in questions["file_storages"]},
        "sqlite_databases": {},
        "certificates": {asked["cert"]: dict(certificate) for asked in questions["certificates"]},
        "wheelhouse": {"exists": True, "files": []} if questions["wheelhouse"] else None,
        "read": dict.fromkeys(questions["read"]),
    }


def both(*changes):
    """Return dictionaries as one, the later ones over the earlier, at every depth."""
    merged = {}
    for change in changes:
        for key, value in change.items():
            both_are = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = both(merged[key], value) if both_are else copy.deepcopy(value)
    return merged
