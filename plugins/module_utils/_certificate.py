# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what the standard library can tell of a certificate, its key and who accepts it.

Nothing here raises for a file that is missing or wrong: the answer holds a sentence instead.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import time


class _CertificateError(Exception):
    """A sentence on a file."""


class _NotAcceptedError(_CertificateError):
    """A sentence on a certificate that an authority does not accept."""


def look(cert, key=None, ca=None, purpose="server"):
    """Return what is known of the first certificate of a PEM file, as RETURN of zodb_host_info describes it.

    key: path of its private key. ca: path of a file or a rehashed folder with what is to accept it. purpose: server
    or client.
    """
    answer = {
        "exists": os.path.exists(cert),
        "readable": False,
        "not_before": None,
        "not_after": None,
        "names": None,
        "expired": None,
        "days_left": None,
        "key_matches": None,
        "trusted": None,
        "error": None,
    }
    try:
        _dates(answer, cert)
        if key:
            answer["key_matches"] = _key_matches(cert, key)
        if ca and answer["key_matches"]:
            answer["trusted"] = _trusted(cert, key, ca, purpose == "server")
    except _CertificateError as problem:
        answer["error"] = str(problem)
        answer["trusted"] = False if isinstance(problem, _NotAcceptedError) else None
    answer["error"] = answer["error"] or _complaint(answer, cert, key)
    return answer


def _dates(answer, cert):
    _content(cert)
    try:
        # The one way of the standard library to the dates of a certificate without a connection, as get_ca_certs()
        # leaves out what is no authority's. It is private, and in every CPython from 3.9 to 3.14.
        decoded = ssl._ssl._test_decode_cert(cert)
    except ssl.SSLError:
        raise _CertificateError(f"{cert}: there is no certificate in it") from None
    before, after = (ssl.cert_time_to_seconds(decoded[end]) for end in ("notBefore", "notAfter"))
    now = time.time()
    answer.update(readable=True, not_before=before, not_after=after, expired=after <= now)
    answer["names"] = [
        str(ipaddress.ip_address(name.strip())) if kind == "IP Address" else name
        for kind, name in decoded.get("subjectAltName", ())
        if kind in ("DNS", "IP Address")
    ]
    answer["days_left"] = round((after - now) / 86400, 2)


def _complaint(answer, cert, key):
    if answer["key_matches"] is False:
        return f"{key}: not the key of {cert}"
    if answer["expired"]:
        return f"{cert}: expired on {_day(answer['not_after'])}"
    if answer["not_before"] and answer["not_before"] > time.time():
        return f"{cert}: valid only from {_day(answer['not_before'])} on"
    return None


def _day(moment):
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _CertificateError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _key_matches(cert, key):
    text = _content(key)
    if b"PRIVATE KEY-----" not in text:
        raise _CertificateError(f"{key}: there is no private key in it")
    if b"ENCRYPTED" in text:
        raise _CertificateError(f"{key}: the key is encrypted")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except ssl.SSLError as error:
        # The second is said of a key of another kind, RSA for a certificate of elliptic curves.
        if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH"):
            return False
        raise _CertificateError(f"{key}: cannot be used with {cert}: {error.reason}") from None
    return True


def _trusted(cert, key, ca, for_server):
    """Return True if ca accepts a certificate, found out by a TLS handshake in memory; raise _NotAcceptedError if not.

    The rules are those of ZEO.zconfig.ssl_config: strict, and with the revocation lists in the file.
    """
    if not os.path.isdir(ca):
        _content(ca)
    purpose = ssl.Purpose.SERVER_AUTH if for_server else ssl.Purpose.CLIENT_AUTH
    try:
        judge = ssl.create_default_context(purpose, **{"capath" if os.path.isdir(ca) else "cafile": ca})
    except ssl.SSLError:
        raise _CertificateError(f"{ca}: there is no certificate in it") from None
    judge.check_hostname = False
    judge.verify_mode = ssl.CERT_REQUIRED
    judge.verify_flags |= ssl.VERIFY_X509_STRICT
    if judge.cert_store_stats()["crl"]:
        judge.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    bearer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if for_server else ssl.PROTOCOL_TLS_CLIENT)
    bearer.check_hostname = False
    bearer.verify_mode = ssl.CERT_NONE
    bearer.load_cert_chain(cert, key)
    if not for_server:
        judge.load_cert_chain(cert, key)  # a server needs one too; the bearer does not look at it
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        judge.wrap_bio(one, other, server_side=not for_server),
        bearer.wrap_bio(other, one, server_side=for_server),
    )
    try:
        for _round in range(10):
            ended = [_shake(side) for side in sides]
            if all(ended):
                return True
    except ssl.SSLCertVerificationError as error:
        raise _NotAcceptedError(f"{cert}: not accepted by {ca}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise _CertificateError(f"{cert}: cannot be tried with {ca}: {error.reason}") from None
    raise _CertificateError(f"{cert}: cannot be tried with {ca}: the handshake does not end")


def _shake(side):
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
