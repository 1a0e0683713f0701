#!/bin/sh
# quickstart.sh [stop]: runs the playbook quickstart with an Ansible of its own. Everything is in .quickstart/, nothing elsewhere.
# DATA, BLOBS (serve a copy of this Data.fs, of this blob folder), ADDRESS (127.0.0.1:8100) and PYTHON come from the environment,
# as make hands them on.
set -eu
fail() {
    echo "quickstart: $*" >&2
    exit 1
}
version() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none; }
root=$(cd "$(dirname "$0")/.." && pwd)
dir=$root/.quickstart

# As root the role would add an account, an init script and a cron job to the system.
if [ "$(id -u)" = 0 ]; then
    folder=$root
    while [ "$folder" != / ]; do
        case $(stat -c %A "$folder") in *[xt]) folder=$(dirname "$folder") ;; *)
            fail "for root all of it is done by nobody, who may not enter $folder; clone into another folder, such as /srv/pyams.zodb" ;;
        esac
    done
    mkdir -p "$dir"
    chown nobody "$dir"
    exec setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups env HOME="$dir" "$0" "$@"
fi

python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    # Asked, not looked up: pyenv has commands for versions that it does not run.
    case $(version "$candidate") in 3.11.* | 3.12.* | 3.13.*) python=$candidate && break ;; esac
done
[ -n "$python" ] || fail "no Python 3.11, 3.12 or 3.13 (${PYTHON:-python3} is $(version "${PYTHON:-python3}")); install one, or name it: make quickstart PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no module venv; install it, on Debian and Ubuntu with: apt-get install python3-venv"

for variable in $(env | sed -n 's/^\(ANSIBLE_[A-Z_]*\)=.*/\1/p') PYTHONPATH PYTHONHOME; do unset "$variable"; done
export ANSIBLE_CONFIG="$dir/ansible.cfg" LC_ALL=C.UTF-8 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 TMPDIR="$dir/tmp"
mkdir -p "$dir/tmp" "$dir/collections/ansible_collections/pyams"
[ -e "$dir/collections/ansible_collections/pyams/zodb" ] || ln -s ../../../.. "$dir/collections/ansible_collections/pyams/zodb"
cat >"$dir/ansible.cfg" <<END
[defaults]
home = $dir/ansible
remote_tmp = $dir/tmp
collections_path = $dir/collections
display_ok_hosts = false
display_skipped_hosts = false
localhost_warning = false
[inventory]
inventory_unparsed_warning = false
END

grep '^ansible-core==' "$root/tests/rig/requirements.txt" >"$dir/requirements.txt"
if ! cmp -s "$dir/requirements.txt" "$dir/venv/done"; then
    echo "quickstart: installing ansible-core in .quickstart/venv"
    "$python" -m venv --clear "$dir/venv" >"$dir/pip.log" 2>&1 || fail "$python -m venv failed: $(tail -n 1 "$dir/pip.log")"
    "$dir/venv/bin/pip" install -q --retries 1 -r "$dir/requirements.txt" >"$dir/pip.log" 2>&1 ||
        fail "pip cannot install ansible-core; is there a way to PyPI, or to the index that pip is set to? It says: $(grep -m 1 '^ERROR' "$dir/pip.log")"
    cp "$dir/requirements.txt" "$dir/venv/done"
fi

absolute() { case $1 in '' | /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac }
stop=$([ "${1-}" = stop ] && echo true || echo false)
variables=$("$dir/venv/bin/python" -c 'import json, sys; print(json.dumps(dict(zip(sys.argv[1::2], sys.argv[2::2]))))' \
    quickstart_dir "$dir" quickstart_data "$(absolute "${DATA-}")" quickstart_blobs "$(absolute "${BLOBS-}")" \
    quickstart_address "${ADDRESS:-127.0.0.1:8100}")
{
    "$dir/venv/bin/ansible-playbook" pyams.zodb.quickstart -e "$variables" -e "{\"quickstart_stop\": $stop}" || : >"$dir/tmp/failed"
} | tee "$dir/ansible.log"
! rm "$dir/tmp/failed" 2>/dev/null || exit 1
! grep -q ' changed=0 ' "$dir/ansible.log" || echo "Nothing had to be changed."
[ "$stop" = true ] || echo "zodbconn.uri = zconfig://$dir/etc/pyams/zodb.conf#main"
