# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of a ZEO server's virtualenv: zodb-checkconf, zodb-health and zodb-pack; and RelStorage's <mariadb>.

The first is given ZConfig files, the two others a TOML file that the role renders beside them. Its keys:

service             the unit, named in messages and reports
title               human name of the storages, in a report's subject
user                optional; as root, the commands go on as this account before they open anything
start_timeout       seconds that ``zodb-health --wait`` gives the server to answer
certificates        PEM files, bundles with CRLs, and folders of pinned certificates, whose days left are watched
certificate_days    warn below so many days, critical below a third of them
crl_days            warn so many days before a CRL must have been replaced
[mail]              server "host:port", sender, report (a list of addresses; empty: no mail)
[[storages]]        name; zconfig (the <clientstorage> section to open it with); path of Data.fs; blob_dir (optional);
                    pack_days (of history to keep); pack_expected_days (health warns when the last successful pack
                    is older, 0: not watched); disk_warning (percent free on the file system, critical at half)
"""
