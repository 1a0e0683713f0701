# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: the entries of C(relstorage_sqlite_storages), completed, and what is wrong with them.

Pure functions, no Ansible. Entries are typed and carry the defaults of the argument spec; a key without a value is
null. settings is what the role's other variables say, by their names without C(relstorage_sqlite_), and beside them
releases and pins (of _virtualenv.describe()). host is the result of M(pyams.zodb.zodb_host_info) for questions().
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from ansible_collections.pyams.zodb.plugins.module_utils import _relstorage_sqlite_host, _role, _storage
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_layout import HOMES
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import (
    above,
    inside,
    temporary,
    tidy,
    wrong_folder,
    wrong_title,
)

ROLE = "relstorage_sqlite"
FOLDERS = ("config_dir", "data_dir", "cache_dir", "venv_dir")


def complete(entries: list[dict], settings: dict) -> list[dict]:
    """Return the entries with every value that follows from others, and with the paths and names of their files.

    Beside the spec's keys: link, toml, state_dir, stem, main (file of the database), own and given (folders of the
    storage where the role chose, and elsewhere), unit (of the timer), units, in_home (whether its unit needs to see
    home folders), pack_expected_days, asked (the ZConfig section of the tools, null where something is wrong).
    blob_dir is null where blobs are in the database, and client.blob_dir where clients cache them. Nothing is refused
    here.
    """
    settings = _tidied(settings)
    return [_completed(entry, settings) for entry in entries]


def questions(entries: list[dict], settings: dict) -> dict:
    """Return what refusals() must know of the host: the options of M(pyams.zodb.zodb_host_info) by name."""
    settings = _tidied(settings)
    storages = complete(entries, settings)
    places = [storage[key] for storage in storages for key in ("data_dir", "blob_dir") if storage[key]]
    mains = [storage["main"] for storage in storages]
    paths = [path for path in (*(settings[name] for name in FOLDERS), *places, *mains) if path.startswith("/")]
    return {
        "users": [settings["client_user"]] if settings["client_user"] else [],
        "python": settings["python"],
        "paths": sorted({*paths, *(folder for path in paths for folder in above(path))}),
        "folders": sorted({storage["data_dir"] for storage in storages}),
        "sqlite_databases": sorted(set(mains)),
        "wheelhouse": settings["wheelhouse"],
        "read": sorted(storage["toml"] for storage in storages),
    }


def refusals(entries: list[dict], settings: dict, host: dict | None = None) -> list[str]:
    """Return what is wrong, a sentence each: with the settings, with each entry, and then with the host."""
    settings = _tidied(settings)
    storages = complete(entries, settings)
    found = list(_settings_rules(settings))
    sound: list[tuple[str, dict]] = []
    for index, storage in enumerate(storages):
        where = f'relstorage_sqlite_storages[{index}] "{storage["name"]}": '
        wrong = list(_entry_rules(storage, entries[index], storages[:index], settings))
        found += [where + sentence for sentence in wrong]
        if not wrong:
            sound.append((where, storage))
    if host is not None:
        found += _relstorage_sqlite_host.refusals(sound, settings, host)
    return found


def clients(storages: list[dict]) -> list[dict]:
    """Return the entries of C(zodb_client_storages) for completed entries."""
    found = []
    for storage in storages:
        wishes = storage["client"]
        sqlite = _sqlite(storage, wishes["blob_dir"])
        sqlite["cache_local_mb"] = wishes["cache_local_mb"]
        if not storage["shared_blob_dir"]:
            sqlite["blob_cache_size"] = wishes["blob_cache_size"]
        found.append(
            {
                "name": storage["name"],
                "state": storage["state"],
                "sqlite": {key: value for key, value in sqlite.items() if value is not None},
                "pool_size": wishes["pool_size"],
                "connection_cache_size": wishes["connection_cache_size"],
            }
        )
    return found


def _tidied(settings: dict) -> dict:
    folders = {name: tidy(str(settings[name])) for name in FOLDERS}
    return {**settings, **folders, "wheelhouse": settings.get("wheelhouse") or None}


def _completed(entry: dict, settings: dict) -> dict:
    storage = copy.deepcopy(entry)
    name, config = storage["name"], settings["config_dir"]
    state_dir = f"{settings['data_dir']}/sqlite-{name}"
    shared = storage["shared_blob_dir"]
    blobs = storage["blob_dir"] and tidy(storage["blob_dir"])
    storage.update(
        title=storage["title"] or name,
        data_dir=tidy(storage["data_dir"] or f"{state_dir}/data"),
        blob_dir=(blobs or f"{state_dir}/blobs") if shared else None,
        link=f"{settings['venv_dir']}/sqlite-{name}",
        toml=f"{config}/sqlite-{name}.toml",
        state_dir=state_dir,
        stem=f"{state_dir}/{name}",
        unit=f"pack-sqlite-{name}.timer",
        units=[f"pack-sqlite-{name}.timer", f"pack-sqlite-{name}.service"],
        pack_expected_days=_role.PACK_EXPECTED_DAYS if storage["pack"]["enabled"] else 0,
    )
    storage["client"]["blob_dir"] = storage["blob_dir"] if shared else blobs
    storage["main"] = f"{storage['data_dir']}/main.sqlite3"
    places = [path for path in (state_dir, storage["data_dir"], storage["blob_dir"]) if path]
    storage["own"] = [path for path in places if path == state_dir or inside(path, state_dir)]
    storage["given"] = [path for path in places if path not in storage["own"]]
    storage["in_home"] = any(inside(path, home) for path in places for home in HOMES)
    try:
        storage["asked"] = _asked(storage)
    except _storage.Refused:
        storage["asked"] = None
    return storage


def _sqlite(storage: dict, blob_dir: str | None) -> dict:
    """Return what is the same for clients and tools."""
    return {
        "data_dir": storage["data_dir"],
        "blob_dir": blob_dir,
        "shared_blob_dir": storage["shared_blob_dir"],
        "keep_history": storage["keep_history"],
        "create_schema": False,
        "pack_gc": storage["pack"]["gc"],
        "name": storage["name"],
    }


def _asked(storage: dict) -> str:
    """Return the ZConfig section with which the tools open a storage, as the application's account."""
    section = _storage.render({"sqlite": _sqlite(storage, storage["blob_dir"])})
    batch = f"  pack-batch-timeout {storage['pack']['batch_timeout']}\n"
    return section.replace("  <sqlite3>", batch + "  <sqlite3>")


def _settings_rules(settings: dict) -> Iterator[str]:
    accounts = ("client_user", "client_group") if settings["client_user"] else ("client_group",)
    yield from _role.settings_rules(ROLE, FOLDERS, accounts, settings)


def _entry_rules(storage: dict, written: dict, before: list[dict], settings: dict) -> Iterator[str]:
    name = storage["name"]
    yield from _role.entry_rules(storage, before)
    for key in ("data_dir", "blob_dir"):
        if storage["remove_data"] and written[key]:
            yield (
                f"remove_data true is for data where the role puts it, and {key} names {written[key]}; leave it out, "
                "and delete that yourself."
            )
    if storage["state"] == "absent":
        return
    if wrong_title(storage["title"]) and storage["title"] != name:
        yield f"title {wrong_title(storage['title'])}"
    yield from _place_rules(storage, settings)
    for other in before:
        if other["state"] == "present" and other["name"] != name:
            yield from _neighbour_rules(storage, other)
    yield from _role.pack_rules(storage["pack"], storage["keep_history"])
    yield from _role.client_rules(storage["client"])


def _places(storage: dict) -> list[tuple[str, str]]:
    """Return the keys and values of the folders that hold what a storage is."""
    return [(key, storage[key]) for key in ("data_dir", "blob_dir") if storage[key]]


def _place_rules(storage: dict, settings: dict) -> Iterator[str]:
    places = _places(storage)
    if not storage["shared_blob_dir"] and storage["client"]["blob_dir"]:
        places.append(("blob_dir", storage["client"]["blob_dir"]))
    for key, path in places:
        wrong = wrong_folder(path)
        if wrong:
            if path not in storage["own"]:  # else that of the role is wrong, which is told of it
                yield f"{key} {wrong}"
            continue
        if storage["pack"]["enabled"] and temporary(path):
            yield (
                f"{key} {path} lies in a folder for temporary files, of which the pack's unit has its own; put data "
                "elsewhere."
            )
        for folder in FOLDERS:
            if path == settings[folder] or inside(settings[folder], path):
                yield (
                    f"{key} {path} holds {ROLE}_{folder} {settings[folder]}, and it is the application's alone; name a "
                    "folder of its own."
                )
            elif storage[key] == path and folder in _role.CLEANED and inside(path, settings[folder]):
                yield (
                    f"{key} {path} lies in {ROLE}_{folder} {settings[folder]}, where old things are deleted; name a "
                    "folder beside it."
                )
    data, blobs = storage["data_dir"], storage["client"]["blob_dir"]
    if blobs and (data == blobs or inside(data, blobs)):
        yield f"blob_dir {blobs} holds data_dir {data}, and blobs need a folder of their own; name another."


def _neighbour_rules(storage: dict, other: dict) -> Iterator[str]:
    for key, path in _places(storage):
        for others, taken in _places(other):
            if path == taken or inside(path, taken) or inside(taken, path):
                yield (
                    f'{key} {path} is not apart from {others} {taken} of "{other["name"]}"; give each storage folders '
                    "of its own."
                )
