# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dates of certificates and CRLs, from PEM files and folders.

Read from their DER by a walk that knows just enough of it: the standard library shows the dates of the first
certificate of a file only, and of no CRL.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import os
import re

from pyams_zodb_tools._errors import Failure, reason

_PEM = re.compile(
    rb"-----BEGIN (CERTIFICATE|X509 CERTIFICATE|TRUSTED CERTIFICATE|X509 CRL)-----([A-Za-z0-9+/=\s]*)-----END \1-----"
)
_SEQUENCE, _SET, _INTEGER, _OID, _VERSION = 0x30, 0x31, 0x02, 0x06, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_COMMON_NAME = bytes.fromhex("550403")
_TEXTS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}


@dataclasses.dataclass(frozen=True)
class Document:
    """A certificate, or a CRL."""

    path: str
    crl: bool
    name: str  # common name of its subject, of a CRL's issuer; may be empty
    begins: float  # seconds since the epoch
    ends: float | None  # None: a CRL that does not say when the next one comes
    der: bytes

    def __str__(self) -> str:
        return f"{'CRL' if self.crl else 'certificate'} {self.name} ({self.path})"

    def days_left(self, now: float) -> float | None:
        return None if self.ends is None else (self.ends - now) / 86400


def read(path: str) -> list[Document]:
    """Return what a PEM file, or the PEM files in a folder, hold. A link to a file that was seen is passed over.

    Raises Failure for a file without certificate and CRL, or with a broken one. Other files in a folder are ignored,
    as OpenSSL does.
    """
    try:
        if not os.path.isdir(path):
            with open(path, "rb") as source:
                found = list(_documents(path, source.read()))
            if not found:
                raise Failure(f"{path} holds no certificate in PEM")
            return found
        found, seen = [], set()
        for entry in sorted(os.scandir(path), key=lambda entry: (entry.is_symlink(), entry.name)):
            real = os.path.realpath(entry.path)
            if entry.is_file() and real not in seen:
                seen.add(real)
                with open(real, "rb") as source:
                    found += _documents(entry.path, source.read())
        return found
    except OSError as error:
        raise Failure(f"{path} cannot be read: {reason(error)}") from error


def parse(path: str, crl: bool, der: bytes) -> Document:
    """Return the certificate or CRL that `der` holds. Raises ValueError where it does not."""
    signed = _Reader(_Reader(der).take(_SEQUENCE)).take(_SEQUENCE)
    fields = _Reader(signed)
    fields.skip(_INTEGER if crl else _VERSION)
    if not crl:
        fields.take(_INTEGER)  # serial number
    fields.take(_SEQUENCE)  # signature algorithm
    name = _common_name(fields.take(_SEQUENCE))  # issuer
    if crl:
        begins = _time(*fields.next())
        ends = _time(*fields.next()) if fields.tag() in (_UTC_TIME, _GENERALIZED_TIME) else None
    else:
        validity = _Reader(fields.take(_SEQUENCE))
        begins, ends = _time(*validity.next()), _time(*validity.next())
        name = _common_name(fields.take(_SEQUENCE))  # subject
    return Document(path, crl, name, begins, ends, der)


def _documents(path: str, pem: bytes):
    for kind, text in _PEM.findall(pem):
        try:
            yield parse(path, kind == b"X509 CRL", base64.b64decode(b"".join(text.split()), validate=True))
        except ValueError as error:  # binascii.Error is one
            raise Failure(f"{path} holds a broken {kind.decode()}: {reason(error)}") from error


class _Reader:
    """The elements of one DER value, in turn."""

    def __init__(self, data: bytes):
        self.data = data
        self.position = 0

    def tag(self) -> int | None:
        return self.data[self.position] if self.position < len(self.data) else None

    def next(self) -> tuple[int, bytes]:
        tag = self.tag()
        if tag is None or self.position + 2 > len(self.data):
            raise ValueError("it is cut off")
        size, start = self.data[self.position + 1], self.position + 2
        if size & 0x80:  # so many bytes of length follow; 0x80 alone is BER
            count = size & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("it is not DER")
            size, start = int.from_bytes(self.data[start : start + count], "big"), start + count
        end = start + size
        if end > len(self.data):
            raise ValueError("it is cut off")
        self.position = end
        return tag, self.data[start:end]

    def take(self, tag: int) -> bytes:
        found, value = self.next()
        if found != tag:
            raise ValueError(f"element {found:#x} stands where {tag:#x} belongs")
        return value

    def skip(self, tag: int) -> None:
        if self.tag() == tag:
            self.next()


def _time(tag: int, value: bytes) -> float:
    """Return seconds since the epoch of a UTCTime (years 1950 to 2049) or a GeneralizedTime."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"element {tag:#x} stands where a time belongs")
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return (moment - datetime.datetime(1970, 1, 1)).total_seconds()


def _common_name(name: bytes) -> str:
    found = ""
    sets = _Reader(name)
    while sets.tag() is not None:
        attributes = _Reader(sets.take(_SET))
        while attributes.tag() is not None:
            attribute = _Reader(attributes.take(_SEQUENCE))
            if attribute.take(_OID) == _COMMON_NAME:
                tag, value = attribute.next()
                found = value.decode(_TEXTS.get(tag, "latin-1"), "replace")
    return found
