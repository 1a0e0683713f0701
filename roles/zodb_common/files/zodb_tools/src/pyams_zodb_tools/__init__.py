# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands zodb-checkconf, zodb-health, zodb-pack and zodb-schema; and RelStorage's section <mariadb>.

They are for the storages of a ZEO server and, all but the first, for those of RelStorage in PostgreSQL and SQLite.
zodb-schema is for the latter two alone.

The first is given ZConfig files, the others a TOML file that the role renders beside them. Its keys:

service             the unit of the server, or the host where it is another's, or a word where there is none as with
                    SQLite, named in messages and reports
title               human name of the storages, in a report's subject
user                optional; as root, the commands go on as this account before they open anything
start_timeout       seconds that ``zodb-health --wait`` gives the server to answer
transaction_timeout seconds that a client of ZEO may hold the commit lock; needless where there are databases alone
zdaemon             optional, of ZEO; the file of the daemon manager that runs the server, where it is not systemd
certificates        PEM files, bundles with CRLs, and folders of pinned certificates, whose days left are watched
certificate_days    warn below so many days, critical below a third of them
crl_days            warn so many days before a CRL must have been replaced
[mail]              server "host:port", sender, report (a list of addresses; empty: no mail)
[[storages]]        name; kind ("zeo" if absent, or "relstorage" or "sqlite");
                    zconfig (the section to open it with: <clientstorage>, or <relstorage> with <postgresql> or, of
                    sqlite, with <sqlite3>);
                    path (of Data.fs; of a database, that of no file: the lock PATH.pack-lock and the record
                    PATH.pack.json lie beside it in both cases);
                    blob_dir (optional, of ZEO);
                    data_directory (optional, of a database whose server is on this host: its disk is watched, and a
                    pack needs room on it; the account need not be able to enter it);
                    pack_days (of history to keep); pack_expected_days (health warns when the last successful pack
                    is older, 0: not watched); disk_warning (percent free on the file system, critical at half)

The <relstorage> section of a database says what it is to the application: keep-history, pack-gc, pack-batch-timeout.
Its DSN names a passfile and holds no password. The commands never make tables by it but for zodb-schema, and use no
blob-dir and no cache-local-dir; only a pack removes files of a shared-blob-dir. The role in the DSN owns the tables.
With SQLite, the account that the application runs as owns all files, and the commands run as it too.
"""
