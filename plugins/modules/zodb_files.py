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
    the old file or the new one, and never a wrong mode. A file of which only owner or mode differ keeps its modification time.
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
      - Folders to be there. Missing folders above them are made with the umask's mode and the running user's ownership.
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
          Name or number of the owner. If absent, the owner of what exists is kept. In check mode the user need not exist yet.
        type: str
      group:
        description: >-
          Name or number of the group. If absent, the group of what exists is kept. In check mode the group need not exist yet.
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
          Name or number of the owner. If absent, the owner of what exists is kept. In check mode the user need not exist yet.
        type: str
      group:
        description: >-
          Name or number of the group. If absent, the group of what exists is kept. In check mode the group need not exist yet.
        type: str
      validate:
        description:
          - A command as a list, run without a shell. V(%s) in it stands for a file with the new content, which only
            the running user can read, and whose name ends in that of the target.
          - It runs only if the content changes, and before anything does. If it fails, so does the module, with the command's last line.
          - A missing program is an error, except in check mode, where the validation is left out.
          - Files that the new content includes are seen as they are on the host, not as this task would write them.
        type: list
        elements: str
        default: []
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

import os
import shutil
import tempfile

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
ARGUMENTS = {
    "folders": {"type": "list", "elements": "dict", "default": [], "options": ATTRIBUTES},
    "links": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "target": {"type": "str", "required": True}},
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": dict(
            ATTRIBUTES,
            content={"type": "str"},
            secret_content={"type": "str", "no_log": True},
            validate={"type": "list", "elements": "str", "default": []},
        ),
        "mutually_exclusive": [("content", "secret_content")],
        "required_one_of": [("content", "secret_content")],
    },
    "absent": {"type": "list", "elements": "path", "default": []},
}


class Module(AnsibleModule):
    def _log_invocation(self):
        """Log paths alone.

        The inherited method logs str(files): every content of every run, and a secret of several lines too, as its
        line ends are escaped there and the text is therefore not recognised.
        """
        paths = [item["path"] for option in ("folders", "links", "files") for item in self.params[option] or []]
        self.log("Invoked for %s" % " ".join(paths + (self.params["absent"] or [])))


class Step:
    """One path that has to change."""

    def __init__(self, option, path, status=None, item=None):
        self.option = option
        self.path = path
        self.status = status  # os.lstat (os.stat for folders) before, None if nothing is there
        self.item = item or {}
        self.mode = None  # bits, None: leave
        self.owner = None  # uid, None: leave
        self.group = None
        self.content = None  # bytes, None: the content is right, or there is none
        self.temporary = None
        self.before = {}  # for the diff
        self.after = {}
        self.texts = None  # for the diff: content before and after

    @property
    def secret(self):
        return self.item.get("secret_content") is not None


class Files:
    """A set of folders, links and files. Only act() changes anything but temporary files."""

    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.steps = []
        self.done = []
        self.kept = []
        self.temporaries = set()
        self.failed = False

    # The plan

    def probe(self):
        params = self.module.params
        options = [(option, item["path"]) for option in ("folders", "links", "files") for item in params[option]]
        options += [("absent", path) for path in params["absent"]]
        _files.check_paths(options)
        for option, path in options:
            link = _files.foreign_link(path if option == "folders" else os.path.dirname(os.path.normpath(path)))
            if link and os.geteuid() == 0:
                raise Refused(
                    "%s: %s is a link that somebody else than root can change; name the real folder instead."
                    % (path, link)
                )
        folders = {os.path.normpath(item["path"]) for item in params["folders"]}
        self.made = set()
        for item in sorted(params["folders"], key=lambda item: os.path.normpath(item["path"]).count("/")):
            self._probe_folder(item, os.path.normpath(item["path"]), folders)
        for item in params["links"]:
            self._probe_link(item, os.path.normpath(item["path"]))
        for item in params["files"]:
            self._probe_file(item, os.path.normpath(item["path"]))
        self._probe_absent([os.path.normpath(path) for path in params["absent"]])

    def _probe_folder(self, item, path, folders):
        status = self._status(path)
        if status is not None and _files.kind(status) == "link":
            if not os.path.isdir(path):
                raise Refused("%s: a link to %s is in the way of the folder; remove it." % (path, os.readlink(path)))
            status = os.stat(path)
        if status is not None and _files.kind(status) != "directory":
            raise Refused("%s: a file is in the way of the folder; remove it, or name another path." % path)
        if status is None:
            for parent in _files.missing_parents(path):
                if parent not in self.made and parent not in folders:
                    self._probe_place(parent)
                    self.made.add(parent)
                    step = Step("folders", parent)
                    step.before, step.after = {"state": "absent"}, {"state": "directory"}
                    self.steps.append(step)
            self._probe_place(path)
            self.made.add(path)
        step = Step("folders", path, status, item)
        if self._probe_attributes(step) or status is None:
            self.steps.append(step)

    def _probe_link(self, item, path):
        status = self._status(path)
        if status is not None and _files.kind(status) != "link":
            raise Refused("%s: something other than a link is in the way of the link; remove it." % path)
        step = Step("links", path, status, item)
        if status is not None:
            target = os.readlink(path)
            if target == item["target"]:
                return
            step.before = {"state": "link", "target": target}
        else:
            step.before = {"state": "absent"}
        step.after = {"state": "link", "target": item["target"]}
        self._probe_place(path)
        self.steps.append(step)

    def _probe_file(self, item, path):
        status = self._status(path)
        if status is not None and _files.kind(status) != "file":
            name = {"directory": "a folder", "link": "a link", "other": "a special file"}[_files.kind(status)]
            raise Refused("%s: %s is in the way of the file; remove it, or name another path." % (path, name))
        if item["validate"] and not any("%s" in word for word in item["validate"]):
            raise Refused("%s: validate has no %%s; write it where the command expects the file's name." % path)
        step = Step("files", path, status, item)
        content = to_bytes(item["secret_content"] if step.secret else item["content"], errors="surrogate_or_strict")
        old = self._read(path) if status is not None else None
        if old != content:
            step.content = content
            step.texts = (old, content)
            self._probe_place(path)
        if self._probe_attributes(step) or step.content is not None:
            self.steps.append(step)

    def _probe_absent(self, paths):
        going = set(paths)

        def remains(folder):
            return any(
                path not in going or (os.path.isdir(path) and not os.path.islink(path) and remains(path))
                for path in (os.path.join(folder, name) for name in os.listdir(folder))
            )

        for path in sorted(paths, key=lambda path: -path.count("/")):
            status = self._status(path)
            if status is None:
                continue
            if _files.kind(status) == "directory" and remains(path):
                self.kept.append(path)
                continue
            self._probe_place(path)
            step = Step("absent", path, status)
            step.before, step.after = {"state": _files.kind(status)}, {"state": "absent"}
            self.steps.append(step)

    def _status(self, path):
        try:
            return _files.lstat(path)
        except OSError as error:
            raise Refused("%s: cannot be looked at: %s." % (path, _files.reason(error)))

    def _read(self, path):
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise Refused("%s: cannot be read: %s." % (path, _files.reason(error)))

    def _probe_place(self, path):
        """Refuse a path in whose folder nothing can be put."""
        folder = os.path.dirname(path)
        if folder in self.made:
            return
        if not os.path.isdir(folder):
            if _files.lstat(folder) is None:
                raise Refused("%s: its folder %s is not there; name it in folders." % (path, folder))
            raise Refused("%s: %s is not a folder; name another path." % (path, folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Refused(
                "%s: user %s cannot write the folder %s; run the task as a user who can, or name another path."
                % (path, _files.user_name(os.geteuid()), folder)
            )

    def _probe_attributes(self, step):
        """Fill in mode, owner and group of a step; return whether they have to change."""
        item, status, path = step.item, step.status, step.path
        step.mode = _files.mode_bits(item["mode"], path)
        changes = []
        if status is None:
            step.before["state"], step.after["state"] = "absent", "file" if step.option == "files" else "directory"
        for key, find, name, now in (
            ("owner", _files.user_id, _files.user_name, status and status.st_uid),
            ("group", _files.group_id, _files.group_name, status and status.st_gid),
        ):
            wanted = item[key]
            if wanted is None:
                continue
            number = find(wanted)
            if number is None and not self.check:
                raise Refused(
                    "%s: there is no %s %s on this host; make it first."
                    % (path, "user" if key == "owner" else key, wanted)
                )
            setattr(step, key, number)
            if status is None or now != number:
                changes.append(key)
                self._probe_right(step, key, wanted, number)
                if status is not None:
                    step.before[key] = name(now)
                step.after[key] = wanted
        if step.mode is not None and (status is None or status.st_mode & 0o7777 != step.mode):
            changes.append("mode")
            if status is not None:
                step.before["mode"] = "%04o" % (status.st_mode & 0o7777)
                if step.content is None and os.geteuid() not in (0, status.st_uid):
                    raise Refused(
                        "%s: only its owner %s or root can change its mode; run the task as one of them."
                        % (path, _files.user_name(status.st_uid))
                    )
            step.after["mode"] = "%04o" % step.mode
        return bool(changes)

    def _probe_right(self, step, key, wanted, number):
        """Refuse an owner or a group that an ordinary user cannot give away."""
        me = os.geteuid()
        if me == 0 or number is None:
            return
        if key == "owner":
            allowed = number == me and (step.status is None or step.content is not None)
        else:
            allowed = number in os.getgroups() + [os.getegid()]
            allowed = allowed and (step.status is None or step.content is not None or step.status.st_uid == me)
        if not allowed:
            raise Refused(
                "%s: only root can give it to %s %s; run the task as root, or leave out the %s."
                % (step.path, "user" if key == "owner" else key, wanted, key)
            )

    # Validation

    def validate(self):
        """Write what is new beside its target and have it judged. Nothing that exists changes."""
        refusals = []
        for step in self.steps:
            if step.content is None or (self.check and not step.item["validate"]):
                continue
            folder = os.path.dirname(step.path)
            if self.check or folder in self.made:
                folder = None
            if folder or step.item["validate"]:
                self._at(step, self._stage, folder or self.module.tmpdir)
            if step.item["validate"]:
                refusal = self._judge(step)
                if refusal:
                    refusals.append(refusal)
            if folder is None and step.temporary:
                self._drop(step)
        if refusals:
            raise Refused("%s; nothing was changed." % "; ".join(refusals))

    def _stage(self, step, folder):
        name = os.path.basename(step.path)[-200:]
        handle, step.temporary = tempfile.mkstemp(prefix=".ansible_tmp", suffix="-" + name, dir=folder)
        self.temporaries.add(step.temporary)
        with os.fdopen(handle, "wb") as file:
            file.write(step.content)
            file.flush()
            os.fsync(file.fileno())

    def _drop(self, step):
        os.unlink(step.temporary)
        self.temporaries.discard(step.temporary)
        step.temporary = None

    def _judge(self, step):
        """Run the validator of a step; return the refusal, or None."""
        command = step.item["validate"]
        if shutil.which(command[0]) is None:
            if self.check:
                return None
            return "%s: its validator %s is not there" % (step.path, command[0])
        command = [word.replace("%s", step.temporary) for word in command]
        try:
            code, out, err = self.module.run_command(command, expand_user_and_vars=False, handle_exceptions=False)
        except OSError as error:
            return "%s: its validator %s cannot be run: %s" % (step.path, command[0], _files.reason(error))
        if code == 0:
            return None
        lines = [line.strip() for line in (err.strip() or out.strip()).splitlines()]
        if step.secret or not lines:
            words = "%s refused it with exit status %s" % (os.path.basename(command[0]), code)
            return "%s: %s%s" % (
                step.path,
                words,
                ", its words are left out as the content is secret" if step.secret else "",
            )
        words = lines[-1].replace(step.temporary, step.path).rstrip(".")
        return words if words.startswith(step.path) else "%s: %s" % (step.path, words)

    # The deed

    def act(self):
        made = []
        try:
            for step in self.steps:
                self._at(step, self._finish, step.temporary)
            for step in self.steps:
                if step.option == "folders":
                    self._at(step, self._act_folder, made)
            for step in self.steps:
                if step.content is not None and step.temporary is None:
                    self._at(step, self._stage, os.path.dirname(step.path))
                    self._at(step, self._finish, step.temporary)
        except Refused:
            for path in reversed(made):
                os.rmdir(path)
                self.done.remove(path)
            raise
        for option, act in (("links", self._act_link), ("files", self._act_file), ("absent", self._act_absent)):
            for step in self.steps:
                if step.option == option:
                    self._at(step, act)
                    self.done.append(step.path)

    def _at(self, step, function, *arguments):
        try:
            function(step, *arguments)
        except OSError as error:
            raise Refused("%s: cannot be written: %s." % (step.path, _files.reason(error)))

    def _finish(self, step, path):
        """Give a temporary file the owner, the mode and the SELinux context it will have under its own name."""
        if path is None:
            return
        status = step.status
        owner, group, mode = step.owner, step.group, step.mode
        if status is not None:
            owner = status.st_uid if owner is None and os.geteuid() == 0 else owner
            group = status.st_gid if group is None and (os.geteuid() == 0 or status.st_gid in os.getgroups()) else group
            mode = status.st_mode & 0o7777 if mode is None else mode
        elif mode is None:
            mode = 0o600 if step.secret else 0o666 & ~_umask()
        os.chown(path, -1 if owner is None else owner, -1 if group is None else group)
        os.chmod(path, mode)
        if self.module.selinux_enabled():
            context = self.module.selinux_context if status is not None else self.module.selinux_default_context
            self.module.set_context_if_different(path, context(step.path), False)

    def _act_folder(self, step, made):
        new = step.status is None
        if new:
            os.mkdir(step.path, 0o700)
            made.append(step.path)
        self.done.append(step.path)
        self._give(step, os.O_DIRECTORY, 0o777 & ~_umask() if new else None)
        if new:
            self.module.set_default_selinux_context(step.path, False)

    def _give(self, step, flags, default):
        """Set owner and mode in place. The descriptor makes sure that both land on one thing, which is no link."""
        mode = default if step.mode is None else step.mode
        path = os.path.realpath(step.path) if step.option == "folders" else step.path
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags)
        try:
            now = os.fstat(handle)
            owner = -1 if step.owner is None else step.owner
            group = -1 if step.group is None else step.group
            if owner not in (-1, now.st_uid) or group not in (-1, now.st_gid):
                os.fchown(handle, owner, group)
                mode = now.st_mode & 0o7777 if mode is None else mode  # the kernel took set-id bits away
            if mode is not None:
                os.fchmod(handle, mode)
        finally:
            os.close(handle)

    def _act_link(self, step):
        folder, name = os.path.split(step.path)
        temporary = os.path.join(folder, ".ansible_tmp%s-%s" % (os.urandom(8).hex(), name[-200:]))
        os.symlink(step.item["target"], temporary)
        self.temporaries.add(temporary)
        os.rename(temporary, step.path)
        self.temporaries.discard(temporary)

    def _act_file(self, step):
        if step.temporary is None:
            self._give(step, 0, None)
            return
        os.rename(step.temporary, step.path)
        self.temporaries.discard(step.temporary)

    def _act_absent(self, step):
        if _files.kind(step.status) == "directory":
            os.rmdir(step.path)
        else:
            os.unlink(step.path)

    def clean(self):
        for path in self.temporaries:
            try:
                os.unlink(path)
            except OSError as error:
                self.module.warn("%s: a temporary file could not be removed: %s." % (path, _files.reason(error)))

    # The result

    def result(self):
        changed = self.done if self.failed else [step.path for step in self.steps]
        result = {"changed": bool(changed), "changed_paths": changed, "kept_paths": self.kept}
        if self.module._diff:
            result["diff"] = [entry for step in self.steps for entry in self._diff(step)]
        return result

    def _diff(self, step):
        headers = {"before_header": step.path, "after_header": step.path}
        if step.before or step.after:
            before, after = dict(step.before, path=step.path), dict(step.after, path=step.path)
            yield dict(headers, before=before, after=after)
        if step.texts and step.secret:
            yield {"prepared": "%s: the content differs; it is secret and not shown\n" % step.path}
        elif step.texts:
            yield dict(headers, before=_text(step.texts[0]), after=_text(step.texts[1]))


def _text(content):
    """Return a file's content for the diff."""
    if content is None:
        return ""
    if b"\0" in content:
        return "(binary, %d bytes)\n" % len(content)
    return to_text(content, errors="surrogate_or_replace")


def _umask():
    now = os.umask(0o077)
    os.umask(now)
    return now


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
    except BaseException:
        files.clean()
        raise
    module.exit_json(**files.result())


if __name__ == "__main__":
    main()
