# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.pyams.zodb.plugins.module_utils import _tid
from ansible_collections.pyams.zodb.plugins.module_utils._storage import Refused


@pytest.mark.parametrize(
    ("tid", "moment"),
    [
        # What persistent.TimeStamp says of the same bytes
        pytest.param("0x040d3e96076b6299", "2026-11-25T03:34:01.738Z", id="a commit"),
        pytest.param("0x040d3e9600000000", "2026-11-25T03:34:00.000Z", id="on the minute"),
        pytest.param("0x0000000000000000", None, id="no transaction"),
        pytest.param(None, None, id="no storage"),
        pytest.param("0x0001572000000000", None, id="made by no clock: 31 February"),
        pytest.param("0x0000000000000001", "1900-01-01T00:00:00.000Z", id="the first"),
    ],
)
def test_time_of(tid, moment):
    assert _tid.time_of(tid) == moment


@pytest.mark.parametrize(
    "text", ["0x040d3e96076b6299", "0x40d3e96076b6299", "040D3E96076B6299", " 0X040D3E96076B6299 "], ids=repr
)
def test_parse(text):
    assert _tid.parse("clear", text) == "0x040d3e96076b6299"


@pytest.mark.parametrize("text", ["", "0x", "yes", "0x040d3e96076b62990"], ids=repr)
def test_parse_refuses(text):
    with pytest.raises(Refused) as refusal:
        _tid.parse("clear", text)
    assert str(refusal.value) == (
        f"clear {text}: a transaction id is 0x and up to 16 hexadecimal digits; give it as zodb_info prints it."
    )
