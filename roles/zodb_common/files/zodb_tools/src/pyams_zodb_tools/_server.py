# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A ZEO server, asked first over one bare connection, then opened by a real ClientStorage.

ClientStorage says only "timed out waiting for connection", whatever the cause, and a client that is refused in the
TLS handshake tries again 230 times a second. So the bare connection comes first: it tells nobody listening, a refused
certificate, an unknown storage name and a read-only storage from each other, in one try.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import ssl
import struct

import ZEO.asyncio.marshal
import ZEO.ClientStorage
import ZEO.Exceptions
import ZEO.zconfig

from pyams_zodb_tools import _settings, _zconfig
from pyams_zodb_tools._errors import Failure, Misconfigured, NotListening, reason

_LARGEST = 1 << 20  # bytes of a message, for what is no ZEO server


class Tls(tuple):
    """What ZEO expects of a client's <ssl> section, (context, host name), and the path of its own certificate."""

    certificate: str


@dataclasses.dataclass(frozen=True)
class Client:
    """How to open a storage of a ZEO server, from the text of a <clientstorage> section."""

    addresses: list[tuple[str, int] | str]
    storage: str
    tls: Tls | None
    timeout: int  # seconds; the wait-timeout


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a server told over the bare connection."""

    address: tuple[str, int] | str
    storages: dict  # name -> its statistics
    certificate: bytes | None  # DER, as the server presented it


def client(settings: _settings.Settings, storage: _settings.Storage) -> Client:
    """Return how to open a storage of a file. Raises Misconfigured with the line in its zconfig."""
    opener, name = _zconfig.storage(settings, storage, {"ZEO.zconfig.client_ssl": _tls})
    if not isinstance(opener, ZEO.zconfig.ClientStorageConfig):
        raise Misconfigured(f"{name}:1: is not a <clientstorage>")
    section = opener.config
    # Caches and folders of blobs are the application's: a second process would find them locked or fill them.
    return Client(
        addresses=[server.address for server in section.server],
        storage=section.storage,
        tls=section.ssl,
        timeout=section.wait_timeout,
    )


def _tls(section) -> Tls:
    """Make the TLS context of an <ssl> section; OpenSSL does not tell which of the files it could not read."""
    for path in section.certificate, section.key, section.authenticate:
        if path and not os.path.isdir(path):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ValueError(f"{path} cannot be read: {reason(error)}") from error
    try:
        tls = Tls(ZEO.zconfig.client_ssl(section))
    except ssl.SSLError as error:
        raise ValueError(f"{section.certificate} and its key or authorities are refused: {reason(error)}") from error
    tls.certificate = section.certificate
    return tls


def label(address: tuple[str, int] | str) -> str:
    """Return an address as one writes it: host:port, [IPv6]:port or the path of a socket."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host or '127.0.0.1'}:{port}"


def reach(how: Client, read_only: bool) -> Answer:
    """Return the answer of the first server that serves the storage.

    Raises NotListening where no server is there, Failure with what a server has against us.
    """
    failures = []
    for address in how.addresses:
        try:
            return _ask(how, address, read_only)
        except Failure as failure:
            failures.append(failure)
    kind = Failure if any(not isinstance(failure, NotListening) for failure in failures) else NotListening
    raise kind("; ".join(map(str, failures)))


@contextlib.contextmanager
def opened(how: Client, answer: Answer, read_only: bool):
    """A ClientStorage, connected and closed again. Raises Failure where the connection is refused or lost."""
    try:
        storage = ZEO.ClientStorage.ClientStorage(
            [answer.address],
            storage=how.storage,
            cache_size=1 << 20,
            read_only=read_only,
            wait_timeout=how.timeout,
            ssl=how.tls and how.tls[0],
            ssl_server_hostname=how.tls and how.tls[1],
            client_label="pyams-zodb-tools",
        )
        try:
            yield storage
        finally:
            storage.close()
    except ZEO.Exceptions.ClientDisconnected as error:
        raise Failure(f"{label(answer.address)}: the connection to the server was lost ({reason(error)})") from error


def _ask(how: Client, address, read_only: bool) -> Answer:
    where = label(address)
    try:
        with _connected(how, address) as connection:
            _hello(connection, where, how)
            _send(connection, b"ruok")  # instead of a protocol: a server answers with the statistics of its storages
            storages = json.loads(_receive(connection))
            certificate = connection.getpeercert(binary_form=True) if how.tls else None
        if how.storage not in storages:
            known = ", ".join(sorted(storages))
            raise Failure(f"the server on {where} has no storage {how.storage!r}, only {known}")
        with _connected(how, address) as connection:
            protocol = _hello(connection, where, how)
            encode, decode = ZEO.asyncio.marshal.encoder(protocol), ZEO.asyncio.marshal.decoder(protocol)
            _send(connection, protocol)
            _send(connection, encode(1, False, "register", (how.storage, read_only)))
            _number, refused, _name, result = decode(_receive(connection))
    except ImportError as error:
        raise Failure(f"the server on {where} speaks msgpack, whose package is not in this virtualenv") from error
    except (OSError, EOFError, ValueError) as error:
        raise Failure(f"the server on {where} does not answer: {reason(error)}") from error
    if refused and result[0] == "ZODB.POSException.ReadOnlyError":
        raise Failure(f"the storage {how.storage!r} on {where} is read-only")
    if refused:
        raise Failure(f"the server on {where} refuses the storage {how.storage!r}: {result}")
    return Answer(address, storages, certificate)


@contextlib.contextmanager
def _connected(how: Client, address):
    where = label(address)
    try:
        if isinstance(address, str):
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(how.timeout)
            plain.connect(address)
        else:
            plain = socket.create_connection((address[0] or "127.0.0.1", address[1]), how.timeout)
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise NotListening(f"nobody listens on {where}") from error
    except OSError as error:
        raise Failure(f"cannot connect to {where}: {reason(error)}") from error
    with plain:
        if how.tls is None:
            yield plain
            return
        context, name = how.tls
        try:
            connection = context.wrap_socket(plain, server_hostname=name or address[0])
        except ssl.SSLCertVerificationError as error:
            raise Failure(f"the certificate of the server on {where} is refused: {error.verify_message}") from error
        except (OSError, EOFError) as error:
            raise Failure(_refusal(where, how, error)) from error
        with connection:
            yield connection


def _hello(connection, where: str, how: Client) -> bytes:
    try:
        protocol = _receive(connection)
    except TimeoutError:
        hint = "" if how.tls else ", or it expects TLS"
        raise Failure(f"the server on {where} says nothing within {how.timeout} s; it hangs{hint}") from None
    except ValueError:
        raise Failure(f"what listens on {where} is not a ZEO server") from None
    except (OSError, EOFError) as error:
        # Since TLS 1.3 the client learns only here that the server refused its certificate.
        raise Failure(_refusal(where, how, error)) from error
    if protocol[:1] not in (b"Z", b"M") or protocol[1:] < b"5":
        raise Failure(f"what listens on {where} is not a ZEO server of release 5 or later")
    return protocol[:1] + b"5"


def _refusal(where: str, how: Client, error: BaseException) -> str:
    """Return why a connection ended before the server's first word. It closes it without telling a client why."""
    if how.tls is None:
        return f"the server on {where} closed the connection: {reason(error)}"
    if getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"the server on {where} does not speak TLS"
    if isinstance(error, TimeoutError):
        return f"the server on {where} says nothing within {how.timeout} s; it hangs"
    return (
        f"the server on {where} refuses the certificate {how.tls.certificate}: "
        "it is not pinned there, has expired or was revoked, or the server's own CRL has expired"
    )


def _send(connection, message: bytes) -> None:
    connection.sendall(struct.pack(">I", len(message)) + message)


def _receive(connection) -> bytes:
    (size,) = struct.unpack(">I", _read(connection, 4))
    if size > _LARGEST:
        raise ValueError("it is not a ZEO server")
    return _read(connection, size)


def _read(connection, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("it closed the connection")
        data += part
    return data
