# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real things for the tests: ZEO, PostgreSQL, PgBouncer, certificates and CRLs by openssl, SMTP, small disks.

The tests run in a virtualenv made of a lock, requirements.txt beside this file and the distribution itself.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import email
import email.policy
import importlib
import io
import json
import os
import pathlib
import pwd
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import textwrap
import time

import persistent.mapping
import psycopg2
import transaction
import ZODB
import ZODB.blob
import ZODB.config

SCRIPTS = pathlib.Path(sys.executable).parent
MAIL = {"server": "localhost:1", "sender": "zodb@example.org", "report": []}


def command(script: str, *arguments, **options) -> subprocess.CompletedProcess:
    """Run one of the distribution's commands to its end."""
    return subprocess.run(
        [SCRIPTS / script, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )


def called(script: str, *arguments) -> subprocess.CompletedProcess:
    """Do what command does within this process, which has RelStorage imported already: half a second less."""
    main = importlib.import_module(f"pyams_zodb_tools._{script.removeprefix('zodb-')}").main
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main([*map(str, arguments)])
    return subprocess.CompletedProcess(script, status, output.getvalue(), errors.getvalue())


@contextlib.contextmanager
def started(script: str, *arguments):
    """One of the distribution's commands, running; killed if it still does at the end."""
    process = subprocess.Popen(
        [SCRIPTS / script, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition, seconds: float = 15):
    """Wait until the condition holds, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclasses.dataclass
class Server:
    """A runzeo process over FileStorages with blobs, one for each storage named."""

    folder: pathlib.Path
    names: list[str]
    tls: tuple | None = None  # certificate, key, authenticate
    options: dict = dataclasses.field(default_factory=dict)  # further lines of a <filestorage>, by storage
    zeo: str = ""  # further lines of <zeo>
    address: str = ""
    client_tls: tuple | None = None  # what its clients use
    process: subprocess.Popen | None = None

    def __post_init__(self):
        self.address = self.address or f"127.0.0.1:{free_port()}"
        self.log = self.folder / "zeo.log"

    def data(self, name: str) -> pathlib.Path:
        return self.folder / name / "Data.fs"

    def start(self) -> Server:
        storages = ""
        for name in self.names:
            self.data(name).parent.mkdir(parents=True, exist_ok=True)
            blobs = self.data(name).parent / "blobs"
            storages += f"<filestorage {name}>\npath {self.data(name)}\nblob-dir {blobs}\n"
            storages += f"{self.options.get(name, '')}\n</filestorage>\n"
        self.folder.joinpath("zeo.conf").write_text(
            f"<zeo>\naddress {self.address}\n{self.zeo}\n{_ssl(self.tls)}</zeo>\n{storages}"
        )
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [SCRIPTS / "runzeo", "-C", self.folder / "zeo.conf"],
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(self.folder)},
            )
        until(lambda: self.process.poll() is not None or self._listens())
        assert self.process.poll() is None, self.log.read_text()
        return self

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            if "/" in self.address:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(self.address)
                return True
            host, _colon, port = self.address.rpartition(":")
            socket.create_connection((host, int(port)), 1).close()
            return True
        return False

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def section(self, storage: str, tls: tuple | None = None, wait: int = 5, more: str = "") -> str:
        """Return a <clientstorage> section for one of its storages."""
        return (
            f"%import ZEO\n<clientstorage>\nserver {self.address}\nstorage {storage}\nwait-timeout {wait}\n{more}"
            f"{_ssl(tls or self.client_tls)}</clientstorage>\n"
        )

    @contextlib.contextmanager
    def database(self, name: str):
        """A ZODB database over a real client, with blobs."""
        section = self.section(name, more=f"blob-dir {self.folder / 'cache' / name}\n")
        database = ZODB.DB(ZODB.config.storageFromString(section))
        try:
            yield database
        finally:
            database.close()

    def fill(self, name: str, revisions: int = 5, size: int = 20000) -> None:
        """Commit so many revisions of one object of that size, and of a blob."""
        with self.database(name) as database, database.transaction() as connection:
            connection.root()["blob"] = ZODB.blob.Blob(b"0")
        with self.database(name) as database:
            for revision in range(revisions):
                with database.transaction() as connection:
                    connection.root()["text"] = str(revision) * size
                    with connection.root()["blob"].open("w") as blob:
                        blob.write(str(revision).encode() * 1000)

    def content(self, name: str) -> tuple:
        with self.database(name) as database:
            connection = database.open()
            try:
                root = connection.root()
                with root["blob"].open() as blob:
                    return root["text"], blob.read()
            finally:
                transaction.abort()
                connection.close()


def _ssl(tls: tuple | None) -> str:
    if not tls:
        return ""
    return "<ssl>\ncertificate {}\nkey {}\nauthenticate {}\n</ssl>\n".format(*tls)


def write_settings(file: pathlib.Path, served: Server, /, *names: str, **changes) -> pathlib.Path:
    """Write the TOML file of the tools for storages of a server; `changes` go by key, `sections` by storage."""
    settings = {
        "service": "zeo-test.service",
        "title": "Test site",
        "start_timeout": 10,
        "transaction_timeout": 30,
        "certificates": [],
        "certificate_days": 20,
        "crl_days": 14,
    }
    storage = {"pack_days": 0, "pack_expected_days": 0, "disk_warning": 0}
    mail = dict(MAIL)
    sections = changes.pop("sections", {})
    for key, value in changes.items():
        target = storage if key in storage else mail if key in mail else settings
        target[key] = value
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += ["[mail]", *(f"{key} = {json.dumps(value)}" for key, value in mail.items())]
    for name in names or served.names:
        entry = {
            **storage,
            "name": name,
            "path": str(served.data(name)),
            "blob_dir": str(served.data(name).parent / "blobs"),
            "zconfig": sections.get(name, served.section(name)),
        }
        lines += ["[[storages]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    file.write_text("\n".join(lines) + "\n")
    return file


class PostgreSQL:
    """A server of Debian's PostgreSQL, run by an ordinary account. Its socket trusts everybody, its port nobody."""

    ROLE = "zodb"
    QUOTED = "it's a $ecret:, \\1"  # the password of its role: whatever needs quoting

    def __init__(self, folder: pathlib.Path, **settings):
        self.bin = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self.account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.folder, self.data, self.log = folder, folder / "data", folder / "log"
        self.passfile = folder / "pgpass"
        self.port, self.databases, self.process = free_port(), 0, None
        self.settings = {"max_wal_size": "64MB", **settings}
        self.label = f"127.0.0.1:{self.port}"
        folder.chmod(0o755)
        if self.account:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)
        password = self.QUOTED.replace("\\", "\\\\").replace(":", "\\:")
        self.passfile.write_text(f"*:*:*:{self.ROLE}:{password}\n")
        self.passfile.chmod(0o600)

    def make(self) -> PostgreSQL:
        """Make and start it."""
        self.run(
            "initdb", "--no-sync", "--username=admin", "--auth-local=trust", "--auth-host=scram-sha-256", self.data
        )
        self.start()
        self.psql("create role zodb login password '{}'".format(self.QUOTED.replace("'", "''")))
        return self

    def copy(self) -> PostgreSQL:
        """Return a standby, which follows over the socket."""
        folder = self.folder / "copy"
        folder.mkdir()
        standby = PostgreSQL(folder)
        where = f"host={self.folder} port={self.port} user=admin application_name=copy"
        self.run(
            "pg_basebackup", "--checkpoint=fast", "--no-sync", "-R", f"--dbname={where}", f"--pgdata={standby.data}"
        )
        return standby.start()

    def start(self) -> PostgreSQL:
        self.launch()
        ready = [self.bin / "pg_isready", "--quiet", f"--host={self.folder}", f"--port={self.port}"]
        until(lambda: self.process.poll() is not None or subprocess.run(ready, check=False).returncode == 0)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def launch(self) -> None:
        """Start it, and do not wait until it answers."""
        # Nothing here outlives the machine, so nothing waits for its disk.
        settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "listen_addresses": "127.0.0.1",
        }
        settings |= {"port": self.port, "unix_socket_directories": self.folder, **self.settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, *options], stderr=log, **self.as_account()
            )

    def stop(self, number: int = signal.SIGQUIT) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def as_account(self) -> dict:
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": [], "cwd": "/"}

    def run(self, program: str, *arguments, **options) -> str:
        command_ = [self.bin / program, *map(str, arguments)]
        done = subprocess.run(command_, capture_output=True, text=True, check=False, **self.as_account(), **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser, and return what it prints."""
        where = [f"--host={self.folder}", f"--port={self.port}", "--username=admin", f"--dbname={database}"]
        form = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        return self.run("psql", *where, *form, "--file=-", input=sql).strip()

    def make_database(self, more: str = "template template0") -> str:
        """Return the name of a new, empty database, whose owner is ROLE."""
        self.databases += 1
        name = f"site_{self.databases}"
        self.psql(f"create database {name} owner {self.ROLE} {more}")
        return name

    def dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} dbname={database} user={self.ROLE} passfile={self.passfile}"

    def section(self, database: str, *, dsn: str = "", more: str = "") -> str:
        """Return a <relstorage> section, as the role renders it."""
        dsn = dsn or self.dsn(database)
        return (
            "%import relstorage\n<relstorage>\ncreate-schema false\n"
            f"{more or 'keep-history false'}\n<postgresql>\ndsn {dsn}\n</postgresql>\n</relstorage>\n"
        )

    @contextlib.contextmanager
    def open(self, database: str, more: str = "keep-history false"):
        """A ZODB database over RelStorage, with blobs."""
        blobs = f"{more}\nblob-dir {self.passfile.parent}/blobs-{database}"
        opened = ZODB.DB(ZODB.config.storageFromString(self.section(database, more=blobs)))
        try:
            yield opened
        finally:
            opened.close()

    def fill(self, database: str, garbage: int = 50, more: str = "keep-history false") -> None:
        """Commit objects that are kept, so many that nothing refers to any more, and a blob."""
        with self.open(database, more) as opened:
            with opened.transaction() as connection:
                connection.root()["kept"] = persistent.mapping.PersistentMapping(text="kept")
                connection.root()["blob"] = ZODB.blob.Blob(b"0" * 1000)
                connection.root()["lost"] = [persistent.mapping.PersistentMapping(n=n) for n in range(garbage)]
            with opened.transaction() as connection:
                del connection.root()["lost"]


@contextlib.contextmanager
def postgresql_server():
    """A server of PostgreSQL, in a folder that its account can reach: pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="zodb-tools-") as folder:
        server = PostgreSQL(pathlib.Path(folder)).make()
        try:
            yield server
        finally:
            server.stop()


class PgBouncer:
    """Pooler processes on one port before a server of PostgreSQL. `front` is that server as their clients see it."""

    def __init__(self, server: PostgreSQL, mode: str, processes: int = 1, **settings):
        self.server, self.front, self.processes = server, copy.copy(server), []
        self.front.port = free_port()
        self.front.label = f"127.0.0.1:{self.front.port}"
        self.folder = server.folder / f"pgbouncer-{self.front.port}"
        self.folder.mkdir()
        users = self.folder / "users"
        # The server's own secrets, by which the login of a client is good for the server too.
        roles = 'select format(\'"%s" "%s"\', rolname, rolpassword) from pg_authid'
        users.write_text(server.psql(roles) + "\n")
        settings = {"pool_mode": mode, "auth_type": "scram-sha-256", "auth_file": users, **settings}
        settings |= {"listen_addr": "127.0.0.1", "listen_port": self.front.port, "unix_socket_dir": ""}
        lines = ["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]", "so_reuseport = 1"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        self.folder.joinpath("pgbouncer.ini").write_text("\n".join(lines) + "\n")
        for _process in range(processes):
            self._start()

    def _start(self) -> None:
        log = self.folder / f"log-{len(self.processes)}"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                ["/usr/sbin/pgbouncer", self.folder / "pgbouncer.ini"], stderr=file, **self.server.as_account()
            )
        self.processes.append(process)
        until(lambda: process.poll() is not None or "process up" in log.read_text())
        assert process.poll() is None, log.read_text()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)

    def warm(self, database: str, sessions: int) -> None:
        """Have so many clients at once, after whom as many sessions of the server are idle."""
        clients = [psycopg2.connect(self.front.dsn(database)) for _client in range(sessions)]
        for client in clients:
            client.cursor().execute("select 1")
        for client in clients:
            client.close()


def write_database_settings(file: pathlib.Path, sections: dict[str, str], **changes) -> pathlib.Path:
    """Write the TOML file of the tools for databases; `sections` by name, `changes` by key."""
    settings = {
        "service": "postgresql@15-main.service",
        "title": "Test site",
        "start_timeout": 10,
        "certificates": [],
        "certificate_days": 20,
        "crl_days": 14,
    }
    storage = {"kind": "relstorage", "pack_days": 0, "pack_expected_days": 0, "disk_warning": 0}
    mail = dict(MAIL)
    for key, value in changes.items():
        (settings if key in settings or key == "user" else mail if key in mail else storage)[key] = value
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += ["[mail]", *(f"{key} = {json.dumps(value)}" for key, value in mail.items())]
    for name, section in sections.items():
        entry = {**storage, "name": name, "path": str(file.parent / name), "zconfig": section}
        lines += ["[[storages]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    file.write_text("\n".join(lines) + "\n")
    return file


class Authority:
    """Certificates and CRLs, made by openssl."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        folder.joinpath("index.txt").write_text("")
        folder.joinpath("openssl.cnf").write_text(
            textwrap.dedent(f"""\
                [ca]
                default_ca = this
                [this]
                database = {folder}/index.txt
                new_certs_dir = {folder}
                rand_serial = yes
                certificate = {folder}/ca.crt
                private_key = {folder}/ca.key
                default_md = sha256
                policy = policy
                x509_extensions = leaf
                unique_subject = no
                [policy]
                commonName = supplied
                [req]
                distinguished_name = name
                [name]
                [root]
                basicConstraints = critical,CA:TRUE
                keyUsage = critical,keyCertSign,cRLSign
                subjectKeyIdentifier = hash
                [leaf]
                basicConstraints = critical,CA:FALSE
                keyUsage = critical,digitalSignature
                extendedKeyUsage = serverAuth,clientAuth
                subjectAltName = DNS:localhost,IP:127.0.0.1
                subjectKeyIdentifier = hash
                authorityKeyIdentifier = keyid
                [pinned]
                basicConstraints = critical,CA:FALSE
                keyUsage = critical,digitalSignature
                extendedKeyUsage = serverAuth,clientAuth
                subjectAltName = DNS:localhost,IP:127.0.0.1
                subjectKeyIdentifier = hash
                """)
        )
        self._request("ca", "-x509", "-days", "3650", "-extensions", "root")
        self.ca = folder / "ca.crt"

    def _openssl(self, *arguments) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self.folder)

    def _request(self, name: str, *arguments) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
        names = ("-config", "openssl.cnf", "-subj", f"/CN={name}")
        self._openssl("req", *key, *names, "-out", f"{name}.crt", *arguments)

    def pinned(self, name: str, days: int = 100) -> tuple[pathlib.Path, pathlib.Path]:
        """Return certificate and key, signed by itself, as the role makes them."""
        self._request(name, "-x509", "-days", days, "-extensions", "pinned")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def signed(self, name: str, begins: float = -1, ends: float = 100) -> tuple[pathlib.Path, pathlib.Path]:
        """Return certificate and key, signed by the authority; its dates in days from now."""
        self._request(name)
        self.folder.joinpath(f"{name}.crt").rename(self.folder / f"{name}.csr")
        dates = ("-startdate", stamp(begins), "-enddate", stamp(ends))
        files = ("-in", f"{name}.csr", "-out", f"{name}.crt", "-notext")
        self._openssl("ca", "-batch", "-config", "openssl.cnf", *dates, *files)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def revoke(self, name: str) -> None:
        self._openssl("ca", "-config", "openssl.cnf", "-revoke", f"{name}.crt")

    def crl(self, begins: float = -1, ends: float = 30) -> pathlib.Path:
        """Return a CRL; its dates in days from now."""
        dates = ("-crl_lastupdate", stamp(begins), "-crl_nextupdate", stamp(ends))
        self._openssl("ca", "-config", "openssl.cnf", "-gencrl", *dates, "-out", "crl.pem")
        return self.folder / "crl.pem"

    def bundle(self, name: str = "bundle.pem", **dates) -> pathlib.Path:
        """Return one file with the authority and its CRL."""
        path = self.folder / name
        path.write_bytes(self.ca.read_bytes() + self.crl(**dates).read_bytes())
        return path


def stamp(days: float) -> str:
    """Return a moment, in days from now, as openssl reads it."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps what it gets: enough of RFC 5321 for smtplib."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, refused: tuple[str, ...] = ()):
        super().__init__(("127.0.0.1", 0), _Session)
        self.refused = refused
        self.messages = []  # (sender, recipients, message)
        self.name = f"127.0.0.1:{self.server_address[1]}"


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._converse()

    def _converse(self) -> None:
        sender, recipients = None, []
        self._say(220, "ready")
        for line in self.rfile:
            verb, _space, rest = line.decode().strip().partition(" ")
            address = rest.partition("<")[2].partition(">")[0]
            if verb.upper() in ("EHLO", "HELO", "RSET", "NOOP"):
                self._say(250, "fine")
            elif verb.upper() == "MAIL":
                sender, recipients = address, []
                self._say(250, "fine")
            elif verb.upper() == "RCPT" and address in self.server.refused:
                self._say(550, "no such user")
            elif verb.upper() == "RCPT":
                recipients.append(address)
                self._say(250, "fine")
            elif verb.upper() == "DATA":
                self._say(354, "go on")
                data = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = email.message_from_bytes(data.replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
                self.server.messages.append((sender, recipients, message))
                self._say(250, "fine")
            elif verb.upper() == "QUIT":
                self._say(221, "bye")
                return
            else:
                self._say(502, "what?")

    def _say(self, code: int, text: str) -> None:
        self.wfile.write(f"{code} {text}\r\n".encode())


def on_small_disk(folder: pathlib.Path, size: str, script: str) -> subprocess.CompletedProcess:
    """Run a shell script while a tmpfs of that size lies over the folder, for the script alone."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mount = f"mount -t tmpfs -o size={size} tmpfs {folder} && {script}"
    return subprocess.run(
        ["unshare", "--mount", *user, "sh", "-euc", mount], capture_output=True, text=True, timeout=60, check=False
    )
