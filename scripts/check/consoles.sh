#!/usr/bin/env bash
# Looks at a real guest's screen in a browser, as a person does; takes a picture of it; and types into its shell.
#
#   consoles.sh UPDRAFT FOLDER    the `updraft` program to test; what was seen goes to FOLDER: page.png, the page as the
#                                 browser drew it, and screen.png, the picture that the cloud gives of the screen
#
# The page is noVNC's, the browser Chromium without a window. Whether the guest was seen is judged by its pixels: its
# screen is dark with letters on it. Ends with 77 where root, QEMU, libvirt, noVNC or Chromium are missing. VENV names
# the folder of the openstack client if it is not .venv.
set -euo pipefail

wait_secs=90         # for the host, and for the guest to say something
skipped=77

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
updraft=$(realpath "${1:?usage: consoles.sh UPDRAFT FOLDER}")
seen=$(realpath -m "${2:?usage: consoles.sh UPDRAFT FOLDER}")
venv=${VENV:-$root/.venv}
guest=${CARGO_TARGET_DIR:-$root/target}/guest

say() { printf 'consoles: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
skip() { echo "skipped: $*"; exit "$skipped"; }

[ "$(id -u)" -eq 0 ] || skip 'real guests need root'
"$root/scripts/host-packages.sh" --check || skip 'QEMU or libvirt is missing; scripts/host-packages.sh installs them'
[ -e /usr/share/novnc/vnc_lite.html ] || skip 'noVNC is missing; it is in the Debian package novnc'
command -v curl >/dev/null || skip 'curl is missing'
command -v chromium >/dev/null || skip 'a browser is missing; it is in the Debian package chromium'
[ -x "$venv/bin/openstack" ] || die "there is no client in $venv; scripts/install-tools.sh test installs it"
"$root/scripts/guest-image.sh" "$guest"

work=$(mktemp -d)
data=$work/data
export OS_CLIENT_CONFIG_FILE=$data/clouds.yaml OS_CLOUD=updraft
openstack() { "$venv/bin/openstack" "$@"; }

finish() {
    local status=$?
    trap - EXIT
    [ "$status" -eq 0 ] || tail -n 40 "$data"/logs/*.log 2>/dev/null || true
    "$updraft" down --data-dir "$data" >/dev/null || status=1
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

# until_true WHAT COMMAND...
until_true() {
    local until=$((SECONDS + wait_secs)) what=$1
    shift
    until "$@"; do
        [ $SECONDS -lt "$until" ] || die "not in time: $what"
        sleep 1
    done
}

"$updraft" up --detach --data-dir "$data" --listen 127.0.0.1:0 --quic-listen 127.0.0.1:0
host_up() { openstack compute service list --service nova-compute -f value -c Status -c State 2>/dev/null | grep -qx 'enabled up'; }
until_true 'the hypervisor is up' host_up
upload() { openstack image create -f value -c id --disk-format "$1" --container-format "$2" --file "$3" "${@:5}" "$4"; }
kernel=$(upload aki aki "$guest/vmlinuz" kernel)
ramdisk=$(upload ari ari "$guest/initrd.gz" ramdisk)
qemu-img create -q -f qcow2 "$work/blank.qcow2" 64M
# The kernel's words go to the screen too; the last console is the one that the guest's own words go to.
upload qcow2 bare "$work/blank.qcow2" guest --property "kernel_id=$kernel" --property "ramdisk_id=$ramdisk" \
    --property 'os_command_line=console=tty0 console=ttyS0' >/dev/null
openstack flavor create -f value -c id --ram 192 --vcpus 1 --disk 1 small >/dev/null
openstack network create -f value -c id net >/dev/null
openstack subnet create -f value -c id --network net --subnet-range 10.78.0.0/24 subnet >/dev/null
openstack server create -f value -c id --image guest --flavor small --network net shown >/dev/null
printed() { openstack console log show shown 2>/dev/null | grep -q -- "$1"; }
until_true 'the guest is ready' printed '^UPDRAFT-READY '
say 'the guest is ready'

url=$(openstack console url show --novnc shown -f value -c url)
mkdir -p "$seen"
"$root/scripts/check/browser.py" "$url" "$seen/page.png"
grep -q 'a console is open' "$data/logs/control.log" || die 'the browser opened no console'

address=$(cat "$data/run/address")
id=$(openstack server show shown -f value -c id)
token=$(openstack token issue -f value -c id)
screenshot() { curl -sS --noproxy '*' -H "X-Auth-Token: $token" "http://$address/updraft/v1/servers/$id/screenshot" "$@"; }
screenshot --fail -o "$seen/screen.png"
head -c 8 "$seen/screen.png" | cmp -s - <(printf '\x89PNG\r\n\x1a\n') || die 'the picture is no PNG'
say "the picture has $(stat -c %s "$seen/screen.png") bytes"

serial=$(openstack console url show --serial shown -f value -c url)
# shellcheck disable=SC2016 # expanded by the guest's shell
"$root/scripts/check/serial.py" "$serial" 'echo heard-$((40 + 2))' 'heard-42'
until_true 'the log has what was typed' printed '^heard-42'

openstack server stop shown
stopped() { [ "$(openstack server show -f value -c status shown)" = SHUTOFF ]; }
until_true 'the server is stopped' stopped
code=$(screenshot -o /dev/null -w '%{http_code}')
[ "$code" = 409 ] || die "a picture of a stopped server was answered with $code"
if "$root/scripts/check/serial.py" "$serial" true never 2>"$work/refusal"; then
    die 'the address of a stopped server opens something'
fi
grep -q 'no longer good' "$work/refusal" || die "the address was refused by $(cat "$work/refusal")"
say "all is seen; the pictures are in $seen"
