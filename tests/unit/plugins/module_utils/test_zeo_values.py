# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, paths and schedules, one by one."""

from __future__ import annotations

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils._zeo_values import (
    Address,
    above,
    address,
    inside,
    listed,
    show,
    tidy,
    wrong_calendar,
    wrong_cron,
    wrong_host_name,
    wrong_mail,
    wrong_size,
)


@pytest.mark.parametrize(
    ("text", "expected", "written", "loopback", "wildcard"),
    [
        pytest.param("8100", ("127.0.0.1", 8100, None), "127.0.0.1:8100", True, False, id="port"),
        pytest.param("127.8.0.1:8100", ("127.8.0.1", 8100, None), "127.8.0.1:8100", True, False, id="loopback network"),
        pytest.param("LOCALHOST:8100", ("localhost", 8100, None), "localhost:8100", True, False, id="localhost"),
        pytest.param("[::1]:8100", ("::1", 8100, None), "[::1]:8100", True, False, id="IPv6 loopback"),
        pytest.param("[FE80::0:1]:8100", ("fe80::1", 8100, None), "[fe80::1]:8100", False, False, id="IPv6"),
        pytest.param("[::]:8100", ("::", 8100, None), "[::]:8100", False, True, id="IPv6 wildcard"),
        pytest.param("0.0.0.0:8100", ("0.0.0.0", 8100, None), "0.0.0.0:8100", False, True, id="wildcard"),
        pytest.param("zeo_1.lan:1", ("zeo_1.lan", 1, None), "zeo_1.lan:1", False, False, id="name"),
        pytest.param(" /run/a//z.sock/ ", (None, None, "/run/a/z.sock"), "/run/a/z.sock", True, False, id="socket"),
    ],
)
def test_address(text, expected, written, loopback, wildcard):
    found = address(text)
    assert (found, str(found), found.loopback, found.wildcard) == (Address(*expected), written, loopback, wildcard)


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        pytest.param("8100", "8100", True, id="equal"),
        pytest.param("8100", "8101", False, id="other port"),
        pytest.param("127.0.0.1:8100", "10.0.0.5:8100", False, id="other host"),
        pytest.param("[::]:8100", "10.0.0.5:8100", True, id="wildcard"),
        pytest.param("localhost:8100", "[::1]:8100", True, id="localhost is ::1 too"),
        pytest.param("localhost:8100", "127.0.0.2:8100", False, id="localhost is not all of its network"),
        pytest.param("/run/a.sock", "/run/a.sock", True, id="socket"),
        pytest.param("/run/a.sock", "8100", False, id="socket and port"),
    ],
)
def test_clashes(one, other, clash):
    assert bool(address(one).clashes(address(other))) is clash
    assert bool(address(other).clashes(address(one))) is clash


# Both tables were compared with what `systemd-analyze calendar` of systemd 252 takes.
@pytest.mark.parametrize(
    "text",
    [
        "weekly",
        "daily UTC",
        "weekly Pacific/Auckland",
        "semi-annually",
        "Sun",
        "Sunday 3:00",
        "Sun  03:00",
        "Mon..Fri 22:30",
        "Mon-Fri 03:00",
        "Sat,Thu,Mon..Wed,Sat..Sun",
        "Mon,Sun 12-*-* 2,1:23",
        "Wed *-1",
        "Wed, 17:48",
        "Wed..Sat,Tue 12-10-15 1:2:3",
        "*-*-7 0:0:0",
        "10-15",
        "12..14:10,20,30",
        "mon,fri *-1/2-1,3 *:30:45",
        "03-05 08:05:40",
        "05:40:23.4200004/3.1700005",
        "2003-02..04-05",
        "2003-03-05 05:40 UTC",
        "*:2/3",
        "*-02~03",
        "Mon *-05~07/1",
        "Sun *-*-8..14 03:00:00 Europe/Paris",
    ],
)
def test_calendar(text):
    assert wrong_calendar(text) is None


@pytest.mark.parametrize(
    "text",
    ["24:00", "3am", "sun 3", "Sun 03:60", "*-13-01", "every sunday", "Fun 03:00", "03:00 Sun", "UTC", "Sun\n03:00"],
)
def test_no_calendar(text):
    assert "is no calendar expression; write it as systemd.time(7) tells" in wrong_calendar(text)


@pytest.mark.parametrize("text", ["0 3 * * 0", "*/15 * * * *", "0 0,12 1-7/2 jan-mar Mon", "5 4 * * 7", "@daily"])
def test_cron(text):
    assert wrong_cron(text) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("", '"" has not the five fields of crontab', id="empty"),
        pytest.param("Sun 03:00", '"Sun 03:00" has not the five fields of crontab', id="systemd's"),
        pytest.param("@reboot", "@reboot has not the five fields of crontab", id="at boot"),
        pytest.param(
            "0 3 * * 0\n* * * * *", '"0 3 * * 0\\n* * * * *" has not the five fields of crontab', id="two lines"
        ),
        pytest.param("60 3 * * 0", '"60 3 * * 0" has 60 as its minute, which goes from 0 to 59', id="minute"),
        pytest.param("0 3 0 * 0", '"0 3 0 * 0" has 0 as its day, which goes from 1 to 31', id="day"),
        pytest.param("0 3 * foo 0", '"0 3 * foo 0" has foo as its month, which goes from 1 to 12', id="month"),
        pytest.param("0 3 * * 8", '"0 3 * * 8" has 8 as its weekday, which goes from 0 to 7', id="weekday"),
        pytest.param(
            "*/0 3 * * 0", '"*/0 3 * * 0" has */0 as its minute, which goes from 0 to 59', id="step of nothing"
        ),
        pytest.param("0 3 * * %", '"0 3 * * %" has % as its weekday, which goes from 0 to 7', id="percent"),
    ],
)
def test_no_cron(text, wrong):
    assert wrong_cron(text) == wrong + "; write minute, hour, day, month and weekday, such as 0 3 * * 0."


@pytest.mark.parametrize("size", ["1MB", "256MB", "256 mb", "1GB", "1024KB", "1048576"])
def test_size(size):
    assert wrong_size(size) is None


@pytest.mark.parametrize("size", ["", "MB", "1TB", "-1MB", "1.5GB", "1048575", "1023KB"])
def test_no_size(size):
    assert wrong_size(size).startswith(show(size) + " is ")


@pytest.mark.parametrize("mail", ["a@b", "root@localhost", "first.last+zodb@mail.example.org"])
def test_mail(mail):
    assert wrong_mail(mail) is None


@pytest.mark.parametrize("mail", ["", "root", "a@", "@b", "a b@c", "a@b c", "A <a@b>", "a@b,c@d", "a@b\nBcc: c@d"])
def test_no_mail(mail):
    assert " is no mail address; write name@host, such as " in wrong_mail(mail)


@pytest.mark.parametrize("name", ["zeo", "zeo.example.org", "*.example.org", "10.0.0.5", "fe80::1"])
def test_host_name(name):
    assert wrong_host_name(name) is None


@pytest.mark.parametrize("name", ["", "zeo:8100", "[::1]", "10.0.0", "a..b", "-a", "*"])
def test_no_host_name(name):
    assert wrong_host_name(name) == (
        show(name) + " is neither a DNS name nor an IP address; write one, without port and protocol."
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/srv//zodb/./a/", "/srv/zodb/a", id="slashes and dots"),
        pytest.param("//srv", "/srv", id="two slashes in front"),
        pytest.param("/", "/", id="root"),
        pytest.param("/srv/../etc", "/srv/../etc", id="what goes up stays, for it may pass a link"),
        pytest.param("a/./b", "a/./b", id="relative"),
    ],
)
def test_tidy(path, expected):
    assert tidy(path) == expected


def test_above():
    assert list(above("/srv/zodb/Data.fs")) == ["/srv/zodb", "/srv", "/"]
    assert list(above("/")) == []


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        pytest.param("/srv/a/b", "/srv", True, id="deep"),
        pytest.param("/srv", "/", True, id="in the root"),
        pytest.param("/srv", "/srv", False, id="itself"),
        pytest.param("/srv2/a", "/srv", False, id="like-named"),
    ],
)
def test_inside(path, folder, expected):
    assert inside(path, folder) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("pyams", "pyams", id="word"),
        pytest.param(8100, "8100", id="number"),
        pytest.param("", '""', id="empty"),
        pytest.param("my site", '"my site"', id="blank"),
        pytest.param("a\nb", '"a\\nb"', id="line end"),
        pytest.param("\u00e9t\u00e9 2026", '"\u00e9t\u00e9 2026"', id="letters of any language"),
        pytest.param("a " * 40, '"' + "a " * 28 + 'a..."', id="long"),
    ],
)
def test_show(value, expected):
    assert show(value) == expected


def test_listed():
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert listed(["a", "b"], "or") == "a or b"
