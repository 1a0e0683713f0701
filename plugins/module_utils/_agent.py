# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to pyams.zodb: what the modules run under the Python of the storage's virtualenv.

Each request is a line of JSON on standard input, each answer one on standard output; what is logged goes to standard
error. Nothing stays open between two. OPERATIONS are all that can be asked:

- _agent_info.py: the facts of one storage;
- _agent_look.py: what two storages are, and what there is to copy, with _agent_compare.py;
- _agent_copy.py: full copies, _agent_catch_up.py: what is newer;
- _agent_locks.py, _agent_fence.py: what keeps others from packing or writing meanwhile.

A storage is known by its ZConfig text alone, by which _agent_zconfig.py finds its class: _agent_storage.py says what a
storage can, and _agent_file.py, _agent_zeo.py and _agent_relational.py, with a file for each database, how. To read
one, nothing is created, written or locked, and no state of an object is unpickled. Transaction and object ids are texts
of 16 hexadecimal digits behind 0x.

The sources of these files travel inside the module, and are imported under the other Python by _agent_load.py. So they
import each other and the standard library, and what the virtualenv has only inside their functions.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading

from ansible_collections.pyams.zodb.plugins.module_utils._agent_catch_up import catch_up
from ansible_collections.pyams.zodb.plugins.module_utils._agent_common import Refused, lacking
from ansible_collections.pyams.zodb.plugins.module_utils._agent_copy import bulk, clear, zodbconvert
from ansible_collections.pyams.zodb.plugins.module_utils._agent_fence import fence
from ansible_collections.pyams.zodb.plugins.module_utils._agent_info import info
from ansible_collections.pyams.zodb.plugins.module_utils._agent_locks import hold_packs, lock
from ansible_collections.pyams.zodb.plugins.module_utils._agent_look import inspect, look
from ansible_collections.pyams.zodb.plugins.module_utils._agent_storage import PRIVATE_FOLDERS

OPERATIONS = {
    "info": info,
    "inspect": inspect,
    "look": look,
    "zodbconvert": zodbconvert,
    "bulk": bulk,
    "catch_up": catch_up,
    "clear": clear,
    "fence": fence,
    "hold_packs": hold_packs,
    "lock": lock,
}


def _end_on_sigterm():
    """End at once, also while a database is waited for; what is not committed is undone by whoever has it."""
    signal.sigwait({signal.SIGTERM})
    for folder in PRIVATE_FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(128 + signal.SIGTERM)


def main():
    """Answer requests, a line each, until there are no more."""
    # What a package prints must not get into the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # All threads that are started later block it too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_on_sigterm, daemon=True).start()
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


def _answer(request):
    try:
        return OPERATIONS[request["operation"]](request)
    except Refused as refusal:
        return {"refused": str(refusal)}
    except ImportError as error:
        return {"refused": lacking(error)}
    except OSError as error:
        return {"refused": f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}."}
