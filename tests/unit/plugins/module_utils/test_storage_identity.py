# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which storage a description is of, and what in it must not be shown."""

from __future__ import annotations

import json

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils._storage import identities, mask, render, secrets_of

SEVERAL = {"connect_timeout": 2, "tcp_user_timeout": 4000, "target_session_attrs": "read-write"}


def pg(**options):
    return {"postgresql": {"dbname": "site", **options}}


def mysql(**options):
    return {"mysql": {"db": "site", **options}}


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        pytest.param({"filestorage": {"path": "/srv//x/../Data.fs"}}, ["file:///srv/Data.fs"], id="filestorage"),
        pytest.param(
            {"zeo": {"server": ["Zeo1:8100", "8101", "/run/zeo.sock"], "storage": "1"}},
            ["zeo://zeo1:8100/1", "zeo://localhost:8101/1", "zeo:///run/zeo.sock/1"],
            id="zeo",
        ),
        pytest.param(pg(), ["postgresql://localhost:5432/site"], id="postgresql, its socket"),
        pytest.param(pg(host="::1", password="x"), ["postgresql://localhost:5432/site"], id="postgresql, IPv6"),
        pytest.param(
            pg(host=["DB1", "[2001:db8::1]:5433"], port=6432, **SEVERAL),
            ["postgresql://db1:6432/site", "postgresql://[2001:db8::1]:5433/site"],
            id="postgresql, two hosts",
        ),
        pytest.param(pg(host="/run/PG"), ["postgresql:///run/PG:5432/site"], id="postgresql, a socket"),
        pytest.param(pg(service="site"), ["postgresql://service/site/site"], id="postgresql, a service"),
        pytest.param(
            pg(replica_conf="/etc/r.conf", target_session_attrs="any"),
            ["postgresql://replicas/etc/r.conf/site"],
            id="postgresql, replicas",
        ),
        pytest.param(
            {"newt": {"dbname": "site", "host": "::1"}}, ["postgresql://localhost:5432/site"], id="newt, as postgresql"
        ),
        pytest.param(mysql(), ["mysql://localhost:3306/site"], id="mysql"),
        pytest.param(mysql(unix_socket="/run/my.sock"), ["mysql:///run/my.sock/site"], id="mysql, a socket"),
        pytest.param(
            {"mariadb": {"db": "site", "host": "::1", "password": "x"}}, ["mysql://localhost:3306/site"], id="mariadb"
        ),
        pytest.param({"oracle": {"user": "Site", "dsn": "DB1", "password": "x"}}, ["oracle://db1/site"], id="oracle"),
        pytest.param({"sqlite": {"data_dir": "/srv/site/"}}, ["sqlite:///srv/site"], id="sqlite"),
        pytest.param(
            {"config_file": {"path": "/etc/c.conf", "section": "Source"}},
            ["config_file:///etc/c.conf#source"],
            id="config_file",
        ),
    ],
)
def test_identities(description, expected):
    assert identities(description) == expected


def test_a_text_is_itself_whatever_its_section_is_called():
    one, again, other = (
        identities({"zconfig": text})
        for text in (
            "<filestorage source>\npath /x\n</filestorage>",
            "<filestorage>\r\n    path   /x\r\n</filestorage>\r\n",
            "<filestorage>\npath /y\n</filestorage>",
        )
    )
    assert one == again
    assert one != other


RAW = """%import relstorage
<relstorage>
  blob-dir /srv/password
  <mysql>
    passwd two words $$x
    PASSWORD\tupper
  </mysql>
  <postgresql>
    dsn dbname='site' password = 'it\\'s $$1' passfile=/etc/pgpass sslpassword=tls user=u
  </postgresql>
  cache-servers memcached://user:hidden@cache/
</relstorage>
"""


def test_secrets_in_a_raw_text_are_found_as_written_and_as_read():
    assert secrets_of({"zconfig": RAW}) == [
        "two words $$x",
        "two words $x",
        "upper",
        "'it\\'s $$1'",
        "'it\\'s $1'",
        "it's $1",
        "tls",
        "hidden",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("nothing to see", "nothing to see", id="nothing"),
        pytest.param("  passwd two words\n  db x\n", "  passwd ********\n  db x\n", id="a key of ZConfig"),
        pytest.param("host=h password=abc user=u", "host=h password=******** user=u", id="DSN"),
        pytest.param("password='a b\\' c' user=u", "password=******** user=u", id="DSN, quoted"),
        pytest.param('password = "a b" user=u', "password = ******** user=u", id="DSN, blanks around the sign"),
        pytest.param("passfile=/etc/pgpass", "passfile=/etc/pgpass", id="a file is no secret"),
        pytest.param("sslpassword=abc", "sslpassword=********", id="of a key"),
        pytest.param("PGPASSWORD=abc psql", "PGPASSWORD=******** psql", id="environment"),
        pytest.param("postgresql://u:p%20w@db/site", "postgresql://u:********@db/site", id="URI"),
        pytest.param("postgresql://db:5432/site", "postgresql://db:5432/site", id="URI without one"),
        pytest.param(
            "connecting to dsn=\"dbname='site' password='hunter2'\" failed",
            "connecting to dsn=\"dbname='site' password=********\" failed",
            id="a line of a log",
        ),
        pytest.param("FATAL:  password authentication failed for user", None, id="the word alone"),
    ],
)
def test_mask(text, expected):
    assert mask(text) == (text if expected is None else expected)


def test_known_secrets_are_masked_wherever_they_stand():
    assert mask("x hunter2 and hunter2222 y", ["hunter2", "hunter2222"]) == "x ******** and ******** y"
    for secret in secrets_of({"zconfig": RAW}):
        assert secret not in mask(f"tried {secret!s}, and\n{RAW}", secrets_of({"zconfig": RAW}))


@pytest.mark.parametrize("password", ["it's a $ecret, \\1", 'say "it\'s"', "käse", "two words"])
def test_a_known_secret_is_masked_in_all_that_programs_print_of_it(password):
    text = render(pg(host="db1", user="u", password=password), secrets=True)
    (dsn,) = [line.partition("dsn ")[2] for line in text.splitlines() if "dsn " in line]
    for shown in (dsn, dsn.replace("$$", "$")):
        for line in (shown, repr(shown), f"dsn={shown!r}", repr(f"dsn={shown!r}"), json.dumps({"dsn": shown})):
            masked = mask(line, secrets_of(pg(password=password)))
            assert not any(part in masked for part in ("ecret", "say", "words", "\u00e4se", "e4se")), line


def test_secrets_of_options():
    assert secrets_of(pg(password="a b")) == ["a b"]
    assert secrets_of(pg(passfile="/etc/pgpass")) == []
    assert secrets_of({"filestorage": {"path": "/x"}}) == []
