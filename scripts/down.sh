#!/usr/bin/env bash
# Stops the cloud that demo.sh left running, with every tap, bridge, namespace and process that it made.
# Its files stay; the folder may be deleted afterwards.
set -euo pipefail

nothing_ran=3 # how `updraft down` says so

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
updraft=${CARGO_TARGET_DIR:-$root/target}/release/updraft
export UPDRAFT_DATA_DIR=${UPDRAFT_DATA_DIR:-$root/data}

[ -d "$UPDRAFT_DATA_DIR" ] || { echo "There is no cloud in $UPDRAFT_DATA_DIR."; exit 0; }
[ -x "$updraft" ] || { echo "down: $updraft is missing; make demo builds it" >&2; exit 1; }
status=0
"$updraft" down || status=$?
[ "$status" -ne "$nothing_ran" ] || exit 0
exit "$status"
