#!/usr/bin/python
# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zodb_files
short_description: Lay folders, links and files on a host as one set
version_added: "0.1.0"
description:
  - Makes folders, symbolic links and files what they should be, and removes others, in one task.
    An unchanged run costs what one M(ansible.builtin.file) task costs, whatever the number of files.
  - Every changed file is validated before anything changes. If one is refused, the host is left as it was.
  - The order is folders, links, files, removals. Folders are made from the outermost inwards.
  - A file is written beside its target, given its owner and mode, then renamed over the target, so that a reader sees
    the old file or the new one, and never a wrong mode. A file of which only owner or mode differ keeps its
    modification time.
  - Nothing is done recursively.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Validators run in check mode too, on a copy outside the target's folder, if their program is there.
  diff_mode:
    support: full
    details: The content given as O(files[].secret_content) is never shown.
  platform:
    platforms: posix
    support: full
options:
  folders:
    description:
      - Folders to be there. Missing folders above them are made with mode V('0755') and belong to the running user.
      - A link to a folder counts as that folder.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: >-
          Permissions as a quoted octal number, for example V('0750').
          If absent, an existing folder keeps its mode, and a new one gets that of the umask.
        type: raw
      owner:
        description: >-
          Name or number of the owner. If absent, the owner of what exists is kept.
          In check mode the user need not exist yet.
        type: str
      group:
        description: >-
          Name or number of the group. If absent, the group of what exists is kept.
          In check mode the group need not exist yet.
        type: str
  links:
    description: Symbolic links to be there. A link with another target is replaced in one step.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path of the link. Its folder must exist or be one of O(folders).
        type: path
        required: true
      target:
        description: What the link says. It is taken literally and need not exist.
        type: str
        required: true
  files:
    description: Files to be there with a content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path. Its folder must exist or be one of O(folders).
        type: path
        required: true
      content:
        description: The whole content, written as UTF-8. Exactly one of this and O(files[].secret_content) is needed.
        type: str
      secret_content:
        description: >-
          The whole content, kept out of diffs, results and the system's log.
          As with every secret of a module, its text is masked wherever else it occurs in the result.
        type: str
      mode:
        description: >-
          Permissions as a quoted octal number, for example V('0640'). If absent, an existing file keeps its mode, and
          a new one gets that of the umask, or V('0600') with O(files[].secret_content).
        type: raw
      owner:
        description: >-
          Name or number of the owner. In check mode the user need not exist yet.
          If absent, root keeps the owner of what exists; what another user replaces becomes that user's.
        type: str
      group:
        description: >-
          Name or number of the group. In check mode the group need not exist yet. If absent, the group of what exists
          is kept, if the running user belongs to it or is root.
        type: str
      validate:
        description:
          - A command as a list, run without a shell. V(%s) in it stands for a file with the new content, which only
            the running user can read, and whose name ends in that of the target.
          - It runs only if the content changes, and before anything does. If it fails, so does the module, with the
            command's last line.
          - A missing program is an error, except in check mode, where the validation is left out.
          - Files that the new content includes are seen as they are on the host, not as this task would write them.
        type: list
        elements: str
  absent:
    description: >-
      Files, links and folders not to be there. A folder that holds anything which is not also in O(absent) is kept,
      and named in RV(kept_paths).
    type: list
    elements: path
    default: []
seealso:
  - module: ansible.builtin.copy
  - module: ansible.builtin.file
  - module: pyams.zodb.zodb_host_info
author:
  - pyams.zodb contributors (@py-ams)
"""

EXAMPLES = r"""
- name: Lay the files of a ZEO server
  pyams.zodb.zodb_files:
    folders:
      - {path: /etc/zodb, mode: "0755", owner: root, group: root}
      - {path: /var/lib/zodb/pyams, mode: "0700", owner: zodb, group: zodb}
    links:
      - {path: /opt/zodb/zeo-pyams, target: /opt/zodb/3f9c0d}
    files:
      - path: /etc/zodb/zeo-pyams.conf
        content: "{{ lookup('ansible.builtin.template', 'zeo.conf.j2') }}"
        mode: "0640"
        owner: root
        group: zodb
        validate: [/opt/zodb/3f9c0d/bin/zodb-checkconf, zeo, "%s"]
      - path: /etc/zodb/pgpass
        secret_content: "{{ pgpass }}"
        mode: "0600"
    absent:
      - /etc/zodb/zeo-old.conf
"""

RETURN = r"""
changed_paths:
  description: >-
    What was changed, in the order in which it was done; in check mode, what would be.
    After a failure, what had been changed before it.
  returned: always
  type: list
  elements: str
  sample: [/etc/zodb, /etc/zodb/zeo-pyams.conf]
kept_paths:
  description: Folders of O(absent) that are still there because they hold something else.
  returned: always
  type: list
  elements: str
  sample: []
"""

import contextlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible_collections.pyams.zodb.plugins.module_utils import _files
from ansible_collections.pyams.zodb.plugins.module_utils._files import Refused

ATTRIBUTES = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "raw"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
LINK = {"path": {"type": "path", "required": True}, "target": {"type": "str", "required": True}}
# That content and secret_content exclude each other is not said here: the check would count one that is null.
FILE = {
    **ATTRIBUTES,
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
    "validate": {"type": "list", "elements": "str"},
}
ARGUMENTS = {
    "folders": {"type": "list", "elements": "dict", "default": [], "options": ATTRIBUTES},
    "links": {"type": "list", "elements": "dict", "default": [], "options": LINK},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
    "absent": {"type": "list", "elements": "path", "default": []},
}


class Module(AnsibleModule):
    def _log_invocation(self):
        """Log the paths alone.

        The inherited method logs str(files): every content of every run, and a secret of several lines too, as its
        line ends are escaped there, so that the text is not recognised and masked.
        """
        items = [item["path"] for option in ("folders", "links", "files") for item in self.params[option] or []]
        self.log("Invoked for " + " ".join(items + (self.params["absent"] or [])))


class Step:
    """One path that has to change."""

    def __init__(self, option, path, status=None, item=None):
        self.option = option
        self.path = path
        self.status = status  # before, None if nothing is there
        self.item = item or {}
        self.mode = None  # bits; None: leave, here and in the next two
        self.owner = None  # uid
        self.group = None  # gid
        self.content = None  # bytes; None: right as it is
        self.secret = self.item.get("secret_content") is not None
        self.temporary = None
        self.written = None  # os.fstat of the temporary file
        self.before = {}  # for the diff
        self.after = {}
        self.old_content = None


class Files:
    """A set of folders, links and files. Only act() changes anything; validate() writes temporary files."""

    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.root = os.geteuid() == 0
        self.steps = []
        self.made = set()  # folders that will be there
        self.done = []
        self.kept = []
        self.temporaries = set()
        self.failed = False

    # The plan

    def probe(self):
        items = {
            option: [(os.path.normpath(item["path"]), item) for item in self.module.params[option] or []]
            for option in ("folders", "links", "files")
        }
        items["absent"] = [(os.path.normpath(path), None) for path in self.module.params["absent"] or []]
        _files.check_paths([(option, path) for option, pairs in items.items() for path, item in pairs])
        for option, pairs in items.items():
            for path, _item in pairs:
                self._probe_way(path if option == "folders" else os.path.dirname(path), path)
        named = {path for path, item in items["folders"]}
        for path, item in sorted(items["folders"], key=lambda pair: pair[0].count("/")):
            self._probe_folder(path, item, named)
        for path, item in items["links"]:
            self._probe_link(path, item)
        for path, item in items["files"]:
            self._probe_file(path, item)
        self._probe_absent([path for path, item in items["absent"]])

    def _probe_way(self, way, path):
        link = self._look(path, _files.foreign_link, way) if self.root else None
        if link:
            raise Refused(f"{path}: others than root can turn the link {link}; name the real folder instead.")

    def _probe_folder(self, path, item, named):
        status = self._look(path, _files.lstat, path)
        if status and _files.kind(status) == "link":
            if not os.path.isdir(path):
                raise Refused(f"{path}: a link to {os.readlink(path)} is in the way of the folder; remove it.")
            status = os.stat(path)
        if status and _files.kind(status) != "directory":
            raise Refused(f"{path}: {_files.title(status)} is in the way of the folder; remove it.")
        if not status:
            for parent in _files.missing_parents(path):
                if parent not in named and parent not in self.made:
                    self._plan_folder(Step("folders", parent, item={"mode": "0755", "owner": None, "group": None}))
            self._plan_folder(Step("folders", path, item=item))
        else:
            step = Step("folders", path, status, item)
            if self._probe_attributes(step):
                self.steps.append(step)

    def _plan_folder(self, step):
        self._probe_place(step.path)
        self._probe_attributes(step)
        self.made.add(step.path)
        self.steps.append(step)

    def _probe_link(self, path, item):
        status = self._look(path, _files.lstat, path)
        if status and _files.kind(status) != "link":
            raise Refused(f"{path}: {_files.title(status)} is in the way of the link; remove it.")
        if status and os.readlink(path) == item["target"]:
            return
        self._probe_place(path)
        step = Step("links", path, status, item)
        step.before = {"state": "link", "target": os.readlink(path)} if status else {"state": "absent"}
        step.after = {"state": "link", "target": item["target"]}
        self.steps.append(step)

    def _probe_file(self, path, item):
        contents = [item[key] for key in ("content", "secret_content") if item[key] is not None]
        if len(contents) != 1:
            found = "both content and" if contents else "neither content nor"
            raise Refused(f"{path}: has {found} secret_content; give one of them.")
        if item["validate"] and not any("%s" in word for word in item["validate"]):
            raise Refused(f"{path}: validate has no %s; write it where the command expects the name of the file.")
        status = self._look(path, _files.lstat, path)
        if status and _files.kind(status) != "file":
            raise Refused(f"{path}: {_files.title(status)} is in the way of the file; remove it.")
        step = Step("files", path, status, item)
        content = to_bytes(contents[0], errors="surrogate_or_strict")
        step.old_content = self._look(path, _files.content, path) if status else None
        if step.old_content != content:
            step.content = content
            self._probe_place(path)
        if self._probe_attributes(step) or step.content is not None:
            self.steps.append(step)

    def _probe_absent(self, paths):
        going = set(paths)

        def remains(folder):
            inside = [os.path.join(folder, name) for name in os.listdir(folder)]
            return any(
                path not in going or (os.path.isdir(path) and not os.path.islink(path) and remains(path))
                for path in inside
            )

        for path in sorted(paths, key=lambda path: -path.count("/")):
            status = self._look(path, _files.lstat, path)
            if not status:
                continue
            if _files.kind(status) == "directory" and self._look(path, remains, path):
                self.kept.append(path)
                continue
            self._probe_place(path)
            step = Step("absent", path, status)
            step.before, step.after = {"state": _files.kind(status)}, {"state": "absent"}
            self.steps.append(step)

    def _look(self, path, function, argument):
        try:
            return function(argument)
        except OSError as error:
            raise Refused(f"{path}: cannot be looked at: {_files.reason(error)}.") from None

    def _probe_place(self, path):
        """Refuse a path in whose folder nothing can be put."""
        folder = os.path.dirname(path)
        if folder in self.made:
            return
        if not os.path.isdir(folder):
            if self._look(path, _files.lstat, folder):
                raise Refused(f"{path}: {folder} is not a folder; name another path.")
            raise Refused(f"{path}: its folder {folder} is not there; name it in folders.")
        if not os.access(folder, os.W_OK | os.X_OK):
            user = _files.user_name(os.geteuid())
            raise Refused(f"{path}: user {user} cannot write the folder {folder}; run the task as one who can.")

    def _probe_attributes(self, step):
        """Fill in mode, owner and group of a step; return whether they have to change."""
        status, path = step.status, step.path
        if not status:
            step.before["state"], step.after["state"] = "absent", "file" if step.option == "files" else "directory"
        self._probe_account(step, "owner", "user", _files.user_id, status and _files.user_name(status.st_uid))
        self._probe_account(step, "group", "group", _files.group_id, status and _files.group_name(status.st_gid))
        step.mode = _files.mode_bits(step.item["mode"], path)
        if step.mode is not None and not (status and status.st_mode & 0o7777 == step.mode):
            step.after["mode"] = f"{step.mode:04o}"
            if status:
                step.before["mode"] = f"{status.st_mode & 0o7777:04o}"
                if step.content is None and os.geteuid() not in (0, status.st_uid):
                    user, owner = _files.user_name(os.geteuid()), _files.user_name(status.st_uid)
                    raise Refused(
                        f"{path}: user {user} cannot change the mode of what is {owner}'s; run the task as {owner}."
                    )
        return set(step.after) != ({"state"} if not status else set())

    def _probe_account(self, step, key, noun, find, name):
        """Fill in the owner or the group of a step. key: owner or group; name: what it is now."""
        wanted, path = step.item[key], step.path
        if wanted is None:
            return
        number = find(wanted)
        if number is None and not self.check:
            raise Refused(f"{path}: there is no {noun} {wanted} on this host; make it first, or name another.")
        setattr(step, key, number)
        now = step.status and (step.status.st_uid if key == "owner" else step.status.st_gid)
        if step.status and now == number:
            return
        replaced = step.status is None or step.content is not None
        mine = {os.geteuid()} if key == "owner" else {os.getegid(), *os.getgroups()}
        owned = replaced or (step.status.st_uid == os.geteuid() and key == "group")
        if not self.root and number is not None and not (number in mine and owned):
            raise Refused(f"{path}: only root can give it to {noun} {wanted}; run the task as root, or drop its {key}.")
        if step.status:
            step.before[key] = name
        step.after[key] = wanted

    # Validation

    def validate(self):
        """Write what is new beside its target, and have it judged. Nothing that exists changes."""
        refusals = []
        for step in self.steps:
            if step.content is None:
                continue
            elsewhere = self.check or os.path.dirname(step.path) in self.made
            if elsewhere and not step.item["validate"]:
                continue
            self._at(step, self._stage, self.module.tmpdir if elsewhere else os.path.dirname(step.path))
            if step.item["validate"]:
                refusals += self._judge(step)
            if elsewhere:
                self._at(step, self._drop)
        if refusals:
            raise Refused(f"{'; '.join(refusals)}; nothing was changed.")

    def _stage(self, step, folder):
        """Write the new content to a file of mode 0600, whose name ends in that of the target."""
        step.temporary = _files.temporary_name(folder, step.path)
        handle = os.open(step.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self.temporaries.add(step.temporary)
        with os.fdopen(handle, "wb") as file:
            file.write(step.content)
            file.flush()
            os.fsync(handle)  # else a crash after the rename can leave an empty file
            step.written = os.fstat(handle)

    def _drop(self, step):
        os.unlink(step.temporary)
        self.temporaries.discard(step.temporary)
        step.temporary = None

    def _judge(self, step):
        """Run the validator of a step. Return a list with the refusal, without its end, or an empty one."""
        command = step.item["validate"]
        name = command[0]
        if shutil.which(name) is None:
            return [] if self.check else [f"{step.path}: its validator {name} is not there"]
        command = [word.replace("%s", step.temporary) for word in command]
        try:
            code, out, err = self.module.run_command(command, expand_user_and_vars=False, handle_exceptions=False)
        except OSError as error:
            return [f"{step.path}: its validator {name} cannot be run: {_files.reason(error)}"]
        if code == 0:
            return []
        if step.secret:
            return [f"{step.path}: {name} refused it with exit status {code}; its words are left out, it saw a secret"]
        lines = (err.strip() or out.strip()).splitlines()
        if not lines:
            return [f"{step.path}: {name} refused it with exit status {code}"]
        words = lines[-1].strip().replace(step.temporary, step.path).rstrip(".")
        return [words if words.startswith(step.path) else f"{step.path}: {words}"]

    # The deed

    def act(self):
        for step in self.steps:
            if step.temporary:
                self._at(step, self._finish)
        self._act_folders()
        for option, act in (("links", self._act_link), ("files", self._act_file), ("absent", self._act_absent)):
            for step in self.steps:
                if step.option == option:
                    self._at(step, act)
                    self.done.append(step.path)

    def _act_folders(self):
        """Make the folders and write what goes into new ones. If that fails, the new ones go again."""
        new = []
        try:
            for step in self.steps:
                if step.option == "folders":
                    self._at(step, self._act_folder, new)
                    self.done.append(step.path)
            for step in self.steps:
                if step.content is not None and step.temporary is None:
                    self._at(step, self._stage, os.path.dirname(step.path))
                    self._at(step, self._finish)
        except Refused:
            self.clean()
            for path in reversed(new):
                os.rmdir(path)
            self.done = [path for path in self.done if path not in new]
            raise

    def _at(self, step, function, *arguments):
        try:
            function(step, *arguments)
        except OSError as error:
            raise Refused(f"{step.path}: cannot be written: {_files.reason(error)}.") from None

    def _finish(self, step):
        """Give a temporary file the owner, the mode and the SELinux context it is to have under its own name."""
        status, owner, group, mode = step.status, step.owner, step.group, step.mode
        if status:
            owner = status.st_uid if owner is None and self.root else owner
            group = status.st_gid if group is None and (self.root or status.st_gid in os.getgroups()) else group
            mode = status.st_mode & 0o7777 if mode is None else mode
        elif mode is None:
            mode = 0o600 if step.secret else 0o666 & ~_files.umask()
        # Through a descriptor: who owns the folder could have put a link in the file's place.
        handle = os.open(step.temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not os.path.samestat(os.fstat(handle), step.written):
                raise OSError(None, "its temporary file was exchanged")
            _files.give(handle, owner, group, mode)
        finally:
            os.close(handle)
        if self.module.selinux_enabled():
            context = self.module.selinux_context if status else self.module.selinux_default_context
            self.module.set_context_if_different(step.temporary, context(step.path), False)

    def _act_folder(self, step, new):
        if step.status is None:
            os.mkdir(step.path, 0o700)
            new.append(step.path)
        mode = step.mode
        if step.status is None and mode is None:
            mode = 0o777 & ~_files.umask()
        self._act_in_place(step, os.path.realpath(step.path), os.O_DIRECTORY, mode)
        if step.status is None:
            self.module.set_default_selinux_context(step.path, False)

    def _act_in_place(self, step, path, flags, mode):
        if not self.root:
            _files.give(path, step.owner, step.group, mode)
            return
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags)  # for the reason in _finish
        try:
            _files.give(handle, step.owner, step.group, mode)
        finally:
            os.close(handle)

    def _act_link(self, step):
        temporary = _files.temporary_name(os.path.dirname(step.path), step.path)
        os.symlink(step.item["target"], temporary)
        self.temporaries.add(temporary)
        os.rename(temporary, step.path)
        self.temporaries.discard(temporary)

    def _act_file(self, step):
        if step.temporary is None:
            self._act_in_place(step, step.path, 0, step.mode)
            return
        os.rename(step.temporary, step.path)
        self.temporaries.discard(step.temporary)

    def _act_absent(self, step):
        if _files.kind(step.status) == "directory":
            os.rmdir(step.path)
        else:
            os.unlink(step.path)

    def clean(self):
        """Remove the temporary files that are left."""
        for path in sorted(self.temporaries):
            with contextlib.suppress(OSError):  # why it cannot be is what the task already fails of
                os.unlink(path)
        self.temporaries.clear()

    # The result

    def result(self):
        changed = self.done if self.failed else [step.path for step in self.steps]
        result = {"changed": bool(changed), "changed_paths": changed, "kept_paths": self.kept}
        if self.module._diff:
            result["diff"] = [entry for step in self.steps for entry in self._diff(step)]
        return result

    def _diff(self, step):
        headers = {"before_header": step.path, "after_header": step.path}
        if step.after:
            yield {**headers, "before": {"path": step.path, **step.before}, "after": {"path": step.path, **step.after}}
        if step.content is not None and step.secret:
            yield {"prepared": f"{step.path}: the content differs; it is secret and not shown\n"}
        elif step.content is not None:
            yield {**headers, "before": _shown(step.old_content), "after": _shown(step.content)}


def _shown(content):
    """Return a content as the diff shows it."""
    if content is None:
        return ""
    if b"\0" in content:
        return f"({len(content)} bytes that are no text)\n"
    return to_text(content, errors="surrogate_or_replace")


def main():
    module = Module(argument_spec=ARGUMENTS, supports_check_mode=True)
    files = Files(module)
    try:
        files.probe()
        files.validate()
        if not module.check_mode:
            files.act()
    except Refused as refusal:
        files.failed = True
        files.clean()
        module.fail_json(msg=str(refusal), **files.result())
    finally:
        files.clean()
    module.exit_json(**files.result())


if __name__ == "__main__":
    main()
