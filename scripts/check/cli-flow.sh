#!/usr/bin/env bash
# Runs the 58 commands of the unmodified openstack client against a cloud with simulated guests.
#
#   cli-flow.sh UPDRAFT     the `updraft` program to test
#
# Ends with 77 where the program cannot start a cloud yet. The commands themselves stand in the conformance
# folder beside this repository (UPDRAFT_CONFORMANCE); nobody here wrote them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
updraft=$(realpath "${1:?usage: cli-flow.sh UPDRAFT}")
conformance=${UPDRAFT_CONFORMANCE:-$root/../shared/conformance}
venv=$root/.venv
expected='58 passed, 0 failed'
skipped=77

say() { printf 'cli-flow: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ -x "$conformance/cli-flow.sh" ] || {
    [ -z "${CI:-}" ] || die "there is no $conformance/cli-flow.sh"
    echo "skipped: there is no $conformance/cli-flow.sh"
    exit "$skipped"
}
"$updraft" up --help >/dev/null 2>&1 || { echo "skipped: $updraft has no command 'up' yet"; exit "$skipped"; }

work=$(mktemp -d)
data=$work/data

# Processes that have the folder in their command line: there must be none in the end.
left_over() { pgrep -af -- "--data-dir $data" || true; }

finish() {
    local status=$?
    trap - EXIT
    "$updraft" down --data-dir "$data" || { say "'updraft down' failed with $?"; status=1; }
    if [ -n "$(left_over)" ]; then
        say "'updraft down' left processes running:"
        left_over >&2
        status=1
    fi
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$data"/logs/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

# Port 0: whatever is free. The folder is named as a user would, from where he stands.
(cd "$work" && "$updraft" up --hypervisor simulated --detach --data-dir data \
    --listen 127.0.0.1:0 --quic-listen 127.0.0.1:0)

# The flow takes the cloud from OS_*; the file has it for humans and for the client.
credentials=$("$venv/bin/python" - "$data/clouds.yaml" <<'PYTHON'
import shlex, sys, yaml

cloud = next(iter(yaml.safe_load(open(sys.argv[1]))["clouds"].values()))
values = {f"OS_{name.upper()}": value for name, value in cloud["auth"].items()}
values["OS_REGION_NAME"] = cloud.get("region_name", "")
values["OS_IDENTITY_API_VERSION"] = cloud.get("identity_api_version", 3)
for name, value in values.items():
    print(f"export {name}={shlex.quote(str(value))}")
PYTHON
)
eval "$credentials"

SKIP='' VENV=$venv "$conformance/cli-flow.sh" | tee "$work/flow" || true
grep -qxF -- "$expected" "$work/flow" || die "the flow did not end with '$expected'"
