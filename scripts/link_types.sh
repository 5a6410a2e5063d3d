#!/bin/sh
# Links the floors under $1/vpp_edge as the import package that setup.py maps them to, for type checkers.
set -eu
root=$(pwd)
rm -rf "$1/vpp_edge"
mkdir -p "$1/vpp_edge"
for entry in vpp_edge/*; do
    case $entry in *__pycache__) ;; *) ln -s "$root/$entry" "$1/$entry" ;; esac
done
for floor in $(sed -n 's/^FLOORS = (\(.*\))/\1/p' setup.py | tr -d '",'); do
    ln -s "$root/$floor" "$1/vpp_edge/$floor"
done
