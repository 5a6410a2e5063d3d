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

other="Name another: make PYTHON=/path/to/python3.11 ..."
command -v "$python" >/dev/null 2>&1 || fail "there is no $python. Install Python 3.10 to 3.13. $other"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not run. $other"
case $version in
    3.10 | 3.11 | 3.12 | 3.13) ;;
    *) fail "$python is Python $version; vpp-edge needs 3.10 to 3.13. $other" ;;
esac

# Without its stamp the folder is from an interrupted run, in which pip may have left half a package that it would
# take for a whole one: start over. Downloads are in pip's cache.
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
    fail "$python has neither ensurepip nor pip. Install the package python3-venv. $other"
fi

constraints=constraints/python-$version.txt
set -- "$@" install --progress-bar off -e '.[cpu,dev]'
[ -e "$constraints" ] && set -- "$@" -c "$constraints"

echo "Installing vpp-edge and its dependencies into $venv (Python $version); the first time takes some minutes."
log=$venv/install.log
"$@" >"$log" 2>&1 </dev/null &
pip=$!
trap 'kill $pip 2>/dev/null; exit 130' INT TERM
shown=
while kill -0 $pip 2>/dev/null; do
    sleep 1
    line=$(grep -E '^ *(Downloading|Installing|Preparing|WARNING: Retrying)' "$log" | tail -n 1 | cut -c 1-100 || true)
    [ "$line" = "$shown" ] || echo "  ${line# *}"
    shown=$line
done
if ! wait $pip; then
    tail -n 20 "$log" >&2
    fail "pip could not install everything (above, and in $log). Give the same command again to try once more."
fi
touch "$stamp"
