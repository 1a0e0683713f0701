# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dates of certificates and CRLs, against those that openssl was told to write."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import time

import pytest

from pyams_zodb_tools import _certificates
from pyams_zodb_tools._errors import Failure

HOUR = 3600
DAY = 86400


def about(seconds: float):
    return pytest.approx(seconds, abs=HOUR)


def test_a_certificate_and_its_key_in_one_file(authority):
    certificate, key = authority.signed("app", begins=-3, ends=50)
    certificate.write_bytes(key.read_bytes() + certificate.read_bytes())
    (found,) = _certificates.read(str(certificate))
    assert (found.crl, found.name, str(found)) == (False, "app", f"certificate app ({certificate})")
    assert (found.begins, found.ends) == (about(time.time() - 3 * DAY), about(time.time() + 50 * DAY))
    assert found.days_left(time.time()) == pytest.approx(50, abs=0.1)


def test_the_exact_second_before_and_after_2050(authority):
    """Dates are a UTCTime until 2049, a GeneralizedTime from 2050."""
    authority._request("late")
    (authority.folder / "late.crt").rename(authority.folder / "late.csr")
    dates = ("-startdate", "20491231235959Z", "-enddate", "20500101000000Z")
    files = ("-in", "late.csr", "-out", "late.crt", "-notext")
    authority._openssl("ca", "-batch", "-config", "openssl.cnf", *dates, *files)
    (found,) = _certificates.read(str(authority.folder / "late.crt"))
    assert datetime.datetime.fromtimestamp(found.begins, datetime.UTC).isoformat() == "2049-12-31T23:59:59+00:00"
    assert datetime.datetime.fromtimestamp(found.ends, datetime.UTC).isoformat() == "2050-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        pytest.param(-1, 30, id="valid"),
        pytest.param(-30, -1, id="expired"),
        pytest.param(-1, 12000, id="GeneralizedTime"),
    ],
)
@pytest.mark.parametrize("revoked", [pytest.param((), id="empty"), pytest.param(("one", "two"), id="with entries")])
def test_a_crl(authority, begins, ends, revoked):
    for name in revoked:
        authority.signed(name)
        authority.revoke(name)
    (found,) = _certificates.read(str(authority.crl(begins, ends)))
    assert (found.crl, found.name) == (True, "ca")
    assert (found.begins, found.ends) == (about(time.time() + begins * DAY), about(time.time() + ends * DAY))


def test_a_crl_without_next_update_and_of_version_1(authority):
    """openssl always writes a nextUpdate: it is cut out here, and the lengths around it are mended."""
    (found,) = _certificates.read(str(authority.crl()))
    outer = _certificates._Reader(_certificates._Reader(found.der).take(0x30))
    signed, rest = outer.take(0x30), outer.data[outer.position :]
    reader, parts = _certificates._Reader(signed), []
    while reader.tag() is not None:
        begin = reader.position
        tag = reader.next()[0]
        parts.append((tag, signed[begin : reader.position]))
    times = [index for index, (tag, _part) in enumerate(parts) if tag in (0x17, 0x18)]
    kept = [part for index, (tag, part) in enumerate(parts) if index != times[1] and tag not in (0x02, 0xA0)]
    bare = _certificates.parse("x", True, _sequence(_sequence(b"".join(kept)) + rest))
    assert (bare.begins, bare.ends, bare.days_left(time.time())) == (found.begins, None, None)


def _sequence(content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return b"\x30" + length + content


def test_a_bundle_of_several_certificates_and_a_crl(authority):
    authority.signed("one", ends=10)
    authority.signed("two", ends=5)
    bundle = authority.bundle(ends=3)
    with open(bundle, "ab") as file:
        file.writelines((authority.folder / f"{name}.crt").read_bytes() for name in ("one", "two"))
    found = _certificates.read(str(bundle))
    assert [(document.crl, document.name) for document in found] == [
        (False, "ca"),
        (True, "ca"),
        (False, "one"),
        (False, "two"),
    ]


def test_a_folder_as_openssl_rehash_leaves_it(authority, tmp_path):
    folder = tmp_path / "clients"
    folder.mkdir()
    for name in "web", "worker":
        authority.pinned(name)[0].rename(folder / f"{name}.pem")
    (folder / "README").write_text("pinned clients")
    subprocess.run(["openssl", "rehash", folder], check=True)
    assert len(list(folder.iterdir())) == 5
    assert [(document.path, document.name) for document in _certificates.read(str(folder))] == [
        (f"{folder}/web.pem", "web"),
        (f"{folder}/worker.pem", "worker"),
    ]


def test_an_empty_folder(tmp_path):
    assert _certificates.read(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        pytest.param("/O=PyAMS/CN=web", "web", id="after other names"),
        pytest.param("/O=PyAMS", "", id="none"),
        pytest.param("/CN=a/CN=b", "b", id="the last"),
        pytest.param("/CN=Société Générale", "Société Générale", id="UTF-8"),
    ],
)
def test_the_name(authority, subject, name):
    arguments = ("-newkey", "ed25519", "-nodes", "-keyout", "n.key", "-out", "n.crt", "-config", "openssl.cnf")
    authority._openssl("req", "-x509", "-utf8", "-subj", subject, *arguments)
    assert _certificates.read(str(authority.folder / "n.crt"))[0].name == name


def test_what_cannot_be_read(authority, tmp_path):
    missing = tmp_path / "missing.pem"
    with pytest.raises(Failure) as caught:
        _certificates.read(str(missing))
    assert str(caught.value) == f"{missing} cannot be read: No such file or directory"
    key = authority.pinned("app")[1]
    with pytest.raises(Failure) as caught:
        _certificates.read(str(key))
    assert str(caught.value) == f"{key} holds no certificate in PEM"
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nTm8=\n-----END CERTIFICATE-----\n")
    with pytest.raises(Failure) as caught:
        _certificates.read(str(broken))
    assert str(caught.value) == f"{broken} holds a broken CERTIFICATE: it is cut off"


def test_der_that_is_cut_off_or_damaged_never_passes_unseen(authority):
    """At each length, and with each byte of the head changed, there is no error but ValueError."""
    authority.signed("app")
    found = [_certificates.read(str(authority.folder / "app.crt"))[0], _certificates.read(str(authority.crl()))[0]]
    for document in found:
        for size in range(len(document.der)):
            with pytest.raises(ValueError, match=r"it is|element"):
                _certificates.parse("x", document.crl, document.der[:size])
        for position in range(150):
            for byte in 0x00, 0x7F, 0x80, 0x84, 0xFF:
                damaged = document.der[:position] + bytes([byte]) + document.der[position + 1 :]
                with contextlib.suppress(ValueError):
                    _certificates.parse("x", document.crl, damaged)
