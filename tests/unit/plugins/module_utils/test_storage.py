# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage description: every text that it becomes is read by ZConfig with the schemas of ZODB, ZEO and zodbpack."""

from __future__ import annotations

import io
import socket
import subprocess
import sys

import pytest
import relstorage.zodbpack
import transaction
import ZConfig
import ZODB.config
from ansible_collections.pyams.zodb.plugins.module_utils._storage import (
    KINDS,
    Refused,
    argument_spec,
    documentation,
    files_of,
    normalise,
    render,
    render_database,
    render_pack,
)
from ZODB.blob import Blob

ZEO = {"server": "localhost:8100", "storage": "pyams"}
TLS = {"ca": "/etc/ca.pem", "cert": "/etc/cert.pem"}

# Zope's own section, of which only what ZODB's <zodb> lacks: the schema of Zope itself wants all of Zope.
ZOPE_SCHEMA = """
<schema>
  <import package="ZODB"/>
  <sectiontype name="zodb_db" datatype="ZODB.config.ZODBDatabase" implements="ZODB.database" extends="zodb">
    <multikey name="mount-point" required="yes" attribute="mount_points"/>
  </sectiontype>
  <multisection type="ZODB.database" name="*" attribute="databases" required="yes"/>
</schema>
"""


def parsed(text):
    """Return the section of a storage as ZODB's schema reads it."""
    return ZConfig.loadConfigFile(ZODB.config.getStorageSchema(), io.StringIO(text))[0].storage


def zeo(**options):
    return {"zeo": {**ZEO, **options}}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate with its key, which ZEO's schema loads while it reads the text."""
    path = tmp_path_factory.mktemp("tls") / "client.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path.with_suffix(".key")]
    subject = ["-subj", "/CN=localhost", "-days", "2", "-out", path]
    subprocess.run(["openssl", "req", "-x509", *key, *subject], check=True, capture_output=True)
    return path


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        pytest.param(
            zeo(),
            "%import ZEO\n<clientstorage>\n  server localhost:8100\n  storage pyams\n  shared-blob-dir false\n"
            "  blob-cache-size 1GB\n  cache-size 256MB\n  server-sync true\n  wait-timeout 30\n  read-only false\n"
            "  read-only-fallback false\n</clientstorage>\n",
            id="zeo, all defaults",
        ),
        pytest.param(
            zeo(
                server=["[::1]:8100", "/run/zeo.sock", "8101"],
                storage="1",
                blob_dir="/var/c$ache/b",
                client_label="a # b",
            ),
            "%import ZEO\n<clientstorage>\n  server [::1]:8100\n  server /run/zeo.sock\n  server 127.0.0.1:8101\n"
            "  storage 1\n  blob-dir /var/c$$ache/b\n  shared-blob-dir false\n  blob-cache-size 1GB\n"
            "  cache-size 256MB\n  server-sync true\n  wait-timeout 30\n  client-label a # b\n  read-only false\n"
            "  read-only-fallback false\n"
            "</clientstorage>\n",
            id="zeo, three servers, a dollar in a path",
        ),
        pytest.param(
            {"filestorage": {"path": "/srv/Data.fs"}},
            "<filestorage>\n  path /srv/Data.fs\n  read-only false\n  pack-gc true\n  pack-keep-old true\n"
            "</filestorage>\n",
            id="filestorage, all defaults",
        ),
        pytest.param(
            {
                "zconfig": "%import relstorage\r\n    <relstorage>\r\n      <sqlite3>\r\n      </sqlite3>\r\n    "
                "</relstorage>"
            },
            "%import relstorage\n    <relstorage>\n      <sqlite3>\n      </sqlite3>\n    </relstorage>\n",
            id="zconfig, Windows line ends",
        ),
        pytest.param(
            {"zconfig": "\n\n    # of the old site\n    <MappingStorage/>\n\n"},
            "# of the old site\n<MappingStorage/>\n",
            id="zconfig, margin and blank lines",
        ),
    ],
)
def test_render(description, expected):
    assert render(description) == expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        pytest.param(zeo(), "<clientstorage source>", id="zeo"),
        pytest.param({"filestorage": {"path": "/srv/Data.fs"}}, "<filestorage source>", id="filestorage"),
        pytest.param(
            {"zconfig": "<filestorage>\npath /srv/Data.fs\n</filestorage>"}, "<filestorage source>", id="zconfig"
        ),
        pytest.param({"zconfig": "# <x>\n<mappingstorage old />\n"}, "<mappingstorage source/>", id="zconfig, renamed"),
    ],
)
def test_the_name_stands_in_the_head_of_the_section(description, expected):
    text = render(description, "source")
    assert expected in text.splitlines()
    assert parsed(text).name == "source"


def test_zeo_options_arrive(certificate):
    key = str(certificate.with_suffix(".key"))
    section = parsed(
        render(
            zeo(
                server=["localhost:8100", "[2001:db8::1]:8100"],
                blob_dir="/srv/b$lobs",
                shared_blob_dir="yes",
                blob_cache_size="2 gb",
                cache_size=536870912,
                server_sync=False,
                wait_timeout="5",
                client_label="web1 of $site",
                read_only=True,
                tls={
                    "ca": str(certificate),
                    "cert": str(certificate),
                    "key": key,
                    "server_hostname": "zeo.example.org",
                },
            )
        )
    ).config
    assert [server.address for server in section.server] == [("localhost", 8100), ("2001:db8::1", 8100)]
    assert section.storage == "pyams"
    assert (section.blob_dir, section.shared_blob_dir) == ("/srv/b$lobs", True)
    assert (section.blob_cache_size, section.cache_size) == (2 * 1024**3, 512 * 1024**2)
    assert (section.server_sync, section.wait_timeout) == (False, 5)
    assert section.client_label == "web1 of $site"
    assert (section.read_only, section.read_only_fallback) == (True, False)
    context, server_hostname = section.ssl
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    assert server_hostname == "zeo.example.org"
    assert section.cache_path is None


def test_check_hostname_can_be_left_out(certificate):
    tls = {"ca": str(certificate), "cert": str(certificate), "key": str(certificate.with_suffix(".key"))}
    context, server_hostname = parsed(render(zeo(tls={**tls, "check_hostname": False}))).config.ssl
    assert (context.check_hostname, server_hostname) == (False, None)


def test_filestorage_options_arrive(tmp_path):
    section = parsed(
        render(
            {
                "filestorage": {
                    "path": f"{tmp_path}/Data.fs",
                    "blob_dir": f"{tmp_path}/blobs",
                    "read_only": "true",
                    "pack_gc": "no",
                    "pack_keep_old": False,
                    "quota": "10GB",
                }
            }
        )
    ).config
    assert section.path == f"{tmp_path}/Data.fs"
    assert section.blob_dir == f"{tmp_path}/blobs"
    assert (section.read_only, section.pack_gc, section.pack_keep_old, section.quota) == (
        True,
        False,
        False,
        10 * 1024**3,
    )


@pytest.mark.parametrize(
    "folder", ["plain", "with blanks", "with $dollar", "é ü", "# hash", "100%", "%include x", "</zodb>"]
)
def test_a_filestorage_opens_whatever_its_path(tmp_path, folder):
    """The whole way: the description is a database's section, is opened, written, and read again."""
    place = tmp_path.joinpath(folder)
    place.mkdir(parents=True)
    storage = render({"filestorage": {"path": f"{place}/Data.fs", "blob_dir": f"{place}/blobs"}})
    text = render_database(storage, "main", pool_size=3, cache_size=99)
    database = ZODB.config.databaseFromString(text)
    assert (database.database_name, database.getPoolSize(), database.getCacheSize()) == ("main", 3, 99)
    with database.transaction() as connection:
        connection.root.blob = Blob(b"forty-two")
    database.close()
    database = ZODB.config.databaseFromString(text)
    with database.transaction() as connection:
        assert connection.root.blob.open().read() == b"forty-two"
    database.close()
    assert place.joinpath("Data.fs").exists()


@pytest.fixture
def zeo_server(tmp_path):
    """A ZEO server of the storage "pyams" with blobs, in a process of its own. Returns its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "zeo.conf"
    configuration.write_text(
        f"<zeo>\n  address 127.0.0.1:{port}\n</zeo>\n"
        f"<filestorage pyams>\n  path {tmp_path}/Data.fs\n  blob-dir {tmp_path}/blobs\n</filestorage>\n"
    )
    server = subprocess.Popen([sys.executable, "-m", "ZEO.runzeo", "-C", str(configuration)])
    yield port
    server.terminate()
    server.wait(30)


def test_a_zeo_storage_opens(tmp_path, zeo_server):
    storage = {"zeo": {"server": zeo_server, "storage": "pyams", "blob_dir": str(tmp_path / "cache")}}
    database = ZODB.config.databaseFromString(render_database(render(storage), "main"))
    with database.transaction() as connection:
        connection.root.blob = Blob(b"forty-two")
    database.close()
    packed = parsed(render_pack(storage)).open()
    assert packed.blob_dir is None
    packed.pack()
    packed.close()
    database = ZODB.config.databaseFromString(render_database(render(storage), "main"))
    with database.transaction() as connection:
        assert connection.root.blob.open().read() == b"forty-two"
    database.close()
    transaction.abort()


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(zeo(blob_dir="/srv/blobs", shared_blob_dir=True), id="zeo"),
        pytest.param({"filestorage": {"path": "/srv/Data.fs", "blob_dir": "/srv/blobs"}}, id="filestorage"),
        pytest.param({"zconfig": "<mappingstorage/>"}, id="zconfig"),
    ],
)
def test_zodbpack_reads_what_a_packer_gets(description):
    schema = ZConfig.loadSchemaFile(io.StringIO(relstorage.zodbpack.schema_xml))
    storages = ZConfig.loadConfigFile(schema, io.StringIO(render_pack(description)))[0].storages
    assert len(storages) == 1


def test_a_packer_leaves_the_cache_of_blobs_alone():
    assert "blob" not in render_pack(zeo(blob_dir="/srv/blobs", shared_blob_dir=True))


def test_zope_reads_its_section():
    texts = [
        render_database(render({"zconfig": "<mappingstorage/>"}), name, "zodb_db", mount_point=mount_point)
        for name, mount_point in (("main", "/"), ("Catalog", "/catalog:/"))
    ]
    schema = ZConfig.loadSchemaFile(io.StringIO(ZOPE_SCHEMA))
    databases = ZConfig.loadConfigFile(schema, io.StringIO("".join(texts)))[0].databases
    assert [database.name for database in databases] == ["main", "catalog"]
    assert [database.config.database_name for database in databases] == ["main", "Catalog"]
    assert [database.config.mount_points for database in databases] == [["/"], ["/catalog:/"]]


def test_several_databases_make_one_multi_database():
    storage = render({"zconfig": "<mappingstorage/>"})
    database = ZODB.config.databaseFromString(render_database(storage, "main") + render_database(storage, "catalog"))
    assert sorted(database.databases) == ["catalog", "main"]
    for one in database.databases.values():
        one.close()


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(zeo(tls=TLS, client_label=None), id="zeo"),
        pytest.param({"filestorage": {"path": "/srv/Data.fs", "quota": "1 gb"}}, id="filestorage"),
        pytest.param({"zconfig": " <mappingstorage/>\r\n"}, id="zconfig"),
        pytest.param({"zeo": None, "zconfig": "<mappingstorage/>"}, id="a null kind is none"),
    ],
)
def test_what_is_normal_stays_as_it_is(description):
    once = normalise(description)
    assert normalise(once) == once


def test_the_files_that_a_restart_depends_on():
    assert files_of(zeo()) == []
    assert files_of(zeo(tls=TLS)) == ["/etc/ca.pem", "/etc/cert.pem"]
    assert files_of(zeo(tls={**TLS, "key": "/etc/key.pem"})) == ["/etc/ca.pem", "/etc/cert.pem", "/etc/key.pem"]
    assert files_of({"filestorage": {"path": "/srv/Data.fs"}}) == []


def test_the_argument_spec_has_every_kind_and_option():
    spec = argument_spec()
    assert list(spec) == list(KINDS)
    assert spec["zeo"]["options"]["server"] == {"type": "list", "elements": "str", "required": True}
    assert spec["zeo"]["options"]["cache_size"] == {"type": "str", "default": "256MB"}
    assert spec["zeo"]["options"]["tls"]["options"]["ca"]["required"]
    assert spec["zeo"]["options"]["tls"]["options"]["key"]["no_log"] is False
    assert spec["zconfig"] == {"type": "str", "no_log": True}
    assert spec["postgresql"]["options"]["password"] == {"type": "str", "no_log": True}
    assert spec["postgresql"]["options"]["passfile"] == {"type": "path", "no_log": False}
    assert spec["postgresql"]["options"]["port"] == {"type": "int"}


def test_the_documentation_is_the_argument_spec_in_words():
    def without(spec, *keys):
        return {
            name: {
                key: without(value, *keys) if key == "options" else value
                for key, value in option.items()
                if key not in keys
            }
            for name, option in spec.items()
        }

    assert without(documentation(), "description") == without(argument_spec(), "no_log")
    assert documentation()["zeo"]["options"]["cache_size"] == {
        "description": "Size of the cache of each process, in bytes or with KB, MB, GB.",
        "type": "str",
        "default": "256MB",
    }


ALL_KINDS = "filestorage, zeo, postgresql, newt, mysql, mariadb, oracle, sqlite, zconfig, config_file"
ZEO_OPTIONS = (
    "server, storage, blob_dir, shared_blob_dir, blob_cache_size, cache_size, server_sync, wait_timeout, client_label, "
    "read_only, read_only_fallback, tls"
)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        pytest.param(
            "zeo",
            f"a storage is a dictionary of one kind and its options, not of type str; the kinds are {ALL_KINDS}.",
            id="no dictionary",
        ),
        pytest.param({}, f"no kind of storage is named; give one of {ALL_KINDS}.", id="empty"),
        pytest.param({"zeo": None}, f"no kind of storage is named; give one of {ALL_KINDS}.", id="null"),
        pytest.param({"zoe": {}}, f'"zoe" is no kind of storage; the kinds are {ALL_KINDS}.', id="unknown kind"),
        pytest.param(
            {"zeo": ZEO, "filestorage": {"path": "/x"}},
            "zeo and filestorage are named together; a storage has one kind, keep one of them.",
            id="two kinds",
        ),
        pytest.param(
            {"zeo": "localhost:8100"},
            f"zeo is of type str, not a dictionary; its options are {ZEO_OPTIONS}.",
            id="no options",
        ),
        pytest.param(
            zeo(port=8100), f"zeo.port is not supported; the options of zeo are {ZEO_OPTIONS}.", id="unknown option"
        ),
        pytest.param(
            zeo(tls={**TLS, "crl": "/x"}),
            "zeo.tls.crl is not supported; the options of zeo.tls are ca, cert, key, check_hostname, server_hostname.",
            id="unknown option of tls",
        ),
        pytest.param({"zeo": {"storage": "pyams"}}, "zeo.server is missing; give it.", id="no server"),
        pytest.param({"zeo": {"server": "8100"}}, "zeo.storage is missing; give it.", id="no storage"),
        pytest.param(zeo(tls={"ca": "/x"}), "zeo.tls.cert is missing; give it.", id="no certificate"),
        pytest.param(zeo(tls={"cert": "/x"}), "zeo.tls.ca is missing; give it.", id="nothing to verify with"),
        pytest.param(
            zeo(client="pyams"),
            "zeo.client would be a cache in a fixed file, which the second process of an application finds locked; "
            "leave it out.",
            id="persistent cache by name",
        ),
        pytest.param(
            zeo(cache_path="/x"),
            "zeo.cache_path would be a cache in a fixed file, which the second process of an application finds "
            "locked; leave it out.",
            id="persistent cache by path",
        ),
        pytest.param(
            zeo(username="pyams"),
            "zeo.username is gone since ZEO 5, which ignores it; "
            "give tls, a certificate per client replaces the passwords.",
            id="user name",
        ),
        pytest.param(
            zeo(server=[]), "zeo.server is an empty list; give the address of at least one server.", id="no address"
        ),
        pytest.param(
            zeo(server=["8100", "127.0.0.1:8100"]),
            "zeo.server 127.0.0.1:8100 is named twice; keep it once.",
            id="address twice",
        ),
        pytest.param(
            zeo(server="zeo.example.org"),
            "zeo.server zeo.example.org has no port; write zeo.example.org:8100, or the absolute path of a socket.",
            id="no port",
        ),
        pytest.param(zeo(server="zeo:0"), "zeo.server zeo:0: the port is no number from 1 to 65535.", id="port 0"),
        pytest.param(
            zeo(server="zeo:65536"), "zeo.server zeo:65536: the port is no number from 1 to 65535.", id="port 65536"
        ),
        pytest.param(
            zeo(server="zeo:http"), "zeo.server zeo:http: the port is no number from 1 to 65535.", id="named port"
        ),
        pytest.param(zeo(server="99999"), "zeo.server 99999: the port is no number from 1 to 65535.", id="bare port"),
        pytest.param(
            zeo(server="::1:8100"),
            "zeo.server ::1:8100: the port of an IPv6 address cannot be told from it; write [address]:port.",
            id="IPv6 without brackets",
        ),
        pytest.param(zeo(server="[::g]:8100"), "zeo.server [::g]:8100: [::g] is no IPv6 address.", id="no IPv6"),
        pytest.param(
            zeo(server="a b:8100"),
            'zeo.server a b:8100: "a b" is neither a host name nor an address.',
            id="no host name",
        ),
        pytest.param(
            zeo(server="0.0.0.0:8100"),
            "zeo.server 0.0.0.0:8100 is where a server listens, not where a client finds it; write its host name.",
            id="any address",
        ),
        pytest.param(
            zeo(server="[::]:8100"),
            "zeo.server [::]:8100 is where a server listens, not where a client finds it; write its host name.",
            id="any IPv6 address",
        ),
        pytest.param(
            zeo(server="run/zeo.sock"),
            "zeo.server run/zeo.sock is a relative path, which each process resolves from its own folder; "
            "write an absolute one.",
            id="relative socket",
        ),
        pytest.param(
            zeo(server="/run/zeo.sock", tls=TLS),
            "zeo.server /run/zeo.sock is a socket, over which ZEO's client cannot speak TLS; take tls out.",
            id="TLS over a socket",
        ),
        pytest.param(
            zeo(tls={**TLS, "check_hostname": False, "server_hostname": "zeo"}),
            "zeo.tls.server_hostname is given, but check_hostname is false; it would not be looked at.",
            id="server_hostname not looked at",
        ),
        pytest.param(
            zeo(storage="PyAMS"),
            'zeo.storage "PyAMS": no server can name one so, its configuration takes neither blanks nor parentheses '
            "and turns capitals into small letters; write the name as the server has it.",
            id="capitals",
        ),
        pytest.param(
            zeo(shared_blob_dir=True),
            "zeo.shared_blob_dir is true, but blob_dir is missing; give the server's own folder of blobs.",
            id="shared_blob_dir without blob_dir",
        ),
        pytest.param(
            zeo(blob_dir="blobs"),
            "zeo.blob_dir blobs is a relative path, which each process resolves from its own folder; "
            "write an absolute one.",
            id="relative path",
        ),
        pytest.param(
            zeo(read_only=True, read_only_fallback=True),
            "zeo.read_only and read_only_fallback are both true; keep one of them.",
            id="read_only twice",
        ),
        pytest.param(zeo(read_only="maybe"), 'zeo.read_only "maybe" is neither true nor false.', id="no boolean"),
        pytest.param(zeo(wait_timeout="soon"), 'zeo.wait_timeout "soon" is not a whole number.', id="no number"),
        pytest.param(
            zeo(wait_timeout=True), 'zeo.wait_timeout "True" is not a whole number.', id="a boolean is no number"
        ),
        pytest.param(
            zeo(wait_timeout=0),
            "zeo.wait_timeout 0 is less than a second, which ZEO takes for its default of 30; give more.",
            id="no time",
        ),
        pytest.param(
            zeo(cache_size="256"),
            "zeo.cache_size 256 is less than 1 MB; a number without a unit is bytes, write KB, MB or GB behind it.",
            id="forgotten unit",
        ),
        pytest.param(
            zeo(blob_cache_size="1.5GB"),
            'zeo.blob_cache_size "1.5GB" is no size; write a whole number of bytes, or one with KB, MB or GB.',
            id="fraction",
        ),
        pytest.param(
            zeo(cache_size="1TB"),
            'zeo.cache_size "1TB" is no size; write a whole number of bytes, or one with KB, MB or GB.',
            id="unknown unit",
        ),
        pytest.param(
            zeo(client_label="web1\n  read-only true"),
            "zeo.client_label holds a line end or another control character; a ZConfig value is one line, take it out.",
            id="line end",
        ),
        pytest.param(
            zeo(client_label=" web1"),
            'zeo.client_label " web1" is empty or has blanks around it, which ZConfig would drop; take them out.',
            id="blanks around",
        ),
        pytest.param(
            zeo(blob_dir=""),
            'zeo.blob_dir "" is empty or has blanks around it, which ZConfig would drop; take them out.',
            id="empty",
        ),
        pytest.param(
            zeo(client_label=["web1"]), "zeo.client_label is of type list, not a text; write one.", id="no text"
        ),
        pytest.param(
            {"filestorage": {"path": "/srv/Data.fs", "create": True}},
            "filestorage.create would empty the storage each time it is opened; "
            "leave it out, a missing file is made without it.",
            id="create",
        ),
        pytest.param({"filestorage": {}}, "filestorage.path is missing; give it.", id="no path"),
        pytest.param(
            {"filestorage": {"path": "/srv/Data.fs", "blob_dir": "/srv//Data.fs/"}},
            "filestorage.blob_dir /srv/Data.fs is the path of the storage too; blobs need a folder of their own.",
            id="blobs in the file",
        ),
        pytest.param(
            {"filestorage": {"path": b"/srv/\xff/Data.fs".decode(errors="surrogateescape")}},
            "filestorage.path holds bytes that are no UTF-8, which ZConfig cannot read; take them out.",
            id="no UTF-8",
        ),
        pytest.param(
            {"zconfig": b"<mappingstorage/> # \xff".decode(errors="surrogateescape")},
            "zconfig holds bytes that are no UTF-8, which ZConfig cannot read; take them out.",
            id="zconfig, no UTF-8",
        ),
        pytest.param(
            {"zconfig": {"x": 1}},
            "zconfig is of type dict, not a text; give the storage's section.",
            id="zconfig, no text",
        ),
        pytest.param(
            {"zconfig": "# nothing"},
            "zconfig holds 0 sections; give the one section of the storage.",
            id="zconfig, none",
        ),
        pytest.param(
            {"zconfig": "<mappingstorage/>\n<mappingstorage/>"},
            "zconfig holds 2 sections; give the one section of the storage.",
            id="zconfig, two",
        ),
        pytest.param(
            {"zconfig": "<zodb main>\n<mappingstorage/>\n</zodb>"},
            "zconfig holds a <zodb> section; give the storage's section alone.",
            id="zconfig, a database",
        ),
        pytest.param(
            {"zconfig": "<demostorage>\n"},
            "zconfig: <demostorage> is not ended; add </demostorage>.",
            id="zconfig, not ended",
        ),
        pytest.param(
            {"zconfig": "<demostorage>\n<mappingstorage>\n</demostorage>\n"},
            "zconfig, line 3: </demostorage> stands where </mappingstorage> belongs; end the inner section first.",
            id="zconfig, crossed",
        ),
        pytest.param(
            {"zconfig": "</zeo>"},
            "zconfig, line 1: </zeo> ends a section that was not begun; take it out.",
            id="zconfig, not begun",
        ),
        pytest.param(
            {"zconfig": "<filestorage a b>\n</filestorage>"},
            "zconfig, line 1: the start of a section is malformed; write <type> or <type name>.",
            id="zconfig, two names",
        ),
        pytest.param(
            {"zconfig": "<filestorage>\n</filestorage"},
            "zconfig, line 2: the end of a section is malformed; write </type>.",
            id="zconfig, half an end",
        ),
        pytest.param(
            {"zconfig": "password hunter2hunter2\n<mappingstorage/>"},
            "zconfig, line 1: it stands outside the storage's section; move it inside.",
            id="zconfig, a key outside, its value not shown",
        ),
        pytest.param(
            {"zconfig": "<mappingstorage/>\n%import ZEO"},
            "zconfig, line 2: %import stands behind the section; move it before.",
            id="zconfig, late import",
        ),
        pytest.param(
            {"zconfig": "<filestorage>\n%include secret.conf\n</filestorage>"},
            "zconfig, line 2: of directives, only %import before the section is allowed; write it out.",
            id="zconfig, include",
        ),
    ],
)
def test_refused(description, sentence):
    with pytest.raises(Refused) as refusal:
        render(description)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            {"name": "1st"},
            'database name "1st": begin with a letter, go on with letters, digits, _, . or -.',
            id="name",
        ),
        pytest.param({"name": "main", "section": "zope"}, 'section "zope" is none of zodb, zodb_db.', id="section"),
        pytest.param(
            {"name": "main", "section": "zodb_db", "mount_point": "/a\nb"},
            "mount_point holds a line end or another control character; a ZConfig value is one line, take it out.",
            id="mount point",
        ),
    ],
)
def test_a_database_is_refused(arguments, sentence):
    with pytest.raises(Refused) as refusal:
        render_database("<mappingstorage/>\n", **arguments)
    assert str(refusal.value) == sentence


def test_a_section_name_is_refused():
    with pytest.raises(Refused) as refusal:
        render(zeo(), "a b")
    assert str(refusal.value) == 'section name "a b": ZConfig takes no blanks and no parentheses in it; choose another.'
