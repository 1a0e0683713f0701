# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private: where the files of a ZEO server lie, and how its storages are described. Pure functions, no Ansible.

An instance is an entry of C(zeo_server_instances) as complete() of _zeo_server returns it; settings are the role's
folders and names.
"""

from __future__ import annotations

import posixpath

from ansible_collections.pyams.zodb.plugins.module_utils import _storage

# journald stamps each line itself; a file needs the time.
JOURNAL_FORMAT = "%(levelname)s %(name)s %(message)s"
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

# A pack that is scheduled weekly is missed when this much has gone by: one turn, and two days for a host that was off.
PACK_EXPECTED_DAYS = 9

# What FileStorage, its packs and zodb-pack write beside the path of a storage.
DATA_SUFFIXES = (
    "",
    ".index",
    ".index.index_tmp",
    ".lock",
    ".tmp",
    ".old",
    ".pack",
    ".pack-lock",
    ".pack.json",
)

HOMES = ("/home", "/root", "/run/user")


def locate(instance: dict, settings: dict) -> dict:
    """Return the paths and names that follow from an instance: what templates and tasks read instead of building them.

    settings: config_dir, data_dir, log_dir, run_dir, venv_dir (absolute paths), manager (C(systemd) or C(zdaemon)).
    """
    name = instance["name"]
    zdaemon = settings["manager"] == "zdaemon"
    config, tls = settings["config_dir"], settings["config_dir"] + "/tls"
    stem = "%s/zeo-%s" % (tls, name)
    own = instance["tls"] if instance["tls"] and not instance["tls_managed"] else None
    log_file = "%s/zeo-%s.log" % (settings["log_dir"], name) if zdaemon or instance["log"] == "file" else None
    socket_folder = [posixpath.dirname(instance["socket"])] if instance["socket"] else []
    data = ["%s/%s" % (settings["data_dir"], name)]
    for storage in instance["storages"]:
        data += [storage["path"] + suffix for suffix in DATA_SUFFIXES]
        data += [storage["blob_dir"], storage["blob_dir"] + ".old"]
    located = {
        "unit": "zeo-%s.service" % name,
        "units": ["pack-zeo-%s.timer" % name, "pack-zeo-%s.service" % name, "zeo-%s.service" % name],
        "conf": "%s/zeo-%s.conf" % (config, name),
        "toml": "%s/zeo-%s.toml" % (config, name),
        "zdaemon_conf": "%s/zeo-%s-zdaemon.conf" % (config, name),
        "link": "%s/zeo-%s" % (settings["venv_dir"], name),
        "run_dir": settings["run_dir"] if zdaemon else "/run/zeo-%s" % name,
        "log_file": log_file,
        "log_format": FILE_FORMAT if log_file else JOURNAL_FORMAT,
        "pack_enabled": instance["pack"]["enabled"],
        "pack_expected_days": PACK_EXPECTED_DAYS if instance["pack"]["enabled"] else 0,
        "loopback": instance["loopback"],
        "certificate": own["cert"] if own else stem + ".crt",
        "certificate_key": own["key"] if own else stem + ".key",
        "authenticate": own["ca"] if own else stem + "-clients",
        "certificate_days": instance["tls"]["renew_days"] if instance["tls"] else 30,
        "data": sorted(set(data)),
    }
    located["server_ca"] = (own["server_ca"] or own["ca"]) if own else stem + ".anchor.crt"
    # With managed certificates the server's own is good for its tools too: whoever has its key is the server's account.
    located["tools_cert"] = own["tools_cert"] if own else stem + ".crt"
    located["tools_key"] = own["tools_key"] if own else stem + ".key"
    located["certificates"] = []
    if instance["tls"]:
        located["certificates"] = [located["certificate"], located["authenticate"]]
        located["certificates"] += [own["tools_cert"]] if own else []
    # Adding a pinned certificate restarts nothing, so the folder is not among them; removing one is noted in -revoked.
    located["certificate_files"] = []
    if own:
        located["certificate_files"] = [own["cert"], own["key"], own["ca"]]
    elif instance["tls"]:
        located["certificate_files"] = [stem + ".crt", stem + ".key", stem + "-revoked"]
    blobs = {storage["blob_dir"] for storage in instance["storages"]}
    folders = blobs | {posixpath.dirname(storage["path"]) for storage in instance["storages"]}
    folders |= {settings["log_dir"]} if log_file else set()
    folders |= set(socket_folder) - {"/run/zeo-%s" % name}
    # A folder of blobs may be a link, or the place of a disk, so it is named even in a folder that is.
    located["writable"] = [
        folder
        for folder in sorted(folders)
        if folder in blobs or not any(folder.startswith(other + "/") for other in folders)
    ]
    located["in_home"] = any((folder + "/").startswith(home + "/") for folder in folders for home in HOMES)
    adopt = instance["adopt"]
    located["adopted_conf"] = "%s/etc/%s-zeo.conf" % (adopt, name) if adopt else None
    located["adopted_zdaemon_conf"] = "%s/etc/%s-zdaemon.conf" % (adopt, name) if adopt else None
    located["adopted_links"] = (
        [
            "/etc/init.d/zeo-%s" % name,
            "/etc/cron.d/pack-zeo-%s" % name,
            "/etc/logrotate.d/zeo-%s" % name,
            "/etc/systemd/system/zeo-%s.service" % name,
            # systemctl enable makes it lead to where the unit really is.
            "/etc/systemd/system/multi-user.target.wants/zeo-%s.service" % name,
        ]
        if adopt
        else []
    )
    return located


def moved(storage: dict, instance: dict, settings: dict) -> str:
    """Return the path of the note that the role migrate leaves: the site of a storage is elsewhere now.

    No name of an entry or of a storage has a dot, so no two storages have one note.
    """
    return "%s/zeo-%s.%s.moved" % (settings["config_dir"], instance["name"], storage["name"])


def served(storage: dict, instance: dict) -> str:
    """Return the ZConfig section of a storage as the server opens it."""
    description = {
        "path": storage["path"],
        "blob_dir": storage["blob_dir"],
        "pack_gc": instance["pack"]["gc"],
        "pack_keep_old": instance["pack"]["keep_old"],
        # ZEO's own read-only lets packs through; this one does not.
        "read_only": storage["read_only"],
    }
    section = _storage.render({"filestorage": description}, storage["name"])
    further = "".join("  %s\n" % line.strip() for line in (storage["zconfig"] or "").splitlines() if line.strip())
    return section.replace("</filestorage>", further + "</filestorage>")


def asked(storage: dict, instance: dict) -> str:
    """Return the ZConfig section with which zodb-pack and zodb-health open a storage on the server's own host.

    10 s are enough for a server that answers at all; the tools tell a slow start from a dead server by themselves.
    """
    description = {
        "server": instance["socket"] or local_address(instance),
        "storage": storage["name"],
        "wait_timeout": 10,
        "cache_size": "1MB",
        "client_label": "tools",
    }
    if instance["tls"]:
        description["tls"] = {
            "ca": instance["server_ca"],
            "cert": instance["tools_cert"],
            "key": instance["tools_key"],
            "check_hostname": False,
        }
    return _storage.render_pack({"zeo": description})


def local_address(instance: dict, server_host: str = "") -> str:
    """Return where a server is reached: a wildcard is no address to connect to.

    server_host: the server's name as an application host knows it; empty on the server's own host.
    """
    wildcard = {"": server_host or "127.0.0.1", "0.0.0.0": server_host or "127.0.0.1", "::": server_host or "::1"}
    host = wildcard.get(instance["host"], instance["host"])
    return "%s:%d" % ("[%s]" % host if ":" in host else host, instance["port"])


def client_name(storage: dict, instance: dict) -> str:
    """Return the name of a storage among all that an application host knows.

    It does not depend on the entry's other storages: one that is added later renames none.
    """
    return instance["name"] if storage["name"] == instance["name"] else "%s-%s" % (instance["name"], storage["name"])


def clients(instances: list[dict], settings: dict) -> list[dict]:
    """Return the entries of C(zodb_client_storages) for the storages of the instances.

    settings: config_dir (absolute path) of the application host; server_host, name of the servers' host, empty for the
    same host.
    """
    entries = []
    for instance in instances:
        for storage in instance["storages"]:
            name = client_name(storage, instance)
            wishes = instance["client"]
            zeo = {
                "server": wishes["server"] or instance["socket"] or local_address(instance, settings["server_host"]),
                "storage": storage["name"],
                "cache_size": wishes["cache_size"],
                "blob_cache_size": wishes["blob_cache_size"],
                "client_label": name,
            }
            if storage["read_only"]:
                zeo["read_only"] = True
            if wishes["shared_blob_dir"]:
                zeo.update(blob_dir=storage["blob_dir"], shared_blob_dir=True)
            if instance["tls"]:
                zeo["tls"] = client_tls(instance, settings)
            entries.append(
                {
                    "name": name,
                    "state": instance["state"],
                    "zeo": zeo,
                    "pool_size": wishes["pool_size"],
                    "connection_cache_size": wishes["connection_cache_size"],
                }
            )
    return entries


def client_tls(instance: dict, settings: dict) -> dict:
    """Return how an application host proves who it is, and whom it trusts.

    A server is known by an anchor of its own, so its name need not match; with an authority for many it must.
    """
    tls = instance["tls"]
    if not instance["tls_managed"]:
        return {
            "ca": tls["server_ca"] or tls["ca"],
            "cert": tls["client_cert"],
            "key": tls["client_key"],
            "check_hostname": True,
        }
    folder = settings["config_dir"] + "/tls"
    return {
        "ca": "%s/zeo-%s.anchor.crt" % (folder, instance["name"]),
        "cert": folder + "/client.crt",
        "key": folder + "/client.key",
        "check_hostname": False,
    }
