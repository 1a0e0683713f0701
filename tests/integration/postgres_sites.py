# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites of the role relstorage_postgres with a PostgreSQL that is there, run by ansible-playbook as root and as a user.

Each run goes through both: root logs in by the server's socket and as a superuser, the user over TLS, by a password and
as one who may only make databases and roles.
Needs root, for accounts. There is no systemd, so nothing is packed on schedule.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import pathlib
import stat
import subprocess
import tempfile
import types

import ansible_tasks
from ansible_collections.pyams.zodb.plugins.module_utils import _virtualenv
from storage_servers import PYTHON, VIRTUALENV, as_user, own

DBA, DBA_PASSWORD = "zodb_dba", "of-the-administrator"

# An application that writes words, and reads all of them.
APPLICATION = """
import sys
import ZODB.config
from ZODB.blob import Blob

database = ZODB.config.databaseFromURL(sys.argv[1])
with database.transaction() as connection:
    for word in sys.argv[2:]:
        connection.root()[word] = Blob(word.encode())
database.cacheMinimize()
with database.transaction() as connection:
    print(*(connection.root()[word].open().read().decode() for word in sorted(connection.root())))
database.close()
"""
CATALOG = """
select 'role', rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, md5(rolpassword) from pg_authid;
select 'database', datname, datdba::regrole, pg_encoding_to_char(encoding), datcollate, datacl from pg_database;
"""
TABLES = """
select oid, xmin, relname from pg_class where relnamespace = 'public'::regnamespace;
select oid, xmin, proname from pg_proc where pronamespace = 'public'::regnamespace;
"""
LAY, LAY_CLIENT = "Configure | Lay links, folders and files", "Configure | Lay folders and files"
KEEP = "Passwords | Make those that are missing"
JOIN = "Database | Let the administrator act for the account"
ROLE, DATABASE = "Database | Make the account", "Database | Make the database"
CLOSE, SCHEMA = "Database | Close it to others", "Schema | Make or renew tables and stored procedures"
LOCAL = {"pack": {"enabled": False}}  # there is no systemd


class Site:
    """A host's folders of the role, and the plays that it is run by. account: of an ordinary user, null for root."""

    def __init__(self, name, top, application, login, account=None):
        self.name, self.top, self.account = name, top, account
        self.etc = top / "etc"
        self.login = login
        self.variables = {
            "relstorage_postgres_server": "existing",
            "relstorage_postgres_login": login,
            "relstorage_postgres_allow_untested_platform": True,
            "zodb_python": "/usr/bin/python3",
            "zodb_client_virtualenv": str(VIRTUALENV),
            **{f"zodb_{folder}_dir": str(top / folder) for folder in ("data", "cache", "venv")},
            "zodb_config_dir": str(self.etc),
        }
        if not account:
            names = ("client_user", "user", "group", "client_group")
            self.variables.update({f"relstorage_postgres_{name}": application for name in names})
        own(top, account)

    def play(self, tasks):
        play = {"name": self.name, "hosts": "localhost", "gather_facts": False, "vars": self.variables, "tasks": tasks}
        play["become_method"] = "ansible.builtin.su"
        if self.account:
            play.update(become=True, become_user=self.account)
        return play

    def tool(self, command, name):
        """Return the exit status and the one line of a command, run as whoever runs the role."""
        words = [VIRTUALENV / "bin" / command, self.etc / f"relstorage-{name}.toml"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, **as_user(self.account))
        (line,) = (done.stdout + done.stderr).splitlines()
        return done.returncode, line

    def snapshot(self):
        """Return everything in the folders by path: owner, permissions, dates and content."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            about = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else None
            found[str(path)] = (about.st_uid, about.st_gid, oct(about.st_mode), about.st_mtime_ns, content)
        return found


def install(folder):
    """Put the role's virtualenv into a folder, by links to the one of the tests, which has the same lock and tools."""
    files = str(ansible_tasks.ROOT / "roles" / "zodb_common" / "files")
    about = _virtualenv.describe(files, "relstorage", "latest", [], str(folder))
    version = subprocess.check_output(
        [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    ).strip()
    virtualenv = pathlib.Path(about["by_python"][version])
    virtualenv.mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "pyvenv.cfg"):
        (virtualenv / name).symlink_to(VIRTUALENV / name)
    (virtualenv / ".complete").write_text(f"{about['release']}\n")


def include(storages, tasks_from="main", **variables):
    role = {"name": "pyams.zodb.relstorage_postgres", "tasks_from": tasks_from}
    return {"ansible.builtin.include_role": role, "vars": {"relstorage_postgres_storages": storages, **variables}}


def run(plays, *arguments):
    """Run plays at once, each by an ansible-playbook of its own; return what each said."""
    with tempfile.TemporaryDirectory() as folder:  # nobody else's, for a password is in it
        started = []
        for number, play in enumerate(plays):
            playbook = pathlib.Path(folder, f"{number}.json")
            playbook.write_text(json.dumps([play]))
            command = ansible_tasks.command(playbook, *arguments)
            pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(command, env=ansible_tasks.environment(), **pipe))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda process: process.communicate()[0], started))
    for process, text in zip(started, said, strict=True):
        assert process.returncode == 0, text
    return said


def catalog(server, *databases):
    """Return what the server knows: roles, databases, and the tables of some."""
    return [sorted(server.psql(CATALOG).splitlines()), *(server.psql(TABLES, database) for database in databases)]


def opened(site, name, account, *words):
    """Have a process of the application write words, and return all that it reads."""
    command = [PYTHON, "-I", "-c", APPLICATION, site.etc / name / "zodb.conf", *words]
    return subprocess.check_output(command, text=True, **as_user(account)).split()


def sites(server, open_folder, account, certificates):
    """Return the sites of root and of a user, and what they were made of. The server gets the role DBA."""
    top, home = open_folder(), open_folder()
    server.make_role(DBA, DBA_PASSWORD, "createdb createrole")
    passfile = home / "dba"
    passfile.write_text(f"*:*:*:*:{DBA_PASSWORD}\n")
    passfile.chmod(0o600)
    own(passfile, account)
    socket = {"host": str(server.socket_dir), "port": server.port, "user": "admin"}
    over_tls = {
        "host": "localhost",
        "port": server.port,
        "user": DBA,
        "passfile": str(passfile),
        "sslmode": "verify-full",
        "sslrootcert": str(certificates.server),
    }
    return types.SimpleNamespace(
        server=server,
        account=account,
        root=Site("root", top, account, socket),
        user=Site("user", home, account, over_tls, account),
        over_tls=over_tls,
        certificates=certificates,
    )
