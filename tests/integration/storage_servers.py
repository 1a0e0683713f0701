# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away servers for the tests: PostgreSQL, PgBouncer before it, Debian's MariaDB, ZEO with or without TLS.

They run as ordinary processes on free ports of 127.0.0.1, as an ordinary account even where the tests are root's, and
end with the tests, also where these are killed.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
VIRTUALENV = ROOT / ".cache" / "relstorage"  # made by tests/rig/setup storages
PYTHON = VIRTUALENV / "bin" / "python"
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, what, seconds=30):
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def own(path, account):
    """Give a path to an account, if one is named."""
    if account:
        shutil.chown(path, account, pwd.getpwnam(account).pw_gid)


def as_user(account):
    """Return what subprocess takes to start a process as an account, if one is named."""
    if not account:
        return {}
    user = pwd.getpwnam(account)
    home = {"HOME": user.pw_dir, "USER": account, "LOGNAME": account}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "env": {**os.environ, **home}, "cwd": "/"}


def run(command, account, **options):
    """Run a command as an account, if one is named, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **as_user(account), **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(command, log, account, last):
    """Start a process that writes to a log, as an account if one is named. last: signal it gets when we are gone."""
    ask = ctypes.CDLL(None).prctl
    with open(log, "ab") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, preexec_fn=lambda: ask(PARENT_DEATH_SIGNAL, last), **as_user(account)
        )


class PostgreSQL:
    """One cluster: its socket is open to everybody here, its port asks for a password, and speaks TLS as localhost.

    ROLE owns every database that is made. The socket's folder is socket_dir, the port of both is port. durable: it
    waits for the disk, and has the sizes that PostgreSQL comes with. version: of those that tests/rig/setup fetches,
    Debian's if null.
    """

    ROLE = "zodb"
    QUOTED = "it's a $ecret, \\1"  # its password: whatever needs quoting
    # As "with (force)" does since PostgreSQL 13.
    DROP = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{0}'; drop database if exists {0}"

    def __init__(self, folder, certificates, durable=False, version=None):
        self.bin = max(
            pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0])
        )
        # Of a version of its own there are no clients.
        self.server_bin = ROOT / ".cache" / "postgresql" / str(version) / "bin" if version else self.bin
        self._settle(folder)
        initdb = [self.server_bin / "initdb", "--no-sync", "--username=admin"]
        run([*initdb, "--auth-local=trust", "--auth-host=scram-sha-256", self.data], self.account)
        settings = {"listen_addresses": "127.0.0.1", "ssl": "on"}
        if not durable:
            # Nothing here outlives the machine, so nothing waits for its disk.
            settings.update(fsync="off", full_page_writes="off", shared_buffers="64MB", max_wal_size="256MB")
        for path, name in ((certificates.server, "server.crt"), (certificates.server_key, "server.key")):
            shutil.copyfile(path, self.data / name)
            self.data.joinpath(name).chmod(0o600)
            own(self.data / name, self.account)
        self._configure(settings)
        self.start()
        self.make_role(self.ROLE, self.QUOTED)

    def standby(self, folder):
        """Return a server that follows this one."""
        other = copy.copy(self)
        other._settle(folder)
        where = [f"--host={self.socket_dir}", f"--port={self.port}", "--username=admin"]
        self._run(
            "pg_basebackup", *where, "--no-sync", "--checkpoint=fast", "--write-recovery-conf", f"--pgdata={other.data}"
        )
        other._configure({})
        other.start()
        return other

    def twin(self, folder):
        """Return a server with the same data, page by page, which has yet to be started; this one is stopped."""
        self.stop(signal.SIGINT)
        other = copy.copy(self)
        other._settle(folder)
        subprocess.run(["cp", "-a", f"{self.data}/.", other.data], check=True)
        other._configure({})
        return other

    def _settle(self, folder):
        self.account = "postgres" if os.geteuid() == 0 else None
        self.data = folder / "data"
        self.socket_dir = folder / "socket"
        self.log = folder / "log"
        self.port = free_port()
        self.databases = 0
        self.process = None
        folder.chmod(0o755)
        for path, mode in ((self.data, 0o700), (self.socket_dir, 0o755)):
            path.mkdir(mode)
            own(path, self.account)

    def include(self, file):
        """Have its settings come from a file too, but for where it listens."""
        self._configure({"include": file})

    def _configure(self, settings):
        own_settings = {"port": self.port, "unix_socket_directories": self.socket_dir}
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in {**settings, **own_settings}.items())

    def _run(self, program, *arguments, **options):
        return run([self.bin / program, *arguments], self.account, **options)

    def start(self):
        self.process = start([self.server_bin / "postgres", "-D", self.data], self.log, self.account, signal.SIGQUIT)
        until(self._answers, self.log.read_text)

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        ready = [self.bin / "pg_isready", "--quiet", f"--host={self.socket_dir}", f"--port={self.port}"]
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self, number=signal.SIGQUIT):
        """Stop the server at once, without a checkpoint: by SIGTERM or SIGINT it would be in order."""
        if self.process:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def psql(self, sql, database="postgres"):
        """Run SQL as the superuser, and return its rows, with tabs between columns."""
        where = [f"--host={self.socket_dir}", f"--port={self.port}", "--username=admin", f"--dbname={database}"]
        form = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t"]
        return self._run("psql", *where, *form, "--set=ON_ERROR_STOP=1", "--file=-", input=sql).rstrip("\n")

    def make_role(self, name, password, rights=""):
        """Make a role that the port lets in, where PostgreSQL before 14 would have kept the password as MD5."""
        password = password.replace("'", "''")
        self.psql(f"set password_encryption = 'scram-sha-256'; create role {name} login {rights} password '{password}'")

    def make_database(self):
        """Return the name of a new, empty database."""
        self.databases += 1
        name = f"site_{self.databases}"
        self.psql(f"create database {name} owner {self.ROLE} template template0")
        return name

    def drop_database(self, name):
        self.psql(self.DROP.format(name))


class PgBouncer:
    """A pooler before a server of PostgreSQL, which knows the roles that have a password by then."""

    def __init__(self, server, folder, mode, **settings):
        self.port, log = free_port(), folder / "log"
        users = folder / "users"
        # The server's own secrets, by which the login of a client is good for the server too.
        roles = 'select format(\'"%s" "%s"\', rolname, rolpassword) from pg_authid'
        users.write_text(server.psql(roles) + "\n")
        settings = {"pool_mode": mode, "auth_type": "scram-sha-256", "auth_file": users, **settings}
        settings.update(listen_addr="127.0.0.1", listen_port=self.port, unix_socket_dir="")
        lines = ["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        configuration = folder / "pgbouncer.ini"
        configuration.write_text("\n".join(lines) + "\n")
        for path in (users, configuration):
            path.chmod(0o600)
            own(path, server.account)
        self.process = start(["/usr/sbin/pgbouncer", configuration], log, server.account, signal.SIGKILL)
        until(lambda: self.process.poll() is not None or listens(self.port), log.read_text)
        assert self.process.poll() is None, log.read_text()

    def stop(self):
        self.process.kill()
        self.process.wait(30)


class MariaDB:
    """A server whose port asks for a password; ROLE may do everything there."""

    ROLE = "zodb"
    QUOTED = "open sesame"  # its password
    # Makes RelStorage's tables with history as MySQL would. Since version 10.5, MariaDB heeds references within the
    # definition of a column, and refuses these, which are to a column of another type.
    WITH_HISTORY = """
import sys
import ZODB.config
from pymysql.cursors import Cursor
execute = Cursor.execute
Cursor.execute = lambda cursor, query, *more: execute(cursor, query.replace('REFERENCES "transaction"', ""), *more)
ZODB.config.storageFromString(sys.argv[1]).close()
"""

    def __init__(self, folder):
        self.account = "nobody" if os.geteuid() == 0 else None
        self.data, self.socket, self.log = folder / "data", folder / "data" / "socket", folder / "log"
        self.port = free_port()
        self.databases = 0
        folder.chmod(0o755)
        self.data.mkdir(0o700)
        own(self.data, self.account)
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db"]
        run([*install, "--auth-root-authentication-method=normal"], self.account)
        command = ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}"]
        command += ["--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"]
        # Nothing here outlives the machine, so nothing waits for its disk.
        command += ["--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"]
        self.process = start(command, self.log, self.account, signal.SIGKILL)
        until(self._answers, self.log.read_text)
        role = f"{self.ROLE}@127.0.0.1"
        self.sql(f"create user {role} identified by '{self.QUOTED}'; grant all on *.* to {role}")

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        return listens(self.port)

    def stop(self):
        self.process.kill()
        self.process.wait(30)

    def sql(self, sql):
        """Run SQL as the superuser, and return its rows, with tabs between columns."""
        client = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root"]
        return run([*client, "--batch", "--skip-column-names", f"--execute={sql}"], self.account)

    def make_database(self):
        """Return the name of a new, empty database."""
        self.databases += 1
        name = f"site_{self.databases}"
        self.sql(f"create database {name} character set utf8mb4")
        return name

    def drop_database(self, name):
        self.sql(f"drop database {name}")


class Zeo:
    """A runzeo process over the FileStorage Data.fs of a folder, with blobs. tls: a Certificates, for mutual TLS."""

    STORAGE = "pyams"

    def __init__(self, folder, account=None, tls=None):
        self.folder, self.account, self.tls = folder, account, tls
        self.port = free_port()
        self.log = folder / "zeo.log"
        self.process = None

    def start(self, read_only=False):
        """Start it and wait until it listens. read_only: its storage is fenced, against packs too."""
        ssl = ""
        if self.tls:
            files = f"certificate {self.tls.server}\nkey {self.tls.server_key}\nauthenticate {self.tls.client}\n"
            ssl = f"<ssl>\n{files}</ssl>\n"
        configuration = self.folder / "zeo.conf"
        configuration.write_text(
            f"<zeo>\naddress 127.0.0.1:{self.port}\ninvalidation-queue-size 1000\n{ssl}</zeo>\n"
            f"<filestorage {self.STORAGE}>\npath {self.folder}/Data.fs\nblob-dir {self.folder}/blobs\n"
            f"read-only {str(read_only).lower()}\n</filestorage>\n"
        )
        command = [VIRTUALENV / "bin" / "runzeo", "-C", configuration]
        # By SIGTERM one that has just begun to listen would live on: ZEO ends its main thread alone then.
        self.process = start(command, self.log, self.account, signal.SIGKILL)
        until(self._answers, self.log.read_text)

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        return listens(self.port)

    def stop(self, number=signal.SIGTERM):
        """Stop it: by SIGTERM in order, by SIGKILL as it falls."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


class Certificates:
    """Certificates of a server and of a client, which trust each other and nobody else."""

    def __init__(self, folder):
        self.server, self.server_key = self._make(folder, "server", "serverAuth")
        self.client, self.client_key = self._make(folder, "client", "clientAuth")

    @staticmethod
    def _make(folder, name, use):
        # ZEO verifies strictly, which wants all of these extensions.
        extensions = [
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            f"extendedKeyUsage={use}",
            "keyUsage=digitalSignature",
        ]
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        more = [word for extension in extensions for word in ("-addext", extension)]
        subprocess.run(
            [*new, "-subj", f"/CN={name}", "-days", "2", "-keyout", key, "-out", cert, *more],
            check=True,
            capture_output=True,
        )
        key.chmod(0o644)  # of a test, for whichever account opens the storage
        return cert, key
