#!/bin/sh
# Makes the virtual environment $1 with vpp-edge, its CPU extras and the developer's tools; writes the stamp $2 last.
set -eu
venv=$1
stamp=$2
python=${PYTHON:-python3}

fail() {
    echo "error: $1" >&2
    exit 2
}

command -v "$python" >/dev/null 2>&1 || fail "no $python here. Install Python 3.10 to 3.13, or name it: make PYTHON=/path/to/python3.11 ..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not run"
case $version in
    3.10 | 3.11 | 3.12 | 3.13) ;;
    *) fail "$python is Python $version; vpp-edge needs 3.10 to 3.13. Name one: make PYTHON=/path/to/python3.11 ..." ;;
esac

[ -e "$stamp" ] || rm -rf "$venv"
rm -f "$stamp"
if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$venv"
    set -- "$venv/bin/python" -m pip
elif "$python" -m pip --version >/dev/null 2>&1; then
    # Debian's python3 without python3-venv: its pip can install into an environment that has none.
    "$python" -m venv --without-pip "$venv"
    set -- "$python" -m pip --python "$venv/bin/python"
else
    fail "$python has neither ensurepip nor pip. Install the package python3-venv, or name another: make PYTHON=..."
fi

constraints=constraints/python-$version.txt
[ -e "$constraints" ] && set -- "$@" install -c "$constraints" || set -- "$@" install
echo "Installing vpp-edge and its dependencies into $venv (Python $version); the first time takes some minutes."
"$@" --quiet --progress-bar off -e '.[cpu,dev]' || fail "pip could not install everything; see above. Run the same command again to resume."
touch "$stamp"
